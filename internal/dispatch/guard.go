package dispatch

import (
	"context"
	"fmt"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// Guards against the loss of tokens (spec/channels.md, 2.5). A token is retired only if
//
//  1. the provider named it: that is what a Gone says;
//  2. the provider accepted a message with these credentials before: a wrong project or
//     environment makes every token look dead;
//  3. it was registered before the moment that the provider speaks of;
//  4. of at least leastAnswers of the run no more than Options.GoneShare percent are gone.
//
// Until a run has so many answers its dead tokens are held back, in memory, and retired at
// its end. What is held back when the process ends is not retired: the tokens stay, and the
// next push finds them dead again.
const leastAnswers = 100

// heldTokens are dead tokens that are not retired yet, all found with the same credentials.
type heldTokens struct {
	tokens []task.Gone
	bytes  int
	credit *credit
}

// maxHeld bounds the bytes of what one run holds back in a lane. What is over is found by
// the next push.
const maxHeld = 1 << 20

func (h *heldTokens) add(c *credit, g task.Gone) {
	if h.credit != c {
		*h = heldTokens{credit: c}
	}
	size := len(g.Account) + len(g.Address) + len(g.Words) + 64
	if h.bytes+size > maxHeld {
		return
	}
	h.bytes += size
	h.tokens = append(h.tokens, g)
}

// tooMany reports whether more tokens of a run are gone than can be true.
func (d *Dispatcher) tooMany(p *place) bool {
	return p.answers >= leastAnswers && p.gone*100 > p.answers*uint64(d.opts.GoneShare)
}

// guard decides which tokens of a page are retired with it, and which are held back. The
// page was handed to its Sender at a time of the wall clock.
func (d *Dispatcher) guard(pg *page, opened *task.Page, verdicts []task.Verdict, results []channel.Result, at time.Time) {
	p, c := pg.place, pg.sender.credit
	dead, answered := 0, false
	for i := range verdicts {
		switch verdicts[i].Outcome {
		case report.Gone:
			dead++
			p.gone++
			p.answers++
		case report.Accepted:
			p.lane.answered = d.now()
			p.lane.pauses = 0
			p.answers++
			answered = true
		case report.Rejected:
			p.answers++
			answered = true
		}
	}
	if answered && pg.trial == p.lane.trial { // else the answers may be older than the failure
		p.lane.holds, p.lane.trial = 0, false
	}
	if dead == 0 {
		return
	}
	sure := c.proven.Load() && p.answers >= leastAnswers && !d.tooMany(p)
	for i := range verdicts {
		u, r := &opened.Units[i], &results[i]
		if verdicts[i].Outcome != report.Gone {
			continue
		}
		said := r.Since
		if said.IsZero() {
			said = at
		}
		switch {
		case u.Since.After(said): // it was registered again since
		case sure:
			verdicts[i].Retire = true
		default:
			p.held.add(c, task.Gone{Account: u.Account, Certificate: p.lane.key.Certificate, Address: u.Target.Address, Words: sentence(r)})
		}
	}
	if !c.proven.Load() && c.gone.Add(int32(dead)) >= leastAnswers && p.lane.credit == c && p.lane.block == nil {
		d.blockLane(p.lane, fmt.Sprintf("the provider calls all of %d tokens dead and took no message with these credentials, which may be of another project or environment; no token was retired", c.gone.Load()))
	}
}

// retireHeld retires the tokens that a run held back, lane by lane, or says why not.
func (d *Dispatcher) retireHeld(ctx context.Context, r *run) {
	d.mu.Lock()
	var sure []task.Gone
	for l, p := range r.places {
		h := &p.held
		switch {
		case d.tooMany(p):
			l.alarm = fmt.Sprintf("%d of %d tokens of task %s were called dead, more than %d percent: none of the rest was retired", p.gone, p.answers, r.id, d.opts.GoneShare)
			d.log.Warn("too many tokens of a push are dead, none is retired", "app", l.key.App, "certificate", l.key.Certificate,
				"channel", string(l.provider), "task", r.id, "gone", p.gone, "answers", p.answers)
			d.metrics.alarms.Inc()
		case len(h.tokens) == 0:
		case !h.credit.proven.Load():
			d.log.Info("dead tokens are kept, since nothing was accepted with these credentials yet", "app", l.key.App,
				"certificate", l.key.Certificate, "channel", string(l.provider), "task", r.id, "tokens", len(h.tokens))
		default:
			sure = append(sure, h.tokens...)
		}
		p.held = heldTokens{}
	}
	d.mu.Unlock()
	for len(sure) > 0 {
		n := min(len(sure), task.MaxPage)
		err := d.persist(ctx, "dead tokens could not be retired", func() error {
			_, err := d.tasks.RetireTokens(ctx, r.ref, sure[:n])
			return err
		})
		if err != nil {
			return
		}
		sure = sure[n:]
	}
}
