package server

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/gate"
)

// Every connection takes a file descriptor, and so does everything that the store opens. A
// store that can open no file loses its log, and then the process has to end: so
// connections get what the store does not need, and no more.
const (
	pebbleFiles   = 1000 // tables kept open, if there are descriptors enough
	otherFiles    = 160  // log, checkpoints, a backup, the sockets and connections below, standard streams
	maxOperators  = 32   // connections of the control socket
	maxScrapers   = 32   // connections of the metrics
	maxConnecting = 16384
)

// A fileBudget says who may have how many of the descriptors of the process.
type fileBudget struct {
	connections int // of the API
	tables      int // of the store
}

// newFileBudget shares limit descriptors; 0 is no limit that is known. Asked is
// max_connections, and 0 if it is not set.
func newFileBudget(limit uint64, asked int) fileBudget {
	b := fileBudget{connections: maxConnecting, tables: pebbleFiles}
	if limit > 0 {
		total := int(min(limit, 1<<30))
		b.tables = min(pebbleFiles, max(total/4, 16))
		room := max(total-b.tables-otherFiles, 1)
		b.connections = min(maxConnecting, room)
		asked = min(asked, room)
	}
	if asked > 0 {
		b.connections = asked
	}
	return b
}

// A bounded is a listener that has no more than so many connections at a time, and of one
// source address a share of them. More are closed as they come. A part is kept for sources
// that are known, so that strangers keep no caller out, and a quarter of all is out of
// reach for the sources of any one app.
type bounded struct {
	net.Listener
	limit, share int
	exempt       []netip.Prefix                         // sources that have no share: proxies stand for many clients
	known        func(netip.Addr) (app uint32, ok bool) // nil: all are
	log          *slog.Logger

	mu      sync.Mutex
	open    int
	sources map[netip.Addr]int
	apps    map[uint32]int // connections of sources that are known, by the app they are known for
	warned  time.Time

	full, greedy atomic.Int64 // connections refused: there are too many; too many of the source
}

// everyone is exempt where a source needs no share.
var everyone = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// bound bounds the connections of a listener.
func bound(l net.Listener, limit int, exempt []netip.Prefix, log *slog.Logger) *bounded {
	return &bounded{Listener: l, limit: limit, share: max(limit/4, 1), exempt: exempt, log: log, sources: map[netip.Addr]int{}, apps: map[uint32]int{}}
}

// Accept returns the next connection that there is room for.
func (l *bounded) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := gate.Network(gate.ParseAddr(c.RemoteAddr().String()))
		if app, ok := l.admit(source); ok {
			return &boundedConn{Conn: c, done: sync.OnceFunc(func() { l.release(source, app) })}, nil
		}
		_ = c.Close()
	}
}

// admit counts a connection of a source, if there is room for it, and of the app that the
// source is known for; 0 is none.
func (l *bounded) admit(source netip.Addr) (app uint32, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.known == nil || l.isExempt(source)
	if !known {
		app, known = l.known(source)
	}
	switch {
	case l.open >= l.room(source, known) || app != 0 && l.apps[app] >= max(l.limit*3/4, 1):
		l.full.Add(1)
		l.warn(slog.Int("limit", l.limit))
	case l.sources[source] >= l.share && !l.isExempt(source):
		l.greedy.Add(1)
		l.warn(slog.String("source", source.String()), slog.Int("limit_of_a_source", l.share))
	default:
		l.open++
		l.sources[source]++
		if app != 0 {
			l.apps[app]++
		}
		return app, true
	}
	return 0, false
}

// room returns how many connections there may be for another one of a source to be taken:
// all for those that are known or exempt, three quarters for the first of a stranger, such
// as a probe or a caller after a restart, and half for a further one. The caller holds mu.
func (l *bounded) room(source netip.Addr, known bool) int {
	switch {
	case known:
		return l.limit
	case l.sources[source] == 0:
		return max(l.limit*3/4, 1)
	}
	return max(l.limit/2, 1)
}

func (l *bounded) isExempt(source netip.Addr) bool {
	return !source.IsValid() || slices.ContainsFunc(l.exempt, func(p netip.Prefix) bool { return p.Contains(source) })
}

// warn writes a warning, but not more than one a minute. The caller holds mu.
func (l *bounded) warn(attrs ...slog.Attr) {
	if now := time.Now(); now.Sub(l.warned) >= time.Minute {
		l.warned = now
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "a connection was closed as it came, there are as many as there may be", attrs...)
	}
}

func (l *bounded) release(source netip.Addr, app uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.sources[source]--; l.sources[source] == 0 {
		delete(l.sources, source)
	}
	if app != 0 {
		if l.apps[app]--; l.apps[app] == 0 {
			delete(l.apps, app)
		}
	}
}

func (l *bounded) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// register adds the figures of the listener to the metrics, under names with a prefix. To says
// which connections they are about.
func (l *bounded) register(r prometheus.Registerer, prefix, to string) {
	refused := func(reason string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        prefix + "_refused_total",
			Help:        "Connections " + to + " closed as they came: full: there are as many as there may be; source: there are as many from the source address.",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(n.Load()) })
	}
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix, Help: "Connections " + to + "."}, func() float64 { return float64(l.connections()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "_limit", Help: "How many connections " + to + " there may be."}, func() float64 { return float64(l.limit) }),
		refused("full", &l.full), refused("source", &l.greedy),
	)
}

// A boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	done func()
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}
