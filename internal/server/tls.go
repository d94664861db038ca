package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lookAtCertificate is how often the files of the certificate are looked at. A renewal
// comes days before the end of what it renews.
const lookAtCertificate = 30 * time.Second

// A certificate is the one that the server shows. When its files change it is replaced,
// by a pair that can be used: until there is one, the old one stays.
type certificate struct {
	load func() (*tls.Certificate, error)
	log  *slog.Logger

	used atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	told string // the last complaint, which is not repeated
}

// newCertificate loads the first certificate.
func newCertificate(load func() (*tls.Certificate, error), log *slog.Logger) (*certificate, error) {
	c := &certificate{load: load, log: log}
	pair, err := load()
	if err != nil {
		return nil, err
	}
	c.used.Store(pair)
	if reason := untimely(pair); reason != "" {
		log.Warn("clients will refuse the certificate", append([]any{"reason", reason}, certificateAttrs(pair)...)...)
	}
	return c, nil
}

// leaf returns the certificate of the server in DER.
func (c *certificate) leaf() []byte { return c.used.Load().Certificate[0] }

// config returns the server's side of TLS.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.used.Load(), nil }}
}

// watch looks at the files until ctx ends.
func (c *certificate) watch(ctx context.Context) {
	tick := time.NewTicker(lookAtCertificate)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.look(false)
		}
	}
}

// look reads the files and replaces the certificate if it has changed and the new one can
// be used. Someone who asked for it is told of a complaint again, and if nothing changed.
func (c *certificate) look(asked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.used.Load()
	pair, err := c.load()
	complaint := ""
	switch {
	case err != nil:
		complaint = err.Error()
	case sameChain(old, pair):
		c.told = ""
		if asked {
			c.log.Info("the certificate has not changed", certificateAttrs(old)...)
		}
		return
	default:
		complaint = untimely(pair)
	}
	if complaint == "" {
		c.used.Store(pair)
		c.told = ""
		c.log.Info("certificate replaced", certificateAttrs(pair)...)
		return
	}
	if complaint != c.told || asked {
		c.told = complaint
		c.log.Warn("the new certificate cannot be used, the one of before stays", append([]any{"reason", complaint}, certificateAttrs(old)...)...)
	}
}

// untimely returns why a certificate is not good now; empty if it is.
func untimely(pair *tls.Certificate) string {
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return "it ended at " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339)
	case now.Before(pair.Leaf.NotBefore):
		return "it is good only from " + pair.Leaf.NotBefore.UTC().Format(time.RFC3339) + " on"
	}
	return ""
}

// sameChain reports whether two pairs have the same certificates, and so the same key.
func sameChain(a, b *tls.Certificate) bool {
	return slices.EqualFunc(a.Certificate, b.Certificate, slices.Equal)
}

// certificateAttrs are what the log says of a certificate.
func certificateAttrs(pair *tls.Certificate) []any {
	names := slices.Clone(pair.Leaf.DNSNames)
	for _, ip := range pair.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return []any{"names", strings.Join(names[:min(len(names), 10)], ","), "ends", pair.Leaf.NotAfter.UTC()}
}

// register adds the end of the certificate to the metrics.
func (c *certificate) register(reg prometheus.Registerer) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidings_tls_certificate_expiry_timestamp_seconds",
		Help: "When the certificate in use ends, Unix time.",
	}, func() float64 { return float64(c.used.Load().Leaf.NotAfter.Unix()) }))
}
