package server

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
)

// TestEnds: the end of a certificate is announced 60, 14 and 1 days before, and when it has
// come, once each; a new credential begins anew; after a restart the stage that is reached
// is announced once more.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		begun := time.Now()
		a := &app.App{ID: 7, Certificates: []app.Certificate{
			{ID: 1, Provider: channel.APNs, Name: "iphone", Version: 1, Ends: begun.Add(100 * day)},
			{ID: 2, Provider: channel.FCM, Version: 1},
		}}
		var apps atomic.Pointer[[]*app.App]
		apps.Store(&[]*app.App{a})
		log := new(logged)
		e := &ends{apps: func() []*app.App { return *apps.Load() }, log: slog.New(slog.NewTextHandler(log, nil))}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.watch(ctx); close(done) }()
		advance := func(until time.Duration, want ...string) {
			t.Helper()
			before := len(log.String())
			time.Sleep(time.Until(begun.Add(until)))
			synctest.Wait()
			got := strings.FieldsFunc(log.String()[before:], func(r rune) bool { return r == '\n' })
			if len(got) != len(want) {
				t.Fatalf("until day %v: %q, want %d lines", until/day, got, len(want))
			}
			for i, w := range want {
				if !strings.Contains(got[i], w) || !strings.Contains(got[i], "level=WARN") || !strings.Contains(got[i], "certificate=1 ") {
					t.Errorf("until day %v: %s, want %s", until/day, got[i], w)
				}
			}
		}
		advance(39 * day)
		advance(41*day, "ends soon")
		advance(85 * day)
		advance(87*day, "days=14")
		advance(98 * day)
		advance(99*day+2*time.Hour, "days=1")
		advance(99*day + 20*time.Hour)
		advance(101*day, "has ended")
		advance(110 * day)
		replaced := *a
		replaced.Certificates = []app.Certificate{{ID: 1, Provider: channel.APNs, Version: 2, Ends: begun.Add(120 * day)}}
		apps.Store(&[]*app.App{&replaced})
		advance(111*day, "days=")
		advance(112 * day)
		stop()
		<-done
		before := len(log.String())
		again := &ends{apps: e.apps, log: e.log}
		again.look(time.Now())
		again.look(time.Now())
		if said := log.String()[before:]; strings.Count(said, "\n") != 1 {
			t.Errorf("after a restart the log says %q", said)
		}
		apps.Store(new([]*app.App))
		again.look(time.Now())
		if len(again.told) != 0 {
			t.Errorf("of certificates that are gone %d are remembered", len(again.told))
		}
	})
}

// TestManyEnds: the ends of many certificates do not flood the log.
func TestManyEnds(t *testing.T) {
	a := &app.App{ID: 7}
	for i := range 250 {
		a.Certificates = append(a.Certificates, app.Certificate{ID: i + 1, Provider: channel.APNs, Ends: time.Now()})
	}
	var log bytes.Buffer
	e := &ends{apps: func() []*app.App { return []*app.App{a} }, log: slog.New(slog.NewTextHandler(&log, nil))}
	e.look(time.Now())
	if n := strings.Count(log.String(), "\n"); n != maxEndLines+1 || !strings.Contains(log.String(), "certificates=150") {
		t.Errorf("%d lines:\n%.500s", n, &log)
	}
}

// TestEndMetrics: certificates are counted by state, and the ends of a few are told.
func TestEndMetrics(t *testing.T) {
	key, err := credential.Parse(credential.NewText())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Seal(credential.Place{}, channel.Secret("x"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a := &app.App{ID: 7, Certificates: []app.Certificate{
		{ID: 1, Provider: channel.APNs, Sealed: sealed, Ends: time.Unix(4e9, 0)},
		{ID: 2, Provider: channel.FCM, Sealed: sealed},
		{ID: 3, Provider: "pigeon", Sealed: sealed, Ends: time.Unix(1e9, 0)},
		{ID: 4, Provider: channel.APNs, Sealed: sealed, Ends: now.Add(time.Hour)},
		{ID: 5, Provider: channel.FCM, Sealed: []byte("other key")},
	}}
	e := &ends{apps: func() []*app.App { return []*app.App{a} }, key: key, limit: 1}
	a.Certificates[3].Ends = time.Unix(now.Unix()+3600, 0)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(e)
	figures := func() map[string]float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				var labels []string
				for _, l := range m.GetLabel() {
					labels = append(labels, l.GetValue())
				}
				all[strings.TrimPrefix(f.GetName(), "tidings_channel_")+" "+strings.Join(labels, " ")] = m.GetGauge().GetValue()
			}
		}
		return all
	}
	want := map[string]float64{
		"certificates ended": 1, "certificates ending": 1, "certificates unusable": 1, "certificates usable": 2,
		"certificate_expiry_timestamp_seconds 7 1 apns": 4e9, "certificate_expiry_timestamp_seconds 7 3 other": 1e9,
		"certificate_expiry_timestamp_seconds 7 4 apns": float64(now.Unix() + 3600),
	}
	if got := figures(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	e.limit = 0
	if got := figures(); len(got) != len(certificateStates) {
		t.Errorf("with more apps than are told apart: %v", got)
	}
}
