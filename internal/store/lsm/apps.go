package lsm

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// Apps is the app.Store of the directory.
type Apps struct{ *tenants }

var _ app.Store = (*Apps)(nil)

// Apps returns every app.
func (s *Apps) Apps(ctx context.Context) ([]*app.App, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	var apps []*app.App
	var pos journal.Pos
	for _, x := range s.all() {
		x.mu.RLock()
		if x.app != nil {
			apps = append(apps, x.app)
		}
		pos = max(pos, x.pos)
		x.mu.RUnlock()
	}
	return apps, s.journal.Wait(ctx, pos)
}

// open returns an error if the store was closed.
func (t *tenants) open() error { return t.journal.Read(func(*journal.View) error { return nil }) }

// SaveApp stores an app, new or changed, and makes the accounts of its admins that
// do not exist. A new admin that is a RegistrationID is 90035. Once it has begun it
// returns with the outcome, even if ctx ends: who keeps apps in memory has to know
// what is on disk.
func (s *Apps) SaveApp(ctx context.Context, a *app.App) error {
	for _, admin := range a.Admins {
		if admin == "" || len(admin) > audience.MaxAccountBytes {
			return fmt.Errorf("admin %q of app %d is no account", admin, a.ID)
		}
	}
	if a.ID == 0 {
		return fmt.Errorf("app 0 cannot be stored")
	}
	entry, err := appendApp(a)
	if err != nil {
		return err
	}
	if err := s.journal.Reserve(ctx, false); err != nil {
		return err
	}
	pos, err := s.save(a, entry)
	return cmp.Or(s.journal.Wait(context.WithoutCancel(ctx), pos), err)
}

// save saves an app and returns the group that the outcome rests on.
func (s *Apps) save(a *app.App, entry []byte) (journal.Pos, error) {
	x, isNew := s.lockOrMake(a.ID)
	defer x.mu.Unlock()
	defer s.journal.Guard()
	for _, admin := range a.Admins {
		if x.app != nil && x.app.IsAdmin(admin) {
			continue
		}
		n, exists := x.users.Find(admin)
		if !exists && x.users.Full() {
			return x.pos, apierr.Internal.Errorf("the index of the app is full, and admin %q has no account", admin)
		}
		if exists && x.users.Kind(n) != audience.UserID {
			return x.pos, apierr.WrongAccountKind.Errorf("account %q is a RegistrationID, an admin has to be a UserID", admin)
		}
	}
	x.pin()
	pos, err := s.journal.Commit(a.ID, false, func(b *journal.Batch) {
		b.Memory(entry)
		x.app, x.viewed = a, nil
		for _, admin := range a.Admins {
			if _, exists := x.users.Find(admin); !exists {
				x.apply(b, &audience.Effect{Op: audience.Make, User: x.users.NextNumber(), Account: admin, Created: uint32(time.Now().Unix())})
			}
		}
	})
	if err != nil {
		if isNew {
			x.gone = true // for whoever waits for its lock
			s.drop(x)
		}
		return 0, err
	}
	for _, admin := range a.Admins {
		s.touch(x, pos, admin, &pos)
	}
	if isNew {
		x.pending.since = pos
		for i := range x.last {
			x.last[i] = pos // who finds an account missing has found the app too
		}
	}
	x.changed(pos)
	return pos, nil
}

// apply applies an effect to the memory and adds it to the batch.
func (x *tenant) apply(b *journal.Batch, e *audience.Effect) {
	x.viewed = nil
	if err := x.users.Apply(e, index.Unsettled); err != nil {
		panic(fmt.Sprintf("lsm: an effect that was decided does not fit: app %d, %+v: %v", x.id, *e, err))
	}
	b.AppendMemory(func(buf []byte) []byte { return appendEffect(buf, e) })
}

// lockOrMake returns the tenant of an app, locked, and whether it is new.
func (t *tenants) lockOrMake(id uint32) (x *tenant, isNew bool) {
	for {
		t.mu.Lock()
		if x = t.byID[id]; x == nil || x.isGone() {
			x = newTenant(id)
			x.mu.Lock() // before anybody else can
			t.byID[id] = x
			t.mu.Unlock()
			return x, true
		}
		t.mu.Unlock()
		x.mu.Lock()
		if !x.gone {
			return x, false
		}
		x.mu.Unlock()
	}
}

// isGone reports whether the app is deleted, if that can be told at once.
func (x *tenant) isGone() bool {
	if !x.mu.TryRLock() {
		return false
	}
	defer x.mu.RUnlock()
	return x.gone
}

// DeleteApp takes an app away with everything in it, and makes all tickets issued
// for it up to now invalid. Like SaveApp it returns with the outcome once it has
// begun.
func (s *Apps) DeleteApp(ctx context.Context, id uint32) error {
	var pos journal.Pos
	err := s.write(ctx, id, false, func(x *tenant) (err error) {
		pos, err = s.journal.Commit(id, false, func(b *journal.Batch) {
			b.Memory([]byte{entryDeleted})
			b.Clear()
			b.Raise(tableEnded, nil, uint64(time.Now().Unix()))
			x.gone, x.app, x.users, x.deleted = true, nil, noUsers, deletions{}
			x.pending = pending{}
			x.pages.clear()
			x.estimates.clear()
			x.tasks.clear()
		})
		x.changed(pos)
		return err
	})
	if err != nil {
		return err
	}
	return s.journal.Wait(context.WithoutCancel(ctx), pos)
}
