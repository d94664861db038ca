package storetest

import (
	"maps"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
)

// modelApp is an app as the model knows it.
type modelApp struct {
	app     *app.App
	users   map[string]*modelUser
	revoked map[string]span // by account, of one that was deleted too
	ended   span            // the last deletion of an app of this number
}

// modelUser is a user. One that is deleted and made again is another.
type modelUser struct {
	kind       audience.Kind
	values     audience.Values
	tags       []string // in order
	nick, face string
	created    span
}

// A span is a Unix second of which the model knows the limits.
type span struct{ min, max int64 }

func (s span) has(second int64) bool { return s.min <= second && second <= s.max }

// soon returns the second of what is about to happen.
func soon() span {
	now := time.Now().Unix()
	return span{now, now + 600}
}

func (u *modelUser) traits() *audience.Traits {
	return &audience.Traits{Kind: u.kind, Values: u.values, Tags: u.tags}
}

// tags counts the users of each tag. The kind of a tag is that of its users.
func (a *modelApp) tags() map[string]audience.ValueCount {
	counts := map[string]audience.ValueCount{}
	for _, u := range a.users {
		for _, tag := range u.tags {
			counts[tag] = audience.ValueCount{Value: tag, Count: counts[tag].Count + 1, Kind: u.kind}
		}
	}
	return counts
}

// values counts the users of each value of a slot.
func (a *modelApp) values(slot int) map[string]audience.ValueCount {
	counts := map[string]audience.ValueCount{}
	for _, u := range a.users {
		if v := u.values[slot]; v != "" {
			counts[v] = audience.ValueCount{Value: v, Count: counts[v].Count + 1}
		}
	}
	return counts
}

// accounts returns the names of all users in order.
func (a *modelApp) accounts() []string { return slices.Sorted(maps.Keys(a.users)) }

// edited returns the tags that an edit leaves a user who has some.
func edited(tags []string, edit *audience.TagEdit) []string {
	set := map[string]bool{}
	if edit.Op == audience.KeepTags || edit.Op == audience.AddTags || edit.Op == audience.RemoveTags {
		for _, tag := range tags {
			set[tag] = true
		}
	}
	for _, tag := range edit.Tags {
		switch edit.Op {
		case audience.AddTags, audience.ReplaceTags:
			set[tag] = true
		case audience.RemoveTags:
			delete(set, tag)
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// refusal is why a change cannot be made to the app as it is; nil if it can.
func (a *modelApp) refusal(c *audience.Change) *apierr.Kind {
	u, kind := a.users[c.Account], c.Kind
	var tags []string
	switch {
	case u != nil:
		kind, tags = u.kind, u.tags
	case !c.Create:
		return apierr.UnknownAccount
	}
	switch {
	case c.UserIDOnly && kind != audience.UserID:
		return apierr.UnknownAccount
	case c.OfKind && kind != c.Kind:
		return apierr.WrongAccountKind
	}
	for slot, v := range c.Set {
		if v != "" && Attributes[slot].Kind != kind {
			return apierr.WrongAccountKind
		}
	}
	if c.Tags.Op != audience.AddTags && c.Tags.Op != audience.ReplaceTags {
		return nil
	}
	counts := a.tags()
	for _, tag := range c.Tags.Tags {
		if count, used := counts[tag]; used && count.Kind != kind {
			return apierr.WrongAccountKind
		}
	}
	had := tags
	tags = edited(tags, &c.Tags)
	if len(tags) > audience.MaxTags {
		return apierr.TooManyTags
	}
	if more := unused(tags, counts); more > 0 && c.Tags.AppMax > 0 && len(counts)+more-freed(had, tags, counts) > c.Tags.AppMax {
		return apierr.TooManyTags
	}
	return nil
}

// unused counts the tags that no user has.
func unused(tags []string, counts map[string]audience.ValueCount) (n int) {
	for _, tag := range tags {
		if _, used := counts[tag]; !used {
			n++
		}
	}
	return n
}

// freed counts the tags of a user that nobody has any more when the user has others
// instead: they count no more for the limit of the app.
func freed(had, tags []string, counts map[string]audience.ValueCount) (n int) {
	for _, tag := range had {
		if counts[tag].Count == 1 && !slices.Contains(tags, tag) {
			n++
		}
	}
	return n
}

// apply makes a change, or returns why it cannot be made.
func (a *modelApp) apply(c *audience.Change) *apierr.Kind {
	if kind := a.refusal(c); kind != nil {
		return kind
	}
	u := a.users[c.Account]
	if u == nil {
		u = &modelUser{kind: c.Kind, created: soon()}
		a.users[c.Account] = u
	}
	if c.Created != 0 {
		u.created = span{int64(c.Created), int64(c.Created)}
	}
	for slot := range u.values {
		if c.Set[slot] != "" {
			u.values[slot] = c.Set[slot]
		} else if c.Remove.Has(slot) {
			u.values[slot] = ""
		}
	}
	u.tags = edited(u.tags, &c.Tags)
	for _, p := range []struct{ field, value *string }{{&u.nick, c.Profile.Nick}, {&u.face, c.Profile.FaceURL}} {
		if p.value != nil {
			*p.field = *p.value
		} else if c.Profile.Clear {
			*p.field = ""
		}
	}
	return nil
}

// copyOf returns a user as it is; nil if there is none.
func (a *modelApp) copyOf(account string) *modelUser {
	u := a.users[account]
	if u == nil {
		return nil
	}
	c := *u
	c.tags = slices.Clone(u.tags)
	return &c
}

// put makes a user one that was copied.
func (a *modelApp) put(account string, u *modelUser) {
	if u == nil {
		delete(a.users, account)
	} else {
		a.users[account] = u
	}
}

// remove deletes an account, not before a second.
func (a *modelApp) remove(account string, since int64, revokes bool) {
	a.revokeDeleted(account, since, revokes)
	delete(a.users, account)
}

// revokeDeleted notes what a deletion makes of the tickets of an account. A
// RegistrationID has none that it must make invalid, but it may.
func (a *modelApp) revokeDeleted(account string, since int64, revokes bool) {
	if !revokes {
		delete(a.revoked, account)
		return
	}
	r := a.revoked[account]
	r.max = max(r.max, since+600)
	if a.users[account].kind == audience.UserID {
		r.min = since
	}
	a.revoked[account] = r
}

// kindOf returns whom a query is about: the kind of the attributes and tags that
// it names, else the one asked for. It reports false if they are of both kinds.
func (a *modelApp) kindOf(q audience.Query) (audience.Kind, bool) {
	counts, kinds := a.tags(), map[audience.Kind]bool{}
	audience.Walk(q.Expr, func(term audience.Expr) {
		if ref, ok := audience.AttrOf(term); ok {
			kinds[Attributes[ref.Slot].Kind] = true
		} else if tag, ok := term.(audience.HasTag); ok {
			if count, used := counts[tag.Tag]; used {
				kinds[count.Kind] = true
			}
		}
	})
	if len(kinds) == 0 {
		return q.Kind, true
	}
	return slices.Collect(maps.Keys(kinds))[0], len(kinds) == 1
}

// selected returns the users of a kind that an expression is true of.
func (a *modelApp) selected(e audience.Expr, kind audience.Kind) map[string]*modelUser {
	users := map[string]*modelUser{}
	for account, u := range a.users {
		if u.kind == kind && e.Matches(u.traits()) {
			users[account] = u
		}
	}
	return users
}
