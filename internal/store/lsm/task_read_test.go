package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/report"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/task"
)

// TestTasksOfNewApp: an app that is made with the number of one that was deleted knows
// nothing of its tasks, whose numbers it gives anew.
func TestTasksOfNewApp(t *testing.T) {
	s := newTaskStore(t)
	for _, title := range []string{"of the first app", "of the second"} {
		addDevice(t, s.opened, "device-0000000001", 1, "ann")
		n := fresh()
		n.Message.Title = title
		got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(n, 0).ID)
		if err == nil {
			err = s.lsm.Tasks.Freeze(t.Context(), got.Ref)
		}
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10)
		if err != nil || p == nil {
			t.Fatalf("Open: %v, %v", p, err)
		}
		if p.Task.Message.Title != title {
			t.Errorf("the title of the push is %q, want %q", p.Task.Message.Title, title)
		}
		if err := s.DeleteApp(t.Context(), appID); err != nil {
			t.Fatal(err)
		}
		if got, err := s.lsm.Tasks.Get(t.Context(), got.Ref); got != nil || err != nil {
			t.Errorf("Get in an app that is deleted: %v, %v", got, err)
		}
		if _, err := s.lsm.Tasks.Close(t.Context(), p, []task.Verdict{accepted(nil)}); !errors.Is(err, task.ErrUnknown) {
			t.Errorf("Close in an app that is deleted: %v", err)
		}
		if list, err := s.lsm.Tasks.Active(t.Context(), nil); len(list) != 0 || err != nil {
			t.Errorf("tasks of an app that is deleted: %v, %v", list, err)
		}
		if err := s.SaveApp(t.Context(), pushApp(appID)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTaskAsItIsOnDisk: while a change of a task waits for the disk, before it is in any
// group, nobody is told of it.
func TestTaskAsItIsOnDisk(t *testing.T) {
	for what, change := range map[string]func(s *opened, r *task.Task, p *task.Page) error{
		"a pause": func(s *opened, r *task.Task, _ *task.Page) error {
			return s.lsm.Tasks.SetPaused(context.Background(), appID, r.ID, true)
		},
		"a page": func(s *opened, _ *task.Task, p *task.Page) error {
			_, err := s.lsm.Tasks.Close(context.Background(), p, []task.Verdict{accepted(nil)})
			return err
		},
		"an end": func(s *opened, r *task.Task, p *task.Page) error {
			s.lsm.Tasks.Abandon(p)
			return s.lsm.Tasks.End(context.Background(), r.Ref, task.Stopped, "")
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testTaskOnDisk(t, change) })
		})
	}
}

func testTaskOnDisk(t *testing.T, change func(s *opened, r *task.Task, p *task.Page) error) {
	disk, g := faulty.NewDisk(t, dir), &faulty.Gate{}
	opened, err := tryOpen(faulty.HeldLog(disk, g), *lsm.WithRoom(&lsm.Options{CheckpointLog: 1 << 30}, 1<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if err := opened.SaveApp(t.Context(), pushApp(appID)); err != nil {
		t.Fatal(err)
	}
	s := &taskStore{opened: opened, t: t}
	addDevice(t, opened, "device-0000000001", 1, "")
	before, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh("device-0000000001"), 0).ID)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := s.lsm.Tasks.Open(t.Context(), before.Ref, task.Lane{App: appID, Certificate: 1}, 10)
	if err != nil || p == nil {
		t.Fatalf("Open: %v, %v", p, err)
	}
	g.Shut()
	c := &calls{t: t}
	for i := range 20 { // the first is in the group whose fsync is held, the others fill the group after it
		c.start(fmt.Sprint("change ", i), func() error {
			_, err := s.Change(context.Background(), appID, []audience.Change{set("administrator", strings.Repeat(fmt.Sprint(i%10), 50))})
			return err
		})
		synctest.Wait()
	}
	c.start("change of the task", func() error { return change(opened, before, p) })
	synctest.Wait()
	got, err := s.lsm.Tasks.Task(t.Context(), appID, before.ID)
	if err != nil {
		t.Fatal(err)
	}
	if counts := got.Progress.Counts(); got.Paused || got.State != task.Sending || counts.Sum() != 0 {
		t.Errorf("the task is %s, paused %t, with %v", got.State, got.Paused, counts)
	}
	c.finish(g, nil)
	if got, err = s.lsm.Tasks.Task(t.Context(), appID, before.ID); err != nil || !got.Paused && got.State == task.Sending {
		t.Errorf("at last the task is %+v, %v", got, err)
	}
}

// A hookedContext calls a function once, when it is first asked whether it is over.
type hookedContext struct {
	context.Context
	once sync.Once
	hook func()
}

