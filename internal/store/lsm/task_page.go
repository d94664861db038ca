package lsm

import (
	"context"
	"slices"
	"time"

	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/report"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// An openPage is what a Store knows of a page. Nothing of it is on disk: whoever is in a
// page that is open when the process ends is in another one after the next start.
type openPage struct {
	r           *running
	certificate int        // of the lane
	again       bool       // it was cut from numbers that are looked at once more
	spans       []span     // that it was cut from
	numbers     []uint32   // of its units, in their order
	retries     []retry    // of its units, if they are tried again; nil: they are in a page for the first time
	meant       []expected // what its units were when the page was opened
	closed      bool
	pos         journal.Pos // what it was cut from rests on
}

// A retry is a device that waits for its next try.
type retry struct {
	account uint32
	due     int64 // Unix milliseconds
	tries   int   // made so far
}

// An expected is what a unit was when its page was opened.
type expected struct {
	version uint32
	kind    channel.TokenKind
	tries   int
	badge   int
	address channel.Address
	since   time.Time // when the token was registered
}

// emptyPages bounds how often in one step a page is cut whose devices have all changed
// before it was opened.
const emptyPages = 8

// Open opens the next page of a lane.
func (t *Tasks) Open(ctx context.Context, ref task.Ref, l task.Lane, limit int) (*task.Page, time.Time, error) {
	r := t.running(ref)
	if r == nil {
		_, err := t.ended(ctx, ref)
		return nil, time.Time{}, err
	}
	limit = min(max(limit, 1), task.MaxPage)
	for range emptyPages {
		page, next, err := t.cutPage(ctx, r, l.Certificate, limit)
		if err != nil || page == nil {
			return nil, next, err
		}
		p, err := t.openPage(ctx, r, page)
		if err != nil {
			t.abandon(page)
			return nil, time.Time{}, err
		}
		if p != nil {
			return p, time.Time{}, nil
		}
	}
	return nil, time.Now(), nil
}

// cutPage takes the next units of a lane into a page. Without one, next is when to ask
// again; zero: there is nothing left but what is in open pages.
//
// Blocks of the first pass do not overlap: who looks for a number looks at one of them. What
// is left has gaps, of pages that were closed while others were given back or a crash cut
// them anew, so a page of the first pass ends where the next gap begins.
func (t *Tasks) cutPage(ctx context.Context, r *running, certificate, limit int) (page *openPage, next time.Time, err error) {
	r.work.Lock()
	defer r.work.Unlock()
	if r.p.State != task.Sending {
		return nil, next, nil
	}
	w, err := t.newWalker(ctx, r)
	if err == nil {
		err = w.cut()
	}
	if err != nil {
		return nil, next, err
	}
	l := r.p.lane(certificate)
	if l == nil {
		return nil, next, nil
	}
	page = &openPage{r: r, certificate: certificate}
	if next, err = t.dueRetries(ctx, page, limit); err != nil {
		return nil, next, err
	}
	more := false
	for _, list := range []*spans{&l.Left, &l.Again} {
		if len(page.numbers) > 0 || more {
			break
		}
		before := slices.Clone(*list)
		end := everyNumber[1]
		more, err = w.take(ctx, l, list, func(u unit) bool {
			if len(page.numbers) == limit || u.number >= end {
				return false
			}
			if len(page.numbers) == 0 && list == &l.Left {
				end = before.end(u.number)
			}
			page.numbers = append(page.numbers, u.number)
			return true
		})
		if err != nil {
			r.change(func(*progress) { *list = before })
			return nil, next, err
		}
		page.again = list == &l.Again
		page.spans = difference(before, *list)
	}
	if len(page.numbers) == 0 {
		if more {
			return nil, time.Now(), nil // it has looked at many numbers, and goes on when others had their turn
		}
		return nil, next, t.settle(ctx, r, w)
	}
	for _, n := range page.numbers {
		r.visited.add(n)
	}
	r.pages[page] = struct{}{}
	if r.p.Begun == 0 {
		r.change(func(p *progress) { p.Begun = time.Now().UnixMilli() })
	}
	page.pos = w.pos
	return page, next, nil
}

// difference returns what spans had and have no more.
func difference(before, after spans) spans {
	for _, s := range after {
		before = before.remove(s)
	}
	return before
}

// retrySoon is when to look again for a retry whose record is on its way into the tables.
const retrySoon = 5 * time.Millisecond

// dueRetries puts the retries into a page that are due, and returns when the next one is.
func (t *Tasks) dueRetries(ctx context.Context, page *openPage, limit int) (next time.Time, err error) {
	r, l := page.r, page.r.p.lane(page.certificate)
	inPages, open := map[uint32]bool{}, 0 // of a page that is closed the retries are in the tables yet
	for other := range r.pages {
		if other.certificate != page.certificate || other.retries == nil {
			continue
		}
		if !other.closed {
			open += len(other.numbers)
		}
		for _, n := range other.numbers {
			inPages[n] = true
		}
	}
	if l.Retries <= open {
		return next, nil
	}
	now := time.Now()
	err = t.journal.Read(func(v *journal.View) error {
		prefix := laneKey(r.Number, l.Certificate)
		return v.Walk(ctx, tableRetry, r.App, prefix, nil, func(key, value []byte) (bool, error) {
			due, account := retryParts(key)
			switch {
			case inPages[account]:
				return true, nil
			case due > now.UnixMilli():
				next = msTime(due)
				return false, nil
			case len(page.numbers) == limit:
				return false, nil
			}
			f := fields{rest: value}
			page.numbers = append(page.numbers, account)
			page.retries = append(page.retries, retry{account, due, int(f.number("tries", 1<<31))})
			return true, f.err
		})
	})
	if err == nil && len(page.numbers) == 0 && next.IsZero() {
		next = now.Add(retrySoon)
	}
	return next, err
}

// openPage reads the devices of a page that was cut. Devices have changed meanwhile, and
// may just do so: what is sent to is what their records say, if that is still meant. With
// none left it returns nil, and the page is no more.
func (t *Tasks) openPage(ctx context.Context, r *running, page *openPage) (*task.Page, error) {
	if err := t.journal.Wait(ctx, page.pos); err != nil {
		return nil, err
	}
	made, err := t.get(ctx, r)
	if err != nil {
		return nil, err
	}
	p := &task.Page{Task: made, Lane: task.Lane{App: r.App, Certificate: page.certificate}, Mark: page}
	devices, badges, err := t.readDevices(ctx, r.App, page.numbers)
	if err != nil {
		return nil, err
	}
	r.work.Lock()
	defer r.work.Unlock()
	w, err := t.newWalker(ctx, r)
	if err != nil {
		return nil, err
	}
	w.m = &made.Message
	numbers, retries := page.numbers, page.retries
	page.numbers, page.retries = nil, nil
	err = w.look(func(u *index.View) {
		for i, n := range numbers {
			var again *retry
			if retries != nil {
				again = &retries[i]
			}
			unit, meant, now := w.unit(u, page.certificate, n, again, devices[i], badges[i])
			switch {
			case unit != nil:
				p.Units = append(p.Units, *unit)
				page.numbers, page.meant = append(page.numbers, n), append(page.meant, meant)
				if again != nil {
					page.retries = append(page.retries, *again)
				}
			case again == nil:
				r.visited.remove(n)
				w.handOver(now)
			}
		}
	})
	if err != nil {
		page.numbers, page.retries = numbers, retries
		return nil, err
	}
	if len(page.numbers) == 0 { // who was handed over is before the lane that he belongs to
		delete(r.pages, page)
		return nil, nil
	}
	return p, nil
}

// readDevices returns the records and badges of devices; nil for one that has none.
func (t *Tasks) readDevices(ctx context.Context, app uint32, numbers []uint32) (devices []*deviceRecord, badges []int, err error) {
	devices, badges = make([]*deviceRecord, len(numbers)), make([]int, len(numbers))
	err = t.journal.Read(func(v *journal.View) error {
		for i, n := range numbers {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			value, err := v.Get(tableDevice, app, numberKey(n))
			if err == nil && value != nil {
				devices[i], err = parseDeviceRecord(value)
			}
			if err != nil {
				return err
			}
			badge, err := v.Get(tableBadge, app, numberKey(n))
			if err != nil {
				return err
			}
			badges[i] = parseBadge(badge)
		}
		return nil
	})
	return devices, badges, err
}

// unit returns what is to be sent to an account of a page, whose record was read before; nil
// if it belongs to another lane by now, or to none, or changes at this moment: then now is
// what it is.
func (w *walker) unit(u *index.View, certificate int, n uint32, again *retry, d *deviceRecord, badge int) (out *task.Unit, meant expected, now unit) {
	now.number = n
	facet, isDevice := u.Facet(n)
	if now.device = isDevice; isDevice {
		now.choice = w.way.choice(u, facet)
	}
	out = &task.Unit{}
	if u.Has(n) { // one that was deleted may wait for another try
		out.Account = string(u.Account(n))
	}
	meant.badge = -1
	if again != nil {
		out.Tries, meant.tries = again.tries, again.tries
	}
	if d != nil {
		meant.version = d.Version
	}
	switch {
	case isDevice && d != nil && w.f.chosen(u, n) && now.certificate() == certificate:
		if certificate == 0 {
			out.Decided = decided[now.choice.Reason]
			break
		}
		token := d.Token(&now.choice)
		if token == nil { // the record is older than the choice
			return nil, meant, now
		}
		out.Target = channel.Target{
			Kind: token.Kind, Address: token.Address, Language: d.Language, Badge: device.BadgeAfter(badge, w.m, now.choice.Provider),
			ReportID: w.reportID(w.r, n, out.Account), SendID: w.sendID(w.r, n),
		}
		out.Since = token.Registered
		meant.kind, meant.address, meant.badge, meant.since = token.Kind, token.Address, out.Target.Badge, token.Registered
	case again != nil:
		// It is a unit since it was tried first. The token is gone, or the device is somebody
		// else's by now.
		if out.Decided = report.NoToken; isDevice && now.choice.Reason != device.Sendable {
			out.Decided = decided[now.choice.Reason]
		}
	case certificate == 0 && !isDevice && w.f.has(n) && u.Has(n):
		if hasDevices(u, n) { // they are units
			return nil, meant, now
		}
		out.Decided = report.NoDevice
	default:
		return nil, meant, now
	}
	return out, meant, now
}

// decided are the outcomes of devices that cannot be sent to.
var decided = map[device.Reason]report.Outcome{
	device.NoCertificate: report.NoCertificate, device.NoToken: report.NoToken, device.PermissionOff: report.PermissionOff,
}

// Abandon gives back a page of which nothing was sent.
func (t *Tasks) Abandon(p *task.Page) {
	if page, ok := p.Mark.(*openPage); ok {
		t.abandon(page)
	}
}

func (t *Tasks) abandon(page *openPage) {
	r := page.r
	r.work.Lock()
	defer r.work.Unlock()
	if _, open := r.pages[page]; !open || page.closed {
		return
	}
	delete(r.pages, page)
	if page.retries != nil {
		return
	}
	for _, n := range page.numbers {
		r.visited.remove(n)
	}
	r.change(func(p *progress) { p.lane(page.certificate).giveBack(page) })
}

// Lanes returns the lanes in which something may be left.
func (t *Tasks) Lanes(ctx context.Context, ref task.Ref) (list []task.Lane, err error) {
	r := t.running(ref)
	if r == nil {
		_, err := t.ended(ctx, ref)
		return nil, err
	}
	r.work.Lock()
	defer r.work.Unlock()
	if r.p.State != task.Sending {
		return nil, nil
	}
	w, err := t.newWalker(ctx, r)
	if err == nil {
		err = w.cut()
	}
	if err != nil {
		return nil, err
	}
	open := map[int]bool{} // by certificate
	for page := range r.pages {
		open[page.certificate] = open[page.certificate] || !page.closed
	}
	for _, l := range r.p.Lanes {
		if !l.done() || l.Retries > 0 || open[l.Certificate] {
			list = append(list, task.Lane{App: r.App, Certificate: l.Certificate})
		}
	}
	if len(list) == 0 {
		err = t.settle(ctx, r, w)
	}
	return list, err
}
