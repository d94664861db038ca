package lsm

import (
	"cmp"
	"context"
	"slices"

	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/task"
)

// Preview returns what a task would come to now.
func (t *Tasks) Preview(ctx context.Context, app uint32, a *task.Audience) (*task.Preview, error) {
	if len(a.Accounts) > 0 {
		p := &previewer{}
		err := t.read(ctx, app, func(x *tenant) error {
			f := &frozen{}
			p.out.Failures = x.receivers(a.Accounts, f)
			return p.small(newChooser(x.app), &x.users.View, f)
		})
		return &p.out, err
	}
	rec := &taskRecord{Where: a.Where, Kind: a.Kind, Attributes: a.Attributes}
	expr := audience.Expr(audience.And{})
	if a.Where != "" {
		var err error
		if expr, err = audience.ParseWhere(a.Where, a.Attributes); err != nil {
			return nil, err
		}
	}
	x := t.find(app)
	if x == nil {
		return nil, t.unknown(ctx, app, 0)
	}
	end, err := t.turn(ctx, x)
	if err != nil {
		return nil, err
	}
	defer end()
	v, err := t.view(ctx, app, nil)
	if err != nil {
		return nil, err
	}
	yield := t.pacer()
	selection, err := selectAudience(ctx, v.users, expr, rec, yield)
	if err != nil {
		return nil, err
	}
	p := &previewer{}
	if err := p.large(ctx, newChooser(v.app), v.users, frozenOf(selection), yield); err != nil {
		return nil, err
	}
	return &p.out, t.journal.Wait(ctx, v.pos)
}

// A previewer counts the devices of an audience by their facets, of which few are
// different.
type previewer struct {
	out     task.Preview
	devices []uint64 // by number of the facet
	samples []uint32 // one of them
}

func (p *previewer) begin(u *index.View) {
	p.devices, p.samples = make([]uint64, u.Facets()), make([]uint32, u.Facets())
}

func (p *previewer) add(n, facet uint32) {
	if p.devices[facet] == 0 {
		p.samples[facet] = n
	}
	p.devices[facet]++
}

// large counts in one pass over all devices. Of the accounts only the number counts: those
// that are no device, and that no device belongs to, are receivers without any.
func (p *previewer) large(ctx context.Context, way *chooser, u *index.View, f *frozen, yield func()) error {
	p.begin(u)
	p.out.Accounts, p.out.NoDevice = f.n, f.n
	owners := make([]*numberBits, len(f.parts)) // those of the audience that have a device
	looked := 0
	for n := range u.DevicesFrom(0) {
		chosen := f.has(n)
		if chosen {
			p.out.NoDevice--
		}
		if owner, bound := u.Owner(n); bound && f.has(owner) {
			chosen = true
			part := &owners[owner>>16]
			if *part == nil {
				*part = new(numberBits)
			}
			if word, bit := &(*part)[uint16(owner)/64], uint64(1)<<(owner%64); *word&bit == 0 {
				*word |= bit
				p.out.NoDevice--
			}
		}
		if chosen {
			facet, _ := u.Facet(n)
			p.add(n, facet)
		}
		if looked++; looked%previewStep == 0 {
			if yield(); ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return p.group(way, u)
}

// previewStep is how many devices are counted before others have their turn.
const previewStep = 1 << 12

// small counts the devices of the accounts of a batch.
func (p *previewer) small(way *chooser, u *index.View, f *frozen) error {
	p.begin(u)
	p.out.Accounts = f.n
	for _, n := range candidates(u, f) {
		if facet, is := u.Facet(n); is {
			p.add(n, facet)
		} else if f.has(n) && !hasDevices(u, n) {
			p.out.NoDevice++
		}
	}
	return p.group(way, u)
}

// hasDevices reports whether a user has a device.
func hasDevices(u *index.View, n uint32) bool {
	for range u.Devices(n) {
		return true
	}
	return false
}

// group puts facets together that a push treats alike.
func (p *previewer) group(way *chooser, u *index.View) error {
	type alike struct {
		choice             device.Choice
		language, platform string
	}
	groups := map[alike]*task.Group{}
	for facet, n := range p.devices {
		if n == 0 {
			continue
		}
		f, err := device.ParseFacet(u.FacetText(uint32(facet)))
		if err != nil {
			return err
		}
		key := alike{way.channels.Choose(&f), f.Language, f.Platform}
		if groups[key] == nil {
			groups[key] = &task.Group{Choice: key.choice, Language: key.language, Platform: key.platform, Sample: string(u.Account(p.samples[facet]))}
		}
		groups[key].Devices += n
	}
	for _, g := range groups {
		p.out.Groups = append(p.out.Groups, *g)
	}
	slices.SortFunc(p.out.Groups, func(a, b task.Group) int {
		return cmp.Or(cmp.Compare(b.Devices, a.Devices), cmp.Compare(a.Choice.Certificate, b.Choice.Certificate), cmp.Compare(a.Platform, b.Platform), cmp.Compare(a.Language, b.Language), cmp.Compare(a.Sample, b.Sample))
	})
	return nil
}
