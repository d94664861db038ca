package simulate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"
)

// A Behaviour is how a Simulator misbehaves. The zero value accepts all that is right, at
// once. Tokens can ask for a fate by themselves, which comes first.
type Behaviour struct {
	// MinLatency and MaxLatency bound how long an answer takes; MaxLatency 0: always
	// MinLatency.
	MinLatency Duration `json:"min_latency"`
	MaxLatency Duration `json:"max_latency"`
	// Dead is the share of all tokens that are Gone, from 0 to 1.
	Dead float64 `json:"dead"`
	// Share maps fates to the share of the messages that meet them, from 0 to 1, together at
	// most 1. The same message meets its fate once; when it is sent again it may pass.
	Share map[string]float64 `json:"share,omitempty"`
	// All is the fate of all messages; empty: their own.
	All string `json:"all,omitempty"`
	// Rate is how many messages a second the project may send before it gets 429; 0: any number.
	Rate int `json:"rate"`
	// RetryAfter is sent with 429 and 503, in whole seconds; 0: it is not.
	RetryAfter Duration `json:"retry_after"`
	// RevokeAfter is after how many accepted messages the first service account stops
	// working, so that its access tokens get 401 and no new one is issued; 0: never. Revoked is
	// that at once. Accounts that were added go on working.
	RevokeAfter int  `json:"revoke_after"`
	Revoked     bool `json:"revoked"`
	// ForbidAfter is after how many accepted messages the first account may not send any
	// more and gets 403; 0: never. Forbidden is that at once.
	ForbidAfter int  `json:"forbid_after"`
	Forbidden   bool `json:"forbidden"`
	// GoAway is after how many requests a connection of HTTP/2 says GOAWAY; 0: never. What
	// came before is still answered; with Abrupt it is not, and the connection ends.
	GoAway int  `json:"go_away"`
	Abrupt bool `json:"abrupt"`
	// Clock is by how much the clock of the provider is ahead, less than 0: behind. It is seen
	// in Date and in which assertions and access tokens are good.
	Clock Duration `json:"clock"`
	// Stalled stops all answers until it is false again; what waited is then served.
	Stalled bool `json:"stalled"`
}

// maxTime bounds latency, Retry-After and the error of the clock.
const maxTime = 366 * 24 * time.Hour

// check returns what is wrong with a behaviour, by the name that JSON gives the field.
func (b *Behaviour) check() error {
	for _, d := range []struct {
		name  string
		value Duration
		least time.Duration
	}{{"min_latency", b.MinLatency, 0}, {"max_latency", b.MaxLatency, 0}, {"retry_after", b.RetryAfter, 0}, {"clock", b.Clock, -maxTime}} {
		if v := time.Duration(d.value); v < d.least || v > maxTime {
			return fmt.Errorf("%s is %v, want %v to %v", d.name, v, d.least, maxTime)
		}
	}
	if b.MaxLatency != 0 && b.MaxLatency < b.MinLatency {
		return fmt.Errorf("max_latency %v is less than min_latency %v", time.Duration(b.MaxLatency), time.Duration(b.MinLatency))
	}
	if !isShare(b.Dead) {
		return fmt.Errorf("dead is %v, want 0 to 1", b.Dead)
	}
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(b.Share)) {
		if _, ok := fatesByName[name]; !ok {
			return fmt.Errorf("share names the fate %q, want one of %v", name, FateNames())
		}
		if !isShare(b.Share[name]) {
			return fmt.Errorf("share of %s is %v, want 0 to 1", name, b.Share[name])
		}
		sum += b.Share[name]
	}
	if sum > 1+1e-9 {
		return fmt.Errorf("the shares add up to %v, want at most 1", sum)
	}
	if _, ok := fatesByName[b.All]; b.All != "" && !ok {
		return fmt.Errorf("all is the fate %q, want one of %v", b.All, FateNames())
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"rate", b.Rate}, {"revoke_after", b.RevokeAfter}, {"forbid_after", b.ForbidAfter}, {"go_away", b.GoAway}} {
		if n.value < 0 || n.value > math.MaxInt32 {
			return fmt.Errorf("%s is %d, want 0 to %d", n.name, n.value, math.MaxInt32)
		}
	}
	if b.Abrupt && b.GoAway == 0 {
		return fmt.Errorf("abrupt needs go_away")
	}
	return nil
}

