package lsm

import (
	"context"
	"encoding/binary"
	"slices"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/store/journal"
)

// change changes device id. Plan decides, with the device as it is; it may also read what
// it likes before the device is written.
func (s *Devices) change(ctx context.Context, app uint32, p device.Proof, id string, hint func(x *tenant) []uint32, plan func(c *deviceChange, d *changedDevice, e *audience.Effect, pos *journal.Pos) error) error {
	h, err := s.u.hintFound(ctx, app, func(x *tenant) []uint32 {
		numbers := x.devicesOf([]string{id})
		if hint != nil {
			numbers = append(numbers, hint(x)...)
		}
		return numbers
	})
	if err != nil {
		return err
	}
	var pos journal.Pos
	err = s.u.write(ctx, app, false, func(x *tenant) error {
		s.u.touch(x, 0, id, &pos)
		n, err := x.findDevice(id)
		if err != nil {
			return err
		}
		c := s.u.changeDevices(x, h)
		d, err := c.device(n)
		if err != nil {
			return err
		}
		if err := x.may(p, n, d.is); err != nil {
			return err
		}
		var e audience.Effect
		if err := plan(c, d, &e, &pos); err != nil {
			return err
		}
		return c.commitWith(&e, false, &pos)
	})
	return s.u.waitFor(ctx, pos, err)
}

// Bind gives a device to a user, and takes it from whoever had it.
func (s *Devices) Bind(ctx context.Context, app uint32, p device.Proof, id, user string, create bool) error {
	others := func(x *tenant) []uint32 { // of whom one may have to go
		n, exists := x.users.Find(user)
		if !exists {
			return nil
		}
		list := slices.Collect(x.users.Devices(n))
		if len(list) < x.app.Settings.DevicesAUser() {
			return nil
		}
		return list
	}
	return s.change(ctx, app, p, id, others, func(c *deviceChange, d *changedDevice, e *audience.Effect, pos *journal.Pos) error {
		return c.bind(d, user, create, e, pos)
	})
}

// bind decides that a device becomes that of a user. E is set to the effect that makes the
// user, if that is needed.
func (c *deviceChange) bind(d *changedDevice, user string, create bool, e *audience.Effect, pos *journal.Pos) error {
	c.s.touch(c.x, 0, user, pos)
	n, exists := c.x.users.Find(user)
	switch {
	case exists && c.x.users.Kind(n) != audience.UserID:
		return apierr.WrongAccountKind.Errorf("account %q is a RegistrationID, a device is bound to a UserID", user)
	case !exists && !create:
		return unknownAccount(user)
	case !exists:
		*pos = max(*pos, c.x.pos)
		if _, refused := c.s.maker(c.x).Change(&audience.Change{Account: user, Create: true, Kind: audience.UserID}, e); refused != nil {
			return refused
		}
		n = e.User
	case d.bound && d.owner == n:
		return nil
	default:
		if err := c.makeRoom(n, pos); err != nil {
			return err
		}
	}
	d.owner, d.bound = n, true
	return nil
}

// makeRoom takes from a user the devices that are idle longest, if it has as many as it may
// have.
func (c *deviceChange) makeRoom(user uint32, pos *journal.Pos) error {
	n, limit := 0, c.x.app.Settings.DevicesAUser()
	for range c.x.users.Devices(user) {
		n++
	}
	if n < limit {
		return nil
	}
	list, err := c.devicesOf(user)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b *changedDevice) int { return a.is.LastActive.Compare(b.is.LastActive) })
	for _, d := range list[:n-limit+1] {
		d.unbind()
		c.s.touch(c.x, 0, string(c.x.users.Account(d.number)), pos)
	}
	return nil
}

// Unbind takes a device from its user.
func (s *Devices) Unbind(ctx context.Context, app uint32, p device.Proof, id string) error {
	return s.change(ctx, app, p, id, nil, func(_ *deviceChange, d *changedDevice, _ *audience.Effect, _ *journal.Pos) error {
		d.unbind()
		return nil
	})
}

// Remove removes a device and its account.
func (s *Devices) Remove(ctx context.Context, app uint32, p device.Proof, id string) error {
	return s.change(ctx, app, p, id, nil, func(_ *deviceChange, d *changedDevice, e *audience.Effect, _ *journal.Pos) error {
		*e, d.gone = audience.Effect{Op: audience.Remove, User: d.number}, true
		return nil
	})
}

// SetBadge sets the number that the device shows. That is no change of the device: no push
// would leave its version as it is.
func (s *Devices) SetBadge(ctx context.Context, app uint32, p device.Proof, id string, badge int) error {
	if err := (&device.Device{Badge: badge}).Check(); err != nil {
		return err
	}
	h, err := s.u.hintDevicesOf(ctx, app, []string{id})
	if err != nil {
		return err
	}
	var pos journal.Pos
	err = s.u.write(ctx, app, false, func(x *tenant) error {
		s.u.touch(x, 0, id, &pos)
		n, err := x.findDevice(id)
		if err != nil {
			return err
		}
		if !p.Admin {
			r, err := s.u.deviceRecord(x, h, n)
			if err != nil {
				return err
			}
			if err := x.may(p, n, r); err != nil {
				return err
			}
		}
		was, err := s.u.badge(x, h, n)
		if err != nil || was == badge {
			return err
		}
		group, err := s.u.journal.Commit(x.id, false, func(b *journal.Batch) { x.setBadge(b, n, badge) })
		if err != nil {
			return err
		}
		x.pending.settle(group, s.u.journal.Applied())
		s.u.touch(x, group, id, &pos)
		x.changed(group)
		return nil
	})
	return s.u.waitFor(ctx, pos, err)
}

// badge returns the badge of device n of a tenant that is locked.
func (s *Users) badge(x *tenant, h *hints, n uint32) (int, error) {
	value, err := s.record(x, h, tableBadge, numberKey(n))
	return parseBadge(value), err
}

// setBadge sets the badge of device n in a batch. Whoever commits it calls
// pending.settle.
func (x *tenant) setBadge(b *journal.Batch, n uint32, badge int) {
	if badge == 0 {
		x.pending.delete(b, tableBadge, numberKey(n))
		return
	}
	x.pending.set(b, tableBadge, numberKey(n), binary.BigEndian.AppendUint16(nil, uint16(badge)))
}
