package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
)

// A slowStore keeps apps in memory, and lets the writes of an app wait while
// its disk is held. Like the real ones it does not end with its context.
type slowStore struct {
	mu    sync.Mutex
	apps  map[uint32]app.App
	disks map[uint32]chan struct{} // closed: goes on
	fail  error
}

func (s *slowStore) Apps(context.Context) (all []*app.App, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apps {
		all = append(all, &a)
	}
	return all, nil
}

func (s *slowStore) SaveApp(_ context.Context, a *app.App) error {
	return s.write(a.ID, func() { s.apps[a.ID] = *a })
}

func (s *slowStore) DeleteApp(_ context.Context, id uint32) error {
	return s.write(id, func() { delete(s.apps, id) })
}

func (s *slowStore) write(id uint32, f func()) error {
	s.mu.Lock()
	disk := s.disks[id]
	s.mu.Unlock()
	if disk != nil {
		<-disk
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		f()
	}
	return s.fail
}

// hold makes later writes of an app wait until release is called.
func (s *slowStore) hold(id uint32) (release func()) {
	disk := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disks[id] = disk
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.disks, id)
		close(disk)
	}
}

func openSlow(t *testing.T) (*app.Registry, *slowStore) {
	t.Helper()
	store := &slowStore{apps: map[uint32]app.App{}, disks: map[uint32]chan struct{}{}}
	return reopen(t, store), store
}

// call runs f in a goroutine and returns a function that returns its error, or
// fails the test if f has not returned when everybody waits for something.
func call(t *testing.T, what string, f func() error) (done func() error) {
	err := make(chan error, 1)
	go func() { err <- f() }()
	return func() error {
		t.Helper()
		synctest.Wait()
		select {
		case err := <-err:
			return err
		default:
			t.Fatalf("%s waits", what)
			return nil
		}
	}
}

// TestSlowDiskOfOneApp: while an app is being saved, the changes of others do
// not wait, nor does Forget; those of the app itself wait as long as they may.
func TestSlowDiskOfOneApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, store := openSlow(t)
		const slow, other = id, id + 1
		before := declare(t, r, app.Declaration{ID: slow})
		declare(t, r, app.Declaration{ID: other})
		release := store.hold(slow)
		suspended := call(t, "the slow change", func() error {
			_, err := r.SetStatus(t.Context(), slow, app.Suspended)
			return err
		})
		synctest.Wait()

		err := call(t, "a change of another app", func() error {
			_, err := r.AddAdmin(t.Context(), other, "ops")
			return err
		})()
		if err != nil || !r.App(other).IsAdmin("ops") {
			t.Errorf("AddAdmin of another app = %v, the admins are %v", err, r.App(other).Admins)
		}
		if err := call(t, "Forget", func() error { r.Forget(slow); return nil })(); err != nil {
			t.Error(err)
		}
		forgotten := r.App(slow)
		if forgotten.Epoch == before.Epoch || forgotten.Status != app.Enabled {
			t.Errorf("after Forget the app is %s with epoch %d, want %s and not %d", forgotten.Status, forgotten.Epoch, app.Enabled, before.Epoch)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := r.AddAdmin(ctx, slow, "late"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("AddAdmin = %v after %s, want the deadline after 1s", err, time.Since(start))
		}
		named := call(t, "the next change", func() error {
			return r.NameAttributes(t.Context(), slow, map[int]string{0: "sex"}, nil)
		})
		release()
		if err := errors.Join(suspended(), named()); err != nil {
			t.Error(err)
		}
		a := r.App(slow)
		if a.Status != app.Suspended || a.IsAdmin("late") || a.Attributes.Index("sex") != 0 {
			t.Errorf("the app is %+v, want it suspended with an attribute", a)
		}
		if a.Epoch == before.Epoch || a.Epoch == forgotten.Epoch {
			t.Errorf("the saved app has epoch %d, which it had before", a.Epoch)
		}
		if n := r.Locked(); n != 0 {
			t.Errorf("%d locks are kept", n)
		}
	})
}

