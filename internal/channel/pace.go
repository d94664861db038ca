package channel

import (
	"context"
	"sync"
	"time"
)

// A Pace is how fast a Sender may send: up to the rate of its Limits, a sixtieth of it at
// first and all of it at the end of the ramp; half as fast after the provider had too
// much, at most once a second; and faster again by a twentieth of the rate each second
// (spec/channels.md, 2.4). A ramp begins with the first message after a minute without any. It
// is safe for concurrent use.
type Pace struct {
	limits Limits
	now    func() time.Time

	mu     sync.Mutex
	rate   float64   // messages a second, as of at
	at     time.Time // when rate and due were calculated
	due    time.Time // when the next message may go
	slowed time.Time // when the rate was halved last
	held   time.Time // nothing goes before
}

// NewPace creates a Pace. Now is the clock; nil: time.Now.
func NewPace(l Limits, now func() time.Time) *Pace {
	if now == nil {
		now = time.Now
	}
	return &Pace{limits: l, now: now}
}

// idle is how long without a message begins a ramp again, and paceBurst what may go at
// once after a pause.
const (
	idle      = time.Minute
	paceBurst = 20 * time.Millisecond
)

// Wait returns when the next message may go, or with the cause of ctx if that ends before.
func (p *Pace) Wait(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := p.take()
		if wait <= 0 {
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// take takes the place of the next message and returns 0, or how long there is no place.
func (p *Pace) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if wait := p.held.Sub(now); wait > 0 {
		return wait
	}
	full := float64(p.limits.Rate)
	if full <= 0 {
		return 0
	}
	p.grow(now)
	if earliest := now.Add(-paceBurst); p.due.Before(earliest) {
		p.due = earliest
	}
	if wait := p.due.Sub(now); wait > 0 {
		return wait
	}
	p.due = p.due.Add(time.Duration(float64(time.Second) / p.rate))
	return 0
}

// grow brings the rate up to now.
func (p *Pace) grow(now time.Time) {
	full := float64(p.limits.Rate)
	since := now.Sub(p.at)
	switch {
	case p.at.IsZero() || since > idle:
		p.rate = full
		if p.limits.Ramp > 0 {
			p.rate = full / 60
		}
	case p.slowed.IsZero() && p.limits.Ramp > 0:
		p.rate += full * since.Seconds() / p.limits.Ramp.Seconds()
	default:
		p.rate += full * since.Seconds() / 20
	}
	if p.rate >= full {
		p.rate, p.slowed = full, time.Time{}
	}
	p.rate = max(p.rate, 1)
	p.at = now
}

// Slow halves the rate, unless that was done within a second, and holds everything for a
// time.
func (p *Pace) Slow(hold time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if until := now.Add(hold); until.After(p.held) {
		p.held = until
	}
	if p.limits.Rate <= 0 || now.Sub(p.slowed) < time.Second {
		return
	}
	p.grow(now)
	p.rate, p.slowed = max(p.rate/2, 1), now
}

// Rate returns the messages a second that may go now, 0 for any number, and until when
// nothing goes at all.
func (p *Pace) Rate() (rate float64, held time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate, p.held
}
