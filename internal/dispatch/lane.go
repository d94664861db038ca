package dispatch

import (
	"container/heap"
	"context"
	"math"
	"sync/atomic"
	"time"

	"tidings/internal/channel"
	"tidings/internal/task"
)

// Pages of a lane (push.md, 2). At most eight whole pages are open; what counts is their
// units, which are in memory, are repeated after a crash, and wait for each other in the
// Sender. Pages of small tasks are not whole, and a single push would keep the place of a
// whole one for as long as its answer takes: with an answer of 150 ms a lane would send 50
// of them a second. So small ones share places.
const (
	maxOpen  = 8           // whole pages at once
	maxShare = maxOpen - 1 // of one class, so that neither waits for a page of the other
	maxUnits = maxOpen * task.MaxPage
	maxSmall = maxShare * task.MaxPage
	fewUnits = 16  // that are reserved for a small page, until it is known how many it has
	decided  = 2   // pages at once of what cannot be sent: that is work for the store alone
	newUnits = 200 // at once while no message was accepted with the credentials
	tryUnits = 16  // at once, in one page, after a provider failed or refused
)

// A lane is what is sent with one certificate. The Dispatcher's mu guards it, but for the
// counters.
type lane struct {
	key      task.Lane
	provider channel.Provider
	wake     chan struct{}
	places   int // of runs, in a list or not
	queues   [classes][]*place
	waiting  dueHeap
	pages    map[*page]struct{}
	whole    int          // pages of broadcasts
	weight   [classes]int // units of pages by class; of a page that is being opened, as many as it may have
	units    int          // of a page of a broadcast

	exists bool    // the certificate does
	sender *sender // nil: not opened yet, or without work for long
	credit *credit // of the certificate as it is; nil: not looked at yet

	block  *block    // nothing is sent
	pauses int       // before a look at it, one after the other
	trial  bool      // one small page at a time
	held   time.Time // nothing is sent before; monotonic
	holds  int       // one after the other, without an answer between
	why    string    // it is held
	since  time.Time // it is held, on the wall clock
	used   time.Time // when there was work last; monotonic

	inFlight atomic.Int64 // units handed to the Sender that have no result yet
	speed    meter        // results a second
	answered time.Time    // when a message was accepted last
	drift    time.Duration
	drifts   bool // that was said
	alarm    string
}

func newLane(key task.Lane) *lane {
	return &lane{
		key: key, wake: make(chan struct{}, 1), pages: map[*page]struct{}{},
		units: task.MaxPage, exists: true, used: time.Now(),
	}
}

// wakeUp has the lane look at itself.
func (l *lane) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// recall has the open pages of a lane end: what was not sent yet goes back.
func (l *lane) recall() {
	for p := range l.pages {
		p.cancel(errRecalled)
	}
}

// sendable reports whether a lane sends anything: else its units are decided without.
func (l *lane) sendable() bool { return l.key.Certificate != 0 && l.exists }

