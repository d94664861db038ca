// Package api serves the HTTP API: a table of commands, the checks that come
// before each of them, decoding, encoding and the rendering of errors.
//
// A request passes the checks of spec/conventions.md, 2.5 in their order; what
// is left is a function from a decoded request to an answer or an error.
package api

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
)

// Options tunes a Server. The zero value is the contract's defaults.
type Options struct {
	MaxBodyBytes    int64          // largest request body; default 1 MiB
	MaxInFlight     int            // requests worked on at once, above it 60018; default 2048
	SourceLimit     int            // requests per second from one source address, above it 60018; 0 = unlimited
	RequestTimeout  time.Duration  // for working on one request; default 3s
	TrustedProxies  []netip.Prefix // whose X-Forwarded-For is believed
	LaxUserSig      bool           // relaxes the checks of spec/conventions.md, 9.14
	CORSOrigins     []string       // origins that browsers may call from; "*" is any
	RequestIDInBody bool           // answers carry RequestId
	LogRequests     LogRequests    // default LogAll
	Logger          *slog.Logger   // default slog.Default()
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

// Server answers API requests. It is an http.Handler.
type Server struct {
	apps  *app.Registry
	users audience.Store
	opts  Options
	log   *slog.Logger
	now   func() time.Time // the clock of tickets and rates

	commands map[string]*command // by path: "/v4/timpush/remove_attr"
	tickets  *ticketCache
	failures *failureLog
	sources  *sourceLimiter
	limits   sync.Map      // uint32 to *appLimits
	called   atomic.Uint32 // apps that were called for the first time
	metrics  *metrics
	inFlight atomic.Int64
	nextID   atomic.Uint64
}

// New makes a Server for the apps of a registry and their users.
func New(apps *app.Registry, users audience.Store, opts Options) *Server {
	if opts.MaxBodyBytes == 0 {
		opts.MaxBodyBytes = 1 << 20
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
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Metrics == nil {
		opts.Metrics = prometheus.NewRegistry()
	}
	s := &Server{
		apps:     apps,
		users:    users,
		opts:     opts,
		log:      opts.Logger,
		now:      time.Now,
		commands: make(map[string]*command, len(endpoints)),
		tickets:  newTicketCache(),
		failures: newFailureLog(),
		sources:  newSourceLimiter(opts.SourceLimit),
	}
	s.metrics = newMetrics(opts.Metrics, s)
	s.nextID.Store(rand.Uint64())
	for i, e := range endpoints {
		s.commands["/v4/"+e.name] = &command{endpoint: e, index: i, ok: s.metrics.requests.WithLabelValues(e.name, "0"), took: s.metrics.duration.WithLabelValues(e.name)}
	}
	return s
}

// A family is a service of the API: what its commands have in common.
type family struct {
	notAdmin *apierr.Kind // the caller is no admin: spec/conventions.md, 3.4
	badJSON  *apierr.Kind // the body is no JSON object: 2.3
	badField *apierr.Kind // a member is missing or of the wrong type
	tooLarge *apierr.Kind // 2.6
	timeout  *apierr.Kind // 2.2
	internal *apierr.Kind
}

var (
	pushFamily    = &family{apierr.NotAdmin, apierr.BadJSON, apierr.BadJSON, apierr.BodyTooLarge, apierr.PushTimeout, apierr.Internal}
	accountFamily = &family{apierr.NotAdminAccounts, apierr.BadJSONCommon, apierr.BadAccountField, apierr.Timeout, apierr.AccountTimeout, apierr.AccountInternal}
)

// An endpoint is one command of the API.
type endpoint struct {
	name   string // path after /v4/
	family *family
	rate   int // calls per second and app, unless the app says otherwise
	legacy bool
	handle handler
}

// endpoints is the whole API. The mux, the limiter, the metric labels and the
// names that configuration may hold are all made from it. Contract:
// spec/timpush-api.md, 1 and 14; spec/conventions.md, 5 and 2.7.
var endpoints = []endpoint{
	{"timpush/set_attr_name", pushFamily, 100, false, call((*Server).setAttrName)},
	{"timpush/get_attr_name", pushFamily, 100, false, call((*Server).getAttrName)},
	{"timpush/set_attr", pushFamily, 100, false, call((*Server).setAttr)},
	{"timpush/get_attr", pushFamily, 100, false, call((*Server).getAttr)},
	{"timpush/remove_attr", pushFamily, 100, false, call((*Server).removeAttr)},

	{"timpush/add_tag", pushFamily, 100, false, call((*Server).addTag)},
	{"timpush/get_tag", pushFamily, 100, false, call((*Server).getTag)},
	{"timpush/remove_tag", pushFamily, 100, false, call((*Server).removeTag)},
	{"timpush/clear_all_tags", pushFamily, 100, false, call((*Server).clearAllTags)},

	{"all_member_push/im_set_attr_name", pushFamily, 100, true, call((*Server).imSetAttrName)},
	{"all_member_push/im_get_attr_name", pushFamily, 100, true, call((*Server).getAttrName)},
	{"all_member_push/im_set_attr", pushFamily, 100, true, call((*Server).setAttr)},
	{"all_member_push/im_get_attr", pushFamily, 100, true, call((*Server).getAttr)},
	{"all_member_push/im_remove_attr", pushFamily, 100, true, call((*Server).removeAttr)},
	{"all_member_push/im_add_tag", pushFamily, 100, true, call((*Server).addTag)},
	{"all_member_push/im_get_tag", pushFamily, 100, true, call((*Server).getTag)},
	{"all_member_push/im_remove_tag", pushFamily, 100, true, call((*Server).removeTag)},
	{"all_member_push/im_remove_all_tags", pushFamily, 100, true, call((*Server).clearAllTags)},

	{"tidings/estimate_audience", pushFamily, 100, false, call((*Server).estimateAudience)},
	{"tidings/explain_audience", pushFamily, 100, false, call((*Server).explainAudience)},
	{"tidings/list_audience", pushFamily, 100, false, call((*Server).listAudience)},
	{"tidings/list_attr_values", pushFamily, 100, false, call((*Server).listAttrValues)},
	{"tidings/list_tags", pushFamily, 100, false, call((*Server).listTags)},

	{"im_open_login_svc/account_import", accountFamily, 200, false, call((*Server).accountImport)},
	{"im_open_login_svc/multiaccount_import", accountFamily, 100, false, call((*Server).multiAccountImport)},
	{"im_open_login_svc/account_check", accountFamily, 100, false, call((*Server).accountCheck)},
	{"im_open_login_svc/account_delete", accountFamily, 100, false, call((*Server).accountDelete)},
	{"im_open_login_svc/kick", accountFamily, 200, false, call((*Server).kick)},
}

// Commands lists the names of all commands, such as "timpush/remove_attr".
func Commands() []string {
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.name
	}
	return names
}

// command is an endpoint of a running server.
type command struct {
	endpoint
	index int
	ok    prometheus.Counter
	took  prometheus.Observer
}

// caller is who makes a request, after all checks.
type caller struct {
	App    *app.App
	Name   string
	Legacy bool // through the older family, which knows UserIDs only and no ErrorList
}

// newRequestID makes an id that no other request of this process has: a counter
// from a random start, scattered so that neighbours look different.
func (s *Server) newRequestID() string {
	x := s.nextID.Add(1) * 0x9e3779b97f4a7c15 // odd, so that the product is unique too
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], x)
	const digits = "0123456789abcdef"
	var id [16]byte
	for i, c := range b {
		id[2*i], id[2*i+1] = digits[c>>4], digits[c&15]
	}
	return string(id[:])
}
