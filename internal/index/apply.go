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
	queue[freedNumber]
	pinned uint64 // what is kept was made at this position or later
}

type freedNumber struct {
	user uint32
	pos  uint64
}

// next returns the first number if it may be given out.
func (f *freed) next() (uint32, bool) {
	if f.n == 0 || f.at(0).pos >= f.pinned {
		return 0, false
	}
	return f.at(0).user, true
}

// isFirst reports whether a user's number is the first.
func (f *freed) isFirst(user uint32) bool { return f.n > 0 && f.at(0).user == user }

// Pin keeps the numbers of users that were deleted at a position or later from
// being given out. Without anything to keep, the position is Unsettled.
func (u *Users) Pin(pos uint64) { u.freed.pinned = pos }

// Waiting reports whether numbers of deleted users wait for what is kept.
func (u *Users) Waiting() bool { return u.freed.n > 0 && u.freed.at(0).pos >= u.freed.pinned }

// Settle sets the group of the deletions that were applied as Unsettled. No view is
// taken between the two.
func (u *Users) Settle(pos uint64) {
	for i := u.freed.n - 1; i >= 0 && u.freed.at(i).pos == Unsettled; i-- {
		u.freed.at(i).pos = pos
	}
}

// Resting returns how many numbers of deleted users have not been given out again.
func (u *View) Resting() int { return u.freed.n }

// NextNumber returns the number that the next user gets.
func (u *View) NextNumber() uint32 {
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
		if !u.freed.isFirst(e.User) && e.User != u.accounts.next {
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
		if u.freed.isFirst(e.User) {
			u.freed.pop()
		}
		u.accounts.addAt(e.User, e.Account)
		u.changes.users = u.changes.noted()
		u.byKind[e.Kind].add(e.User)
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
	u.removeDevices(n)
	u.created.set(n, 0)
	u.changes.users = u.changes.noted()
	u.byKind[u.Kind(n)].remove(n)
	u.accounts.remove(n)
	u.freed.push(freedNumber{n, pos})
}
