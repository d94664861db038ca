package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"tidings/bench/load"
)

// deviceCases measures ten million devices: what they take, how they register, and pushes to
// many of them.
func (s *suite) deviceCases(ctx context.Context) (err error) {
	p, err := s.openPush(ctx, s.scaled(manyPhones))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := s.importMembers(ctx, p.store); err != nil {
		return err
	}
	if err := s.deviceSizes(ctx, p); err != nil {
		return err
	}
	for _, c := range []func(context.Context, *pushed) error{s.registrations, s.freezes, s.previews, s.explains} {
		if err := c(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// A size is what a server takes right after a start.
type size struct {
	heap, rss, disk float64 // bytes
	start           time.Duration
}

// size starts a server again and returns what it takes.
func (s *suite) size(ctx context.Context, p *pushed) (z size, err error) {
	for range s.opts.Rounds {
		p.client.Close()
		if err := cmp.Or(s.settle(ctx, p.process), p.stop()); err != nil {
			return z, err
		}
		if err := s.start(ctx, p.store); err != nil {
			return z, err
		}
		if z.start == 0 || p.ready < z.start {
			z.start = p.ready
		}
	}
	if z.heap, z.rss, err = s.restedMemory(ctx, p.store); err != nil {
		return z, err
	}
	z.disk, err = diskUse(p.data())
	return z, err
}

// diskUse returns the bytes of all files below a directory.
func diskUse(dir string) (bytes float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // it was needed no more
			return nil
		}
		if err == nil {
			bytes += float64(info.Size())
		}
		return err
	})
	return bytes, err
}

// deviceSizes gives the users devices, and measures what these take.
func (s *suite) deviceSizes(ctx context.Context, p *pushed) error {
	without, err := s.size(ctx, p)
	if err != nil {
		return err
	}
	imported, err := s.givePhones(ctx, p)
	if err != nil {
		return err
	}
	s.add(Row{
		Case: "import of devices, each with an account, a token and a user, " + p.name, Ours: count(imported) + " devices/s",
		Baseline: "-", Ratio: "-", Aim: ">= 50 000 devices/s", Met: imported >= 50_000,
	})
	with, err := s.size(ctx, p)
	if err != nil {
		return err
	}
	n := float64(p.phones)
	for _, x := range []struct {
		name          string
		with, without float64
		aim           float64
	}{
		{"heap in use", with.heap, without.heap, 40},
		{"disk", with.disk, without.disk, 400},
	} {
		each := (x.with - x.without) / n
		s.add(Row{
			Case: x.name + " by a device with an account, a token and a user, after a start, " + p.name, Ours: fmt.Sprintf("%.1f bytes, in all %.0f MB", each, x.with/mebi),
			Baseline: fmt.Sprintf("users alone %.0f MB", x.without/mebi), Ratio: "-", Aim: fmt.Sprintf("<= %g bytes", x.aim), Met: each <= x.aim,
		})
	}
	longer := (with.start - without.start).Seconds()
	s.add(Row{
		Case: "start, " + p.name, Ours: fmt.Sprintf("%.2f s", with.start.Seconds()), Baseline: fmt.Sprintf("users alone %.2f s", without.start.Seconds()),
		Ratio: fmt.Sprintf("%+.2f s", longer), Aim: "<= +3 s", Met: longer <= 3,
	})
	return nil
}

// refreshed is how many devices refresh themselves again and again.
const refreshed = 100_000

// registrations measures registrations and refreshes that change nothing, compared with
// what HTTP alone costs.
func (s *suite) registrations(ctx context.Context, p *pushed) error {
	in := p.installer
	in.First += load.Phone(p.made)
	in.Secrets = make([][]byte, s.scaled(refreshed))
	register := in.Register()
	silent := register
	silent.Answer = nil // the bare handler's secrets are none
	asked := uint64(0)
	run := func(o load.Options) (load.Result, error) {
		r, err := p.client.Run(ctx, register.From(asked), o)
		asked += r.Requests
		return r, cmp.Or(err, r.Err())
	}
	if _, err := run(load.Options{Duration: longestTime, Requests: uint64(len(in.Secrets))}); err != nil {
		return err
	}
	first := silent.From(asked)
	asked++
	mine, base, err := s.against(ctx, p.store, first, 0, func(d time.Duration) (load.Result, error) { return run(load.Options{Duration: d}) })
	if err != nil {
		return err
	}
	p.made += asked
	name := fmt.Sprintf(", %d connections, %s", s.opts.Connections, p.name)
	s.addRates("register a device"+name, mine, base, 0.25)

	refresh := in.Refresh(uint64(len(in.Secrets)))
	mine, base, err = s.against(ctx, p.store, refresh, 0, func(d time.Duration) (load.Result, error) {
		r, err := p.client.Run(ctx, refresh, load.Options{Duration: d})
		return r, cmp.Or(err, r.Err())
	})
	if err != nil {
		return err
	}
	s.addRates("refresh a device that is unchanged"+name, mine, base, 0.5)
	return nil
}

