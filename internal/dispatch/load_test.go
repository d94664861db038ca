package dispatch

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A broadcast runs, and single pushes come: from their acceptance to the provider it takes
// at most 250 ms in 99 of 100.
func TestSmallTasksGoBeforeBroadcasts(t *testing.T) {
	for name, took := range map[string]time.Duration{"near": 20 * time.Millisecond, "far": 150 * time.Millisecond, "slow": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, func(w *world) {
					w.store.took = 2 * time.Millisecond
					w.provider.took, w.provider.limits = took, channel.Limits{Rate: 4000}
				})
				broadcast := w.store.add(spec{app: 1, units: map[int]int{1: 60_000}, life: time.Hour})
				time.Sleep(3 * time.Second)
				before := w.store.outcomes(broadcast)[report.Accepted]
				var refs []task.Ref
				for range 200 {
					refs = append(refs, w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour}))
					time.Sleep(37 * time.Millisecond)
				}
				during := w.store.outcomes(broadcast)[report.Accepted] - before
				if took < time.Second && during < 4000*7*9/10 {
					t.Errorf("%d messages of the broadcast were sent in 7.4 seconds, want about %d: small tasks hold it up", during, 4000*74/10)
				}
				time.Sleep(time.Second + 2*took)
				var waits []time.Duration
				for _, r := range refs {
					w.provider.mu.Lock()
					sent := w.provider.when[sendID(r)]
					w.provider.mu.Unlock()
					if sent.IsZero() {
						t.Fatalf("task %v was not sent", r)
					}
					waits = append(waits, sent.Sub(w.store.get(r).Accepted))
				}
				slices.Sort(waits)
				if p99 := waits[len(waits)*99/100] - took; p99 > 250*time.Millisecond {
					t.Errorf("p99 from accepted to the provider is %s, want at most 250 ms (median %s)", p99, waits[len(waits)/2]-took)
				}
				if err := w.Stop(t.Context(), broadcast, ""); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Pages of broadcasts last no longer than an answer and 100 ms, and grow again.
func TestPagesAreFittedToTime(t *testing.T) {
	for _, c := range []struct {
		units, size    int
		lasted, answer time.Duration
		want           int
	}{
		{500, 500, time.Second, 300 * time.Millisecond, 200},
		{500, 500, 10 * time.Second, 300 * time.Millisecond, 125}, // by no more than to a quarter
		{500, 500, 50 * time.Millisecond, 50 * time.Millisecond, 500},
		{100, 100, 20 * time.Millisecond, 20 * time.Millisecond, 200}, // by no more than to the double
		{1, 1, 15 * time.Second, 15 * time.Second, 2},                 // from one unit too
		{40, 100, time.Second, time.Millisecond, 77},                  // one that was not full says nothing
	} {
		l := &lane{units: 77}
		if l.measure(c.units, c.size, c.lasted, c.answer); l.units != c.want {
			t.Errorf("after %d of %d units in %s, answers in %s: pages of %d, want %d", c.units, c.size, c.lasted, c.answer, l.units, c.want)
		}
	}
}

// Where there is a place for one page only, that of a small task is first.
func TestTheSmallTaskIsFirst(t *testing.T) {
	d := New(nil, registry(t, 1, 1), nil, Options{})
	l := newLane(task.Lane{App: 1, Certificate: 1})
	l.credit, l.trial = new(credit), true
	for i, size := range []uint64{1e6, 1, 1e6} {
		r := newRun(task.Ref{App: 1, Number: uint64(i)})
		r.size = size
		l.enqueue(&place{run: r, lane: l})
	}
	for i, want := range []uint64{1, 0, 2} {
		p, n := d.choose(l, time.Now())
		if p == nil || p.run.ref.Number != want || n != tryUnits {
			t.Fatalf("page %d: got %+v with %d units, want one of task %d with %d", i, p, n, want, tryUnits)
		}
	}
}

