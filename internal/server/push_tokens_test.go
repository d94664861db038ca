package server_test

import (
	"fmt"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/simulate"
)

// registered returns how many of the phones have a token.
func (s *stage) registered() (n int) {
	s.t.Helper()
	for next := ""; ; {
		var out struct {
			Devices []struct{ Tokens []any }
			Next    string
		}
		s.must("tidings/list_devices", fields{"Limit": 1000, "Next": next}, &out)
		for _, d := range out.Devices {
			n += len(d.Tokens)
		}
		if next = out.Next; next == "" {
			return n
		}
	}
}

func tokensOf(phones []*phone) (tokens []string) {
	for _, p := range phones {
		tokens = append(tokens, p.token)
	}
	return tokens
}

// TestDeadTokens: tokens that the provider calls dead are retired with the push that found
// them, not pushed to again, and given back to their devices by restore_tokens. A phone that
// comes with a new token meanwhile keeps that.
func TestDeadTokens(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	phones := s.phones("phone", 160)
	dead := phones[:40]
	if err := s.sim.Kill(tokensOf(dead)...); err != nil {
		t.Fatal(err)
	}
	found := s.push("finds them", nil)
	s.awaitEnd(found).is(t, "done", map[string]uint64{"accepted": 120, "gone": 40, "no device": 1})
	if got := s.trace(found, dead[0].id); len(got.Devices) != 1 || got.Devices[0].Outcome != "gone" || got.Devices[0].Status != 404 || !strings.Contains(got.Sentence, got.Devices[0].Words) {
		t.Errorf("the trace of a dead token is %+v", got)
	}
	s.await(found, "followed by the end of its tokens", func(*pushTask) bool { return s.registered() == 120 })
	s.awaitEnd(s.push("knows them", nil)).is(t, "done", map[string]uint64{"accepted": 120, "no token": 40, "no device": 1})

	renewed := dead[0]
	renewed.token = "phone-token-renewed"
	renewed.call("PUT", "", installation(1, renewed.token), 200)
	var out struct{ Restored int }
	s.must("tidings/restore_tokens", fields{"RegistrationID": dead[1].id}, &out)
	if out.Restored != 1 {
		t.Errorf("of one device %d tokens were restored", out.Restored)
	}
	s.must("tidings/restore_tokens", fields{"TaskId": found}, &out)
	if out.Restored != 38 {
		t.Errorf("%d tokens of the push were restored, want 38", out.Restored)
	}
	if err := s.sim.Revive(tokensOf(dead)...); err != nil {
		t.Fatal(err)
	}
	s.awaitEnd(s.push("reaches all", nil)).is(t, "done", map[string]uint64{"accepted": 160, "no device": 1})
	if n := s.sim.TokenCount("phone-token-0000"); n != 0 {
		t.Errorf("a token that was replaced was pushed to %d times", n)
	}
	s.once("restored", dead)
}

// TestTooManyDead: a push that finds most tokens dead retires none of them and says so: that is
// a mistake about the environment or the project, and no truth about the phones.
func TestTooManyDead(t *testing.T) {
	t.Parallel()
	for name, alive := range map[string]int{"all of them": 0, "most of them": 60} { // one in four
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, simulate.Options{})
			phones := s.phones("phone", 240)
			s.awaitEnd(s.push("before", nil)).is(t, "done", map[string]uint64{"accepted": 240, "no device": 1})
			// What credentials have shown is forgotten with them.
			must(t, s, admin.ReplaceCertificate, admin.ReplaceRequest{ID: stageApp, Certificate: 1, Secret: s.sim.ServiceAccount()})
			for i, p := range phones {
				if alive == 0 || i%4 > 0 {
					if err := s.sim.Kill(p.token); err != nil {
						t.Fatal(err)
					}
				}
			}
			id := s.push("mistaken", nil)
			p := s.await(id, "ended or blocked", func(p *pushTask) bool { return ended(p.State) || p.State == "blocked" })
			if n := s.registered(); n != 240 {
				t.Errorf("%d of 240 tokens are left", n)
			}
			if alive == 0 {
				// Nobody took anything: the push waits for whoever mends it.
				if p.State != "blocked" || !strings.Contains(p.Reason, "dead") || !strings.Contains(s.log.String(), "a push channel is blocked") {
					t.Errorf("with all tokens dead the push is %+v", p)
				}
				if err := s.sim.Revive(tokensOf(phones)...); err != nil {
					t.Fatal(err)
				}
				s.must("tidings/stop_task", fields{"TaskId": id}, nil)
			} else {
				p.is(t, "done", map[string]uint64{"accepted": uint64(alive), "gone": 240 - uint64(alive), "no device": 1})
				s.await(id, "followed by an alarm", func(*pushTask) bool { return strings.Contains(s.log.String(), "too many tokens of a push are dead") })
			}
			if n := s.registered(); n != 240 {
				t.Errorf("after the push %d of 240 tokens are left", n)
			}
		})
	}
}

