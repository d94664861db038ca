package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"tidings/internal/testenv"
)

const ok = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`

// serve starts a server that answers each request with what f returns.
func serve(t *testing.T, f func(r *http.Request, body []byte) string) Target {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, f(r, body))
	}))
	t.Cleanup(s.Close)
	return Target{URL: s.URL, SDKAppID: 1400000001, Identifier: "administrator", Ticket: "eJw*a-b_"}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	const n = 100_000
	for i := range n {
		h.Record(time.Duration(i+1) * time.Microsecond)
	}
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := time.Duration(q*n) * time.Microsecond
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/64) {
			t.Errorf("Quantile(%v) = %v, want %v and at most 1/64 more", q, got, want)
		}
	}
	if h.Count() != n || h.Max() != n*time.Microsecond {
		t.Errorf("count %d, max %v", h.Count(), h.Max())
	}
}

func TestHistogramBuckets(t *testing.T) {
	for range 100_000 {
		v := rand.Uint64() >> rand.IntN(64) & (1<<maxBits - 1)
		b := bucket(v)
		if uint64(upper(b)) < v || b > 0 && uint64(upper(b-1)) >= v {
			t.Fatalf("%d is in bucket %d, which is %d to %d", v, b, upper(b-1)+1, upper(b))
		}
	}
	if b := bucket(1 << 63); b != buckets-1 {
		t.Errorf("the largest value is in bucket %d of %d", b, buckets)
	}
}

func TestHistogramAdd(t *testing.T) {
	var a, b, both Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		both.Record(d)
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	if a.Add(&b); a != both {
		t.Errorf("parts give %v, the whole %v", &a, &both)
	}
}

func TestOrdersAreFullCycles(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 10, 97, 100, 1000, 4096, 30030, 99991} {
		for name, u := range map[string]Users{
			"in order": InOrder(n), "shuffled": Shuffled(n, 1), "another": Shuffled(n, 7), "from": Shuffled(n, 1).From(n / 3),
		} {
			seen := make([]bool, n)
			for i := range n {
				if user := u.at(i); seen[user] {
					t.Fatalf("%s, %d users: user %d comes twice", name, n, user)
				} else {
					seen[user] = true
				}
			}
		}
	}
}

func TestLargestPopulation(t *testing.T) {
	u := Shuffled(MaxUsers, 1)
	seen := make(map[uint64]bool)
	for i := range uint64(10_000) {
		seen[u.at(MaxUsers-1-i)] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("%d different users of 10000", len(seen))
	}
}

func TestUser(t *testing.T) {
	for i, want := range map[uint64]string{
		0: "user0000000", 1: "user0000001", 999_999: "user0999999", 5_000_000: "user5000000", 12_345_678: "user12345678",
	} {
		if got := User(i); got != want {
			t.Errorf("User(%d) = %q, want %q", i, got, want)
		}
	}
}

func TestWorkloadBodies(t *testing.T) {
	u := InOrder(10)
	for name, c := range map[string]struct {
		w             Workload
		seq           uint64
		command, body string
	}{
		"remove": {RemoveAttr(u, 2), 1, "timpush/remove_attr", `{"UserAttrs":[` +
			`{"To_Account":"user0000002","Attrs":["sex","city"]},{"To_Account":"user0000003","Attrs":["sex","city"]}]}`},
		"set": {SetAttr(u, 1), 0, "timpush/set_attr", fmt.Sprintf(
			`{"UserAttrs":[{"To_Account":"user0000000","Attrs":{"sex":"%s","city":"%s"}}]}`, attrValue(0, 0), attrValue(1, 0))},
		"get":    {GetAttr(u, 2), 0, "timpush/get_attr", `{"To_Account":["user0000000","user0000001"]}`},
		"import": {Import(u, 1), 3, "im_open_login_svc/multiaccount_import", `{"AccountList":[{"UserID":"user0000003"}]}`},
	} {
		command, body := c.w.Append(nil, c.seq)
		if command != c.command || string(body) != c.body {
			t.Errorf("%s: got %s %s\nwant %s %s", name, command, body, c.command, c.body)
		}
		if !json.Valid(body) {
			t.Errorf("%s: not JSON: %s", name, body)
		}
	}
}

// TestAlternationChangesEveryUser follows what users have, in one app and in
// several, from the start and when a run goes on where another has ended.
func TestAlternationChangesEveryUser(t *testing.T) {
	for _, c := range []struct {
		users uint64
		each  int
	}{{1000, 10}, {1000, 100}, {1234, 100}, {999, 1}, {150, 50}} {
		attrs := FilledAttrs()
		a := Alternate(Shuffled(c.users, 1), c.each, attrs)
		const apps = 3
		var has [apps]map[string][2]string // values by account
		for app := range has {
			has[app] = make(map[string][2]string)
			for i := range c.users {
				has[app][User(i)] = [2]string{attrValue(0, i), attrValue(1, i)}
			}
		}
		var last [apps]map[string][2]string // values before they were removed
		for app := range last {
			last[app] = make(map[string][2]string)
		}
		follow := func(w Workload, seq uint64) {
			command, body := w.Append(nil, seq)
			app := w.Target(seq)
			var in struct {
				UserAttrs []struct {
					ToAccount string `json:"To_Account"`
					Attrs     any
				}
			}
			if err := json.Unmarshal(body, &in); err != nil {
				t.Fatal(err)
			}
			if len(in.UserAttrs) != w.Users {
				t.Fatalf("%d users in a request, want %d", len(in.UserAttrs), w.Users)
			}
			for _, u := range in.UserAttrs {
				old, exists := has[app][u.ToAccount]
				if remove := command == "timpush/remove_attr"; remove != exists {
					t.Fatalf("%+v: request %d, %s: %s has attributes: %v", c, seq, command, u.ToAccount, exists)
				} else if remove {
					last[app][u.ToAccount] = old
					delete(has[app], u.ToAccount)
					continue
				}
				values := u.Attrs.(map[string]any)
				set := [2]string{values[attrs[0].Name].(string), values[attrs[1].Name].(string)}
				if was := last[app][u.ToAccount]; seq > apps*4*c.users && (set[0] == was[0] || set[1] == was[1]) {
					t.Fatalf("%+v: request %d sets %s to %v, and it was %v", c, seq, u.ToAccount, set, was)
				}
				has[app][u.ToAccount] = set
			}
		}
		prime := a.Prime().Over(apps)
		for seq := range prime.Requests {
			follow(prime, seq)
		}
		w := a.Workload().Over(apps)
		total := 15*c.users/uint64(c.each)*apps + 1
		for seq := range total / 2 {
			follow(w, seq)
		}
		w = w.From(total / 2)
		for seq := range total - total/2 {
			follow(w, seq)
		}
		// The first app has had a request more than the others.
		without, n := a.Without((total + apps - 1) / apps)
		for i := range c.users {
			if _, exists := has[0][User(without.at(i))]; exists != (i >= n) {
				t.Fatalf("%+v: %d users in the order of Without: has attributes: %v; %d are said to have none", c, i, exists, n)
			}
		}
	}
}

func TestAttrValuesAreSkewed(t *testing.T) {
	seen := make([]map[string]int, len(attrNames))
	for attr := range attrNames {
		seen[attr] = make(map[string]int)
		for user := range uint64(100_000) {
			seen[attr][attrValue(attr, user)]++
		}
	}
	if len(seen[0]) != 2 || len(seen[1]) != 300 || len(seen[2]) != 50 {
		t.Errorf("%d, %d and %d values, want 2, 300, 50", len(seen[0]), len(seen[1]), len(seen[2]))
	}
	if first, last := seen[1]["city000"], seen[1]["city299"]; first < 20*last {
		t.Errorf("city000 %d times, city299 %d times", first, last)
	}
}

func TestRequestBytes(t *testing.T) {
	u, err := url.Parse("http://push.example:8080/base/")
	if err != nil {
		t.Fatal(err)
	}
	h := newHead(u, Target{SDKAppID: 88888888, Identifier: "ops admin", Ticket: "eJw*a-b_"})
	got := h.appendRequest(nil, "timpush/remove_attr", 7, []byte("{}"))
	want := "POST /base/v4/timpush/remove_attr?sdkappid=88888888&identifier=ops+admin&usersig=eJw*a-b_&contenttype=json&random=7 HTTP/1.1\r\n" +
		"Host: push.example:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReadAnswer(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5000)
	for name, c := range map[string]struct {
		in     string
		status int
		body   string
		close  bool
	}{
		"length":     {"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 5\r\n\r\nhello", 200, "hello", false},
		"empty":      {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 502, "", true},
		"chunks":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, you ther\r\n1\r\ne\r\n0\r\n\r\n", 200, "hello, you there", false},
		"trailer":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n", 200, "x", false},
		"long":       {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), 200, long, false},
		"long chunk": {fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n3\r\nend\r\n0\r\n\r\n", len(long), long), 200, long + "end", false},
	} {
		for how, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.in), "by byte": iotest.OneByteReader(strings.NewReader(c.in)), "halves": iotest.HalfReader(strings.NewReader(c.in)),
		} {
			var buf []byte
			a, err := readAnswer(r, &buf)
			if err != nil || a.status != c.status || string(a.body) != c.body || a.close != c.close {
				t.Errorf("%s, %s: status %d, %d bytes, close %v, %v", name, how, a.status, len(a.body), a.close, err)
			}
		}
	}
}

func TestReadAnswerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   io.Reader
		want error
	}{
		"nothing":       {strings.NewReader(""), io.ErrUnexpectedEOF},
		"cut off":       {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"), io.ErrUnexpectedEOF},
		"not HTTP":      {strings.NewReader("SSH-2.0-OpenSSH_9.9\r\n\r\n"), errBadAnswer},
		"no length":     {strings.NewReader("HTTP/1.1 200 OK\r\n\r\nhello"), errBadAnswer},
		"bad length":    {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"), errBadAnswer},
		"two answers":   {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhello"), errBadAnswer},
		"too long":      {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"), errAnswerTooLarge},
		"endless head":  {io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\n"), endless("X: y\r\n")), errAnswerTooLarge},
		"long chunk":    {strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"), errAnswerTooLarge},
		"endless chunk": {io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), endless("1\r\nx\r\n")), errAnswerTooLarge},
		"bad chunk":     {strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), errBadAnswer},
	} {
		var buf []byte
		if _, err := readAnswer(c.in, &buf); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// endless repeats a text past every limit.
func endless(s string) io.Reader { return strings.NewReader(strings.Repeat(s, maxAnswerBytes)) }

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var whole, split []byte
		a, err := readAnswer(bytes.NewReader(in), &whole)
		b, err2 := readAnswer(iotest.OneByteReader(bytes.NewReader(in)), &split)
		// Bytes after the answer are only noticed when they come with it.
		if err == nil && (err2 != nil || !bytes.Equal(a.body, b.body) || a.status != b.status) {
			t.Fatalf("whole %q, %v; by byte %q, %v", a.body, err, b.body, err2)
		}
	})
}

func TestCode(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		partial bool
		want    int
	}{
		{200, ok, false, 0},
		{200, `{"ErrorCode" : 0 }`, false, 0},
		{200, `{"ActionStatus":"FAIL","ErrorInfo":"invalid attribute","ErrorCode":90033}`, true, 90033},
		{200, `{"ErrorCode":0,"ErrorList":[{"To_Account":"x","ErrorCode":70107,"ErrorInfo":""}]}`, false, 70107},
		{200, `{"ErrorCode":0,"ErrorList":[{"To_Account":"x","ErrorCode":70107,"ErrorInfo":""}]}`, true, 0},
		{200, `{"ErrorCode":0,"ErrorList":[]}`, false, 0},
		{200, `{"ErrorCode":0,"FailAccounts":["x"]}`, false, Broken},
		{200, `{"ErrorCode":0,"UserAttrs":[{"To_Account":"\"ErrorList\":[1]"}]}`, false, 0},
		{200, `<html>`, false, Broken},
		{502, `<html>`, false, 502},
	} {
		if got := (answer{status: c.status, body: []byte(c.body)}).code(c.partial); got != c.want {
			t.Errorf("code of %d %s, partial %v: %d, want %d", c.status, c.body, c.partial, got, c.want)
		}
	}
}

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

// canned is a connection whose other end has always answered.
type canned struct {
	net.Conn
	answer string
	rest   string
}

func (c *canned) Write(b []byte) (int, error) { c.rest = c.answer; return len(b), nil }
func (c *canned) Read(b []byte) (int, error) {
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func TestRequestsDoNotAllocate(t *testing.T) {
	for name, w := range map[string]Workload{
		"remove": RemoveAttr(Shuffled(1000, 1), 100), "alternation": Alternate(Shuffled(1000, 1), 100, FilledAttrs()).Workload(), "get": GetAttr(Random(1000, 1), 100),
	} {
		answer := "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n" + ok
		c := &conn{work: w, heads: make([]head, 1), wire: wire{nc: &canned{answer: answer}}}
		seq := uint64(0)
		allocs := testing.AllocsPerRun(1000, func() {
			c.prepare(seq)
			if code, err := c.exchange(t.Context()); code != 0 || err != nil {
				t.Fatal(code, err)
			}
			seq++
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per request", name, allocs)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	answer := "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n" + ok
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			c := &conn{work: RemoveAttr(Shuffled(1_000_000, 1), n), heads: make([]head, 1), wire: wire{nc: &canned{answer: answer}}}
			b.ReportAllocs()
			for seq := uint64(0); b.Loop(); seq++ {
				c.prepare(seq)
				if code, err := c.exchange(b.Context()); code != 0 || err != nil {
					b.Fatal(code, err)
				}
			}
		})
	}
}

func TestFill(t *testing.T) {
	var mu sync.Mutex
	accounts, values := make(map[string]bool), make(map[string]map[string]string)
	var names string
	target := serve(t, func(r *http.Request, body []byte) string {
		mu.Lock()
		defer mu.Unlock()
		var in struct {
			AccountList []struct{ UserID string }
			UserAttrs   []struct {
				ToAccount string `json:"To_Account"`
				Attrs     map[string]string
			}
		}
		if r.URL.Path == "/v4/timpush/set_attr_name" {
			names = string(body)
			return ok
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		for _, a := range in.AccountList {
			accounts[a.UserID] = true
		}
		for _, u := range in.UserAttrs {
			values[u.ToAccount] = u.Attrs
		}
		return ok
	})
	if err := Fill(t.Context(), target, 1234, func(uint64, uint64) {}); err != nil {
		t.Fatal(err)
	}
	if want := `{"AttrNames":{"0":"sex","1":"city","2":"country"}}`; names != want {
		t.Errorf("names %s, want %s", names, want)
	}
	if len(accounts) != 1234 || len(values) != 1234 || len(values[User(1233)]) != 3 {
		t.Errorf("%d accounts, %d with values, the last has %v", len(accounts), len(values), values[User(1233)])
	}
}

func TestFillTellsWhatWasRefused(t *testing.T) {
	target := serve(t, func(*http.Request, []byte) string {
		return `{"ActionStatus":"FAIL","ErrorInfo":"no admin","ErrorCode":90009}`
	})
	if err := Fill(t.Context(), target, 10, nil); err == nil || !strings.Contains(err.Error(), "no admin") {
		t.Errorf("got %v", err)
	}
}

func TestBaseline(t *testing.T) {
	body := `{"ErrorCode":0,"UserAttrs":"` + strings.Repeat("x", 10_000) + `"}`
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := BaselineProcess(ctx, strings.NewReader(body), w); err != nil {
			t.Error(err)
		}
	})
	var at string
	if _, err := fmt.Fscanf(r, "baseline on %s\n", &at); err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), Target{URL: at}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Call(t.Context(), "timpush/get_attr", "{}")
	if err != nil || string(got) != body {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(body))
	}
	resp, err := http.Post(at, "", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if id := resp.Header.Get("X-Request-Id"); len(id) != 16 || resp.ContentLength != int64(len(body)) {
		t.Errorf("request id %q, length %d", id, resp.ContentLength)
	}
	cancel()
	wg.Wait()
}

func TestRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	testenv.Need(t, "redis-server", err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, RedisArgs(port, t.TempDir())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if err := AwaitRedis(ctx, addr); err != nil {
		t.Fatal(err)
	}
	c, err := DialRedis(ctx, addr, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Fill(ctx, 1050); err != nil {
		t.Fatal(err)
	}
	a := Alternate(Shuffled(1050, 1), 50, FilledAttrs())
	if err := c.Prime(ctx, a); err != nil {
		t.Fatal(err)
	}
	for first := uint64(0); first < 150; first += 50 {
		r, err := c.Alternate(ctx, a, first, Options{Requests: 50})
		if err != nil || r.Err() != nil || r.Users != 50*50 {
			t.Fatalf("from request %d: %v, %v", first, r, err)
		}
	}
	// A second time the users do not have what it removes.
	if err := c.Prime(ctx, a); err == nil {
		t.Error("no error of commands that change nothing")
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
