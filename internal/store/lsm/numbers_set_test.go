package lsm

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// TestNumbers: a set holds what was put in and not taken out, and is read as it was
// written.
func TestNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, next := range map[string]func(i int) uint16{
		"few":       func(int) uint16 { return uint16(r.IntN(1 << 16)) },
		"dense":     func(int) uint16 { return uint16(r.IntN(9000)) },
		"runs":      func(i int) uint16 { return uint16(i/100*150 + i%100) },
		"all":       func(i int) uint16 { return uint16(i) },
		"alternate": func(i int) uint16 { return uint16(2 * i) },
	} {
		for _, n := range []int{1, 2, 100, 5000, 40_000, 1 << 16} {
			s, want := &numbers{}, map[uint16]bool{}
			for i := range n {
				low := next(i)
				s.add(low)
				want[low] = true
				if i%11 == 0 {
					gone := next(i / 2)
					s.remove(gone)
					delete(want, gone)
				}
			}
			sameNumbers(t, name, s, want)
			stored := s.encode()
			if len(stored) > 1+1<<13 {
				t.Errorf("%s: %d numbers take %d bytes", name, s.n, len(stored))
			}
			again, err := parseNumbers(stored)
			if err != nil {
				t.Fatalf("%s: %d numbers: %v", name, s.n, err)
			}
			sameNumbers(t, name, again, want)
		}
	}
}

func sameNumbers(t *testing.T, name string, s *numbers, want map[uint16]bool) {
	t.Helper()
	if s.n != len(want) {
		t.Fatalf("%s: the set has %d numbers, want %d", name, s.n, len(want))
	}
	var got []uint16
	s.each(0, func(low uint16) bool { got = append(got, low); return true })
	if len(got) != len(want) || !slices.IsSorted(got) {
		t.Fatalf("%s: each returns %d numbers, want %d in order", name, len(got), len(want))
	}
	for _, low := range got {
		if !want[low] || !s.has(low) {
			t.Fatalf("%s: %d is in the set: %v, want %v", name, low, s.has(low), want[low])
		}
	}
	if len(got) > 2 {
		var tail []uint16
		s.each(got[1]+1, func(low uint16) bool { tail = append(tail, low); return true })
		if !slices.Equal(tail, got[2:]) {
			t.Fatalf("%s: each from %d returns %d numbers, want %d", name, got[1]+1, len(tail), len(got)-2)
		}
	}
}

// FuzzParseNumbers: bytes are refused, or are a set that is written and read alike.
func FuzzParseNumbers(f *testing.F) {
	f.Add([]byte{1, 5, 0, 200, 1})
	f.Add([]byte{3, 5, 100, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseNumbers(b)
		if err != nil {
			return
		}
		again, err := parseNumbers(s.encode())
		if err != nil || !reflect.DeepEqual(s.encode(), again.encode()) || s.n != again.n {
			t.Fatalf("%x: %d numbers, and %v after writing", b, s.n, err)
		}
	})
}

// TestNumbersBytes: the example of doc/storage-format.md, and a run.
func TestNumbersBytes(t *testing.T) {
	few, run := &numbers{}, &numbers{}
	for _, low := range []uint16{5, 6, 9} {
		few.add(low)
	}
	for low := range uint16(1000) {
		run.add(low + 7)
	}
	if got := fmt.Sprintf("% x", few.encode()); got != "01 05 00 02" {
		t.Errorf("a few numbers are %s", got)
	}
	if got := fmt.Sprintf("% x", run.encode()); got != "03 07 e7 07" {
		t.Errorf("a run is %s", got)
	}
}
