package simulate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// Frames of HTTP/2 (RFC 9113, 4.1 and 6).
const (
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHead    = 9
	frameHeaders = 0x1
	frameReset   = 0x3
	frameGoAway  = 0x7

	flagPadded   = 0x8
	flagPriority = 0x20

	maxFrame = 16 << 10 // the largest payload that a client may send

	codeNone    = 0x0
	codeError   = 0x2 // INTERNAL_ERROR
	codeRefused = 0x7 // REFUSED_STREAM
)

// lingering is how long a connection that was ended is drained so that the client can
// read why.
const lingering = time.Second

// frame looks at the next frame and lets it pass, or takes it away if it is of a stream
// that is not served any more.
func (c *conn) frame() error {
	head, err := c.in.Peek(frameHead)
	if err != nil {
		return err
	}
	size := frameHead + length(head)
	id := binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
	opens := head[3] == frameHeaders && id > c.last
	if opens {
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
	if n := c.state.plan.Load().Refuse; n > 0 && opens && c.streams%n == 0 {
		return c.refuse(head, id)
	}
	return nil
}

func length(head []byte) int { return int(head[0])<<16 | int(head[1])<<8 | int(head[2]) }

// refuse has the stream that a frame opens reset before it is served. Net/http cannot do
// that, and the frame cannot be held back, since it changes the table of headers for all
// later ones. So it is passed on as one that depends on itself, which is an error of that
// stream (RFC 7540, 5.3.1), and the code of the reset is replaced on its way out.
func (c *conn) refuse(head []byte, id uint32) error {
	padded, prioritized := head[4]&flagPadded != 0, head[4]&flagPriority != 0
	start := frameHead
	if padded {
		start++
	}
	if prioritized {
		start += 5
	}
	if start > c.left || length(head)+5 > maxFrame {
		return nil // net/http ends the connection of the first, and nobody sends the second
	}
	all, err := c.in.Peek(start)
	if err != nil {
		return err
	}
	frame := bytes.Clone(all)
	if !prioritized {
		frame = append(frame, 0, 0, 0, 0, 0)
		n := length(frame) + 5
		frame[0], frame[1], frame[2] = byte(n>>16), byte(n>>8), byte(n)
		frame[4] |= flagPriority
	}
	binary.BigEndian.PutUint32(frame[len(frame)-5:], id)
	c.ahead, c.left = frame, c.left-start
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[uint32]bool{}
	}
	c.refused[id] = true
	_, err = c.in.Discard(start)
	return err
}

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

// follow keeps in mind where in a frame the writing is, and returns what to write: p, or
// a copy in which a reset says that its stream was refused. The caller holds mu.
func (c *conn) follow(p []byte) []byte {
	for i := 0; i < len(p); {
		if c.rest > 0 {
			n := min(c.rest, len(p)-i)
			c.rest -= n
			i += n
			if id := binary.BigEndian.Uint32(c.head[5:]); c.rest == 0 && c.head[3] == frameReset && c.refused[id] {
				delete(c.refused, id)
				p = bytes.Clone(p)
				p[i-1] = codeRefused // the last byte of the code; the others are 0
			}
			continue
		}
		n := copy(c.head[c.filled:], p[i:])
		c.filled += n
		i += n
		if c.filled == frameHead {
			c.filled, c.rest = 0, length(c.head[:])
		}
	}
	return p
}
