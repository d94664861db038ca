package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	var mu sync.Mutex
	removed := make(map[string]int)
	target := serve(t, func(r *http.Request, body []byte) string {
		if r.URL.Query().Get("usersig") != "eJw*a-b_" || r.URL.Path != "/v4/timpush/remove_attr" || r.Method != http.MethodPost {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		var in struct {
			UserAttrs []struct {
				ToAccount string `json:"To_Account"`
				Attrs     []string
			}
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, u := range in.UserAttrs {
			removed[u.ToAccount]++
		}
		return ok
	})
	r, err := Run(t.Context(), target, RemoveAttr(Shuffled(1000, 1), 10), 8, Options{})
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if r.Requests != 100 || r.Users != 1000 || r.Latency.Count() != 100 || len(removed) != 1000 {
		t.Errorf("%v; %d users removed", r, len(removed))
	}
}

func TestRunCountsErrors(t *testing.T) {
	var n atomic.Int64
	target := serve(t, func(*http.Request, []byte) string {
		switch n.Add(1) % 4 {
		case 0:
			return `{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":60007}`
		case 1:
			return `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ErrorList":[{"To_Account":"x","ErrorCode":70107}]}`
		}
		return ok
	})
	r, err := Run(t.Context(), target, GetAttr(InOrder(10), 1), 2, Options{Requests: 100})
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 50 || r.Errors[60007] != 25 || r.Errors[70107] != 25 || r.Failed() != 50 || r.Err() == nil {
		t.Errorf("got %v", r)
	}
}

func TestRunOpensConnectionsAgain(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 10 {
		case 0:
			panic(http.ErrAbortHandler)
		case 5:
			w.Header().Set("Connection", "close")
		}
		_, _ = io.WriteString(w, ok)
	}))
	defer s.Close()
	r, err := Run(t.Context(), Target{URL: s.URL}, GetAttr(InOrder(10), 1), 1, Options{Requests: 40})
	if err != nil || r.Requests != 36 || r.Errors[Broken] != 4 {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestRunGivesUp(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer s.Close()
	r, err := Run(t.Context(), Target{URL: s.URL}, GetAttr(InOrder(10), 1), 1, Options{Requests: 40})
	if err == nil || r.Errors[Broken] != maxBroken {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestRunPersists(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer s.Close()
	r, err := Run(t.Context(), Target{URL: s.URL}, GetAttr(InOrder(10), 1), 1, Options{Requests: 2 * maxBroken, Persist: true})
	if err != nil || r.Errors[Broken] != 2*maxBroken {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestRunFromSource(t *testing.T) {
	source := netip.MustParseAddr("127.0.0.7")
	target := serve(t, func(r *http.Request, _ []byte) string {
		if !strings.HasPrefix(r.RemoteAddr, source.String()+":") {
			t.Errorf("a request comes from %s, want %s", r.RemoteAddr, source)
		}
		return ok
	})
	target.Source = source
	r, err := Run(t.Context(), target, GetAttr(InOrder(10), 1), 2, Options{Requests: 10})
	if err != nil || r.Requests != 10 {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestRunOverTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, ok)
	}))
	defer s.Close()
	config := s.Client().Transport.(*http.Transport).TLSClientConfig
	r, err := Run(t.Context(), Target{URL: s.URL, TLS: config}, GetAttr(InOrder(10), 1), 2, Options{Requests: 20})
	if err != nil || r.Requests != 20 {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestRunEndsWithItsDuration(t *testing.T) {
	target := serve(t, func(*http.Request, []byte) string { return ok })
	for _, rate := range []float64{0, 10} {
		r, err := Run(t.Context(), target, GetAttr(InOrder(10), 1), 2, Options{Duration: 150 * time.Millisecond, Rate: rate})
		if err != nil || r.Requests == 0 || r.Elapsed < 100*time.Millisecond || r.Elapsed > 5*time.Second {
			t.Errorf("rate %v: %v, %v", rate, r, err)
		}
	}
}

// stall starts a server that never answers; it gives up when its test ends.
func stall(t *testing.T) Target {
	release := make(chan struct{})
	target := serve(t, func(*http.Request, []byte) string { <-release; return ok })
	t.Cleanup(func() { close(release) })
	return target
}

func TestRunEndsWithItsContext(t *testing.T) {
	target := stall(t)
	for _, rate := range []float64{0, 100} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		r, err := Run(ctx, target, GetAttr(InOrder(10), 1), 2, Options{Duration: time.Minute, Rate: rate})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || r.Failed() != 0 || r.Elapsed > 5*time.Second {
			t.Errorf("rate %v: %v, %v", rate, r, err)
		}
	}
}

func TestRunWaitsNoLongerThanItsGrace(t *testing.T) {
	o := Options{Duration: 20 * time.Millisecond, Grace: 30 * time.Millisecond}
	r, err := Run(t.Context(), stall(t), GetAttr(InOrder(10), 1), 3, o)
	if err != nil || r.Errors[Broken] != 3 || r.Elapsed > 5*time.Second {
		t.Errorf("got %v, %v", r, err)
	}
}

// One answer that takes long delays, on a single connection, all that are due
// meanwhile: each of them must show it.
func TestPacedLatencyCountsFromTheDueTime(t *testing.T) {
	var n atomic.Int64
	target := serve(t, func(*http.Request, []byte) string {
		if n.Add(1) == 1 {
			time.Sleep(200 * time.Millisecond)
		}
		return ok
	})
	r, err := Run(t.Context(), target, GetAttr(InOrder(10), 1), 1, Options{Rate: 100, Requests: 20})
	if err != nil || r.Requests != 20 {
		t.Fatalf("got %v, %v", r, err)
	}
	// Due 0, 10 ... 190 ms, answered at 200 ms: half of them wait 100 ms or more.
	if p50 := r.Latency.Quantile(0.5); p50 < 80*time.Millisecond {
		t.Errorf("p50 %v does not show the stall", p50)
	}
}

func TestPaceKeepsTheRate(t *testing.T) {
	target := serve(t, func(*http.Request, []byte) string { return ok })
	r, err := Run(t.Context(), target, GetAttr(InOrder(10), 1), 4, Options{Rate: 500, Requests: 101})
	if err != nil || r.Requests != 101 {
		t.Fatalf("got %v, %v", r, err)
	}
	if r.Elapsed < 200*time.Millisecond {
		t.Errorf("the last of 101 requests at 500/s was done after %v", r.Elapsed)
	}
}

func TestRunStopsWhenTold(t *testing.T) {
	target := serve(t, func(*http.Request, []byte) string { return ok })
	stop := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() { close(stop) })
	w := GetAttr(InOrder(10), 1)
	for _, rate := range []float64{0, 100} {
		began := time.Now()
		r, err := Run(t.Context(), target, w, 2, Options{Duration: time.Hour, Rate: rate, Stop: stop})
		if took := time.Since(began); err != nil || r.Err() != nil || took > 5*time.Second {
			t.Errorf("rate %v: %v, %v after %v", rate, r, err, took)
		}
	}
}

func TestTargetsTakeTurns(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	first := serve(t, func(r *http.Request, _ []byte) string {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Query().Get("sdkappid")+r.URL.Path]++
		return ok
	})
	second := first
	second.SDKAppID++
	if err := FillAll(t.Context(), []Target{first, second}, 250, nil); err != nil {
		t.Fatal(err)
	}
	for _, app := range []string{"1400000001", "1400000002"} {
		for command, want := range map[string]int{"timpush/set_attr_name": 1, "im_open_login_svc/multiaccount_import": 3, "timpush/set_attr": 3} {
			if got := seen[app+"/v4/"+command]; got != want {
				t.Errorf("app %s: %d requests of %s, want %d", app, got, command, want)
			}
		}
	}
}
