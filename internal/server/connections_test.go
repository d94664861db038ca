package server

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/config"
	"tidings/internal/testenv"
)

// TestFileBudget: connections leave the store the descriptors that it needs, however many
// there are and whatever is asked for.
func TestFileBudget(t *testing.T) {
	for _, c := range []struct {
		limit uint64
		asked int
		want  fileBudget
	}{
		{1 << 20, 0, fileBudget{16384, 1000}},
		{1 << 63, 0, fileBudget{16384, 1000}},
		{0, 0, fileBudget{16384, 1000}},
		{0, 100_000, fileBudget{100_000, 1000}},
		{524288, 100_000, fileBudget{100_000, 1000}},
		{4096, 0, fileBudget{2936, 1000}},
		{4096, 3000, fileBudget{2936, 1000}},
		{4096, 7, fileBudget{7, 1000}},
		{1024, 0, fileBudget{608, 256}},
		{256, 0, fileBudget{32, 64}},
		{64, 0, fileBudget{1, 16}},
	} {
		if got := newFileBudget(c.limit, c.asked); got != c.want {
			t.Errorf("%d files, max_connections %d: %+v, want %+v", c.limit, c.asked, got, c.want)
		}
	}
}

// dialFrom connects from a loopback address.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", to)
	testenv.Need(t, "loopback addresses besides 127.0.0.1", err)
	t.Cleanup(func() { c.Close() })
	return c
}

// refused reports whether the other side closes a connection before it says anything.
func refused(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err != nil && line == ""
}

// TestBoundedListener: a source has a share of the connections, all together no more than
// there may be, a proxy as many as there are, and what is closed makes room.
func TestBoundedListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := bound(inner, 8, []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}, slog.New(slog.DiscardHandler))
	var strangers atomic.Bool
	l.known = func(a netip.Addr) (app uint32, ok bool) {
		if !strangers.Load() {
			return 0, true
		}
		return 5, a == netip.MustParseAddr("127.0.0.5")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var accepted []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			accepted = append(accepted, c)
			mu.Unlock()
			fmt.Fprintln(c, "hello")
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	try := func(from string, want bool) {
		t.Helper()
		if got := !refused(t, dialFrom(t, from, inner.Addr().String())); got != want {
			t.Errorf("a connection from %s with %d open: accepted %t", from, l.connections(), got)
		}
	}
	try("127.0.0.2", true)
	try("127.0.0.2", true)
	try("127.0.0.2", false) // a quarter
	try("127.0.0.3", true)
	for range 5 {
		try("127.0.0.9", true)
	}
	try("127.0.0.9", false) // all
	try("127.0.0.4", false)
	if l.full.Load() != 2 || l.greedy.Load() != 1 {
		t.Errorf("%d refused because there are too many, %d of a source; want 2 and 1", l.full.Load(), l.greedy.Load())
	}
	mu.Lock()
	for _, c := range accepted {
		c.Close()
		c.Close() // twice is once
	}
	mu.Unlock()
	l.mu.Lock()
	if l.open != 0 || len(l.sources) != 0 || len(l.apps) != 0 {
		t.Errorf("%d connections of %d sources are left", l.open, len(l.sources))
	}
	l.mu.Unlock()
	try("127.0.0.2", true)

	// Half is kept for sources that are known.
	strangers.Store(true)
	try("127.0.0.2", true)
	try("127.0.0.3", true)
	try("127.0.0.3", true)
	try("127.0.0.3", false)
	try("127.0.0.4", true) // the first of a stranger, up to three quarters
	try("127.0.0.4", false)
	try("127.0.0.6", true)
	try("127.0.0.7", false)
	try("127.0.0.9", true) // a proxy
	try("127.0.0.5", true)
	try("127.0.0.5", false)
}

// TestConnectionsOfAnApp: the sources of one app, however many, leave a quarter to others.
func TestConnectionsOfAnApp(t *testing.T) {
	l := bound(nil, 16, nil, slog.New(slog.DiscardHandler))
	l.known = func(a netip.Addr) (app uint32, ok bool) { return uint32(a.As4()[2]), a.As4()[2] != 0 }
	address := func(app, host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, app, host}) }
	for i := range byte(12) {
		if _, ok := l.admit(address(1, i)); !ok {
			t.Fatalf("connection %d of the app is refused", i)
		}
	}
	if _, ok := l.admit(address(1, 12)); ok {
		t.Error("the app gets more than three quarters")
	}
	if app, ok := l.admit(address(2, 1)); !ok || app != 2 {
		t.Errorf("another app gets no connection: %d, %t", app, ok)
	}
	l.release(address(1, 0), 1)
	if _, ok := l.admit(address(1, 12)); !ok {
		t.Error("what was closed makes no room")
	}
}

// A stuck writer takes nothing until it is let go.
type stuck struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

// TestStuckLog: nobody waits for a log that is not read; what is dropped is said when it
// is read again.
func TestStuckLog(t *testing.T) {
	w := &stuck{}
	w.mu.Lock()
	log, done := NewLogger(w, &config.Config{LogLevel: slog.LevelInfo, LogFormat: "text"})
	lines := 3 * logRoomBytes / 100
	for i := range lines {
		log.Info(strings.Repeat("x", 100), "i", i)
	}
	log.Warn("important")
	dropped := droppedLines(log)
	if dropped == 0 || dropped >= int64(lines) {
		t.Errorf("%d of %d lines were dropped", dropped, lines)
	}
	w.mu.Unlock()
	done()
	text := w.out.String()
	written := int64(strings.Count(text, "msg=xxx"))
	if written+dropped != int64(lines) || !strings.Contains(text, "msg=important") {
		t.Errorf("%d lines written, %d dropped, of %d", written, dropped, lines)
	}
	log.Info("after the end") // drops

	// A log that goes on says what is missing.
	w = &stuck{}
	w.mu.Lock()
	log, done = NewLogger(w, &config.Config{LogLevel: slog.LevelInfo, LogFormat: "text"})
	for i := range lines {
		log.Info(strings.Repeat("x", 100), "i", i)
	}
	w.mu.Unlock()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		text = w.out.String()
		w.mu.Unlock()
		if strings.Contains(text, fmt.Sprintf("lines are missing\" lines=%d", droppedLines(log))) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lines are missing and the log does not say so: %s", droppedLines(log), text[max(0, len(text)-200):])
		}
	}
	done()
}
