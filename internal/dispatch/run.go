package dispatch

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"tidings/internal/task"
)

// A run is a task that is being carried out. The Dispatcher's mu guards it.
type run struct {
	ref      task.Ref
	id       string
	accepted time.Time
	deadline time.Time // on the wall clock
	frozen   bool
	size     uint64 // accounts of its audience
	paused   bool
	begun    bool // a page was sent

	changed bool  // it is to be read again
	halted  bool  // no page of it is opened any more
	ended   bool  // the Store says so
	lost    bool  // the Store does not have it any more
	stop    *stop // somebody wants it to end

	again  time.Time // when its audience is to be fixed, or its lanes looked for; monotonic
	tries  int       // of that in vain
	cancel context.CancelFunc
	places map[*lane]*place
	pages  map[*page]struct{}
	pace   bucket
	speed  meter     // units a second
	done   uint64    // units with an outcome
	moved  time.Time // when it came on last
	wake   chan struct{}
}

// A stop is the wish that a task ends.
type stop struct {
	reason string
	err    error // once done is closed
	done   chan struct{}
}

func newRun(ref task.Ref) *run {
	return &run{
		ref: ref, cancel: func() {}, places: map[*lane]*place{}, pages: map[*page]struct{}{},
		moved: time.Now(), wake: make(chan struct{}, 1),
	}
}

// wakeUp has the run look at itself.
func (r *run) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// halt opens no more pages of a run, and has those that are open end.
func (r *run) halt() {
	r.halted = true
	r.cancel()
	r.recall()
}

// recall has the open pages of a run end: what was not sent yet goes back.
func (r *run) recall() {
	for p := range r.pages {
		p.cancel(errRecalled)
	}
}

// errRecalled is why the rest of a page is not sent.
var errRecalled = errors.New("the page was called back")

// dry reports whether nothing of a run is open or waits in a lane.
func (r *run) dry() bool {
	if len(r.pages) > 0 {
		return false
	}
	for _, p := range r.places {
		if p.where != nowhere {
			return false
		}
	}
	return true
}

// A duty is what a run has to do next.
type duty int

const (
	rest duty = iota
	leave
	finish
	endStopped
	endExpired
	reread
	freeze
	findLanes
)

// oneTry is how long a message may wait that has no life (LifeTime 0: now or never), so that
// it is tried once.
const oneTry = time.Minute

// lookAgain bounds the waits for what the wall clock says, which may jump.
const lookAgain = 20 * time.Second

// duty returns what a run has to do, or after which time to ask again.
func (d *Dispatcher) duty(r *run) (duty, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := r.deadline.Sub(d.now())
	now := time.Now()
	switch {
	case r.lost:
		return leave, 0
	case r.ended:
		return finish, 0
	case r.stop != nil:
		return endStopped, 0
	case left <= 0:
		return endExpired, 0
	case r.changed:
		r.changed = false
		return reread, 0
	case !r.frozen && !r.again.After(now):
		return freeze, 0
	case r.frozen && r.dry() && !r.paused:
		if !r.again.After(now) {
			return findLanes, 0
		}
	}
	wait := min(left, lookAgain)
	if until := r.again.Sub(now); until > 0 {
		wait = min(wait, until)
	}
	return rest, max(wait, time.Millisecond)
}

// follow brings a task from where it is to its end.
func (d *Dispatcher) follow(ctx, keep context.Context, r *run) {
	if !d.reread(ctx, r) {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		duty, wait := d.duty(r)
		if ctx.Err() != nil && duty != finish {
			d.stopped(r, context.Cause(ctx))
			return
		}
		switch duty {
		case leave:
			d.stopped(r, task.ErrUnknown)
			return
		case finish:
			d.finish(keep, r)
			d.stopped(r, task.ErrEnded)
			return
		case endStopped:
			d.end(ctx, keep, r, task.Stopped, r.stop.reason)
		case endExpired:
			d.end(ctx, keep, r, task.Expired, d.whyExpired(r))
		case reread:
			d.reread(ctx, r)
		case freeze:
			d.freeze(ctx, r)
		case findLanes:
			d.findLanes(ctx, keep, r)
		case rest:
			timer.Reset(wait)
			select {
			case <-r.wake:
			case <-timer.C:
			case <-ctx.Done():
			}
		}
	}
}

// reread brings what is known of a task up to date. It returns false if the task is kept no
// more, or ctx ended.
func (d *Dispatcher) reread(ctx context.Context, r *run) bool {
	var t *task.Task
	err := d.persist(ctx, "it could not be read", func() (err error) {
		t, err = d.tasks.Get(ctx, r.ref)
		return err
	})
	if err != nil && !errors.Is(err, task.ErrUnknown) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t == nil || err != nil {
		r.lost = true
		return false
	}
	r.id, r.accepted, r.deadline = t.ID, t.Accepted, t.Ends
	if !t.Ends.After(t.Accepted) {
		r.deadline = t.Accepted.Add(oneTry)
	}
	r.frozen = t.State != task.Accepted && t.State != task.Resolving
	r.size, r.ended = t.Frozen, t.State.Ended()
	counts := t.Progress.Counts()
	r.done = max(r.done, counts.Sum())
	r.begun = r.begun || !t.Begun.IsZero()
	if r.paused = t.Paused; r.paused {
		r.recall()
		return true
	}
	for _, p := range r.places {
		p.lane.enqueue(p)
	}
	return true
}

