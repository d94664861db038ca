package lsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/index"
)

// Apps reads every app.
func (s *Store) Apps(ctx context.Context) ([]*app.App, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	var apps []*app.App
	err := s.scan(tableApp, nil, func(key, value []byte) error {
		a, err := parseApp(key, value)
		apps = append(apps, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	return apps, s.commit.waitFor(ctx, s.commit.newest()) // the scan saw no later group
}

func parseApp(key, value []byte) (*app.App, error) {
	id, err := parseAppKey(key)
	if err != nil {
		return nil, err
	}
	a := new(app.App)
	if err := json.Unmarshal(value, a); err != nil {
		return nil, fmt.Errorf("app %d: %w", id, err)
	}
	if a.ID != id {
		return nil, fmt.Errorf("app %d holds app %d", id, a.ID)
	}
	return a, nil
}

// SaveApp stores an app, new or changed, and makes the accounts of its admins
// that do not exist. Once it has begun it returns with the outcome, even if ctx
// ends: who keeps apps in memory has to know what is on disk.
func (s *Store) SaveApp(ctx context.Context, a *app.App) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding app %d: %w", a.ID, err)
	}
	for _, admin := range a.Admins {
		if admin == "" || len(admin) > audience.MaxAccountBytes {
			return fmt.Errorf("admin %q of app %d is no account", admin, a.ID)
		}
	}
	u, isNew := s.lockOrMake(a.ID)
	g, err := s.commit.add(func(b *pebble.Batch) {
		must(b.Set(appendKey(nil, tableApp, a.ID, ""), record, nil))
		for _, admin := range a.Admins {
			if _, exists := u.index.Find(admin); !exists {
				n := u.index.Add(admin, audience.UserID, uint32(time.Now().Unix()))
				s.putUser(b, a.ID, u.index, n)
			}
		}
	})
	if err != nil {
		u.mu.Unlock()
		if isNew {
			s.drop(a.ID, u)
		}
		return err
	}
	for _, admin := range a.Admins {
		u.last[s.place(admin)] = g.seq
	}
	u.newest = g.seq
	if isNew {
		for i := range u.last {
			u.last[i] = g.seq // who finds an account missing has found the app too
		}
	}
	u.mu.Unlock()
	return g.wait(context.WithoutCancel(ctx))
}

// lockOrMake gives the users of an app, locked, and tells whether they are new.
func (s *Store) lockOrMake(id uint32) (u *users, isNew bool) {
	for {
		s.mu.Lock()
		if u = s.apps[id]; u == nil {
			u = &users{index: index.NewUsers()}
			u.mu.Lock() // before anybody else can
			s.apps[id] = u
			s.mu.Unlock()
			return u, true
		}
		s.mu.Unlock()
		u.mu.Lock()
		if u.gone == 0 {
			return u, false
		}
		u.mu.Unlock()
		s.drop(id, u)
	}
}

// drop forgets the users of an app.
func (s *Store) drop(id uint32, u *users) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps[id] == u {
		delete(s.apps, id)
	}
}

// DeleteApp takes an app away with everything in it. Like SaveApp it returns
// with the outcome once it has begun.
func (s *Store) DeleteApp(ctx context.Context, id uint32) error {
	u, err := s.lockApp(ctx, id)
	if err != nil {
		return err
	}
	g, err := s.commit.add(func(b *pebble.Batch) {
		must(b.Delete(appendKey(nil, tableApp, id, ""), nil))
		s.logDeletion(b, id, "")
		for _, table := range append([]byte{tableUser}, accountTables...) {
			must(b.DeleteRange(appendKey(nil, table, id, ""), tableEnd(table, id), nil))
		}
	})
	if err == nil {
		u.gone, u.index = g.seq, index.NewUsers()
	}
	u.mu.Unlock()
	if err != nil {
		return err
	}
	if err := g.wait(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	s.drop(id, u)
	return nil
}

// AppIDs lists the apps there are, in order.
func (s *Store) AppIDs() []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := make([]uint32, 0, len(s.apps))
	for id := range s.apps {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Count returns how many accounts an app has.
func (s *Store) Count(ctx context.Context, app uint32) (n int, err error) {
	err = s.read(ctx, app, func(u *users) error {
		n = u.index.Len()
		return nil
	})
	if errors.Is(err, apierr.UnknownApp) {
		return 0, nil
	}
	return n, err
}

// lockApp gives the users of an app, locked for writing, unless ctx has ended.
func (s *Store) lockApp(ctx context.Context, id uint32) (*users, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u := s.find(id)
	if u == nil {
		return nil, apierr.UnknownApp
	}
	u.mu.Lock()
	if gone := u.gone; gone != 0 {
		u.mu.Unlock()
		return nil, s.unknownApp(ctx, gone)
	}
	return u, nil
}

func (s *Store) find(id uint32) *users {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.apps[id]
}

// unknownApp is the error for an app that was deleted in a group, once that is
// durable.
func (s *Store) unknownApp(ctx context.Context, gone uint64) error {
	if err := s.commit.waitFor(ctx, gone); err != nil {
		return err
	}
	return apierr.UnknownApp
}
