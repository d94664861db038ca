package lsm

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/store/journal"
	"tidings/internal/wording"
)

// Devices is the device.Store of the directory. A device is an account; what the index
// keeps of it is in memory, the rest in tables (device_pending.go says how decisions read them).
type Devices struct{ u *Users }

var _ device.Store = (*Devices)(nil)

func unknownDevice(id string) error {
	return wrapDevice(device.ErrUnknown, id)
}

func wrapDevice(err error, id string) error {
	return &deviceError{wording.Clip(id, device.MaxIDBytes), err}
}

// A deviceError is an error about a device.
type deviceError struct {
	id  string
	err error
}

func (e *deviceError) Error() string { return "device " + strconv.Quote(e.id) + ": " + e.err.Error() }
func (e *deviceError) Unwrap() error { return e.err }

// find returns the number of a device.
func (x *tenant) findDevice(id string) (uint32, error) {
	n, exists := x.users.Find(id)
	if !exists || !x.users.IsDevice(n) {
		return 0, unknownDevice(id)
	}
	return n, nil
}

// may returns why a caller may not change a device.
func (x *tenant) may(p device.Proof, n uint32, r *deviceRecord) error {
	if p.Admin || r.knows(p.Secret) {
		return nil
	}
	if owner, bound := x.users.Owner(n); bound && p.User != "" && string(x.users.Account(owner)) == p.User {
		return nil
	}
	return wrapDevice(device.ErrForbidden, string(x.users.Account(n)))
}

// shown returns device n of a tenant that is locked.
func (s *Users) shown(x *tenant, h *hints, n uint32) (*device.Device, error) {
	r, err := s.deviceRecord(x, h, n)
	if err != nil {
		return nil, err
	}
	badge, err := s.record(x, h, tableBadge, numberKey(n))
	if err != nil {
		return nil, err
	}
	nameDevice(&x.users.View, &r.Device, n, badge)
	return &r.Device, nil
}

// hintDevices reads the records of devices, and their badges.
func (s *Users) hintDevices(app uint32, numbers []uint32) (*hints, error) {
	return s.hintRecords(app, numbers, tableDevice, tableBadge)
}

