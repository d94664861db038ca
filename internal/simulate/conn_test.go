package simulate

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// single returns a sender of which all goes over one connection, and that connection.
func single(t *testing.T, s *Simulator, protocol string) (*sender, *http.ClientConn) {
	t.Helper()
	c := dial(t, s, protocol)
	scheme, host, _ := strings.Cut(c.url, "://")
	one, err := c.client.Transport.(*http.Transport).NewClientConn(context.Background(), scheme, host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close() })
	c.client = &http.Client{Transport: one, Timeout: time.Minute}
	return c, one
}

func TestStreams(t *testing.T) {
	for _, protocol := range []string{"h2c", "h2"} {
		for _, want := range []int{0, 1, 250} {
			s := start(t, Options{Streams: want})
			if want == 0 {
				want = 100
			}
			c, one := single(t, s, protocol)
			c.must(c.send("t", ""))
			if n := one.Available(); n != want {
				t.Errorf("%s: %d streams, want %d", protocol, n, want)
			}
		}
	}
}

// TestGoAway has a connection end after five messages, while these are being served. They
// are answered, or with abrupt not; the sixth is not served and says so.
func TestGoAway(t *testing.T) {
	const after = 5
	for _, protocol := range []string{"h2c", "h2"} {
		for _, abrupt := range []bool{false, true} {
			s := start(t, Options{})
			c, _ := single(t, s, protocol)
			if err := s.SetBehaviour(Behaviour{GoAway: after, Abrupt: abrupt, MinLatency: Duration(100 * time.Millisecond)}); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range after {
				wg.Go(func() {
					r, err := c.send(fmt.Sprintf("token-%d", i), fmt.Sprint(i))
					switch {
					case !abrupt && (err != nil || r.status != 200):
						t.Errorf("%s: message %d: %d %v", protocol, i, r.status, err)
					case abrupt && (err == nil || !strings.Contains(err.Error(), "GOAWAY")):
						t.Errorf("%s, abrupt: message %d: %d %v", protocol, i, r.status, err)
					}
				})
			}
			// The sixth comes last: before, five streams have been opened.
			eventually(t, func() bool { return s.state.requests.Load() == after+1 }) // with the login
			if r, err := c.send("sixth", "6"); err == nil || !strings.Contains(err.Error(), "GOAWAY") {
				t.Errorf("%s, abrupt %v: the sixth: %d %v", protocol, abrupt, r.status, err)
			}
			wg.Wait()
			if n := s.IDCount("6"); n != 0 {
				t.Errorf("%s, abrupt %v: the sixth was delivered %d times", protocol, abrupt, n)
			}
			if got := s.Totals(); got.GoAways != 1 || !abrupt && got.Delivered != after {
				t.Errorf("%s, abrupt %v: %+v", protocol, abrupt, got)
			}
		}
	}
}

// TestGoAwayUnderLoad shows that a client which sends again what was not served, and only
// that, loses nothing and repeats nothing.
func TestGoAwayUnderLoad(t *testing.T) {
	for _, protocol := range []string{"h2c", "h2"} {
		s := start(t, Options{Behaviour: Behaviour{GoAway: 10}})
		c := dial(t, s, protocol)
		const workers, messages = 8, 50
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range messages {
					if r, err := c.send("t", fmt.Sprintf("%d-%d", w, i)); err != nil || r.status != 200 {
						t.Errorf("%s: %d %v", protocol, r.status, err)
					}
				}
			})
		}
		wg.Wait()
		if got := s.Totals(); got.Delivered != workers*messages || got.IDs != workers*messages || got.RepeatedIDs != 0 || got.GoAways < 10 {
			t.Errorf("%s: %+v", protocol, got)
		}
	}
}

