package suite

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"tidings/bench/load"
	"tidings/internal/audience"
	"tidings/internal/index"
)

// indexAlone measures the index in this process: its memory, and counting,
// compared with the same operations on bare Roaring bitmaps.
func (s *suite) indexAlone(ctx context.Context, n uint64) error {
	s.logf("building the index of %s users", count(n))
	var attrs audience.Attributes
	for slot, name := range load.TraitNames {
		attrs[slot].Name = name
	}
	unique := slices.Index(load.TraitNames, load.Serial)
	empty := heap()
	users := index.NewUsers()
	d := audience.Decider{State: users}
	var e audience.Effect
	change := func(c *audience.Change) error {
		if _, err := d.Change(c, &e); err != nil {
			return err
		}
		return users.Apply(&e, 0)
	}
	for m := range members(ctx, n) {
		tags := m.Tags()
		c := audience.Change{
			Account: m.Account(), Create: true, Created: 1_700_000_000 + uint32(m/100_000),
			Tags: audience.TagEdit{Op: audience.AddTags, Tags: tags[:]},
		}
		values := m.Values()
		copy(c.Set[:], values[:])
		c.Set[unique] = ""
		if err := change(&c); err != nil {
			return err
		}
	}
	perUser := float64(heap()-empty) / float64(n)
	for m := range members(ctx, n) {
		if _, exists := users.Find(m.Account()); !exists {
			break // ctx has ended
		}
		c := audience.Change{Account: m.Account()}
		c.Set[unique] = m.Values()[unique]
		if err := change(&c); err != nil {
			return err
		}
	}
	withUnique := float64(heap()-empty) / float64(n)
	s.add(Row{
		Case: "memory of the index, names, 5 attributes and 5 tags, " + count(n) + " users", Ours: fmt.Sprintf("%.1f bytes a user", perUser),
		Baseline: "-", Ratio: fmt.Sprintf("unique value %+.1f bytes", withUnique-perUser), Aim: "<= 60 bytes", Met: perUser <= 60,
	})
	bare := map[load.Term]*roaring.Bitmap{}
	for m := range members(ctx, n) {
		for _, t := range m.Terms() {
			if bare[t] == nil {
				bare[t] = roaring.New()
			}
			bare[t].Add(uint32(m))
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.counts(ctx, users, &attrs, bare)
}

// counts asks the index and bare bitmaps the same questions. They take turns of some
// questions, so that neither pays for the garbage of the other.
func (s *suite) counts(ctx context.Context, users *index.Users, attrs *audience.Attributes, bare map[load.Term]*roaring.Bitmap) error {
	const turn = 50
	var ours, theirs load.Histogram
	var r ratios
	began := time.Now()
	for first := uint64(0); first < 6*turn || time.Since(began) < s.opts.Round*time.Duration(s.opts.Rounds); first += turn {
		var asked [turn]load.Question
		var parsed [turn]audience.Expr
		var counts [turn]uint64
		var took [turn]time.Duration
		for i := range asked {
			asked[i] = load.Question5(first + uint64(i))
			var err error
			if parsed[i], err = audience.ParseWhere(asked[i].Where(), attrs); err != nil {
				return err
			}
		}
		runtime.GC()
		for i, e := range parsed {
			start := time.Now()
			var err error
			if counts[i], err = users.Count(ctx, e, audience.UserID); err != nil {
				return err
			}
			took[i] = time.Since(start)
			ours.Record(took[i])
		}
		runtime.GC()
		for i, q := range asked {
			start := time.Now()
			want := countBare(q, bare)
			base := time.Since(start)
			if counts[i] != want {
				return fmt.Errorf("the index counts %d, bitmaps %d: %s", counts[i], want, q.Where())
			}
			theirs.Record(base)
			r = append(r, took[i].Seconds()/base.Seconds())
		}
	}
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	p99 := ours.Quantile(0.99)
	s.add(Row{
		Case:     fmt.Sprintf("count of a 5-clause condition, %s users, %d conditions", count(uint64(users.Len())), len(r)),
		Ours:     fmt.Sprintf("p50 %v, p99 %v", round(ours.Quantile(0.5)), round(p99)),
		Baseline: fmt.Sprintf("bare Roaring p50 %v, p99 %v", round(theirs.Quantile(0.5)), round(theirs.Quantile(0.99))),
		Ratio:    fmt.Sprintf("%.2f", median(r)), Aim: "p99 <= 5ms, ratio <= 1.5", Met: p99 <= 5*time.Millisecond && median(r) <= 1.5,
	})
	return nil
}

// countBare counts as a program would that had only the bitmaps.
func countBare(q load.Question, bare map[load.Term]*roaring.Bitmap) uint64 {
	set := func(t load.Term) *roaring.Bitmap {
		if b := bare[t]; b != nil {
			return b
		}
		return roaring.New()
	}
	var found *roaring.Bitmap
	for _, group := range q.All {
		sets := make([]*roaring.Bitmap, len(group))
		for i, t := range group {
			sets[i] = set(t)
		}
		union := sets[0]
		if len(sets) > 1 {
			union = roaring.FastOr(sets...)
		}
		if found == nil {
			found = union.Clone()
		} else {
			found.And(union)
		}
	}
	for _, t := range q.None {
		found.AndNot(set(t))
	}
	return found.GetCardinality()
}

// heap returns the memory in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
