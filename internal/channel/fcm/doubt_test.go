package fcm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/channel/channeltest"
)

var (
	vague      = refusal(400, "INVALID_ARGUMENT", "Request contains an invalid argument.", fcmError("INVALID_ARGUMENT"))
	unknownID  = refusal(404, "NOT_FOUND", "Requested entity was not found.", fcmError("UNREGISTERED"))
	mismatch   = refusal(403, "PERMISSION_DENIED", "SenderId mismatch", fcmError("SENDER_ID_MISMATCH"))
	noAppleKey = refusal(401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service", fcmError("THIRD_PARTY_AUTH_ERROR"))
)

// isProbe reports whether a body asks about a token alone.
func isProbe(body string) bool {
	return strings.Contains(body, `"validate_only":true`) && !strings.Contains(body, "tidings")
}

// TestInvalidArgument decides whether the token or the payload was meant.
func TestInvalidArgument(t *testing.T) {
	bad := string(target(3).Address)
	for name, c := range map[string]struct {
		send    func(token, body string) channeltest.Answer
		want    func(i int) channel.Outcome
		probes  int // at most
		atLeast int
	}{
		"all tokens are malformed": {
			send:   func(string, string) channeltest.Answer { return vague },
			want:   func(int) channel.Outcome { return channel.Gone },
			probes: 50, atLeast: 50,
		},
		"the payload is bad": {
			send: func(_, body string) channeltest.Answer {
				if isProbe(body) {
					return accept
				}
				return vague
			},
			want:   func(int) channel.Outcome { return channel.Rejected },
			probes: 50, atLeast: 1,
		},
		"the payload is bad and so is a token": {
			send: func(token, body string) channeltest.Answer {
				if isProbe(body) && token != bad {
					return unknownID
				}
				return vague
			},
			want:   func(int) channel.Outcome { return channel.Gone },
			probes: 50, atLeast: 50,
		},
		"FCM has no time for the question": {
			send: func(_, body string) channeltest.Answer {
				if isProbe(body) {
					return channeltest.Answer{Status: 503}
				}
				return vague
			},
			want:   func(int) channel.Outcome { return channel.Retry },
			probes: 50, atLeast: 50,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGoogle(t, true)
			g.send = c.send
			for i, r := range results(t, g.sender(t, channel.Options{}, nil), job(), targets(50)) {
				if r.Outcome != c.want(i) || r.Words == "" {
					t.Errorf("target %d: %+v, want %s", i, r, c.want(i))
				}
			}
			probes := 0
			for _, r := range g.Requests() {
				if isProbe(r.Body) {
					probes++
				}
			}
			if probes > c.probes || probes < c.atLeast {
				t.Errorf("%d questions, want %d to %d", probes, c.atLeast, c.probes)
			}
		})
	}
}

