package h2

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/channel/channeltest"
)

var ok = channeltest.Move{Status: 200, Body: "ok"}

func pool(t *testing.T, base string, conns int) *Pool {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Options{URL: u, Connections: conns})
	t.Cleanup(func() { p.Close() })
	return p
}

// request makes a request that has a minute.
func request(t *testing.T, base string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base, bytes.NewReader([]byte("message")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// try sends one request and returns what became of it.
func try(t *testing.T, p *Pool, base string) (string, error) {
	t.Helper()
	c, err := p.Acquire(t.Context())
	if err != nil {
		return "", err
	}
	answer, c, err := p.RoundTrip(c, request(t, base))
	if err != nil {
		return "", err
	}
	defer p.Release(c)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

// TestCause pins how net/http reports requests without an answer: some of its errors can
// only be told by their text, which may change with Go.
func TestCause(t *testing.T) {
	for name, c := range map[string]struct {
		act  channeltest.Act
		want reason
	}{
		"refused":                   {channeltest.Refuse, refused},
		"reset":                     {channeltest.Cancel, lost},
		"goaway":                    {channeltest.GoAway, ended},
		"goaway with an error":      {channeltest.GoAwayFor, ended},
		"goaway and gone":           {channeltest.Quit, lost},
		"the end of the connection": {channeltest.Cut, lost},
	} {
		for _, first := range []bool{true, false} {
			w := channeltest.NewWire(t, 100, func(_, n int, _ string) channeltest.Move {
				if n == 1 && !first {
					return ok
				}
				return channeltest.Move{Do: c.act}
			})
			p := pool(t, w.URL, 1)
			if !first {
				if _, err := try(t, p, w.URL); err != nil {
					t.Fatal(err)
				}
			}
			conn, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = conn.cc.RoundTrip(request(t, w.URL))
			if err == nil {
				t.Fatalf("%s: no error", name)
			}
			if got := cause(err); got != c.want {
				t.Errorf("%s, first %v: %q is %d, want %d", name, first, err, got, c.want)
			}
			// What is sent on a connection that has ended is not processed.
			if c.act != channeltest.Refuse && c.act != channeltest.Cancel {
				for conn.cc.Available() > 0 {
					time.Sleep(time.Millisecond) // the end of the connection is on its way
				}
				if _, err = conn.cc.RoundTrip(request(t, w.URL)); err == nil || cause(err) != ended {
					t.Errorf("%s: after it: got %v, want one that says that it was not sent", name, err)
				}
			}
			p.release(conn, true)
		}
	}
}

func TestRepeatsWhatWasNotProcessed(t *testing.T) {
	for name, act := range map[string]channeltest.Act{"refused": channeltest.Refuse, "goaway": channeltest.GoAway} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			w := channeltest.NewWire(t, 100, func(_, _ int, _ string) channeltest.Move {
				if sent.Add(1) == 2 {
					return channeltest.Move{Do: act}
				}
				return ok
			})
			p := pool(t, w.URL, 1)
			for range 3 {
				if body, err := try(t, p, w.URL); body != "ok" || err != nil {
					t.Fatalf("got %q, %v", body, err)
				}
			}
			if n := sent.Load(); n != 4 {
				t.Errorf("sent %d times, want 4", n)
			}
		})
	}
}

func TestGivesUpWhenAlwaysRefused(t *testing.T) {
	var sent atomic.Int64
	w := channeltest.NewWire(t, 100, func(_, _ int, _ string) channeltest.Move {
		sent.Add(1)
		return channeltest.Move{Do: channeltest.Refuse}
	})
	_, err := try(t, pool(t, w.URL, 1), w.URL)
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("got %v, want a RefusedError", err)
	}
	if n := sent.Load(); n != maxTries {
		t.Errorf("sent %d times, want %d", n, maxTries)
	}
}

func TestLosesWhatMayHaveBeenProcessed(t *testing.T) {
	for name, act := range map[string]channeltest.Act{"reset": channeltest.Cancel, "goaway": channeltest.Quit, "cut": channeltest.Cut} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			w := channeltest.NewWire(t, 100, func(_, _ int, _ string) channeltest.Move {
				sent.Add(1)
				return channeltest.Move{Do: act}
			})
			_, err := try(t, pool(t, w.URL, 1), w.URL)
			var refused *RefusedError
			var dial *DialError
			if err == nil || errors.As(err, &refused) || errors.As(err, &dial) {
				t.Errorf("got %v, want that it may have been processed", err)
			}
			if n := sent.Load(); n != 1 {
				t.Errorf("sent %d times, want 1", n)
			}
		})
	}
}

