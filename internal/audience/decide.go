package audience

import (
	"slices"
	"time"

	"tidings/internal/apierr"
)

// A State answers what a decision depends on about the users of an app. The users do
// not change between a decision and the application of its effect.
type State interface {
	// Find returns the number of an account.
	Find(account string) (user uint32, exists bool)
	// NextNumber returns the number that the next user gets.
	NextNumber() uint32
	// Len returns how many users there are.
	Len() int
	Kind(user uint32) Kind
	Created(user uint32) uint32
	// HasValue reports whether the user has exactly this value in a slot; the
	// empty one stands for no value.
	HasValue(user uint32, slot int, value string) bool
	// FindTag returns the number of a tag that some user has.
	FindTag(name string) (tag uint32, exists bool)
	TagName(tag uint32) []byte
	TagKind(tag uint32) Kind
	// TagCount returns how many different tags the users have.
	TagCount() int
	// TagUsers returns how many users have a tag.
	TagUsers(tag uint32) uint32
	// TagList appends the numbers of the user's tags, ascending.
	TagList(user uint32, list []uint16) []uint16
	// Full reports whether there may be no room for anything more.
	Full() bool
}

// MostAppTags is the most different tags that the users of an app can have, whatever the
// app allows: the number of a tag has two bytes.
const MostAppTags = 1 << 16

// A Decider decides what changes do to the users of an app. A store writes and applies
// nothing but effects that a Decider returned, for requests, imports and the demo alike.
type Decider struct {
	State State
	Now   uint32 // Unix second
	Rules Rules
	// Deleted returns the second at which an account of this name was deleted; 0 if no
	// such account was deleted. It is called only if Rules has a ReimportWait of at least a
	// second, and may be nil otherwise.
	Deleted func(account string) (int64, error)
}

// Change decides a change, sets e to its effect and reports whether there is one: a change
// that leaves the user as it is has no effect. The lists of e are reused. An error says
// why the change is refused, as a whole.
func (d *Decider) Change(c *Change, e *Effect) (bool, *apierr.Error) {
	*e = Effect{Tagged: e.Tagged[:0], Untagged: e.Untagged[:0]}
	user, exists, err := d.subject(c)
	if err != nil {
		return false, err
	}
	if d.State.Full() && c.Grows(exists) {
		return false, apierr.Internal.Errorf("the index of the app is full")
	}
	if exists {
		e.Op, e.User, e.Kind = Edit, user, d.State.Kind(user)
		if c.Created != 0 && c.Created != d.State.Created(user) {
			e.Created = c.Created
		}
	} else {
		if err := d.forbidden(c.Account); err != nil {
			return false, err
		}
		e.Op, e.User, e.Kind, e.Account, e.Created = Make, d.State.NextNumber(), c.Kind, c.Account, c.Created
		if e.Created == 0 {
			e.Created = d.Now
		}
	}
	if err := d.tags(&c.Tags, exists, e); err != nil {
		return false, err
	}
	for slot, value := range c.Set {
		switch {
		case value != "":
			if !exists || !d.State.HasValue(user, slot, value) {
				e.Set[slot] = value
			}
		case exists && c.Remove.Has(slot) && !d.State.HasValue(user, slot, ""):
			e.Cleared.Add(slot)
		}
	}
	return !exists || !e.empty(), nil
}

