package lsm_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// onDisk is a store in a directory, with an app.
func onDisk(b *testing.B) (*lsm.Store, string) {
	b.Helper()
	dir := b.TempDir()
	s, err := lsm.Open(dir, lsm.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.Apps.SaveApp(b.Context(), storetest.NewApp(id)); err != nil {
		b.Fatal(err)
	}
	return s, dir
}

// usual is a device as there are many, with a token of FCM.
func usual(i int64) device.Device {
	r := rand.New(rand.NewPCG(uint64(i), 0))
	b := make([]byte, 0, 128)
	for len(b) < 120 {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	chance := base64.RawURLEncoding.EncodeToString(b) // tokens cannot be compressed
	return device.Device{
		ID: fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15), Platform: "android", Model: "Pixel 9 Pro", System: "Android", SystemVersion: "16", SDKVersion: "8.7.7201",
		PushVersion: "8.7.7201", AppVersion: "12.34.5", Language: "zh-Hans", TimeZone: "Asia/Shanghai", Permission: device.Allowed,
		Tokens: []device.Token{{Certificate: 1, Kind: channel.Alert, Address: channel.Address(chance[:22] + ":APA91b" + chance[22:156])}},
	}
}

// BenchmarkRegister registers new devices, 64 at a time.
func BenchmarkRegister(b *testing.B) {
	s, _ := onDisk(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.Devices.Register(b.Context(), id, device.Proof{}, usual(n.Add(1))); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRefresh registers devices again that have not changed.
func BenchmarkRefresh(b *testing.B) {
	const devices = 100_000
	s, _ := onDisk(b)
	load(b, s, devices)
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, err := s.Devices.Register(b.Context(), id, byAdmin, usual(n.Add(7919)%devices))
			if err != nil || r.Changed {
				b.Error(r.Changed, err)
			}
		}
	})
}

// owned is usual with a user.
func owned(i int64) device.Device {
	d := usual(i)
	d.User = fmt.Sprint("user", i)
	return d
}

// load makes devices with a user each.
func load(b *testing.B, s *lsm.Store, n int64) {
	b.Helper()
	var all []*device.Moved
	for i := range n {
		all = append(all, &device.Moved{Device: owned(i), SecretHash: strings.Repeat("5a", device.SecretBytes)})
	}
	if err := s.Devices.Import(b.Context(), id, slices.Chunk(all, 250), false, func(i int, _ audience.Outcome, err error) {
		if err != nil {
			b.Fatal(i, err)
		}
	}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDeviceSize reports how many bytes a device takes in memory beyond its account, and
// on disk in all tables.
func BenchmarkDeviceSize(b *testing.B) {
	const devices = 100_000
	for b.Loop() {
		s, dir := onDisk(b)
		load(b, s, devices)
		b.ReportMetric(float64(s.DeviceMemory(id))/devices, "B-memory/device")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		bytes := int64(0)
		if err := filepath.WalkDir(filepath.Join(dir, "db"), func(name string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".sst") {
				info, err := d.Info()
				if err != nil {
					return err
				}
				bytes += info.Size()
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(bytes)/devices, "B-disk/device")
	}
}
