package suite

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings/bench/load"
)

const (
	dripInterval  = 100 * time.Millisecond // of a slow sender, from byte to byte
	redialPause   = 2 * time.Second        // so that a server that refuses connections is not measured by their number
	declaredBytes = 1_048_000              // of bodies that never come whole
)

// A hostile is a kind of connections that harm a server. Each is opened again when the
// server has closed it.
type hostile struct {
	name   string
	n      int                                                 // connections
	target func(i int) load.Target                             // of connection i
	behave func(ctx context.Context, c net.Conn, head []byte)  // until the connection ends
	head   func(t load.Target, i int) (head string, err error) // of the request that is begun
}

// A crowd is a number of hostile connections of all kinds.
type crowd struct {
	stop context.CancelFunc
	wait sync.WaitGroup
	open atomic.Int64 // as the system says: the server need not have accepted them
	lost atomic.Int64 // times that the server closed one
	size int
}

// gather opens hostile connections, until the crowd is dispersed.
func gather(ctx context.Context, kinds []hostile) *crowd {
	c := new(crowd)
	ctx, c.stop = context.WithCancel(ctx)
	for _, kind := range kinds {
		c.size += kind.n
		for i := range kind.n {
			c.wait.Go(func() { c.keep(ctx, &kind, i) })
		}
	}
	return c
}

// disperse closes all connections, and returns when they are closed.
func (c *crowd) disperse() {
	c.stop()
	c.wait.Wait()
}

// keep has one connection open until ctx ends.
func (c *crowd) keep(ctx context.Context, kind *hostile, i int) {
	t := kind.target(i)
	head, err := kind.head(t, i)
	if err != nil {
		panic("suite: not the URL of a server: " + err.Error())
	}
	for ctx.Err() == nil {
		if conn, err := t.Connect(ctx); err == nil {
			c.open.Add(1)
			closing := context.AfterFunc(ctx, func() { _ = conn.Close() })
			kind.behave(ctx, conn, []byte(head))
			closing()
			_ = conn.Close() // it may be closed
			c.open.Add(-1)
			c.lost.Add(1)
		}
		pause(ctx, redialPause)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// silent begins a request and sends nothing more.
func silent(_ context.Context, c net.Conn, head []byte) {
	if _, err := c.Write(head); err == nil {
		_, _ = io.Copy(io.Discard, c) // until the server closes
	}
}

// drip sends the head, then a byte from time to time. It never reads.
func drip(ctx context.Context, c net.Conn, head []byte) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10) // answers stay with the server
	}
	if _, err := c.Write(head); err != nil {
		return
	}
	for ctx.Err() == nil {
		if _, err := c.Write([]byte{'x'}); err != nil {
			return
		}
		pause(ctx, dripInterval)
	}
}

// wholeHead returns a request without a command.
func wholeHead(load.Target, int) (string, error) {
	return "GET / HTTP/1.1\r\nHost: flood\r\n\r\n", nil
}

// openHead returns a head that lacks its end.
func openHead(load.Target, int) (string, error) {
	return "POST /v4/timpush/get_attr HTTP/1.1\r\nHost: flood\r\nX-Flood: x", nil
}

// greedyCommands are commands with a limit of calls each.
var greedyCommands = []string{
	"timpush/set_attr", "timpush/get_attr", "timpush/remove_attr", "timpush/add_tag", "timpush/get_tag", "timpush/remove_tag",
	"timpush/clear_all_tags", "timpush/set_attr_name", "timpush/get_attr_name", "tidings/estimate_audience",
	"tidings/explain_audience", "im_open_login_svc/multiaccount_import", "im_open_login_svc/account_check",
}

// largeBody returns the head of a request with the largest body that is allowed.
func largeBody(t load.Target, i int) (string, error) {
	return t.Head(greedyCommands[i%len(greedyCommands)], declaredBytes)
}

// manyAnswers returns requests whose answers, some 10 KB each, are more than the buffers of
// a connection take.
func manyAnswers(t load.Target, _ int) (string, error) {
	const requests = 500
	command, body := load.GetAttr(load.InOrder(greedyUsers), batch).Append(nil, 0)
	head, err := t.Head(command, len(body))
	return strings.Repeat(head+string(body), requests), err
}

// oversized returns a workload of three commands in turn: two with a body as large as is
// allowed, whose list has far more members than are allowed, and changes of 100 users.
func oversized() load.Workload {
	list := func(begin, member, end string) string {
		n := (declaredBytes - len(begin) - len(end)) / len(member)
		return begin + strings.TrimSuffix(strings.Repeat(member, n), ",") + end
	}
	objects := list(`{"UserAttrs":[`, `{},`, `]}`)
	texts := list(`{"To_Account":[`, `"x",`, `]}`)
	changes := load.SetAttr(load.Shuffled(greedyUsers, 1), batch)
	return load.Workload{Users: batch, Append: func(dst []byte, seq uint64) (string, []byte) {
		switch seq % 3 {
		case 0:
			return "timpush/remove_attr", append(dst, objects...)
		case 1:
			return "timpush/get_attr", append(dst, texts...)
		}
		return changes.Append(dst, seq/3)
	}}
}

func (c *crowd) String() string {
	return fmt.Sprintf("%d of %d connections open, %d were closed by the server", c.open.Load(), c.size, c.lost.Load())
}
