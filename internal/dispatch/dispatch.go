// Package dispatch carries out push tasks. It has the audience of a task fixed, opens its
// pages, hands them to the Senders of providers, judges the results, and closes the pages.
//
// A task has a goroutine ([run]) that follows it from its acceptance to its end. What is
// sent with one certificate goes through a [lane], which has a goroutine too: it opens
// pages of several tasks in turn and starts a worker for each. Only units of open pages
// are in memory, so memory does not grow with a provider that hangs; everything else
// waits in the task.Store.
//
//	task ── run: Freeze, Lanes ──┐                    ┌── page: Open, Send, judge, Close
//	task ── run ─────────────────┼── place ── lane ──┼── page
//	task ── run ─────────────────┘                    └── page
//
// A place is where a run stands in a lane. The rules are those of push.md 2, 4 and 5 and
// spec/channels.md 2.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/task"
)

// Options tunes a Dispatcher. The zero value is ready for use.
type Options struct {
	// Unseal returns the credential of a certificate. Without it no lane sends.
	Unseal    func(app uint32, c *app.Certificate) (channel.Secret, error)
	Grace     time.Duration // what has begun when Run is told to end may take so long; default 20 s
	Idle      time.Duration // a Sender without work is closed; default 1 h, since providers take many connections for an attack
	Freezes   int           // audiences of several apps that are fixed at once; default 2
	GoneShare int           // percent of a run that may be gone for tokens to be retired; default 50 (spec/channels.md, 2.5)
	Logger    *slog.Logger  // default: nothing is logged
	Metrics   prometheus.Registerer
	Now       func() time.Time // the wall clock, for the ends of tasks; default time.Now
}

// A Dispatcher carries out the tasks of a Store. It is safe for concurrent use.
type Dispatcher struct {
	tasks   task.Store
	apps    *app.Registry
	drivers channel.Drivers
	opts    Options
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	freezes chan struct{} // places of audiences that are being fixed
	wg      sync.WaitGroup

	mu      sync.Mutex
	running bool
	runs    map[task.Ref]*run
	lanes   map[task.Lane]*lane
	shares  map[uint32]*share // by app
}

// A share is what the tasks of an app share.
type share struct {
	pace    bucket
	freezes chan struct{} // the place of the audience that is being fixed: an app with many tasks holds up no other
}

// shareOf returns the share of an app. The mu is held.
func (d *Dispatcher) shareOf(app uint32) *share {
	s := d.shares[app]
	if s == nil {
		s = &share{freezes: make(chan struct{}, 1)}
		d.shares[app] = s
	}
	return s
}

// New creates a Dispatcher. It starts nothing: Run does.
func New(tasks task.Store, apps *app.Registry, drivers channel.Drivers, opts Options) *Dispatcher {
	opts.Grace = cmp.Or(opts.Grace, 20*time.Second)
	opts.Idle = cmp.Or(opts.Idle, time.Hour)
	opts.Freezes = cmp.Or(opts.Freezes, 2)
	opts.GoneShare = cmp.Or(opts.GoneShare, 50)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Unseal == nil {
		opts.Unseal = func(uint32, *app.Certificate) (channel.Secret, error) {
			return nil, errors.New("this server has no key for credentials")
		}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	d := &Dispatcher{
		tasks: tasks, apps: apps, drivers: drivers, opts: opts, log: opts.Logger, now: opts.Now,
		freezes: make(chan struct{}, opts.Freezes),
		runs:    map[task.Ref]*run{},
		lanes:   map[task.Lane]*lane{},
		shares:  map[uint32]*share{},
	}
	d.metrics = newMetrics(d)
	if opts.Metrics != nil {
		opts.Metrics.MustRegister(d.metrics)
	}
	return d
}

// errGrace is why what had begun was given up.
var errGrace = errors.New("the time to end what had begun is over")

// Run carries out tasks until ctx ends, and returns when the pages that were open then are
// closed or given back. Messages that were sent get their answers within the time that a
// request may take; those that were not go back to their tasks. A page that cannot be
// closed within Options.Grace stays open, and the Store cuts it anew at the next start. Run
// is called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	// What has begun is brought to its end with keep.
	keep, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	d.mu.Lock()
	d.running = true
	d.mu.Unlock()

	d.load(ctx, keep)
	d.sweep(ctx)

	d.mu.Lock()
	d.running = false
	d.mu.Unlock()
	grace := time.AfterFunc(d.opts.Grace, func() { end(errGrace) })
	defer grace.Stop()
	d.wg.Wait()
	d.closeSenders()
	return context.Cause(ctx)
}

// load begins with all tasks that have not ended, and with each that is made from now on.
func (d *Dispatcher) load(ctx, keep context.Context) {
	made := func(r task.Ref) { d.begin(ctx, keep, r) }
	_ = d.persist(ctx, "tasks could not be read", func() error {
		active, err := d.tasks.Active(ctx, made)
		for _, t := range active {
			d.begin(ctx, keep, t.Ref)
		}
		return err
	})
}

// sweepPause is the time between two looks for what is kept no longer. The numbers of deleted
// accounts wait for it.
const sweepPause = time.Minute

// sweep drops what is kept no longer, until ctx ends.
func (d *Dispatcher) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepPause)
	defer tick.Stop()
	for ctx.Err() == nil {
		_ = d.persist(ctx, "old tasks could not be dropped", func() error { return d.tasks.Expire(ctx, d.now()) })
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// begin starts the run of a task, unless there is one.
func (d *Dispatcher) begin(ctx, keep context.Context, ref task.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running || d.runs[ref] != nil {
		return
	}
	r := newRun(ref)
	d.runs[ref] = r
	d.wg.Go(func() {
		d.follow(ctx, keep, r)
		d.forget(r)
	})
}

// Changed says that a task was paused, or goes on.
func (d *Dispatcher) Changed(ref task.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.runs[ref]; r != nil {
		r.changed = true
		r.wakeUp()
	}
}

// Stop ends a task: its open pages first, whose messages that were sent already get their
// answers, then all that is left. A task that has ended is task.ErrEnded.
func (d *Dispatcher) Stop(ctx context.Context, ref task.Ref, reason string) error {
	d.mu.Lock()
	r := d.runs[ref]
	if r == nil {
		d.mu.Unlock()
		return d.tasks.End(ctx, ref, task.Stopped, reason)
	}
	if r.stop == nil {
		r.stop = &stop{reason: reason, done: make(chan struct{})}
		r.halt()
		r.wakeUp()
	}
	s := r.stop
	d.mu.Unlock()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// certificate returns a certificate as it is now; nil if it, or the app, does not exist.
func (d *Dispatcher) certificate(key task.Lane) *app.Certificate {
	if a := d.apps.App(key.App); a != nil {
		return a.Certificate(key.Certificate)
	}
	return nil
}

// closeSenders closes the Senders of all lanes, when nothing is sent any more.
func (d *Dispatcher) closeSenders() {
	d.mu.Lock()
	var open []*sender
	for _, l := range d.lanes {
		if l.sender != nil {
			open = append(open, l.sender)
			l.sender = nil
		}
	}
	d.mu.Unlock()
	for _, s := range open {
		d.closeSender(s)
	}
}
