package channeltest

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/channel"
)

// A Subject is a provider that the suite tests.
type Subject struct {
	// Open opens a Sender with working credentials for a fake at base, whose requests may
	// take a time. It begins without a ramp and without a limit of its rate.
	Open   func(t testing.TB, base string, roots *x509.CertPool, timeout time.Duration) channel.Sender
	Job    func() *channel.Job
	Target func(i int) channel.Target

	Accept  Answer   // of a provider that took the message
	Gone    Answer   // that says that the token is dead
	Refused Answer   // that says that these credentials may not send
	Rows    []Row    // everything else that the provider's documents list
	Secrets []string // of the credentials: they never show
	Anew    bool     // a copy of Job replaces silently what arrived
}

// A Row is a documented answer of a provider, and what it means.
type Row struct {
	Name   string
	Answer Answer
	Want   channel.Result // Status is that of the answer, and Took is not compared
}

// long is a timeout that no slow day reaches.
const long = time.Minute

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	t.Run("rows", s.rows)
	t.Run("every target has one result", s.everyTarget)
	t.Run("secrets", s.secrets)
	t.Run("bodies", s.bodies)
	t.Run("stopped before", s.stoppedBefore)
	t.Run("stopped meanwhile", s.stoppedMeanwhile)
	t.Run("closed", s.closed)
	t.Run("refused credentials", s.refusedCredentials)
	t.Run("hang", s.hang)
	t.Run("wire", s.wire)
	t.Run("unreachable", s.unreachable)
	t.Run("payload", s.payload)
}

// one sends one message to a fake that gives an answer.
func (s Subject) one(t *testing.T, a Answer) channel.Result {
	t.Helper()
	f := NewFake(t, true, func(*http.Request, string) Answer { return a })
	sender := s.Open(t, f.URL, f.Roots, long)
	return Send(t, t.Context(), sender, s.Job(), []channel.Target{s.Target(0)})[0]
}

func (s Subject) rows(t *testing.T) {
	rows := append([]Row{
		{"accepted", s.Accept, channel.Result{Outcome: channel.Accepted}},
		{"redirect", Answer{Status: 307, Header: map[string]string{"Location": "/elsewhere"}}, channel.Result{Outcome: channel.Retry, Code: "HTTP_307", Lane: true}},
	}, s.Rows...)
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			got, want := s.one(t, row.Answer), row.Want
			if got.Took <= 0 {
				t.Errorf("took %s", got.Took)
			}
			want.Status, got.Took = row.Answer.Status, 0
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// everyTarget sends many at once to a fake with all its tempers.
func (s Subject) everyTarget(t *testing.T) {
	answers := []Answer{s.Accept, s.Gone, {Status: 500}, {Status: 200, Reset: true}, s.Accept, {Status: 418, Body: "\xff"}, {Status: 200, Short: true, Body: "{"}}
	var n atomic.Int64
	f := NewFake(t, true, func(*http.Request, string) Answer { return answers[n.Add(1)%int64(len(answers))] })
	sender := s.Open(t, f.URL, f.Roots, long)
	targets := s.targets(300)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i, r := range Send(t, t.Context(), sender, s.Job(), targets) {
				s.bounded(t, i, r)
			}
		})
	}
	wg.Wait()
}

func (s Subject) targets(n int) []channel.Target {
	list := make([]channel.Target, n)
	for i := range list {
		list[i] = s.Target(i)
	}
	return list
}

// bounded checks what holds for every result.
func (s Subject) bounded(t *testing.T, i int, r channel.Result) {
	t.Helper()
	if err := Bounded(r, append([]string{string(s.Target(i).Address)}, s.Secrets...)...); err != nil {
		t.Errorf("target %d: %v", i, err)
	}
}

