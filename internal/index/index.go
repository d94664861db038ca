// Package index keeps what the requests of an app ask about its users - who
// exists, with which attributes and tags - in memory: compact, exact, and
// rebuilt from the store's records at start. It answers who a condition selects.
package index

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// Users are the users of one app. Each has a number, dense from 0, kept for as
// long as the account exists. It is not safe for concurrent use: whoever owns
// it locks.
type Users struct {
	accounts *strtab
	created  column // Unix seconds
	byKind   [2]*roaring.Bitmap
	slots    [audience.Slots]*slot
	tags     tags
	changes  changes
}

// changes counts, one number for each change of who an expression could select,
// and keeps the number of the last one that concerned something.
type changes struct {
	n     uint64
	users uint64                 // somebody was made or removed
	slots [audience.Slots]uint64 // a value was given or taken away
	tags  []uint64               // by tag: the tag was given or taken away
	gone  uint64                 // a tag lost its last user
}

// newChanges returns the changes of users that were just read. Version is 1 for
// what has not changed since, so the first change is number 2.
func newChanges() changes { return changes{n: 1} }

// noted is a new number for a change.
func (c *changes) noted() uint64 {
	c.n++
	return c.n
}

// seeTag makes room for a tag.
func (c *changes) seeTag(t uint32) {
	for int(t) >= len(c.tags) {
		c.tags = append(c.tags, 0)
	}
	c.tags[t] = c.noted()
}

// Version grows with every change of users that an expression could select: as
// long as it is the same, so is what the expression selects.
func (u *Users) Version(e audience.Expr) uint64 {
	version := max(u.changes.users, 1)
	audience.Walk(e, func(term audience.Expr) {
		if tag, ok := term.(audience.HasTag); ok {
			last := u.changes.gone // of a tag that nobody has
			if t, known := u.FindTag(tag.Tag); known {
				last = u.changes.tags[t]
			}
			version = max(version, last)
		} else if ref, ok := audience.AttrOf(term); ok {
			version = max(version, u.changes.slots[ref.Slot])
		}
	})
	return version
}

// A slot holds the values of one attribute. Equal values are stored once.
type slot struct {
	values *strtab
	users  postings // by value
	value  column   // by user: 1 + number of the value; 0: none
	any    members  // who has one
}

// tags are the tags of the app and of each user. There are few different ones
// and each user has its list of them, so that a user can be read and written
// without asking every tag.
type tags struct {
	names *strtab
	kinds column            // by tag: the account type it belongs to
	users []*roaring.Bitmap // by tag
	count []uint32          // by tag: users
	of    column            // by user: 1 + offset of its list in lists; 0: none
	lists slab              // numbers, ascending, each as a varint of what it is more than the one before
}

// NewUsers makes an app without users.
func NewUsers() *Users {
	return &Users{changes: newChanges(), accounts: newStrtab(), byKind: [2]*roaring.Bitmap{roaring.New(), roaring.New()}, tags: tags{names: newStrtab()}}
}

// Len is how many users there are.
func (u *Users) Len() int { return u.accounts.n }

// Limit is one above the highest number any user had.
func (u *Users) Limit() uint32 { return u.accounts.next }

// Has tells whether a user has number n.
func (u *Users) Has(n uint32) bool { return n < u.accounts.next && u.accounts.has(n) }

// Find gives the number of an account.
func (u *Users) Find(account string) (n uint32, ok bool) { return u.accounts.find(account) }

// Add makes a user without attributes and tags and gives it a number. The
// account must not exist.
func (u *Users) Add(account string, kind audience.Kind, created uint32) uint32 {
	n := u.accounts.add(account)
	u.changes.users = u.changes.noted()
	u.created.set(n, created)
	u.byKind[kind].Add(n)
	return n
}

// AddAt is Add with a number that is free, for rebuilding. FindHoles must
// follow the last.
func (u *Users) AddAt(n uint32, account string, kind audience.Kind, created uint32) {
	u.accounts.addAt(n, account)
	u.created.set(n, created)
	u.byKind[kind].Add(n)
}

