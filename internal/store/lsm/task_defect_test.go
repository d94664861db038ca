package lsm_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/report"
	"tidings/internal/store"
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

// TestCloseAgain: the answer of a provider is kept with a page that could not be closed the
// first time.
func TestCloseAgain(t *testing.T) {
	s := newTaskStore(t)
	addDevice(t, s.opened, "device-0000000001", 1, "ann")
	r := s.create(fresh("ann", "bob"), 0)
	got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10)
	if err != nil || p == nil {
		t.Fatalf("Open: %v, %v", p, err)
	}
	v := []task.Verdict{{Outcome: report.Rejected, Status: 400, Code: "BAD", Words: "bad message"}}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.lsm.Tasks.Close(over, p, v); !errors.Is(err, context.Canceled) {
		t.Fatalf("Close with a context that is over: %v", err)
	}
	if _, err := s.lsm.Tasks.Close(t.Context(), p, v); err != nil {
		t.Fatal(err)
	}
	e, err := s.lsm.Tasks.Explain(t.Context(), appID, r.ID, "ann")
	if err != nil || len(e.Devices) != 1 {
		t.Fatalf("Explain: %+v, %v", e, err)
	}
	if d := e.Devices[0]; d.Status != 400 || d.Code != "BAD" || d.Words != "bad message" {
		t.Errorf("the answer of the provider is %d, %q, %q", d.Status, d.Code, d.Words)
	}
}

// TestRetiredTokenOfLane: of a device that has one address with two certificates, the token
// is retired with which the push was sent.
func TestRetiredTokenOfLane(t *testing.T) {
	for certificate, provider := range []channel.Provider{1: channel.FCM, 2: channel.APNs} {
		if certificate == 0 {
			continue
		}
		for _, later := range []bool{false, true} { // the token is retired when its page is closed, or later
			s := newTaskStore(t)
			a := pushApp(appID)
			a.Settings.Push.Order = []channel.Provider{provider}
			if err := s.SaveApp(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			d := device.Device{ID: "device-0000000001", Platform: "ios", Permission: device.Allowed, Tokens: []device.Token{
				{Certificate: 1, Kind: channel.Alert, Address: "address"}, {Certificate: 2, Kind: channel.Alert, Address: "address"},
			}}
			if _, err := s.lsm.Devices.Register(t.Context(), appID, device.Proof{Admin: true}, d); err != nil {
				t.Fatal(err)
			}
			got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh(d.ID), 0).ID)
			if err != nil {
				t.Fatal(err)
			}
			carryOut(t, s.opened, got.Ref, func(*task.Unit) task.Verdict {
				return task.Verdict{Outcome: report.Gone, Status: 410, Retire: !later}
			})
			if later {
				if n, err := s.lsm.Tasks.RetireTokens(t.Context(), got.Ref, []task.Gone{{Account: d.ID, Certificate: certificate, Address: "address"}}); n != 1 || err != nil {
					t.Errorf("RetireTokens: %d, %v", n, err)
				}
			}
			left, err := s.lsm.Devices.Device(t.Context(), appID, d.ID)
			if err != nil || len(left.Tokens) != 1 || left.Tokens[0].Certificate == certificate {
				t.Errorf("the push was sent with certificate %d, later %t, and the device has left %v, %v", certificate, later, left.Tokens, err)
			}
		}
	}
}

// A countedContext is over after it was asked so often.
type countedContext struct {
	context.Context
	left int
}

func (c *countedContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return c.Context.Err()
}

// TestFreezeCutOff: of a task that ends after its audience was fixed in part, nothing stays,
// wherever the fixing was cut off.
func TestFreezeCutOff(t *testing.T) {
	s := newTaskStore(t)
	for whole, cut := false, 0; !whole; cut++ {
		got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh(), 0).ID)
		if err != nil {
			t.Fatal(err)
		}
		err = s.lsm.Tasks.Freeze(&countedContext{t.Context(), cut}, got.Ref)
		if whole = err == nil; !whole && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if got, err = s.lsm.Tasks.Get(t.Context(), got.Ref); err != nil {
			t.Fatal(err)
		}
		if !whole && (got.State != task.Accepted || got.Frozen != 0) {
			t.Errorf("cut off at %d, the task is %s for %d accounts", cut, got.State, got.Frozen)
		}
		if err := s.lsm.Tasks.End(t.Context(), got.Ref, task.Expired, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.lsm.Tasks.Expire(t.Context(), time.Now().Add(8*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		key := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, got.Number), 0)
		if s.lsm.Record(appID, 0x13, key) != nil {
			t.Errorf("cut off at %d, the audience is kept after the end of the task", cut)
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

// TestRetryWhilePageCloses: a device that waits for its next try is not forgotten while a
// page with another is on its way to the disk.
func TestRetryWhilePageCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, got, p := heldTask(t)
		defer s.Close()
		g.Shut()
		c := &calls{t: t}
		c.start("close", func() error {
			_, err := s.lsm.Tasks.Close(context.Background(), p, []task.Verdict{accepted(nil)})
			return err
		})
		synctest.Wait()
		none, next, err := s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10)
		if none != nil || err != nil || next.IsZero() {
			t.Errorf("Open: %v, the next try is at %v, %v", none, next, err)
		}
		c.finish(g, nil)
	})
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

