// Package h2 keeps a few HTTP/2 connections to one host, with many requests on each.
//
// A provider that takes one token a request lives from multiplexing, and sees many
// connections at once as an attack. http.Transport opens hundreds when a burst meets it
// cold, because it knows how many requests a connection takes only once the provider has
// said so. So a Pool sends the first request of a connection alone, then as many as the
// provider allows, and opens another connection only when all are full: never two at a
// time, and never sooner than a second after the last.
//
// Requests are counted here and not with http.ClientConn.Reserve, because net/http frees a
// place a moment after the body of the answer was closed, and calls its state hook, which
// would tell of that, several times a request.
package h2

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Options say where a Pool connects to, and how.
type Options struct {
	URL         *url.URL                              // https, or http for HTTP/2 without TLS; its path does not matter
	TLS         *tls.Config                           // nil: the defaults
	Proxy       func(*http.Request) (*url.URL, error) // nil: none
	Connections int                                   // at once, at most; default 4
	Life        time.Duration                         // of a connection, give or take a fifth, so that changes in DNS are noticed; default 12 h
}

const (
	dialTimeout = 5 * time.Second // for TCP, and again for TLS
	dialSpacing = time.Second     // between two connections
	dialBackoff = time.Minute     // what that grows to when they fail
	lookEvery   = time.Second     // how often a connection is asked what it can take
)

// ErrClosed is the error of a Pool that was closed.
var ErrClosed = errors.New("the connections were closed")

// A DialError says why there is no connection. Nothing was sent.
type DialError struct{ Err error }

func (e *DialError) Error() string { return "no connection: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// A Pool is a set of connections to one host. It is safe for concurrent use.
type Pool struct {
	opts      Options
	address   string
	transport *http.Transport
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	freed     chan struct{} // one waiter may look again; that one passes it on

	mu       sync.Mutex
	conns    []*Conn // to which requests may go
	waiting  int     // callers of Acquire
	dialing  bool
	nextDial time.Time
	fails    int   // dials that failed, one after the other
	dialErr  error // of the last dial
	perConn  int   // requests at once that a connection took, at most
	closed   bool
	draining map[*Conn]bool // still at work, and take no more
}

// A Conn is one connection.
type Conn struct {
	cc    *http.ClientConn
	until time.Time // when another takes its place

	// Of the pool, under its lock.
	busy   int       // requests
	limit  int       // requests at once
	looked time.Time // when limit was learned; zero: no answer yet
	heard  time.Time // when the last answer came
}

// New creates a Pool. It makes no connection.
func New(o Options) *Pool {
	o.Connections = cmp.Or(max(o.Connections, 0), 4)
	o.Life = cmp.Or(max(o.Life, 0), 12*time.Hour)
	var protocols http.Protocols
	port := "443"
	if o.URL.Scheme == "http" {
		protocols.SetUnencryptedHTTP2(true)
		port = "80"
	} else {
		protocols.SetHTTP2(true)
	}
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if s.NegotiatedProtocol != "h2" {
			return errors.New("the server does not speak HTTP/2")
		}
		return nil
	}
	p := &Pool{
		opts:    o,
		address: net.JoinHostPort(o.URL.Hostname(), cmp.Or(o.URL.Port(), port)),
		transport: &http.Transport{
			Proxy:                  o.Proxy,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    dialTimeout,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
			Protocols:              &protocols,
			HTTP2: &http.HTTP2Config{
				SendPingTimeout:  time.Minute,
				PingTimeout:      15 * time.Second,
				WriteByteTimeout: 30 * time.Second,
			},
		},
		freed:    make(chan struct{}, 1),
		draining: map[*Conn]bool{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Acquire returns a connection that can take one more request. The caller passes it to
// RoundTrip or to Release. It waits while all connections are full, and returns a
// *DialError if there is none and none can be made.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if c, err := p.take(); c != nil || err != nil {
			p.wake()
			return c, err
		}
		p.waiting++
		p.mu.Unlock()
		select {
		case <-p.freed:
		case <-ctx.Done():
		}
		p.mu.Lock()
		p.waiting--
		if ctx.Err() != nil {
			p.wake()
			return nil, context.Cause(ctx)
		}
	}
}

