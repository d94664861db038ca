package lsm

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/store/journal"
	"tidings/internal/wording"
)

// Users is the audience.Store of the directory.
type Users struct {
	*tenants
	hashKey []byte
}

var _ audience.Store = (*Users)(nil)

// A hash stands for an account where its name must not stay.
type hash [hashBytes]byte

func (s *Users) hash(account string) (h hash) {
	mac := hmac.New(sha256.New, s.hashKey)
	mac.Write([]byte(account))
	copy(h[:], mac.Sum(nil))
	return h
}

// Change makes changes to accounts, in order, each whole or not at all.
func (s *Users) Change(ctx context.Context, id uint32, changes []audience.Change) ([]audience.Failure, error) {
	if err := storable(changes); err != nil {
		return nil, err
	}
	var refused []refusal
	var pos journal.Pos
	err := s.write(ctx, id, false, func(x *tenant) (err error) {
		refused, err = s.change(x, changes, false, nil, &pos)
		return err
	})
	if err == nil || errors.Is(err, audience.ErrStale) {
		err = cmp.Or(s.journal.Wait(ctx, pos), err)
	}
	if err != nil {
		return nil, err
	}
	var failures []audience.Failure
	for _, r := range refused {
		failures = append(failures, audience.Failure{Account: changes[r.i].Account, Err: r.err})
	}
	return failures, nil
}

// A refusal is why the change at a place of a list cannot be made.
type refusal struct {
	i   int
	err *apierr.Error
}

