package gate

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/apierr"
)

// metrics are what the API counts. Labels come from closed sets.
type metrics struct {
	requests        *prometheus.CounterVec   // command, code
	duration        *prometheus.HistogramVec // command
	ticketsVerified prometheus.Counter
	ticketsRefused  prometheus.Counter
}

// noCommand is the command of a request that named none that exists.
const noCommand = "none"

func newMetrics(reg prometheus.Registerer, g *Gate) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_requests_total",
			Help: "Finished API requests by command and ErrorCode.",
		}, []string{"command", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidings_request_duration_seconds",
			Help:    "Time from the first byte of a request understood to its answer written.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 3, 10},
		}, []string{"command"}),
		ticketsVerified: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_tickets_verified_total",
			Help: "UserSig tickets whose signature was verified and good.",
		}),
		ticketsRefused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_tickets_refused_total",
			Help: "UserSig tickets that failed verification.",
		}),
	}
	reg.MustRegister(m.requests, m.duration, m.ticketsVerified, m.ticketsRefused,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tidings_tickets_cached_total",
			Help: "UserSig tickets found in the cache of verified ones.",
		}, func() float64 { return float64(g.tickets.hits.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tidings_ticket_cache_entries",
			Help: "Verified UserSig tickets remembered.",
		}, func() float64 { return float64(g.tickets.entries.Len()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tidings_source_refused_total",
			Help: "Requests refused because their source address sends too many.",
		}, func() float64 { return float64(g.sources.refused.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tidings_requests_in_flight",
			Help: "API requests being worked on.",
		}, func() float64 { return float64(g.rooms.slots.used.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tidings_client_requests_in_flight",
			Help: "Requests of client apps being worked on.",
		}, func() float64 { return float64(g.clients.rooms.slots.used.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tidings_apps",
			Help: "Apps on this server.",
		}, func() float64 { return float64(len(g.apps.All())) }),
	)
	return m
}

// count notes a finished request.
func (m *metrics) count(c *command, e *apierr.Error, took time.Duration) {
	switch {
	case c != nil && e == nil:
		c.ok.Inc()
		c.took.Observe(took.Seconds())
	case c != nil:
		m.requests.WithLabelValues(c.name, strconv.Itoa(e.Kind.Code)).Inc()
		c.took.Observe(took.Seconds())
	case e != nil:
		m.requests.WithLabelValues(noCommand, strconv.Itoa(e.Kind.Code)).Inc()
	}
}
