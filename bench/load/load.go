// Package load puts load on a server of the push REST API and measures the answers.
// It often shares the processor with the server, so it costs little itself: connections
// stay open, requests are written into one reused buffer, answers are searched and not
// parsed, and a request allocates nothing.
//
// A closed loop (Options.Rate 0) sends the next request on a connection when
// the answer to the last one is there: it finds the peak rate. A paced run
// sends at fixed times whatever the server does, and counts latency from those
// times, so that a stall is charged to every request it delays. It finds the
// latency at a rate.
package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Target is the app of a server that requests are sent to, and the admin who
// sends them.
type Target struct {
	URL        string // http://host:port or https://host:port
	SDKAppID   uint32
	Identifier string
	Ticket     string      // the UserSig of Identifier
	TLS        *tls.Config // for https; nil is the default configuration
	Source     netip.Addr  // address of this machine that connections come from; zero: any
}

// Options bounds and paces a run. The zero value is ten seconds at full speed.
type Options struct {
	Duration     time.Duration         // no request is begun after it; default 10s
	Requests     uint64                // most requests; default Workload.Requests
	Rate         float64               // requests per second in all; 0: each when the last is answered
	Grace        time.Duration         // how long answers are waited for after the end; default 10s
	Stop         <-chan struct{}       // no request is begun after it is closed; nil: never
	AllowPartial bool                  // an answer with an ErrorList is no error
	Persist      bool                  // a connection that breaks again and again does not end the run
	Progress     func(requests uint64) // if not nil, called every second with the requests begun
}

// Broken is the key of Result.Errors for requests whose connection broke or
// whose answer could not be read.
const Broken = -1

// A Result is what a run measured.
type Result struct {
	Requests uint64         // answered without error
	Users    uint64         // users in them
	Errors   map[int]uint64 // the others, by ErrorCode, HTTP status if not 200, or Broken
	Elapsed  time.Duration
	Latency  *Histogram // of all requests, in error or not
}

// RequestsPerSecond returns the rate of requests answered without error.
func (r Result) RequestsPerSecond() float64 { return perSecond(r.Requests, r.Elapsed) }

// UsersPerSecond returns the rate of users in requests answered without error.
func (r Result) UsersPerSecond() float64 { return perSecond(r.Users, r.Elapsed) }

func perSecond(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// Failed returns how many requests were in error.
func (r Result) Failed() uint64 {
	var n uint64
	for _, count := range r.Errors {
		n += count
	}
	return n
}

// Add adds another run, as if it had been part of this one.
func (r *Result) Add(other Result) {
	r.Requests += other.Requests
	r.Users += other.Users
	r.Elapsed += other.Elapsed
	for code, n := range other.Errors {
		if r.Errors == nil {
			r.Errors = make(map[int]uint64)
		}
		r.Errors[code] += n
	}
	if r.Latency == nil {
		r.Latency = new(Histogram)
	}
	if other.Latency != nil {
		r.Latency.Add(other.Latency)
	}
}

// Err returns an error with code and count of the requests in error; nil if there were
// none.
func (r Result) Err() error {
	if len(r.Errors) == 0 {
		return nil
	}
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		name := strconv.Itoa(code)
		if code == Broken {
			name = "broken connection"
		}
		parts = append(parts, fmt.Sprintf("%s (%d times)", name, r.Errors[code]))
	}
	return errors.New("requests in error: " + strings.Join(parts, ", "))
}

// String returns a report of a few lines.
func (r Result) String() string {
	s := fmt.Sprintf("%d requests, %d users in %.2fs: %.0f requests/s, %.0f users/s\nlatency %v",
		r.Requests, r.Users, r.Elapsed.Seconds(), r.RequestsPerSecond(), r.UsersPerSecond(), r.Latency)
	if err := r.Err(); err != nil {
		s += "\n" + err.Error()
	}
	return s
}

// A Client is a set of open connections to a server. It may make many runs,
// one at a time.
type Client struct {
	conns []*conn
}

