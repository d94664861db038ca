package lsm_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/task"
)

// taskStore is a store with an app, whose settings change sets.
type taskStore struct {
	*opened
	t  *testing.T
	db storetest.Database
}

func newTaskStore(t *testing.T) *taskStore {
	t.Helper()
	s := &taskStore{t: t, db: database(t, lsm.Options{}, 0, nil)}
	s.reopen()
	t.Cleanup(func() { _ = s.Close() })
	if err := s.SaveApp(t.Context(), pushApp(appID)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Change(t.Context(), appID, []audience.Change{{Account: "ann", Create: true}, {Account: "bob", Create: true}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *taskStore) reopen() {
	s.t.Helper()
	if s.opened != nil {
		if err := s.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	got, err := s.db.Open()
	if err != nil {
		s.t.Fatal(err)
	}
	s.opened = got.(*opened)
}

func (s *taskStore) settings(change func(gap *time.Duration, quota, tasks *int)) {
	s.t.Helper()
	a := pushApp(appID)
	change(a.Settings.Push.Gap, &a.Settings.Push.Quota, &a.Settings.Push.Tasks)
	if err := s.SaveApp(s.t.Context(), a); err != nil {
		s.t.Fatal(err)
	}
}

// create makes a task that is to be refused with a code, or not with 0.
func (s *taskStore) create(n *task.New, code int) task.Receipt {
	s.t.Helper()
	r, err := s.lsm.Tasks.Create(s.t.Context(), appID, n)
	switch got := apierr.From(err); {
	case err == nil && code != 0:
		s.t.Fatalf("Create succeeded, want %d", code)
	case err != nil && got.Kind.Code != code:
		s.t.Fatalf("Create: %v, want %d", err, code)
	}
	return r
}

var nextRandom uint32

// fresh returns a push that repeats none.
func fresh(accounts ...string) *task.New {
	nextRandom++
	return newPush(nextRandom, accounts...)
}

// TestIdempotencyKey: within a day the same key and body have the first answer, also after a
// start, and use up nothing; another body is refused, and another command is another
// request.
func TestIdempotencyKey(t *testing.T) {
	s := newTaskStore(t)
	n := fresh("ann", "nobody")
	n.Key, n.Body = "key", [32]byte{1}
	first := s.create(n, 0)
	if first.Repeated || len(first.Failures) != 1 || first.Failures[0].Err.Kind != apierr.UnknownAccount {
		t.Fatalf("the first answer is %+v", first)
	}
	for range 2 {
		again := fresh("ann", "nobody")
		again.Key, again.Body = n.Key, n.Body
		if known, err := s.lsm.Tasks.Repeated(t.Context(), appID, again); err != nil || known == nil || known.ID != first.ID || !known.Repeated || len(known.Failures) != 1 {
			t.Errorf("Repeated returns %+v, %v, want %+v", known, err, first)
		}
		got := s.create(again, 0)
		if !got.Repeated || got.ID != first.ID || len(got.Failures) != 1 || got.Failures[0].Account != "nobody" || got.Failures[0].Err.Info() != first.Failures[0].Err.Info() {
			t.Errorf("a repeated request is answered %+v, want %+v", got, first)
		}
		again.Body = [32]byte{2}
		s.create(again, apierr.KeyReused.Code)
		if _, err := s.lsm.Tasks.Repeated(t.Context(), appID, again); !errors.Is(err, apierr.KeyReused) {
			t.Errorf("Repeated with another body: %v, want %v", err, apierr.KeyReused)
		}
		s.reopen()
	}
	other := fresh("ann")
	other.Key, other.Body, other.Command = n.Key, n.Body, "batch"
	if known, err := s.lsm.Tasks.Repeated(t.Context(), appID, other); err != nil || known != nil {
		t.Errorf("Repeated of another command returns %+v, %v", known, err)
	}
	if got := s.create(other, 0); got.Repeated {
		t.Errorf("another command has the answer of the first")
	}
	if err := s.lsm.Tasks.Expire(t.Context(), time.Now().Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	again := fresh("ann")
	again.Key, again.Body = n.Key, [32]byte{3}
	if got := s.create(again, 0); got.Repeated {
		t.Error("a key is remembered after more than a day")
	}
}

// TestRepeatedRandom: the same MsgRandom with the same body within a second is the same
// request, and with another body another one.
func TestRepeatedRandom(t *testing.T) {
	s := newTaskStore(t)
	n := fresh("ann")
	began := time.Now()
	first := s.create(n, 0)
	if again := s.create(n, 0); !again.Repeated && time.Since(began) < time.Second || again.Repeated && again.ID != first.ID {
		t.Errorf("the repeated request is answered %+v, want %s", again, first.ID)
	}
	older := *n
	older.Command = "im_push"
	if got := s.create(&older, 0); got.Repeated {
		t.Errorf("another command has the answer %+v of the first", got)
	}
	other := *n
	other.Body = [32]byte{9}
	if got := s.create(&other, 0); got.Repeated {
		t.Error("another body has the answer of the first")
	}
}

// TestQuotas: gap, daily quota and pending tasks, each with its code. What is refused uses up
// nothing, and the quota of a day outlives a start.
func TestQuotas(t *testing.T) {
	s := newTaskStore(t)
	gapped := func() *task.New {
		n := fresh("ann")
		n.Gapped = true
		return n
	}
	s.settings(func(gap *time.Duration, _, _ *int) { *gap = time.Hour })
	s.create(gapped(), 0)
	s.create(gapped(), apierr.PushTooSoon.Code)
	s.create(fresh("ann"), 0)
	q, err := s.lsm.Tasks.Quota(t.Context(), appID)
	if err != nil || q.Left != -1 || q.Pending != 2 || time.Until(q.Next) < 50*time.Minute {
		t.Errorf("Quota: %+v, %v", q, err)
	}
	s.settings(func(gap *time.Duration, quota, _ *int) { *gap, *quota = 0, 3 })
	s.create(gapped(), 0)
	s.create(gapped(), 0)
	s.create(gapped(), apierr.PushQuotaUsed.Code)
	s.reopen()
	s.create(gapped(), apierr.PushQuotaUsed.Code)
	if q, err := s.lsm.Tasks.Quota(t.Context(), appID); err != nil || q.Left != 0 || !q.Anew.After(time.Now()) {
		t.Errorf("Quota: %+v, %v", q, err)
	}
	s.settings(func(gap *time.Duration, _, tasks *int) { *gap, *tasks = 0, 5 })
	s.create(fresh("ann"), 0)
	s.create(fresh("ann"), apierr.TooManyTasks.Code)
	active, err := s.lsm.Tasks.Active(t.Context(), func(task.Ref) {})
	if err != nil || len(active) != 5 {
		t.Fatalf("%d tasks have not ended, %v", len(active), err)
	}
	if err := s.lsm.Tasks.End(t.Context(), active[0].Ref, task.Stopped, "enough"); err != nil {
		t.Fatal(err)
	}
	if err := s.lsm.Tasks.End(t.Context(), active[0].Ref, task.Stopped, ""); !errors.Is(err, task.ErrEnded) {
		t.Errorf("ending a task twice: %v", err)
	}
	s.create(fresh("ann"), 0)
}

// TestNothingToSend: a batch none of whose receivers exists is answered OK with all
// failures (O-13), and like a push that is to send nothing it is done at once.
func TestNothingToSend(t *testing.T) {
	s := newTaskStore(t)
	nothing := fresh("ann")
	nothing.Nothing = "there is nothing to show"
	for _, n := range []*task.New{fresh("x", "y"), nothing} {
		made := 0
		if _, err := s.lsm.Tasks.Active(t.Context(), func(task.Ref) { made++ }); err != nil {
			t.Fatal(err)
		}
		r := s.create(n, 0)
		for range 2 {
			got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
			if err != nil || got.State != task.Done || got.Reason == "" || got.Progress.Counts() != (report.Counts{}) {
				t.Errorf("the task is %+v, %v", got, err)
			}
			s.reopen()
		}
		if q, _ := s.lsm.Tasks.Quota(t.Context(), appID); made != 0 || q.Pending != 0 {
			t.Errorf("%d tasks were to be carried out, %d are pending", made, q.Pending)
		}
	}
}

// TestCreateNeedsAuthority: who may not push any more when the task would be made makes
// none.
func TestCreateNeedsAuthority(t *testing.T) {
	s := newTaskStore(t)
	ctx := audience.WithAuthority(t.Context(), func() bool { return false })
	if _, err := s.lsm.Tasks.Create(ctx, appID, fresh("ann")); !errors.Is(err, audience.ErrStale) {
		t.Errorf("Create: %v", err)
	}
	if list, _, err := s.lsm.Tasks.List(t.Context(), appID, task.Filter{}, 10, ""); err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v", list, err)
	}
}

// TestFreezeFails: an expression that does not hold any more ends the task.
func TestFreezeFails(t *testing.T) {
	s := newTaskStore(t)
	n := fresh()
	n.Audience.Where, n.Audience.Attributes = `nosuch == "x"`, storetest.Attributes
	r := s.create(n, 0)
	got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
	if err != nil || got.State != task.Accepted {
		t.Fatal(got, err)
	}
	if err := s.lsm.Tasks.Freeze(t.Context(), got.Ref); err != nil {
		t.Fatal(err)
	}
	if got, err = s.lsm.Tasks.Task(t.Context(), appID, r.ID); err != nil || got.State != task.Failed || got.Reason == "" {
		t.Errorf("the task is %s, %q, %v", got.State, got.Reason, err)
	}
}

// TestListTasks: pages of tasks, the latest first, with and without a filter.
func TestListTasks(t *testing.T) {
	s := newTaskStore(t)
	var want []string
	for i := range 25 {
		n := fresh("ann")
		if i%5 == 0 {
			n.DataID = "five"
		}
		r := s.create(n, 0)
		want = append([]string{r.ID}, want...)
		if i%2 == 0 {
			got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
			if err != nil {
				t.Fatal(err)
			}
			carryOut(t, s.opened, got.Ref, accepted)
		}
	}
	list := func(f task.Filter) (ids []string) {
		after := ""
		for {
			page, next, err := s.lsm.Tasks.List(t.Context(), appID, f, 7, after)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range page {
				ids = append(ids, got.ID)
			}
			if after = next; next == "" {
				return ids
			}
		}
	}
	if got := list(task.Filter{}); !slices.Equal(got, want) {
		t.Errorf("List: %q, want %q", got, want)
	}
	if got := list(task.Filter{States: []task.State{task.Done}}); len(got) != 13 {
		t.Errorf("%d tasks are done, want 13", len(got))
	}
	if got := list(task.Filter{DataID: "five", States: []task.State{task.Sending}}); len(got) != 2 {
		t.Errorf("%d tasks of five are sending, want 2", len(got))
	}
	if _, _, err := s.lsm.Tasks.List(t.Context(), appID, task.Filter{}, 7, "zz"); err == nil {
		t.Error("a page token that is none was taken")
	}
	for _, id := range []string{"", "1_2_3", "batch_", want[0] + "0", "batch_" + want[0], want[0][:len(want[0])-1] + "g"} {
		if _, err := s.lsm.Tasks.Task(t.Context(), appID, id); !errors.Is(err, task.ErrUnknown) {
			t.Errorf("Task(%q): %v", id, err)
		}
	}
}

// TestExpire: what is kept of each device goes after a week, the task after a month, and
// then the numbers of deleted accounts are free.
func TestExpire(t *testing.T) {
	s := newTaskStore(t)
	addDevice(t, s.opened, "device-0000000001", 1, "ann")
	r := s.create(fresh("ann", "bob"), 0)
	got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	carryOut(t, s.opened, got.Ref, accepted)
	explain := func() *task.Explanation {
		t.Helper()
		e, err := s.lsm.Tasks.Explain(context.Background(), appID, r.ID, "device-0000000001")
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := explain(); !e.Chosen || e.Dropped || len(e.Devices) != 1 || e.Devices[0].Outcome != report.Accepted || e.Devices[0].Choice.Provider != channel.FCM {
		t.Errorf("Explain: %+v", e)
	}
	if err := s.lsm.Tasks.Expire(t.Context(), time.Now().Add(6*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if e := explain(); e.Dropped {
		t.Error("the trace is gone before a week is over")
	}
	if err := s.lsm.Tasks.Expire(t.Context(), time.Now().Add(8*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	e := explain()
	if counts := e.Task.Progress.Counts(); !e.Dropped || e.Devices[0].Sent || counts.Sum() != 2 {
		t.Errorf("Explain after a week: %+v", e)
	}
	if _, _, _, err := s.lsm.Tasks.Receivers(t.Context(), appID, r.ID, 10, ""); apierr.From(err).Kind != apierr.PageExpired {
		t.Errorf("Receivers after a week: %v", err)
	}
	sound(t, s.opened)
	if err := s.lsm.Tasks.Expire(t.Context(), time.Now().Add(31*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID); !errors.Is(err, task.ErrUnknown) {
		t.Errorf("Task after a month: %v", err)
	}
	if err := s.check(t.Context(), func(store.Finding) {}); err != nil {
		t.Fatal(err)
	}
}