// TestSlowDisk: who changes an app waits for the disk as long as its context
// allows. The write goes on, and what it did is in memory as it is stored, also
// if it fails.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, store := openSlow(t)
		release := store.hold(id)
		// late does something within a second, which is not enough.
		late := func(what string, do func(context.Context) error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%s = %v after %s, want the deadline after 1s", what, err, time.Since(start))
			}
		}
		late("Create", func(ctx context.Context) error {
			_, err := r.Create(ctx, app.Declaration{})
			return err
		})
		if a := r.App(id); a != nil {
			t.Errorf("the app is %+v before it is stored", a)
		}
		release()
		// The next change waits for the one before, so it sees it.
		if err := r.NameAttributes(t.Context(), id, map[int]string{0: "sex"}, nil); err != nil {
			t.Fatal(err)
		}

		release = store.hold(id)
		late("NameAttributes", func(ctx context.Context) error {
			return r.NameAttributes(ctx, id, map[int]string{1: "city"}, nil)
		})
		if r.App(id).Attributes.Index("city") >= 0 {
			t.Error("a name is there before it is stored")
		}
		release()
		synctest.Wait()
		if r.App(id).Attributes.Index("city") != 1 || r.App(id).Epoch == 0 {
			t.Errorf("the name is stored, the app is %+v", r.App(id))
		}

		release = store.hold(id)
		store.fail = errors.New("disk full")
		late("AddAdmin", func(ctx context.Context) error {
			_, err := r.AddAdmin(ctx, id, "ops")
			return err
		})
		release()
		synctest.Wait()
		store.fail = nil
		if r.App(id).IsAdmin("ops") {
			t.Error("an admin is there who is not stored")
		}

		if _, err := r.SetStatus(t.Context(), id, app.Disabled); err != nil {
			t.Fatal(err)
		}
		release = store.hold(id)
		late("Delete", func(ctx context.Context) error { return r.Delete(ctx, id) })
		release()
		synctest.Wait()
		if a := r.App(id); a != nil || r.Locked() != 0 {
			t.Errorf("the app is deleted, but %+v, with %d locks", a, r.Locked())
		}

		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("the operator left")
		cancel(gone)
		if _, err := r.Create(ctx, app.Declaration{ID: id}); !errors.Is(err, gone) || r.App(id) != nil {
			t.Errorf("Create after its context = %v, the app is %+v", err, r.App(id))
		}
	})
}

// TestClose waits for writes whose callers have left, and lets no more begin.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, store := openSlow(t)
		release := store.hold(id)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Create(ctx, app.Declaration{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Create = %v", err)
		}
		closed := make(chan struct{})
		go func() { r.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait for a write")
		default:
		}
		release()
		<-closed
		if r.App(id) == nil {
			t.Error("what was stored is not in memory")
		}
		before := r.App(id)
		if _, err := r.AddAdmin(t.Context(), id, "ops"); err == nil || r.App(id) != before || r.Locked() != 0 {
			t.Errorf("AddAdmin after Close = %v", err)
		}
	})
}

// TestCreateAtOnce: apps that are created at the same time get different
// numbers, and none waits for the disk of another.
func TestCreateAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, store := openSlow(t)
		release := store.hold(id)
		first := call(t, "the first creation", func() error {
			_, err := r.Create(t.Context(), app.Declaration{})
			return err
		})
		synctest.Wait()
		err := call(t, "the second creation", func() error {
			a, err := r.Create(t.Context(), app.Declaration{})
			if err == nil && a.ID != id+1 {
				err = fmt.Errorf("it has number %d", a.ID)
			}
			return err
		})()
		if err != nil {
			t.Errorf("the second creation: %v", err)
		}
		same := call(t, "another creation of the first number", func() error {
			_, err := r.Create(t.Context(), app.Declaration{ID: id})
			return err
		})
		release()
		if err := first(); err != nil {
			t.Error(err)
		}
		refused(t, r, r.App(id), same(), "exists already")

		var wg sync.WaitGroup
		var mu sync.Mutex
		var ids []uint32
		for range 50 {
			wg.Go(func() {
				a, err := r.Create(t.Context(), app.Declaration{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				ids = append(ids, a.ID)
			})
		}
		wg.Wait()
		slices.Sort(ids)
		if n := len(slices.Compact(ids)); n != 50 || len(r.All()) != 52 || r.Locked() != 0 {
			t.Errorf("50 apps have %d numbers; there are %d apps, want 52, and %d locks", n, len(r.All()), r.Locked())
		}
	})
}

// TestCreateAndDelete creates, changes, kicks and deletes a few apps in many
// goroutines: the registry holds what is stored, and no epoch is used twice.
func TestCreateAndDelete(t *testing.T) {
	r, store := openSlow(t)
	const apps, workers, rounds = 3, 8, 200
	allowed := func(err error) bool {
		_, mistake := errors.AsType[*app.Error](err)
		return err == nil || mistake || errors.Is(err, apierr.UnknownApp)
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			g := rand.New(rand.NewPCG(uint64(w), 0))
			for round := range rounds {
				one := uint32(id + g.IntN(apps))
				var err error
				switch g.IntN(5) {
				case 0:
					_, err = r.Create(t.Context(), app.Declaration{ID: one, Status: new(app.Disabled)})
				case 1:
					err = r.Delete(t.Context(), one)
				case 2:
					_, err = r.Declare(t.Context(), app.Declaration{ID: one, Name: new(fmt.Sprint(w, round))})
				case 3:
					_, err = r.SetStatus(t.Context(), one, app.Disabled)
				case 4:
					before := r.App(one)
					r.Forget(one)
					if after := r.App(one); before != nil && after != nil && after.Epoch == before.Epoch {
						t.Errorf("Forget left epoch %d", after.Epoch)
					}
				}
				if !allowed(err) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	again := reopen(t, store)
	for one := uint32(id); one < id+apps; one++ {
		a, b := r.App(one), again.App(one)
		if (a == nil) != (b == nil) || a != nil && (a.Name != b.Name || a.Status != b.Status) {
			t.Errorf("app %d is %+v, stored is %+v", one, a, b)
		}
	}
	if n := r.Locked(); n != 0 {
		t.Errorf("%d locks are kept", n)
	}
}
