package lsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/index"
)

// users are the users of one app.
type users struct {
	mu      sync.RWMutex
	index   *index.Users
	gone    uint64 // the group that deletes the app; 0 if none does
	newest  uint64 // the group of the last change of any account
	resting []restingNumber
	// last is the group of the last change, by the hash of the account.
	last [lastSize]uint64
	// revoked are the invalidations that may not be in the database yet, by
	// account. A deletion leaves the account one of no ticket.
	revoked map[string]revocation
	swept   uint64 // the revocations of the groups up to this one were taken out

	estimates estimates
}

// A revocation makes the tickets of an account up to a second invalid.
type revocation struct {
	upTo int64
	seq  uint64 // the group that holds it
}

const lastSize = 128

func (s *Store) place(account string) int {
	return int(maphash.String(s.seed, account) % lastSize)
}

// touch notes the group in which accounts changed. Without a group it gives the
// last in which one of them may have changed.
func (s *Store) touch(u *users, g *group, account string, seq *uint64) {
	last := &u.last[s.place(account)]
	if g != nil {
		*last, u.newest = g.seq, g.seq
	}
	*seq = max(*seq, *last)
}

// must is for writes into a batch, which fail only if the batch is misused.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("lsm: writing into a batch: %v", err))
	}
}

// putUser writes the record of user n. Only what writes into a group calls it,
// so the scratch buffer is guarded by the committer's lock.
func (s *Store) putUser(b *pebble.Batch, app uint32, u *index.Users, n uint32) {
	var key [keyHeader + audience.MaxAccountBytes]byte
	k := append(appendKey(key[:0], tableUser, app, ""), u.Account(n)...)
	s.scratch = appendUser(s.scratch[:0], u, n, s.epoch)
	s.marks.add(k)
	must(b.Set(k, s.scratch, nil))
}

// Change makes changes to accounts, in order. Accounts that cannot be changed
// come back as failures and the others are changed, each whole. It returns when
// everything it says is durable. If ctx ends before that, or the disk fails,
// the changes are made all or none.
func (s *Store) Change(ctx context.Context, app uint32, changes []audience.Change) ([]audience.Failure, error) {
	for i := range changes {
		if err := storable(&changes[i]); err != nil {
			return nil, err
		}
	}
	u, err := s.lockApp(ctx, app)
	if err != nil {
		return nil, err
	}
	var failures []audience.Failure
	var seq uint64
	g, err := s.commit.add(func(b *pebble.Batch) {
		for i := range changes {
			if err := s.change(b, app, u, &changes[i]); err != nil {
				failures = append(failures, audience.Failure{Account: changes[i].Account, Err: err})
			}
		}
	})
	if err == nil {
		for i := range changes {
			s.touch(u, g, changes[i].Account, &seq)
		}
	}
	u.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := s.commit.waitFor(ctx, seq); err != nil {
		return nil, err
	}
	return failures, nil
}

// A restingNumber is the number of a deleted user, which nobody else gets before
// the lists that may hold it have expired.
type restingNumber struct {
	number uint32
	since  time.Time
}

// remove takes user n out; its number rests.
func (u *users) remove(n uint32) {
	u.index.Remove(n)
	u.resting = append(u.resting, restingNumber{n, time.Now()})
}

// wake makes numbers that have rested long enough available.
func (u *users) wake(now time.Time) {
	for len(u.resting) > 0 && now.Sub(u.resting[0].since) > 2*pageLife {
		u.index.Reuse(u.resting[0].number)
		u.resting = u.resting[1:]
	}
}

// tags are the tags of user n, in order.
func (u *users) tags(n uint32) []string {
	var buf [audience.MaxTags]uint16
	list := u.index.TagList(n, buf[:0])
	if len(list) == 0 {
		return nil
	}
	tags := make([]string, len(list))
	for i, t := range list {
		tags[i] = string(u.index.TagName(uint32(t)))
	}
	slices.Sort(tags)
	return tags
}

