package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Retry says how often and when a call is repeated. The zero value is the
// default.
type Retry struct {
	Attempts int           // attempts in all, the first included; default 4; 1 never repeats
	Base     time.Duration // wait after the first attempt, doubled after each further one; default 100ms
	Max      time.Duration // longest wait between two attempts; default 10s; at least a second after a limit of calls
}

// check returns r with the defaults filled in.
func (r Retry) check() (Retry, error) {
	if r.Attempts < 0 || r.Base < 0 || r.Max < 0 {
		return Retry{}, errors.New("client: a field of Retry is negative")
	}
	r.Attempts = cmp.Or(r.Attempts, 4)
	r.Base = cmp.Or(r.Base, 100*time.Millisecond)
	r.Max = max(cmp.Or(r.Max, 10*time.Second), r.Base)
	return r, nil
}

// wait returns how long to wait after attempt n, counted from 1: base doubled n-1 times,
// at most r.Max. It has no random part.
func (r Retry) wait(base time.Duration, n int) time.Duration {
	d := base
	for range n - 1 {
		if d >= r.Max {
			break
		}
		d *= 2
	}
	return min(d, r.Max)
}

// A verdict says how a request that failed may be repeated.
type verdict int

const (
	never       verdict = iota
	later               // after a while; the request may have been processed
	slowDown            // at a lower rate; the request was not processed
	afterMinute         // after at least a minute; the request was not processed
	renew               // with a new ticket; the request was not processed
)

// slowBase is the shortest wait when calls come too often. Limits are per second.
const slowBase = time.Second

// minute is the wait after ErrTicketThrottled.
const minute = 61 * time.Second

// retry is the retry guidance of the contract (spec/conventions.md, 2.8).
func (c Code) retry() verdict {
	switch c {
	case 60007, 60011, 60018, 60019, ErrPushTooSoon, ErrTooManyTasks:
		return slowDown
	case 60008, 60014, 70169, 70202, 70500, 90992, 90994, 90995, 91000, 40006, 30006, 30007, 30008:
		return later
	case ErrTicketThrottled:
		return afterMinute
	}
	return never
}

// judge returns how a command may be repeated after err. It may not after errors of the
// caller's context and of arguments. If again is false, it may not either when it has perhaps
// been processed.
func judge(err error, again bool) verdict {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Code == ErrTicketExpired || e.Code == ErrTicketInvalidated {
			return renew
		}
		if v := e.Code.retry(); v != later || again {
			return v
		}
		return never
	}
	if s, ok := errors.AsType[*StatusError](err); ok {
		if s.Status >= 500 && again {
			return later
		}
		return never
	}
	if _, ok := errors.AsType[*transportError](err); ok && (again || neverSent(err)) {
		return later
	}
	return never
}

// neverSent reports whether err is the failure to make a connection.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// repeat makes attempts until one succeeds or may not be repeated.
func (c *Client) repeat(ctx context.Context, command string, again bool, attempt func(ctx context.Context, ticket string) error) error {
	renewed := false
	for n := 1; ; n++ {
		if err := c.pace.wait(ctx, command); err != nil {
			return err
		}
		ticket, err := c.tickets.ticket(ctx)
		if err != nil {
			return fmt.Errorf("%s: ticket: %w", command, err)
		}
		err = attempt(ctx, ticket)
		if err == nil || ctx.Err() != nil {
			return err
		}
		v := judge(err, again)
		var d time.Duration
		switch v {
		case never:
			return err
		case later:
			d = c.retry.wait(c.retry.Base, n)
			d = d/2 + rand.N(d/2+1)
		case slowDown:
			d = max(c.retry.wait(max(slowBase, c.retry.Base), n), slowBase)
			c.pace.hold(command, err, d)
			d += rand.N(d/2 + 1)
		case afterMinute:
			if _, ok := ctx.Deadline(); !ok {
				return err // without a deadline, the caller does not expect a call to take this long
			}
			d = minute + rand.N(5*time.Second)
		case renew:
			// A ticket made in the second of the invalidation is invalid too
			// (spec/conventions.md, 5.5): wait for the next second.
			if renewed {
				return err
			}
			renewed = true
			d = time.Second
		}
		if n >= c.retry.Attempts || !fits(ctx, d) {
			if v == renew {
				c.tickets.refused(ticket)
			}
			return err
		}
		if sleepErr := sleep(ctx, d); sleepErr != nil {
			return fmt.Errorf("%s: %w; the last attempt: %w", command, sleepErr, err)
		}
		if v == renew {
			c.tickets.refused(ticket)
			if fresh, sourceErr := c.tickets.ticket(ctx); sourceErr != nil || fresh == ticket {
				return err
			}
		}
	}
}

// fits reports whether ctx lasts longer than d.
func fits(ctx context.Context, d time.Duration) bool {
	end, ok := ctx.Deadline()
	return !ok || time.Until(end) > d
}

// sleep returns after d, or with the cause when ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pace holds calls back after the server said that calls come too often: those of one
// command after codes that are about the command, those of all commands after the others.
type pace struct {
	mu    sync.Mutex
	holds map[string]held // by command; "" holds all
}

// held says until when calls wait, and which answer is the reason.
type held struct {
	until time.Time
	err   error
}

// hold makes the calls that err concerns wait for d.
func (p *pace) hold(command string, err error, d time.Duration) {
	if !errors.Is(err, ErrRateLimited) && !errors.Is(err, ErrPushTooSoon) && !errors.Is(err, ErrTooManyTasks) {
		command = ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holds == nil {
		p.holds = make(map[string]held)
	}
	if until := time.Now().Add(d); until.After(p.holds[command].until) {
		p.holds[command] = held{until, err}
	}
}

// longest returns the hold that a command waits for; the zero value for none.
func (p *pace) longest(command string) held {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.holds[command]
	if all := p.holds[""]; all.until.After(h.until) {
		h = all
	}
	return h
}

// wait returns when a command may be called. If ctx ends before then, wait returns at
// once, with the answer that is the reason.
func (p *pace) wait(ctx context.Context, command string) error {
	for {
		h := p.longest(command)
		d := time.Until(h.until)
		if d <= 0 {
			return context.Cause(ctx)
		}
		if !fits(ctx, d) {
			return fmt.Errorf("%s: held back after %w", command, h.err)
		}
		if err := sleep(ctx, d+rand.N(d/4+1)); err != nil {
			return fmt.Errorf("%s: %w; held back after %w", command, err, h.err)
		}
	}
}
