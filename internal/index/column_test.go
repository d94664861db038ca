package index

import (
	"math/rand/v2"
	"testing"
)

// TestColumnAgreesWithArray sets elements at random, in ranges of every kind, and
// compares with an array.
func TestColumnAgreesWithArray(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var c column
		want := make([]uint32, 3*chunkSize)
		base, spread := r.Uint32(), uint32(1)<<r.IntN(32)
		if r.IntN(3) == 0 {
			base = 0
		}
		for i := range uint32(2000) {
			at := r.Uint32N(uint32(len(want)))
			if r.IntN(2) == 0 {
				at = i % uint32(len(want))
			}
			v := base + r.Uint32N(spread) // may wrap around
			switch r.IntN(200) {
			case 0:
				v = r.Uint32()
			case 1, 2, 3:
				v = 0
			}
			c.set(at, v)
			want[at] = v
		}
		for i, v := range want {
			if got := c.get(uint32(i)); got != v {
				t.Fatalf("element %d is %d, want %d (base %d, spread %d)", i, got, v, base, spread)
			}
		}
		if c.get(1<<31) != 0 {
			t.Fatal("an element beyond the end is not 0")
		}
	}
}

// TestColumnIsSmall measures how many bytes an element takes for what columns hold.
func TestColumnIsSmall(t *testing.T) {
	const n = 1 << 16
	for _, test := range []struct {
		name string
		v    func(i uint32) uint32
		most int64 // bytes an element
	}{
		{"small numbers", func(i uint32) uint32 { return i % 200 }, 1},
		{"seconds of a minute", func(i uint32) uint32 { return 1_800_000_000 + i%60 }, 1},
		{"numbers given out in order", func(i uint32) uint32 { return 1<<30 + i }, 2},
		{"numbers given out backwards", func(i uint32) uint32 { return 1<<30 - i }, 2},
		{"places of 20 bytes", func(i uint32) uint32 { return 1 + 20*i }, 2},
		{"anything", func(i uint32) uint32 { return i * 2654435761 }, 4},
	} {
		var c column
		for i := range uint32(n) {
			c.set(i, test.v(i))
		}
		if got := c.bytesHeld(); got > test.most*n+n/6 {
			t.Errorf("%s: %d bytes for %d elements, want %d each", test.name, got, n, test.most)
		}
	}
}
