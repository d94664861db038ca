package suite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings/bench/load"
)

// heldBatches is how many pushes are accepted in a turn while none is sent. An app may have
// that many.
const heldBatches = 50_000

// batches measures batch of one receiver, compared with what HTTP alone costs: first how
// fast pushes are accepted, while the provider answers nothing so that they wait, and then
// while they are sent.
func (s *suite) batches(ctx context.Context, p *pushed) error {
	if err := p.sim.answerAfter(ctx, 0); err != nil {
		return err
	}
	w := load.Batch(load.Shuffled(p.phones, 1), pushMessage)
	w = w.From(uint64(p.pushes))
	asked := uint64(0)
	accept := func(o load.Options) (load.Result, error) {
		r, err := p.client.Run(ctx, w.From(asked), o)
		asked += r.Requests
		return r, cmp.Or(err, r.Err())
	}
	for _, c := range []struct {
		name string
		held bool
		aim  float64
	}{{"accepted durably", true, 0.3}, {"accepted durably and sent", false, 0}} {
		first := w.From(asked)
		asked++ // by against
		mine, base, err := s.against(ctx, p.store, first, 0, func(d time.Duration) (r load.Result, err error) {
			if !c.held {
				return accept(load.Options{Duration: d})
			}
			if err := p.sim.stall(ctx, true); err != nil {
				return r, err
			}
			r, err = accept(load.Options{Duration: d, Requests: heldBatches})
			return r, cmp.Or(err, p.sim.stall(ctx, false), p.sim.wait(ctx, asked))
		})
		if err != nil {
			return err
		}
		s.addRates("batch of one receiver, "+c.name+", "+p.name, mine, base, c.aim)
		if err := p.sim.wait(ctx, asked); err != nil {
			return err
		}
	}
	p.pushes += uint32(asked)
	return nil
}

const (
	probePhones = 1000 // that a push to one of them is measured with
	probeRate   = 20   // pushes to one device a second
	probeAim    = 250 * time.Millisecond
)

// besideBroadcast measures the time from the acceptance of a push to one device until it
// arrives, on an idle server and while a broadcast runs.
func (s *suite) besideBroadcast(ctx context.Context, p *pushed) error {
	probes := max(uint64(probePhones*min(s.opts.Scale, 1)), 10)
	first := p.installer
	first.First += load.Phone(p.made)
	first.Secrets = nil
	p.made += probes
	if r, err := p.client.Run(ctx, first.Register(), load.Options{Duration: longestTime, Requests: probes}); cmp.Or(err, r.Err()) != nil {
		return cmp.Or(err, r.Err())
	}
	if err := cmp.Or(s.settle(ctx, p.process), p.sim.answerAfter(ctx, 0)); err != nil {
		return err
	}
	quiet, err := p.probe(ctx, first.First, max(probes/10, 10), nil)
	if err != nil {
		return err
	}
	if err := cmp.Or(s.settle(ctx, p.process), p.sim.reset(ctx)); err != nil {
		return err
	}
	id, err := p.push(ctx, everyMember)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	var wait sync.WaitGroup
	var waitErr error
	wait.Go(func() {
		defer close(done)
		waitErr = p.sim.wait(ctx, p.phones)
	})
	busy, err := p.probe(ctx, first.First, probes, done)
	wait.Wait()
	if err := cmp.Or(err, waitErr); err != nil {
		return err
	}
	if _, err := p.ended(ctx, id); err != nil {
		return err
	}
	took := busy.Latency.Quantile(0.99)
	s.add(Row{
		Case:     fmt.Sprintf("p99 from batch of one device accepted to the simulator, %d/s, while a broadcast runs, %s", probeRate, p.name),
		Ours:     fmt.Sprintf("%v of %d pushes, accepted within %v", took.Round(100*time.Microsecond), busy.Requests, busy.accepted.Quantile(0.99).Round(100*time.Microsecond)),
		Baseline: fmt.Sprintf("idle server %v", quiet.Latency.Quantile(0.99).Round(100*time.Microsecond)), Ratio: "-",
		Aim: fmt.Sprintf("<= %v", probeAim), Met: took <= probeAim,
	})
	return nil
}

// probed is what became of pushes to one device: Latency is from the acceptance until the
// message has arrived.
type probed struct {
	load.Result
	accepted load.Histogram // time until the answer
}

// A probe is a push to one device that was accepted.
type probe struct {
	task  string
	phone load.Phone
	at    time.Time
}

