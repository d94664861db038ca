package lsm

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// A closing is a page that is being closed: what its verdicts come to.
type closing struct {
	page    *openPage
	at      int64 // Unix milliseconds
	counts  report.Counts
	waiting int // units that wait for another try from now on
	block   report.Block
	lates   []late
	retries []retry
	gone    []retry // retries that there are no more
	answers []answer
	first   int // number of the first of answers
	lost    uint64
	dead    []deadToken
	badges  []newDeviceBadge
}

// A deadToken is a token that is to be taken from a device that still has it.
type deadToken struct {
	number      uint32
	certificate int
	address     channel.Address
	since       time.Time // one that was registered later is not meant; zero: any is
	words       string
}

type newDeviceBadge struct {
	number uint32
	badge  int
}

// Close records what became of the units of a page.
func (t *Tasks) Close(ctx context.Context, p *task.Page, verdicts []task.Verdict) (ended bool, err error) {
	page, ok := p.Mark.(*openPage)
	if !ok || len(verdicts) != len(page.numbers) {
		return false, fmt.Errorf("a page of %d units is closed with %d verdicts: %w", len(p.Units), len(verdicts), errPage)
	}
	r := page.r
	if ended, err = t.closePage(ctx, page, verdicts); err != nil {
		return false, err
	}
	err = t.wait(r)
	r.work.Lock()
	delete(r.pages, page) // its block is in the tables
	r.work.Unlock()
	if err != nil {
		return false, err
	}
	if ended {
		t.forget(r)
	}
	return ended, nil
}

func (t *Tasks) closePage(ctx context.Context, page *openPage, verdicts []task.Verdict) (ended bool, err error) {
	r := page.r
	r.work.Lock()
	defer r.work.Unlock()
	if _, open := r.pages[page]; !open || page.closed {
		return false, errPage
	}
	c := &closing{page: page, at: time.Now().UnixMilli()}
	if err := t.readAnswers(r); err != nil {
		return false, err
	}
	c.first = r.p.Answers + 1
	defer func() {
		if err != nil { // nothing was written
			for _, a := range c.answers {
				delete(r.answers, a)
			}
		}
	}()
	for i := range verdicts {
		if err := c.add(i, &verdicts[i]); err != nil {
			return false, err
		}
	}
	page.closed = true
	if ended, err = c.ends(ctx, t); err == nil {
		err = c.write(ctx, t, ended)
	}
	if err != nil {
		page.closed = false
		return false, err
	}
	return ended, nil
}

// add adds the verdict of a unit.
func (c *closing) add(i int, v *task.Verdict) error {
	page, n := c.page, c.page.numbers[i]
	meant := &page.meant[i]
	if v.Outcome >= report.Outcomes {
		return fmt.Errorf("outcome %d is not known", v.Outcome)
	}
	d := report.Delivery{Number: n, Outcome: v.Outcome, Kind: meant.kind, Tries: meant.tries, Version: meant.version, Took: v.Took, Text: c.answer(v)}
	if meant.kind != "" && !v.Unsent {
		d.Tries++
	}
	l := late{certificate: page.certificate, Delivery: d, at: c.at}
	if v.Outcome == report.Waiting {
		l.due = max(v.Again.UnixMilli(), 1)
		c.retries = append(c.retries, retry{n, l.due, d.Tries})
		c.waiting++
	} else {
		c.counts[v.Outcome]++
	}
	if page.retries == nil {
		c.block.Deliveries = append(c.block.Deliveries, d)
	} else {
		c.gone = append(c.gone, page.retries[i])
	}
	if page.retries != nil || l.due != 0 {
		c.lates = append(c.lates, l)
	}
	if v.Retire && meant.address != "" {
		c.dead = append(c.dead, deadToken{n, page.certificate, meant.address, meant.since, cmp.Or(v.Words, v.Code)})
	}
	if meant.badge >= 0 && meant.kind != "" && (v.Outcome == report.Accepted || v.Outcome == report.Unknown) {
		c.badges = append(c.badges, newDeviceBadge{n, meant.badge})
	}
	return nil
}