// storable refuses what no record may hold. Requests were checked before, so it
// is a mistake of the program, which must not become one on disk: the next
// start would not read it.
func storable(c *audience.Change) error {
	for i, v := range c.Set {
		if len(v) > audience.MaxValueBytes || !utf8.ValidString(v) {
			return fmt.Errorf("value of slot %d is no UTF-8 of at most %d bytes", i, audience.MaxValueBytes)
		}
	}
	for _, tag := range c.Tags.Tags {
		if (c.Tags.Op == audience.AddTags || c.Tags.Op == audience.ReplaceTags) && (tag == "" || len(tag) > audience.MaxTagBytes || !utf8.ValidString(tag)) {
			return fmt.Errorf("tag %q is no UTF-8 of 1 to %d bytes", tag, audience.MaxTagBytes)
		}
	}
	for _, p := range []*string{c.Profile.Nick, c.Profile.FaceURL} {
		if p != nil && len(*p) > audience.MaxProfileBytes {
			return fmt.Errorf("profile field of %d bytes, at most %d", len(*p), audience.MaxProfileBytes)
		}
	}
	return nil
}

// change makes one change, in memory and in the batch, whole or not at all.
func (s *Store) change(b *pebble.Batch, app uint32, u *users, c *audience.Change) *apierr.Error {
	n, exists, kind, err := u.subject(c)
	if err != nil {
		return err
	}
	if u.index.Full() && c.Grows(exists) {
		return apierr.Internal.Errorf("the index of the app is full")
	}
	changed := !exists
	if !exists {
		now := time.Now()
		u.wake(now)
		n = u.index.Add(c.Account, kind, cmp.Or(c.Created, uint32(now.Unix())))
	}
	edited, err := u.index.EditTags(n, &c.Tags)
	if err != nil {
		if !exists {
			u.index.Remove(n) // nobody has seen it
			u.index.Reuse(n)
		}
		return err
	}
	changed = changed || edited
	if c.Created != 0 && c.Created != u.index.Created(n) {
		u.index.SetCreated(n, c.Created)
		changed = true
	}
	for i, v := range c.Set {
		if v != "" && u.index.Set(n, i, v) || c.Remove.Has(i) && u.index.Set(n, i, "") {
			changed = true
		}
	}
	if changed {
		s.putUser(b, app, u.index, n)
	}
	for _, p := range []struct {
		table byte
		value *string
	}{{tableNick, c.Profile.Nick}, {tableFace, c.Profile.FaceURL}} {
		switch {
		case p.value != nil:
			must(b.Set(appendKey(nil, p.table, app, c.Account), []byte(*p.value), nil))
		case c.Profile.Clear && exists: // a new account has none: Delete takes it away
			must(b.Delete(appendKey(nil, p.table, app, c.Account), nil))
		}
	}
	return nil
}

// subject is the account that a change is about, and the kind it has or will
// have; an error if the change may not be made to it.
func (u *users) subject(c *audience.Change) (n uint32, exists bool, kind audience.Kind, err *apierr.Error) {
	n, exists = u.index.Find(c.Account)
	kind = c.Kind
	switch {
	case exists:
		kind = u.index.Kind(n)
	case !c.Create || c.Account == "" || len(c.Account) > audience.MaxAccountBytes:
		return 0, false, 0, apierr.UnknownAccount.Errorf("account does not exist")
	}
	return n, exists, kind, c.Allows(kind)
}

// Users reads accounts, one answer for each in the same order.
func (s *Store) Users(ctx context.Context, app uint32, accounts []string) ([]audience.User, error) {
	u := s.find(app)
	if u == nil {
		return nil, apierr.UnknownApp
	}
	users := make([]audience.User, len(accounts))
	lengths := make([][audience.Slots]uint8, len(accounts))
	var text []byte // all values, so that they take one allocation
	var seq uint64
	u.mu.RLock()
	gone := u.gone
	for i, account := range accounts {
		s.touch(u, nil, account, &seq)
		n, exists := u.index.Find(account)
		if !exists {
			continue
		}
		users[i].Exists, users[i].Kind, users[i].Tags = true, u.index.Kind(n), u.tags(n)
		for slot := range audience.Slots {
			v := u.index.Value(n, slot)
			lengths[i][slot] = uint8(len(v))
			text = append(text, v...)
		}
	}
	u.mu.RUnlock()
	if gone != 0 {
		return nil, s.unknownApp(ctx, gone)
	}
	rest := string(text)
	for i := range users {
		for slot, n := range lengths[i] {
			users[i].Values[slot], rest = rest[:n], rest[n:]
		}
	}
	if err := s.commit.waitFor(ctx, seq); err != nil {
		return nil, err
	}
	return users, nil
}