// FindHoles ends a rebuilding with AddAt: numbers of deleted users become
// available.
func (u *Users) FindHoles() {
	u.accounts.findHoles()
	for _, s := range u.slots {
		if s != nil {
			s.values.findHoles()
		}
	}
	u.tags.names.findHoles()
}

// Remove takes the user with number n away with its attributes and tags. The
// number rests until Reuse: whoever noted it before may still ask for it.
func (u *Users) Remove(n uint32) {
	for i := range u.slots {
		u.Set(n, i, "")
	}
	u.SetTags(n, nil)
	u.created.set(n, 0)
	u.changes.users = u.changes.noted()
	u.byKind[u.Kind(n)].Remove(n)
	u.accounts.remove(n)
}

// Reuse lets the number of a removed user be given to another.
func (u *Users) Reuse(n uint32) { u.accounts.reuse(n) }

// Account is the name of the user with number n, valid until the next change.
func (u *Users) Account(n uint32) []byte { return u.accounts.bytes(n) }

// Kind is the account type of the user with number n.
func (u *Users) Kind(n uint32) audience.Kind {
	if !u.byKind[audience.RegistrationID].IsEmpty() && u.byKind[audience.RegistrationID].Contains(n) {
		return audience.RegistrationID
	}
	return audience.UserID
}

// Created is the second at which the user with number n was made.
func (u *Users) Created(n uint32) uint32 { return u.created.get(n) }

// SetCreated changes the second at which the user with number n was made.
func (u *Users) SetCreated(n, created uint32) { u.created.set(n, created) }

// Value is the user's value in a slot, nil if it has none. It is valid until
// the next change.
func (u *Users) Value(n uint32, i int) []byte {
	s := u.slots[i]
	if s == nil {
		return nil
	}
	v := s.value.get(n)
	if v == 0 {
		return nil
	}
	return s.values.bytes(v - 1)
}

// Set gives the user a value in a slot, or takes it away if the value is empty.
// It tells whether that changed anything.
func (u *Users) Set(n uint32, i int, value string) bool {
	if !u.set(n, i, value) {
		return false
	}
	u.changes.slots[i] = u.changes.noted()
	return true
}

// PutValues gives a user that has no values some, for rebuilding: no version
// grows. It may run beside AddAt and SetTags, which touch nothing that it does.
func (u *Users) PutValues(n uint32, values *audience.Values) {
	for i, v := range values {
		if v != "" {
			u.set(n, i, v)
		}
	}
}

func (u *Users) set(n uint32, i int, value string) bool {
	s := u.slots[i]
	if s == nil {
		if value == "" {
			return false
		}
		s = &slot{values: newStrtab()}
		u.slots[i] = s
	}
	was := s.value.get(n)
	if value == "" {
		if was == 0 {
			return false
		}
		s.value.set(n, 0)
		s.any.remove(n)
		s.release(was-1, n)
		return true
	}
	v, known := s.values.find(value)
	if known && was == v+1 {
		return false
	}
	if !known {
		v = s.values.add(value)
	}
	if was != 0 {
		s.users.remove(was-1, n) // before add: a user is in one list of the slot at a time
	} else {
		s.any.add(n)
	}
	s.users.add(v, n)
	s.value.set(n, v+1)
	if was != 0 && s.users.count.get(was-1) == 0 {
		s.values.drop(was - 1)
	}
	return true
}

// release takes user n from value v, and v away with its last user.
func (s *slot) release(v, n uint32) {
	if s.users.remove(v, n) == 0 {
		s.values.drop(v)
	}
}

// FindTag gives the number of a tag that some user has.
func (u *Users) FindTag(name string) (t uint32, ok bool) { return u.tags.names.find(name) }

