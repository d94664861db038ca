package dispatch

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/app"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A world is a Dispatcher that runs, with what is around it.
type world struct {
	*Dispatcher
	t        testing.TB
	store    *memory
	seat     *seat
	apps     *app.Registry
	provider *provider
	opts     Options
	log      *logs
	stop     context.CancelFunc
	ended    chan struct{}
}

// logs are the lines of a log.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(s))
}

// newWorld starts a Dispatcher over two apps with three certificates each.
func newWorld(t testing.TB, change ...func(w *world)) *world {
	w := &world{t: t, store: newMemory(t), apps: registry(t, 2, 3), provider: newProvider(t), log: new(logs)}
	w.opts = Options{
		Unseal: w.provider.unseal, Metrics: prometheus.NewRegistry(),
		Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, f := range change {
		f(w)
	}
	w.start()
	t.Cleanup(w.end)
	return w
}

// start starts a Dispatcher in a process of its own.
func (w *world) start() {
	w.seat = &seat{memory: w.store}
	if w.opts.Metrics != nil {
		w.opts.Metrics = prometheus.NewRegistry()
	}
	w.Dispatcher = New(w.seat, w.apps, w.provider.drivers(), w.opts)
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.ended = stop, make(chan struct{})
	go func(d *Dispatcher, ended chan struct{}) {
		defer close(ended)
		_ = d.Run(ctx)
	}(w.Dispatcher, w.ended)
}

// end ends the Dispatcher as a server does.
func (w *world) end() {
	w.stop()
	<-w.ended
	if n := w.provider.open.Load(); n != 0 {
		w.t.Errorf("%d Senders are open at the end", n)
	}
	if n := w.provider.busy.Load(); n != 0 {
		w.t.Errorf("%d messages are being sent at the end", n)
	}
}

// wait waits until a task has ended.
func (w *world) wait(r task.Ref) task.Task {
	w.t.Helper()
	w.store.mu.Lock()
	done := w.store.tasks[r].done
	w.store.mu.Unlock()
	select {
	case <-done:
	case <-time.After(40 * 24 * time.Hour):
		w.t.Fatalf("a task has not ended after 40 days: %v", w.store.outcomes(r))
	}
	return w.store.get(r)
}

// has compares the outcomes of a task.
func (w *world) has(r task.Ref, want map[report.Outcome]int) {
	w.t.Helper()
	got := w.store.outcomes(r)
	for o, n := range got {
		if n != want[report.Outcome(o)] {
			w.t.Errorf("%d units are %q, want %d (all: %v)", n, report.Outcome(o), want[report.Outcome(o)], got)
		}
	}
}

func TestATaskIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.store.add(spec{app: 1, units: map[int]int{1: 1234, 2: 3, 0: 60}, life: time.Hour})
		if got := w.wait(r); got.State != task.Done {
			t.Errorf("the task is %s, want done", got.State)
		}
		w.has(r, map[report.Outcome]int{report.Accepted: 1237, report.NoDevice: 20, report.NoToken: 20, report.PermissionOff: 20})
		if n := w.provider.sends.Load(); n != 1237 {
			t.Errorf("%d messages were sent, want 1237", n)
		}
		synctest.Wait()
		if n := w.log.count("push task ended"); n != 1 {
			t.Errorf("%d lines for one task", n)
		}
		if len(w.runs) != 0 {
			t.Errorf("%d runs are left", len(w.runs))
		}
	})
}
