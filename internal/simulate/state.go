package simulate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"
)

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
