package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tidings/bench/load"
)

// noLimit is Options.Requests of a run against a baseline. There requests need not change
// anything, so the run goes on for its whole duration.
const noLimit = math.MaxUint64

const mebi = 1 << 20

// ratios are the ratios of the turns of one comparison.
type ratios []float64

func (r ratios) String() string {
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(r), slices.Min(r), slices.Max(r))
}

// add puts a row into the report and logs it.
func (s *suite) add(r Row) {
	s.report.Rows = append(s.report.Rows, r)
	s.logf("%s: ours %s, baseline %s, ratio %s", r.Case, r.Ours, r.Baseline, r.Ratio)
}

// bare starts the bare handler. The handler answers with what the server answers to the
// first request of w, which bare makes.
func (s *suite) bare(ctx context.Context, st *store, w load.Workload) (*store, error) {
	answer, err := firstAnswer(ctx, st, w)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, s.opts.Baseline, strings.NewReader(string(answer)), filepath.Join(s.dir, "baseline.log"))
	if err != nil {
		return nil, err
	}
	b := &store{process: p, targets: []load.Target{st.targets[0]}}
	b.targets[0].URL = p.url
	if b.client, err = load.DialAll(ctx, b.targets, s.opts.Connections); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return b, nil
}

// firstAnswer makes the first request of w and returns the answer.
func firstAnswer(ctx context.Context, st *store, w load.Workload) (answer []byte, err error) {
	hear := w.Answer
	w.Answer = func(seq uint64, body []byte) {
		answer = slices.Clone(body)
		if hear != nil {
			hear(seq, body)
		}
	}
	r, err := st.client.Run(ctx, w, load.Options{Requests: 1, AllowPartial: true})
	if err := cmp.Or(err, r.Err()); err != nil {
		return nil, fmt.Errorf("%w: %s", err, answer)
	}
	return answer, nil
}

// against measures the server and the bare handler in turns: first one turn that does
// not count, then Rounds. The rate, if not 0, is that of the handler.
func (s *suite) against(
	ctx context.Context, st *store, w load.Workload, rate float64, ours func(d time.Duration) (load.Result, error),
) (mine, base []load.Result, err error) {
	b, err := s.bare(ctx, st, w)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		b.client.Close()
		err = errors.Join(err, b.stop())
	}()
	for round := range s.opts.Rounds + 1 {
		d := s.opts.Round
		if round == 0 {
			d /= 4
		}
		if err := s.settle(ctx, st.process); err != nil {
			return nil, nil, err
		}
		r, err := b.client.Run(ctx, w, load.Options{Duration: d, Requests: noLimit, Rate: rate})
		if err := cmp.Or(err, r.Err()); err != nil {
			return nil, nil, fmt.Errorf("bare handler: %w", err)
		}
		m, err := ours(d)
		if err != nil {
			return nil, nil, err
		}
		if round > 0 {
			mine, base = append(mine, m), append(base, r)
		}
	}
	return mine, base, nil
}

// get measures get_attr, compared with what HTTP alone costs.
func (s *suite) get(ctx context.Context, st *store) error {
	w := load.GetAttr(load.Random(st.users, 1), batch)
	mine, base, err := s.against(ctx, st, w, 0, func(d time.Duration) (load.Result, error) {
		r, err := st.client.Run(ctx, w, load.Options{Duration: d})
		return r, cmp.Or(err, r.Err())
	})
	if err != nil {
		return err
	}
	s.addRates("get_attr, 100 users a request, "+st.name, mine, base, 0.25)
	return nil
}

// addRates adds a row that compares requests per second. Aim 0 is no aim.
func (s *suite) addRates(name string, mine, base []load.Result, aim float64) {
	var r ratios
	for i := range mine {
		r = append(r, mine[i].RequestsPerSecond()/base[i].RequestsPerSecond())
	}
	row := Row{Case: name, Ours: rates(mine), Baseline: "bare handler " + rates(base), Ratio: r.String(), Aim: "-", Met: median(r) >= aim}
	if aim > 0 {
		row.Aim = fmt.Sprintf(">= %g", aim)
	}
	s.add(row)
}

func rates(rs []load.Result) string {
	return fmt.Sprintf("%s requests/s, p99 %s", count(medianOf(rs, load.Result.RequestsPerSecond)), p99(rs))
}

func medianOf(rs []load.Result, f func(load.Result) float64) float64 {
	var xs []float64
	for _, r := range rs {
		xs = append(xs, f(r))
	}
	return median(xs)
}

