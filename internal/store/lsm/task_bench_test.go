package lsm

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/report"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

const benchApp = 1400000001

// benchStore returns a store with n users, of whom every second has the tag "even", and with
// devices of every fourth: the index in memory and the records of the devices in the
// tables, but no log of them. TIDINGS_BENCH_USERS sets n.
func benchStore(b *testing.B, devices bool) (*Store, int) {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("TIDINGS_BENCH_USERS"))
	if err != nil {
		n = 200_000
	}
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	a := &app.App{ID: benchApp, Name: "bench", Status: app.Enabled, Admins: []string{app.BuiltInAdmin}, Certificates: []app.Certificate{{ID: 1, Provider: channel.FCM}}}
	a.Settings.Push.Gap = new(time.Duration)
	if err := s.Apps.SaveApp(b.Context(), a); err != nil {
		b.Fatal(err)
	}
	x := s.tenants.find(benchApp)
	x.mu.Lock()
	defer x.mu.Unlock()
	d := device.Device{Version: 1, Platform: "android", Language: "en", Registered: time.Unix(1_700_000_000, 0)}
	for i := range n {
		user := x.users.NextNumber()
		e := audience.Effect{Op: audience.Make, User: user, Account: fmt.Sprintf("user-%08d", i)}
		if i%2 == 0 {
			e.Tagged = []string{"even"}
		}
		if err := x.users.Apply(&e, 1); err != nil {
			b.Fatal(err)
		}
		if !devices || i%4 != 0 {
			continue
		}
		number := x.users.NextNumber()
		if err := x.users.Apply(&audience.Effect{Op: audience.Make, User: number, Kind: audience.RegistrationID, Account: fmt.Sprintf("device-%020d", i)}, 1); err != nil {
			b.Fatal(err)
		}
		d.Tokens = []device.Token{{Certificate: 1, Kind: channel.Alert, Address: channel.Address(fmt.Sprintf("%0140d", i))}}
		facet := d.Facet()
		if err := x.users.ApplyDevice(&index.Device{Number: number, Owner: user, Bound: true, Facet: string(facet.Encode(nil))}); err != nil {
			b.Fatal(err)
		}
		r := deviceRecord{Device: d}
		pos, err := s.journal.Commit(benchApp, true, func(batch *journal.Batch) { batch.Set(tableDevice, numberKey(number), r.encode()) })
		if err != nil {
			b.Fatal(err)
		}
		if i%40_000 == 0 {
			if err := s.journal.Wait(b.Context(), pos); err != nil {
				b.Fatal(err)
			}
		}
	}
	x.viewed = nil
	return s, n
}

func benchTask(b *testing.B, s *Store, where string) *running {
	b.Helper()
	var random [32]byte
	binary.BigEndian.PutUint64(random[:], uint64(time.Now().UnixNano()))
	receipt, err := s.Tasks.Create(b.Context(), benchApp, &task.New{
		Command: "push", Life: time.Hour, Body: random, Message: channel.Message{Title: "title"},
		Audience: task.Audience{Where: where, Attributes: &audience.Attributes{}},
	})
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.Tasks.byID(b.Context(), benchApp, receipt.ID)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Tasks.Freeze(b.Context(), r.Ref); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkFreeze: from the acceptance of a push to half of the users to its first page.
func BenchmarkFreeze(b *testing.B) {
	s, _ := benchStore(b, true)
	for b.Loop() {
		r := benchTask(b, s, `tag("even")`)
		p, _, err := s.Tasks.Open(b.Context(), r.Ref, task.Lane{App: benchApp, Certificate: 1}, task.MaxPage)
		if err != nil || p == nil {
			b.Fatal(p, err)
		}
		s.Tasks.Abandon(p)
		if err := s.Tasks.End(b.Context(), r.Ref, task.Stopped, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPreview: whom a push to half of the users reaches.
func BenchmarkPreview(b *testing.B) {
	s, _ := benchStore(b, true)
	for b.Loop() {
		if _, err := s.Tasks.Preview(b.Context(), benchApp, &task.Audience{Where: `tag("even")`, Attributes: &audience.Attributes{}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPages: pages of 500 devices, opened and closed by eight workers.
func BenchmarkPages(b *testing.B) {
	s, _ := benchStore(b, true)
	r := benchTask(b, s, "")
	units := 0
	lane := task.Lane{App: benchApp, Certificate: 1}
	if _, err := s.Tasks.Lanes(b.Context(), r.Ref); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, _, err := s.Tasks.Open(b.Context(), r.Ref, lane, task.MaxPage)
		if err != nil {
			b.Fatal(err)
		}
		if p == nil {
			b.StopTimer()
			_ = s.Tasks.End(b.Context(), r.Ref, task.Stopped, "")
			r = benchTask(b, s, "")
			b.StartTimer()
			continue
		}
		units += len(p.Units)
		verdicts := make([]task.Verdict, len(p.Units))
		for i := range verdicts {
			verdicts[i] = task.Verdict{Outcome: report.Accepted, Status: 200, Took: 20 * time.Millisecond}
		}
		if _, err := s.Tasks.Close(b.Context(), p, verdicts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(units)/b.Elapsed().Seconds(), "units/s")
}

// BenchmarkBatch makes tasks for one receiver, of which none ends.
func BenchmarkBatch(b *testing.B) {
	s, _ := benchStore(b, false)
	x := s.tenants.find(benchApp)
	x.app.Settings.Push.Tasks = 1 << 30
	var random atomic.Uint32
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Tasks.Create(b.Context(), benchApp, &task.New{
				Command: "batch", Life: time.Hour, Random: random.Add(1), Message: channel.Message{Title: "title"},
				Audience: task.Audience{Accounts: []string{"user-00000001"}},
			}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBatchWhole makes tasks for one receiver and carries each out, as a dispatcher does.
func BenchmarkBatchWhole(b *testing.B) {
	s, _ := benchStore(b, true)
	ctx := b.Context()
	var random atomic.Uint32
	whole := func() error {
		receipt, err := s.Tasks.Create(ctx, benchApp, &task.New{
			Command: "batch", Life: time.Hour, Random: random.Add(1), Message: channel.Message{Title: "title"},
			Audience: task.Audience{Accounts: []string{"user-00000000"}},
		})
		if err != nil {
			return err
		}
		number, _ := taskNumber(receipt.ID)
		ref := task.Ref{App: benchApp, Number: number}
		if _, err := s.Tasks.Get(ctx, ref); err != nil {
			return err
		}
		lanes, err := s.Tasks.Lanes(ctx, ref)
		if err != nil {
			return err
		}
		page, _, err := s.Tasks.Open(ctx, ref, lanes[0], task.MaxPage)
		if err != nil {
			return err
		}
		if _, err := s.Tasks.Close(ctx, page, []task.Verdict{{Outcome: report.Accepted, Status: 200}}); err != nil {
			return err
		}
		_, err = s.Tasks.Get(ctx, ref)
		return err
	}
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := whole(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
