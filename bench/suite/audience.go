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
	"sync"
	"time"

	"tidings/bench/load"
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