// wake lets one waiter look again.
func (p *Pool) wake() {
	if p.waiting == 0 {
		return
	}
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// take returns the connection with the most places left; nil if the caller has to wait.
func (p *Pool) take() (*Conn, error) {
	if p.closed {
		return nil, ErrClosed
	}
	now := time.Now()
	var best *Conn
	for i := len(p.conns) - 1; i >= 0; i-- {
		c := p.conns[i]
		if now.After(c.until) && !c.looked.IsZero() {
			p.drain(c)
		} else if free := c.limit - c.busy; free > 0 && (best == nil || free > best.limit-best.busy) {
			best = c
		}
	}
	if best != nil {
		best.busy++
		return best, nil
	}
	return nil, p.grow(now)
}

// grow sees to it that there will be one more connection, if there may be.
func (p *Pool) grow(now time.Time) error {
	wait := p.nextDial.Sub(now)
	if wait > 0 && len(p.conns) == 0 && p.dialErr != nil {
		return p.dialErr
	}
	if p.dialing || len(p.conns) >= p.opts.Connections {
		return nil
	}
	p.dialing = true
	go p.dial(wait)
	return nil
}

// dial makes a connection after a time.
func (p *Pool) dial(wait time.Duration) {
	ctx, cancel := context.WithTimeout(p.ctx, max(wait, 0)+3*dialTimeout)
	defer cancel()
	var cc *http.ClientConn
	var err error
	select {
	case <-time.After(wait):
		cc, err = p.transport.NewClientConn(ctx, p.opts.URL.Scheme, p.address)
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.wake()
	p.dialing = false
	if err != nil {
		p.dialErr = &DialError{err}
		p.backOff()
		return
	}
	if p.closed {
		hangUp(cc)
		return
	}
	now := time.Now()
	p.fails, p.dialErr, p.nextDial = 0, nil, now.Add(dialSpacing)
	life := time.Duration(float64(p.opts.Life) * (0.8 + 0.4*rand.Float64()))
	p.conns = append(p.conns, &Conn{cc: cc, until: now.Add(life), limit: 1, heard: now})
}

// backOff puts the next dial off, twice as long after each failure.
func (p *Pool) backOff() {
	wait := min(dialSpacing<<min(p.fails, 10), dialBackoff)
	p.fails++
	p.nextDial = time.Now().Add(wait)
}

// Release gives a connection back that was not used, or whose answer was read.
func (p *Pool) Release(c *Conn) { p.release(c, false) }

// release gives a connection back. Drain: it takes no more requests.
func (p *Pool) release(c *Conn, drain bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	c.busy--
	if !c.looked.IsZero() && (c.limit == 1 || now.Sub(c.looked) > lookEvery) {
		p.look(c, now)
	}
	if drain || p.closed {
		p.drain(c)
	}
	if c.busy == 0 && p.draining[c] {
		delete(p.draining, c)
		hangUp(c.cc)
	}
	p.wake()
}

// look learns how many requests a connection takes at once.
func (p *Pool) look(c *Conn, now time.Time) {
	if c.cc.Err() != nil {
		p.drain(c)
		return
	}
	c.looked = now
	c.limit = max(c.cc.Available()+c.cc.InFlight(), 1)
	p.perConn = max(p.perConn, c.limit)
}

// drain takes a connection out of use. It is closed when its last request has ended.
func (p *Pool) drain(c *Conn) {
	i := slices.Index(p.conns, c)
	if i < 0 {
		return
	}
	p.conns = slices.Delete(p.conns, i, i+1)
	if c.busy == 0 {
		hangUp(c.cc)
	} else {
		p.draining[c] = true
	}
}

// hangUp closes a connection. It does not wait: the end of TLS may take a moment, and
// callers hold the lock.
func hangUp(cc *http.ClientConn) {
	go func() { _ = cc.Close() }() // that it was closed already is no matter
}

// PerConnection returns how many requests at once the provider allows on a connection; 0
// if that is not known yet.
func (p *Pool) PerConnection() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.perConn
}

// Close closes all connections. Requests in flight fail.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.cancel()
	for _, c := range p.conns {
		hangUp(c.cc)
	}
	for c := range p.draining {
		hangUp(c.cc)
	}
	p.conns = nil
	clear(p.draining)
	p.wake()
	return nil
}

// String describes the pool for logs.
func (p *Pool) String() string { return fmt.Sprintf("connections to %s", p.address) }
