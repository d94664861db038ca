package simulate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fateAnswers are what a sender sees of each fate; those without an answer are "".
var fateAnswers = map[Fate]string{
	Gone: "404 NOT_FOUND UNREGISTERED", Malformed: wrong, BadToken: wrong + " field=message.token",
	Sender: "403 PERMISSION_DENIED SENDER_ID_MISMATCH", ThirdParty: "401 UNAUTHENTICATED THIRD_PARTY_AUTH_ERROR",
	Unauthenticated: "401 UNAUTHENTICATED reason=ACCESS_TOKEN_EXPIRED", Forbidden: "403 PERMISSION_DENIED reason=IAM_PERMISSION_DENIED",
	NoProject: "404 NOT_FOUND", Throttle: "429 RESOURCE_EXHAUSTED QUOTA_EXCEEDED subject=project", Device: "429 RESOURCE_EXHAUSTED QUOTA_EXCEEDED subject=device",
	Collapsible: "429 RESOURCE_EXHAUSTED QUOTA_EXCEEDED subject=device:collapsible",
	Internal:    "500 INTERNAL INTERNAL", Unavailable: "503 UNAVAILABLE UNAVAILABLE", Unspecified: "400 FAILED_PRECONDITION UNSPECIFIED_ERROR",
	Gateway: "page", Slow: "200", Hang: "", Reset: "", Lost: "",
}

// meet sends a message and returns what came of it as in fateAnswers.
func (c *sender) meet(token, id string) string {
	c.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	if strings.HasPrefix(token, "hang") {
		ctx, stop = context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer stop()
	}
	r, err := c.doContext(ctx, "POST", fcmPath+defaultProject+fcmSend, "application/json", messageTo(token, id))
	switch {
	case err != nil:
		return ""
	case r.status == 200:
		return "200"
	case r.status == 502 && strings.HasPrefix(r.body, "<!DOCTYPE html>"):
		return "page"
	}
	line, _ := r.parse(c.t)
	return line
}

func TestFates(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := start(t, Options{})
			c := dial(t, s, protocol)
			for f := Gone; f < fates; f++ {
				want, known := fateAnswers[f]
				if !known {
					t.Errorf("no test of %s", f)
				}
				token := f.String() + "-token"
				for range 2 { // always
					if got := c.meet(token, ""); got != want {
						t.Errorf("%s: %q, want %q", token, got, want)
					}
				}
				if f == Slow || f == Hang {
					continue
				}
				token = f.String() + "2-token" // twice
				for i, want := range []string{want, want, "200", "200"} {
					if got := c.meet(token, ""); got != want {
						t.Errorf("%s, time %d: %q, want %q", token, i+1, got, want)
					}
				}
				taken := 2
				if f == Lost {
					taken = 4
				}
				if n := s.TokenCount(token); n != taken {
					t.Errorf("%s: delivered %d times, want %d", token, n, taken)
				}
			}
			if line, _ := c.must(c.post(`{"message":{"fid":"badtoken-x"}}`)).parse(t); line != wrong+" field=message.fid" {
				t.Errorf("an installation id that is none: %s", line)
			}
			// What looks like a fate and is none.
			for _, token := range []string{"gone", "Gone-x", "gone0-x", "gonex-x", "x-gone-", "gone9999999-x", "-", "3-x", strings.Repeat("0", 40) + "gone-"} {
				if got := c.meet(token, ""); got != "200" {
					t.Errorf("%s: %q", token, got)
				}
			}
		})
	}
}

