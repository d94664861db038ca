package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"tidings/bench/load"
)

// changes are set_attr and remove_attr in turn on the users of a store. Each request
// changes every user in it.
type changes struct {
	*store
	order    load.Alternation
	requests uint64 // made so far
}

// alternate prepares changes of n users a request: half of the users of every app lose
// two attributes. All users must have these.
func (s *suite) alternate(ctx context.Context, st *store, n int, attrs [2]load.Attribute) (*changes, error) {
	c := &changes{store: st, order: load.Alternate(load.Shuffled(st.users, 1), n, attrs)}
	s.logf("%s: taking attributes from half of the users", st.name)
	if err := st.client.Prepare(ctx, c.order.Prime().Over(len(st.targets))); err != nil {
		return nil, err
	}
	return c, s.settle(ctx, st.process)
}

// workload returns the changes that come next.
func (c *changes) workload() load.Workload {
	return c.order.Workload().Over(len(c.targets)).From(c.requests)
}

// measured is a run of requests.
type measured struct {
	load.Result
	cpu time.Duration // of the server
}

// run makes changes. A request in error is an error.
func (c *changes) run(ctx context.Context, o load.Options) (measured, error) {
	before := c.cpu()
	r, err := c.client.Run(ctx, c.workload(), o)
	if err := cmp.Or(err, r.Err()); err != nil {
		return measured{}, fmt.Errorf("set_attr and remove_attr: %w", err)
	}
	c.requests += r.Requests
	return measured{r, c.cpu() - before}, nil
}

// restore sets the attributes of the users who lack them. The store must have one
// app, which load.Fill has filled.
func (c *changes) restore(ctx context.Context) error {
	users, n := c.order.Without(c.requests)
	return c.client.Restore(ctx, users, n)
}

// againstBare measures changes and the bare handler in turns, at the given rate
// if that is not 0.
func (s *suite) againstBare(ctx context.Context, c *changes, rate float64) (mine, base []load.Result, err error) {
	w := c.workload()
	c.requests++ // against makes the first request of the workload
	return s.against(ctx, c.store, w, rate, func(d time.Duration) (load.Result, error) {
		r, err := c.run(ctx, load.Options{Duration: d, Rate: rate})
		return r.Result, err
	})
}

// changeCases measures what changes cost, compared with Redis and with HTTP alone.
func (s *suite) changeCases(ctx context.Context) (err error) {
	// Far more users than there can be in requests in flight.
	users := max(s.scaled(mainUsers), uint64(4*batch*s.opts.Connections))
	st, err := s.openWith(ctx, setup{users: users, noCheckpoints: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	large, err := s.alternate(ctx, st, batch, load.FilledAttrs())
	if err != nil {
		return err
	}
	peak, err := s.changeBatch(ctx, large)
	if err != nil {
		return err
	}
	if err := s.paced(ctx, large, peak/2); err != nil {
		return err
	}
	if err := large.restore(ctx); err != nil {
		return err
	}
	return s.changeOne(ctx, st)
}

// changeBatch compares changes of 100 users with the same in Redis, and returns
// the requests per second at full speed.
func (s *suite) changeBatch(ctx context.Context, c *changes) (peak float64, err error) {
	aim := 0.8
	name := "set_attr and remove_attr, 100 users a request, " + c.name
	theirs, mine, err := s.redis(ctx, c)
	if errors.Is(err, exec.ErrNotFound) {
		s.report.Notes = append(s.report.Notes, "redis-server is not installed: changes were not compared with it.")
		mine, err = s.turns(ctx, c)
	}
	if err != nil {
		return 0, err
	}
	row := Row{
		Case: name, Ours: fmt.Sprintf("%s users/s, p99 %s", count(medianOf(mine, load.Result.UsersPerSecond)), p99(mine)),
		Baseline: "-", Ratio: "-", Aim: fmt.Sprintf(">= %g, wanted 1", aim),
	}
	if theirs != nil {
		var r ratios
		for i := range theirs {
			r = append(r, mine[i].UsersPerSecond()/theirs[i].UsersPerSecond())
		}
		row.Baseline = "Redis HSET and HDEL of 2 fields, appendfsync always, " + count(medianOf(theirs, load.Result.UsersPerSecond)) + " users/s"
		row.Ratio, row.Met = r.String(), median(r) >= aim
	}
	s.add(row)
	return medianOf(mine, load.Result.RequestsPerSecond), nil
}

// turns measures changes alone.
func (s *suite) turns(ctx context.Context, c *changes) (mine []load.Result, err error) {
	for range s.opts.Rounds {
		if err := s.settle(ctx, c.process); err != nil {
			return nil, err
		}
		m, err := c.run(ctx, load.Options{Duration: s.opts.Round})
		if err != nil {
			return nil, err
		}
		mine = append(mine, m.Result)
	}
	return mine, nil
}

// redis measures Redis and the server in turns: first one turn that does not count, then
// Rounds. The error is exec.ErrNotFound if there is no Redis on this machine.
func (s *suite) redis(ctx context.Context, c *changes) (theirs, mine []load.Result, err error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, nil, exec.ErrNotFound
	}
	dir := filepath.Join(s.dir, "redis")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	p, _, err := spawn(ctx, append([]string{binary}, load.RedisArgs(port, dir)...), nil, filepath.Join(s.dir, "redis.log"))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, p.stop(), os.RemoveAll(dir)) }()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := load.AwaitRedis(wait, addr); err != nil {
		return nil, nil, err
	}
	r, err := load.DialRedis(ctx, addr, s.opts.Connections)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	s.logf("filling Redis")
	order := load.Alternate(load.Shuffled(c.users, 1), batch, load.FilledAttrs())
	if err := r.Fill(ctx, c.users); err != nil {
		return nil, nil, err
	}
	if err := r.Prime(ctx, order); err != nil {
		return nil, nil, err
	}
	requests := uint64(0)
	for round := range s.opts.Rounds + 1 {
		d := s.opts.Round
		if round == 0 {
			d /= 4
		}
		if err := cmp.Or(s.settle(ctx, c.process), s.settle(ctx, p)); err != nil {
			return nil, nil, err
		}
		result, err := r.Alternate(ctx, order, requests, load.Options{Duration: d})
		if err := cmp.Or(err, result.Err()); err != nil {
			return nil, nil, fmt.Errorf("redis: %w", err)
		}
		requests += result.Requests
		ours, err := c.run(ctx, load.Options{Duration: d})
		if err != nil {
			return nil, nil, err
		}
		if round > 0 {
			theirs, mine = append(theirs, result), append(mine, ours.Result)
		}
	}
	return theirs, mine, nil
}

