// Package gate is how a request passes to its command: the checks of
// spec/conventions.md, 2.5 as a list in their order, tickets, limits, strict
// decoding, one form of answer, log and metrics. It knows no command.
package gate

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/app"
)

// Options tunes a Gate. The zero value is the contract's defaults.
type Options struct {
	MaxBodyBytes    int64            // largest request body of a command that has no limit of its own; default 1 MiB
	MaxBodyMemory   int64            // bytes of all bodies held at once, above it 60018; default 256 MiB, and never less than the largest body takes
	MaxInFlight     int              // requests worked on at once, above it 60018; default 2048
	SourceLimit     int              // requests per second from one source address, above it 60018; 0 = unlimited
	RequestTimeout  time.Duration    // for working on one request; default 3s
	TrustedProxies  []netip.Prefix   // whose X-Forwarded-For is believed
	StrictUserSig   bool             // refuses what spec/conventions.md, 9.14 is patient with
	CORSOrigins     []string         // origins that browsers may call from; "*" is any
	RequestIDInBody bool             // answers carry RequestId
	LogRequests     LogRequests      // default LogAll
	Logger          *slog.Logger     // default slog.Default()
	Now             func() time.Time // the clock of tickets and rates; default time.Now
	Metrics         prometheus.Registerer

	// Answered is called after each request that named an app that exists, with the ErrorCode
	// of its answer.
	Answered func(app uint32, code int)
}

// LogRequests says which requests get a log line.
type LogRequests string

// The choices for LogRequests.
const (
	LogAll    LogRequests = "all"
	LogFailed LogRequests = "failed"
	LogOff    LogRequests = "off"
)

// Invalidations knows up to which Unix second the tickets of an account are
// invalid; 0 if none are. audience.Store is one.
type Invalidations interface {
	RevokedUpTo(ctx context.Context, app uint32, account string) (int64, error)
}

// Gate answers API requests. It is an http.Handler.
type Gate struct {
	apps          *app.Registry
	invalidations Invalidations
	opts          Options
	log           *slog.Logger
	now           func() time.Time // the clock of tickets and rates

	commands     map[string]*command // by path: "/v4/timpush/remove_attr"
	tickets      *ticketCache
	failures     *failureLog
	sources      *sourceLimiter
	limits       sync.Map      // uint32 to *appLimits
	called       atomic.Uint32 // apps that were called for the first time
	rooms        rooms
	clients      *clients
	discarding   atomic.Int64 // requests whose bodies are read and thrown away
	large        turns        // of decoding large bodies
	metrics      *metrics
	known        *lru.Cache[netip.Addr, uint32] // networks of peers that had a good ticket
	proxyWarning sync.Once
	nextID       atomic.Uint64
}

// New creates the gate of commands and of what client apps call, for the apps of a
// registry.
func New(apps *app.Registry, invalidations Invalidations, commands []Command, clients Clients, opts Options) *Gate {
	if opts.MaxBodyBytes == 0 {
		opts.MaxBodyBytes = 1 << 20
	}
	if opts.MaxBodyMemory == 0 {
		opts.MaxBodyMemory = 256 << 20
	}
	if opts.MaxInFlight == 0 {
		opts.MaxInFlight = 2048
	}
	if opts.RequestTimeout == 0 {
		opts.RequestTimeout = 3 * time.Second
	}
	if opts.LogRequests == "" {
		opts.LogRequests = LogAll
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Metrics == nil {
		opts.Metrics = prometheus.NewRegistry()
	}
	g := &Gate{
		apps:          apps,
		invalidations: invalidations,
		opts:          opts,
		log:           opts.Logger,
		now:           opts.Now,
		commands:      make(map[string]*command, 2*len(commands)),
		tickets:       newTicketCache(),
		failures:      newFailureLog(),
		sources:       newSourceLimiter(opts.SourceLimit),
		known:         newKnown(),
	}
	largest := opts.MaxBodyBytes
	for i := range commands {
		largest = max(largest, commands[i].Body.Bytes)
	}
	g.large = halfOfProcessors()
	oneBody := largest*(1+decodingFactor) + 2*bodyStep // which always has room
	g.rooms = rooms{newRoom(int64(opts.MaxInFlight), minSlotShare), newRoom(max(opts.MaxBodyMemory, oneBody), oneBody)}
	g.metrics = newMetrics(opts.Metrics, g)
	g.clients = g.newClients(clients, opts)
	g.nextID.Store(rand.Uint64())
	for i := range commands {
		for _, name := range commands[i].Names() {
			g.commands["/v4/"+name] = g.command(&commands[i], name)
		}
	}
	return g
}

// command is a row under one of its names, at a running gate.
type command struct {
	*Command
	name   string // that the caller used
	older  bool   // of the older family
	makes  bool   // a device
	run    Run
	caller []check // made again with the body in hand if the app has changed since
	rates  []check
	index  int // among all names of commands
	ok     prometheus.Counter
	took   prometheus.Observer
}

func (g *Gate) command(row *Command, name string) *command {
	c := &command{
		Command: row, name: name, older: name != row.Name, run: row.Run, index: len(g.commands), caller: callerChecks, rates: rateChecks,
		ok: g.metrics.requests.WithLabelValues(name, "0"), took: g.metrics.duration.WithLabelValues(name),
	}
	if c.older && row.Older.Run.call != nil {
		c.run = row.Older.Run
	}
	return c
}

// newRequestID returns an id that no other request of this process has: a counter
// from a random start, scattered so that neighbours look different.
func (g *Gate) newRequestID() string {
	x := g.nextID.Add(1) * 0x9e3779b97f4a7c15 // odd, so that the product is unique too
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], x)
	const digits = "0123456789abcdef"
	var id [16]byte
	for i, c := range b {
		id[2*i], id[2*i+1] = digits[c>>4], digits[c&15]
	}
	return string(id[:])
}