// serve has a lane send until ctx ends, or the lane has no certificate and no work any more.
func (d *Dispatcher) serve(ctx, keep context.Context, l *lane) {
	t := time.NewTimer(0)
	defer t.Stop()
	for ctx.Err() == nil {
		d.prepare(ctx, l)
		d.mu.Lock()
		if !l.sendable() && l.places == 0 && len(l.pages) == 0 {
			delete(d.lanes, l.key)
			d.mu.Unlock()
			return
		}
		t.Reset(d.pump(ctx, keep, l))
		d.mu.Unlock()
		select {
		case <-l.wake:
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

// idleLook is how often a lane looks at its certificate without work, and blockedLook
// while it is blocked, so that a replaced certificate is tried at once.
const (
	idleLook    = time.Minute
	blockedLook = time.Second
)

// pump starts as many pages as a lane may have open, and returns when to look again.
func (d *Dispatcher) pump(ctx, keep context.Context, l *lane) time.Duration {
	now := time.Now()
	for len(l.waiting) > 0 && !l.waiting[0].due.After(now) {
		p := heap.Pop(&l.waiting).(*place)
		p.where = nowhere
		l.enqueue(p)
	}
	look := idleLook
	switch {
	case !l.sendable():
	case l.block != nil:
		return blockedLook
	case l.held.After(now):
		return min(look, l.held.Sub(now))
	case l.sender == nil && l.hasWork():
		return blockedLook // its certificate changed at this moment
	}
	for p, limit := d.choose(l, now); p != nil; p, limit = d.choose(l, now) {
		d.open(ctx, keep, p, limit)
	}
	if len(l.waiting) > 0 {
		look = min(look, max(l.waiting[0].due.Sub(now), time.Millisecond))
	}
	return look
}

// choose takes the place whose turn it is out of its queue, and returns how many units its
// page may have; nil if no page may be opened now.
func (d *Dispatcher) choose(l *lane, now time.Time) (*place, int) {
	for c := range l.queues {
		for len(l.queues[c]) > 0 {
			p := l.queues[c][0]
			limit := l.room(p)
			if limit == 0 {
				break
			}
			l.queues[c][0] = nil
			l.queues[c] = l.queues[c][1:]
			p.where = nowhere
			if p.run.paused || p.run.halted {
				continue
			}
			n, wait := d.allowance(p, now, limit)
			if n > 0 {
				return p, n
			}
			l.wait(p, now.Add(wait))
		}
	}
	return nil, 0
}

// room returns how many units the next page of a place may have; 0 if there may be none.
func (l *lane) room(p *place) int {
	c, open := p.class(), l.weight[small]+l.weight[broadcast]
	limit, free := l.units, maxUnits-open
	if c == small {
		limit = min(task.MaxPage, max(fewUnits, 2*int(p.run.size)))
		free = min(free, maxSmall-l.weight[small])
	}
	switch {
	case !l.sendable():
		if len(l.pages) >= decided {
			return 0
		}
		return task.MaxPage
	case l.trial:
		if open > 0 {
			return 0
		}
		return min(limit, tryUnits)
	case !l.credit.proven.Load():
		limit = min(limit, newUnits/2)
		free = newUnits - open
	case c == broadcast && l.whole >= maxShare:
		return 0
	}
	if limit > free {
		return 0
	}
	return limit
}

// allowance takes up to limit units from the paces of an app and a task, or returns how long
// they allow none.
func (d *Dispatcher) allowance(p *place, now time.Time, limit int) (int, time.Duration) {
	if !p.lane.sendable() {
		return limit, 0
	}
	var all, each int
	if a := d.apps.App(p.lane.key.App); a != nil {
		all, each = a.Settings.Push.Pace, a.Settings.Push.TaskPace
	}
	b := &d.shareOf(p.lane.key.App).pace
	n, wait := b.available(now, all, limit)
	m, longer := p.run.pace.available(now, each, limit)
	if n = min(n, m); n == 0 {
		return 0, max(wait, longer)
	}
	b.take(n)
	p.run.pace.take(n)
	return n, 0
}

// giveBack gives back what allowance took for a page and was not needed. It took nothing for
// a page that is not sent.
func (d *Dispatcher) giveBack(pg *page, n int) {
	if n > 0 && pg.sender != nil {
		d.shareOf(pg.place.lane.key.App).pace.take(-n)
		pg.place.run.pace.take(-n)
	}
}

// shortPage is how long a page of a broadcast lasts, beside the time of an answer. Units
// wait for each other in the Sender, and small tasks would wait with them.
const shortPage = 100 * time.Millisecond

// measure fits the size of the next pages of a broadcast to how long one lasted.
func (l *lane) measure(units, size int, lasted, answer time.Duration) {
	if units < size || lasted <= 0 {
		return
	}
	fit := float64(answer+shortPage) / float64(lasted)
	l.units = min(task.MaxPage, int(math.Ceil(float64(size)*min(2, max(0.25, fit)))))
}
