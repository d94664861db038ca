package suite

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"tidings/bench/load"
	"tidings/internal/audience"
	"tidings/internal/index"
)

// audienceUsers is the population that audiences are selected from, at Scale 1.
const audienceUsers = 10_000_000

const (
	questions     = 100 // different ones that are asked again and again
	countRate     = 50  // counts per second beside changes
	countSessions = 4
)

// audiences measures a population with attributes and tags: import and export, counts
// over HTTP and beside changes, then counts of the index alone.
func (s *suite) audiences(ctx context.Context) error {
	file := filepath.Join(s.dir, "users.ndjson")
	n := s.scaled(audienceUsers)
	if err := s.writePopulation(ctx, file, n, len(load.TraitNames)); err != nil {
		return err
	}
	if err := s.audienceStore(ctx, file, n); err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return err
	}
	return s.indexAlone(ctx, n)
}

// writePopulation writes an import file of n users with the first attrs of their
// attributes.
func (s *suite) writePopulation(ctx context.Context, file string, n uint64, attrs int) error {
	s.logf("writing %s users to a file", count(n))
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	line := make([]byte, 0, 512)
	for m := range members(ctx, n) {
		line = m.AppendLine(line[:0], attrs)
		if _, err := w.Write(line); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(context.Cause(ctx), w.Flush(), f.Close())
}

// members returns the members of a population, until ctx ends.
func members(ctx context.Context, n uint64) iter.Seq[load.Member] {
	return func(yield func(load.Member) bool) {
		for m := range load.Member(n) {
			if m%4096 == 0 && ctx.Err() != nil || !yield(m) {
				return
			}
		}
	}
}

func (s *suite) audienceStore(ctx context.Context, file string, n uint64) (err error) {
	st, err := s.open(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	st.name, st.users = count(n)+" users", n
	before, err := s.rssAtRest(ctx, st)
	if err != nil {
		return err
	}
	if err := st.client.NameAttrs(ctx, load.TraitNames); err != nil {
		return err
	}
	out := filepath.Join(s.dir, "export.ndjson")
	if err := s.transfer(ctx, st, "import of NDJSON, ", st.importArgs(sdkAppID, file)); err != nil {
		return err
	}
	if err := s.settle(ctx, st.process); err != nil {
		return err
	}
	if err := s.transfer(ctx, st, "export as NDJSON, ", st.exportArgs(sdkAppID, out)); err != nil {
		return err
	}
	if err := os.Remove(out); err != nil {
		return err
	}
	for _, step := range []func(context.Context, *store) error{s.starts, s.estimates, s.postgres, s.countsBesideChanges} {
		if err := step(ctx, st); err != nil {
			return err
		}
	}
	after, err := s.rssAtRest(ctx, st)
	if err != nil {
		return err
	}
	s.report.Notes = append(s.report.Notes, fmt.Sprintf("Resident memory of the server with %s users of 6 attributes and 5 tags, after all this: %.0f MB, empty %.0f MB.", count(n), after, before))
	return nil
}

// transfer runs an import or an export to its end.
func (s *suite) transfer(ctx context.Context, st *store, name string, args []string) error {
	began := time.Now()
	if err := runProgram(ctx, args); err != nil {
		return fmt.Errorf("%s%w", name, err)
	}
	rate := float64(st.users) / time.Since(began).Seconds()
	s.add(Row{
		Case: name + st.name + " of 6 attributes and 5 tags", Ours: count(rate) + " users/s", Baseline: "-", Ratio: "-",
		Aim: ">= 150 000 users/s", Met: rate >= 150_000,
	})
	return nil
}

// importArgs returns the command line that imports a file into an app of a server.
func (st *store) importArgs(sdkappid uint32, file string) []string {
	return []string{st.program, "import", "--data", st.data(), "--app", fmt.Sprint(sdkappid), "--no-resume", file}
}

// exportArgs returns the command line that exports the users of an app of a server.
func (st *store) exportArgs(sdkappid uint32, file string) []string {
	return []string{st.program, "export", "--data", st.data(), "--app", fmt.Sprint(sdkappid), "--output", file}
}

// runProgram runs a program to its end. An error has what the program wrote.
func runProgram(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// starts measures a start after a stop.
func (s *suite) starts(ctx context.Context, st *store) error {
	const aim = 3 // seconds
	var took []float64
	for range s.opts.Rounds {
		st.client.Close()
		if err := st.stop(); err != nil {
			return err
		}
		if err := s.start(ctx, st); err != nil {
			return err
		}
		took = append(took, st.ready.Seconds())
	}
	s.add(Row{
		Case: "start, " + st.name, Ours: fmt.Sprintf("%.2f s", median(took)),
		Baseline: "-", Ratio: "-", Aim: fmt.Sprintf("<= %d s", aim), Met: median(took) <= aim,
	})
	return nil
}

// estimates measures estimate_audience beside the bare handler.
func (s *suite) estimates(ctx context.Context, st *store) error {
	repeated := load.Estimate(func(seq uint64) load.Question { return load.Question3(seq % questions) })
	fresh := load.Estimate(func(seq uint64) load.Question { return load.Question3(questions + seq) })
	for _, c := range []struct {
		name string
		w    load.Workload
		aim  float64
	}{{fmt.Sprintf("%d conditions again and again", questions), repeated, 0.3}, {"each condition once", fresh, 0}} {
		mine, base, err := s.against(ctx, st, c.w, 0, func(d time.Duration) (load.Result, error) {
			r, err := st.client.Run(ctx, c.w, load.Options{Duration: d})
			return r, cmp.Or(err, r.Err())
		})
		if err != nil {
			return err
		}
		s.addRates("estimate_audience, 3 clauses, "+c.name+", "+st.name, mine, base, c.aim)
	}
	return nil
}

// changesPeak returns the requests per second of a workload at full speed.
func (s *suite) changesPeak(ctx context.Context, st *store, w load.Workload) (float64, error) {
	r, err := st.client.Run(ctx, w, load.Options{Duration: s.opts.Round})
	return r.RequestsPerSecond(), cmp.Or(err, r.Err())
}

// countsBesideChanges compares the latency of counts on an idle server and beside changes
// at half their peak.
func (s *suite) countsBesideChanges(ctx context.Context, st *store) error {
	changes := load.Retag(load.Shuffled(st.users, 1), batch)
	peak, err := s.changesPeak(ctx, st, changes)
	if err != nil {
		return err
	}
	if err := s.settle(ctx, st.process); err != nil {
		return err
	}
	counter, err := load.Dial(ctx, st.targets[0], countSessions)
	if err != nil {
		return err
	}
	defer counter.Close()
	asked := uint64(0)
	ask := func(d time.Duration) (load.Result, error) {
		first := asked
		asked += 1 << 20
		w := load.Estimate(func(seq uint64) load.Question { return load.Question5(1<<30 + first + seq) })
		r, err := counter.Run(ctx, w, load.Options{Duration: d, Rate: countRate})
		return r, cmp.Or(err, r.Err())
	}
	var alone, beside []load.Result
	for round := range s.opts.Rounds + 1 {
		a, err := ask(s.opts.Round)
		if err != nil {
			return err
		}
		var wait sync.WaitGroup
		var changed load.Result
		var changeErr error
		wait.Go(func() {
			changed, changeErr = st.client.Run(ctx, changes, load.Options{Duration: s.opts.Round, Rate: peak / 2})
		})
		b, err := ask(s.opts.Round)
		wait.Wait()
		if err := cmp.Or(err, changeErr, changed.Err()); err != nil {
			return err
		}
		if err := s.settle(ctx, st.process); err != nil {
			return err
		}
		if round > 0 {
			alone, beside = append(alone, a), append(beside, b)
		}
	}
	var r ratios
	for i := range alone {
		r = append(r, float64(beside[i].Latency.Quantile(0.99))/float64(alone[i].Latency.Quantile(0.99)))
	}
	s.add(Row{
		Case: fmt.Sprintf("p99 of estimate_audience, 5 clauses, while %s requests/s set and tag 100 users each, %s", count(peak/2), st.name),
		Ours: p99(beside).String(), Baseline: "nothing else going on " + p99(alone).String(), Ratio: r.String(), Aim: "<= 3", Met: median(r) <= 3,
	})
	return nil
}

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
