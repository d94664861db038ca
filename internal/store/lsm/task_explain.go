package lsm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/report"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// An explainer finds what is known of devices and a task, in the app and its tables as they
// are at one moment.
type explainer struct {
	r   *running
	p   *progress
	f   *frozen
	u   *index.View
	v   *journal.View
	way *chooser
	all *Users
}

// Explain returns what is known of an account and a task.
func (t *Tasks) Explain(ctx context.Context, app uint32, id, account string) (e *task.Explanation, err error) {
	r, err := t.byID(ctx, app, id)
	if err != nil {
		return nil, err
	}
	p, _ := r.snapshot() // before the tables are looked at: they may have more, and never less
	found, err := t.get(ctx, r)
	if err != nil {
		return nil, err
	}
	var tables func(context.Context) (*journal.View, error)
	now, err := t.view(ctx, app, func(x *tenant, _ *view) { tables = t.journal.ViewAt(x.pos) })
	if err != nil {
		return nil, err
	}
	v, err := tables(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	e = &task.Explanation{Task: found, Fixed: p.Frozen > 0}
	x := &explainer{r, &p, &frozen{}, now.users, v, newChooser(now.app), t.users}
	if e.Fixed {
		if x.f, err = t.keptAudience(ctx, r, &p); err != nil {
			return nil, err
		}
		e.Dropped = x.f.n == 0
	}
	n, exists := now.users.Find(account)
	if e.Exists = exists; !exists {
		return e, nil
	}
	numbers := []uint32{n}
	if now.users.Kind(n) == audience.UserID {
		e.Chosen = x.f.has(n)
		for d := range now.users.Devices(n) {
			numbers = append(numbers, d)
		}
	} else {
		e.Chosen = x.f.chosen(now.users, n)
	}
	for _, n := range numbers {
		trace, err := x.trace(ctx, n, e.Dropped)
		if err != nil {
			return nil, err
		}
		if trace != nil {
			e.Devices = append(e.Devices, *trace)
		}
	}
	return e, nil
}

// trace returns what is known of an account: of a device, or of a receiver that had none;
// nil if that is nothing.
func (x *explainer) trace(ctx context.Context, n uint32, dropped bool) (*task.Trace, error) {
	var l *late
	var err error
	if !dropped {
		if l, err = x.delivery(ctx, n); err != nil {
			return nil, err
		}
	}
	facet, isDevice := x.u.Facet(n)
	if !isDevice && l == nil {
		return nil, nil
	}
	trace := &task.Trace{}
	if isDevice {
		trace.Choice = x.way.choice(x.u, facet)
		if err := x.device(trace, n, l); err != nil {
			return nil, err
		}
	}
	if l == nil {
		x.unsent(trace, n)
		return trace, nil
	}
	trace.Sent, trace.Waiting = true, l.Outcome == report.Waiting
	trace.Outcome, trace.Tries, trace.At, trace.Took, trace.Next = l.Outcome, l.Tries, msTime(l.at), l.Took, msTime(l.due)
	if trace.Waiting && x.p.State.Ended() { // the end of the task gave it its outcome
		trace.Waiting, trace.Outcome, trace.Next, trace.At = false, outcomeOf(x.p.State), msTime(0), msTime(x.p.Ended)
	}
	trace.Choice = x.choiceOf(l)
	if err := x.answer(trace, l.Text); err != nil {
		return nil, err
	}
	if trace.Arrived, err = x.event(n, task.Arrived); err == nil {
		trace.Clicked, err = x.event(n, task.Clicked)
	}
	return trace, err
}

// event returns when a device reported an event; zero if it has not.
func (x *explainer) event(n uint32, event task.Event) (time.Time, error) {
	value, err := x.v.Get(tableEvent, x.r.App, eventKey(x.r.Number, n, byte(event)))
	if err != nil || len(value) != 8 {
		return time.Time{}, err
	}
	return msTime(int64(binary.BigEndian.Uint64(value))), nil
}

// device sets the device of a trace, as it was when its page was sent if that is kept.
func (x *explainer) device(trace *task.Trace, n uint32, l *late) error {
	var d *device.Device
	var err error
	if l != nil && l.Version != 0 {
		d, err = x.all.readDeviceVersion(x.v, x.u, x.r.App, n, l.Version)
	}
	if err == nil && d == nil {
		d, err = readDevice(x.v, x.u, x.r.App, n)
	}
	if d != nil {
		trace.Device = *d
	} else {
		trace.Deleted = true
	}
	return err
}

// unsent says what becomes, or became, of a device that was in no page.
func (x *explainer) unsent(trace *task.Trace, n uint32) {
	switch meant := x.f.chosen(x.u, n); {
	case !meant:
	case !x.p.State.Ended():
		trace.Waiting = true
	case x.p.State == task.Done: // it was bound, or found a way, when its turn was over
	case trace.Choice.Reason != device.Sendable:
		trace.Outcome, trace.At = decided[trace.Choice.Reason], msTime(x.p.Ended)
	default:
		trace.Outcome, trace.At = outcomeOf(x.p.State), msTime(x.p.Ended)
	}
}

// outcomeOf is the outcome of units that had none when their task ended.
func outcomeOf(s task.State) report.Outcome {
	if s == task.Expired {
		return report.Expired
	}
	return report.Stopped
}

// choiceOf returns by which way a device was reached.
func (x *explainer) choiceOf(l *late) device.Choice {
	c := device.Choice{Certificate: l.certificate, Kind: l.Kind}
	if lane := x.p.lane(l.certificate); lane != nil {
		c.Provider = lane.Provider
	}
	if l.certificate == 0 {
		for reason, outcome := range decided {
			if outcome == l.Outcome {
				c.Reason = reason
			}
		}
	}
	return c
}

// answer sets what the provider answered.
func (x *explainer) answer(trace *task.Trace, id int) error {
	if id == 0 {
		return nil
	}
	value, err := x.v.Get(tableAnswer, x.r.App, answerKey(x.r.Number, id))
	if err != nil || value == nil {
		return err
	}
	var a answer
	err = json.Unmarshal(value, &a)
	trace.Status, trace.Code, trace.Words = a.Status, a.Code, a.Words
	return err
}

// delivery returns what became of an account in a page that is closed; nil if it was in
// none. Blocks of a lane that are of the first pass do not overlap, so one look finds the
// one that may have it.
func (x *explainer) delivery(ctx context.Context, n uint32) (*late, error) {
	key := lateKey(x.r.Number, n)
	value, err := x.v.Get(tableLate, x.r.App, key)
	if err != nil {
		return nil, err
	}
	if value != nil {
		return parseLate(key, value)
	}
	for _, l := range x.p.Lanes {
		for _, again := range []bool{false, true} {
			var found *late
			from := blockKey(x.r.Number, l.Certificate, again, n)
			err := x.v.Walk(ctx, tableBlock, x.r.App, passKey(x.r.Number, l.Certificate, again), from, func(_, value []byte) (bool, error) {
				b, err := report.ParseBlock(value)
				if err != nil {
					return false, err
				}
				if d, is := b.Find(n); is {
					found = &late{certificate: l.Certificate, Delivery: d, at: b.At.UnixMilli()}
				}
				return again && found == nil, nil
			})
			if err != nil || found != nil {
				return found, err
			}
		}
	}
	return nil, nil
}
