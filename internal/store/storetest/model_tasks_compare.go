package storetest

import (
	"maps"
	"slices"
	"time"

	"tidings/internal/report"
	"tidings/internal/task"
)

// compare compares all tasks with the model.
func (m *taskModel) compare() {
	m.Helper()
	for _, t := range m.tasks {
		got, err := m.s.Tasks.Task(m.Context(), id, t.receipt.ID)
		m.ok(err)
		if t.isDone != got.State.Ended() {
			m.Fatalf("%s is %s", t.receipt.ID, got.State)
		}
		if t.stopped {
			continue
		}
		counts := map[int]report.Counts{}
		for _, l := range got.Progress.Lanes {
			if l.Counts != (report.Counts{}) {
				counts[l.Certificate] = l.Counts
			}
		}
		want, waiting := map[int]report.Counts{}, 0
		for c, n := range t.counts {
			if *n != (report.Counts{}) {
				want[c] = *n
			}
		}
		for _, u := range t.units {
			if u.outcome == report.Waiting {
				waiting++
			}
		}
		if !maps.Equal(counts, want) || waiting != got.Progress.Retries {
			m.Fatalf("%s has %v and %d retries, want %v and %d", t.receipt.ID, counts, got.Progress.Retries, want, waiting)
		}
		m.receivers(t)
	}
	m.db.Inspect(m.T)
}

// receivers compares the audience of a task.
func (m *taskModel) receivers(t *modelTask) {
	var want, got []string
	for name, made := range t.frozen {
		if a := m.account(name); a != nil && a.made == made {
			want = append(want, name)
		}
	}
	next := ""
	for {
		accounts, _, after, err := m.s.Tasks.Receivers(m.Context(), id, t.receipt.ID, 7, next)
		m.ok(err)
		got = append(got, accounts...)
		if next = after; next == "" {
			break
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		m.Fatalf("%s is for %q, want %q", t.receipt.ID, got, want)
	}
}

func (m *taskModel) explain() {
	if len(m.tasks) == 0 {
		return
	}
	t := m.tasks[m.r.IntN(len(m.tasks))]
	name := m.deviceName()
	d := m.dev[name]
	if d == nil {
		return
	}
	e, err := m.s.Tasks.Explain(m.Context(), id, t.receipt.ID, name)
	m.ok(err)
	u := t.units[key(d)]
	if e.Chosen != m.chosen(t, d) || len(e.Devices) != 1 {
		m.Fatalf("Explain(%s, %s): chosen %v, want %v; %d devices", t.receipt.ID, name, e.Chosen, m.chosen(t, d), len(e.Devices))
	}
	trace := e.Devices[0]
	switch {
	case u == nil:
		if trace.Sent {
			m.Fatalf("Explain(%s, %s): %+v, and it was in no page", t.receipt.ID, name, trace)
		}
	case u.outcome == report.Waiting && t.isDone:
	case trace.Outcome != u.outcome || !trace.Sent || trace.Words != u.words || trace.Waiting != (u.outcome == report.Waiting):
		m.Fatalf("Explain(%s, %s): %+v, want %+v", t.receipt.ID, name, trace, *u)
	}
}

// report reports arrivals, true and forged ones.
func (m *taskModel) report() {
	t := m.some()
	if t == nil || len(t.pages) == 0 {
		return
	}
	for _, u := range t.pages[0].Units {
		if u.Decided != 0 || m.dev[u.Account] == nil {
			continue
		}
		first, err := m.s.Tasks.Reported(m.Context(), id, u.Account, u.Target.ReportID, task.Clicked, time.Now())
		m.ok(err)
		again, err := m.s.Tasks.Reported(m.Context(), id, u.Account, u.Target.ReportID, task.Clicked, time.Now())
		m.ok(err)
		if again {
			m.Fatalf("a click of %s counted again; first %v", u.Account, first)
		}
		forged := []byte(u.Target.ReportID)
		forged[len(forged)-2] ^= 1
		if counted, err := m.s.Tasks.Reported(m.Context(), id, u.Account, string(forged), task.Arrived, time.Now()); err != nil || counted {
			m.Fatalf("a forged report: %v, %v", counted, err)
		}
		for other := range m.dev {
			if other == u.Account {
				continue
			}
			if counted, err := m.s.Tasks.Reported(m.Context(), id, other, u.Target.ReportID, task.Arrived, time.Now()); err != nil || counted {
				m.Fatalf("a report of another device: %v, %v", counted, err)
			}
		}
	}
}

// finish carries all tasks out.
func (m *taskModel) finish() {
	for _, t := range m.running() {
		for range 10_000 {
			if t.isDone {
				break
			}
			for len(t.pages) > 0 && !t.isDone {
				m.close(t, 0, false)
			}
			if t.isDone {
				break
			}
			lanes, err := m.s.Tasks.Lanes(m.Context(), t.ref)
			m.ok(err)
			for _, l := range lanes {
				if opened, _ := m.openLane(t, l, 5); opened {
					break
				}
			}
			m.look(t)
		}
		if !t.isDone {
			m.Fatalf("%s does not end", t.receipt.ID)
		}
	}
}
