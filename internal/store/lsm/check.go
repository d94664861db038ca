package lsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store"
)

// CheckDir checks a data directory that no process has open, however damaged
// it is: what keeps Open from opening it is a finding. It changes nothing. An
// err means that the check could not be made or finished; it is *InUse if a
// process has the directory open.
func CheckDir(ctx context.Context, dir string, opts Options, report func(store.Finding)) (store.Summary, error) {
	opts.ReadOnly = true
	s, err := openDatabase(dir, opts)
	if e, ok := errors.AsType[*unreadable](err); ok && !errors.Is(err, fs.ErrPermission) {
		report(store.Finding{Where: "database", What: fmt.Sprintf("cannot be opened: %v", e.err)})
		return store.Summary{}, nil
	}
	if err != nil {
		return store.Summary{}, err
	}
	found := false
	sum, err := s.Check(ctx, func(f store.Finding) {
		found = true
		report(f)
	})
	if err == nil && !found {
		err = s.checkIndex(func(where, format string, args ...any) {
			report(store.Finding{Where: where, What: fmt.Sprintf(format, args...)})
		})
	}
	return sum, errors.Join(err, s.Close())
}

// Check reads everything on disk and reports all that is inconsistent; it
// changes nothing. In a running server it sees one consistent state. An err
// means that the check was not finished.
func (s *Store) Check(ctx context.Context, report func(store.Finding)) (store.Summary, error) {
	if err := s.enter(); err != nil {
		return store.Summary{}, err
	}
	defer s.leave()
	c := checker{report: report, apps: map[uint32]*app.App{}}
	if err := s.db.CheckLevels(nil); err != nil {
		c.wrong("database", "%v", err)
	}
	c.snap = s.db.NewSnapshot()
	defer c.snap.Close()
	if err := c.scan(ctx, nil, c.record); err != nil {
		return c.sum, err
	}
	if err := c.twins(ctx); err != nil {
		return c.sum, err
	}
	c.admins()
	return c.sum, c.scan(ctx, &pebble.IterOptions{LowerBound: []byte{tableNick}, UpperBound: []byte{tableRevoked + 1}}, c.owner)
}

// checker is what a check has seen so far. Keys come in order: apps before
// users, users before what else belongs to accounts.
type checker struct {
	report func(store.Finding)
	snap   *pebble.Snapshot
	sum    store.Summary
	apps   map[uint32]*app.App // nil: the record cannot be read
	of     uint32              // app of numbers
	// numbers of the app's users, a bit each; pages, so that one wrong number
	// costs no more than a right one.
	numbers map[uint32]*[numberPage / 64]uint64
	shared  map[uint32]map[uint32]bool // numbers that users of an app share
}

const numberPage = 1 << 15

func (c *checker) wrong(where, format string, args ...any) {
	c.report(store.Finding{Where: where, What: fmt.Sprintf(format, args...)})
}

// scan calls f for every key within bounds. What cannot be read is a finding;
// an err is only that ctx ended.
func (c *checker) scan(ctx context.Context, bounds *pebble.IterOptions, f func(key, value []byte)) error {
	it, err := c.snap.NewIterWithContext(ctx, bounds)
	if err != nil {
		c.wrong("database", "%v", err)
		return ctx.Err()
	}
	at := "the first key"
	for it.First(); it.Valid() && ctx.Err() == nil; it.Next() {
		at = describe(it.Key())
		value, err := it.ValueAndErr()
		if err != nil {
			c.wrong(at, "cannot be read: %v", err)
			continue
		}
		f(it.Key(), value)
	}
	if err := it.Close(); err != nil && ctx.Err() == nil {
		c.wrong("database", "records after %s cannot be read: %v", at, err)
	}
	return ctx.Err()
}

func (c *checker) record(key, value []byte) {
	if len(key) == 0 {
		c.wrong(describe(key), "belongs to no table")
		return
	}
	where := describe(key)
	switch key[0] {
	case tableMeta:
		if string(key) == string(formatKey) {
			c.sum.Other++
		}
		if k := string(key); k == string(epochKey) || k == string(identityKey) || k == string(closedKey) {
			if len(value) != 8 {
				c.wrong(where, "has %d bytes, want 8", len(value))
			}
		} else if k != string(formatKey) {
			c.wrong(where, "is not known")
		} else if v := string(value); v != "1" && v != fmt.Sprint(FormatVersion) {
			c.wrong(where, "format version is %q, this program reads %d", value, FormatVersion)
		}
	case tableApp:
		c.sum.Apps++
		a, err := parseApp(key, value)
		if err != nil {
			c.wrong(where, "%v", err)
		}
		if id, err := parseAppKey(key); err == nil {
			c.apps[id] = a
		}
	case tableUser:
		c.sum.Users++
		c.user(where, key, value)
	case tableGone:
		c.sum.Other++
		if len(key) < goneHeader {
			c.wrong(where, "is too short")
		}
	case tableNick, tableFace, tableRevoked:
		c.sum.Other++
		c.belongings(where, key, value)
	default:
		c.wrong(where, "belongs to no table")
	}
}