// Delete takes accounts away with all their data.
func (s *Store) Delete(ctx context.Context, app uint32, kind audience.Kind, accounts []string) ([]*apierr.Error, error) {
	u, err := s.lockApp(ctx, app)
	if err != nil {
		return nil, err
	}
	answers := make([]*apierr.Error, len(accounts))
	var deleted []string
	var seq uint64
	g, err := s.commit.add(func(b *pebble.Batch) {
		for i, account := range accounts {
			n, exists := u.index.Find(account)
			if !exists || u.index.Kind(n) != kind {
				answers[i] = apierr.UnknownAccount.Errorf("account does not exist")
				continue
			}
			u.remove(n)
			s.logDeletion(b, app, account)
			deleted = append(deleted, account)
			for _, table := range append([]byte{tableUser}, accountTables...) {
				must(b.Delete(appendKey(nil, table, app, account), nil))
			}
		}
	})
	if err == nil {
		for _, account := range accounts {
			s.touch(u, g, account, &seq)
		}
		u.sweepRevoked(s.commit.durable.Load())
		for _, account := range deleted {
			u.noteRevoked(account, revocation{0, g.seq})
		}
	}
	u.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := s.commit.waitFor(ctx, seq); err != nil {
		return nil, err
	}
	return answers, nil
}

// Revoke makes the tickets of an account issued up to a second invalid; a second
// before one that was given earlier changes nothing. An account that does not
// exist, or is a RegistrationID, is 70107.
func (s *Store) Revoke(ctx context.Context, app uint32, account string, upTo time.Time) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	u, err := s.lockApp(ctx, app)
	if err != nil {
		return err
	}
	var seq uint64
	n, exists := u.index.Find(account)
	if exists = exists && u.index.Kind(n) == audience.UserID; exists {
		err = s.revoke(u, app, account, upTo.Unix())
	}
	s.touch(u, nil, account, &seq)
	u.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.commit.waitFor(ctx, seq); err != nil {
		return err
	}
	if !exists {
		return apierr.UnknownAccount.Errorf("account %q does not exist", account)
	}
	return nil
}

func (s *Store) revoke(u *users, app uint32, account string, upTo int64) error {
	u.sweepRevoked(s.commit.durable.Load())
	last, recent := u.revoked[account]
	if !recent {
		var err error
		if last.upTo, err = s.readRevoked(app, account); err != nil {
			return err
		}
	}
	if last.upTo >= upTo {
		return nil
	}
	g, err := s.commit.add(func(b *pebble.Batch) {
		must(b.Set(appendKey(nil, tableRevoked, app, account), appendSecond(nil, upTo), nil))
	})
	if err != nil {
		return err
	}
	u.noteRevoked(account, revocation{upTo, g.seq})
	u.last[s.place(account)] = g.seq
	return nil
}

// noteRevoked keeps a revocation until its group is in the database.
func (u *users) noteRevoked(account string, r revocation) {
	if u.revoked == nil {
		u.revoked = map[string]revocation{}
	}
	u.revoked[account] = r
}

// sweepRevoked takes out the revocations that the database shows, those of the
// groups up to the one that is durable.
func (u *users) sweepRevoked(durable uint64) {
	if u.swept == durable {
		return
	}
	for account, r := range u.revoked {
		if r.seq <= durable {
			delete(u.revoked, account)
		}
	}
	u.swept = durable
}

// RevokedUpTo is the Unix second up to which the tickets of an account are
// invalid; 0 if none are.
func (s *Store) RevokedUpTo(ctx context.Context, app uint32, account string) (int64, error) {
	if len(account) > audience.MaxAccountBytes {
		return 0, nil
	}
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	second, err := s.readRevoked(app, account)
	if err != nil {
		return 0, err
	}
	// The database shows a group before its fsync.
	var seq uint64
	if u := s.find(app); u != nil {
		u.mu.RLock()
		s.touch(u, nil, account, &seq)
		seq = max(seq, u.gone)
		u.mu.RUnlock()
	}
	return second, s.commit.waitFor(ctx, seq)
}

// readRevoked is what the database shows.
func (s *Store) readRevoked(app uint32, account string) (int64, error) {
	value, closer, err := s.db.Get(appendKey(nil, tableRevoked, app, account))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ticket invalidation of %q of app %d: %w", account, app, err)
	}
	second, err := parseSecond(value)
	return second, errors.Join(err, closer.Close())
}