// p99 returns the median of the turns' p99.
func p99(rs []load.Result) time.Duration {
	ns := medianOf(rs, func(r load.Result) float64 { return float64(r.Latency.Quantile(0.99)) })
	return time.Duration(ns).Round(10 * time.Microsecond)
}

// indexed compares set_attr and add_tag, which change what audiences are selected by,
// with remove_attr: that of the program Options.Before if there is one, else of this one.
func (s *suite) indexed(ctx context.Context, st *store) (err error) {
	old, name := st, "remove_attr now"
	if s.opts.Before != "" {
		name = "remove_attr before"
		if old, err = s.openWith(ctx, setup{users: st.users, program: s.opts.Before}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, old.close()) }()
	}
	turn := 0
	for _, c := range []struct {
		name   string
		w      func(u load.Users, turn int) load.Workload
		undone bool // by ClearTags
	}{
		{"set_attr", func(u load.Users, turn int) load.Workload { return load.GiveAttr(u, batch, turn) }, false},
		{"add_tag", func(u load.Users, turn int) load.Workload { return load.AddTag(u, batch, turn) }, true},
	} {
		var r ratios
		var mine, base []load.Result
		for round := range s.opts.Rounds + 1 {
			d := s.opts.Round
			if round == 0 {
				d /= 4
			}
			b, err := old.remove(ctx, batch, old.users, d)
			if err := cmp.Or(err, s.settle(ctx, old.process)); err != nil {
				return err
			}
			var sum load.Result
			for sum.Elapsed < d { // all users are changed sooner
				turn++
				u := load.Shuffled(st.users, 1)
				m, err := st.client.Run(ctx, c.w(u, turn), load.Options{Duration: d - sum.Elapsed})
				if err := cmp.Or(err, m.Err()); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				sum.Add(m)
				if c.undone {
					clearing := load.ClearTags(u, batch)
					o := load.Options{Duration: time.Hour, Requests: m.Users / batch}
					if m, err := st.client.Run(ctx, clearing, o); cmp.Or(err, m.Err()) != nil {
						return fmt.Errorf("clear_all_tags: %w", cmp.Or(err, m.Err()))
					}
				}
			}
			if err := s.settle(ctx, st.process); err != nil {
				return err
			}
			if round > 0 {
				mine, base = append(mine, sum), append(base, b.Result)
				r = append(r, sum.UsersPerSecond()/b.UsersPerSecond())
			}
		}
		s.add(Row{
			Case: c.name + ", 100 users a request, " + st.name, Ours: count(medianOf(mine, load.Result.UsersPerSecond)) + " users/s",
			Baseline: name + " " + count(medianOf(base, load.Result.UsersPerSecond)) + " users/s", Ratio: r.String(), Aim: ">= 0.7", Met: median(r) >= 0.7,
		})
	}
	return nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// footprint measures memory and start, compared with an empty server.
func (s *suite) footprint(ctx context.Context, st *store) (err error) {
	worked, err := s.rssAtRest(ctx, st)
	if err != nil {
		return err
	}
	empty, err := s.open(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, empty.close()) }()
	var started, emptyStarted []float64
	for range s.opts.Rounds {
		for _, x := range []*store{empty, st} {
			x.client.Close()
			if err := x.stop(); err != nil {
				return err
			}
			if err := s.start(ctx, x); err != nil {
				return err
			}
		}
		started = append(started, st.ready.Seconds())
		emptyStarted = append(emptyStarted, empty.ready.Seconds())
	}
	fresh, err := s.rssAtRest(ctx, st)
	if err != nil {
		return err
	}
	none, err := s.rssAtRest(ctx, empty)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		when string
		rss  float64
	}{{"after the cases above", worked}, {"after a start", fresh}} {
		s.add(Row{
			Case: "resident memory " + m.when + ", " + st.name + " of 3 attributes", Ours: fmt.Sprintf("%.0f MB", m.rss),
			Baseline: fmt.Sprintf("empty %.0f MB", none), Ratio: fmt.Sprintf("%+.0f MB", m.rss-none),
			Aim: "<= +150 MB", Met: m.rss-none <= 150,
		})
	}
	s.add(Row{
		Case: "start, " + st.name, Ours: fmt.Sprintf("%.3f s", median(started)),
		Baseline: fmt.Sprintf("empty %.3f s", median(emptyStarted)), Ratio: "-", Aim: "<= 2 s", Met: median(started) <= 2,
	})
	return nil
}

// rssAtRest waits until a server is idle, and returns its resident memory in MB.
func (s *suite) rssAtRest(ctx context.Context, st *store) (float64, error) {
	if err := s.settle(ctx, st.process); err != nil {
		return 0, err
	}
	rss, err := st.rss()
	return float64(rss) / mebi, err
}
