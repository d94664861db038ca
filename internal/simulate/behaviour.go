package simulate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
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
	// Refuse has a connection of HTTP/2 refuse each so many-th request, so that it is not
	// served and can be sent again; 0: none.
	Refuse int `json:"refuse"`
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
	}{{"rate", b.Rate}, {"revoke_after", b.RevokeAfter}, {"forbid_after", b.ForbidAfter}, {"go_away", b.GoAway}, {"refuse", b.Refuse}} {
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
