package lsm

import (
	"context"
	"errors"
	"time"

	"tidings/internal/device"
	"tidings/internal/report"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// errOpenPages is the error of ending a task that has open pages.
var errOpenPages = errors.New("the task has open pages")

// End ends a task that is not done.
func (t *Tasks) End(ctx context.Context, ref task.Ref, s task.State, reason string) error {
	r := t.running(ref)
	if r == nil {
		if _, err := t.ended(ctx, ref); err != nil {
			return err
		}
		return task.ErrEnded
	}
	r.work.Lock()
	defer r.work.Unlock()
	if r.p.State.Ended() {
		return task.ErrEnded
	}
	for page := range r.pages {
		if !page.closed {
			return errOpenPages
		}
	}
	var rest map[int]*restOf
	if r.p.State == task.Sending {
		var err error
		if rest, err = t.rest(ctx, r, s); err != nil {
			return err
		}
	}
	return t.end(ctx, r, s, reason, rest)
}

// A restOf is what the end of a task leaves of a lane.
type restOf struct {
	counts report.Counts
	choice device.Choice
}

// rest counts the units that have no outcome: those in no page, in one pass over the
// numbers that are left, and the retries.
func (t *Tasks) rest(ctx context.Context, r *running, s task.State) (map[int]*restOf, error) {
	outcome := outcomeOf(s)
	rest := map[int]*restOf{}
	lane := func(certificate int) *restOf {
		if rest[certificate] == nil {
			rest[certificate] = &restOf{}
		}
		return rest[certificate]
	}
	w, err := t.newWalker(ctx, r)
	if err != nil {
		return nil, err
	}
	left := spans{everyNumber}
	if r.p.Cut {
		left = nil
		for _, l := range r.p.Lanes {
			lane(l.Certificate).counts[outcome] += uint64(l.Retries)
			for _, numbers := range []spans{l.Left, l.Again} {
				for _, x := range numbers {
					left = left.add(x)
				}
			}
		}
	}
	for len(left) > 0 {
		w.left = walkMost
		_, err := w.take(ctx, nil, &left, func(u unit) bool {
			l, o := lane(u.certificate()), outcome
			l.choice = u.choice
			switch {
			case !u.device:
				o = report.NoDevice
			case u.choice.Reason != device.Sendable:
				o = decided[u.choice.Reason]
			}
			l.counts[o]++
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return rest, t.journal.Wait(ctx, w.pos)
}

// end ends a task, whose work lock is held, and returns when that is durable.
func (t *Tasks) end(ctx context.Context, r *running, s task.State, reason string, rest map[int]*restOf) error {
	step, err := r.step(nil, func(p *progress) {
		p.State, p.Reason, p.Ended, p.Paused = s, reason, time.Now().UnixMilli(), false
		for certificate, l := range rest {
			if l.counts == (report.Counts{}) {
				continue
			}
			lane := p.addLane(certificate, l.choice.Provider)
			for o, n := range l.counts {
				lane.Counts[o] += n
				lane.Rest[o] += n
			}
		}
		for _, l := range p.Lanes {
			l.Left, l.Again, l.Retries = nil, nil, 0
		}
	})
	if err == nil {
		_, err = t.commit(ctx, r, step, func(b *journal.Batch) { putEnd(b, r.Number, step) })
	}
	if err == nil {
		err = t.wait(r)
	}
	if err != nil {
		return err
	}
	t.forget(r)
	return nil
}

// settle ends a task of which nothing is left. Its work lock is held.
func (t *Tasks) settle(ctx context.Context, r *running, w *walker) error {
	done, err := w.nothingLeft(ctx)
	if err != nil || !done {
		return err
	}
	if err := t.journal.Wait(ctx, w.pos); err != nil {
		return err
	}
	return t.end(ctx, r, task.Done, "", nil)
}

// hourOf is the hour of a moment, by which pins of ended tasks are kept.
func hourOf(ms int64) uint64 { return uint64(max(ms, 0)) / uint64(time.Hour.Milliseconds()) }

// putEnd puts the end of a task into a batch. Also one whose audience was never fixed may
// have left a part of it.
func putEnd(b *journal.Batch, number uint64, s *step) {
	b.Delete(tableActive, taskKey(number))
	b.Set(tableEndedTask, taskKey(number), s.record)
	ended := msTime(s.p.Ended)
	if s.p.Pin != 0 {
		b.Raise(tablePinned, taskKey(hourOf(s.p.Ended)), ^s.p.Pin)
	}
	b.Set(tableDue, dueKey(ended.Add(traceLife).Unix()+1, dueTrace, taskKey(number)), nil)
	b.Set(tableDue, dueKey(ended.Add(taskLife).Unix(), dueTask, taskKey(number)), nil)
}

// forget takes a task out of the memory whose end is durable.
func (t *Tasks) forget(r *running) {
	p, _ := r.snapshot()
	if p.Pin != 0 {
		r.x.tasks.pinned(hourOf(p.Ended), p.Pin)
	}
	r.x.tasks.drop(r)
	t.audiences.forget(r.x, r.Number)
}
