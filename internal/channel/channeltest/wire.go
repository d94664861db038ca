package channeltest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A Move is what a Wire does about one request.
type Move struct {
	Do     Act
	Status int           // of Reply
	Body   string        // of Reply
	After  time.Duration // before it
}

// An Act is a kind of Move.
type Act int

// The acts. Those that net/http does not do on demand are why there is a Wire.
const (
	Reply      Act = iota
	Refuse         // RST_STREAM with REFUSED_STREAM: not processed
	Cancel         // RST_STREAM with INTERNAL_ERROR: it may have been processed
	GoAway         // GOAWAY that does not cover the request: not processed
	GoAwayFor      // GOAWAY with an error code that does not cover the request
	LastAnswer     // GOAWAY that covers the request, and then a reply
	Quit           // GOAWAY that covers the request, and then the end of the connection
	Cut            // the end of the connection
	Ignore         // nothing
)

// A Wire is a server of HTTP/2 without TLS that works frame by frame. It reads no
// headers: a script decides about a request by its number on its connection.
type Wire struct {
	URL string

	streams uint32
	script  func(conn, request int, body string) Move

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

// NewWire starts a server that allows a number of streams at once on a connection. It ends
// with the test. Connections and requests are counted from 1.
func NewWire(t testing.TB, streams uint32, script func(conn, request int, body string) Move) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{URL: "http://" + l.Addr().String(), streams: streams, script: script}
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns = append(w.conns, c)
			n := len(w.conns)
			w.mu.Unlock()
			w.wg.Go(func() {
				defer c.Close()
				s := &wireConn{Wire: w, c: c, number: n, bodies: map[uint32][]byte{}}
				_ = s.serve() // the client went away, or the script cut it off
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close() // the client may have been first
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

// Conns returns how many connections were made.
func (w *Wire) Conns() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// The frames, flags and codes that are needed (RFC 9113, 6 and 7).
const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8

	flagEndStream  = 1
	flagAck        = 1
	flagEndHeaders = 4

	maxStreams = 3 // SETTINGS_MAX_CONCURRENT_STREAMS

	noError       = 0
	internalError = 2
	refusedStream = 7
	calm          = 11 // ENHANCE_YOUR_CALM
)

type wireConn struct {
	*Wire
	c        net.Conn
	number   int
	requests int
	bodies   map[uint32][]byte

	mu sync.Mutex // for writing
}

func (s *wireConn) serve() error {
	r := bufio.NewReader(s.c)
	if _, err := io.CopyN(io.Discard, r, int64(len(preface))); err != nil {
		return err
	}
	settings := binary.BigEndian.AppendUint32([]byte{0, maxStreams}, s.streams)
	if err := s.write(frameSettings, 0, 0, settings); err != nil {
		return err
	}
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		kind, flags := head[3], head[4]
		stream := binary.BigEndian.Uint32(head[5:])
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return err
		}
		if err := s.frame(kind, flags, stream, payload); err != nil {
			return err
		}
	}
}

// frame handles one frame of the client, which pads none and needs no CONTINUATION.
func (s *wireConn) frame(kind, flags byte, stream uint32, payload []byte) error {
	switch {
	case kind == frameSettings && flags&flagAck == 0:
		return s.write(frameSettings, flagAck, 0, nil)
	case kind == framePing && flags&flagAck == 0:
		return s.write(framePing, flagAck, 0, payload)
	case kind == frameData:
		s.bodies[stream] = append(s.bodies[stream], payload...)
		if len(payload) > 0 {
			if err := s.write(frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(len(payload)))); err != nil {
				return err
			}
		}
	case kind != frameHeaders:
		return nil
	}
	if flags&flagEndStream == 0 {
		return nil
	}
	s.requests++
	m := s.script(s.number, s.requests, string(s.bodies[stream]))
	delete(s.bodies, stream)
	if m.After > 0 {
		time.AfterFunc(m.After, func() { _ = s.move(m, stream) })
		return nil
	}
	return s.move(m, stream)
}

var errCut = errors.New("the script ends the connection")

func (s *wireConn) move(m Move, stream uint32) error {
	switch m.Do {
	case Reply:
		return s.reply(m, stream)
	case Refuse:
		return s.write(frameReset, 0, stream, []byte{0, 0, 0, refusedStream})
	case Cancel:
		return s.write(frameReset, 0, stream, []byte{0, 0, 0, internalError})
	case GoAway:
		return s.goAway(stream-1, noError)
	case GoAwayFor:
		return s.goAway(stream-1, calm)
	case LastAnswer:
		if err := s.goAway(stream, noError); err != nil {
			return err
		}
		return s.reply(m, stream)
	case Quit:
		_ = s.goAway(stream, noError)
		_ = s.c.Close()
		return errCut
	case Cut:
		_ = s.c.Close()
		return errCut
	}
	return nil
}

// goAway says that streams above last are not processed.
func (s *wireConn) goAway(last, code uint32) error {
	return s.write(frameGoAway, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code))
}

// reply answers. The header is a literal ":status" that enters no table (RFC 7541, 6.2.2).
func (s *wireConn) reply(m Move, stream uint32) error {
	header := append([]byte{8, 3}, strconv.Itoa(m.Status)...)
	if err := s.write(frameHeaders, flagEndHeaders, stream, header); err != nil {
		return err
	}
	return s.write(frameData, flagEndStream, stream, []byte(m.Body))
}

func (s *wireConn) write(kind, flags byte, stream uint32, payload []byte) error {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	b = binary.BigEndian.AppendUint32(b, stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.c.Write(append(b, payload...))
	return err
}