// change makes changes to a tenant that is locked. It returns those that cannot be
// made, and makes pos no less than the group that the outcome rests on: a refusal may
// rest on other accounts, their tags or their number, and on the app. It sets the outcomes
// of those that were made, unless outcomes is nil.
func (s *Users) change(x *tenant, changes []audience.Change, bulk bool, outcomes []audience.Outcome, pos *journal.Pos) (refused []refusal, err error) {
	for i := range changes {
		if x.stale(&changes[i]) {
			*pos = max(*pos, x.pos)
			return nil, audience.ErrStale
		}
	}
	if len(changes) >= warmFrom {
		x.users.Warm(changes)
	}
	x.pin()
	d := s.decider(x)
	var e audience.Effect
	group, err := s.journal.Commit(x.id, bulk, func(b *journal.Batch) {
		for i := range changes {
			c := &changes[i]
			some, err := d.Change(c, &e)
			if err != nil {
				refused = append(refused, refusal{i, err})
				*pos = max(*pos, x.pos)
				continue
			}
			if some {
				x.apply(b, &e)
			}
			putProfile(b, &c.Profile, &e)
			if outcomes != nil {
				outcomes[i] = c.Outcome(&e, some)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range changes {
		s.touch(x, group, changes[i].Account, pos)
	}
	x.changed(group)
	return refused, nil
}

// warmFrom is how many users of a request are worth reading ahead for.
const warmFrom = 8

// decider returns a Decider for a tenant that is locked. A caller that creates users
// calls pin first.
func (s *Users) decider(x *tenant) *audience.Decider {
	return &audience.Decider{
		State: x.users, Now: uint32(time.Now().Unix()), Rules: x.app.Settings.Rules(),
		Deleted: func(account string) (int64, error) { return s.deletedAt(x, account) },
	}
}

// deletedAt returns when an account was deleted that does not exist.
func (s *Users) deletedAt(x *tenant, account string) (second int64, err error) {
	h := s.hash(account)
	if second, recent := x.deleted.second[h]; recent {
		return second, nil
	}
	err = s.journal.Read(func(v *journal.View) error {
		second, err = readSecond(v, tableRevoked, x.id, h[:])
		return err
	})
	return second, err
}

// stale reports whether a change was made from attributes that the app does not have.
func (x *tenant) stale(c *audience.Change) bool {
	attrs := &x.app.Attributes
	if c.Attributes == nil || c.Attributes == attrs {
		return false
	}
	for slot := range attrs {
		if c.Set[slot] != "" && c.Attributes[slot] != attrs[slot] || c.Remove.Has(slot) && c.Attributes[slot].Name != attrs[slot].Name {
			return true
		}
	}
	return false
}

// putProfile writes what a change does to the profile of the user of an effect.
func putProfile(b *journal.Batch, p *audience.Profile, e *audience.Effect) {
	for _, f := range []struct {
		table *journal.Table
		value *string
	}{{tableNick, p.Nick}, {tableFace, p.FaceURL}} {
		switch {
		case f.value != nil:
			b.Set(f.table, numberKey(e.User), []byte(*f.value))
		case p.Clear && e.Op == audience.Edit: // a new user has none
			b.Delete(f.table, numberKey(e.User))
		}
	}
}

// storable refuses what no record may hold. Requests were checked before, so it
// is a mistake of the program, which must not become one on disk: the next
// start would not read it.
func storable(changes []audience.Change) error {
	for i := range changes {
		c := &changes[i]
		for slot, v := range c.Set {
			if len(v) > audience.MaxValueBytes || !utf8.ValidString(v) {
				return fmt.Errorf("value of slot %d is no UTF-8 of at most %d bytes", slot, audience.MaxValueBytes)
			}
		}
		for _, tag := range c.Tags.Tags {
			if (c.Tags.Op == audience.AddTags || c.Tags.Op == audience.ReplaceTags) && (tag == "" || len(tag) > audience.MaxTagBytes || !utf8.ValidString(tag)) {
				return fmt.Errorf("tag %q is no UTF-8 of 1 to %d bytes", wording.Clip(tag, audience.MaxTagBytes), audience.MaxTagBytes)
			}
		}
		for _, p := range []*string{c.Profile.Nick, c.Profile.FaceURL} {
			if p != nil && len(*p) > audience.MaxProfileBytes {
				return fmt.Errorf("profile field of %d bytes, at most %d", len(*p), audience.MaxProfileBytes)
			}
		}
	}
	return nil
}

// Users reads accounts, one answer for each in the same order.
func (s *Users) Users(ctx context.Context, id uint32, accounts []string) ([]audience.User, error) {
	users := make([]audience.User, len(accounts))
	lengths := make([][audience.Slots]uint8, len(accounts))
	var text []byte // all values, so that they take one allocation
	var pos journal.Pos
	_, err := s.look(ctx, id, func(x *tenant) error {
		if len(accounts) >= warmFrom {
			x.users.WarmUsers(accounts)
		}
		for i, account := range accounts {
			s.touch(x, 0, account, &pos)
			n, exists := x.users.Find(account)
			if !exists {
				continue
			}
			users[i].Exists, users[i].Kind, users[i].Tags = true, x.users.Kind(n), x.users.TagsOf(n)
			for slot := range audience.Slots {
				v := x.users.Value(n, slot)
				lengths[i][slot] = uint8(len(v))
				text = append(text, v...)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rest := string(text)
	for i := range users {
		for slot, n := range lengths[i] {
			users[i].Values[slot], rest = rest[:n], rest[n:]
		}
	}
	return users, s.journal.Wait(ctx, pos)
}

// User returns everything that is stored of one account.
func (s *Users) User(ctx context.Context, id uint32, account string) (u *audience.Exported, err error) {
	var number uint32
	var tables func(context.Context) (*journal.View, error)
	pos, err := s.look(ctx, id, func(x *tenant) error {
		n, exists := x.users.Find(account)
		if !exists {
			return unknownAccount(account)
		}
		found := exported(&x.users.View, n)
		u, number, tables = &found, n, s.journal.ViewAt(x.pos)
		return nil
	})
	if err != nil {
		return nil, cmp.Or(s.journal.Wait(ctx, pos), err)
	}
	v, err := tables(ctx)
	if err != nil {
		return nil, err
	}
	nick, nickErr := v.Get(tableNick, id, numberKey(number))
	face, faceErr := v.Get(tableFace, id, numberKey(number))
	if err := errors.Join(nickErr, faceErr, v.Close()); err != nil {
		return nil, err
	}
	u.Nick, u.FaceURL = string(nick), string(face)
	return u, nil
}

func unknownAccount(account string) error {
	return apierr.UnknownAccount.Errorf("account %q does not exist", wording.Clip(account, audience.MaxAccountBytes))
}

// Delete takes accounts away with all their data, and makes the tickets issued for
// them up to now invalid.
func (s *Users) Delete(ctx context.Context, id uint32, kind audience.Kind, accounts []string) ([]*apierr.Error, error) {
	answers := make([]*apierr.Error, len(accounts))
	var pos journal.Pos
	h, err := s.hintDevicesOf(ctx, id, accounts)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, id, false, func(x *tenant) error {
		now := time.Now().Unix()
		d := s.decider(x)
		var e audience.Effect
		var deleted []hash
		c, err := s.changeDevicesOf(x, h, accounts)
		if err != nil {
			return err
		}
		group, err := s.journal.Commit(id, false, func(b *journal.Batch) {
			for i, account := range accounts {
				if kind == audience.UserID && x.app.IsAdmin(account) {
					answers[i] = apierr.BadAccountField.Errorf("the account is an admin of the app")
					continue
				}
				if answers[i] = d.Delete(account, kind, &e); answers[i] != nil {
					continue
				}
				h := s.hash(account)
				c.accountGone(e.User)
				x.apply(b, &e)
				b.Delete(tableNick, numberKey(e.User))
				b.Delete(tableFace, numberKey(e.User))
				b.Raise(tableRevoked, h[:], uint64(now))
				deleted = append(deleted, h)
			}
			c.write(b)
		})
		if err != nil {
			return err
		}
		c.settled(group, &pos)
		x.users.Settle(uint64(group))
		x.deleted.add(deleted, now, group, s.journal.Applied())
		for _, account := range accounts {
			s.touch(x, group, account, &pos)
		}
		x.changed(group)
		return nil
	})
	if err == nil {
		err = s.journal.Wait(ctx, pos)
	}
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// Revoke makes the tickets of a UserID issued up to a second invalid, and takes its
// devices from it.
func (s *Users) Revoke(ctx context.Context, id uint32, account string, upTo time.Time) error {
	var pos journal.Pos
	exists := false
	hints, err := s.hintDevicesOf(ctx, id, []string{account})
	if err != nil {
		return err
	}
	err = s.write(ctx, id, false, func(x *tenant) error {
		n, group := uint32(0), journal.Pos(0)
		n, exists = x.users.Find(account)
		if exists = exists && x.users.Kind(n) == audience.UserID; exists {
			c, err := s.changeDevicesOf(x, hints, []string{account})
			if err != nil {
				return err
			}
			c.accountGone(n)
			h := s.hash(account)
			group, err = s.journal.Commit(id, false, func(b *journal.Batch) {
				b.Raise(tableRevoked, h[:], uint64(max(upTo.Unix(), 0)))
				c.write(b)
			})
			if err != nil {
				return err
			}
			c.settled(group, &pos)
		}
		s.touch(x, group, account, &pos)
		x.changed(group)
		return nil
	})
	if err == nil {
		err = s.journal.Wait(ctx, pos)
	}
	if err == nil && !exists {
		err = unknownAccount(account)
	}
	return err
}

// RevokedUpTo returns the Unix second up to which the tickets of an account are
// invalid; 0 if none are.
func (s *Users) RevokedUpTo(ctx context.Context, id uint32, account string) (second int64, err error) {
	var pos journal.Pos
	_, err = s.look(ctx, id, func(x *tenant) error {
		s.touch(x, 0, account, &pos)
		return nil
	})
	if errors.Is(err, apierr.UnknownApp) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := s.journal.Wait(ctx, pos); err != nil { // the tables show what is durable
		return 0, err
	}
	err = s.journal.Read(func(v *journal.View) error {
		h := s.hash(account)
		own, err := readSecond(v, tableRevoked, id, h[:])
		if err != nil {
			return err
		}
		ended, err := readSecond(v, tableEnded, id, nil)
		second = max(own, ended)
		return err
	})
	return second, err
}

// readSecond returns the second that a record holds; 0 if there is none.
func readSecond(v *journal.View, t *journal.Table, id uint32, key []byte) (int64, error) {
	value, err := v.Get(t, id, key)
	if err != nil || value == nil {
		return 0, err
	}
	if err := checkSecond(value); err != nil {
		return 0, fmt.Errorf("%s of app %d: %w", t.Name, id, err)
	}
	return int64(binary.BigEndian.Uint64(value)), nil
}

// Count returns how many accounts an app has.
func (s *Users) Count(ctx context.Context, id uint32) (n int, err error) {
	err = s.read(ctx, id, func(x *tenant) error {
		n = x.users.Len()
		return nil
	})
	if errors.Is(err, apierr.UnknownApp) {
		return 0, nil
	}
	return n, err
}