// TagName is the name of tag t, valid until the next change.
func (u *Users) TagName(t uint32) []byte { return u.tags.names.bytes(t) }

// TagKind is the account type that tag t belongs to.
func (u *Users) TagKind(t uint32) audience.Kind { return audience.Kind(u.tags.kinds.get(t)) }

// TagCount is how many different tags the users have.
func (u *Users) TagCount() int { return u.tags.names.n }

// MaxTags is how many different tags the users of an app can have: their
// numbers are stored in two bytes.
const MaxTags = 1 << 16

// maxListBytes is the longest list of tags. Each of MaxTags steps takes one byte
// below 128, two below 16384, and no more than four steps are larger.
const maxListBytes = 2*audience.MaxTags + 4

// TagList appends the numbers of the user's tags, ascending.
func (u *Users) TagList(n uint32, list []uint16) []uint16 {
	off := u.tags.of.get(n)
	if off == 0 {
		return list
	}
	tag := uint64(0)
	for b := u.tags.lists.bytes(off - 1); len(b) > 0; {
		more, n := binary.Uvarint(b)
		tag, b = tag+more, b[n:]
		list = append(list, uint16(tag))
	}
	return list
}

// AddTag finds a tag, or makes it for accounts of a kind.
func (u *Users) AddTag(name string, kind audience.Kind) (t uint32) {
	if t, known := u.tags.names.find(name); known {
		return t
	}
	t = u.tags.names.add(name)
	u.tags.kinds.set(t, uint32(kind))
	for int(t) >= len(u.tags.users) {
		u.tags.users = append(u.tags.users, nil)
		u.tags.count = append(u.tags.count, 0)
	}
	u.tags.users[t] = roaring.New()
	u.changes.seeTag(t)
	return t
}

// SetTags makes list, which is ascending, the user's tags. It tells whether
// that changed anything. A tag goes away with its last user.
func (u *Users) SetTags(n uint32, list []uint16) bool {
	var buf [audience.MaxTags]uint16
	was := u.TagList(n, buf[:0])
	if slices.Equal(was, list) {
		return false
	}
	i, j := 0, 0
	for i < len(was) || j < len(list) {
		switch {
		case j == len(list) || i < len(was) && was[i] < list[j]:
			t := uint32(was[i])
			u.tags.users[t].Remove(n)
			u.tags.count[t]--
			u.changes.tags[t] = u.changes.noted()
			if u.tags.count[t] == 0 {
				u.tags.users[t] = nil
				u.tags.names.drop(t)
				u.changes.gone = u.changes.n
			}
			i++
		case i == len(was) || list[j] < was[i]:
			t := list[j]
			u.tags.users[t].Add(n)
			u.tags.count[t]++
			if trimAt(u.tags.count[t]) {
				u.tags.users[t] = u.tags.users[t].Clone()
			}
			u.changes.tags[t] = u.changes.noted()
			j++
		default:
			i, j = i+1, j+1
		}
	}
	if off := u.tags.of.get(n); off != 0 {
		u.tags.lists.free(off - 1)
		u.tags.of.set(n, 0)
	}
	if len(list) > 0 {
		var buf [maxListBytes]byte
		b, before := buf[:0], uint16(0)
		for _, t := range list {
			b = binary.AppendUvarint(b, uint64(t-before))
			before = t
		}
		u.tags.of.set(n, u.tags.lists.place(string(b))+1)
	}
	return true
}

// EditTags makes an edit of the user's tags, whole or not at all. Those of
// another account type are 90035; more than the user or the app may have are
// 90032. It tells whether that changed anything.
func (u *Users) EditTags(n uint32, edit *audience.TagEdit) (bool, *apierr.Error) {
	var have [audience.MaxTags]uint16
	was := u.TagList(n, have[:0])
	switch edit.Op {
	case audience.KeepTags:
		return false, nil
	case audience.ClearTags:
		return u.SetTags(n, nil), nil
	case audience.RemoveTags:
		left := slices.Clone(was)
		for _, name := range edit.Tags {
			if t, known := u.FindTag(name); known {
				left = slices.DeleteFunc(left, func(x uint16) bool { return uint32(x) == t })
			}
		}
		return u.SetTags(n, left), nil
	}
	kind := u.Kind(n)
	list, fresh, err := u.withTags(was, kind, edit)
	if err != nil {
		return false, err
	}
	for _, name := range fresh {
		list = append(list, uint16(u.AddTag(name, kind)))
	}
	return u.SetTags(n, sorted(list)), nil
}

