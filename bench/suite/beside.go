package suite

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"tidings/bench/load"
)

// A task is work of a server. Changes are measured beside it.
type task struct {
	name string // "a checkpoint is written"
	run  func(context.Context, *changes) error
}

var checkpointTask = task{"a checkpoint is written", func(ctx context.Context, c *changes) error {
	_, err := c.checkpoint(ctx)
	return err
}}

// beside makes changes, at full speed or at a rate, from the beginning of a task to its
// end.
func (t task) beside(ctx context.Context, c *changes, rate float64) (measured, error) {
	var wait sync.WaitGroup
	var taskErr error
	stop := make(chan struct{})
	wait.Go(func() {
		defer close(stop)
		taskErr = t.run(ctx, c)
	})
	m, err := c.run(ctx, load.Options{Duration: longestTime, Rate: rate, Stop: stop})
	wait.Wait()
	return m, cmp.Or(taskErr, err)
}

const duringAim = ">= 0.8"

// inTurns measures changes alone, at full speed or at a rate, and beside something, in
// turns: first one of each that does not count, then Rounds.
func (s *suite) inTurns(ctx context.Context, c *changes, rate float64, beside func() (measured, error)) (alone, with []load.Result, err error) {
	for round := range s.opts.Rounds + 1 {
		for _, turn := range []struct {
			run     func() (measured, error)
			results *[]load.Result
		}{
			{func() (measured, error) { return c.run(ctx, load.Options{Duration: s.opts.Round, Rate: rate}) }, &alone},
			{beside, &with},
		} {
			if err := s.settle(ctx, c.process); err != nil {
				return nil, nil, err
			}
			m, err := turn.run()
			if err != nil {
				return nil, nil, err
			}
			if round > 0 {
				*turn.results = append(*turn.results, m.Result)
			}
		}
	}
	return alone, with, nil
}

// speedRatios returns the ratios of users changed per second.
func speedRatios(alone, with []load.Result) (r ratios) {
	for i := range alone {
		r = append(r, with[i].UsersPerSecond()/alone[i].UsersPerSecond())
	}
	return r
}

// during compares changes beside a task with changes without. A turn has the task as
// often as it takes to last a Round.
func (s *suite) during(ctx context.Context, c *changes, t task) error {
	var seconds []float64
	without, with, err := s.inTurns(ctx, c, 0, func() (sum measured, err error) {
		for sum.Elapsed < s.opts.Round {
			m, err := t.beside(ctx, c, 0)
			if err != nil {
				return sum, err
			}
			sum.Add(m.Result)
			seconds = append(seconds, m.Elapsed.Seconds())
		}
		return sum, nil
	})
	if err != nil {
		return err
	}
	r := speedRatios(without, with)
	speed := func(rs []load.Result) string {
		return fmt.Sprintf("%s users/s, p99 %s", count(medianOf(rs, load.Result.UsersPerSecond)), p99(rs))
	}
	s.add(Row{
		Case:     fmt.Sprintf("set_attr and remove_attr, 100 users a request, while %s, %s", t.name, c.name),
		Ours:     fmt.Sprintf("%s, in %.1f s", speed(with), median(seconds)),
		Baseline: "without " + speed(without), Ratio: r.String(), Aim: duringAim, Met: median(r) >= 0.8,
	})
	return nil
}