// Of the answers of providers to a task, so many are kept whole, and so many of all: the
// later ones without their words, which may name the device or the moment.
const (
	wholeAnswers = 200
	mostAnswers  = 250
)

// answer returns the number of the provider's answer in a verdict; 0 if there was none, or
// too many before.
func (c *closing) answer(v *task.Verdict) int {
	a := answer{v.Status, clipText(v.Code), clipText(v.Words)}
	if a == (answer{}) {
		return 0
	}
	r := c.page.r
	if id, known := r.answers[a]; known {
		return id
	}
	if len(r.answers) >= wholeAnswers {
		if a.Words = ""; r.answers[a] != 0 {
			return r.answers[a]
		}
		c.lost++
		if len(r.answers) >= mostAnswers {
			return 0
		}
	}
	c.answers = append(c.answers, a)
	r.answers[a] = c.first + len(c.answers) - 1
	return r.answers[a]
}

// clipText returns a text of at most MaxWords bytes of UTF-8.
func clipText(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), channel.MaxWords)], "")
}

// readAnswers reads the answers of providers that a task keeps.
func (t *Tasks) readAnswers(r *running) error {
	if r.answers != nil {
		return nil
	}
	answers := map[answer]int{}
	err := t.journal.Read(func(v *journal.View) error {
		return v.Walk(context.Background(), tableAnswer, r.App, taskKey(r.Number), nil, func(key, value []byte) (bool, error) {
			var a answer
			err := json.Unmarshal(value, &a)
			answers[a] = int(key[8])
			return true, err
		})
	})
	if err == nil {
		r.answers = answers
	}
	return err
}

// ends reports whether nothing is left of the task once the page is closed.
func (c *closing) ends(ctx context.Context, t *Tasks) (bool, error) {
	if c.waiting > 0 || c.page.r.p.retries() > len(c.gone) {
		return false, nil
	}
	for other := range c.page.r.pages {
		if !other.closed {
			return false, nil
		}
	}
	w, err := t.newWalker(ctx, c.page.r)
	if err != nil {
		return false, err
	}
	w.ending = len(c.gone)
	return w.nothingLeft(ctx)
}

// write writes all that a page comes to in one commit.
func (c *closing) write(ctx context.Context, t *Tasks, ended bool) error {
	page, r := c.page, c.page.r
	s, err := r.step(page, func(p *progress) {
		l := p.lane(page.certificate)
		for o, n := range c.counts {
			l.Counts[o] += n
		}
		l.Retries += c.waiting - len(c.gone)
		p.Answers += len(c.answers)
		p.Lost += c.lost
		if ended {
			p.State, p.Ended = task.Done, c.at
		}
	})
	if err == nil {
		_, err = t.commitDevices(ctx, r, c.dead, c.badges, s, func(b *journal.Batch) { c.put(b, s) })
	}
	return err
}

// put puts the records into a batch.
func (c *closing) put(b *journal.Batch, s *step) {
	page, r := c.page, c.page.r
	certificate := page.certificate
	if n := len(c.block.Deliveries); n > 0 {
		c.block.At = msTime(c.at)
		b.Set(tableBlock, blockKey(r.Number, certificate, page.again, c.block.Deliveries[n-1].Number), c.block.Append(nil))
	}
	for _, old := range c.gone {
		b.Delete(tableRetry, retryTableKey(r.Number, certificate, old.due, old.account))
	}
	for _, next := range c.retries {
		b.Set(tableRetry, retryTableKey(r.Number, certificate, next.due, next.account), binary.AppendUvarint(nil, uint64(next.tries)))
	}
	for i := range c.lates {
		b.Set(tableLate, lateKey(r.Number, c.lates[i].Number), c.lates[i].encode(nil))
	}
	for i := range c.answers {
		value, _ := recordJSON(&c.answers[i]) // of texts it always succeeds
		b.Set(tableAnswer, answerKey(r.Number, c.first+i), value)
	}
	if s.p.State.Ended() {
		putEnd(b, r.Number, s)
	} else {
		b.Set(tableActive, taskKey(r.Number), s.record)
	}
}
