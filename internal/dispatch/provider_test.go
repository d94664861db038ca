package dispatch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
)

// A provider is a channel.Driver whose Senders answer as a test says, and which notes what
// it was sent.
type provider struct {
	t      testing.TB
	limits channel.Limits
	took   time.Duration
	// answer is the answer to the n-th try of a message with a version of a certificate; nil:
	// all are accepted.
	answer func(version string, target *channel.Target, try int) channel.Result
	test   func(version string) (channel.Health, error)
	clock  time.Duration

	mu      sync.Mutex
	tries   map[string]int            // by SendID
	results map[string]channel.Result // the last, by SendID
	when    map[string]time.Time      // the last try was
	counts  [channel.Unknown + 1]int
	sends   atomic.Int64
	open    atomic.Int64 // Senders
	opened  atomic.Int64
	proven  atomic.Bool  // the last Sender was told that its credential is
	busy    atomic.Int64 // messages in Send
	most    atomic.Int64
	tests   atomic.Int64
	again   func(id string, last channel.Result) // is told of a message that was answered for good and is sent again
}

func newProvider(t testing.TB) *provider {
	return &provider{t: t, tries: map[string]int{}, results: map[string]channel.Result{}, when: map[string]time.Time{}}
}

func (p *provider) drivers() channel.Drivers { return channel.Drivers{channel.FCM: p} }

func (p *provider) unseal(_ uint32, c *app.Certificate) (channel.Secret, error) {
	return channel.Secret(c.Sealed), nil
}

func (p *provider) Check(channel.Secret, channel.Options) (channel.Facts, error) {
	return channel.Facts{}, nil
}
func (p *provider) Kinds() []channel.TokenKind { return []channel.TokenKind{channel.Alert} }

func (p *provider) Limits(channel.Options) channel.Limits { return p.limits }

func (p *provider) Open(c channel.Credential, pace *channel.Pace) (channel.Sender, error) {
	p.open.Add(1)
	p.opened.Add(1)
	p.proven.Store(c.Proven)
	return &fakeSender{provider: p, pace: pace, version: string(c.Secret)}, nil
}

type fakeSender struct {
	*provider
	pace    *channel.Pace
	version string
	closed  atomic.Bool
}

func (s *fakeSender) Clock() time.Duration { return s.clock }

func (s *fakeSender) Payload(*channel.Job, *channel.Target) (channel.Payload, error) {
	return channel.Payload{}, nil
}

func (s *fakeSender) Test(ctx context.Context) (channel.Health, error) {
	s.tests.Add(1)
	if s.test == nil {
		return channel.Health{OK: true}, nil
	}
	return s.test(s.version)
}

func (s *fakeSender) Close() error {
	if s.closed.Swap(true) {
		s.t.Error("a Sender is closed twice")
	}
	s.provider.open.Add(-1)
	return nil
}

// Send sends targets as a real Sender does: at its pace, some at a time.
func (s *fakeSender) Send(ctx context.Context, job *channel.Job, targets []channel.Target, done func(int, channel.Result)) {
	if s.closed.Load() {
		s.t.Error("a Sender that is closed sends")
	}
	n := s.busy.Add(int64(len(targets)))
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	defer s.busy.Add(-int64(len(targets)))
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range targets {
		if s.pace.Wait(ctx) != nil {
			for ; i < len(targets); i++ {
				done(i, channel.Result{Outcome: channel.Retry, Code: channel.CodeStopped})
			}
			return
		}
		if s.took == 0 {
			done(i, s.one(&targets[i]))
			continue
		}
		wg.Go(func() {
			time.Sleep(s.took)
			done(i, s.one(&targets[i]))
		})
	}
}

// one answers one message.
func (s *fakeSender) one(target *channel.Target) channel.Result {
	s.sends.Add(1)
	s.mu.Lock()
	try := s.tries[target.SendID]
	last := s.results[target.SendID]
	s.tries[target.SendID]++
	s.mu.Unlock()
	if s.again != nil && try > 0 {
		s.again(target.SendID, last)
	}
	r := channel.Result{Outcome: channel.Accepted, Status: 200}
	if s.answer != nil {
		r = s.answer(s.version, target, try)
	}
	r.Took += s.took
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[target.SendID] = r
	s.when[target.SendID] = time.Now()
	s.counts[r.Outcome]++
	return r
}

// sscan reads the parts of a SendID.
func sscan(id string, number, certificate, i *int) (int, error) {
	return fmt.Sscanf(id, "%d/%d/%d", number, certificate, i)
}
