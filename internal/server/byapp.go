package server

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/app"
)

// appRequests counts the requests of each app. What it tells apart is bounded: apps are made
// by operators, and with more of them than limit it tells of none.
type appRequests struct {
	apps   func() []*app.App
	limit  int
	counts sync.Map // uint32 to *appCount
}

type appCount struct{ ok, failed atomic.Uint64 }

var appRequestsDesc = prometheus.NewDesc("tidings_app_requests_total",
	"Finished API requests that named an app, by what became of them: ok or failed. Those that failed may be of strangers, for they are counted before the ticket is verified. Left out of a server with more apps than metrics_apps.",
	[]string{"app", "result"}, nil)

// answered counts a request that named an app that exists.
func (r *appRequests) answered(id uint32, code int) {
	c, found := r.counts.Load(id)
	if !found {
		c, _ = r.counts.LoadOrStore(id, new(appCount))
	}
	if code == 0 {
		c.(*appCount).ok.Add(1)
	} else {
		c.(*appCount).failed.Add(1)
	}
}

// Describe lists the figures.
func (r *appRequests) Describe(ch chan<- *prometheus.Desc) { ch <- appRequestsDesc }

// Collect reads them, and forgets apps that were deleted.
func (r *appRequests) Collect(ch chan<- prometheus.Metric) {
	all := r.apps()
	there := make(map[uint32]bool, len(all))
	for _, a := range all {
		there[a.ID] = true
	}
	r.counts.Range(func(id, count any) bool {
		if !there[id.(uint32)] {
			r.counts.Delete(id)
			return true
		}
		if len(all) <= r.limit {
			label, c := strconv.FormatUint(uint64(id.(uint32)), 10), count.(*appCount)
			ch <- prometheus.MustNewConstMetric(appRequestsDesc, prometheus.CounterValue, float64(c.ok.Load()), label, "ok")
			ch <- prometheus.MustNewConstMetric(appRequestsDesc, prometheus.CounterValue, float64(c.failed.Load()), label, "failed")
		}
		return true
	})
}