// freeze has the audience of a task fixed, which takes seconds of work if the audience is
// large: those of an app wait for each other, and then for those of other apps.
func (d *Dispatcher) freeze(ctx context.Context, r *run) {
	d.mu.Lock()
	ctx, cancel := context.WithTimeout(ctx, r.deadline.Sub(d.now()))
	r.cancel = cancel
	turns := []chan struct{}{d.shareOf(r.ref.App).freezes, d.freezes}
	halted := r.halted
	d.mu.Unlock()
	defer cancel()
	if halted {
		return
	}
	for _, turn := range turns {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return
		}
	}
	err := d.tasks.Freeze(ctx, r.ref)
	d.mu.Lock()
	switch {
	case err == nil:
		r.tries, r.again, r.moved = 0, time.Time{}, time.Now()
	case errors.Is(err, task.ErrUnknown):
		r.lost = true
	default:
		r.retryLater()
		if ctx.Err() == nil && r.tries%10 == 1 {
			d.log.Error("the audience of a push task could not be fixed", "app", r.ref.App, "task", r.id, "error", err)
		}
	}
	d.mu.Unlock()
	d.reread(ctx, r)
}

// retryLater sets when something that was in vain is done again.
func (r *run) retryLater() {
	r.again = time.Now().Add(firstWait/10 + jitter(r.tries, maxWait))
	r.tries++
}

// findLanes gives a run its places. Devices change their lane while a task runs, so it is
// also called when all places are done and the task has not ended.
func (d *Dispatcher) findLanes(ctx, keep context.Context, r *run) {
	lanes, err := d.tasks.Lanes(ctx, r.ref)
	if err == nil && len(lanes) > 0 {
		t, err := d.tasks.Get(ctx, r.ref)
		d.mu.Lock()
		defer d.mu.Unlock()
		if err == nil && t != nil {
			for _, key := range lanes {
				d.join(ctx, keep, r, key, &t.Progress)
			}
		}
		r.retryLater() // if these are in vain too
		return
	}
	d.mu.Lock()
	if errors.Is(err, task.ErrUnknown) {
		r.lost = true
	}
	r.retryLater()
	d.mu.Unlock()
	d.reread(ctx, r) // it may have ended
}

// end ends a task that is not done. Its open pages are closed or given back first.
func (d *Dispatcher) end(ctx, keep context.Context, r *run, state task.State, reason string) {
	d.mu.Lock()
	r.halt()
	for len(r.pages) > 0 {
		d.mu.Unlock()
		<-r.wake // each page that ends wakes the run
		d.mu.Lock()
	}
	ended := r.ended // with the last page
	d.mu.Unlock()
	if ended {
		return
	}
	err := d.persist(ctx, "it could not be ended", func() error { return d.tasks.End(keep, r.ref, state, reason) })
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		r.ended = true
		if state == task.Stopped {
			close(r.stop.done)
			r.stop = nil
		}
	case errors.Is(err, task.ErrEnded):
		r.ended = true
	case errors.Is(err, task.ErrUnknown):
		r.lost = true
	}
}

// stopped answers whoever wanted a run to stop that did not end that way.
func (d *Dispatcher) stopped(r *run, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.stop != nil {
		r.stop.err = err
		close(r.stop.done)
		r.stop = nil
	}
}

// whyExpired returns why a task was not done in its time, as far as that is known.
func (d *Dispatcher) whyExpired(r *run) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !r.frozen {
		return "its audience could not be fixed before its life ended"
	}
	_, reason := d.blocked(r)
	return reason
}

// finish does what is left when a task has ended: it decides about the tokens that were
// held back, and writes the line of the log.
func (d *Dispatcher) finish(ctx context.Context, r *run) {
	d.retireHeld(ctx, r)
	t, err := d.tasks.Get(ctx, r.ref)
	if err != nil || t == nil {
		return // deleted meanwhile, with its app
	}
	took := cmp.Or(t.Ended, d.now()).Sub(t.Accepted).Round(time.Millisecond)
	counts := t.Progress.Counts()
	d.log.LogAttrs(context.Background(), slog.LevelInfo, "push task ended", slog.Uint64("app", uint64(r.ref.App)),
		slog.String("task", t.ID), slog.String("state", string(t.State)), slog.String("reason", t.Reason),
		slog.Uint64("accounts", t.Frozen), unitsOf(counts), slog.Duration("duration", took))
	d.metrics.ended.WithLabelValues(string(t.State)).Inc()
}

// forget takes a run out of all lanes.
func (d *Dispatcher) forget(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for l, p := range r.places {
		l.drop(p)
	}
	delete(d.runs, r.ref)
}
