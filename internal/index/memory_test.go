package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"tidings/internal/audience"
)

// TestMemoryIsOfTheHeap: what Memory says is within a tenth of what the users take of
// the heap, for many and few users, with values of one, of some and of many users.
func TestMemoryIsOfTheHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name        string
		apps, users int
		values      func(i int) string
		tags        int
	}{
		{"names", 1, 40_000, func(int) string { return "" }, 0},
		{"few values", 1, 40_000, func(int) string { return fmt.Sprint("v", r.IntN(50)) }, 5},
		{"17 users a value", 1, 40_000, func(int) string { return fmt.Sprint("v", r.IntN(40_000/17)) }, 0},
		{"64 users a value", 1, 40_000, func(int) string { return fmt.Sprint("v", r.IntN(40_000/64)) }, 0},
		{"unique values", 1, 40_000, func(i int) string { return fmt.Sprint("v", i) }, 1},
		{"devices", 1, 40_000, nil, 0},
		{"small apps", 1000, 10, func(int) string { return fmt.Sprint("v", r.IntN(3)) }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := liveHeap()
			all := make([]*Users, c.apps)
			for k := range all {
				all[k] = NewUsers()
				for i := range c.users {
					e := audience.Effect{Op: audience.Make, User: all[k].NextNumber(), Account: fmt.Sprintf("user%08d", i), Created: 1_700_000_000}
					if c.values == nil && i > 0 {
						e.Kind = audience.RegistrationID
					}
					for slot := range 2 {
						if c.values == nil {
							continue
						}
						e.Set[slot] = c.values(i)
					}
					for tag := range c.tags {
						e.Tagged = append(e.Tagged, fmt.Sprintf("tag%d-%d", tag, r.IntN(20)))
					}
					if err := all[k].Apply(&e, 1); err != nil {
						t.Fatal(err)
					}
					if e.Kind == audience.RegistrationID {
						if err := all[k].ApplyDevice(&Device{Number: e.User, Bound: i < 20, Facet: fmt.Sprint("f", r.IntN(500))}); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			took := float64(liveHeap() - before)
			said := 0.0
			for _, u := range all {
				m := u.Memory()
				said += float64(m.Accounts + m.Values + m.Tags + m.Devices)
			}
			if math.Abs(said/took-1) > 0.1 {
				t.Errorf("Memory says %.0f bytes, of the heap they take %.0f: %.2f", said, took, said/took)
			}
			runtime.KeepAlive(all)
		})
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