// forbidden returns why the rules of the app forbid a new account; nil if they do not.
func (d *Decider) forbidden(account string) *apierr.Error {
	if limit := d.Rules.MaxAccounts; limit > 0 && d.State.Len() >= limit {
		return apierr.AccountLimit.Errorf("the app has %d accounts, it may have %d", d.State.Len(), limit)
	}
	wait := int64(d.Rules.ReimportWait / time.Second)
	if wait <= 0 {
		return nil
	}
	deleted, err := d.Deleted(account)
	if err != nil {
		return apierr.Internal.Because(err)
	}
	if until := deleted + wait; deleted > 0 && int64(d.Now) < until {
		return apierr.ReimportTooSoon.Errorf("the account was deleted and can be made again after %s", time.Unix(until, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// subject returns the number of the account that a change is about, and whether the
// account exists. An error says why the account cannot be changed or created.
func (d *Decider) subject(c *Change) (user uint32, exists bool, err *apierr.Error) {
	user, exists = d.State.Find(c.Account)
	kind := c.Kind
	switch {
	case exists:
		kind = d.State.Kind(user)
	case !c.Create || c.Account == "" || len(c.Account) > MaxAccountBytes:
		return 0, false, apierr.UnknownAccount.Errorf("account does not exist")
	}
	return user, exists, c.Allows(kind)
}

// Delete decides the deletion of an account of a kind, and sets e to its effect. An
// account that does not exist, or is of the other kind, is 70107.
func (d *Decider) Delete(account string, kind Kind, e *Effect) *apierr.Error {
	user, exists := d.State.Find(account)
	if !exists || d.State.Kind(user) != kind {
		return apierr.UnknownAccount.Errorf("account does not exist")
	}
	*e = Effect{Op: Remove, User: user, Tagged: e.Tagged[:0], Untagged: e.Untagged[:0]}
	return nil
}

// tags decides an edit of the tags of the user of e. A tag of the other account type is
// 90035. More tags than the user or the app may have are 90032.
func (d *Decider) tags(edit *TagEdit, exists bool, e *Effect) *apierr.Error {
	if edit.Op == KeepTags {
		return nil
	}
	var buf [MaxTags]uint16
	had := buf[:0]
	if exists {
		had = d.State.TagList(e.User, had)
	}
	switch edit.Op {
	case ClearTags:
		d.untag(had, e)
		return nil
	case RemoveTags:
		for _, name := range edit.Tags {
			if t, exists := d.State.FindTag(name); exists && has(had, t) && !slices.Contains(e.Untagged, name) {
				e.Untagged = append(e.Untagged, name)
			}
		}
		return nil
	}
	var keepBuf [MaxTags]uint16
	keep := keepBuf[:0] // the tags of the edit that the user has
	fresh := 0          // tags of the edit that no user has
	for _, name := range edit.Tags {
		t, exists := d.State.FindTag(name)
		switch {
		case exists && d.State.TagKind(t) != e.Kind:
			return apierr.WrongAccountKind.Errorf("tag %s is not for this account type", name)
		case exists && has(had, t):
			if !slices.Contains(keep, uint16(t)) {
				keep = append(keep, uint16(t))
			}
		case !slices.Contains(e.Tagged, name):
			e.Tagged = append(e.Tagged, name)
			if !exists {
				fresh++
			}
		}
	}
	total := len(had)
	if edit.Op == ReplaceTags {
		total = len(keep)
	}
	if total += len(e.Tagged); total > MaxTags {
		return apierr.TooManyTags.Errorf("the user would have %d tags, it may have %d", total, MaxTags)
	}
	var lost []uint16
	freed := 0 // tags that no user has any more
	if edit.Op == ReplaceTags {
		lost = slices.DeleteFunc(had, func(t uint16) bool { return slices.Contains(keep, t) })
		for _, t := range lost {
			if d.State.TagUsers(uint32(t)) == 1 {
				freed++
			}
		}
	}
	// A tag that this user was the last to have makes room for another under the app's
	// limit. It does not under the limit of numbers: new tags get their numbers before
	// those of lost tags are free.
	count, limit := d.State.TagCount()+fresh, edit.AppMax
	if limit == 0 || count > MostAppTags {
		limit, freed = MostAppTags, 0
	}
	if fresh > 0 && count-freed > limit {
		return apierr.TooManyTags.Errorf("tag %s is new, and the app may have %d different tags", d.firstFresh(e.Tagged), limit)
	}
	d.untag(lost, e)
	return nil
}

// untag adds tags to those that the effect takes away.
func (d *Decider) untag(tags []uint16, e *Effect) {
	for _, t := range tags {
		e.Untagged = append(e.Untagged, string(d.State.TagName(uint32(t))))
	}
}

// firstFresh returns that of some names, in alphabetical order, which no user has as a
// tag.
func (d *Decider) firstFresh(names []string) string {
	for _, name := range slices.Sorted(slices.Values(names)) {
		if _, exists := d.State.FindTag(name); !exists {
			return name
		}
	}
	return ""
}

// has reports whether an ascending list holds a tag.
func has(list []uint16, tag uint32) bool {
	_, found := slices.BinarySearch(list, uint16(tag))
	return found
}