// DefaultConnections is the number of connections that Run and Dial open for 0.
const DefaultConnections = 64

// Dial opens connections to a target; 0 means DefaultConnections.
func Dial(ctx context.Context, t Target, connections int) (*Client, error) {
	return DialAll(ctx, []Target{t}, connections)
}

// DialAll opens connections to one server, which has all targets. There is at least one
// target. Each connection carries requests to all targets.
func DialAll(ctx context.Context, targets []Target, connections int) (*Client, error) {
	var dial dialFunc
	heads := make([]head, len(targets))
	for i := range targets {
		var err error
		if dial, heads[i], err = targets[i].endpoint(); err != nil {
			return nil, err
		}
	}
	c := new(Client)
	for range cmp.Or(connections, DefaultConnections) {
		k := &conn{wire: wire{dial: dial}, heads: heads}
		if err := k.connect(ctx); err != nil {
			c.Close()
			return nil, err
		}
		c.conns = append(c.conns, k)
	}
	return c, nil
}

// Close closes the connections.
func (c *Client) Close() {
	for _, k := range c.conns {
		k.drop()
	}
}

// Run puts the workload on the target. Requests in error are in the Result;
// the error is for a target that cannot be reached and for the end of ctx, and
// the Result then holds what was measured before.
func (c *Client) Run(ctx context.Context, w Workload, o Options) (Result, error) {
	sessions := make([]session, len(c.conns))
	for i, k := range c.conns {
		k.work, k.allowPartial = w, o.AllowPartial
		sessions[i] = k
	}
	o.Requests = cmp.Or(o.Requests, w.Requests)
	return run(ctx, sessions, w.Users, o)
}

// Run opens connections, puts the workload on the target and closes the connections.
func Run(ctx context.Context, t Target, w Workload, connections int, o Options) (Result, error) {
	c, err := Dial(ctx, t, connections)
	if err != nil {
		return Result{}, err
	}
	defer c.Close()
	return c.Run(ctx, w, o)
}

// Call makes one request to the first target and returns the body of the answer. An ErrorCode
// other than 0 is an error; an ErrorList is not.
func (c *Client) Call(ctx context.Context, command, body string) ([]byte, error) {
	var answer []byte
	k := c.conns[0]
	w := Workload{Append: func(dst []byte, _ uint64) (string, []byte) { return command, append(dst, body...) }}
	k.keep = func(body []byte) { answer = slices.Clone(body) }
	defer func() { k.keep = nil }()
	single := &Client{conns: []*conn{k}}
	r, err := single.Run(ctx, w, Options{Requests: 1, AllowPartial: true})
	if err := cmp.Or(err, r.Err()); err != nil {
		return answer, fmt.Errorf("%s: %w: %s", command, err, answer)
	}
	return answer, nil
}

// Connect opens a connection to the target, for a caller that does not send requests as
// a Client does.
func (t Target) Connect(ctx context.Context) (net.Conn, error) {
	dial, _, err := t.endpoint()
	if err != nil {
		return nil, err
	}
	return dial(ctx)
}

// Head returns the head of a request to the target with a body of length bytes.
func (t Target) Head(command string, length int) (string, error) {
	_, h, err := t.endpoint()
	return string(h.appendHead(nil, command, 0, length)), err
}

// endpoint returns the function that opens a connection to the target, and what the
// requests of all commands have in common.
func (t Target) endpoint() (dialFunc, head, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, head{}, err
	}
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port == "" || u.Hostname() == "" {
		return nil, head{}, fmt.Errorf("target %q is not an http or https URL", t.URL)
	}
	addr := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	plain := &net.Dialer{Timeout: dialTimeout}
	if t.Source.IsValid() {
		plain.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.Source, 0))
	}
	var d interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = plain
	if u.Scheme == "https" {
		d = &tls.Dialer{NetDialer: plain, Config: t.TLS}
	}
	dial := func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	return dial, newHead(u, t), nil
}
