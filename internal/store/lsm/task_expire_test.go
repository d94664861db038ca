package lsm_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/task"
)

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
