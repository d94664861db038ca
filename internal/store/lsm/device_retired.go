package lsm

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"tidings/internal/device"
	"tidings/internal/store/journal"
)

// Retired returns tokens that were retired, the latest first.
func (s *Devices) Retired(ctx context.Context, app uint32, id, task string, limit int) (list []device.Retired, err error) {
	only := func(device.Retired) bool { return true }
	if task != "" {
		only = func(r device.Retired) bool { return r.Task == task }
	}
	latest := func() {
		slices.SortStableFunc(list, func(a, b device.Retired) int { return b.At.Compare(a.At) })
		list = list[:min(len(list), max(limit, 0))]
	}
	err = s.eachRetired(ctx, app, id, func(_ uint32, id string, all []device.Retired) error {
		for _, r := range slices.Backward(all) {
			if r.Device = id; only(r) {
				list = append(list, r)
			}
		}
		if len(list) > 2*limit+1000 {
			latest()
		}
		return nil
	})
	latest()
	return list, err
}

// eachRetired calls f with the devices that have retired tokens, as they are at one moment; with
// a device only that.
func (s *Devices) eachRetired(ctx context.Context, app uint32, id string, f func(n uint32, id string, list []device.Retired) error) error {
	var wait func(context.Context) (*journal.View, error)
	var number uint32
	pos := journal.Pos(0)
	var names func(n uint32) (string, bool)
	if id == "" {
		v, err := s.u.view(ctx, app, func(x *tenant, _ *view) { wait = s.u.journal.ViewAt(x.pos) })
		if err != nil {
			return err
		}
		names = func(n uint32) (string, bool) { return string(v.users.Account(n)), v.users.IsDevice(n) }
	} else if _, err := s.u.look(ctx, app, func(x *tenant) (err error) {
		if number, err = x.findDevice(id); err == nil {
			wait = s.u.journal.ViewAt(x.pos)
		} else {
			s.u.touch(x, 0, id, &pos)
		}
		return err
	}); err != nil {
		return s.u.waitFor(ctx, pos, err)
	}
	v, err := wait(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	if id != "" {
		value, err := v.Get(tableRetired, app, numberKey(number))
		if err != nil || value == nil {
			return err
		}
		list, err := parseRetired(value)
		if err != nil {
			return err
		}
		return f(number, id, list)
	}
	return v.Each(ctx, tableRetired, app, func(key, value []byte) error {
		list, err := parseRetired(value)
		if err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(key)
		name, is := names(n)
		if !is {
			return nil
		}
		return f(n, name, list)
	})
}

// restorePiece is how many devices are given tokens back at a time.
const restorePiece = 100

// Restore gives retired tokens back to their devices.
func (s *Devices) Restore(ctx context.Context, app uint32, id, task string) (restored int, err error) {
	var numbers []uint32
	err = s.eachRetired(ctx, app, id, func(n uint32, _ string, list []device.Retired) error {
		if slices.ContainsFunc(list, func(r device.Retired) bool { return task == "" || r.Task == task }) {
			numbers = append(numbers, n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var pos journal.Pos
	for piece := range slices.Chunk(numbers, restorePiece) {
		h, err := s.u.hintRecords(app, piece, tableDevice, tableRetired)
		if err != nil {
			return restored, s.u.waitFor(ctx, pos, err)
		}
		err = s.u.write(ctx, app, true, func(x *tenant) error {
			c := s.u.changeDevices(x, h)
			some := 0
			for _, n := range piece {
				if !x.users.IsDevice(n) || id != "" && string(x.users.Account(n)) != id {
					continue // deleted meanwhile
				}
				more, err := c.restore(n, task)
				if err != nil {
					return err
				}
				some += more
			}
			if err := c.commit(true, &pos); err != nil {
				return err
			}
			restored += some
			return nil
		})
		if err != nil {
			return restored, s.u.waitFor(ctx, pos, err)
		}
	}
	return restored, s.u.waitFor(ctx, pos, nil)
}

// restore gives device n its retired tokens back, those of a task or all: each one whose
// place is free and that no other device has got meanwhile.
func (c *deviceChange) restore(n uint32, task string) (restored int, err error) {
	d, err := c.device(n)
	if err != nil {
		return 0, err
	}
	list, err := c.retired(d)
	if err != nil {
		return 0, err
	}
	d.retired = nil
	for i := len(list) - 1; i >= 0; i-- { // of several with one place the latest
		r := &list[i]
		again := (task == "" || r.Task == task) && len(d.is.Tokens) < device.MaxTokens &&
			!slices.ContainsFunc(d.is.Tokens, func(t device.Token) bool { return t.SamePlace(&r.Token) })
		if again {
			has, err := c.holder(&r.Token, n)
			if err != nil {
				return 0, err
			}
			again = has == nil || !hasAddress(has.is.Tokens, &r.Token)
		}
		if again {
			r.Token.Refreshed = c.now
			d.is.Tokens = append(d.is.Tokens, r.Token)
			restored++
			continue
		}
		d.retired = append(d.retired, *r)
	}
	slices.Reverse(d.retired)
	if restored == 0 {
		d.retired, d.rewrites = list, false
	}
	newestFirst(d.is.Tokens)
	return restored, nil
}

// keptSince is since when a retired token, or a version of a device, is kept at a time.
func keptSince(now time.Time) time.Time { return now.Add(-device.RetiredDays * 24 * time.Hour) }
