package load

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// A Redis is a set of open connections to a Redis server, which changes are compared
// with. Each user is a hash whose fields are the attributes.
type Redis struct {
	sessions []*redisConn
}

// DialRedis opens connections to the server at addr; 0 means
// DefaultConnections.
func DialRedis(ctx context.Context, addr string, connections int) (*Redis, error) {
	d := &net.Dialer{Timeout: dialTimeout}
	r := new(Redis)
	for range cmp.Or(connections, DefaultConnections) {
		s := &redisConn{wire: wire{dial: func(ctx context.Context) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", addr)
		}}}
		if err := s.connect(ctx); err != nil {
			r.Close()
			return nil, err
		}
		r.sessions = append(r.sessions, s)
	}
	return r, nil
}

// Close closes the connections.
func (r *Redis) Close() {
	for _, s := range r.sessions {
		s.drop()
	}
}

// Fill gives n users the same attributes as the function Fill does.
func (r *Redis) Fill(ctx context.Context, n uint64) error {
	u, batch := InOrder(n), min(n, fillUsers)
	o := Options{Duration: fillTime, Requests: (n + batch - 1) / batch}
	res, err := r.run(ctx, int(batch), o, anyReply, func(dst []byte, seq uint64) []byte {
		for i := range batch {
			user := u.nth(seq*batch + i)
			dst = appendCommand(dst, "HSET", user, 2+2*len(attrNames))
			for attr, name := range attrNames {
				dst = appendBulk(appendBulk(dst, name), attrValue(attr, user))
			}
		}
		return dst
	})
	if err := cmp.Or(err, res.Err()); err != nil {
		return fmt.Errorf("redis fill: %w", err)
	}
	return nil
}

// Prime makes the requests of Alternation.Prime.
func (r *Redis) Prime(ctx context.Context, a Alternation) error {
	n := min(a.half, primeUsers)
	o := Options{Duration: fillTime, Requests: a.half / n}
	res, err := r.run(ctx, int(n), o, twoFields, func(dst []byte, seq uint64) []byte {
		return a.appendHDEL(dst, seq*n, n)
	})
	if err := cmp.Or(err, res.Err()); err != nil {
		return fmt.Errorf("redis prime: %w", err)
	}
	return nil
}

// Alternate makes the requests of Alternation.Workload from request first on: HDEL and
// HSET of two fields. The users of a request are one pipeline.
func (r *Redis) Alternate(ctx context.Context, a Alternation, first uint64, o Options) (Result, error) {
	return r.run(ctx, int(a.batch), o, twoFields, func(dst []byte, seq uint64) []byte {
		pos, remove := a.position(first + seq)
		if remove {
			return a.appendHDEL(dst, pos, a.batch)
		}
		return a.appendHSET(dst, pos, a.batch)
	})
}

func (a *Alternation) appendHDEL(dst []byte, pos, n uint64) []byte {
	for i := range n {
		dst = appendCommand(dst, "HDEL", a.users.nth(pos+i), 2+len(a.attrs))
		for attr := range a.attrs {
			dst = appendBulk(dst, a.attrs[attr].Name)
		}
	}
	return dst
}

func (a *Alternation) appendHSET(dst []byte, pos, n uint64) []byte {
	for i := range n {
		user := a.users.nth(pos + i)
		dst = appendCommand(dst, "HSET", user, 2+2*len(a.attrs))
		for attr := range a.attrs {
			dst = appendBulk(appendBulk(dst, a.attrs[attr].Name), a.value(attr, pos+i, user))
		}
	}
	return dst
}

// Replies that a pipeline expects of each command.
const (
	anyReply  = ""
	twoFields = ":2" // HDEL and HSET: two fields were removed or are new
)

// run sends pipelines of one command for each user. A reply other than the
// wanted one is an error.
func (r *Redis) run(
	ctx context.Context, users int, o Options, want string, pipeline func([]byte, uint64) []byte,
) (Result, error) {
	sessions := make([]session, len(r.sessions))
	for i, s := range r.sessions {
		s.pipeline, s.replies, s.want = pipeline, users, want
		sessions[i] = s
	}
	return run(ctx, sessions, users, o)
}

// appendCommand begins a command of args parts, itself and the key included.
func appendCommand(dst []byte, name string, user uint64, args int) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(args), 10)
	dst = appendBulk(append(dst, "\r\n"...), name)
	var key [32]byte
	return appendBulk(dst, appendUser(key[:0], user))
}

func appendBulk[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "\r\n"...)
	dst = append(dst, s...)
	return append(dst, "\r\n"...)
}

// A redisConn is the session of a connection to Redis. One request is a
// pipeline of commands that each have an integer as reply.
type redisConn struct {
	wire
	pipeline func(dst []byte, seq uint64) []byte
	replies  int
	want     string

	out, in []byte
}

func (c *redisConn) prepare(seq uint64) { c.out = c.pipeline(c.out[:0], seq) }

func (c *redisConn) exchange(ctx context.Context) (code int, err error) {
	if err := c.connect(ctx); err != nil {
		return 0, err
	}
	if err := c.pipe(); err != nil {
		c.drop()
		return 0, err
	}
	return 0, nil
}

func (c *redisConn) pipe() error {
	if _, err := c.nc.Write(c.out); err != nil {
		return err
	}
	in := input{r: c.nc, buf: c.in[:0]}
	defer func() { c.in = in.buf }()
	pos := 0
	for range c.replies {
		end, next, err := in.line(pos)
		if err != nil {
			return err
		}
		switch reply := in.buf[pos:end]; {
		case len(reply) < 2 || reply[0] != ':':
			return fmt.Errorf("redis: %q", reply)
		case c.want != anyReply && string(reply) != c.want:
			return fmt.Errorf("redis: a command answers %s, want %s: it did not change what it should", reply, c.want)
		}
		pos = next
	}
	return nil
}

// RedisArgs returns the arguments that make redis-server as durable as ours: a
// change is on disk when it is answered.
func RedisArgs(port int, dir string) []string {
	return []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--save", "", "--daemonize", "no",
		"--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0",
	}
}

// AwaitRedis waits until a server answers at addr.
func AwaitRedis(ctx context.Context, addr string) error {
	for {
		r, err := DialRedis(ctx, addr, 1)
		if err == nil {
			r.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return cmp.Or(context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