// TestAll sends one fate to everybody, whatever the token is.
func TestAll(t *testing.T) {
	s := start(t, Options{Behaviour: Behaviour{All: "sender"}})
	c := dial(t, s, "h2c")
	if got := c.meet("t", ""); got != fateAnswers[Sender] {
		t.Errorf("%q", got)
	}
	if got := c.meet("gone-t", ""); got != fateAnswers[Gone] {
		t.Errorf("a token's own fate: %q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, "h2c")
	for _, wait := range []time.Duration{0, 1500 * time.Millisecond, time.Minute} {
		if err := s.SetBehaviour(Behaviour{RetryAfter: Duration(wait)}); err != nil {
			t.Fatal(err)
		}
		for token, may := range map[string]bool{"throttle-t": true, "device-t": true, "unavailable-t": true, "internal-t": false, "gone-t": false} {
			want := map[time.Duration]string{1500 * time.Millisecond: "2", time.Minute: "60"}[wait]
			if !may {
				want = ""
			}
			if got := c.must(c.send(token, "")).header.Get("Retry-After"); got != want {
				t.Errorf("%v, %s: Retry-After %q, want %q", wait, token, got, want)
			}
		}
	}
}

// TestDead shows that a share of the tokens is dead, the same with the same seed, and that
// tokens can be killed and revived.
func TestDead(t *testing.T) {
	const tokens = 400
	deadOf := func(seed uint64) (dead []string) {
		s := start(t, Options{Seed: seed, Behaviour: Behaviour{Dead: 0.25}})
		c := dial(t, s, "h2c")
		for i := range tokens {
			token := fmt.Sprintf("token-%d", i)
			first := c.meet(token, fmt.Sprint(i))
			if again := c.meet(token, "another"); again != first {
				t.Errorf("%s: %q, then %q", token, first, again)
			}
			if first == fateAnswers[Gone] {
				dead = append(dead, token)
			}
		}
		if len(dead) < tokens/8 || len(dead) > tokens*3/8 {
			t.Errorf("%d of %d are dead, want a quarter", len(dead), tokens)
		}
		if err := errors.Join(s.Revive(dead[0]), s.Kill("mine")); err != nil {
			t.Error(err)
		}
		if a, b := c.meet(dead[0], ""), c.meet("mine", ""); a != "200" || b != fateAnswers[Gone] {
			t.Errorf("revived: %q, killed: %q", a, b)
		}
		return dead
	}
	a, b, c := deadOf(1), deadOf(1), deadOf(2)
	if fmt.Sprint(a) != fmt.Sprint(b) || fmt.Sprint(a) == fmt.Sprint(c) {
		t.Errorf("seed 1: %d and %d, seed 2: %d", len(a), len(b), len(c))
	}
}

// TestShare shows that a share of the messages fails, in the same way with the same seed
// and whatever the order, and that trying again helps.
func TestShare(t *testing.T) {
	const messages = 300
	run := func(backwards bool) (got [messages]string) {
		s := start(t, Options{Seed: 7, Behaviour: Behaviour{Share: map[string]float64{"unavailable": 0.2, "lost": 0.1}}})
		c := dial(t, s, "h2c")
		for n := range messages {
			i := n
			if backwards {
				i = messages - 1 - n
			}
			token, id := fmt.Sprintf("token-%d", i), fmt.Sprintf("id-%d", i)
			for len(got[i]) < 1000 {
				answer := c.meet(token, id)
				got[i] += answer + ";"
				if answer == "200" {
					break
				}
			}
		}
		fates := s.Totals().Fates
		if fates["unavailable"] < messages/10 || fates["unavailable"] > messages/2 || fates["lost"] < messages/30 || fates["lost"] > messages/4 || fates["accepted"] != messages {
			t.Errorf("%v", fates)
		}
		return got
	}
	if run(false) != run(true) {
		t.Error("other messages fail in another order")
	}
}

func TestRate(t *testing.T) {
	s := start(t, Options{Behaviour: Behaviour{Rate: 10}})
	c := dial(t, s, "h2c")
	began := time.Now()
	var passed, throttled int
	for range 40 {
		switch got := c.meet("t", ""); got {
		case "200":
			passed++
		case fateAnswers[Throttle]:
			throttled++
		default:
			t.Fatal(got)
		}
	}
	if most := 11 + int(10*time.Since(began).Seconds()); passed < 10 || passed > most {
		t.Errorf("%d passed and %d were throttled, want 10 to %d", passed, throttled, most)
	}
}

func TestLatency(t *testing.T) {
	s := start(t, Options{Behaviour: Behaviour{MinLatency: Duration(20 * time.Millisecond), MaxLatency: Duration(60 * time.Millisecond)}})
	c := dial(t, s, "h2c")
	for i := range 10 {
		began := time.Now()
		c.must(c.send(fmt.Sprintf("token-%d", i), ""))
		if d := time.Since(began); d < 20*time.Millisecond {
			t.Errorf("answered after %v", d)
		}
	}
	began := time.Now()
	c.must(c.send("slow150-t", ""))
	if d := time.Since(began); d < 170*time.Millisecond {
		t.Errorf("a slow token: answered after %v", d)
	}
	// Who does not wait gets nothing.
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer stop()
	if _, err := c.doContext(ctx, "POST", fcmPath+defaultProject+fcmSend, "application/json", messageTo("slow60000-t", "x")); err == nil {
		t.Error("answered at once")
	}
	eventually(t, func() bool { return s.Totals().Fates["hang"] == 1 })
	if s.IDCount("x") != 0 {
		t.Error("delivered although the client went away")
	}
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// TestCredentials takes the credentials away at once and after some messages. An account
// that was added goes on.
func TestCredentials(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, "h2c")
	text, err := s.AddServiceAccount(defaultProject)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := c.access, c.login(text)
	account, key := keyOf(t, s.ServiceAccount())
	for _, x := range []struct {
		b     Behaviour
		sent  int
		want  string
		login int
	}{
		{Behaviour{Revoked: true}, 0, fateAnswers[Unauthenticated], 400},
		{Behaviour{RevokeAfter: 3}, 3, fateAnswers[Unauthenticated], 400},
		{Behaviour{Forbidden: true}, 0, fateAnswers[Forbidden], 200},
		{Behaviour{ForbidAfter: 2}, 2, fateAnswers[Forbidden], 200},
	} {
		s.Reset()
		if err := s.SetBehaviour(x.b); err != nil {
			t.Fatal(err)
		}
		c.access = mine
		for i := range x.sent {
			if got := c.meet("t", ""); got != "200" {
				t.Errorf("%+v, message %d: %q", x.b, i, got)
			}
		}
		if got := c.meet("t", ""); got != x.want {
			t.Errorf("%+v: %q, want %q", x.b, got, x.want)
		}
		head, claims := claimsOf(account, time.Now())
		if r := c.ask(sign(t, key, head, claims)); r.status != x.login {
			t.Errorf("%+v: the token endpoint answers %d %s", x.b, r.status, r.body)
		}
		c.access = theirs
		if got := c.meet("t", ""); got != "200" {
			t.Errorf("%+v: the other account gets %q", x.b, got)
		}
	}
}

func TestClock(t *testing.T) {
	s := start(t, Options{Behaviour: Behaviour{Clock: Duration(-2 * time.Hour)}})
	c := &sender{t: t, url: s.URL(), client: new(http.Client)}
	t.Cleanup(c.client.CloseIdleConnections)
	account, key := keyOf(t, s.ServiceAccount())
	head, claims := claimsOf(account, time.Now())
	r := c.ask(sign(t, key, head, claims))
	if r.status != 400 || !strings.Contains(r.body, "iat and exp") {
		t.Errorf("%d %s", r.status, r.body)
	}
	date, err := http.ParseTime(r.header.Get("Date"))
	if ahead := time.Until(date); err != nil || ahead > -2*time.Hour+time.Minute || ahead < -2*time.Hour-time.Minute {
		t.Errorf("Date %q", r.header.Get("Date"))
	}
}

// TestStall stops all answers. What waited is served when they go on.
func TestStall(t *testing.T) {
	for _, protocol := range protocols {
		s := start(t, Options{})
		c := dial(t, s, protocol)
		if err := s.SetBehaviour(Behaviour{Stalled: true}); err != nil {
			t.Fatal(err)
		}
		const messages = 20
		answers := make(chan string)
		for i := range messages {
			go func() { answers <- c.meet("t", fmt.Sprint(i)) }()
		}
		select {
		case got := <-answers:
			t.Errorf("%s: %q although stalled", protocol, got)
		case <-time.After(30 * time.Millisecond): // if nothing has come by then, it passes
		}
		if err := s.ChangeBehaviour(func(b *Behaviour) error { b.MinLatency = 1; return nil }); err != nil { // still stalled
			t.Fatal(err)
		}
		if s.Delivered() != 0 {
			t.Errorf("%s: delivered although stalled", protocol)
		}
		if err := s.SetBehaviour(Behaviour{}); err != nil {
			t.Fatal(err)
		}
		for range messages {
			if got := <-answers; got != "200" {
				t.Errorf("%s: %q after the stall", protocol, got)
			}
		}
		if s.Delivered() != messages {
			t.Errorf("%s: %d delivered", protocol, s.Delivered())
		}
	}
}

// TestCloseWhileWaiting ends a simulator in which requests hang and stall.
func TestCloseWhileWaiting(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, "h2c")
	answers := make(chan string)
	for _, token := range []string{"hang-t", "slow900000-t"} {
		go func() {
			_, err := c.send(token, "")
			answers <- fmt.Sprint(err != nil)
		}()
	}
	eventually(t, func() bool { return s.Totals().Fates["hang"] == 1 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if got := <-answers; got != "true" {
			t.Error("answered by a simulator that was closed")
		}
	}
}

func TestBehaviourMistakes(t *testing.T) {
	s := start(t, Options{Behaviour: Behaviour{Rate: 5}})
	for want, b := range map[string]Behaviour{
		"min_latency": {MinLatency: -1}, "max_latency": {MinLatency: 2, MaxLatency: 1}, "dead": {Dead: 1.5}, "retry_after": {RetryAfter: Duration(1 << 62)},
		"share names the fate \"x\"": {Share: map[string]float64{"x": 0}}, "share of gone": {Share: map[string]float64{"gone": -1}},
		"add up": {Share: map[string]float64{"gone": 0.6, "lost": 0.6}}, "all is the fate \"accepted\"": {All: "accepted"},
		"rate": {Rate: -1}, "go_away": {GoAway: -1}, "refuse": {Refuse: -1}, "abrupt": {Abrupt: true}, "clock": {Clock: Duration(-1 << 62)},
	} {
		if err := s.SetBehaviour(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", b, err, want)
		}
		if _, err := Start(Options{Behaviour: b}); err == nil {
			t.Errorf("%+v: started", b)
		}
	}
	if s.Behaviour().Rate != 5 {
		t.Error("a mistake has changed the behaviour")
	}
}