// secrets lets the fake say all that it knows.
func (s Subject) secrets(t *testing.T) {
	for _, status := range []int{200, 204, 302, 400, 401, 403, 404, 410, 413, 429, 500, 503} {
		for _, format := range []string{"%s", `{"error":{"message":%q,"status":%[1]q,"details":[{"errorCode":%[1]q}]},"reason":%[1]q}`} {
			f := NewFake(t, true, nil)
			var authorization atomic.Value
			f.answer = func(r *http.Request, body string) Answer {
				authorization.Store(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
				all := r.Header.Get("Authorization") + " " + r.URL.Path + " " + body + string(s.Target(0).Address)[3:] + strings.Join(s.Secrets, " ")
				return Answer{Status: status, Body: fmt.Sprintf(format, all)}
			}
			sender := s.Open(t, f.URL, f.Roots, long)
			r := Send(t, t.Context(), sender, s.Job(), []channel.Target{s.Target(0)})[0]
			s.bounded(t, 0, r)
			if bearer, ok := authorization.Load().(string); ok && bearer != "" {
				if err := Bounded(r, bearer); err != nil {
					t.Error(err)
				}
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				text := fmt.Sprintf(verb, sender)
				for _, secret := range s.Secrets {
					if Shows(text, secret) {
						t.Errorf("%s of the sender shows a secret", verb)
					}
				}
			}
		}
	}
}

// bodies are those that no provider should send.
func (s Subject) bodies(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	slow := s.Accept
	slow.Slow = 20 * time.Millisecond
	for name, c := range map[string]struct {
		answer Answer
		want   channel.Outcome
	}{
		"slow":                       {slow, channel.Accepted},
		"accepted, broken off":       {Answer{Status: s.Accept.Status, Body: "{", Short: true}, channel.Accepted},
		"huge error":                 {Answer{Status: 500, Body: huge}, channel.Retry},
		"huge JSON":                  {Answer{Status: 400, Body: `{"error":{"message":"` + huge + `"}}`}, channel.Retry},
		"truncated JSON":             {Answer{Status: s.Gone.Status, Body: s.Gone.Body[:len(s.Gone.Body)/2]}, channel.Retry},
		"broken off":                 {Answer{Status: s.Gone.Status, Body: s.Gone.Body[:len(s.Gone.Body)/2], Short: true}, channel.Retry},
		"no UTF-8":                   {Answer{Status: 500, Body: "\xff\xfe\x00\x80"}, channel.Retry},
		"a page of a proxy":          {Answer{Status: 502, Body: "<html>Bad Gateway</html>"}, channel.Retry},
		"reset after it was written": {Answer{Reset: true}, channel.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.one(t, c.answer)
			if r.Outcome != c.want {
				t.Errorf("got %+v, want %s", r, c.want)
			}
			if r.Outcome == channel.Unknown && r.Replaces != s.Anew {
				t.Errorf("replaces %v, want %v", r.Replaces, s.Anew)
			}
			s.bounded(t, 0, r)
		})
	}
}