// TestRefuse has each third request refused, which is not served and costs nobody else.
func TestRefuse(t *testing.T) {
	for _, protocol := range []string{"h2c", "h2"} {
		s := start(t, Options{})
		c, one := single(t, s, protocol)
		if err := s.SetBehaviour(Behaviour{Refuse: 3}); err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= 30; i++ {
			r, err := c.send("t", fmt.Sprint(i))
			if refused := i%3 == 0; refused != (err != nil) || !refused && r.status != 200 || refused && !strings.Contains(err.Error(), "REFUSED_STREAM") {
				t.Errorf("%s: message %d: %d %v", protocol, i, r.status, err)
			}
		}
		if got := s.Totals(); got.Delivered != 20 || s.IDCount("3") != 0 || one.Err() != nil {
			t.Errorf("%s: %+v, connection %v", protocol, got, one.Err())
		}
		// Together, by a client that sends again what was refused, up to six times.
		if err := s.SetBehaviour(Behaviour{Refuse: 10}); err != nil {
			t.Fatal(err)
		}
		c = dial(t, s, protocol)
		s.Reset()
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				if r, err := c.send("t", fmt.Sprint(i)); err != nil || r.status != 200 {
					t.Errorf("%s: %d %v", protocol, r.status, err)
				}
			})
		}
		wg.Wait()
		if got := s.Totals(); got.Delivered != 40 || got.IDs != 40 || got.RepeatedIDs != 0 {
			t.Errorf("%s: %+v", protocol, got)
		}
	}
}

// TestStrangers connects with what is no HTTP.
func TestStrangers(t *testing.T) {
	s := start(t, Options{})
	for _, text := range []string{"", "P", "PRI", "PRI * HTTP/1.0\r\n\r\n", preface, preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff", preface + strings.Repeat("\xff", 100), "\x16", "\x16\x03\x01\x00\x05nonsense", "\x00\x00\x00", "GET / HTTP/9.9\r\n\r\n", strings.Repeat("x", 100_000)} {
		c, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text)) // the other end may have had enough
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%.20q: the connection stays", text)
		}
		c.Close()
	}
	c := dial(t, s, "h2c")
	if got := c.meet("t", ""); got != "200" {
		t.Errorf("after strangers: %q", got)
	}
	if _, err := tls.Dial("tcp", s.listener.Addr().String(), nil); err == nil {
		t.Error("a client that does not know the authority trusts it")
	}
}

// TestConnections shows that connections which end make room for others.
func TestConnections(t *testing.T) {
	s := start(t, Options{})
	for _, protocol := range protocols {
		c := dial(t, s, protocol)
		c.must(c.send("t", ""))
		c.client.CloseIdleConnections()
	}
	eventually(t, func() bool { return s.listener.open.Load() == 0 })
	s.listener.open.Store(maxConnections)
	c := &sender{t: t, url: s.URL(), client: &http.Client{Transport: new(http.Transport)}}
	if _, err := c.do("GET", controlPath+"totals", "", ""); err == nil {
		t.Error("served beyond the limit of connections")
	}
	s.listener.open.Store(0)
	c.must(c.do("GET", controlPath+"totals", "", ""))
	c.client.CloseIdleConnections()
}

func TestListen(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1", "nonsense"} {
		if s, err := Start(Options{Listen: address}); err == nil {
			s.Close()
			t.Errorf("listens on %s", address)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0", "127.0.0.2:0"} {
		s, err := Start(Options{Listen: address})
		if err != nil {
			if strings.HasPrefix(address, "127.0.0.2") {
				continue // not on every system
			}
			t.Errorf("%s: %v", address, err)
			continue
		}
		s.Close()
	}
	for want, o := range map[string]Options{"Streams": {Streams: -1}, "Counted": {Counted: -1}, "History": {History: 1 << 30}, "TokenLife": {TokenLife: time.Millisecond}, "project": {Project: "A/b"}} {
		if s, err := Start(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
			if s != nil {
				s.Close()
			}
		}
	}
}

// TestDir shows that clients can keep the authority and the service account.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{Dir: dir})
	second := start(t, Options{Dir: dir})
	if string(first.CA()) != string(second.CA()) {
		t.Error("another authority")
	}
	a, _ := keyOf(t, first.ServiceAccount())
	b, _ := keyOf(t, second.ServiceAccount())
	if a.PrivateKey != b.PrivateKey || a.TokenURI == b.TokenURI {
		t.Error("another key, or the same address")
	}
	c := dial(t, second, "h2")
	if got := c.meet("t", ""); got != "200" {
		t.Errorf("%q", got)
	}
}