// The audiences of an app with many tasks are fixed one after the other, and those of another
// app do not wait for them.
func TestAnAppWithManyTasksHoldsUpNoOther(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.store.fixing = 10 * time.Second })
		for range 100 {
			w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour})
		}
		time.Sleep(time.Second)
		r := w.store.add(spec{app: 2, units: map[int]int{1: 1}, life: time.Hour})
		begin := time.Now()
		w.wait(r)
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("a task of another app took %s", took)
		}
	})
}

// A lane without work looks at its certificate seldom, also when its Sender was closed.
func TestALaneWithoutWorkRests(t *testing.T) {
	d := New(nil, registry(t, 1, 1), nil, Options{})
	l := newLane(task.Lane{App: 1, Certificate: 1})
	l.credit = new(credit)
	if wait := d.pump(t.Context(), t.Context(), l); wait != idleLook {
		t.Errorf("it looks again after %s, want %s", wait, idleLook)
	}
}

// A broadcast goes on while small tasks never end coming.
func TestSmallTasksDoNotStarveBroadcasts(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.took = time.Second
		broadcast := w.store.add(spec{app: 1, units: map[int]int{1: 1000}, life: time.Hour})
		time.Sleep(1500 * time.Millisecond)
		for range 200 {
			w.store.add(spec{app: 1, units: map[int]int{1: 500}, life: time.Hour})
		}
		time.Sleep(10 * time.Second)
		if n := w.store.outcomes(broadcast)[report.Accepted]; n != 1000 {
			t.Errorf("%d units of the broadcast were sent while small tasks wait, want 1000", n)
		}
	})
}

// A provider hangs for a minute under a broadcast: memory stays flat, and other lanes go on.
func TestAHangingProvider(t *testing.T) {
	in(t, func(t *testing.T) {
		var hangs atomic.Bool
		w := newWorld(t)
		w.provider.took = 50 * time.Millisecond
		w.provider.answer = func(version string, _ *channel.Target, _ int) channel.Result {
			if version == "1/1" && hangs.Load() {
				time.Sleep(15 * time.Second) // the time of a request
				return channel.Result{Outcome: channel.Retry, Words: "no answer"}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 50_000}, life: time.Hour})
		time.Sleep(200 * time.Millisecond)
		hangs.Store(true)
		time.Sleep(10 * time.Second)
		other := w.store.add(spec{app: 1, units: map[int]int{2: 5000}, life: time.Hour})
		begin := time.Now()
		w.wait(other)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("a task in another lane took %s", took)
		}
		time.Sleep(50 * time.Second)
		w.store.mu.Lock()
		most := w.store.most
		w.store.mu.Unlock()
		if limit := 2 * maxOpen * task.MaxPage; most > limit {
			t.Errorf("%d units were in memory at once, want at most %d", most, limit)
		}
		if s := w.Lanes(1)[0]; s.Pages > 1 || s.InFlight > tryUnits {
			t.Errorf("the hanging lane is tried with too much: %+v", s)
		}
		hangs.Store(false)
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 50_000})
		if took := time.Since(begin); took > 4*time.Minute {
			t.Errorf("it took %s in all", took)
		}
	})
}

// A provider takes requests and answers none: what becomes of a message is not known, and a
// broadcast waits instead of losing one message after the other that way.
func TestAProviderThatDoesNotAnswer(t *testing.T) {
	in(t, func(t *testing.T) {
		var hangs atomic.Bool
		w := newWorld(t)
		w.provider.took = 50 * time.Millisecond
		w.provider.answer = func(string, *channel.Target, int) channel.Result {
			if hangs.Load() {
				time.Sleep(15 * time.Second) // the time of a request
				return channel.Result{Outcome: channel.Unknown, Code: channel.CodeTimeout, Words: "no answer in time", Took: 15 * time.Second}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 100_000}, life: time.Hour})
		time.Sleep(200 * time.Millisecond)
		hangs.Store(true)
		time.Sleep(10 * time.Minute)
		// What was on its way, and some sixteen at each look.
		if n := w.store.outcomes(r)[report.Unknown]; n > maxUnits+1000 {
			t.Errorf("%d messages were lost to a provider that does not answer", n)
		}
		if s := w.Lanes(1)[0]; s.Pages > 1 || s.InFlight > tryUnits {
			t.Errorf("the lane is tried with too much: %+v", s)
		}
		hangs.Store(false)
		w.wait(r)
		if n := w.store.outcomes(r)[report.Accepted]; n < 100_000-maxUnits-1000 {
			t.Errorf("%d of 100000 were accepted in the end", n)
		}
	})
}

