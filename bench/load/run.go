package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A session is one connection of a run.
type session interface {
	// begin makes the session ready after an interrupt.
	begin()
	// prepare builds request number seq.
	prepare(seq uint64)
	// exchange sends the request and waits for the answer. A code other than
	// 0 is an answer in error. After an error the next exchange uses a new
	// connection.
	exchange(ctx context.Context) (code int, err error)
	// interrupt makes an exchange that waits, and all later ones, fail now.
	// It is called from another goroutine.
	interrupt()
}

// maxBroken is the number of times in a row that a connection may break before a run
// gives up.
const maxBroken = 5

// A runner is the state that the goroutines of one run share.
type runner struct {
	opts  Options
	limit uint64
	start time.Time
	next  atomic.Uint64 // number of the next request
	ended atomic.Bool   // no request begins any more
	end   chan struct{} // closed when ended is set
	slots chan uint64   // paced: the numbers of requests, each when it is due; else nil
}

// A tally is what one session of a run has seen.
type tally struct {
	requests uint64
	errors   map[int]uint64
	latency  Histogram
	err      error
}

// run does the work of Client.Run for any protocol. users is the number of users in a
// request.
func run(ctx context.Context, sessions []session, users int, o Options) (Result, error) {
	o.Duration = cmp.Or(o.Duration, 10*time.Second)
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &runner{opts: o, limit: cmp.Or(o.Requests, math.MaxUint64), end: make(chan struct{})}
	if o.Rate > 0 {
		r.slots = make(chan uint64)
	}
	for _, s := range sessions {
		s.begin()
	}

	r.start = time.Now()
	var workers, helpers sync.WaitGroup
	tallies := make([]tally, len(sessions))
	for i, s := range sessions {
		workers.Go(func() {
			tallies[i].err = r.work(ctx, s, &tallies[i])
			if tallies[i].err != nil {
				cancel()
			}
		})
	}
	if r.slots != nil {
		helpers.Go(r.pace)
	}
	done := make(chan struct{})
	helpers.Go(func() { r.watch(ctx, sessions, done) })
	workers.Wait()
	result := Result{Elapsed: time.Since(r.start), Latency: new(Histogram)}
	close(done)
	helpers.Wait()

	var errs []error
	for i := range tallies {
		t := &tallies[i]
		result.Add(Result{Requests: t.requests, Errors: t.errors, Latency: &t.latency})
		errs = append(errs, t.err)
	}
	result.Users = result.Requests * uint64(users)
	return result, cmp.Or(context.Cause(parent), errors.Join(errs...))
}

// work sends requests on one session until the run ends.
func (r *runner) work(ctx context.Context, s session, t *tally) error {
	broken := 0
	for {
		seq, ok := r.take()
		if !ok {
			return nil
		}
		s.prepare(seq)
		start := time.Now()
		if r.slots != nil {
			start = r.due(seq)
		}
		code, err := s.exchange(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil // not the server's fault
			}
			code = Broken
		}
		t.latency.Record(time.Since(start))
		if code == 0 {
			t.requests++
			broken = 0
			continue
		}
		if t.errors == nil {
			t.errors = make(map[int]uint64)
		}
		t.errors[code]++
		if err == nil {
			continue
		}
		if broken = min(broken+1, maxBroken); broken == maxBroken && !r.opts.Persist {
			return fmt.Errorf("%d times in a row: %w", broken, err)
		}
		select {
		case <-time.After(time.Duration(broken) * 20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// take waits until the next request may be sent, and returns its number; false if there
// is none.
func (r *runner) take() (seq uint64, ok bool) {
	if r.slots != nil {
		seq, ok = <-r.slots
		return seq, ok
	}
	if r.ended.Load() {
		return 0, false
	}
	seq = r.next.Add(1) - 1
	return seq, seq < r.limit
}

// due returns the time at which a paced request should be sent.
func (r *runner) due(seq uint64) time.Time {
	return r.start.Add(time.Duration(float64(seq) / r.opts.Rate * float64(time.Second)))
}

// pace hands out the numbers of requests as they fall due. When all sessions
// are busy it falls behind and catches up later: due times do not move.
func (r *runner) pace() {
	defer close(r.slots)
	for seq := uint64(0); seq < r.limit; seq++ {
		for wait := time.Until(r.due(seq)); wait > 0; wait = time.Until(r.due(seq)) {
			sleep(min(wait, 20*time.Millisecond))
			if r.ended.Load() {
				return
			}
		}
		select {
		case r.slots <- seq:
			r.next.Store(seq + 1)
		case <-r.end:
			return
		}
	}
}

// watch ends the run in time. When the duration is over, or Options.Stop is closed, it
// lets no further request begin. When answers do not come within the grace, or ctx ends,
// it interrupts the sessions.
func (r *runner) watch(ctx context.Context, sessions []session, done <-chan struct{}) {
	timer := time.NewTimer(r.opts.Duration)
	defer timer.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stop := r.opts.Stop
	for {
		select {
		case <-done:
			r.finish()
			return
		case <-tick.C:
			if r.opts.Progress != nil && !r.ended.Load() {
				r.opts.Progress(min(r.next.Load(), r.limit))
			}
			continue
		case <-stop:
			stop = nil
			if !r.ended.Load() {
				r.finish()
				timer.Reset(r.opts.Grace)
			}
			continue
		case <-timer.C:
			if !r.ended.Load() {
				r.finish()
				timer.Reset(r.opts.Grace)
				continue
			}
		case <-ctx.Done():
		}
		r.finish()
		for _, s := range sessions {
			s.interrupt()
		}
		<-done
		return
	}
}

// finish lets no further request begin. Only watch calls it.
func (r *runner) finish() {
	if !r.ended.Swap(true) {
		close(r.end)
	}
}
