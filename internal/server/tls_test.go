package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pairOf is a certificate that is good in a span of time, as far as anybody looks at it
// here.
func pairOf(name string, from, until time.Time) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{[]byte(name)}, Leaf: &x509.Certificate{DNSNames: []string{name}, NotBefore: from, NotAfter: until}}
}

// TestCertificateWatch: the files are looked at now and then; what cannot be used is
// complained of once, and changes nothing.
func TestCertificateWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		day := 24 * time.Hour
		first := pairOf("first", now.Add(-day), now.Add(day))
		file, broken := first, error(nil)
		var log bytes.Buffer
		c, err := newCertificate(func() (*tls.Certificate, error) { return file, broken }, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || log.Len() > 0 {
			t.Fatalf("%v\n%s", err, &log)
		}
		second := pairOf("second", now.Add(-time.Hour), now.Add(90*day))
		for _, step := range []struct {
			name   string
			file   *tls.Certificate
			broken error
			used   *tls.Certificate
			lines  []string // that the log gets, in any number of looks
		}{
			{"nothing changes", first, nil, first, nil},
			{"a broken pair", nil, errors.New("tls_key: does not fit"), first, []string{"WARN", "the one of before stays", "does not fit", "first"}},
			{"the old one again", first, nil, first, nil},
			{"one that has ended", pairOf("old", now.Add(-2*day), now.Add(-day)), nil, first, []string{"WARN", "it ended at"}},
			{"one of tomorrow", pairOf("early", now.Add(day), now.Add(2*day)), nil, first, []string{"WARN", "it is good only from"}},
			{"a renewal", second, nil, second, []string{"INFO", "certificate replaced", "second", second.Leaf.NotAfter.UTC().Format("2006-01-02")}},
		} {
			log.Reset()
			file, broken = step.file, step.broken
			ctx, stop := context.WithTimeout(t.Context(), 5*lookAtCertificate+time.Second)
			c.watch(ctx)
			stop()
			if c.used.Load() != step.used {
				t.Errorf("%s: another certificate is in use", step.name)
			}
			if got := strings.Count(log.String(), "\n"); got != min(1, len(step.lines)) {
				t.Errorf("%s: the log gets %d lines:\n%s", step.name, got, &log)
			}
			for _, want := range step.lines {
				if !strings.Contains(log.String(), want) {
					t.Errorf("%s: no %q in the log: %s", step.name, want, &log)
				}
			}
		}
	})
}

// TestUntimelyCertificate: a start warns of it.
func TestUntimelyCertificate(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	for want, pair := range map[string]*tls.Certificate{
		"it ended at":          pairOf("old", now.Add(-2*time.Hour), now.Add(-time.Hour)),
		"it is good only from": pairOf("early", now.Add(time.Hour), now.Add(2*time.Hour)),
	} {
		log.Reset()
		if _, err := newCertificate(func() (*tls.Certificate, error) { return pair, nil }, slog.New(slog.NewTextHandler(&log, nil))); err != nil || !strings.Contains(log.String(), "clients will refuse the certificate\" reason=\""+want) {
			t.Errorf("%v\n%s", err, &log)
		}
	}
}
