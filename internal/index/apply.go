package index

import (
	"fmt"
	"math"
	"slices"

	"tidings/internal/audience"
)

// Unsettled is the position of a deletion whose group is not known yet.
const Unsettled = math.MaxUint64

// freed are the numbers of deleted users. A number is given to somebody else only
// when nothing that may hold it is left: lists of an audience, and later the
// audiences of tasks, are kept for long. So the numbers wait in the order of their
// deletion, each with the position of the group that holds it, and the first
// leaves when no list is left that was made before its deletion.
type freed struct {
	queue  []freedNumber
	head   int    // of queue; what is before was given out
	pinned uint64 // what is kept was made at this position or later
}

type freedNumber struct {
	user uint32
	pos  uint64
}

func (f *freed) push(user uint32, pos uint64) { f.queue = append(f.queue, freedNumber{user, pos}) }

func (f *freed) len() int { return len(f.queue) - f.head }

// next returns the first number if it may be given out.
func (f *freed) next() (uint32, bool) {
	if f.head == len(f.queue) || f.queue[f.head].pos >= f.pinned {
		return 0, false
	}
	return f.queue[f.head].user, true
}

// pop takes the first number out if it is this one.
func (f *freed) pop(user uint32) bool {
	if f.head == len(f.queue) || f.queue[f.head].user != user {
		return false
	}
	if f.head++; f.head >= 1024 && f.head > len(f.queue)/2 {
		f.queue = append(make([]freedNumber, 0, f.len()+f.len()/4), f.queue[f.head:]...)
		f.head = 0
	}
	return true
}

// Pin keeps the numbers of users that were deleted at a position or later from
// being given out. Without anything to keep, the position is Unsettled.
func (u *Users) Pin(pos uint64) { u.freed.pinned = pos }

// Settle sets the group of the deletions that were applied as Unsettled.
func (u *Users) Settle(pos uint64) {
	q := u.freed.queue
	for i := len(q) - 1; i >= u.freed.head && q[i].pos == Unsettled; i-- {
		q[i].pos = pos
	}
}

// Resting returns how many numbers of deleted users have not been given out again.
func (u *Users) Resting() int { return u.freed.len() }

// NextNumber returns the number that the next user gets.
func (u *Users) NextNumber() uint32 {
	if n, ok := u.freed.next(); ok {
		return n
	}
	return u.accounts.next
}

// Apply applies an effect. Pos is the position of the group that holds it, or
// Unsettled. An effect that does not fit the users, because something before it
// is missing or was damaged, is an error and changes nothing.
func (u *Users) Apply(e *audience.Effect, pos uint64) error {
	var buf, old [audience.MaxTags]uint16
	tags, had := buf[:0], old[:0]
	kind := e.Kind
	switch e.Op {
	case audience.Make:
		if _, exists := u.Find(e.Account); exists {
			return fmt.Errorf("user %d: account %q exists already", e.User, e.Account)
		}
		if free := u.freed.head < len(u.freed.queue) && u.freed.queue[u.freed.head].user == e.User; !free && e.User != u.accounts.next {
			return fmt.Errorf("user %d: the number is not the next one, %d", e.User, u.accounts.next)
		}
		if len(e.Untagged) > 0 || e.Cleared != 0 {
			return fmt.Errorf("user %d is new and loses something", e.User)
		}
	case audience.Edit, audience.Remove:
		if !u.Has(e.User) {
			return fmt.Errorf("user %d does not exist", e.User)
		}
		if e.Op == audience.Remove {
			u.remove(e.User, pos)
			return nil
		}
		kind = u.Kind(e.User)
		if len(e.Tagged)+len(e.Untagged) > 0 {
			had = u.TagList(e.User, had)
		}
	default:
		return fmt.Errorf("user %d: effect %d is not known", e.User, e.Op)
	}
	if len(e.Tagged)+len(e.Untagged) > 0 {
		var err error
		if tags, err = u.retag(had, e, kind, tags); err != nil {
			return fmt.Errorf("user %d: %w", e.User, err)
		}
	}

	if e.Op == audience.Make {
		u.freed.pop(e.User)
		u.accounts.addAt(e.User, e.Account)
		u.changes.users = u.changes.noted()
		u.byKind[e.Kind].Add(e.User)
	}
	if e.Op == audience.Make || e.Created != 0 {
		u.created.set(e.User, e.Created)
	}
	for i, v := range e.Set {
		if v != "" {
			u.set(e.User, i, v)
		}
	}
	for i := range audience.Slots {
		if e.Cleared.Has(i) {
			u.set(e.User, i, "")
		}
	}
	if len(e.Tagged)+len(e.Untagged) > 0 {
		for _, name := range e.Tagged {
			tags = append(tags, uint16(u.addTag(name, kind)))
		}
		slices.Sort(tags)
		u.setTags(e.User, tags)
	}
	return nil
}

// retag appends to list what an effect leaves of the tags that its user had, and
// checks those that are new to the user.
func (u *Users) retag(had []uint16, e *audience.Effect, kind audience.Kind, list []uint16) ([]uint16, error) {
	list = append(list, had...)
	for _, name := range e.Untagged {
		t, known := u.FindTag(name)
		i, has := slices.BinarySearch(list, uint16(t))
		if !known || !has {
			return nil, fmt.Errorf("does not have tag %q", name)
		}
		list = slices.Delete(list, i, i+1)
	}
	fresh := 0
	for i, name := range e.Tagged {
		t, known := u.FindTag(name)
		switch {
		case slices.Contains(e.Tagged[:i], name):
			return nil, fmt.Errorf("gets tag %q twice", name)
		case !known:
			fresh++
		case u.TagKind(t) != kind:
			return nil, fmt.Errorf("tag %q is for account type %d", name, u.TagKind(t))
		default:
			if _, has := slices.BinarySearch(had, uint16(t)); has {
				return nil, fmt.Errorf("has tag %q already", name)
			}
		}
	}
	if n := len(list) + len(e.Tagged); n > audience.MaxTags {
		return nil, fmt.Errorf("would have %d tags", n)
	}
	if n := u.TagCount() + fresh; fresh > 0 && n > audience.MostAppTags {
		return nil, fmt.Errorf("the app would have %d tags", n)
	}
	return list, nil
}

// remove takes user n away with its attributes and tags. The number rests.
func (u *Users) remove(n uint32, pos uint64) {
	for i := range u.slots {
		u.set(n, i, "")
	}
	u.setTags(n, nil)
	u.created.set(n, 0)
	u.changes.users = u.changes.noted()
	u.byKind[u.Kind(n)].Remove(n)
	u.accounts.remove(n)
	u.freed.push(n, pos)
}
