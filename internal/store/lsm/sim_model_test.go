package lsm_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store/storetest"
)

// simApp is an app as one client knows it: all of an app that only this client uses,
// of a shared one its own accounts. It is not changed once it is known.
type simApp struct {
	exists  bool
	stamp   string // the description of the app; of a shared one nothing
	admins  []string
	users   map[string]*simUser
	revoked map[string]simSpan // up to when tickets are invalid, by account
	ended   simSpan            // the same for all, since the app was deleted
	ends    int                // how often it was deleted, which may be twice in a second
}

// simUser is a user. It is not changed. One that is deleted and made again is another.
type simUser struct {
	born   int // tells users of one name apart
	kind   audience.Kind
	values audience.Values
	tags   []string // in order
	nick   string
}

// A simSpan holds a second that is known by its limits only.
type simSpan struct{ min, max int64 }

func (s simSpan) raised(by simSpan) simSpan { return simSpan{max(s.min, by.min), max(s.max, by.max)} }

// simSoon is the second of what a call does that begins now.
func simSoon() simSpan { now := time.Now().Unix(); return simSpan{now, now + 3600} }

func (a *simApp) clone() *simApp {
	b := *a
	b.users, b.revoked = maps.Clone(a.users), maps.Clone(a.revoked)
	return &b
}

func (u *simUser) traits() *audience.Traits {
	return &audience.Traits{Kind: u.kind, Values: u.values, Tags: u.tags}
}

// change makes a change, or returns why it cannot be made. Born is for a new user.
func (a *simApp) change(c *audience.Change, born int) *apierr.Kind {
	old := a.users[c.Account]
	if old == nil {
		if !c.Create {
			return apierr.UnknownAccount
		}
		old = &simUser{born: born, kind: c.Kind}
	}
	u := *old
	for slot, v := range c.Set {
		if v != "" && storetest.Attributes[slot].Kind != u.kind {
			return apierr.WrongAccountKind
		}
		if v != "" {
			u.values[slot] = v
		} else if c.Remove.Has(slot) {
			u.values[slot] = ""
		}
	}
	u.tags = simEdited(u.tags, &c.Tags)
	if c.Profile.Nick != nil {
		u.nick = *c.Profile.Nick
	}
	a.users[c.Account] = &u
	return nil
}

// simEdited returns the tags that an edit leaves.
func simEdited(tags []string, edit *audience.TagEdit) []string {
	set := map[string]bool{}
	if edit.Op != audience.ReplaceTags && edit.Op != audience.ClearTags {
		for _, tag := range tags {
			set[tag] = true
		}
	}
	for _, tag := range edit.Tags {
		if edit.Op == audience.RemoveTags {
			delete(set, tag)
		} else {
			set[tag] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// remove deletes accounts of a kind and returns the answers.
func (a *simApp) remove(kind audience.Kind, accounts []string) (answers []*apierr.Kind) {
	for _, account := range accounts {
		u := a.users[account]
		switch {
		case kind == audience.UserID && slices.Contains(a.admins, account):
			answers = append(answers, apierr.BadAccountField)
		case u == nil || u.kind != kind:
			answers = append(answers, apierr.UnknownAccount)
		default:
			delete(a.users, account)
			a.revoked[account] = a.revoked[account].raised(simSoon())
			answers = append(answers, nil)
		}
	}
	return answers
}

// save makes the app, or changes it, with accounts for its admins.
func (a *simApp) save(record *app.App, born func() int) {
	a.exists, a.stamp, a.admins = true, record.Description, record.Admins
	for _, admin := range record.Admins {
		if a.users[admin] == nil {
			a.users[admin] = &simUser{born: born()}
		}
	}
}

// end deletes the app.
func (a *simApp) end() {
	*a = simApp{users: map[string]*simUser{}, revoked: map[string]simSpan{}, ended: simSoon(), ends: a.ends + 1}
}

// selected returns the users of a kind that an expression is true of.
func (a *simApp) selected(e audience.Expr, kind audience.Kind) map[string]*simUser {
	users := map[string]*simUser{}
	for account, u := range a.users {
		if u.kind == kind && e.Matches(u.traits()) {
			users[account] = u
		}
	}
	return users
}

// simFound is what a store says of an app, as far as a client knows it.
type simFound struct {
	exists  bool
	stamp   string
	users   map[string]*simUser
	revoked map[string]int64
}

// differs returns what is otherwise in a store; empty if nothing is.
func (a *simApp) differs(got *simFound) string {
	if a.exists != got.exists || a.stamp != got.stamp {
		return fmt.Sprintf("the app is there: %t, %q; want %t, %q", got.exists, got.stamp, a.exists, a.stamp)
	}
	var b strings.Builder
	for account, u := range a.users {
		g := got.users[account]
		if g == nil || g.kind != u.kind || g.values != u.values || !slices.Equal(g.tags, u.tags) || g.nick != u.nick {
			fmt.Fprintf(&b, "%s is %v, want %v; ", account, simShow(g), simShow(u))
		}
	}
	for account, g := range got.users {
		if a.users[account] == nil {
			fmt.Fprintf(&b, "%s is %v, want nobody; ", account, simShow(g))
		}
	}
	for account, second := range got.revoked {
		want := a.revoked[account].raised(a.ended)
		if !a.exists {
			want = simSpan{}
		}
		if second < want.min || second > want.max {
			fmt.Fprintf(&b, "%s is revoked up to %d, want %d to %d; ", account, second, want.min, want.max)
		}
	}
	return b.String()
}

func simShow(u *simUser) string {
	if u == nil {
		return "nobody"
	}
	return fmt.Sprintf("kind %d %q %q %q", u.kind, u.values, u.tags, u.nick)
}
