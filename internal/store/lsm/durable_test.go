package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/testenv"
)

const id = 1400000001

// held is a store whose fsyncs of the log wait while a gate is shut, with an app of two
// users.
func held(t *testing.T) (*opened, *faulty.Gate) {
	t.Helper()
	s, _, g := heldStore(t)
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	mustChange(t, s, set("a", "old"), set("doomed", "old"))
	return s, g
}

// TestAnswersWaitForTheDisk: while an fsync is held, nothing returns that tells
// of the change, not even a reader or a change that changes nothing; what tells
// nothing of it returns.
func TestAnswersWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		b := apart(s, "a", "c", "doomed", "nobody")
		if _, err := s.Change(t.Context(), id, []audience.Change{set(b, "old")}); err != nil {
			t.Fatal(err)
		}
		g.Shut()
		c := &calls{t: t}
		ctx := t.Context()
		change := func(list ...audience.Change) func() error {
			return func() error { _, err := s.Change(ctx, id, list); return err }
		}
		users := func(app uint32, accounts ...string) func() error {
			return func() error { _, err := s.Users(ctx, app, accounts); return err }
		}
		c.start("first change", change(set("a", "new")))
		synctest.Wait() // it is in the group whose fsync is held
		c.start("second change", change(set("c", "new"), audience.Change{Account: "nobody"}))
		c.start("delete", func() error { _, err := s.Delete(ctx, id, audience.UserID, []string{"doomed"}); return err })
		c.start("revoke", func() error { return s.Revoke(ctx, id, "a", time.Unix(7, 0)) })
		c.start("new app", func() error { return s.SaveApp(ctx, storetest.NewApp(2)) })
		synctest.Wait() // they are in the group after it

		c.start("read a", users(id, "a"))
		c.start("read b and c", users(id, b, "c"))
		c.start("read doomed", users(id, "doomed"))
		c.start("set what is so", change(set("a", "new")))
		c.start("change doomed", change(audience.Change{Account: "doomed", Remove: 1}))
		c.start("delete doomed", func() error { _, err := s.Delete(ctx, id, audience.UserID, []string{"doomed"}); return err })
		c.start("revoke doomed", func() error { return s.Revoke(ctx, id, "doomed", time.Unix(7, 0)) })
		c.start("revoked", func() error { _, err := s.RevokedUpTo(ctx, id, "a"); return err })
		c.start("read in new app", users(2, "nobody"))
		c.start("apps", func() error { _, err := s.Apps(ctx); return err })
		c.start("read b", users(id, b))
		c.start("read unknown app", users(3, "a"))
		c.want("read b", "read unknown app")
		if err := c.ended["read b"]; err != nil {
			t.Errorf("read b: %v", err)
		}
		c.finish(g, map[string]error{"read unknown app": apierr.UnknownApp, "revoke doomed": apierr.UnknownAccount})
	})
}

// TestAudiencesWaitForTheDisk: what is told of all users waits for the last
// change of any, and so does an error that rests on it.
func TestAudiencesWaitForTheDisk(t *testing.T) {
	everyone := audience.Query{Expr: audience.And{}, Attributes: storetest.Attributes}
	for _, pending := range []struct {
		name    string
		explain error // of the account "doomed"
		change  func(context.Context, *opened) error
	}{
		{"an admin made", nil, func(ctx context.Context, s *opened) error {
			a := storetest.NewApp(id)
			a.Admins = append(a.Admins, "robot")
			return s.SaveApp(ctx, a)
		}},
		{"an account deleted", apierr.UnknownAccount, func(ctx context.Context, s *opened) error {
			_, err := s.Delete(ctx, id, audience.UserID, []string{"doomed"})
			return err
		}},
	} {
		t.Run(pending.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testAudiencesWait(t, everyone, pending.change, pending.explain) })
		})
	}
}

func testAudiencesWait(t *testing.T, q audience.Query, change func(context.Context, *opened) error, explain error) {
	s, g := held(t)
	defer s.Close()
	g.Shut()
	c := &calls{t: t}
	ctx := t.Context()
	c.start("change", func() error { return change(ctx, s) })
	synctest.Wait()
	c.start("estimate", func() error { _, err := s.Estimate(ctx, id, q, 5); return err })
	c.start("explain", func() error { _, err := s.Explain(ctx, id, q, "a"); return err })
	c.start("explain doomed", func() error { _, err := s.Explain(ctx, id, q, "doomed"); return err })
	c.start("user", func() error { _, err := s.User(ctx, id, "a"); return err })
	c.start("user doomed", func() error { _, err := s.User(ctx, id, "doomed"); return err })
	c.start("list", func() error { _, err := s.List(ctx, id, q, 5, ""); return err })
	c.start("tags", func() error { _, _, err := s.Tags(ctx, id, "", 5); return err })
	c.start("values", func() error { _, _, err := s.AttrValues(ctx, id, 0, "", 5); return err })
	c.start("count", func() error { _, err := s.Count(ctx, id); return err })
	c.want()
	c.finish(g, map[string]error{"explain doomed": explain, "user doomed": explain})
}

