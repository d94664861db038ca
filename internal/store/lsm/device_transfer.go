package lsm

import (
	"context"
	"encoding/hex"
	"errors"
	"iter"

	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// Import makes devices as files have them, or brings them up to date.
func (s *Devices) Import(ctx context.Context, app uint32, batches iter.Seq[[]*device.Moved], dryRun bool, done func(i int, o audience.Outcome, err error)) error {
	first, pos := 0, journal.Pos(0)
	for list := range batches {
		h, err := s.hintMoved(ctx, app, list)
		if err != nil {
			return s.u.waitFor(ctx, pos, err)
		}
		outcomes, failures := make([]audience.Outcome, len(list)), make([]error, len(list))
		one := func(x *tenant) error {
			for i, m := range list {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if dryRun {
					outcomes[i], failures[i] = s.tryMoved(x, h, m)
				} else {
					outcomes[i], failures[i] = s.importMoved(x, h, m, &pos)
				}
			}
			return nil
		}
		if dryRun {
			err = s.u.read(ctx, app, one)
		} else {
			err = s.u.write(ctx, app, true, one)
		}
		if err != nil {
			return s.u.waitFor(ctx, pos, err)
		}
		for i := range list {
			done(first+i, outcomes[i], failures[i])
		}
		first += len(list)
	}
	return s.u.journal.Wait(ctx, pos)
}

// hintMoved reads what the decisions about devices of a file need.
func (s *Devices) hintMoved(ctx context.Context, app uint32, list []*device.Moved) (*hints, error) {
	var numbers []uint32
	if _, err := s.u.look(ctx, app, func(x *tenant) error {
		for _, m := range list {
			if n, exists := x.users.Find(m.ID); exists && x.users.IsDevice(n) {
				numbers = append(numbers, n)
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return s.u.hint(func(v *journal.View, h *hints) error {
		for _, m := range list {
			for i := range m.Tokens {
				value, err := h.add(v, app, tableAddress, s.u.addressKey(&m.Tokens[i]))
				if err != nil {
					return err
				}
				if n, is := numberOf(value); is {
					numbers = append(numbers, n)
				}
			}
		}
		for _, n := range numbers {
			if _, err := h.add(v, app, tableDevice, numberKey(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

func movedRegistration(m *device.Moved) (*registration, error) {
	secret, err := m.Secret()
	if err == nil {
		err = m.Check()
	}
	return &registration{Device: m.Device, proof: device.Proof{Admin: true}, moved: true, secret: secret}, err
}

// importMoved makes a device as a file has it. The tenant is locked for a change.
func (s *Devices) importMoved(x *tenant, h *hints, m *device.Moved, pos *journal.Pos) (audience.Outcome, error) {
	r, err := movedRegistration(m)
	if err != nil {
		return 0, err
	}
	var e audience.Effect
	c, d, _, err := s.plan(x, h, r, &e, pos)
	if err != nil {
		return 0, err
	}
	if _, exists := x.users.Find(m.User); m.User != "" && !exists {
		if err := s.makeUser(x, m.User, pos); err != nil {
			return 0, err
		}
		if c, d, _, err = s.plan(x, h, r, &e, pos); err != nil { // since the next number is another by now
			return 0, err
		}
	}
	if m.User != "" {
		if err := c.bind(d, m.User, false, nil, pos); err != nil {
			return 0, err
		}
	}
	outcome := audience.Unchanged
	switch {
	case d.was == nil:
		outcome = audience.Created
	case c.some():
		outcome = audience.Changed
	}
	return outcome, c.commitWith(&e, true, pos)
}

// makeUser makes a user whose device a file holds.
func (s *Devices) makeUser(x *tenant, user string, pos *journal.Pos) error {
	var e audience.Effect
	if _, refused := s.u.maker(x).Change(&audience.Change{Account: user, Create: true, Kind: audience.UserID}, &e); refused != nil {
		*pos = max(*pos, x.pos)
		return refused
	}
	group, err := s.u.journal.Commit(x.id, true, func(b *journal.Batch) { x.apply(b, &e) })
	if err != nil {
		return err
	}
	s.u.touch(x, group, user, pos)
	x.changed(group)
	return nil
}

// tryMoved returns what importMoved would come to. The tenant is locked for reading.
func (s *Devices) tryMoved(x *tenant, h *hints, m *device.Moved) (audience.Outcome, error) {
	r, err := movedRegistration(m)
	if err != nil {
		return 0, err
	}
	n, exists := x.users.Find(m.ID)
	if exists && x.users.Kind(n) == audience.UserID {
		return 0, wrapDevice(device.ErrTaken, m.ID)
	}
	owner, known := x.users.Find(m.User)
	var pos journal.Pos
	var e audience.Effect
	if m.User != "" {
		c := audience.Change{Account: m.User, Create: true, Kind: audience.UserID, OfKind: true}
		if _, refused := s.u.decider(x).Change(&c, &e); refused != nil {
			return 0, refused
		}
	}
	c := s.u.changeDevices(x, h)
	if !exists || !x.users.IsDevice(n) {
		if x.users.DeviceCount() >= x.app.Settings.DeviceLimit() || x.users.Full() {
			return 0, wrapDevice(device.ErrFull, m.ID)
		}
		change := audience.Change{Account: m.ID, Create: true, Kind: audience.RegistrationID}
		if _, refused := s.u.decider(x).Change(&change, &e); refused != nil {
			return 0, refused
		}
		return audience.Created, nil
	}
	if err := c.renew(r, n, &pos); err != nil {
		return 0, err
	}
	if is, bound := x.users.Owner(n); c.some() || m.User != "" && (!known || !bound || is != owner) {
		return audience.Changed, nil
	}
	return audience.Unchanged, nil
}

// Export calls each with the devices of an app, all as they are at one moment.
func (s *Devices) Export(ctx context.Context, app uint32, each func(*device.Moved) error) (err error) {
	var wait func(context.Context) (*journal.View, error)
	v, err := s.u.view(ctx, app, func(x *tenant, _ *view) { wait = s.u.journal.ViewAt(x.pos) })
	if err != nil {
		return err
	}
	tables, err := wait(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	cursors := make([]*journal.Cursor, 2)
	for i, t := range []*journal.Table{tableDevice, tableBadge} {
		if cursors[i], err = tables.Cursor(ctx, t, app); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cursors[i].Close()) }()
	}
	done := 0
	for n := range v.users.DevicesFrom(0) {
		if done++; done%exportCheck == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := exportedDevice(v.users, cursors[0], cursors[1], n)
		if err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

func exportedDevice(users *index.View, records, badges *journal.Cursor, n uint32) (*device.Moved, error) {
	value, err := records.Seek(numberKey(n))
	if err != nil {
		return nil, err
	}
	r, err := parseDeviceRecord(value)
	if err != nil {
		return nil, err
	}
	badge, err := badges.Seek(numberKey(n))
	if err != nil {
		return nil, err
	}
	nameDevice(users, &r.Device, n, badge)
	return &device.Moved{Device: r.Device, SecretHash: hex.EncodeToString(r.secret)}, nil
}
