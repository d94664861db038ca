package dispatch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/channel"
)

// metrics are what the Dispatcher counts, and what it tells of itself when it is asked.
// Labels come from closed sets.
type metrics struct {
	d       *Dispatcher
	results *prometheus.CounterVec // channel, outcome
	ended   *prometheus.CounterVec // state
	alarms  prometheus.Counter
	start   prometheus.Histogram

	tasks, pages, units, blocked, throttled, age *prometheus.Desc
}

func newMetrics(d *Dispatcher) *metrics {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tidings_push_"+name, help, labels, nil)
	}
	return &metrics{
		d: d,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_push_results_total",
			Help: "Results of messages that were handed to providers, each try one.",
		}, []string{"channel", "outcome"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_push_tasks_ended_total",
			Help: "Push tasks that ended, by state.",
		}, []string{"state"}),
		alarms: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_push_gone_alarms_total",
			Help: "Lanes of push tasks of whose tokens so many were called dead that none was retired.",
		}),
		start: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidings_push_start_seconds",
			Help:    "Time from the acceptance of a push task to its first page.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 3, 10, 60, 600},
		}),
		tasks:     gauge("tasks", "Push tasks that have not ended."),
		pages:     gauge("open_pages", "Pages of push tasks that are being sent."),
		units:     gauge("in_flight", "Messages handed to the senders of providers that have no result yet."),
		blocked:   gauge("lanes_blocked", "Certificates through which nothing is sent until something is mended.", "channel"),
		throttled: gauge("lanes_throttled", "Certificates through which nothing is sent at the moment because the provider wants that.", "channel"),
		age:       gauge("queue_age_seconds", "For how long the push task that waits longest did not come on; paused ones do not count."),
	}
}

// sent counts the results of a page.
func (m *metrics) sent(p channel.Provider, results []channel.Result) {
	var counts [channel.Unknown + 1]int
	for i := range results {
		if r := &results[i]; r.Code != channel.CodeStopped && int(r.Outcome) < len(counts) {
			counts[r.Outcome]++
		}
	}
	for o, n := range counts {
		if o > 0 && n > 0 {
			m.results.WithLabelValues(string(p), channel.Outcome(o).String()).Add(float64(n))
		}
	}
}

// Describe is of prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	m.results.Describe(out)
	m.ended.Describe(out)
	m.alarms.Describe(out)
	m.start.Describe(out)
	for _, d := range []*prometheus.Desc{m.tasks, m.pages, m.units, m.blocked, m.throttled, m.age} {
		out <- d
	}
}

// Collect is of prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.results.Collect(out)
	m.ended.Collect(out)
	m.alarms.Collect(out)
	m.start.Collect(out)

	d, now := m.d, time.Now()
	blocked, throttled := map[channel.Provider]int{}, map[channel.Provider]int{}
	for p := range d.drivers {
		blocked[p], throttled[p] = 0, 0
	}
	var pages, units int
	var age time.Duration
	d.mu.Lock()
	tasks := len(d.runs)
	for _, l := range d.lanes {
		pages += len(l.pages)
		units += int(l.inFlight.Load())
		switch {
		case l.block != nil:
			blocked[l.provider]++
		case l.held.After(now):
			throttled[l.provider]++
		}
	}
	for _, r := range d.runs {
		if !r.paused {
			age = max(age, now.Sub(r.moved))
		}
	}
	d.mu.Unlock()

	send := func(d *prometheus.Desc, n float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	send(m.tasks, float64(tasks))
	send(m.pages, float64(pages))
	send(m.units, float64(units))
	send(m.age, age.Seconds())
	for p, n := range blocked {
		send(m.blocked, float64(n), string(p))
	}
	for p, n := range throttled {
		send(m.throttled, float64(n), string(p))
	}
}