// paced measures the latency at a fixed rate of changes. The baseline is the latency
// that machine and generator add.
func (s *suite) paced(ctx context.Context, c *changes, rate float64) error {
	mine, base, err := s.againstBare(ctx, c, rate)
	if err != nil {
		return err
	}
	ours, bare := p99(mine), p99(base)
	s.add(Row{
		Case: fmt.Sprintf("p99 of set_attr and remove_attr, 100 users a request, %s requests/s, half the peak", count(rate)),
		Ours: ours.String(), Baseline: "bare handler " + bare.String(), Ratio: "-",
		Aim: "<= 5ms", Met: ours <= 5*time.Millisecond,
	})
	return nil
}

// changeOne measures the cost of everything around the work, and of making the
// work durable, compared with what HTTP alone costs.
func (s *suite) changeOne(ctx context.Context, st *store) error {
	c, err := s.alternate(ctx, st, 1, load.FilledAttrs())
	if err != nil {
		return err
	}
	mine, base, err := s.againstBare(ctx, c, 0)
	if err != nil {
		return err
	}
	s.addRates(fmt.Sprintf("set_attr and remove_attr, 1 user a request, %s, %d connections", st.name, s.opts.Connections), mine, base, 0.5)
	return nil
}

// sizes compares stores of many and of few users: what a change costs must hardly
// grow with the users stored.
func (s *suite) sizes(ctx context.Context) (err error) {
	// More users than there can be in requests in flight.
	smallest := max(min(smallUsers, s.scaled(largeUsers)/10), uint64(batch*s.opts.Connections)*3/2)
	large, err := s.openWith(ctx, setup{users: max(s.scaled(largeUsers), smallest), noCheckpoints: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, large.close()) }()
	small, err := s.openWith(ctx, setup{users: smallest, noCheckpoints: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, small.close()) }()
	for _, c := range []struct {
		users     int
		cpu, rate float64 // aims
	}{{batch, 1.7, 1.3}, {1, 1.3, 1.3}} {
		big, little, err := s.grow(ctx, large, small, c.users)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("set_attr and remove_attr, %d user%s a request, %s against %s", c.users, plural(c.users), large.name, small.name)
		cost := func(r measured) float64 { // no request costs less than can be measured
			return float64(max(r.cpu, clockTick).Microseconds()) / float64(r.Requests)
		}
		s.addGrowth(name+", CPU", "µs a request", big, little, c.cpu, cost)
		took := func(r measured) float64 { return 1e6 / r.RequestsPerSecond() }
		s.addGrowth(name+", throughput", "µs from answer to answer", big, little, c.rate, took)
	}
	return nil
}

// grow measures changes of n users a request in two stores in turns: first one turn that
// does not count, then Rounds.
func (s *suite) grow(ctx context.Context, large, small *store, n int) (big, little []measured, err error) {
	runs := make(map[*store][]measured)
	var pair []*changes
	for _, st := range []*store{small, large} {
		c, err := s.alternate(ctx, st, n, load.FilledAttrs())
		if err != nil {
			return nil, nil, err
		}
		pair = append(pair, c)
	}
	for range s.opts.Rounds + 1 {
		for _, c := range pair {
			if err := s.settle(ctx, c.process); err != nil {
				return nil, nil, err
			}
			r, err := c.run(ctx, load.Options{Duration: s.opts.Round})
			if err != nil {
				return nil, nil, err
			}
			runs[c.store] = append(runs[c.store], r)
		}
	}
	for _, c := range pair {
		if err := c.restore(ctx); err != nil {
			return nil, nil, err
		}
	}
	return runs[large][1:], runs[small][1:], nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (s *suite) addGrowth(name, unit string, big, little []measured, aim float64, f func(measured) float64) {
	var r ratios
	var b, l []float64
	for i := range big {
		b, l = append(b, f(big[i])), append(l, f(little[i]))
		r = append(r, f(big[i])/f(little[i]))
	}
	s.add(Row{
		Case: name, Ours: fmt.Sprintf("%.1f %s", median(b), unit), Baseline: fmt.Sprintf("%.1f %s", median(l), unit),
		Ratio: r.String(), Aim: fmt.Sprintf("<= %g", aim), Met: median(r) <= aim,
	})
}
