package dispatch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A page is one page of a task on its way: it is being opened, sent or closed.
type page struct {
	place  *place
	class  class
	sender *sender // nil: the outcome of its units is decided
	limit  int
	weight int  // of the lane's room
	stamp  int  // of the place, before it was opened
	trial  bool // it was begun to see whether the provider works again
	units  int
	cancel context.CancelCauseFunc
}

// open starts the worker of a page.
func (d *Dispatcher) open(ctx, keep context.Context, p *place, limit int) {
	l, now := p.lane, time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	pg := &page{place: p, class: p.class(), limit: limit, weight: limit, stamp: p.stamp, trial: l.trial, cancel: cancel}
	if l.sendable() {
		pg.sender = l.sender
		pg.sender.refs++
	}
	p.run.pages[pg] = struct{}{}
	l.pages[pg] = struct{}{}
	l.weight[pg.class] += limit
	if pg.class == broadcast {
		l.whole++
	}
	l.used = now
	d.wg.Go(func() {
		defer cancel(nil)
		d.work(ctx, keep, pg)
	})
}

// work carries a page from its opening to its end. Ctx ends when the page is called back;
// keep when nobody can wait any longer.
func (d *Dispatcher) work(ctx, keep context.Context, pg *page) {
	opened, next, err := d.tasks.Open(ctx, pg.place.run.ref, pg.place.lane.key, pg.limit)
	if opened == nil {
		d.nothing(ctx, pg, next, err)
		return
	}
	d.opened(pg, len(opened.Units))
	var verdicts []task.Verdict
	if pg.sender == nil {
		verdicts = decisions(opened)
	} else if verdicts = d.send(ctx, pg, opened); verdicts == nil {
		d.giveUp(pg, opened)
		return
	}
	var ended bool
	err = d.persist(keep, "a page could not be closed", func() (err error) {
		ended, err = d.tasks.Close(keep, opened, verdicts)
		return err
	})
	d.closed(pg, verdicts, ended, err)
}

// decisions returns the outcomes of units that cannot be sent.
func decisions(opened *task.Page) []task.Verdict {
	verdicts := make([]task.Verdict, len(opened.Units))
	for i, u := range opened.Units {
		verdicts[i].Outcome = u.Decided
		if u.Decided == 0 { // its certificate was removed after the page was cut
			verdicts[i].Outcome = report.NoCertificate
		}
	}
	return verdicts
}

