package dispatch

import (
	"context"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/task"
)

// BenchmarkBroadcast sends broadcasts through a Sender that answers at once, and a store
// that does nothing: what is left is the Dispatcher.
func BenchmarkBroadcast(b *testing.B) {
	const units = 1_000_000
	apps := registry(b, 1, 1)
	b.ReportAllocs()
	for b.Loop() {
		store := &endless{left: units, done: make(chan struct{})}
		d := New(store, apps, channel.Drivers{channel.FCM: instant{}}, Options{
			Unseal: func(uint32, *app.Certificate) (channel.Secret, error) { return nil, nil },
		})
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = d.Run(ctx)
		}()
		<-store.done
		stop()
		<-ended
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/units, "ns/unit")
	b.ReportMetric(float64(b.N)*units/b.Elapsed().Seconds(), "units/s")
}

// An endless store has one task in one lane, whose units are all alike.
type endless struct {
	task.Store
	mu   chan struct{}
	left int
	open int
	done chan struct{}
}

var page500 = make([]task.Unit, task.MaxPage)

func (e *endless) Active(context.Context, func(task.Ref)) ([]*task.Task, error) {
	e.mu = make(chan struct{}, 1)
	return []*task.Task{{Ref: task.Ref{App: 1, Number: 1}}}, nil
}

func (e *endless) Get(context.Context, task.Ref) (*task.Task, error) {
	return &task.Task{State: task.Sending, Frozen: 1_000_000, Ends: time.Now().Add(time.Hour)}, nil
}

func (e *endless) Lanes(context.Context, task.Ref) ([]task.Lane, error) {
	return []task.Lane{{App: 1, Certificate: 1}}, nil
}

func (e *endless) Open(_ context.Context, _ task.Ref, lane task.Lane, limit int) (*task.Page, time.Time, error) {
	e.mu <- struct{}{}
	defer func() { <-e.mu }()
	n := min(limit, e.left)
	if n == 0 {
		return nil, time.Time{}, nil
	}
	e.left -= n
	e.open += n
	return &task.Page{Task: &task.Task{ID: "t", Ends: time.Now().Add(time.Hour)}, Lane: lane, Units: page500[:n]}, time.Time{}, nil
}

func (e *endless) Close(_ context.Context, p *task.Page, _ []task.Verdict) (bool, error) {
	e.mu <- struct{}{}
	defer func() { <-e.mu }()
	if e.open -= len(p.Units); e.left+e.open > 0 {
		return false, nil
	}
	close(e.done)
	return true, nil
}

func (e *endless) Expire(context.Context, time.Time) error { return nil }

// instant is a channel.Driver whose Senders take everything at once.
type instant struct{ channel.Sender }

func (instant) Check(channel.Secret, channel.Options) (channel.Facts, error) {
	return channel.Facts{}, nil
}
func (instant) Kinds() []channel.TokenKind                                       { return nil }
func (i instant) Open(channel.Credential, *channel.Pace) (channel.Sender, error) { return i, nil }
func (instant) Limits(channel.Options) channel.Limits                            { return channel.Limits{} }
func (instant) Clock() time.Duration                                             { return 0 }
func (instant) Close() error                                                     { return nil }

func (instant) Send(_ context.Context, _ *channel.Job, targets []channel.Target, done func(int, channel.Result)) {
	for i := range targets {
		done(i, channel.Result{Outcome: channel.Accepted, Status: 200})
	}
}