func (s Subject) stoppedBefore(t *testing.T) {
	f := NewFake(t, true, func(*http.Request, string) Answer { return s.Accept })
	sender := s.Open(t, f.URL, f.Roots, long)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i, r := range Send(t, ctx, sender, s.Job(), s.targets(100)) {
		if r.Outcome != channel.Retry || r.Code != channel.CodeStopped || r.Status != 0 {
			t.Fatalf("target %d: %+v, want a Retry with the code %s", i, r, channel.CodeStopped)
		}
	}
	if n := len(f.Requests()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

// stoppedMeanwhile ends the context while messages are on their way.
func (s Subject) stoppedMeanwhile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	f := NewFake(t, true, func(*http.Request, string) Answer {
		a, place := s.Accept, n.Add(1)
		if place == 20 {
			cancel()
		}
		if place > 1 { // the first is answered, so that the others can be on their way
			a.Before = func() { <-ctx.Done() }
		}
		return a
	})
	sender := s.Open(t, f.URL, f.Roots, long)
	sent := 0
	for i, r := range Send(t, ctx, sender, s.Job(), s.targets(2000)) {
		switch {
		case r.Outcome == channel.Accepted:
			sent++
		case r.Outcome != channel.Retry || r.Code != channel.CodeStopped || r.Status != 0:
			t.Fatalf("target %d: %+v, want accepted or stopped", i, r)
		}
	}
	if got := int(n.Load()); sent != got || sent < 20 || sent == 2000 {
		t.Errorf("%d accepted of %d that were sent, want all of them, at least 20, and less than 2000", sent, got)
	}
}

func (s Subject) closed(t *testing.T) {
	f := NewFake(t, true, func(*http.Request, string) Answer { return s.Accept })
	sender := s.Open(t, f.URL, f.Roots, long)
	for range 2 {
		if err := sender.Close(); err != nil {
			t.Error(err)
		}
	}
	for i, r := range Send(t, t.Context(), sender, s.Job(), s.targets(10)) {
		if r.Outcome != channel.Retry || r.Code != channel.CodeStopped {
			t.Fatalf("target %d: %+v, want a Retry with the code %s", i, r, channel.CodeStopped)
		}
	}
}

// refusedCredentials shows that no storm follows.
func (s Subject) refusedCredentials(t *testing.T) {
	var n atomic.Int64
	f := NewFake(t, true, func(*http.Request, string) Answer { n.Add(1); return s.Refused })
	sender := s.Open(t, f.URL, f.Roots, long)
	for i, r := range Send(t, t.Context(), sender, s.Job(), s.targets(5000)) {
		if r.Outcome != channel.Unauthorized || r.Words == "" {
			t.Fatalf("target %d: %+v, want unauthorized with words", i, r)
		}
	}
	if n.Load() > 2500 {
		t.Errorf("%d requests with credentials that are refused, want few", n.Load())
	}
}

func (s Subject) hang(t *testing.T) {
	f := NewFake(t, true, func(*http.Request, string) Answer { return Answer{Hang: true} })
	sender := s.Open(t, f.URL, f.Roots, 100*time.Millisecond)
	r := Send(t, t.Context(), sender, s.Job(), []channel.Target{s.Target(0)})[0]
	// On a very slow day the time is over before there is a connection.
	if r.Outcome != channel.Unknown && r.Outcome != channel.Retry || r.Status != 0 {
		t.Errorf("got %+v, want unknown", r)
	}
}

// wire loses connections under load.
func (s Subject) wire(t *testing.T) {
	for name, c := range map[string]struct {
		act  Act
		lost bool // what was on its way may have been processed
	}{
		"refused": {Refuse, false}, "goaway": {GoAway, false}, "goaway with an error": {GoAwayFor, false},
		"goaway and a last answer": {LastAnswer, false},
		"goaway and gone":          {Quit, true}, "cut": {Cut, true}, "reset": {Cancel, true},
	} {
		t.Run(name, func(t *testing.T) {
			reply := Move{Do: Reply, Status: s.Accept.Status, Body: s.Accept.Body}
			t.Parallel() // a lost connection is made again after a second
			var n atomic.Int64
			w := NewWire(t, 50, func(int, int, string) Move {
				if n.Add(1) == 100 {
					return Move{Do: c.act, Status: s.Accept.Status, Body: s.Accept.Body}
				}
				return reply
			})
			sender := s.Open(t, w.URL, nil, long)
			unknown := 0
			for i, r := range Send(t, t.Context(), sender, s.Job(), s.targets(500)) {
				switch r.Outcome {
				case channel.Accepted:
				case channel.Unknown:
					unknown++
					if r.Replaces != s.Anew {
						t.Errorf("target %d: replaces %v, want %v", i, r.Replaces, s.Anew)
					}
				default:
					t.Errorf("target %d: %+v", i, r)
				}
				s.bounded(t, i, r)
			}
			if c.lost != (unknown > 0) || unknown > 100 {
				t.Errorf("%d unknown", unknown)
			}
		})
	}
}

func (s Subject) unreachable(t *testing.T) {
	sender := s.Open(t, "http://127.0.0.1:1", nil, long)
	for i, r := range Send(t, t.Context(), sender, s.Job(), s.targets(20)) {
		if r.Outcome != channel.Retry || !r.Lane || r.Words == "" {
			t.Fatalf("target %d: %+v, want a Retry of the lane", i, r)
		}
	}
}

// payload compares what is said to be sent with what is sent.
func (s Subject) payload(t *testing.T) {
	f := NewFake(t, true, func(*http.Request, string) Answer { return s.Accept })
	sender := s.Open(t, f.URL, f.Roots, long)
	job, target := s.Job(), s.Target(0)
	job.Expires = time.Now() // the time to live is 0 both times
	p, err := sender.Payload(job, &target)
	if err != nil {
		t.Fatal(err)
	}
	Send(t, t.Context(), sender, job, []channel.Target{target})
	shown := strings.NewReplacer(string(target.Address), target.Address.Last6())
	for _, r := range f.Requests() {
		if got := shown.Replace(r.Body); got != string(p.Body) {
			t.Errorf("sent %s\nsaid %s", got, p.Body)
		}
	}
	if p.Bytes <= 0 || p.Bytes > p.Limit {
		t.Errorf("%d bytes of at most %d", p.Bytes, p.Limit)
	}
	if Shows(string(p.Body), string(target.Address)) {
		t.Errorf("the payload shows the token: %s", p.Body)
	}
}