func (c *checker) user(where string, key, value []byte) {
	id, account, err := parseAccountKey(key)
	if err != nil {
		c.wrong(where, "%v", err)
		return
	}
	a, known := c.apps[id]
	if !known {
		c.wrong(where, "app %d does not exist", id)
	}
	if len(account) > audience.MaxAccountBytes {
		c.wrong(where, "account has %d bytes", len(account))
	}
	r, err := parseUser(value)
	if err != nil {
		c.wrong(where, "%v", err)
		return
	}
	c.number(id, r.number)
	if a == nil {
		return
	}
	for slot, v := range r.values {
		attr := a.Attributes[slot]
		if v != "" && attr.Name == "" {
			c.wrong(where, "has value %q in slot %d, which has no name", v, slot)
		} else if v != "" && attr.Kind != r.kind {
			c.wrong(where, "has value %q in slot %d, which is for account type %d", v, slot, attr.Kind)
		}
	}
}

// number notes the number of a user.
func (c *checker) number(id, n uint32) {
	if c.numbers == nil || c.of != id {
		c.of, c.numbers = id, map[uint32]*[numberPage / 64]uint64{}
	}
	page := c.numbers[n/numberPage]
	if page == nil {
		page = new([numberPage / 64]uint64)
		c.numbers[n/numberPage] = page
	}
	word, bit := &page[n%numberPage/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		if c.shared == nil {
			c.shared = map[uint32]map[uint32]bool{}
		}
		if c.shared[id] == nil {
			c.shared[id] = map[uint32]bool{}
		}
		c.shared[id][n] = true
	}
	*word |= bit
}

// twins names the users that share a number.
func (c *checker) twins(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(c.shared)) {
		of := &pebble.IterOptions{LowerBound: appendKey(nil, tableUser, id, ""), UpperBound: tableEnd(tableUser, id)}
		err := c.scan(ctx, of, func(key, value []byte) {
			if r, err := parseUser(value); err == nil && c.shared[id][r.number] {
				c.wrong(describe(key), "has number %d, which another user of the app has too", r.number)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) belongings(where string, key, value []byte) {
	id, _, err := parseAccountKey(key)
	if err != nil {
		c.wrong(where, "%v", err)
		return
	}
	if _, known := c.apps[id]; !known {
		c.wrong(where, "app %d does not exist", id)
	}
	if key[0] == tableRevoked {
		if _, err := parseSecond(value); err != nil {
			c.wrong(where, "%v", err)
		}
	} else if len(value) > audience.MaxProfileBytes {
		c.wrong(where, "has %d bytes", len(value))
	}
}

// admins looks for the accounts of admins.
func (c *checker) admins() {
	for _, id := range slices.Sorted(maps.Keys(c.apps)) {
		a := c.apps[id]
		if a == nil {
			continue
		}
		for _, admin := range a.Admins {
			where := fmt.Sprintf("app %d", id)
			if ok, err := c.exists(id, admin); err != nil {
				c.wrong(where, "the account of admin %q cannot be read: %v", admin, err)
			} else if !ok {
				c.wrong(where, "admin %q has no account", admin)
			}
		}
	}
}

// owner looks for the account that a record belongs to.
func (c *checker) owner(key, _ []byte) {
	id, account, err := parseAccountKey(key)
	if err != nil {
		return // reported before
	}
	if ok, err := c.exists(id, account); err != nil {
		c.wrong(describe(key), "the account cannot be read: %v", err)
	} else if !ok {
		c.wrong(describe(key), "the account does not exist")
	}
}

func (c *checker) exists(id uint32, account string) (bool, error) {
	_, closer, err := c.snap.Get(appendKey(nil, tableUser, id, account))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}

// describe names a record for people.
func describe(key []byte) string {
	tables := map[byte]string{
		tableMeta: "meta", tableApp: "app", tableUser: "user", tableNick: "nickname", tableFace: "picture", tableRevoked: "ticket invalidation", tableGone: "deletion",
	}
	if len(key) == 0 {
		return "the empty key"
	}
	name, ok := tables[key[0]]
	if !ok {
		return fmt.Sprintf("key %q", key)
	}
	if key[0] == tableGone {
		return fmt.Sprintf("deletion %q", key[1:])
	}
	if key[0] == tableMeta {
		return fmt.Sprintf("meta %q", key[1:])
	}
	if len(key) < keyHeader {
		return fmt.Sprintf("%s key %q", name, key)
	}
	id := uint32(key[1])<<24 | uint32(key[2])<<16 | uint32(key[3])<<8 | uint32(key[4])
	if len(key) == keyHeader {
		return fmt.Sprintf("%s %d", name, id)
	}
	return fmt.Sprintf("%s %q of app %d", name, key[keyHeader:], id)
}
