package dispatch

import (
	"cmp"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A LaneState is how a lane is.
type LaneState string

// The states of a lane.
const (
	LaneOK        LaneState = "ok"
	LaneThrottled LaneState = "throttled" // it waits as long as its provider wants
	LaneBlocked   LaneState = "blocked"   // it sends nothing until somebody mends something, or the provider changes its mind
)

// A LaneStatus is how a lane is at the moment. Only lanes that had work since the start are
// known.
type LaneStatus struct {
	Certificate int              `json:"certificate"`
	Provider    channel.Provider `json:"provider"`
	State       LaneState        `json:"state"`
	Reason      string           `json:"reason,omitempty"` // of a state that is not ok, in the provider's words
	Since       time.Time        `json:"since,omitzero"`   // of that state
	Until       time.Time        `json:"until,omitzero"`   // of throttled: nothing is sent before
	Alarm       string           `json:"alarm,omitempty"`  // why dead tokens were kept
	Pace        float64          `json:"pace"`             // messages a second that may be sent; 0: any number
	Rate        float64          `json:"rate"`             // messages a second that were answered lately
	InFlight    int              `json:"in_flight"`        // messages in the Sender
	Pages       int              `json:"open_pages"`
	Waiting     int              `json:"waiting_tasks"`      // tasks that have a turn or wait for one
	Accepted    time.Time        `json:"accepted,omitzero"`  // when the provider took a message last
	ClockAhead  time.Duration    `json:"clock_ahead,string"` // of the provider's clock
}

// Lanes returns the lanes of an app that send something, by certificate.
func (d *Dispatcher) Lanes(app uint32) []LaneStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []LaneStatus
	for key, l := range d.lanes {
		if key.App == app && l.sendable() {
			all = append(all, l.status())
		}
	}
	slices.SortFunc(all, func(a, b LaneStatus) int { return cmp.Compare(a.Certificate, b.Certificate) })
	return all
}

// status returns how a lane is.
func (l *lane) status() LaneStatus {
	now := time.Now()
	s := LaneStatus{
		Certificate: l.key.Certificate, Provider: l.provider, State: LaneOK, Alarm: l.alarm,
		Rate: l.speed.rate(now), InFlight: int(l.inFlight.Load()), Pages: len(l.pages),
		Accepted: l.answered, ClockAhead: l.drift,
		Waiting: len(l.queues[small]) + len(l.queues[broadcast]) + len(l.waiting),
	}
	if l.sender != nil {
		s.Pace, _ = l.sender.pace.Rate()
	}
	switch {
	case l.block != nil:
		s.State, s.Reason, s.Since = LaneBlocked, l.block.reason, l.block.since
	case l.held.After(now):
		s.State, s.Reason, s.Since, s.Until = LaneThrottled, l.why, l.since, l.held
	}
	if l.drifts && s.Reason != "" {
		s.Reason += driftWords(l.drift)
	} else if l.drifts {
		s.Reason = strings.TrimPrefix(driftWords(l.drift), "; ")
	}
	return s
}

// driftWords says by how much a clock differs.
func driftWords(drift time.Duration) string {
	side := "ahead of"
	if drift < 0 {
		side, drift = "behind", -drift
	}
	return "; the clock of the provider is " + drift.Round(time.Second).String() + " " + side + " this server's"
}

// maxDrift is by how much the clock of a provider may differ from ours. Signed tokens fail
// with more (push.md, 4).
const maxDrift = time.Minute

// looked notes what the last answers said about the provider's clock.
func (d *Dispatcher) looked(l *lane, s *sender) {
	l.drift = s.Clock()
	drifts := l.drift > maxDrift || l.drift < -maxDrift
	if drifts && !l.drifts {
		d.log.Warn("the clock of a push provider differs from this server's", "app", l.key.App,
			"certificate", l.key.Certificate, "channel", string(l.provider), "ahead", l.drift)
	}
	l.drifts = drifts
}

// A TaskStatus is what the Dispatcher knows of a task that has not ended.
type TaskStatus struct {
	Lanes   []LaneStatus // blocked ones in which the task has something left
	Blocked bool         // these are all in which it has
	Reason  string       // why, if it is
	Rate    float64      // units a second that got their outcome lately
	Left    uint64       // units without an outcome: an estimate
	Ends    time.Time    // when the task will be done, at this rate; zero: nobody knows
}

// Task returns what is known of a task; false if it is not being carried out.
func (d *Dispatcher) Task(ref task.Ref) (TaskStatus, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.runs[ref]
	if r == nil {
		return TaskStatus{}, false
	}
	s := TaskStatus{Rate: r.speed.rate(time.Now())}
	s.Blocked, s.Reason = d.blocked(r)
	for l, p := range r.places {
		if l.block != nil && p.busy() {
			s.Lanes = append(s.Lanes, l.status())
		}
	}
	slices.SortFunc(s.Lanes, func(a, b LaneStatus) int { return cmp.Compare(a.Certificate, b.Certificate) })
	// Accounts stand for units: what each has is known when its page is opened.
	if r.size > r.done {
		s.Left = r.size - r.done
	}
	if s.Left > 0 && s.Rate > 0 && !s.Blocked && !r.paused {
		s.Ends = d.now().Add(time.Duration(float64(s.Left) / s.Rate * float64(time.Second)))
	}
	return s, true
}

// busy reports whether a place has something left, as far as that is known.
func (p *place) busy() bool {
	if p.where != nowhere {
		return true
	}
	for pg := range p.lane.pages {
		if pg.place == p {
			return true
		}
	}
	return false
}

// blocked reports whether all lanes in which a run has something left are blocked, and why.
func (d *Dispatcher) blocked(r *run) (bool, string) {
	var reasons []string
	for l, p := range r.places {
		if !p.busy() {
			continue
		}
		if l.block == nil {
			return false, ""
		}
		reasons = append(reasons, l.block.reason)
	}
	slices.Sort(reasons)
	return len(reasons) > 0, strings.Join(slices.Compact(reasons), "; ")
}

// A meter measures how many of something there are a second. What was counted weighs less
// the longer ago it was.
type meter struct {
	n  float64
	at time.Time
}

// meterSpan is how far back a meter looks, in seconds.
const meterSpan = 10

func (m *meter) add(now time.Time, n int) {
	m.n = m.rate(now)*meterSpan + float64(n)
	m.at = now
}

func (m *meter) rate(now time.Time) float64 {
	return m.n * math.Exp(-now.Sub(m.at).Seconds()/meterSpan) / meterSpan
}

// unitsOf returns counts by the words of their outcomes, for the log.
func unitsOf(c report.Counts) slog.Attr {
	var units []any
	for o, n := range c {
		if n > 0 {
			units = append(units, slog.Uint64(strings.ReplaceAll(report.Outcome(o).String(), " ", "_"), n))
		}
	}
	return slog.Group("units", units...)
}
