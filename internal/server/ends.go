package server

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
)

// lookAtEnds is how often the ends of certificates are looked at.
const lookAtEnds = time.Hour

// maxEndLines bounds the lines about ends that are logged at a time.
const maxEndLines = 100

// ends announces the ends of certificates, in the log and in the metrics.
type ends struct {
	apps  func() []*app.App
	key   *credential.Key
	limit int // with more apps the metrics do not tell them apart
	log   *slog.Logger

	told map[ending]int // the stage that was announced last
}

// An ending is a credential that ends: a new one of the same certificate is another.
type ending struct {
	app                  uint32
	certificate, version int
}

// watch announces ends until ctx ends.
func (e *ends) watch(ctx context.Context) {
	tick := time.NewTicker(lookAtEnds)
	defer tick.Stop()
	for {
		e.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look logs each end that has come into another stage since the last look, once.
func (e *ends) look(now time.Time) {
	told, lines := map[ending]int{}, 0
	for _, a := range e.apps() {
		for i := range a.Certificates {
			c := &a.Certificates[i]
			stage := c.EndStage(now)
			if stage == 0 {
				continue
			}
			it := ending{a.ID, c.ID, c.Version}
			told[it] = stage
			if stage == e.told[it] {
				continue
			}
			if lines++; lines > maxEndLines {
				continue
			}
			about := []any{"app", a.ID, "certificate", c.ID, "provider", string(c.Provider), "name", c.Name, "ends", c.Ends, "days", int(c.Ends.Sub(now).Hours() / 24)}
			if stage == app.Ended {
				e.log.Warn("a certificate has ended, so its channel reaches nobody; replace its credential with tidings channel replace", about...)
			} else {
				e.log.Warn("a certificate ends soon; replace its credential with tidings channel replace", about...)
			}
		}
	}
	if lines > maxEndLines {
		e.log.Warn("more certificates end soon or have ended; tidings channel list shows them", "certificates", lines-maxEndLines)
	}
	e.told = told
}

var (
	certificatesDesc = prometheus.NewDesc("tidings_channel_certificates",
		"Certificates by state: usable, ending (within 60 days), ended, unusable (sealed with another key of credentials).", []string{"state"}, nil)
	certificateEndsDesc = prometheus.NewDesc("tidings_channel_certificate_expiry_timestamp_seconds",
		"When a certificate ends, Unix time; left out of certificates without an end, and of a server with more apps than metrics_apps.", []string{"app", "certificate", "provider"}, nil)
)

// certificateStates are the values of the label.
var certificateStates = []string{"usable", "ending", "ended", "unusable"}

// Describe lists the figures.
func (e *ends) Describe(ch chan<- *prometheus.Desc) {
	ch <- certificatesDesc
	ch <- certificateEndsDesc
}

// Collect reads them.
func (e *ends) Collect(ch chan<- prometheus.Metric) {
	all, now := e.apps(), time.Now()
	counts := map[string]int{}
	for _, a := range all {
		for i := range a.Certificates {
			c := &a.Certificates[i]
			counts[e.state(c, now)]++
			if !c.Ends.IsZero() && len(all) <= e.limit {
				ch <- prometheus.MustNewConstMetric(certificateEndsDesc, prometheus.GaugeValue, float64(c.Ends.Unix()),
					strconv.FormatUint(uint64(a.ID), 10), strconv.Itoa(c.ID), providerLabel(c.Provider))
			}
		}
	}
	for _, state := range certificateStates {
		ch <- prometheus.MustNewConstMetric(certificatesDesc, prometheus.GaugeValue, float64(counts[state]), state)
	}
}

func (e *ends) state(c *app.Certificate, now time.Time) string {
	switch stage := c.EndStage(now); {
	case !e.key.Sealed(c.Sealed):
		return "unusable"
	case stage == app.Ended:
		return "ended"
	case stage > 0:
		return "ending"
	}
	return "usable"
}

// providerLabel returns the label of a provider, of the set of those that are known.
func providerLabel(p channel.Provider) string {
	for _, known := range channel.Providers() {
		if p == known {
			return string(p)
		}
	}
	return "other"
}
