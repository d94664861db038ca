package lsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/zeebo/xxh3"

	"tidings/internal/app"
	"tidings/internal/index"
	"tidings/internal/store"
	"tidings/internal/store/journal"
)

// CheckDir checks a data directory that no process has open. Files that are not as
// they were written, and so keep Open from opening it, are a finding. It changes
// nothing. An err means that the check could not be made or finished; it is *InUse
// if a process has the directory open.
func CheckDir(ctx context.Context, dir string, opts Options, report func(store.Finding)) (store.Summary, error) {
	opts.ReadOnly = true
	if sound, err := checkKind(ctx, dir, opts, report); err != nil || !sound {
		return store.Summary{}, err
	}
	s, err := Open(dir, opts)
	if damage, ok := errors.AsType[*journal.Damage](err); ok {
		report(store.Finding{Where: damage.File, What: damage.Error()})
		return store.Summary{}, nil
	}
	if journal.Unreadable(err) && !errors.Is(err, fs.ErrPermission) {
		report(store.Finding{Where: "database", What: err.Error()})
		return store.Summary{}, nil
	}
	if err != nil {
		return store.Summary{}, err
	}
	sum, err := s.Check(ctx, report)
	if err == nil {
		err = s.checkFiles(ctx, report)
	}
	return sum, errors.Join(err, s.Close())
}

// Check looks at everything there is and reports all that is inconsistent; it
// changes nothing. In a running server it sees each app at one moment. An err means
// that the check was not finished.
func (s *Store) Check(ctx context.Context, report func(store.Finding)) (store.Summary, error) {
	c := checker{report: report}
	users, devices := map[uint32]*index.View{}, map[uint32]*deviceCheck{}
	var pos journal.Pos
	for _, x := range s.tenants.all() {
		if ctx.Err() != nil {
			return c.sum, context.Cause(ctx)
		}
		v, at, _ := s.tenants.seal(x, s.journal.Seal)
		if v == nil {
			continue
		}
		pos = max(pos, at)
		c.sum.Apps++
		c.sum.Users += v.users.Len()
		users[x.id], devices[x.id] = v.users, &deviceCheck{s: s, app: x.id, users: v.users}
		c.tenant(x.id, v.app.Admins, v.users)
		c.values(x.id, v.app, v.users)
	}
	if err := s.journal.Wait(ctx, pos); err != nil {
		return c.sum, err
	}
	for _, x := range s.tenants.all() {
		if err := s.Tasks.check(ctx, x, c.wrong); err != nil {
			return c.sum, err
		}
	}
	wrong := func(where, what string) { c.wrong(where, "%s", what) }
	err := s.journal.Check(ctx, wrong, func(t *journal.Table, id uint32, key, value []byte) {
		c.sum.Other++
		x := users[id]
		switch {
		case t.PerApp && x == nil && s.tenants.find(id) == nil:
			c.wrong(fmt.Sprintf("%s %x of app %d", t.Name, key, id), "the app does not exist")
		case (t == tableNick || t == tableFace) && x != nil && !x.Has(binary.BigEndian.Uint32(key)) && !s.has(id, binary.BigEndian.Uint32(key)):
			c.wrong(fmt.Sprintf("%s %x of app %d", t.Name, key, id), "user %d does not exist", binary.BigEndian.Uint32(key))
		case t == tableDevice || t == tableAddress || t == tableVersion || t == tableRetired || t == tableBadge:
			if d := devices[id]; d != nil {
				d.record(&c, t, key, value)
			}
		}
	})
	if err == nil {
		for _, x := range s.tenants.all() {
			if d := devices[x.id]; d != nil {
				d.end(&c)
			}
		}
	}
	return c.sum, err
}

// has reports whether an app has a user by now, who may have been made after the check
// began.
func (s *Store) has(id, user uint32) bool {
	x := s.tenants.find(id)
	if x == nil {
		return true
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.gone || x.users.Has(user)
}

// checkFiles looks at the files that a start does not need, and builds the memory a
// second time, from them: both must be equal.
func (s *Store) checkFiles(ctx context.Context, report func(store.Finding)) error {
	c := checker{report: report}
	if err := s.journal.CheckFiles(ctx, func(where, what string) { c.wrong(where, "%s", what) }); err != nil {
		return err
	}
	other := newTenants()
	m := &memory{tenants: other}
	defer m.stop()
	again, err := s.journal.Rebuild(m)
	if err != nil {
		c.wrong("log and checkpoints", "the apps cannot be made from the older ones: %v", err)
		return nil
	}
	if !again {
		return nil
	}
	for _, x := range s.tenants.all() {
		y := other.byID[x.id]
		if y == nil {
			c.wrong(fmt.Sprintf("app %d", x.id), "is in the newest checkpoint and not in what is before it")
			continue
		}
		one, err := digest(x)
		two, err2 := digest(y)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if !bytes.Equal(one, two) {
			c.wrong(fmt.Sprintf("app %d", x.id), "the newest checkpoint differs from what the log before it makes")
		}
	}
	if n, m := len(s.tenants.byID), len(other.byID); n < m {
		c.wrong("log and checkpoints", "the log makes %d apps, the newest checkpoint has %d", m, n)
	}
	return nil
}

// digest stands for all that a tenant is.
func digest(x *tenant) ([]byte, error) {
	sum := xxh3.New()
	entry, err := appendApp(x.app)
	if err != nil {
		return nil, err
	}
	_, _ = sum.Write(entry) // never fails
	err = x.users.Canonical(sum)
	return sum.Sum(nil), err
}

// checker is the state of a check.
type checker struct {
	report func(store.Finding)
	sum    store.Summary
}

func (c *checker) wrong(where, format string, args ...any) {
	c.report(store.Finding{Where: where, What: fmt.Sprintf(format, args...)})
}

// tenant looks for the accounts of admins.
func (c *checker) tenant(id uint32, admins []string, u *index.View) {
	for _, admin := range admins {
		if _, exists := u.Find(admin); !exists {
			c.wrong(fmt.Sprintf("app %d", id), "admin %q has no account", admin)
		}
	}
}

// values looks for values in slots that cannot have them.
func (c *checker) values(id uint32, a *app.App, u *index.View) {
	for n := range u.Limit() {
		if !u.Has(n) {
			continue
		}
		for slot := range a.Attributes {
			v := u.Value(n, slot)
			if v == nil {
				continue
			}
			switch attr := a.Attributes[slot]; {
			case attr.Name == "":
				c.wrong(fmt.Sprintf("user %q of app %d", u.Account(n), id), "has value %q in slot %d, which has no name", v, slot)
			case attr.Kind != u.Kind(n):
				c.wrong(fmt.Sprintf("user %q of app %d", u.Account(n), id), "has value %q in slot %d, which is for account type %d", v, slot, attr.Kind)
			}
		}
	}
}