// probe pushes to devices one after the other, at most n, until done is closed.
func (p *pushed) probe(ctx context.Context, first load.Phone, n uint64, done <-chan struct{}) (out probed, err error) {
	out.Latency = new(load.Histogram)
	tick := time.NewTicker(time.Second / probeRate)
	defer tick.Stop()
	var open []probe
	for sent := uint64(0); sent < n || len(open) > 0; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return out, context.Cause(ctx)
		}
		select {
		case <-done:
			n = min(n, sent)
		default:
		}
		if sent < n {
			x := probe{phone: first + load.Phone(sent)}
			began := time.Now()
			if x.task, err = p.pushTo(ctx, x.phone.ChosenID()); err != nil {
				return out, err
			}
			x.at = time.Now()
			out.accepted.Record(x.at.Sub(began))
			open = append(open, x)
			sent++
		}
		if open, err = p.look(ctx, open, sent < n, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// probeLook is when it is looked first whether a push has arrived, and probeLimit after
// which time it is taken for lost.
const (
	probeLook  = 100 * time.Millisecond
	probeLimit = time.Minute
)

// look counts the pushes that have arrived, and returns the others. The simulator forgets what
// has arrived after a while, so it is asked early.
func (p *pushed) look(ctx context.Context, open []probe, more bool, out *probed) (left []probe, err error) {
	for _, x := range open {
		waited := time.Since(x.at)
		if waited < probeLook && more {
			left = append(left, x)
			continue
		}
		at, err := p.sim.arrived(ctx, x.phone.Token())
		switch {
		case err != nil:
			return nil, err
		case !at.IsZero():
			out.Requests++
			out.Latency.Record(at.Sub(x.at))
		case waited > probeLimit:
			why, err := p.why(ctx, x)
			return nil, cmp.Or(err, fmt.Errorf("the push to %s has not arrived after %v: %s", x.phone.ChosenID(), waited, why))
		default:
			left = append(left, x)
		}
	}
	return left, nil
}

// pushTo pushes to one device and returns the id of the task.
func (p *pushed) pushTo(ctx context.Context, account string) (task string, err error) {
	p.pushes++
	var out struct {
		TaskID string `json:"TaskId"`
	}
	return out.TaskID, p.call(ctx, "timpush/batch", map[string]any{
		"From_Account": identifier, "To_Account": []string{account}, "MsgRandom": p.pushes, "OfflinePushInfo": json.RawMessage(pushMessage),
	}, &out)
}

// why returns what the server says about a push that has not arrived.
func (p *pushed) why(ctx context.Context, x probe) (string, error) {
	var out struct{ Sentence string }
	err := p.call(ctx, "tidings/explain_delivery", map[string]string{"TaskId": x.task, "To_Account": x.phone.ChosenID()}, &out)
	return out.Sentence, err
}

const (
	stallTime   = time.Minute // at Scale 1
	stallMemory = 200         // MB
	stallDrift  = 20          // MB that still count as flat
)

// stalled measures the memory of a server whose provider answers nothing during a broadcast.
func (s *suite) stalled(ctx context.Context, p *pushed) (err error) {
	if err := p.sim.answerAfter(ctx, 0); err != nil {
		return err
	}
	rest, err := s.rssAtRest(ctx, p.store)
	if err := cmp.Or(err, p.resetPeak(), p.sim.stall(ctx, true)); err != nil {
		return err
	}
	id, err := p.push(ctx, everyMember)
	if err != nil {
		return err
	}
	long := max(time.Duration(float64(stallTime)*min(s.opts.Scale, 1)), s.opts.Round)
	var samples []float64
	for end := time.Now().Add(long); time.Now().Before(end); {
		pause(ctx, s.opts.Round/20)
		rss, err := p.rss()
		if err := cmp.Or(err, context.Cause(ctx)); err != nil {
			return err
		}
		samples = append(samples, float64(rss)/mebi)
	}
	peak, err := p.peakRSS()
	if err != nil {
		return err
	}
	quarter := len(samples) / 4
	drift := slices.Max(samples[len(samples)-quarter-1:]) - slices.Max(samples[quarter:2*quarter+1])
	growth := float64(peak)/mebi - rest
	s.add(Row{
		Case:     fmt.Sprintf("peak of the resident memory during a broadcast with a provider that answers nothing, %s", p.name),
		Ours:     fmt.Sprintf("%.0f MB, %+.0f MB from the second to the last quarter of %v", float64(peak)/mebi, drift, long),
		Baseline: fmt.Sprintf("idle server %.0f MB", rest), Ratio: fmt.Sprintf("%+.0f MB", growth),
		Aim: fmt.Sprintf("<= +%d MB, flat", stallMemory), Met: growth <= stallMemory && drift <= stallDrift,
	})
	return cmp.Or(p.sim.stall(ctx, false), s.stopTask(ctx, p, id))
}