// halfTheUsers selects half of the users, by an attribute of a thousand values.
const halfTheUsers = `version >= 250`

// freezes measures how long after its acceptance the first message of a push to half of
// the users arrives.
func (s *suite) freezes(ctx context.Context, p *pushed) error {
	const aim = time.Second
	var took []float64
	for range s.opts.Rounds {
		if err := cmp.Or(s.settle(ctx, p.process), p.sim.answerAfter(ctx, 0)); err != nil {
			return err
		}
		id, err := p.push(ctx, halfTheUsers)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := p.sim.wait(ctx, 1); err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds())
		if err := s.stopTask(ctx, p, id); err != nil {
			return err
		}
	}
	s.add(Row{
		Case: "from push to half of the users accepted to the first message at the simulator, " + p.name, Ours: fmt.Sprintf("%.3f s", median(took)),
		Baseline: "-", Ratio: "-", Aim: fmt.Sprintf("<= %v", aim), Met: median(took) <= aim.Seconds(),
	})
	return nil
}

// previews measures preview_push.
func (s *suite) previews(ctx context.Context, p *pushed) error {
	const aim = time.Second
	for _, c := range []struct{ name, where string }{{"everyone", everyMember}, {"half of the users", halfTheUsers}} {
		var took []float64
		for range s.opts.Rounds {
			if err := s.settle(ctx, p.process); err != nil {
				return err
			}
			began := time.Now()
			if _, err := p.preview(ctx, c.where); err != nil {
				return err
			}
			took = append(took, time.Since(began).Seconds())
		}
		s.add(Row{
			Case: "preview_push of a push to " + c.name + ", " + p.name, Ours: fmt.Sprintf("%.3f s", median(took)),
			Baseline: "-", Ratio: "-", Aim: fmt.Sprintf("<= %v", aim), Met: median(took) <= aim.Seconds(),
		})
	}
	return nil
}

// explainRate is how often a second it is asked what became of a push.
const explainRate = 200

// explains measures explain_delivery in a task to everyone, some of whose messages were
// sent.
func (s *suite) explains(ctx context.Context, p *pushed) error {
	const aim = 20 * time.Millisecond
	if err := cmp.Or(s.settle(ctx, p.process), p.sim.answerAfter(ctx, 0)); err != nil {
		return err
	}
	id, err := p.push(ctx, everyMember)
	if err != nil {
		return err
	}
	sent := min(p.phones/2, uint64(20_000*s.opts.Round.Seconds()))
	if err := p.sim.wait(ctx, sent); err != nil {
		return err
	}
	if err := cmp.Or(p.call(ctx, "tidings/pause_task", map[string]string{"TaskId": id}, nil), s.settle(ctx, p.process)); err != nil {
		return err
	}
	r, err := p.client.Run(ctx, load.Explain(load.Random(p.phones, 1), id), load.Options{Duration: s.opts.Round, Rate: explainRate})
	if err := cmp.Or(err, r.Err()); err != nil {
		return err
	}
	took := r.Latency.Quantile(0.99)
	s.add(Row{
		Case:     fmt.Sprintf("p99 of explain_delivery of random users, %d/s, in a paused task to %s, %s of them sent", explainRate, p.name, count(sent)),
		Ours:     fmt.Sprintf("%v, p50 %v", took.Round(10*time.Microsecond), r.Latency.Quantile(0.5).Round(10*time.Microsecond)),
		Baseline: "-", Ratio: "-", Aim: fmt.Sprintf("<= %v", aim), Met: took <= aim,
	})
	return s.stopTask(ctx, p, id)
}
