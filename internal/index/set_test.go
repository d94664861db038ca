package index

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSetAgreesWithModel: a set has who was added and not removed, in each form that it
// takes while it grows and shrinks, and one that was left for the next epoch stays as it
// was.
func TestSetAgreesWithModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const limit = 150_000
	forms := map[string]bool{}
	s, model := newSet(), map[uint32]bool{}
	type kept struct {
		set  *set
		want []uint32
	}
	var old []kept
	for phase := range 12 {
		grows := phase%4 < 2
		for range []int{20, 300, 8000}[r.IntN(3)] {
			user := r.Uint32N(limit)
			if r.IntN(2) == 0 {
				user = 70_000 + r.Uint32N(6000) // a dense part
			}
			switch {
			case model[user] && (!grows || r.IntN(10) == 0):
				s.remove(user)
				delete(model, user)
			case !model[user] && (grows || r.IntN(10) == 0):
				s.add(user)
				model[user] = true
			}
			if s.has(user) != model[user] || s.n != len(model) {
				t.Fatalf("user %d: has %t of %d, want %t of %d", user, s.has(user), s.n, model[user], len(model))
			}
		}
		if phase%4 == 3 { // down to a list, one after the other
			for user := range maps.Clone(model) {
				if len(model) > 10 {
					s.remove(user)
					delete(model, user)
				}
			}
		}
		switch {
		case s.isList():
			forms["list"] = true
		case s.chunk(1).words != nil:
			forms["words"] = true
		default:
			forms["chunks"] = true
		}
		want := slices.Sorted(maps.Keys(model))
		from := r.Uint32N(limit)
		i, _ := slices.BinarySearch(want, from)
		if got := slices.Collect(s.from(from)); !slices.Equal(got, want[i:]) {
			t.Fatalf("phase %d: from %d there are %d users, want %d", phase, from, len(got), len(want[i:]))
		}
		old = append(old, kept{s, want})
		s = s.next()
	}
	for i, k := range old {
		if got := slices.Collect(k.set.from(0)); !slices.Equal(got, k.want) {
			t.Errorf("the set of phase %d has changed: %d users, had %d", i, len(got), len(k.want))
		}
	}
	if !forms["list"] || !forms["chunks"] && !forms["words"] {
		t.Errorf("the test met %v", forms)
	}
}