func isShare(f float64) bool { return f >= 0 && f <= 1 }

// FateNames returns the fates that can be asked for.
func FateNames() []string { return slices.Clone(fateNames[Gone:]) }

// A plan is a Behaviour made quick to ask.
type plan struct {
	Behaviour
	all    Fate
	dead   uint64 // hashes below belong to tokens that are dead
	shares []share
	resume chan struct{} // closed when a stall ends
}

// A share is the hashes below a bound, and not below that of the share before.
type share struct {
	below uint64
	fate  Fate
}

func bound(f float64) uint64 {
	if f >= 1 {
		return math.MaxUint64
	}
	return uint64(f * (1 << 63) * 2)
}

// A state is the behaviour of a Simulator, and what it has to remember for it.
type state struct {
	seed  uint64
	plan  atomic.Pointer[plan]
	ended chan struct{}

	connections, goAways, requests atomic.Int64
	dates                          atomic.Pointer[dated]

	setting sync.Mutex // held while the plan is replaced

	mu      sync.Mutex
	tries   map[uint64]uint32 // failures of tokens with a number in their script, and of messages in a share
	dead    map[uint64]bool   // tokens that were killed, false: that were revived
	bucket  float64           // messages that may go now, with a Rate
	refill  time.Time
	anyDead atomic.Bool
}

// maxRemembered bounds the tries, and the tokens that were killed or revived. A token
// whose tries are not remembered any more fails each time.
const maxRemembered = 1 << 20

func newState(seed uint64) *state {
	return &state{seed: seed, ended: make(chan struct{}), tries: map[uint64]uint32{}, dead: map[uint64]bool{}}
}

// Behaviour returns the behaviour in force.
func (s *Simulator) Behaviour() Behaviour {
	b := s.state.plan.Load().Behaviour
	b.Share = maps.Clone(b.Share)
	return b
}

// SetBehaviour replaces the behaviour. Requests that are being served may still meet the
// one before.
func (s *Simulator) SetBehaviour(b Behaviour) error {
	return s.ChangeBehaviour(func(old *Behaviour) error { *old = b; return nil })
}

// ChangeBehaviour calls change with a copy of the behaviour in force and makes it the
// behaviour, unless change fails.
func (s *Simulator) ChangeBehaviour(change func(*Behaviour) error) error {
	s.state.setting.Lock()
	defer s.state.setting.Unlock()
	old := s.state.plan.Load()
	p := &plan{resume: make(chan struct{})}
	if old != nil {
		p.Behaviour = s.Behaviour()
	}
	if err := change(&p.Behaviour); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	p.Share = maps.Clone(p.Share)
	p.all, p.dead = fatesByName[p.All], bound(p.Dead)
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(p.Share)) {
		sum += p.Share[name]
		p.shares = append(p.shares, share{bound(sum), fatesByName[name]})
	}
	s.state.plan.Store(p)
	if old != nil {
		close(old.resume) // what waits looks at the new plan
	}
	return nil
}

// stall returns when answers may go out, or with an error if nobody waits for one.
func (st *state) stall(ctx context.Context) error {
	for {
		p := st.plan.Load()
		if !p.Stalled {
			return nil
		}
		select {
		case <-p.resume:
		case <-ctx.Done():
			return ctx.Err()
		case <-st.ended:
			return errEnded
		}
	}
}

// end lets go all that waits.
func (st *state) end() { close(st.ended) }

// sleep waits for d, less if the client or the Simulator goes away.
func (st *state) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-st.ended:
		return errEnded
	}
}

func (st *state) goAway() (after int, abrupt bool) {
	p := st.plan.Load()
	return p.GoAway, p.Abrupt
}

// now returns the time of the provider.
func (st *state) now() time.Time { return time.Now().Add(time.Duration(st.plan.Load().Clock)) }

// A dated header is that of one second.
type dated struct {
	unix   int64
	header []string
}

// date returns the header Date by the clock of the provider.
func (st *state) date() []string {
	now := st.now()
	if d := st.dates.Load(); d != nil && d.unix == now.Unix() {
		return d.header
	}
	d := &dated{now.Unix(), []string{now.UTC().Format(http.TimeFormat)}}
	st.dates.Store(d)
	return d.header
}

