package load

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	// maxIdle is for how long a connection is trusted to stay open unused. A
	// server may close one early that never carried a request.
	maxIdle = 5 * time.Second
)

var errInterrupted = errors.New("interrupted")

type dialFunc func(ctx context.Context) (net.Conn, error)

// A wire is a connection that is opened again after it broke. Another goroutine can
// interrupt an exchange on it.
type wire struct {
	dial dialFunc

	mu          sync.Mutex
	nc          net.Conn  // nil: not open. Read without mu by the goroutine that exchanges
	since       time.Time // when nc was opened or last began to be used
	interrupted bool
}

func (w *wire) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = false
	if w.nc != nil && time.Since(w.since) > maxIdle {
		_ = w.nc.Close()
		w.nc = nil
	}
	w.since = time.Now()
	if w.nc != nil {
		_ = w.nc.SetDeadline(time.Time{}) // a closed connection shows when it is used
	}
}

func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	if w.nc != nil {
		_ = w.nc.SetDeadline(time.Unix(1, 0))
	}
}

func (w *wire) connect(ctx context.Context) error {
	if w.nc != nil {
		return nil
	}
	nc, err := w.dial(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.interrupted {
		_ = nc.Close()
		return errInterrupted
	}
	w.nc, w.since = nc, time.Now()
	return nil
}

func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nc != nil {
		_ = w.nc.Close()
		w.nc = nil
	}
}

// head is what the requests to one target have in common: all but the
// command, the random number and the length of the body.
type head struct{ path, query, fields string }

func newHead(u *url.URL, t Target) head {
	// A UserSig may contain an asterisk, which a query need not escape.
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2A", "*") }
	return head{
		path: "POST " + strings.TrimSuffix(u.EscapedPath(), "/") + "/v4/",
		query: "?sdkappid=" + strconv.FormatUint(uint64(t.SDKAppID), 10) + "&identifier=" + escape(t.Identifier) +
			"&usersig=" + escape(t.Ticket) + "&contenttype=json&random=",
		fields: " HTTP/1.1\r\nHost: " + u.Host + "\r\nContent-Type: application/json\r\nContent-Length: ",
	}
}

// appendHead appends the head of a request with a body of length bytes.
func (h *head) appendHead(dst []byte, command string, random uint32, length int) []byte {
	dst = append(dst, h.path...)
	dst = append(dst, command...)
	dst = append(dst, h.query...)
	dst = strconv.AppendUint(dst, uint64(random), 10)
	dst = append(dst, h.fields...)
	dst = strconv.AppendInt(dst, int64(length), 10)
	return append(dst, "\r\n\r\n"...)
}

// A conn is the session of an HTTP/1.1 connection. Its buffers grow to what
// the workload needs and are then reused.
type conn struct {
	wire
	heads        []head // of the targets
	work         Workload
	allowPartial bool
	keep         func(body []byte) // if not nil, sees the body of every answer

	seq           uint64 // of the request that is prepared
	body, out, in []byte
}

func (c *conn) prepare(seq uint64) {
	var command string
	c.seq = seq
	command, c.body = c.work.Append(c.body[:0], seq)
	if c.work.Head != nil {
		c.out = append(c.work.Head(c.out[:0], seq, len(c.body)), c.body...)
		return
	}
	target := 0
	if c.work.Target != nil {
		target = c.work.Target(seq)
	}
	c.out = c.heads[target].appendHead(c.out[:0], command, uint32(seq), len(c.body))
	c.out = append(c.out, c.body...)
}

func (c *conn) exchange(ctx context.Context) (code int, err error) {
	if err := c.connect(ctx); err != nil {
		return 0, err
	}
	if _, err := c.nc.Write(c.out); err != nil {
		c.drop()
		return 0, err
	}
	a, err := readAnswer(c.nc, &c.in)
	if err != nil {
		c.drop()
		return 0, err
	}
	if a.last {
		c.drop()
	}
	if c.keep != nil {
		c.keep(a.body)
	}
	if c.work.Answer != nil {
		c.work.Answer(c.seq, a.body)
	}
	return a.code(c.allowPartial), nil
}