// TestStopAndPause: a push that is paused sends nothing and goes on when it is resumed; one that
// is stopped in the middle accounts for everybody in its audience.
func TestStopAndPause(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	phones := s.phones("phone", 300)
	for i := range 20 { // and some that nothing can be sent to
		s.install("", fields{"RegistrationID": fmt.Sprintf("installed-without-a-token-%020d", i)})
	}
	// While nothing was accepted with a credential, a lane has 200 devices in open pages.
	behave(t, s.sim, simulate.Behaviour{Stalled: true})
	requests := s.sim.Totals().Requests
	id := s.push("paused", nil)
	s.await(id, "on its way", func(*pushTask) bool { return s.sim.Totals().Requests > requests })
	s.must("tidings/pause_task", fields{"TaskId": id}, nil)
	behave(t, s.sim, simulate.Behaviour{})
	// What was on its way comes to its end, and no page is opened.
	s.await(id, "still", func(p *pushTask) bool {
		n := s.sim.Delivered()
		return n == int64(p.counts()["accepted"]) && n == s.sim.Delivered()
	})
	if n := s.sim.Delivered(); n > 200 {
		t.Errorf("%d messages were taken, and the push was paused", n)
	}
	if p := s.task(id); p.State != "paused" {
		t.Errorf("the paused push is %+v", p)
	}
	s.must("tidings/resume_task", fields{"TaskId": id}, nil)
	s.awaitEnd(id).is(t, "done", map[string]uint64{"accepted": 300, "no token": 20, "no device": 1})
	s.once("after resuming", phones)
	s.refused(95013, "tidings/pause_task", fields{"TaskId": id})
	s.refused(95013, "tidings/stop_task", fields{"TaskId": id})

	behave(t, s.sim, simulate.Behaviour{ForbidAfter: int(s.sim.Delivered()) + 150})
	id = s.push("stopped", nil)
	s.await(id, "blocked", func(p *pushTask) bool { return p.State == "blocked" })
	s.must("tidings/stop_task", fields{"TaskId": id}, nil)
	p := s.awaitEnd(id)
	if p.State != "stopped" || p.Units != 321 || p.Receivers != 321 {
		t.Errorf("the stopped push is %+v", p)
	}
	counts := p.counts()
	if counts["accepted"]+counts["stopped"] != 300 || counts["stopped"] == 0 || counts["no token"] != 20 || counts["no device"] != 1 {
		t.Errorf("the stopped push has %v", counts)
	}
	rung := uint64(0)
	for i, n := range s.rings(phones...) {
		if n > 2 || n < 1 {
			t.Errorf("phone %d was rung %d times by two pushes", i, n)
		}
		rung += uint64(n - 1)
		want := map[int]string{1: "stopped", 2: "accepted"}[n]
		if i%10 == 0 {
			if got := s.trace(id, phones[i].id); len(got.Devices) != 1 || got.Devices[0].Outcome != want {
				t.Errorf("the trace of phone %d, which was rung %d times, is %+v", i, n, got)
			}
		}
	}
	if rung != counts["accepted"] {
		t.Errorf("%d phones were rung, %d messages were accepted", rung, counts["accepted"])
	}
}

// TestIdempotencyKey: the same request with the same key is answered with the same TaskId, also
// after a restart, and pushes once; another request with the key is refused.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	phones := s.phones("phone", 2)
	everyone := message("once").with(fields{"IdempotencyKey": "k1"})
	some := message("some").with(fields{"IdempotencyKey": "k1", "To_Account": []string{phones[0].id}})
	first, batch := s.send("timpush/push", everyone), s.send("timpush/batch", some) // a key belongs to a command
	s.awaitEnd(first)
	s.awaitEnd(batch)
	for range 2 {
		if got := s.send("timpush/push", everyone); got != first {
			t.Errorf("the push is answered %s, and was %s", got, first)
		}
		if got := s.send("timpush/batch", some); got != batch {
			t.Errorf("the batch is answered %s, and was %s", got, batch)
		}
		s.refused(95010, "timpush/push", everyone.with(fields{"LifeTime": 60}))
		s.restart()
	}
	if got := s.rings(phones...); fmt.Sprint(got) != "[2 1]" {
		t.Errorf("the phones were rung %v times, want [2 1]", got)
	}
	if n := len(s.tasks()); n != 2 {
		t.Errorf("there are %d tasks, want 2", n)
	}
}
