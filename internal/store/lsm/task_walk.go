package lsm

import (
	"context"
	"slices"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

const (
	// walkStep is how many numbers are looked at while the app is locked, and walkMost in
	// one step of a task: then other steps have their turn.
	walkStep = 1 << 14
	walkMost = 1 << 21
	// smallAudience is how many accounts an audience has at most whose devices are gathered
	// instead of looking for them among all numbers.
	smallAudience = 1 << 12
)

// A walker looks for units of a task: for the devices of its audience that were in no
// page, in the order of their numbers. Each lane walks over all numbers once.
type walker struct {
	*Tasks
	r     *running
	f     *frozen
	small []uint32 // numbers of a small audience to look at, in order; nil: all numbers
	way   *chooser
	pos   journal.Pos // what was seen rests on
	left  int         // numbers that may still be looked at

	m      *channel.Message // of the task, if units are made
	ending int              // retries that end with what is being done
}

// A chooser says by which lane a device is reached. It keeps what it found for facets with
// low numbers, as long as the app is locked. Facets are as many as strangers like, since the
// language of a device is what it says.
type chooser struct {
	app      *app.App
	channels device.Channels
	choices  []device.Choice // by number of the facet
	known    []bool
}

// maxChoices bounds the choices of a chooser.
const maxChoices = 1 << 12

func newChooser(a *app.App) *chooser {
	return &chooser{app: a, channels: device.ChannelsOf(a)}
}

// begin forgets what was known of facets: since the app was locked last they may have
// changed.
func (c *chooser) begin() { clear(c.known) }

// choice returns by which of its ways a device is reached whose facet has a number.
func (c *chooser) choice(u *index.View, facet uint32) device.Choice {
	if facet >= maxChoices {
		return c.choose(u, facet)
	}
	if more := int(facet) + 1 - len(c.known); more > 0 {
		c.known, c.choices = append(c.known, make([]bool, more)...), append(c.choices, make([]device.Choice, more)...)
	}
	if !c.known[facet] {
		c.choices[facet], c.known[facet] = c.choose(u, facet), true
	}
	return c.choices[facet]
}

func (c *chooser) choose(u *index.View, facet uint32) device.Choice {
	f, err := device.ParseFacet(u.FacetText(facet))
	if err != nil { // it was checked when it was written
		return device.Choice{Reason: device.NoToken}
	}
	return c.channels.Choose(&f)
}

// newWalker returns a walker over a task, whose work lock is held.
func (t *Tasks) newWalker(ctx context.Context, r *running) (*walker, error) {
	f, err := t.audience(ctx, r.x, r.Number)
	if err != nil {
		return nil, err
	}
	w := &walker{Tasks: t, r: r, f: f, left: walkMost}
	if f.n > t.small {
		return w, nil
	}
	if err := r.visited.loadAll(t, r); err != nil {
		return nil, err
	}
	return w, w.look(func(u *index.View) { w.small = candidates(u, f) })
}

// candidates returns the accounts of a small audience and their devices, in the order of
// the numbers.
func candidates(u *index.View, f *frozen) []uint32 {
	list := make([]uint32, 0, 2*f.n)
	f.each(0, func(n uint32) bool {
		list = slices.AppendSeq(append(list, n), u.Devices(n))
		return true
	})
	slices.Sort(list)
	return slices.Compact(list)
}

// look calls see while nobody changes the app.
func (w *walker) look(see func(u *index.View)) error {
	x := w.r.x
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.gone {
		return task.ErrUnknown
	}
	w.pos = max(w.pos, x.pos)
	if w.way == nil || w.way.app != x.app {
		w.way = newChooser(x.app)
	}
	w.way.begin()
	see(&x.users.View)
	return nil
}

// A unit is what a walker found: a device, or a receiver without any.
type unit struct {
	number uint32
	device bool
	choice device.Choice
}

// certificate returns the lane of a unit.
func (u *unit) certificate() int {
	if !u.device || u.choice.Reason != device.Sendable {
		return 0
	}
	return u.choice.Certificate
}

// find returns the unit with a number, if it is one that was in no page.
func (w *walker) find(u *index.View, n uint32) (found unit, is bool) {
	facet, isDevice := u.Facet(n)
	switch {
	case isDevice && !w.f.chosen(u, n), w.r.visited.has(n):
		return found, false
	case isDevice:
		return unit{n, true, w.way.choice(u, facet)}, true
	case !w.f.has(n) || !u.Has(n):
		return found, false
	}
	return unit{number: n}, !hasDevices(u, n)
}

// take looks at the numbers before a lane and calls found with its units, until that
// returns false or the walker has looked at too many. What it has passed leaves the
// lane; the number of a unit for which found returned false does not. It hands units of
// lanes that will not come to them over to these. Without a lane the units of all are found.
func (w *walker) take(ctx context.Context, l *lane, list *spans, found func(u unit) bool) (more bool, err error) {
	for len(*list) > 0 && w.left > 0 {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		s := (*list)[0]
		if w.small == nil {
			if err := w.r.visited.load(w.Tasks, w.r, s[0]>>16); err != nil {
				return false, err
			}
		}
		next, full := s[0], false
		err := w.look(func(u *index.View) { next, full = w.step(u, l, s, found) })
		if err != nil {
			return false, err
		}
		w.r.change(func(*progress) { *list = list.remove(span{s[0], next}) })
		if full {
			return true, nil
		}
	}
	return len(*list) > 0, nil
}

// step looks at some numbers of a span, and returns the first that it has not passed.
func (w *walker) step(u *index.View, l *lane, s span, found func(u unit) bool) (next uint32, full bool) {
	consider := func(n uint32) bool {
		unit, is := w.find(u, n)
		if !is {
			return true
		}
		if l != nil && unit.certificate() != l.Certificate {
			w.handOver(unit)
			return true
		}
		return found(unit)
	}
	if w.small != nil {
		i, _ := slices.BinarySearch(w.small, s[0])
		for _, n := range w.small[i:] {
			if n >= s[1] {
				break
			}
			if w.left--; !consider(n) {
				return n, true
			}
		}
		return s[1], false
	}
	end := min(uint64(s[1]), uint64(s[0])+walkStep, uint64(s[0]>>16+1)<<16)
	for n := uint64(s[0]); n < end; n++ {
		if n >= uint64(u.Limit()) {
			return s[1], false
		}
		if w.left--; !consider(uint32(n)) {
			return uint32(n), true
		}
	}
	return uint32(min(end, uint64(everyNumber[1]))), false
}

// handOver leaves a unit to the lane that it belongs to.
func (w *walker) handOver(u unit) {
	if l := w.r.p.lane(u.certificate()); l != nil && l.covers(u.number) {
		return
	}
	w.r.change(func(p *progress) {
		l := p.addLane(u.certificate(), u.choice.Provider)
		l.Again = l.Again.add(span{u.number, u.number + 1}).coarse()
	})
}

// cut makes the lanes of a task, those that any device of its audience belongs to, before
// the first page is cut.
func (w *walker) cut() error {
	if w.r.p.Cut {
		return nil
	}
	certificates := map[int]channel.Provider{}
	err := w.look(func(u *index.View) {
		if w.small == nil {
			certificates[0] = ""
			for facet := range u.Facets() {
				if u.FacetDevices(facet) > 0 {
					c := w.way.choice(u, facet)
					certificates[c.Certificate] = c.Provider
				}
			}
			return
		}
		for _, n := range w.small {
			if unit, is := w.find(u, n); is {
				certificates[unit.certificate()] = unit.choice.Provider
			}
		}
	})
	if err != nil {
		return err
	}
	w.r.change(func(p *progress) {
		for c, provider := range certificates {
			l := p.addLane(c, provider)
			l.Left = l.Left.add(everyNumber)
		}
		p.Cut = true
	})
	return nil
}

// nothingLeft reports whether all units of a task have their outcome. It is not sure that
// they have if that takes long to find out.
func (w *walker) nothingLeft(ctx context.Context) (bool, error) {
	if !w.r.p.Cut || w.r.p.retries() > w.ending {
		return false, nil
	}
	for page := range w.r.pages {
		if !page.closed {
			return false, nil
		}
	}
	for done := false; !done; {
		done = true
		for _, l := range slices.Clone(w.r.p.Lanes) {
			for _, list := range []*spans{&l.Left, &l.Again} {
				if more, err := w.take(ctx, l, list, func(unit) bool { return false }); err != nil || more {
					return false, err
				}
			}
		}
		for _, l := range w.r.p.Lanes { // some may have got a unit
			done = done && l.done()
		}
	}
	return true, nil
}