// send hands a page to its Sender and returns what becomes of its units; nil if nothing was
// sent.
func (d *Dispatcher) send(ctx context.Context, pg *page, opened *task.Page) []task.Verdict {
	l, s, t, units := pg.place.lane, pg.sender, opened.Task, opened.Units
	targets, places := make([]channel.Target, 0, len(units)), make([]int, 0, len(units))
	results, verdicts := make([]channel.Result, len(units)), make([]task.Verdict, len(units))
	for i := range units {
		// A device that waits for its next try may have lost its token meanwhile.
		if verdicts[i].Outcome = units[i].Decided; units[i].Decided == 0 {
			targets, places = append(targets, units[i].Target), append(places, i)
		}
	}
	job := &channel.Job{Message: &t.Message, Replace: channel.ReplaceText(t.ID), Expires: t.Ends}
	at, begin := d.now(), time.Now()
	l.inFlight.Add(int64(len(targets)))
	s.Send(ctx, job, targets, func(n int, r channel.Result) {
		i := places[n]
		results[i] = r
		l.inFlight.Add(-1)
		d.notice(pg, &results[i])
	})
	lasted := time.Since(begin)

	sent, answer := 0, time.Duration(0)
	for _, i := range places {
		if results[i].Outcome == 0 { // a Sender that does not keep its promise: nobody knows
			results[i] = channel.Result{Outcome: channel.Unknown, Words: "the sender said nothing"}
		}
		if !unsent(ctx, &results[i]) {
			sent++
			answer += results[i].Took
		}
	}
	d.metrics.sent(s.provider, results)
	if sent == 0 && len(targets) == len(units) {
		return nil
	}
	d.mu.Lock()
	j := judge{now: d.now(), ends: t.Ends, limits: s.limits, refused: l.block != nil || s.old}
	d.mu.Unlock()
	for _, i := range places {
		if unsent(ctx, &results[i]) {
			verdicts[i] = task.Verdict{Again: j.now, Unsent: true}
		} else {
			verdicts[i] = j.verdict(units[i].Tries, &results[i])
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guard(pg, opened, verdicts, results, at)
	if pg.class == broadcast && sent == len(units) {
		l.measure(sent, pg.limit, lasted, answer/time.Duration(sent))
	}
	l.speed.add(time.Now(), sent)
	d.looked(l, s)
	return verdicts
}

// unsent reports whether a result is of a message that was not sent because its page was
// called back.
func unsent(ctx context.Context, r *channel.Result) bool {
	return r.Outcome == channel.Retry && r.Status == 0 && r.Code == channel.CodeStopped && ctx.Err() != nil
}

// reset sets a counter to 0. Most are, and reading one is cheaper than writing it.
func reset(n *atomic.Int32) {
	if n.Load() != 0 {
		n.Store(0)
	}
}

// manyFailures is how many tries fail, or stay without an answer, one after the other until a
// lane is held, whatever the provider says about it; and how many are refused for the credentials until a lane is
// blocked with which messages were accepted before. Fewer can be about a few tokens, and
// whoever can register a device can register such tokens.
const manyFailures = 10

// notice looks at a result the moment it is there: what it says about the lane is true for
// all that is open in it.
func (d *Dispatcher) notice(pg *page, r *channel.Result) {
	c := pg.sender.credit
	switch r.Outcome {
	case channel.Accepted:
		c.proven.Store(true)
		reset(&c.refused)
		reset(&c.failing)
	case channel.Gone, channel.Rejected:
		reset(&c.failing)
	case channel.Unauthorized:
		if n := c.refused.Add(1); r.Lane || n >= manyFailures || !c.proven.Load() {
			d.refuse(pg, refusedWords+sentence(r))
		}
	case channel.Throttled, channel.Retry:
		if r.Code == channel.CodeStopped {
			return
		}
		if r.Lane || r.Outcome == channel.Retry && c.failing.Add(1) >= manyFailures {
			d.slow(pg, r)
		}
	case channel.Unknown: // each message that a silent provider gets may be lost
		if c.failing.Add(1) >= manyFailures {
			d.slow(pg, r)
		}
	}
}

// refusedWords begin the reason of a lane that is blocked for its credentials.
const refusedWords = "the provider refuses the credentials: "

// refuse blocks the lane of a page, if that still sends with the same credentials.
func (d *Dispatcher) refuse(pg *page, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := pg.place.lane; l.credit == pg.sender.credit && l.block == nil {
		d.blockLane(l, reason)
	}
}

// slow holds the lane of a page.
func (d *Dispatcher) slow(pg *page, r *channel.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := pg.place.lane
	if l.credit != pg.sender.credit {
		return
	}
	after := d.hold(l, r.After, sentence(r))
	if r.Outcome == channel.Throttled {
		pg.sender.pace.Slow(after)
	}
}

// nothing ends a page that could not be opened, or was empty.
func (d *Dispatcher) nothing(ctx context.Context, pg *page, next time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := pg.place
	d.giveBack(pg, pg.limit)
	d.release(pg)
	switch {
	case errors.Is(err, task.ErrUnknown):
		p.run.lost = true
	case errors.Is(err, task.ErrEnded):
		p.run.changed = true
	case err != nil && ctx.Err() == nil:
		if p.fails%10 == 0 {
			d.log.Error("a push task waits for the store", "failure", "a page could not be opened", "error", err)
		}
		p.lane.wait(p, time.Now().Add(firstWait/10+jitter(p.fails, maxWait)))
		p.fails++
	case err != nil || p.stamp != pg.stamp:
		p.lane.enqueue(p)
	case !next.IsZero():
		p.lane.wait(p, d.monotonic(next))
	}
}

// monotonic returns when a time of the wall clock comes, or an earlier time to look again.
func (d *Dispatcher) monotonic(t time.Time) time.Time {
	return time.Now().Add(min(lookAgain, max(t.Sub(d.now()), time.Millisecond)))
}

// opened notes how many units a page has. After a whole page there may be more, and in a
// broadcast after any: devices change between the cut of a page and its opening.
func (d *Dispatcher) opened(pg *page, units int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := pg.place
	p.fails = 0
	p.lane.weight[pg.class] += units - pg.weight
	pg.units, pg.weight = units, units
	p.lane.wakeUp()
	d.giveBack(pg, pg.limit-units)
	if !p.run.begun {
		p.run.begun = true
		d.metrics.start.Observe(d.now().Sub(p.run.accepted).Seconds())
	}
	if units >= pg.limit || pg.class == broadcast {
		p.lane.enqueue(p)
	}
}

// giveUp gives back a page of which nothing was sent.
func (d *Dispatcher) giveUp(pg *page, opened *task.Page) {
	d.tasks.Abandon(opened)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.giveBack(pg, pg.units)
	d.release(pg)
	pg.place.stamp++
	pg.place.lane.wait(pg.place, time.Now().Add(soon))
}

// soon is when a page that was given back may be opened again, so that nothing goes round
// in circles.
const soon = 10 * time.Millisecond

// closed ends a page that was sent.
func (d *Dispatcher) closed(pg *page, verdicts []task.Verdict, ended bool, err error) {
	final := 0
	var again time.Time // of the first of its units
	for i := range verdicts {
		if v := &verdicts[i]; v.Outcome != 0 {
			final++
		} else if again.IsZero() || v.Again.Before(again) {
			again = v.Again
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p, r, now := pg.place, pg.place.run, time.Now()
	d.release(pg)
	r.moved, r.tries = now, 0
	switch {
	case errors.Is(err, task.ErrUnknown):
		r.lost = true
		return
	case err != nil:
		r.changed = true
		return
	case ended:
		r.ended = true
		return
	}
	if final < len(verdicts) {
		p.stamp++
		p.lane.wait(p, d.monotonic(again))
	}
	r.done += uint64(final)
	r.speed.add(now, final)
	if pg.units < pg.limit {
		p.lane.enqueue(p)
	}
}

// release takes a page out of its run and its lane.
func (d *Dispatcher) release(pg *page) {
	l, r, s := pg.place.lane, pg.place.run, pg.sender
	delete(l.pages, pg)
	delete(r.pages, pg)
	l.weight[pg.class] -= pg.weight
	if pg.class == broadcast {
		l.whole--
	}
	l.used = time.Now()
	l.wakeUp()
	r.wakeUp()
	if s == nil {
		return
	}
	if s.refs--; s.refs == 0 && s.old {
		d.wg.Go(func() { d.closeSender(s) })
	}
}
