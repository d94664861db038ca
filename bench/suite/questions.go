package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tidings/bench/load"
	"tidings/internal/admin"
	"tidings/internal/apierr"
	"tidings/internal/control"
)

const (
	questionUsers = 10_000_000 // at Scale 1
	otherUsers    = 100_000    // of an app beside the one that is asked about
	lightRate     = 1000       // light questions per second
	heavyAtOnce   = 100        // heavy questions
	otherRate     = 500        // requests per second of the other app
)

// questionCases measures what questions about millions of users cost the changes of
// these users, and the requests of another app.
func (s *suite) questionCases(ctx context.Context) (err error) {
	st, err := s.openWith(ctx, setup{noCheckpoints: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if err := s.addApps(ctx, st, 2); err != nil {
		return err
	}
	if err := st.client.NameAttrs(ctx, load.TraitNames); err != nil {
		return err
	}
	file := filepath.Join(s.dir, "users.ndjson")
	other := st.targets[1]
	for i, n := range []float64{otherUsers, questionUsers} {
		st.users = s.scaled(n)
		if err := s.writePopulation(ctx, file, st.users, memberAttrs); err != nil {
			return err
		}
		if err := runProgram(ctx, st.importArgs(st.targets[1-i].SDKAppID, file)); err != nil {
			return fmt.Errorf("import: %w", err)
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	st.name, st.targets = count(st.users)+" users", st.targets[:1]
	st.client.Close()
	if st.client, err = load.DialAll(ctx, st.targets, s.opts.Connections); err != nil {
		return err
	}
	c, err := s.alternate(ctx, st, batch, load.MemberAttrs())
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, *changes) error{s.besideHeavy, s.besideLight, s.besideTasks} {
		if err := step(ctx, c); err != nil {
			return err
		}
	}
	return s.manyHeavy(ctx, c, other)
}

// beside asks questions on some connections until f returns.
func (s *suite) beside(ctx context.Context, st *store, w load.Workload, connections int, rate float64, f func() error) (load.Result, error) {
	client, err := load.Dial(ctx, st.targets[0], connections)
	if err != nil {
		return load.Result{}, err
	}
	defer client.Close()
	var wait sync.WaitGroup
	var asked load.Result
	var askErr error
	stop := make(chan struct{})
	wait.Go(func() {
		asked, askErr = client.Run(ctx, w, load.Options{Duration: longestTime, Grace: time.Minute, Rate: rate, Stop: stop})
	})
	err = f()
	close(stop)
	wait.Wait()
	delete(asked.Errors, timedOut) // too many at once
	return asked, cmp.Or(err, askErr, asked.Err())
}

// timedOut is the code of a request that has waited for request_timeout.
var timedOut = apierr.PushTimeout.Code

// heavy returns a workload of the heaviest questions, each once.
func (s *suite) heavy() load.Workload {
	s.heavyAsked += 1 << 20
	first := s.heavyAsked
	return load.EstimateWhere(func(seq uint64) string { return load.HeavyWhere(first + seq) })
}

// besideHeavy compares the latency of changes at half the peak with and without the
// heaviest questions, one after the other.
func (s *suite) besideHeavy(ctx context.Context, c *changes) error {
	peak, err := c.run(ctx, load.Options{Duration: s.opts.Round})
	if err != nil {
		return err
	}
	rate := peak.RequestsPerSecond() / 2
	var asked load.Result
	alone, with, err := s.inTurns(ctx, c, rate, func() (m measured, err error) {
		asked, err = s.beside(ctx, c.store, s.heavy(), 1, 0, func() (err error) {
			m, err = c.run(ctx, load.Options{Duration: s.opts.Round, Rate: rate})
			return err
		})
		return m, err
	})
	if err != nil {
		return err
	}
	var r ratios
	for i := range alone {
		r = append(r, float64(with[i].Latency.Quantile(0.99))/float64(alone[i].Latency.Quantile(0.99)))
	}
	s.add(Row{
		Case: fmt.Sprintf("p99 of set_attr and remove_attr, 100 users a request, %s requests/s, while the heaviest questions run, %s", count(rate), c.name),
		Ours: fmt.Sprintf("%s, a question takes %s", p99(with), asked.Latency.Quantile(0.5)), Baseline: "without " + p99(alone).String(), Ratio: r.String(), Aim: "<= 3", Met: median(r) <= 3,
	})
	return nil
}

// besideLight compares changes at full speed with and without light questions.
func (s *suite) besideLight(ctx context.Context, c *changes) error {
	w := load.Estimate(func(seq uint64) load.Question { return load.Question2(seq) })
	var asked load.Result
	without, with, err := s.inTurns(ctx, c, 0, func() (m measured, err error) {
		asked, err = s.beside(ctx, c.store, w, s.opts.Connections, lightRate, func() (err error) {
			m, err = c.run(ctx, load.Options{Duration: s.opts.Round})
			return err
		})
		return m, err
	})
	if err != nil {
		return err
	}
	r := speedRatios(without, with)
	s.add(Row{
		Case:     fmt.Sprintf("set_attr and remove_attr, 100 users a request, beside %d light questions/s, %s", lightRate, c.name),
		Ours:     fmt.Sprintf("%s users/s, %s questions/s, p99 %s", count(medianOf(with, load.Result.UsersPerSecond)), count(asked.RequestsPerSecond()), asked.Latency.Quantile(0.99)),
		Baseline: "without " + count(medianOf(without, load.Result.UsersPerSecond)) + " users/s", Ratio: r.String(), Aim: duringAim, Met: median(r) >= 0.8,
	})
	return nil
}

// besideTasks measures changes beside a checkpoint of one app and beside a backup: their
// rate, and the latency of the slowest.
func (s *suite) besideTasks(ctx context.Context, c *changes) error {
	if offered, err := s.checkpointsOffered(ctx); err != nil || !offered {
		return err
	}
	for _, t := range []task{checkpointTask, s.backupTask()} {
		if err := s.during(ctx, c, t); err != nil {
			return err
		}
		peak, err := c.run(ctx, load.Options{Duration: s.opts.Round})
		if err != nil {
			return err
		}
		if err := s.settle(ctx, c.process); err != nil {
			return err
		}
		rate := peak.RequestsPerSecond() / 2
		m, err := t.beside(ctx, c, rate)
		if err != nil {
			return err
		}
		longest := m.Latency.Max()
		s.add(Row{
			Case: fmt.Sprintf("longest set_attr or remove_attr, 100 users a request, %s requests/s, while %s, %s", count(rate), t.name, c.name),
			Ours: fmt.Sprintf("%v, p99 %v", longest.Round(100*time.Microsecond), p99([]load.Result{m.Result})), Baseline: "-", Ratio: "-",
			Aim: "<= 50ms", Met: longest <= 50*time.Millisecond,
		})
	}
	return nil
}

// backupTask returns a backup to a directory beside the data.
func (s *suite) backupTask() task {
	dir := filepath.Join(s.dir, "backup")
	return task{"a backup is made", func(ctx context.Context, c *changes) error {
		client, err := control.Dial(ctx, c.data())
		if err != nil {
			return err
		}
		answer, err := admin.BackUp.Open(ctx, client, admin.BackupRequest{Dir: dir}, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, answer)
			err = errors.Join(err, answer.Close())
		}
		return errors.Join(err, client.Close(), os.RemoveAll(dir))
	}}
}

// manyHeavy measures the memory that a hundred heavy questions at once take, and what
// they cost the requests of another app.
func (s *suite) manyHeavy(ctx context.Context, c *changes, other load.Target) error {
	client, err := load.Dial(ctx, other, s.opts.Connections)
	if err != nil {
		return err
	}
	defer client.Close()
	w := load.GetAttr(load.Shuffled(s.scaled(otherUsers), 1), 1)
	ask := func() (load.Result, error) {
		r, err := client.Run(ctx, w, load.Options{Duration: s.opts.Round, Rate: otherRate})
		return r, cmp.Or(err, r.Err())
	}
	var r ratios
	var idle, beside []load.Result
	var growth []float64
	for range s.opts.Rounds {
		rest, err := s.rssAtRest(ctx, c.store)
		if err != nil {
			return err
		}
		a, err := ask()
		if err != nil {
			return err
		}
		if err := c.resetPeak(); err != nil {
			return err
		}
		var b load.Result
		if _, err = s.beside(ctx, c.store, s.heavy(), heavyAtOnce, 0, func() (err error) {
			b, err = ask()
			return err
		}); err != nil {
			return err
		}
		peak, err := c.peakRSS()
		if err != nil {
			return err
		}
		idle, beside = append(idle, a), append(beside, b)
		r = append(r, float64(b.Latency.Quantile(0.99))/float64(a.Latency.Quantile(0.99)))
		growth = append(growth, float64(peak)/mebi-rest)
	}
	s.add(Row{
		Case: fmt.Sprintf("peak of the resident memory while %d of the heaviest questions are asked at once, %s", heavyAtOnce, c.name),
		Ours: fmt.Sprintf("%+.0f MB", median(growth)), Baseline: "at rest", Ratio: "-", Aim: "<= +300 MB", Met: median(growth) <= 300,
	})
	s.add(Row{
		Case: fmt.Sprintf("p99 of get_attr of another app, 1 user a request, %d requests/s, meanwhile", otherRate),
		Ours: p99(beside).String(), Baseline: "idle " + p99(idle).String(), Ratio: r.String(), Aim: "<= 3", Met: median(r) <= 3,
	})
	return nil
}
