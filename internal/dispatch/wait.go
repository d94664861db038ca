package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"tidings/internal/task"
)

// The waits between tries (spec/channels.md, 2.4).
const (
	firstWait = time.Second
	maxWait   = time.Minute
)

// jitter returns a random wait after a number of earlier tries, with full jitter: up to a
// second at first, twice as long each time, up to a limit.
func jitter(tries int, limit time.Duration) time.Duration {
	window := limit
	if tries < 16 {
		window = min(firstWait<<max(tries, 0), limit)
	}
	return time.Duration(rand.Int64N(int64(window) + 1))
}

// sleep waits, and reports whether ctx did not end before.
func sleep(ctx context.Context, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// persist calls f until it succeeds, with growing waits, or until ctx ends, and returns the
// last error. That a task does not exist or has ended is not tried again.
func (d *Dispatcher) persist(ctx context.Context, failure string, f func() error) error {
	for tries := 0; ; tries++ {
		err := f()
		if err == nil || lasting(err) || ctx.Err() != nil {
			return err
		}
		if tries%10 == 0 {
			d.log.Error("a push task waits for the store", "failure", failure, "error", err)
		}
		if !sleep(ctx, firstWait/10+jitter(tries, maxWait)) {
			return err
		}
	}
}

// lasting reports whether an error of a Store stays.
func lasting(err error) bool {
	return errors.Is(err, task.ErrUnknown) || errors.Is(err, task.ErrEnded)
}

// A bucket bounds how many messages a second are handed to lanes. What it allows at once
// is a tenth of a second's worth.
type bucket struct {
	tokens float64
	at     time.Time
}

// available returns how many messages may go now at a rate, at least 1 at once, or how long
// there is none. Rate 0 allows any number.
func (b *bucket) available(now time.Time, rate, limit int) (n int, wait time.Duration) {
	if rate <= 0 {
		b.at = time.Time{}
		return limit, 0
	}
	burst := max(1, float64(rate)/10)
	if b.at.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+now.Sub(b.at).Seconds()*float64(rate))
	}
	b.at = now
	if b.tokens < 1 {
		return 0, time.Duration((1-b.tokens)/float64(rate)*float64(time.Second)) + time.Microsecond
	}
	return min(limit, int(b.tokens)), 0
}

// take takes the places of n messages, or gives them back if n is negative.
func (b *bucket) take(n int) { b.tokens -= float64(n) }