// TestDeletedAppWaitsForTheDisk: that an app is gone, and what comes after it
// under the same number, is told when the deletion is durable.
func TestDeletedAppWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		g.Shut()
		c := &calls{t: t}
		ctx, cancel := context.WithCancel(t.Context())
		c.start("delete app", func() error { return s.DeleteApp(ctx, id) })
		synctest.Wait()
		cancel() // does not leave the caller without the outcome
		ctx = t.Context()
		c.start("read", func() error { _, err := s.Users(ctx, id, []string{"a"}); return err })
		c.start("change", func() error { _, err := s.Change(ctx, id, []audience.Change{set("x", "y")}); return err })
		c.start("delete again", func() error { return s.DeleteApp(ctx, id) })
		c.want()
		c.start("save app", func() error { return s.SaveApp(ctx, storetest.NewApp(id)) })
		synctest.Wait()
		c.start("read in the new one", func() error {
			u, err := s.Users(ctx, id, []string{"a", "administrator"})
			if err == nil && (u[0].Exists || !u[1].Exists) {
				err = fmt.Errorf("users are %v", u)
			}
			return err
		})
		c.want()
		c.finish(g, map[string]error{"read": apierr.UnknownApp, "change": apierr.UnknownApp, "delete again": apierr.UnknownApp})
	})
}

// TestAppMadeAgainBesideCheckpoint: an app is deleted while a checkpoint is written,
// and another with its number is made before the deletion is durable.
func TestAppMadeAgainBesideCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		g.Shut()
		c := &calls{t: t}
		ctx := t.Context()
		c.start("change", func() error { _, err := s.Change(ctx, id, []audience.Change{set("a", "new")}); return err })
		synctest.Wait() // its fsync is held
		c.start("delete app", func() error { return s.DeleteApp(ctx, id) })
		synctest.Wait()
		c.start("checkpoint", func() error { _, err := s.lsm.Checkpoint(ctx); return err })
		synctest.Wait()
		c.start("make app", func() error { return s.SaveApp(ctx, storetest.NewApp(id)) })
		c.want()
		c.finish(g, nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, s.fs)
		defer s.Close()
		u, err := s.Users(ctx, id, []string{"a", "administrator"})
		if err != nil || u[0].Exists || !u[1].Exists {
			t.Errorf("after a start the app has %v, %v", u, err)
		}
		sound(t, s)
	})
}

// TestCancelledWait: a caller that waits no longer leaves the change to happen,
// and nobody sees it before it is durable.
func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		g.Shut()
		c := &calls{t: t}
		cause := errors.New("the request timed out")
		ctx, cancel := context.WithCancelCause(t.Context())
		c.start("change", func() error { _, err := s.Change(ctx, id, []audience.Change{set("a", "new")}); return err })
		synctest.Wait()
		c.start("read", func() error { _, err := s.Users(ctx, id, []string{"a"}); return err })
		c.want()
		cancel(cause)
		c.want("change", "read")
		for name, err := range c.ended {
			if !errors.Is(err, cause) {
				t.Errorf("%s: %v, want %v", name, err, cause)
			}
		}
		g.Lift()
		u, err := s.Users(t.Context(), id, []string{"a"})
		if err != nil || u[0].Values[0] != "new" {
			t.Errorf("Users = %v, %v", u, err)
		}
	})
}

// TestKickAfterDeletion: an account is kicked, deleted, made again and kicked in
// the same second while the disk is slow. The database still shows the first
// kick when the second comes, which is not the same.
func TestKickAfterDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		ctx, second := t.Context(), time.Unix(1_700_000_000, 0)
		if err := s.Revoke(ctx, id, "doomed", second); err != nil {
			t.Fatal(err)
		}
		g.Shut()
		c := &calls{t: t}
		for _, call := range []struct {
			name string
			f    func() error
		}{
			{"change", func() error { _, err := s.Change(ctx, id, []audience.Change{set("a", "new")}); return err }}, // its fsync is held
			{"delete", func() error { _, err := s.Delete(ctx, id, audience.UserID, []string{"doomed"}); return err }},
			{"make again", func() error { _, err := s.Change(ctx, id, []audience.Change{set("doomed", "new")}); return err }},
			{"kick again", func() error { return s.Revoke(ctx, id, "doomed", second) }},
		} {
			c.start(call.name, call.f)
			synctest.Wait()
		}
		g.Lift()
		c.wg.Wait()
		for name, err := range c.ended {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got, err := s.RevokedUpTo(ctx, id, "doomed"); err != nil || got != second.Unix() {
			t.Errorf("RevokedUpTo = %d, %v; want %d", got, err, second.Unix())
		}
	})
}

// TestOneSyncForAll: requests that come during an fsync share the next.
func TestOneSyncForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		g.Shut()
		c := &calls{t: t}
		for i := range 50 {
			c.start(fmt.Sprint(i), func() error {
				_, err := s.Change(t.Context(), id, []audience.Change{set(fmt.Sprint("user", i), "x")})
				return err
			})
		}
		c.want()
		// One group is at the gate, the changes that came meanwhile are in the next.
		syncs := 0
		for ; c.running(); syncs++ {
			g.Step()
			synctest.Wait()
		}
		g.Lift()
		if syncs > 3 {
			t.Errorf("50 requests took %d fsyncs", syncs)
		}
	})
}

