package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// A Redis is the other server ours is compared with: a hash for each user, its
// attributes as fields.
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

// Fill gives n users the attributes that Fill of this package gives them.
func (r *Redis) Fill(ctx context.Context, n uint64) error {
	u, each := InOrder(n), min(n, fillUsers)
	o := Options{Duration: fillTime, Requests: (n + each - 1) / each}
	res, err := r.run(ctx, int(each), o, false, func(dst []byte, seq uint64) []byte {
		for i := range each {
			user := u.at(seq*each + i)
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

// Remove does what the workload RemoveAttr does: HDEL of sex and city, n users
// in one pipeline, which is one request of the Result.
func (r *Redis) Remove(ctx context.Context, u Users, n int, o Options) (Result, error) {
	o.Requests = cmp.Or(o.Requests, u.n/uint64(n))
	return r.run(ctx, n, o, true, func(dst []byte, seq uint64) []byte {
		for i := range uint64(n) {
			dst = appendCommand(dst, "HDEL", u.at(seq*uint64(n)+i), 4)
			dst = append(dst, "$3\r\nsex\r\n$4\r\ncity\r\n"...)
		}
		return dst
	})
}

// run sends pipelines of one command for each user. If mustChange, a reply of
// 0 is an error.
func (r *Redis) run(
	ctx context.Context, users int, o Options, mustChange bool, pipeline func([]byte, uint64) []byte,
) (Result, error) {
	sessions := make([]session, len(r.sessions))
	for i, s := range r.sessions {
		s.pipeline, s.replies, s.mustChange = pipeline, users, mustChange
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
	pipeline   func(dst []byte, seq uint64) []byte
	replies    int
	mustChange bool

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
		case c.mustChange && string(reply) == ":0":
			return errNothingDone
		}
		pos = next
	}
	return nil
}

var errNothingDone = errors.New("redis: a command changed nothing")

// RedisArgs are the arguments that make redis-server as durable as ours: a
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
