package gate

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// failureLog counts failed verifications and blocks who fails too often: after
// failuresAllowed within failureWindow, for failureWindow. It is keyed by source
// address too, or anyone could lock out an admin. Contract: spec/conventions.md,
// 1.6.
//
// A source that fails for many identifiers of an app is blocked for all of them: so it can
// make only so many entries, and push out only so many of others.
type failureLog struct {
	mu     sync.Mutex
	counts *simplelru.LRU[attempt, *failures]
	blocks *simplelru.LRU[attempt, time.Time] // up to when; only looked up with Peek, so the oldest block ends first
	newest atomic.Int64                       // Unix nanoseconds of the end of the last block
}

const (
	failuresAllowed = 10
	sourceAllowed   = 1000 // of all identifiers of an app, from a source
	failureWindow   = time.Minute
	maxAttempts     = 1 << 16 // attempts counted, the latest
	maxBlocks       = 1 << 16
)

// attempt is who tries to verify as whom. Without an identifier it is all attempts of
// the source for the app.
type attempt struct {
	source     netip.Addr
	app        uint32
	identifier [sha256.Size]byte
}

type failures struct {
	times [failuresAllowed]time.Time // the last failures, a ring
	n     int                        // how many there were; of a source, since times[0]
}

func newFailureLog() *failureLog {
	counts, err := simplelru.NewLRU[attempt, *failures](maxAttempts, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	blocks, err := simplelru.NewLRU[attempt, time.Time](maxBlocks, nil)
	if err != nil {
		panic(err)
	}
	return &failureLog{counts: counts, blocks: blocks}
}

// blocked returns until when an attempt, or its source, is blocked; the zero time if it
// is not.
func (l *failureLog) blocked(who attempt, now time.Time) time.Time {
	if now.UnixNano() >= l.newest.Load() {
		return time.Time{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range []attempt{who, {source: who.source, app: who.app}} {
		if until, ok := l.blocks.Peek(key); ok && now.Before(until) {
			return until
		}
	}
	return time.Time{}
}

// add counts a failure.
func (l *failureLog) add(who attempt, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.count(who)
	oldest := f.times[(f.n+1)%failuresAllowed]
	f.times[f.n%failuresAllowed] = now
	f.n++
	if f.n >= failuresAllowed && now.Sub(oldest) < failureWindow {
		l.block(who, now)
	}

	source := attempt{source: who.source, app: who.app}
	f = l.count(source)
	if now.Sub(f.times[0]) >= failureWindow {
		f.times[0], f.n = now, 0
	}
	if f.n++; f.n >= sourceAllowed {
		l.block(source, now)
	}
}

func (l *failureLog) count(who attempt) *failures {
	f, ok := l.counts.Get(who)
	if !ok {
		f = &failures{}
		l.counts.Add(who, f)
	}
	return f
}

func (l *failureLog) block(who attempt, now time.Time) {
	l.counts.Remove(who)
	until := now.Add(failureWindow)
	l.blocks.Remove(who) // a block that has ended, at the place of its time
	l.blocks.Add(who, until)
	l.newest.Store(until.UnixNano())
}

// Network returns the address itself, or the /64 of an IPv6 address: one host has as
// many addresses in it as it likes.
func Network(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