// hashes of a token and a message, which a seed makes into shares.
func (st *state) roll(key, purpose uint64) uint64 {
	b := [24]byte{}
	for i, v := range [...]uint64{st.seed, key, purpose} {
		for j := range 8 {
			b[i*8+j] = byte(v >> (8 * j))
		}
	}
	return xxh3.Hash(b[:])
}

// What a roll is for.
const (
	forDead = iota + 1
	forLatency
	forShare
)

// judge returns the fate of a message that has passed the checks, and how long until it
// meets it.
func (st *state) judge(token []byte, tokenHash, idHash uint64) (f Fate, delay time.Duration) {
	p := st.plan.Load()
	delay = time.Duration(p.MinLatency)
	if p.MaxLatency > p.MinLatency {
		span := uint64(p.MaxLatency - p.MinLatency)
		delay += time.Duration(st.roll(tokenHash^idHash, forLatency) % (span + 1))
	}
	if s := scriptOf(token); s.fate != 0 {
		if s.fate == Slow {
			return Accepted, delay + s.delay
		}
		if s.times == 0 || st.failsAgain(tokenHash, s.times) {
			return s.fate, delay
		}
	}
	switch {
	case p.all == Slow:
		return Accepted, delay
	case p.all != 0:
		return p.all, delay
	case st.isDead(p, tokenHash):
		return Gone, delay
	case p.Rate > 0 && !st.take(p.Rate):
		return Throttle, delay
	case len(p.shares) > 0:
		return cmp.Or(st.shared(p, tokenHash, idHash), Accepted), delay
	}
	return Accepted, delay
}

// failsAgain reports whether a token has failed less than n times, and counts one more.
func (st *state) failsAgain(token uint64, n uint32) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	tried, known := st.tries[token]
	if tried >= n {
		return false
	}
	if known || len(st.tries) < maxRemembered {
		st.tries[token] = tried + 1
	}
	return true
}

// shared returns the fate of the share that a message falls into, 0 if it falls into
// none. It is rolled again after each failure.
func (st *state) shared(p *plan, token, id uint64) Fate {
	key := st.roll(token^id, forShare)
	st.mu.Lock()
	defer st.mu.Unlock()
	tried, known := st.tries[key]
	h := st.roll(key+uint64(tried), forShare)
	for _, s := range p.shares {
		if h >= s.below {
			continue
		}
		if known || len(st.tries) < maxRemembered {
			st.tries[key] = tried + 1
		}
		return s.fate
	}
	return 0
}

func (st *state) isDead(p *plan, token uint64) bool {
	if st.anyDead.Load() {
		st.mu.Lock()
		dead, named := st.dead[token]
		st.mu.Unlock()
		if named {
			return dead
		}
	}
	return p.dead > 0 && st.roll(token, forDead) < p.dead
}

// take takes a message out of the bucket of the project, which holds those of a second.
func (st *state) take(rate int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	now := time.Now()
	if st.refill.IsZero() {
		st.bucket = float64(rate)
	}
	st.bucket = min(st.bucket+now.Sub(st.refill).Seconds()*float64(rate), float64(rate))
	st.refill = now
	if st.bucket < 1 {
		return false
	}
	st.bucket--
	return true
}

// Kill makes tokens dead, so that they are Gone; Revive makes them live, whatever share
// of all is dead. Together they remember a million tokens and refuse more.
func (s *Simulator) Kill(tokens ...string) error { return s.state.mark(true, tokens) }

// Revive is the opposite of Kill.
func (s *Simulator) Revive(tokens ...string) error { return s.state.mark(false, tokens) }

func (st *state) mark(dead bool, tokens []string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.dead)+len(tokens) > maxRemembered {
		return fmt.Errorf("%d tokens more are too many: %d are remembered, at most %d can be", len(tokens), len(st.dead), maxRemembered)
	}
	for _, t := range tokens {
		st.dead[hashOf([]byte(t))] = dead
	}
	st.anyDead.Store(true)
	return nil
}

// forget forgets tries and marks.
func (st *state) forget() {
	st.mu.Lock()
	defer st.mu.Unlock()
	clear(st.tries)
	clear(st.dead)
	st.anyDead.Store(false)
	st.refill = time.Time{}
}
