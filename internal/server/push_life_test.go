package server_test

import (
	"strings"
	"testing"
	"time"

	"tidings/internal/simulate"
)

// TestLifeEnds: a push that waits expires when its life is over, and is not sent when what it
// waited for is mended later. One without a life (LifeTime 0) is tried once.
func TestLifeEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	phones := s.phones("phone", 3)
	open := s.block()
	short := s.batch("short", []string{phones[0].id}, fields{"LifeTime": 1})
	now := s.batch("now or never", []string{phones[1].id}, fields{"LifeTime": 0})
	long := s.batch("long", []string{phones[2].id}, nil)
	p := s.awaitEnd(short)
	p.is(t, "expired", map[string]uint64{"expired": 1})
	if !strings.Contains(p.Reason, "refuses the credentials") {
		t.Errorf("it expired for the reason %q", p.Reason)
	}
	if got := s.trace(short, phones[0].id); len(got.Devices) != 1 || got.Devices[0].Outcome != "expired" || !strings.Contains(got.Sentence, "expired") {
		t.Errorf("the trace is %+v", got)
	}
	if lasted := time.Since(time.Unix(s.acceptedAt(short), 0)); lasted > 45*time.Second {
		t.Errorf("a push with a life of a second expired after %s", lasted)
	}
	open()
	s.awaitEnd(long).is(t, "done", map[string]uint64{"accepted": 1})
	s.awaitEnd(now)
	if got := s.rings(phones...); got[0] != 0 || got[2] != 1 {
		t.Errorf("the phones were rung %v times", got)
	}
}

// acceptedAt returns when a push was accepted, in Unix seconds.
func (s *stage) acceptedAt(id string) int64 {
	s.t.Helper()
	var out struct{ Accepted int64 }
	s.must("tidings/get_task", fields{"TaskId": id}, &out)
	return out.Accepted
}