func TestAnswersAfterGoAway(t *testing.T) {
	w := channeltest.NewWire(t, 100, func(_, n int, _ string) channeltest.Move {
		if n == 2 {
			return channeltest.Move{Do: channeltest.LastAnswer, Status: 200, Body: "last"}
		}
		return ok
	})
	p := pool(t, w.URL, 1)
	for i, want := range []string{"ok", "last", "ok", "last"} {
		if body, err := try(t, p, w.URL); body != want || err != nil {
			t.Errorf("request %d: got %q, %v, want %q", i, body, err, want)
		}
	}
	if n := w.Conns(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestOneConnection sends a burst that meets a cold pool.
func TestOneConnection(t *testing.T) {
	w := channeltest.NewWire(t, 50, func(_, _ int, _ string) channeltest.Move { return ok })
	p := pool(t, w.URL, 1)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			if body, err := try(t, p, w.URL); body != "ok" || err != nil {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
	wg.Wait()
	if n := w.Conns(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if n := p.PerConnection(); n != 50 {
		t.Errorf("%d requests on a connection, want 50", n)
	}
}

// TestMoreConnections fills a connection and sees another, no sooner than a second later.
func TestMoreConnections(t *testing.T) {
	var mu sync.Mutex
	var second time.Time // when the first request came on the second connection
	w := channeltest.NewWire(t, 2, func(c, n int, _ string) channeltest.Move {
		mu.Lock()
		defer mu.Unlock()
		if c == 2 && second.IsZero() {
			second = time.Now()
		}
		if n == 1 {
			return ok
		}
		return channeltest.Move{Do: channeltest.Ignore}
	})
	p := pool(t, w.URL, 2)
	begin := time.Now() // before the first connection
	if _, err := try(t, p, w.URL); err != nil {
		t.Fatal(err)
	}
	for range 2 { // they stay without an answer
		c, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _, _ = p.RoundTrip(c, request(t, w.URL)) }()
	}
	if body, err := try(t, p, w.URL); body != "ok" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if gap := second.Sub(begin); gap < dialSpacing {
		t.Errorf("the second connection came after %s, want %s or more", gap, dialSpacing)
	}
}

func TestUnreachable(t *testing.T) {
	p := pool(t, "http://127.0.0.1:1", 4)
	for range 3 {
		_, err := p.Acquire(t.Context())
		var dial *DialError
		if !errors.As(err, &dial) {
			t.Errorf("got %v, want a DialError", err)
		}
	}
}

// TestServersThatWillNotDo meets a server that chooses no protocol, which means HTTP/1.1.
func TestServersThatWillNotDo(t *testing.T) {
	lender := httptest.NewTLSServer(nil) // for its certificate
	defer lender.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: lender.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1)) // the client ends it
			c.Close()
		}
	}()
	trusted := x509.NewCertPool()
	trusted.AddCert(lender.Certificate())
	u := &url.URL{Scheme: "https", Host: l.Addr().String()}
	for want, roots := range map[string]*x509.CertPool{"HTTP/2": trusted, "certificate": x509.NewCertPool()} {
		p := New(Options{URL: u, TLS: &tls.Config{RootCAs: roots}})
		_, err := p.Acquire(t.Context())
		var dial *DialError
		if !errors.As(err, &dial) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a DialError that says %q", err, want)
		}
		p.Close()
	}
}

func TestAcquireEnds(t *testing.T) {
	w := channeltest.NewWire(t, 1, func(_, _ int, _ string) channeltest.Move { return ok })
	p := pool(t, w.URL, 1)
	held, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	waits := make(chan error)
	go func() { _, err := p.Acquire(ctx); waits <- err }()
	cancel(why)
	if err := <-waits; !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	go func() { _, err := p.Acquire(t.Context()); waits <- err }()
	p.Close()
	if err := <-waits; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	p.Release(held)
	if _, err := p.Acquire(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, ErrClosed)
	}
}

func TestRecycles(t *testing.T) {
	w := channeltest.NewWire(t, 10, func(_, _ int, _ string) channeltest.Move { return ok })
	u, _ := url.Parse(w.URL)
	p := New(Options{URL: u, Connections: 1, Life: time.Nanosecond})
	defer p.Close()
	for range 2 {
		if body, err := try(t, p, w.URL); body != "ok" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	}
	if n := w.Conns(); n < 2 {
		t.Errorf("%d connections, want another for the second request", n)
	}
}