// TestExpireManyRequests: what is remembered of many requests goes in a few groups.
func TestExpireManyRequests(t *testing.T) {
	s := newTaskStore(t)
	name := func(i int) string { return fmt.Sprint("key ", i) }
	for i := range 150 {
		n := fresh()
		n.Nothing, n.Key = "nothing is to be sent", name(i)
		s.create(n, 0)
	}
	kept := func() (n int) {
		for i := range 150 {
			sum := sha256.Sum256([]byte("push\x00" + name(i)))
			if s.lsm.Record(appID, 0x19, sum[:16]) != nil {
				n++
			}
		}
		return n
	}
	before := s.lsm.Position()
	if err := s.lsm.Tasks.Expire(t.Context(), time.Now().Add(23*time.Hour)); err != nil || kept() != 150 {
		t.Errorf("after 23 hours %d requests are kept, %v", kept(), err)
	}
	if err := s.lsm.Tasks.Expire(t.Context(), time.Now().Add(25*time.Hour)); err != nil || kept() != 0 {
		t.Errorf("after 25 hours %d requests are kept, %v", kept(), err)
	}
	if groups := s.lsm.Position() - before; groups > 3 {
		t.Errorf("that took %d groups", groups)
	}
}

// TestCrowdedNumbers: when too many numbers of deleted accounts wait for tasks that have
// ended, those lose their audience, also over a start, and the numbers are given out.
func TestCrowdedNumbers(t *testing.T) {
	for _, restart := range []bool{false, true} {
		s := newTaskStore(t)
		var changes []audience.Change
		var names []string
		for i := range 3000 {
			names = append(names, fmt.Sprint("user", i))
			changes = append(changes, audience.Change{Account: names[i], Create: true})
		}
		if _, err := s.Change(t.Context(), appID, changes); err != nil {
			t.Fatal(err)
		}
		got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh(names[0], "ann"), 0).ID)
		if err != nil {
			t.Fatal(err)
		}
		carryOut(t, s.opened, got.Ref, accepted)
		if _, err := s.Delete(t.Context(), appID, audience.UserID, names); err != nil {
			t.Fatal(err)
		}
		number := s.lsm.NextNumber(appID)
		if restart {
			s.reopen()
		}
		receivers := func() (accounts []string, deleted int, err error) {
			accounts, deleted, _, err = s.lsm.Tasks.Receivers(t.Context(), appID, got.ID, 10, "")
			return accounts, deleted, err
		}
		if accounts, deleted, err := receivers(); len(accounts) != 1 || deleted != 1 || err != nil {
			t.Errorf("the receivers are %v and %d deleted ones, %v", accounts, deleted, err)
		}
		if err := s.lsm.Tasks.Expire(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if restart {
			s.reopen()
		}
		if _, _, err := receivers(); apierr.From(err).Kind != apierr.PageExpired {
			t.Errorf("Receivers: %v", err)
		}
		if _, err := s.Change(t.Context(), appID, changes); err != nil {
			t.Fatal(err)
		}
		if next := s.lsm.NextNumber(appID); next != number {
			t.Errorf("new users got the numbers up to %d, want %d", next, number)
		}
		sound(t, s.opened)
	}
}

// TestCheckFindsTasks: a check finds a retry that is lost, and what is kept of a task that
// does not exist.
func TestCheckFindsTasks(t *testing.T) {
	s := newTaskStore(t)
	addDevice(t, s.opened, "device-0000000001", 1, "")
	got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh("device-0000000001"), 0).ID)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10)
	if err != nil || p == nil {
		t.Fatalf("Open: %v, %v", p, err)
	}
	again := time.Now().Add(time.Hour)
	if _, err := s.lsm.Tasks.Close(t.Context(), p, []task.Verdict{{Again: again}}); err != nil {
		t.Fatal(err)
	}
	sound(t, s.opened)
	retry := binary.BigEndian.AppendUint64(nil, got.Number)
	retry = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(retry, 1), uint64(again.UnixMilli()))
	retry = binary.BigEndian.AppendUint32(retry, 3) // after the administrator and two users
	if s.lsm.Record(appID, 0x16, retry) == nil {
		t.Fatal("there is no retry")
	}
	audience := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, 77), 0)
	for _, err := range []error{s.lsm.Plant(appID, 0x16, retry, nil), s.lsm.Plant(appID, 0x13, audience, []byte{1, 5})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var found []string
	if err := s.check(t.Context(), func(f store.Finding) { found = append(found, f.Where+": "+f.What) }); err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("task %d of app %d: has 1 units of certificate 1 that wait for another try, and records of 1 with 0 retries", got.Number, appID),
		fmt.Sprintf("audience of a task %x of app %d: task 77 does not exist", audience, appID),
	}
	if !slices.Equal(found, want) {
		t.Errorf("the check found %q, want %q", found, want)
	}
}