// A provider that is down is not called for each message of a broadcast.
func TestADeadProvider(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.answer = func(string, *channel.Target, int) channel.Result {
			return channel.Result{Outcome: channel.Retry, Words: "connection refused"}
		}
		w.store.add(spec{app: 1, units: map[int]int{1: 50_000}, life: 24 * time.Hour})
		time.Sleep(time.Hour)
		// About once in half a minute with sixteen.
		if n := w.provider.sends.Load(); n > 6000 {
			t.Errorf("%d messages were tried in an hour", n)
		}
		w.store.mu.Lock()
		opens := w.store.opens
		w.store.mu.Unlock()
		if opens > 1000 {
			t.Errorf("%d pages were opened in an hour, most of them for nothing", opens)
		}
		if s := w.Lanes(1)[0]; s.State != LaneThrottled || s.Reason != "connection refused" {
			t.Errorf("got %+v", s)
		}
	})
}

// Lanes are fair: tasks take turns.
func TestTasksTakeTurns(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.took, w.provider.limits = 20*time.Millisecond, channel.Limits{Rate: 2000}
		var refs []task.Ref
		for range 5 {
			refs = append(refs, w.store.add(spec{app: 1, units: map[int]int{1: 20_000}, life: time.Hour}))
		}
		time.Sleep(10 * time.Second)
		for _, r := range refs {
			if n := w.store.outcomes(r)[report.Accepted]; n < 3000 || n > 5000 {
				t.Errorf("a task of five has %d of 20000 messages", n)
			}
		}
	})
}

func TestShutdownLetsPagesEnd(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.took, w.provider.limits = 3*time.Second, channel.Limits{Rate: 1000}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 20_000}, life: time.Hour})
		time.Sleep(8 * time.Second)
		begin := time.Now()
		w.end()
		if took := time.Since(begin); took > 3100*time.Millisecond {
			t.Errorf("the end took %s, want the time of a request", took)
		}
		accepted := w.store.outcomes(r)[report.Accepted]
		if n := w.provider.sends.Load(); int(n) != accepted || n == 0 {
			t.Errorf("%d were sent, and %d are noted as accepted", n, accepted)
		}
		if w.store.open != 0 {
			t.Errorf("%d units are in open pages after the end", w.store.open)
		}
		synctest.Wait()
		w.start()
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 20_000})
		if n := w.provider.sends.Load(); n != 20_000 {
			t.Errorf("%d were sent, want each once", n)
		}
	})
}

func TestShutdownWithAStoreThatFails(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.store.add(spec{app: 1, units: map[int]int{1: 600}, life: time.Hour})
		time.Sleep(time.Microsecond)
		w.store.mu.Lock()
		w.store.fails = func() bool { return true }
		w.store.mu.Unlock()
		begin := time.Now()
		w.end()
		if took := time.Since(begin); took > w.opts.Grace+25*time.Second {
			t.Errorf("the end took %s", took)
		}
		w.seat.tear()
		w.store.fails = nil
		w.start()
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 600})
	})
}

// sendID returns that of the first unit of a task in lane 1.
func sendID(r task.Ref) string { return fmt.Sprintf("%d/1/0", r.Number) }
