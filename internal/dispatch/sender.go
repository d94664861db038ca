package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A sender is a Sender of a lane, opened with one version of its certificate. The pages that
// were begun with it end with it, and it is closed after the last of them.
type sender struct {
	channel.Sender
	provider channel.Provider
	credit   *credit
	limits   channel.Limits
	pace     *channel.Pace
	refs     int  // open pages; under the Dispatcher's mu
	old      bool // no page is begun with it any more
}

// A credit is what a version of a certificate has shown so far.
type credit struct {
	version int
	proven  atomic.Bool  // a message was accepted
	gone    atomic.Int32 // tokens that were called dead before that
	refused atomic.Int32 // messages refused for the credentials since one was accepted
	failing atomic.Int32 // tries that failed, or stayed without an answer, since the last answer
}

// A block is why a lane sends nothing, and when that is looked at again.
type block struct {
	reason string
	since  time.Time // on the wall clock
	probe  time.Time // monotonic
}

// The pauses between looks at a blocked lane.
const (
	firstProbe = time.Minute
	maxProbe   = 15 * time.Minute
	probeTime  = 30 * time.Second // that a look may take
)

// prepare brings the Sender of a lane up to date with its certificate, as it is now: opens,
// replaces, probes or closes it.
func (d *Dispatcher) prepare(ctx context.Context, l *lane) {
	if l.key.Certificate == 0 {
		return
	}
	c := d.certificate(l.key)
	exists := c != nil
	// The credit of a lane changes in this goroutine alone.
	changed := l.credit == nil || !exists || l.credit.version != c.Version
	proven := changed && exists && d.provenBefore(ctx, l.key, c)
	d.mu.Lock()
	now := time.Now()
	l.exists = exists
	if exists {
		l.provider = c.Provider
	}
	if changed {
		d.unblock(l, "its certificate was replaced or removed")
		l.credit = new(credit)
		if exists {
			l.credit.version = c.Version
		}
		l.credit.proven.Store(proven)
		l.trial, l.held, l.holds, l.pauses, l.alarm = false, time.Time{}, 0, 0, ""
	}
	idle := l.sender != nil && len(l.pages) == 0 && now.Sub(l.used) >= d.opts.Idle
	var unused *sender
	if l.sender != nil && (changed || idle) {
		l.sender.old = true
		if l.sender.refs == 0 {
			unused = l.sender
		}
		l.sender = nil
	}
	probe := l.block != nil && !l.block.probe.After(now)
	wanted := l.sender == nil && exists && (probe || l.block == nil && l.hasWork())
	s := l.sender
	d.mu.Unlock()

	d.closeSender(unused)
	switch {
	case wanted:
		d.openSender(ctx, l, c)
	case probe && s != nil:
		d.probe(ctx, l, s)
	}
}

// provenTasks is how many of the latest tasks of an app are asked whether a provider took
// something of them.
const provenTasks = 100

// provenBefore reports whether the provider took a message of a task that was accepted since a
// certificate has its credential, before a restart too. Else the first token of a stranger that
// a push comes to after a start would make good credentials look wrong, and block all.
func (d *Dispatcher) provenBefore(ctx context.Context, key task.Lane, c *app.Certificate) bool {
	since := c.Created
	if c.Replaced.After(since) {
		since = c.Replaced
	}
	// That time is of a whole second, in which tasks may have been sent with the credential before.
	since = since.Add(time.Second)
	list, _, err := d.tasks.List(ctx, key.App, task.Filter{Since: since}, provenTasks, "")
	if err != nil {
		return false // nothing is known
	}
	return slices.ContainsFunc(list, func(t *task.Task) bool {
		return slices.ContainsFunc(t.Progress.Lanes, func(p task.LaneProgress) bool {
			return p.Certificate == key.Certificate && p.Counts[report.Accepted] > 0
		})
	})
}

// hasWork reports whether a place has a turn, or will have one.
func (l *lane) hasWork() bool {
	return len(l.queues[small])+len(l.queues[broadcast])+len(l.waiting) > 0
}