func (c *hookedContext) Err() error {
	c.once.Do(c.hook)
	return c.Context.Err()
}

// TestReceiversOfLastMoment: whoever got the number of a deleted receiver, while the audience
// is read and its time ends, is not taken for the receiver.
func TestReceiversOfLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTaskStore(t)
		defer s.Close()
		got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh("bob"), 0).ID)
		if err != nil {
			t.Fatal(err)
		}
		carryOut(t, s.opened, got.Ref, accepted)
		if _, err := s.Delete(t.Context(), appID, audience.UserID, []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		ctx := &hookedContext{Context: t.Context(), hook: func() {
			time.Sleep(8 * 24 * time.Hour)
			if err := s.lsm.Tasks.Expire(t.Context(), time.Now()); err != nil {
				t.Error(err)
			}
			if _, err := s.Change(t.Context(), appID, []audience.Change{{Account: "eve", Create: true}}); err != nil {
				t.Error(err)
			}
		}}
		accounts, deleted, _, err := s.lsm.Tasks.Receivers(ctx, appID, got.ID, 10, "")
		if apierr.From(err).Kind != apierr.PageExpired {
			t.Errorf("the receivers are %v and %d deleted ones, %v", accounts, deleted, err)
		}
	})
}

// heldTask is a task of two devices on a disk that waits while the gate is shut. One waits
// for its next try in an hour, and a page with the other is open, which is tried again.
func heldTask(t *testing.T) (*taskStore, *faulty.Gate, *task.Task, *task.Page) {
	t.Helper()
	opened, _, g := heldStore(t)
	s := &taskStore{opened: opened, t: t}
	if err := s.SaveApp(t.Context(), pushApp(appID)); err != nil {
		t.Fatal(err)
	}
	addDevice(t, opened, "device-0000000001", 1, "")
	addDevice(t, opened, "device-0000000002", 1, "")
	got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh("device-0000000001", "device-0000000002"), 0).ID)
	if err != nil {
		t.Fatal(err)
	}
	open := func(units int) *task.Page {
		t.Helper()
		p, _, err := s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10)
		if err != nil || p == nil || len(p.Units) != units {
			t.Fatalf("Open: %+v, %v", p, err)
		}
		return p
	}
	again := []task.Verdict{{Again: time.Now()}, {Again: time.Now().Add(time.Hour)}}
	if _, err := s.lsm.Tasks.Close(t.Context(), open(2), again); err != nil {
		t.Fatal(err)
	}
	return s, g, got, open(1)
}

// TestExplainWhileTaskEnds: what is told of a device is of one moment, also if its task ends
// meanwhile.
func TestExplainWhileTaskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened, _, g := heldStore(t)
		defer opened.Close()
		s := &taskStore{opened: opened, t: t}
		if err := s.SaveApp(t.Context(), pushApp(appID)); err != nil {
			t.Fatal(err)
		}
		addDevice(t, opened, "device-0000000001", 1, "")
		got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh("device-0000000001"), 0).ID)
		if err != nil {
			t.Fatal(err)
		}
		var p *task.Page
		for range 2 {
			if p != nil {
				if _, err := s.lsm.Tasks.Close(t.Context(), p, []task.Verdict{{Again: time.Now()}}); err != nil {
					t.Fatal(err)
				}
			}
			if p, _, err = s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10); err != nil || p == nil {
				t.Fatalf("Open: %v, %v", p, err)
			}
		}
		g.Shut()
		c := &calls{t: t}
		c.start("change", func() error {
			_, err := s.Change(context.Background(), appID, []audience.Change{set("administrator", "new")})
			return err
		})
		synctest.Wait()
		c.start("explain", func() error {
			e, err := s.lsm.Tasks.Explain(context.Background(), appID, got.ID, "device-0000000001")
			if err == nil && (len(e.Devices) != 1 || !e.Devices[0].Waiting && e.Devices[0].Outcome != report.Accepted) {
				t.Errorf("the device is said to be %+v", e.Devices)
			}
			return err
		})
		synctest.Wait()
		c.start("close", func() error {
			_, err := s.lsm.Tasks.Close(context.Background(), p, []task.Verdict{accepted(nil)})
			return err
		})
		synctest.Wait()
		c.finish(g, nil)
	})
}

// TestChoiceMemory: what is kept of facets while a page is cut has a bound. Strangers make
// devices, and their languages are what they like.
func TestChoiceMemory(t *testing.T) {
	if n := lsm.ChoiceMemory(t, pushApp(appID), 20_000); n > 8192 {
		t.Errorf("%d choices are kept", n)
	}
}
