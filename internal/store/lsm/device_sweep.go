package lsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/store/journal"
)

// sweepPiece is how many devices are swept at a time, so that nobody waits for long.
const sweepPiece = 100

// webIdleDays is after how many days the Web Push tokens of a device are retired that was
// not seen (push.md 1).
const webIdleDays = 60

// idleFor returns how many days a device may be idle before a token of a kind is retired.
func idleFor(k channel.TokenKind) int {
	if k == channel.Subscription {
		return webIdleDays
	}
	return device.IdleDays
}

// idle reports whether a token is retired because its device was not seen. One that was
// restored has as long again.
func idle(r *deviceRecord, t *device.Token, now time.Time) bool {
	seen := r.LastActive
	if t.Refreshed.After(seen) {
		seen = t.Refreshed
	}
	return now.Sub(seen) >= time.Duration(idleFor(t.Kind))*24*time.Hour
}

// Sweep retires the tokens of devices that were not seen for long, and drops retired tokens
// and versions of devices that are kept no longer. It is to be called once a day or so.
func (s *Devices) Sweep(ctx context.Context, now time.Time) error {
	for _, x := range s.u.all() {
		if err := s.sweep(ctx, x.id, now); err != nil && !errors.Is(err, apierr.UnknownApp) {
			return err
		}
	}
	return nil
}

func (s *Devices) sweep(ctx context.Context, app uint32, now time.Time) (err error) {
	var wait func(context.Context) (*journal.View, error)
	if err := s.u.write(ctx, app, true, func(x *tenant) error {
		x.pending.drop(s.u.journal.Applied()) // of an app that nobody changes
		wait = s.u.journal.ViewAt(x.pos)
		return nil
	}); err != nil {
		return err
	}
	v, err := wait(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	var pos journal.Pos
	for _, sweep := range []struct {
		table *journal.Table
		due   func(value []byte) (bool, error)
		piece func(ctx context.Context, app uint32, keys [][]byte, now time.Time, pos *journal.Pos) error
	}{
		{tableDevice, func(b []byte) (bool, error) {
			r, err := parseDeviceRecord(b)
			return err == nil && slices.ContainsFunc(r.Tokens, func(t device.Token) bool { return idle(r, &t, now) }), err
		}, s.sweepIdle},
		{tableRetired, func(b []byte) (bool, error) {
			list, err := parseRetired(b)
			return err == nil && list[0].At.Before(keptSince(now)), err
		}, s.sweepRetired},
		{tableVersion, func(b []byte) (bool, error) {
			r, err := parseDeviceVersion(b)
			return err == nil && r.ended.Before(keptSince(now)), err
		}, s.sweepVersions},
	} {
		var keys [][]byte
		err := v.Each(ctx, sweep.table, app, func(key, value []byte) error {
			due, err := sweep.due(value)
			if err != nil {
				return fmt.Errorf("%s %x of app %d: %w", sweep.table.Name, key, app, err)
			}
			if due {
				keys = append(keys, slices.Clone(key))
			}
			if len(keys) < sweepPiece {
				return nil
			}
			err = sweep.piece(ctx, app, keys, now, &pos)
			keys = keys[:0]
			return err
		})
		if err == nil && len(keys) > 0 {
			err = sweep.piece(ctx, app, keys, now, &pos)
		}
		if err != nil {
			return err
		}
	}
	return s.u.journal.Wait(ctx, pos)
}

// numbersOf returns the devices that keys name.
func numbersOf(keys [][]byte) (numbers []uint32) {
	for _, key := range keys {
		numbers = append(numbers, binary.BigEndian.Uint32(key))
	}
	return numbers
}

// sweepIdle retires the tokens of idle devices.
func (s *Devices) sweepIdle(ctx context.Context, app uint32, keys [][]byte, now time.Time, pos *journal.Pos) error {
	numbers := numbersOf(keys)
	h, err := s.u.hintRecords(app, numbers, tableDevice, tableRetired)
	if err != nil {
		return err
	}
	return s.u.write(ctx, app, true, func(x *tenant) error {
		c := s.u.changeDevices(x, h)
		c.now = time.Unix(now.Unix(), 0).UTC()
		for _, n := range numbers {
			if !x.users.IsDevice(n) {
				continue
			}
			d, err := c.device(n)
			if err != nil {
				return err
			}
			for _, t := range slices.Clone(d.is.Tokens) {
				if !idle(d.is, &t, now) { // it may have been seen meanwhile
					continue
				}
				if err := c.retire(d, t, fmt.Sprintf("the device was not seen for %d days", idleFor(t.Kind)), ""); err != nil {
					return err
				}
			}
		}
		return c.commit(true, pos)
	})
}

// sweepRetired drops retired tokens.
func (s *Devices) sweepRetired(ctx context.Context, app uint32, keys [][]byte, now time.Time, pos *journal.Pos) error {
	h, err := s.u.hintRecords(app, numbersOf(keys), tableRetired)
	if err != nil {
		return err
	}
	return s.u.write(ctx, app, true, func(x *tenant) error {
		lists := make([][]device.Retired, len(keys))
		for i, key := range keys {
			value, err := s.u.record(x, h, tableRetired, key)
			if err != nil {
				return err
			}
			if value == nil {
				continue
			}
			if lists[i], err = parseRetired(value); err != nil {
				return err
			}
		}
		group, err := s.u.journal.Commit(app, true, func(b *journal.Batch) {
			for i, key := range keys {
				left := slices.DeleteFunc(slices.Clone(lists[i]), func(r device.Retired) bool { return r.At.Before(keptSince(now)) })
				switch {
				case len(left) == len(lists[i]):
				case len(left) == 0:
					x.pending.delete(b, tableRetired, key)
				default:
					x.pending.set(b, tableRetired, key, encodeRetired(left))
				}
			}
		})
		if err != nil {
			return err
		}
		return s.swept(x, group, pos)
	})
}

// sweepVersions drops versions of devices. One that was written anew since it was read, for
// another device of the same number, is younger; all that is lost then is one version.
func (s *Devices) sweepVersions(ctx context.Context, app uint32, keys [][]byte, _ time.Time, pos *journal.Pos) error {
	return s.u.write(ctx, app, true, func(x *tenant) error {
		group, err := s.u.journal.Commit(app, true, func(b *journal.Batch) {
			for _, key := range keys {
				b.Delete(tableVersion, key)
			}
		})
		if err != nil {
			return err
		}
		return s.swept(x, group, pos)
	})
}

func (s *Devices) swept(x *tenant, group journal.Pos, pos *journal.Pos) error {
	if group != 0 {
		x.pending.settle(group, s.u.journal.Applied())
		x.changed(group)
		*pos = max(*pos, group)
	}
	return nil
}