// CheckTags tells why EditTags would refuse an edit that adds or replaces tags,
// for the user with number n, or with exists false for a new one of a kind.
func (u *Users) CheckTags(n uint32, exists bool, kind audience.Kind, edit *audience.TagEdit) *apierr.Error {
	if edit.Op != audience.AddTags && edit.Op != audience.ReplaceTags {
		return nil
	}
	var have [audience.MaxTags]uint16
	was := have[:0]
	if exists {
		was = u.TagList(n, was)
	}
	_, _, err := u.withTags(was, kind, edit)
	return err
}

// withTags is what tags the edit leaves a user of a kind that has some: those
// that are known, and the names of new ones.
func (u *Users) withTags(was []uint16, kind audience.Kind, edit *audience.TagEdit) (list []uint16, fresh []string, err *apierr.Error) {
	if edit.Op == audience.AddTags {
		list = slices.Clone(was)
	}
	for _, name := range edit.Tags {
		t, known := u.FindTag(name)
		switch {
		case !known:
			fresh = append(fresh, name)
		case u.TagKind(t) != kind:
			return nil, nil, apierr.WrongAccountKind.Errorf("tag %s is not for this account type", name)
		default:
			list = append(list, uint16(t))
		}
	}
	list = sorted(list)
	fresh = sorted(fresh)
	if len(list)+len(fresh) > audience.MaxTags {
		return nil, nil, apierr.TooManyTags.Errorf("the user would have %d tags, it may have %d", len(list)+len(fresh), audience.MaxTags)
	}
	if most := edit.AppMax; len(fresh) > 0 && (most > 0 && u.TagCount()+len(fresh) > most || u.TagCount()+len(fresh) > MaxTags) {
		return nil, nil, apierr.TooManyTags.Errorf("tag %s would be one more than the app may have different ones, %d", fresh[0], cmp.Or(most, MaxTags))
	}
	return list, fresh, nil
}

func sorted[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}

// Full tells whether the index may have no room for another user, value or list
// of tags: places in a slab are numbers of 32 bits, so the names of accounts have
// 4 GiB, and so have the values of each slot and the lists of tags.
func (u *Users) Full() bool {
	full := u.accounts.full() || u.tags.names.full() || u.tags.lists.full()
	for _, s := range u.slots {
		full = full || s != nil && s.values.full()
	}
	return full
}

// Memory is what the users take, in bytes, roughly.
type Memory struct {
	Accounts int64 // names, numbers, creation
	Values   int64 // attribute values and who has them
	Tags     int64 // tags and who has them
}

// Memory adds up what the users take.
func (u *Users) Memory() Memory {
	m := Memory{Accounts: u.accounts.bytesHeld() + u.created.bytesHeld()}
	for _, set := range u.byKind {
		m.Accounts += int64(set.GetSizeInBytes())
	}
	for _, s := range u.slots {
		if s != nil {
			m.Values += s.values.bytesHeld() + s.users.bytesHeld() + s.value.bytesHeld() + int64(cap(s.any.words))*8
		}
	}
	m.Tags = u.tags.names.bytesHeld() + u.tags.kinds.bytesHeld() + u.tags.of.bytesHeld() + u.tags.lists.bytesHeld()
	for _, set := range u.tags.users {
		if set != nil {
			m.Tags += int64(set.GetSizeInBytes()) + 120
		}
	}
	return m
}
