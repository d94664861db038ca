// Package index keeps what the requests of an app ask about its users - who
// exists, with which attributes and tags - in memory: compact and exact. It applies
// effects, writes users into checkpoints and reads them, and answers who a condition
// selects.
package index

import (
	"encoding/binary"
	"slices"

	"tidings/internal/audience"
)

// Users are the users of one app. Each has a number, dense from 0, kept for as
// long as the account exists. They change by Apply and by nothing else. Users are
// not safe for concurrent use: whoever owns them locks.
type Users struct{ View }

// A View answers questions about the users of one app. One that TakeView returned
// stays as it is, and is safe for concurrent use, also while the users change.
type View struct {
	accounts *strtab
	freed    freed
	created  column // Unix seconds
	byKind   [kinds]*set
	slots    [audience.Slots]*slot
	tags     tags
	devices  devices
	changes  changes
}

// TakeView returns the users as they are. What it takes and costs does not depend on
// how many there are: it shares their memory, and a later change of a part copies
// that part. Whoever owns the users locks them, as for a change.
func (u *Users) TakeView() *View {
	v := &View{
		accounts: u.accounts.view(), freed: u.freed, created: u.created.view(), byKind: u.byKind,
		tags: u.tags.view(), devices: u.devices.view(), changes: u.changes,
	}
	v.changes.tags = u.changes.tags.view()
	for kind, users := range u.byKind {
		u.byKind[kind] = users.next()
	}
	for i, s := range u.slots {
		if s != nil {
			v.slots[i] = &slot{s.values.view(), s.users.view(), s.value.view(), s.any}
			s.any = s.any.next()
		}
	}
	return v
}

// changes counts, one number for each change of who an expression could select,
// and keeps the number of the last one that concerned something.
type changes struct {
	n     uint64
	users uint64                 // somebody was made or removed
	slots [audience.Slots]uint64 // a value was given or taken away
	tags  array[uint64]          // by tag: the tag was given or taken away
	gone  uint64                 // a tag lost its last user
}

// noted returns a new number for a change.
func (c *changes) noted() uint64 {
	c.n++
	return c.n
}

// tag notes a change of a tag.
func (c *changes) tag(t uint32) { *c.tags.edit(t) = c.noted() }