func (d *Dispatcher) closeSender(s *sender) {
	if s == nil {
		return
	}
	if err := s.Close(); err != nil {
		d.log.Warn("connections to a provider could not be closed", "error", err)
	}
}

// openSender opens the Sender of a lane, or blocks the lane with the reason.
func (d *Dispatcher) openSender(ctx context.Context, l *lane, c *app.Certificate) {
	s, err := d.newSender(l, c)
	d.mu.Lock()
	if err != nil {
		d.blockLane(l, err.Error())
		d.mu.Unlock()
		return
	}
	s.credit = l.credit // of the version of c: only this goroutine changes it
	l.sender, l.used = s, time.Now()
	blocked := l.block != nil
	d.mu.Unlock()
	if blocked {
		d.probe(ctx, l, s)
	}
}

func (d *Dispatcher) newSender(l *lane, c *app.Certificate) (*sender, error) {
	driver := d.drivers[c.Provider]
	if driver == nil {
		return nil, fmt.Errorf("this server cannot send through %s", c.Provider)
	}
	secret, err := d.opts.Unseal(l.key.App, c)
	if err != nil {
		return nil, fmt.Errorf("the credential of the certificate cannot be unsealed: %w", err)
	}
	credential := channel.Credential{
		App: l.key.App, Certificate: l.key.Certificate, Options: c.Options, Secret: secret, Proven: l.credit.proven.Load(),
	}
	limits := driver.Limits(c.Options)
	pace := channel.NewPace(limits, nil)
	opened, err := driver.Open(credential, pace)
	if err != nil {
		return nil, fmt.Errorf("the credential cannot be used: %w", err)
	}
	return &sender{Sender: opened, provider: c.Provider, limits: limits, pace: pace}, nil
}

// probe asks the provider of a blocked lane whether the credentials are good by now. If so,
// the lane tries again with a small page, whose outcome counts.
func (d *Dispatcher) probe(ctx context.Context, l *lane, s *sender) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	health, err := s.Test(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil && health.OK:
		l.trial = true
		l.credit.refused.Store(0)
		d.unblock(l, "the provider takes its credentials")
	case err == nil:
		d.blockLane(l, refusedWords+health.Words)
	default:
		d.blockLane(l, "") // it stays what it was: the provider cannot be reached
	}
}

// blockLane has a lane send nothing, and calls its open pages back. An empty reason leaves
// that of a lane that is blocked already.
func (d *Dispatcher) blockLane(l *lane, reason string) {
	pause := min(firstProbe<<min(l.pauses, 8), maxProbe)
	l.pauses++
	if l.block == nil {
		l.block = &block{since: d.now()}
		d.log.Warn("a push channel is blocked", "app", l.key.App, "certificate", l.key.Certificate,
			"channel", string(l.provider), "reason", reason)
	}
	l.block.reason = cmp.Or(reason, l.block.reason)
	l.block.probe = time.Now().Add(pause)
	l.recall()
	l.wakeUp()
}

// unblock ends the block of a lane.
func (d *Dispatcher) unblock(l *lane, reason string) {
	if l.block == nil {
		return
	}
	d.log.Warn("a push channel is blocked no more", "app", l.key.App, "certificate", l.key.Certificate,
		"channel", string(l.provider), "reason", reason, "blocked_for", d.now().Sub(l.block.since).Round(time.Second))
	l.block = nil
	l.wakeUp()
}

// hold has a lane send nothing for a time, and calls its open pages back. After 0 is as
// long as the failures before suggest. A lane that is held is only held for longer.
func (d *Dispatcher) hold(l *lane, after time.Duration, why string) time.Duration {
	now := time.Now()
	if after <= 0 {
		if l.held.After(now) {
			return l.held.Sub(now)
		}
		after = max(jitter(l.holds, maxWait), firstWait/10)
	}
	after = min(after, maxHold)
	if !l.held.After(now) {
		l.holds++
		l.since = d.now()
	}
	if until := now.Add(after); until.After(l.held) {
		l.held, l.why = until, why
	}
	l.trial = true
	l.recall()
	return after
}

// maxHold bounds how long a provider can hold a lane with one answer. It is asked again then.
const maxHold = time.Hour
