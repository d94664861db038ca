package simulate

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// A listener hands out connections that find out by themselves whether the client speaks
// TLS, and that can end as net/http does not end one.
type listener struct {
	net.Listener
	tls   *tls.Config
	state *state
	open  atomic.Int64
}

// maxConnections bounds the connections that are open at a time. Others are closed at
// once.
const maxConnections = 10_000

func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) > maxConnections {
			l.open.Add(-1)
			_ = raw.Close() // nobody has said anything on it
			continue
		}
		l.state.connections.Add(1)
		c := &conn{Conn: raw, config: l.tls, state: l.state, in: bufio.NewReaderSize(raw, 16<<10)}
		c.closed = sync.OnceFunc(func() { l.open.Add(-1) })
		return c, nil
	}
}

// A conn is a connection without the TLS that its client may use. It reads along in
// HTTP/2, so that it can say GOAWAY with exactly the streams that were served.
//
// The first Read takes the first byte of the client to see what it speaks: net/http reads
// in a goroutine for each connection, so a client that says nothing stops nobody. Nothing
// is written before that.
type conn struct {
	net.Conn
	config *tls.Config
	state  *state
	secure atomic.Pointer[tls.Conn] // nil: no TLS, or none yet
	closed func()

	// Read's own.
	in      *bufio.Reader
	spoken  bool // what the client speaks is known
	http2   atomic.Bool
	ahead   []byte // is passed on before what is read
	left    int    // bytes of the frame that may be passed on
	streams int    // that the client has opened
	last    uint32 // the newest of them
	leaving bool   // GOAWAY was said: later streams are not served

	// Write's own.
	mu      sync.Mutex
	head    [frameHead]byte // of the frame that is being written
	filled  int             // bytes of it that were written
	rest    int             // bytes of its payload that are not written yet
	refused map[uint32]bool // streams whose reset has still to say REFUSED_STREAM
	goodbye []byte          // a GOAWAY that waits for the end of a frame
	abrupt  bool            // nothing is written after it
	ended   bool
}

var errEnded = errors.New("the simulator ended this connection")

func (c *conn) Read(p []byte) (int, error) {
	if !c.spoken {
		if err := c.listen(); err != nil {
			return 0, err
		}
	}
	if !c.http2.Load() {
		return c.in.Read(p)
	}
	for c.left == 0 && len(c.ahead) == 0 {
		if err := c.frame(); err != nil {
			return 0, err
		}
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err := c.in.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// listen finds out what the client speaks. For how long it may wait is net/http's
// deadline for the head of a request.
func (c *conn) listen() error {
	first, err := c.in.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == 0x16 { // a TLS handshake
		t := tls.Server(&begun{c.Conn, c.in}, c.config)
		if err := t.Handshake(); err != nil {
			return err
		}
		c.secure.Store(t)
		c.in = bufio.NewReaderSize(t, 16<<10)
		if _, err := c.in.Peek(1); err != nil {
			return err
		}
	}
	if start, err := c.in.Peek(3); err == nil && string(start) == preface[:3] {
		start, err := c.in.Peek(len(preface))
		if err != nil {
			return err
		}
		c.http2.Store(bytes.Equal(start, []byte(preface)))
		c.left = len(preface)
	}
	c.spoken = true
	return nil
}

// A begun connection is one of which some bytes have been read.
type begun struct {
	net.Conn
	in *bufio.Reader
}

func (b *begun) Read(p []byte) (int, error) { return b.in.Read(p) }

func (c *conn) out() net.Conn {
	if t := c.secure.Load(); t != nil {
		return t
	}
	return c.Conn
}

func (c *conn) Write(p []byte) (int, error) {
	if !c.http2.Load() {
		return c.out().Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, errEnded
	}
	p = c.follow(p)
	n, err := c.out().Write(p)
	if err == nil && c.goodbye != nil && c.filled == 0 && c.rest == 0 {
		err = c.say()
	}
	return n, err
}

func (c *conn) Close() error {
	c.closed()
	if t := c.secure.Load(); t != nil {
		return t.Close()
	}
	return c.Conn.Close()
}
