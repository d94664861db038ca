package dispatch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/store/lsm"
	"tidings/internal/task"
)

// BenchmarkEmbeddedStore sends broadcasts through a Sender that answers at once over the
// embedded store, whose disk is memory.
func BenchmarkEmbeddedStore(b *testing.B) {
	const devices = 20_000
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		b.Fatal(err)
	}
	s, err := lsm.Open("data", lsm.Options{FS: fs})
	if err != nil {
		b.Fatal(err)
	}
	apps, err := app.Open(b.Context(), s.Apps, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := apps.Create(b.Context(), app.Declaration{ID: 1}); err != nil {
		b.Fatal(err)
	}
	if _, err := apps.AddCertificate(b.Context(), 1, app.Certificate{Provider: channel.FCM}, seal); err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for part := range 20 {
		wg.Go(func() {
			for i := part; i < devices; i += 20 {
				d := device.Device{ID: fmt.Sprintf("device-%010d", i), Platform: "android", Tokens: []device.Token{{Certificate: 1, Kind: channel.Alert, Address: channel.Address(fmt.Sprintf("token-of-device-%010d", i))}}}
				if _, err := s.Devices.Register(context.Background(), 1, device.Proof{Admin: true}, d); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d := New(s.Tasks, apps, channel.Drivers{channel.FCM: instant{}}, Options{
		Unseal: func(uint32, *app.Certificate) (channel.Secret, error) { return nil, nil },
	})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.Run(ctx)
	}()
	time.Sleep(10 * time.Millisecond) // the first task is found in any case
	random := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		random++
		r, err := s.Tasks.Create(b.Context(), 1, &task.New{Command: "push", Message: channel.Message{Title: "t"}, Life: time.Hour, Random: random})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if t, err := s.Tasks.Task(b.Context(), 1, r.ID); err != nil {
				b.Fatal(err)
			} else if t.State.Ended() {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64(b.N)*devices/b.Elapsed().Seconds(), "units/s")
	stop()
	<-ended
	apps.Close()
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}