// TestCloseEndsCalls: Close while calls wait for the disk lets each end with
// what came of it; none hangs, and what was answered is there afterwards.
func TestCloseEndsCalls(t *testing.T) {
	for range testenv.Rounds(20) {
		fs := faulty.NewDisk(t, dir)
		s := open(t, fs)
		if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var acked [8]int
		begun := make(chan struct{}, 8)
		for w := range acked {
			wg.Go(func() {
				for i := 1; ; i++ {
					_, err := s.Change(context.Background(), id, []audience.Change{set(fmt.Sprint("user", w), fmt.Sprint(i))})
					if err != nil {
						return
					}
					if acked[w] = i; i == 3 {
						begun <- struct{}{}
					}
					if _, err := s.RevokedUpTo(context.Background(), id, "user0"); err != nil {
						return
					}
				}
			})
		}
		for range acked {
			<-begun
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		s = open(t, fs)
		for w, n := range acked {
			u, err := s.Users(t.Context(), id, []string{fmt.Sprint("user", w)})
			if err != nil || u[0].Values[0] != fmt.Sprint(n) {
				t.Errorf("writer %d was answered %d times, has %q, %v", w, n, u[0].Values[0], err)
			}
		}
		s.Close()
	}
}

// TestHugeGroups: more changes than a group may hold, larger than a memtable,
// wait for room and arrive. (A mutex that is waited for keeps a bubble from
// resting, so this one has real goroutines.)
func TestHugeGroups(t *testing.T) {
	s, g := held(t)
	defer s.Close()
	g.Shut()
	nick := strings.Repeat("n", audience.MaxProfileBytes)
	const requests, each = 20, 100 // of half a kilobyte: 1 MB
	var wg sync.WaitGroup
	var begun sync.WaitGroup
	for r := range requests {
		begun.Add(1)
		wg.Go(func() {
			changes := make([]audience.Change, each)
			for i := range changes {
				changes[i] = audience.Change{Account: fmt.Sprint("user", r, "-", i), Create: true, Profile: audience.Profile{Nick: &nick}}
			}
			begun.Done()
			if _, err := s.Change(t.Context(), id, changes); err != nil {
				t.Errorf("request %d: %v", r, err)
			}
		})
	}
	begun.Wait()
	g.Lift()
	wg.Wait()
	if n := count(t, s, id); n != requests*each+3 {
		t.Errorf("%d users, want %d", n, requests*each+3)
	}
	sound(t, s)
}

// TestDiskFails: when the disk refuses the log, or to sync it, changes fail,
// now and later, and so does every answer that rests on one; what was answered
// before is still read, and is there after a restart.
func TestDiskFails(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
			t.Run(op+" "+errno.Error(), func(t *testing.T) { testDiskFails(t, op, errno) })
		}
	}
}

func testDiskFails(t *testing.T, op string, errno syscall.Errno) {
	var broken atomic.Bool
	fatal := make(chan struct{})
	mem := faulty.NewDisk(t, dir)
	fs := &faulty.FS{FS: mem, Before: func(o, name string) error {
		if broken.Load() && o == op && faulty.InLog(name) {
			return errno
		}
		return nil
	}}
	s, err := tryOpen(fs, lsm.Options{Fatal: func() { close(fatal) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := s.SaveApp(ctx, storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	b := apart(s, "a")
	if _, err := s.Change(ctx, id, []audience.Change{set("a", "old"), set(b, "old")}); err != nil {
		t.Fatal(err)
	}
	if err := s.lsm.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	broken.Store(true)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := s.Change(ctx, id, []audience.Change{set("a", fmt.Sprint("new", i))}); err == nil {
				t.Error("a change was answered OK that is not on disk")
			}
		})
	}
	wg.Wait()
	select { // maybe a moment after the changes failed
	case <-fatal:
	case <-time.After(10 * time.Second):
		t.Error("the process was not ended")
	}
	if s.lsm.Ready() == nil {
		t.Error("Ready, though no change can be made")
	}
	if u, err := s.Users(ctx, id, []string{"a"}); err == nil {
		t.Errorf("a change that failed was told: %v", u)
	}
	if _, err := s.Change(ctx, id, []audience.Change{{Account: "a", Remove: 2}}); err == nil {
		t.Error("a change that changes nothing in memory was answered OK")
	}
	if err := s.SaveApp(ctx, storetest.NewApp(2)); err == nil {
		t.Error("SaveApp succeeded")
	}
	if u, err := s.Users(ctx, id, []string{b}); err != nil || u[0].Values[0] != "old" {
		t.Errorf("what was answered OK cannot be read: %v, %v", u, err)
	}
	// The disk goes on refusing, and the process ends.
	s = open(t, faulty.Crash(mem))
	defer s.Close()
	u, err := s.Users(ctx, id, []string{"a", b})
	if err != nil || u[0].Values[0] != "old" || u[1].Values[0] != "old" {
		t.Errorf("after a restart: %v, %v", u, err)
	}
	sound(t, s)
}
