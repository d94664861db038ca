package simulate

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A listener hands out connections that find out by themselves whether the client speaks
// TLS, and that can end as net/http does not end one.
type listener struct {
	net.Listener
	tls   *tls.Config
	state *state
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, config: l.tls, state: l.state, in: bufio.NewReaderSize(raw, 16<<10)}
	l.state.connections.Add(1)
	return c, nil
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

	// Read's own.
	in      *bufio.Reader
	spoken  bool // what the client speaks is known
	http2   atomic.Bool
	left    int    // bytes of the frame that may be passed on
	streams int    // that the client has opened
	last    uint32 // the newest of them
	leaving bool   // GOAWAY was said: later streams are not served

	// Write's own.
	mu      sync.Mutex
	head    [frameHead]byte // of the frame that is being written
	filled  int             // bytes of it that were written
	rest    int             // bytes of its payload that are not written yet
	goodbye []byte          // a GOAWAY that waits for the end of a frame
	abrupt  bool            // nothing is written after it
	ended   bool
}

// Frames of HTTP/2 (RFC 9113, 4.1 and 6).
const (
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHead    = 9
	frameHeaders = 0x1
	frameGoAway  = 0x7

	codeNone  = 0x0
	codeError = 0x2 // INTERNAL_ERROR
)

// lingering is how long a connection that was ended is drained so that the client can
// read why.
const lingering = time.Second

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
	for c.left == 0 {
		if err := c.frame(); err != nil {
			return 0, err
		}
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

// frame looks at the next frame and lets it pass, or takes it away if it is of a stream
// that is not served any more.
func (c *conn) frame() error {
	head, err := c.in.Peek(frameHead)
	if err != nil {
		return err
	}
	size := frameHead + length(head)
	id := binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
	if head[3] == frameHeaders && id > c.last {
		if after, abrupt := c.state.goAway(); after > 0 && c.streams >= after && !c.leaving {
			c.leaving = true
			c.leave(abrupt)
			if abrupt {
				return c.drain()
			}
		}
		if !c.leaving {
			c.last = id
			c.streams++
		}
	}
	if c.leaving && id > c.last {
		_, err := c.in.Discard(size)
		return err
	}
	c.left = size
	return nil
}

func length(head []byte) int { return int(head[0])<<16 | int(head[1])<<8 | int(head[2]) }

// leave says GOAWAY with the newest stream that is served.
func (c *conn) leave(abrupt bool) {
	code := uint32(codeNone)
	if abrupt {
		code = codeError
	}
	frame := []byte{0, 0, 8, frameGoAway, 0, 0, 0, 0, 0}
	frame = binary.BigEndian.AppendUint32(frame, c.last)
	frame = binary.BigEndian.AppendUint32(frame, code)
	c.state.goAways.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goodbye, c.abrupt = frame, abrupt
	if c.filled == 0 && c.rest == 0 {
		_ = c.say() // the next Write reports the error
	}
}

// say writes the GOAWAY between two frames. The caller holds mu.
func (c *conn) say() error {
	_, err := c.out().Write(c.goodbye)
	c.goodbye = nil
	if c.abrupt {
		c.ended = true
		if t := c.secure.Load(); t != nil {
			err = errors.Join(err, t.CloseWrite())
		}
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			err = errors.Join(err, tcp.CloseWrite())
		}
	}
	return err
}

// drain takes what the client still sends, so that its end of the connection reads the
// GOAWAY and is not reset before, and returns the end of the connection.
func (c *conn) drain() error {
	if err := c.Conn.SetReadDeadline(time.Now().Add(lingering)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c.in); err != nil {
		return err
	}
	return io.EOF
}

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
	n, err := c.out().Write(p)
	c.follow(p[:n])
	if err == nil && c.goodbye != nil && c.filled == 0 && c.rest == 0 {
		err = c.say()
	}
	return n, err
}

// follow keeps in mind where in a frame the writing is.
func (c *conn) follow(p []byte) {
	for len(p) > 0 {
		if c.rest > 0 {
			n := min(c.rest, len(p))
			c.rest -= n
			p = p[n:]
			continue
		}
		n := copy(c.head[c.filled:], p)
		c.filled += n
		p = p[n:]
		if c.filled == frameHead {
			c.filled, c.rest = 0, length(c.head[:])
		}
	}
}

func (c *conn) Close() error {
	if t := c.secure.Load(); t != nil {
		return t.Close()
	}
	return c.Conn.Close()
}