// hintRecords reads the records of devices in some tables.
func (s *Users) hintRecords(app uint32, numbers []uint32, tables ...*journal.Table) (*hints, error) {
	return s.hint(func(v *journal.View, h *hints) error {
		for _, n := range numbers {
			for _, table := range tables {
				if _, err := h.add(v, app, table, numberKey(n)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// hintFound reads the records of the devices that find finds in a tenant that is locked.
func (s *Users) hintFound(ctx context.Context, app uint32, find func(x *tenant) []uint32) (*hints, error) {
	var numbers []uint32
	if _, err := s.look(ctx, app, func(x *tenant) error {
		numbers = find(x)
		return nil
	}); err != nil || len(numbers) == 0 {
		return nil, err
	}
	return s.hintDevices(app, numbers)
}

// devices returns the devices that find finds.
func (s *Users) devices(ctx context.Context, app uint32, find func(x *tenant, pos *journal.Pos) ([]uint32, error)) (list []device.Device, err error) {
	var numbers []uint32
	var pos journal.Pos
	if _, err = s.look(ctx, app, func(x *tenant) error {
		numbers, err = find(x, &pos)
		return err
	}); err != nil {
		return nil, s.waitFor(ctx, pos, err)
	}
	h, err := s.hintDevices(app, numbers)
	if err != nil {
		return nil, err
	}
	_, err = s.look(ctx, app, func(x *tenant) error {
		if numbers, err = find(x, &pos); err != nil {
			return err
		}
		for _, n := range numbers {
			d, err := s.shown(x, h, n)
			if err != nil {
				return err
			}
			s.touch(x, 0, d.ID, &pos)
			pos = max(pos, x.pending.group(tableBadge, numberKey(n))) // which tasks change too
			list = append(list, *d)
		}
		return nil
	})
	return list, s.waitFor(ctx, pos, err)
}

// waitFor returns an error when the group that it rests on is durable.
func (t *tenants) waitFor(ctx context.Context, pos journal.Pos, err error) error {
	return cmp.Or(t.journal.Wait(ctx, pos), err)
}

// Device returns a device.
func (s *Devices) Device(ctx context.Context, app uint32, id string) (*device.Device, error) {
	list, err := s.u.devices(ctx, app, func(x *tenant, pos *journal.Pos) ([]uint32, error) {
		s.u.touch(x, 0, id, pos)
		n, err := x.findDevice(id)
		return []uint32{n}, err
	})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// Prove returns why a caller may not change a device.
func (s *Devices) Prove(ctx context.Context, app uint32, p device.Proof, id string) error {
	var pos journal.Pos
	var h *hints
	look := func(f func(x *tenant, n uint32) error) error {
		_, err := s.u.look(ctx, app, func(x *tenant) error {
			s.u.touch(x, 0, id, &pos)
			n, err := x.findDevice(id)
			if err != nil {
				return err
			}
			return f(x, n)
		})
		return err
	}
	var number uint32
	err := look(func(_ *tenant, n uint32) error { number = n; return nil })
	if err == nil {
		if h, err = s.u.hintDevices(app, []uint32{number}); err != nil {
			return err
		}
		err = look(func(x *tenant, n uint32) error {
			r, err := s.u.deviceRecord(x, h, n)
			if err != nil {
				return err
			}
			return x.may(p, n, r)
		})
	}
	return s.u.waitFor(ctx, pos, err)
}

// Of returns the devices of an account.
func (s *Devices) Of(ctx context.Context, app uint32, account string) ([]device.Device, error) {
	return s.u.devices(ctx, app, func(x *tenant, pos *journal.Pos) ([]uint32, error) {
		s.u.touch(x, 0, account, pos)
		n, exists := x.users.Find(account)
		switch {
		case !exists:
			return nil, unknownAccount(account)
		case x.users.IsDevice(n):
			return []uint32{n}, nil
		}
		return slices.Sorted(x.users.Devices(n)), nil
	})
}

// List returns a page of the devices of an app, in the order of their numbers. A number that
// was another account's is given out again, so a new device may come before older
// ones.
func (s *Devices) List(ctx context.Context, app uint32, limit int, after string) (list []device.Device, next string, err error) {
	from := uint64(0)
	if after != "" {
		if from, err = strconv.ParseUint(after, 36, 32); err != nil {
			return nil, "", apierr.PageExpired.Errorf("the page token is none that was given out")
		}
	}
	list, err = s.u.devices(ctx, app, func(x *tenant, pos *journal.Pos) (numbers []uint32, _ error) {
		*pos, next = x.pos, ""
		for n := range x.users.DevicesFrom(uint32(from)) {
			if len(numbers) == limit {
				next = strconv.FormatUint(uint64(n), 36)
				break
			}
			numbers = append(numbers, n)
		}
		return numbers, nil
	})
	return list, next, err
}

// Count returns how many devices an app has.
func (s *Devices) Count(ctx context.Context, app uint32) (n int, err error) {
	err = s.u.read(ctx, app, func(x *tenant) error {
		n = x.users.DeviceCount()
		return nil
	})
	return n, err
}

// CertificateUse returns how many devices have a token of a certificate.
func (s *Devices) CertificateUse(ctx context.Context, app uint32, certificate int) (n int, err error) {
	v, err := s.u.view(ctx, app, nil)
	if err != nil {
		return 0, err
	}
	err = eachFacet(ctx, v.users, func(f *device.Facet, devices uint32) {
		if f.Uses(certificate) {
			n += int(devices)
		}
	})
	return n, s.u.waitFor(ctx, v.pos, err)
}

// eachFacet calls f with each facet and how many devices have it.
func eachFacet(ctx context.Context, users *index.View, f func(f *device.Facet, devices uint32)) error {
	for id := range users.Facets() {
		if id%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := users.FacetDevices(id)
		if n == 0 {
			continue
		}
		facet, err := device.ParseFacet(users.FacetText(id))
		if err != nil {
			return err
		}
		f(&facet, n)
	}
	return nil
}

// maker returns a Decider about an account that is about to be made in a tenant that is
// locked for a change.
func (s *Users) maker(x *tenant) *audience.Decider {
	x.pin()
	return s.decider(x)
}