// TestInvalidArgumentAmongGood needs no question: FCM took the payload.
func TestInvalidArgumentAmongGood(t *testing.T) {
	g := newGoogle(t, true)
	bad := string(target(1).Address)
	g.send = func(token, _ string) channeltest.Answer {
		if token == bad {
			return vague
		}
		return accept
	}
	s := g.sender(t, channel.Options{}, nil)
	p := &page{sender: s, job: job()}
	tmpl, err := newTemplate(p.job, s.opts, channel.Alert, "x", "", false)
	if err != nil {
		t.Fatal(err)
	}
	same := &shaped{template: tmpl}
	one := target(1)
	same.taken.Store(true)
	if r, _ := p.probe(same, &one, channel.Result{}); r.Outcome != channel.Gone {
		t.Errorf("%+v, want gone", r)
	}
	same.taken.Store(false)
	same.bad.Store(true)
	if r, _ := p.probe(same, &one, channel.Result{}); r.Outcome != channel.Rejected {
		t.Errorf("%+v, want rejected", r)
	}
	if n := len(g.Requests()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

// TestOfAnotherSender is about tokens of another project, and about credentials of one.
func TestOfAnotherSender(t *testing.T) {
	for name, c := range map[string]struct {
		answer       channeltest.Answer
		some, proven channel.Outcome
	}{
		"sender": {mismatch, channel.Unauthorized, channel.Gone},
		"key":    {noAppleKey, channel.Unauthorized, channel.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGoogle(t, true)
			var good atomic.Bool
			g.send = func(token, _ string) channeltest.Answer {
				if good.Load() && token == string(target(7).Address) {
					return accept
				}
				return c.answer
			}
			s := g.sender(t, channel.Options{}, nil)
			for i, r := range results(t, s, job(), targets(20)) {
				if r.Outcome != c.some {
					t.Errorf("none passes: target %d: %+v, want %s", i, r, c.some)
				}
			}
			good.Store(true)
			for i, r := range results(t, s, job(), targets(20)) {
				if i == 7 && r.Outcome != channel.Accepted || i != 7 && r.Outcome != c.proven {
					t.Errorf("one passes: target %d: %+v, want %s", i, r, c.proven)
				}
			}
			if g.tokens != 1 {
				t.Errorf("%d access tokens, want 1", g.tokens)
			}

			good.Store(false)
			d, err := New(Options{BaseURL: g.URL, TokenURL: g.URL + "/token", Roots: g.Roots, Rate: -1})
			if err != nil {
				t.Fatal(err)
			}
			known, err := d.Open(channel.Credential{App: 1, Certificate: 1, Secret: secretOf(t, members()), Proven: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { known.Close() })
			for i, r := range results(t, known, job(), targets(20)) {
				if r.Outcome != c.proven {
					t.Errorf("none passes, of a credential that is known: target %d: %+v, want %s", i, r, c.proven)
				}
			}
		})
	}
}

func TestBadTargets(t *testing.T) {
	g := newGoogle(t, true)
	list := targets(5)
	list[0].Kind = channel.VoIP
	list[1].Address = ""
	list[2].Address = "\xff\xfe token"
	list[3].Address = channel.Address(strings.Repeat("x", maxToken+1))
	for i, r := range results(t, g.sender(t, channel.Options{}, nil), job(), list) {
		if i == 4 && r.Outcome != channel.Accepted || i != 4 && (r.Outcome != channel.Rejected || r.Words == "" || r.Status != 0) {
			t.Errorf("target %d: %+v", i, r)
		}
	}
	if n := len(g.Requests()); n != 2 {
		t.Errorf("%d requests, want a token and a message", n)
	}
}

// TestEndsWhileItWaits lets an hour pass between two messages.
func TestEndsWhileItWaits(t *testing.T) {
	g := newGoogle(t, true)
	s := g.sender(t, channel.Options{}, nil)
	var calls atomic.Int64
	begin := time.Now()
	s.now = func() time.Time {
		if calls.Add(1) == 1 {
			return begin
		}
		return begin.Add(time.Hour)
	}
	j := job()
	j.Expires = begin.Add(time.Minute)
	if r := results(t, s, j, targets(1))[0]; r.Outcome != channel.Retry || r.Code != channel.CodeStopped {
		t.Errorf("got %+v, want that it was not sent", r)
	}
	if r := results(t, s, j, targets(1))[0]; r.Outcome != channel.Accepted { // now or never
		t.Errorf("got %+v, want accepted", r)
	}
}

// TestQuotaSlows shows that the quota of the project holds the pace, and that of a device
// does not.
func TestQuotaSlows(t *testing.T) {
	for _, lane := range []bool{false, true} {
		g := newGoogle(t, true)
		subject := "device"
		if lane {
			subject = "project"
		}
		g.send = func(string, string) channeltest.Answer {
			return refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmError("QUOTA_EXCEEDED"), quotaFailure(subject, ""))
		}
		s := g.sender(t, channel.Options{}, nil)
		results(t, s, job(), targets(1))
		_, held := s.pace.Rate()
		if got := time.Until(held) > 30*time.Second; got != lane {
			t.Errorf("quota of the %s: held until %s", subject, held)
		}
	}
}

func TestTest(t *testing.T) {
	for name, c := range map[string]struct {
		answer channeltest.Answer
		ok     bool
		words  string
	}{
		"good":        {refusal(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", fcmError("INVALID_ARGUMENT")), true, "The registration token is not a valid FCM registration token"},
		"permission":  {refusal(403, "PERMISSION_DENIED", "Permission denied."), false, "Permission denied."},
		"no project":  {refusal(404, "NOT_FOUND", "Requested entity was not found."), false, "Requested entity was not found."},
		"out of work": {refusal(503, "UNAVAILABLE", "Later.", fcmError("UNAVAILABLE")), false, "Later."},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGoogle(t, true)
			g.send = func(string, string) channeltest.Answer { return c.answer }
			s := g.sender(t, channel.Options{}, func(o *Options) { o.Rate = 5000 })
			h, err := s.Test(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if h.OK != c.ok || h.Words != c.words || h.Took <= 0 {
				t.Errorf("got %+v", h)
			}
			if c.ok && (h.PerConn <= 0 || h.Rate <= 0 || h.Rate > 5000) {
				t.Errorf("%d requests on a connection, %d messages a second", h.PerConn, h.Rate)
			}
			for _, r := range g.Requests() {
				if r.Path != "/token" && !strings.Contains(r.Body, `"validate_only":true`) {
					t.Errorf("a request that is no test: %s", r.Body)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newGoogle(t, true).sender(t, channel.Options{}, nil).Test(ctx); err == nil {
		t.Error("a test that was stopped has no error")
	}
}

func TestClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, 90 * time.Second} {
		g := newGoogle(t, true)
		g.send = func(string, string) channeltest.Answer {
			return with(accept, "Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		}
		s := g.sender(t, channel.Options{}, nil)
		results(t, s, job(), targets(1))
		if got := s.Clock(); (got - ahead).Abs() > 30*time.Second {
			t.Errorf("clock is %s ahead, want %s", got, ahead)
		}
	}
}

// FuzzClassify reads any answer: there is one outcome, and nothing long, broken or secret
// in it.
func FuzzClassify(f *testing.F) {
	for _, r := range rows {
		f.Add(r.Answer.Status, r.Answer.Body, r.Answer.Header["Retry-After"], false)
	}
	f.Add(400, `{"error":{"message":"TOKEN","status":"TOKEN","details":[{"errorCode":"TOKEN"}]}}`, "Wed, 25 Nov 2026 14:02:00 GMT", true)
	f.Add(404, `{"error":{"details":[null,7,{"violations":[null]}]}}`, "-1", false)
	const bearer = "ya29.a0AfH6SMBx4kQ9zL2vT7"
	token := string(target(5).Address)
	f.Fuzz(func(t *testing.T, status int, body, after string, broken bool) {
		status = 200 + (status%400+400)%400
		body = strings.NewReplacer("TOKEN", token, "BEARER", bearer).Replace(body)
		a := answer{status: status, header: http.Header{"Retry-After": {after}}, body: []byte(body), broken: broken}
		r, d := classify(a, time.Now(), token, bearer)
		if err := channeltest.Bounded(r, token, bearer); err != nil {
			t.Errorf("%v: %+v", err, r)
		}
		if r.Status != status || r.After > maxAfter {
			t.Errorf("%+v", r)
		}
		if r.Outcome == channel.Gone && (status < 400 || status >= 500) || r.Outcome == channel.Accepted && status != 200 {
			t.Errorf("status %d: %s", status, r.Outcome)
		}
		if d == tokenRefused && status != 401 {
			t.Errorf("status %d blames the access token", status)
		}
	})
}

func TestHide(t *testing.T) {
	secret := "abcdefghijklmnopqrstuvwxyz"
	for text, want := range map[string]string{
		"":                                  "",
		"short":                             "short",
		"token abcdefghijklmnopqrstuvwxyz!": "token …!",
		"part abcdefghijkl":                 "part …",
		"part abcdefghijk":                  "part abcdefghijk",
		"mnopqrstuvwxyz and cdefghijklmnop": "… and …",
	} {
		if got := hide(text, secret); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for range 1000 { // no place of a cut shows a part
		from := rand.IntN(len(secret))
		text := fmt.Sprintf("%s%s", secret[from:], secret[:rand.IntN(len(secret))])
		if got := hide(text, secret); channeltest.Shows(got, secret) {
			t.Fatalf("%q of %q shows the secret", got, text)
		}
	}
}

// TestWordsArePrintable: the words of a provider go to terminals and logs.
func TestWordsArePrintable(t *testing.T) {
	for words, want := range map[string]string{
		"a\r\nb\x1b[31m\x00":                  "a  b [31m",
		"\u202egnorw\u2066\u200b\ufeff\u2028": "gnorw",
		"größer als 4096 字节":                  "größer als 4096 字节",
	} {
		if got := clean(words); got != want {
			t.Errorf("%q became %q, want %q", words, got, want)
		}
	}
}
