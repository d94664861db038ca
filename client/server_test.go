package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/client"
	"tidings/internal/usersig"
)

const (
	secret = "5ec2e70123456789abcdef0123456789abcdef0123456789abcdef0123456789"
	appID  = 1400000001
	ok     = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`
)

// fail is the answer for a code.
func fail(code string) string {
	return `{"ActionStatus":"FAIL","ErrorInfo":"no","ErrorCode":` + code + `}`
}

// A call is a request as the server has seen it.
type call struct {
	command, body, ticket string
	at                    time.Time
}

// A server speaks the envelope: it verifies the ticket and gives its answers in
// turn, the last one for good. An answer that is three digits is an HTTP
// status, "cut" ends the connection without one.
type server struct {
	t       *testing.T
	answers []string

	mu    sync.Mutex
	calls []call
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q := r.URL.Query()
	if _, _, err := usersig.Verify(usersig.Request{Ticket: q.Get("usersig"), Identifier: q.Get("identifier"), SDKAppID: appID, Keys: []string{secret}, Now: time.Now()}); err != nil {
		s.t.Errorf("usersig of %s: %v", r.URL.Path, err)
	}
	if q.Get("contenttype") != "json" || q.Get("random") == "" || q.Get("sdkappid") != "1400000001" || r.Method != http.MethodPost {
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
	s.mu.Lock()
	answer := s.answers[min(len(s.calls), len(s.answers)-1)]
	s.calls = append(s.calls, call{strings.TrimPrefix(r.URL.Path, "/v4/"), string(body), q.Get("usersig"), time.Now()})
	s.mu.Unlock()
	w.Header().Set("X-Request-Id", "req-1")
	switch {
	case answer == "cut":
		panic(http.ErrAbortHandler)
	case len(answer) == 3:
		w.WriteHeader(map[string]int{"502": 502, "404": 404, "307": 307}[answer])
	default:
		_, _ = io.WriteString(w, answer)
	}
}

// seen are the requests so far.
func (s *server) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// newClient makes a client of s over TCP.
func newClient(t *testing.T, s *server, opts ...client.Option) *client.Client {
	t.Helper()
	s.t = t
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	c, err := client.New(h.URL, appID, secret, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newBubbleClient makes a client of s over pipes, which a synctest bubble can
// see through. stop ends the server.
func newBubbleClient(t *testing.T, s *server, opts ...client.Option) (c *client.Client, stop func()) {
	t.Helper()
	s.t = t
	l := pipes{make(chan net.Conn), make(chan struct{})}
	h := &http.Server{Handler: s, ReadHeaderTimeout: time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Serve(l) })
	transport := &http.Transport{DialContext: l.dial, DisableKeepAlives: true}
	c, err := client.New("http://test", appID, secret, append([]client.Option{client.WithHTTPClient(&http.Client{Transport: transport})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		_ = h.Close()
		wg.Wait()
	}
}

// pipes is a listener on connections in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, errors.New("server stopped")
	}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// sameJSON reports whether two texts are the same JSON.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		t.Fatalf("not JSON: %s or %s", a, b)
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}

// handlerTransport answers requests without a network.
type handlerTransport struct{ h http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, r)
	return w.Result(), nil
}