// Version grows with every change of users that an expression could select: as
// long as it is the same, so is what the expression selects.
func (u *View) Version(e audience.Expr) uint64 {
	version := max(u.changes.users, 1)
	audience.Walk(e, func(term audience.Expr) {
		if tag, ok := term.(audience.HasTag); ok {
			last := u.changes.gone // of a tag that nobody has
			if t, known := u.FindTag(tag.Tag); known {
				last = *u.changes.tags.at(t)
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
	any    *set     // who has one
}

// tags are the tags of the app and of each user. There are few different ones
// and each user has its list of them, so that a user can be read and written
// without asking every tag.
type tags struct {
	names *strtab
	kinds column // by tag: the account type it belongs to
	users sets   // by tag
	count column // by tag: users
	of    column // by user: 1 + offset of its list in lists; 0: none
	lists slab   // numbers, ascending, each as a varint of what it is more than the one before
}

func (t *tags) view() tags {
	return tags{t.names.view(), t.kinds.view(), t.users.view(), t.count.view(), t.of.view(), t.lists.view()}
}

// NewUsers returns an app without users.
func NewUsers() *Users {
	u := &Users{View{accounts: newStrtab(), tags: tags{names: newStrtab()}, devices: newDevices(), changes: changes{n: 1}, freed: freed{pinned: Unsettled}}}
	for kind := range kinds {
		u.byKind[kind] = newSet()
	}
	return u
}

// kinds is how many account types there are.
const kinds = 2

// Len is how many users there are.
func (u *View) Len() int { return u.accounts.n }

// Limit is one above the highest number any user had.
func (u *View) Limit() uint32 { return u.accounts.next }

// Has reports whether a user has number n.
func (u *View) Has(n uint32) bool { return n < u.accounts.next && u.accounts.has(n) }

// Find returns the number of an account.
func (u *View) Find(account string) (n uint32, ok bool) { return u.accounts.find(account) }

// Account is the name of the user with number n, valid until the next change.
func (u *View) Account(n uint32) []byte { return u.accounts.bytes(n) }

// Kind is the account type of the user with number n.
func (u *View) Kind(n uint32) audience.Kind {
	if u.byKind[audience.RegistrationID].has(n) {
		return audience.RegistrationID
	}
	return audience.UserID
}

// Created is the second at which the user with number n was made.
func (u *View) Created(n uint32) uint32 { return u.created.get(n) }

// Value is the user's value in a slot, nil if it has none. It is valid until
// the next change.
func (u *View) Value(n uint32, i int) []byte {
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

// HasValue reports whether the user has exactly this value in a slot; the empty
// one stands for no value.
func (u *View) HasValue(n uint32, i int, value string) bool {
	s := u.slots[i]
	if s == nil {
		return value == ""
	}
	v := s.value.get(n)
	if v == 0 || value == "" {
		return v == 0 && value == ""
	}
	return string(s.values.bytes(v-1)) == value
}

// set sets the value of a slot of the user; an empty value clears the slot.
// It reports whether that changed anything.
func (u *Users) set(n uint32, i int, value string) bool {
	if !u.put(n, i, value) {
		return false
	}
	u.changes.slots[i] = u.changes.noted()
	return true
}

func (u *Users) put(n uint32, i int, value string) bool {
	s := u.slots[i]
	if s == nil {
		if value == "" {
			return false
		}
		s = &slot{values: newStrtab(), any: newSet()}
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

// FindTag returns the number of a tag that some user has.
func (u *View) FindTag(name string) (t uint32, ok bool) { return u.tags.names.find(name) }

// TagName is the name of tag t, valid until the next change.
func (u *View) TagName(t uint32) []byte { return u.tags.names.bytes(t) }

// TagKind is the account type that tag t belongs to.
func (u *View) TagKind(t uint32) audience.Kind { return audience.Kind(u.tags.kinds.get(t)) }

// TagCount is how many different tags the users have.
func (u *View) TagCount() int { return u.tags.names.n }

// TagUsers is how many users have tag t.
func (u *View) TagUsers(t uint32) uint32 { return u.tags.count.get(t) }

// maxListBytes is the longest list of tags. Each of audience.MaxTags steps takes one byte
// below 128, two below 16384, and no more than four steps are larger.
const maxListBytes = 2*audience.MaxTags + 4

// TagList appends the numbers of the user's tags, ascending.
func (u *View) TagList(n uint32, list []uint16) []uint16 {
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

// addTag returns the number of a tag, which it makes for accounts of a kind if no
// user has it.
func (u *Users) addTag(name string, kind audience.Kind) (t uint32) {
	if t, known := u.tags.names.find(name); known {
		return t
	}
	t = u.tags.names.add(name)
	u.tags.kinds.set(t, uint32(kind))
	u.tags.users.put(t, newSet())
	u.changes.tag(t)
	return t
}

// setTags makes list, which is ascending, the user's tags. It reports whether
// that changed anything. A tag goes away with its last user.
func (u *Users) setTags(n uint32, list []uint16) bool {
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
			left := u.tags.count.get(t) - 1
			u.tags.count.set(t, left)
			u.tags.users.own(t).remove(n)
			u.changes.tag(t)
			if left == 0 {
				u.tags.users.put(t, nil)
				u.tags.names.drop(t)
				u.changes.gone = u.changes.n
			}
			i++
		case i == len(was) || list[j] < was[i]:
			t := uint32(list[j])
			u.tags.count.set(t, u.tags.count.get(t)+1)
			u.tags.users.own(t).add(n)
			u.changes.tag(t)
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

// Full reports whether the index may have no room for another user, value or list
// of tags: places in a slab are numbers of 32 bits, so the names of accounts have
// 4 GiB, and so have the values of each slot and the lists of tags.
func (u *View) Full() bool {
	full := u.accounts.full() || u.tags.names.full() || u.tags.lists.full() || u.devices.facets.full()
	for _, s := range u.slots {
		full = full || s != nil && s.values.full()
	}
	return full
}
