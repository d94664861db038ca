package lsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/app"
	"tidings/internal/audience"
)

// A Finding is one thing that is wrong in a data directory.
type Finding struct {
	Where string `json:"where"` // which record
	What  string `json:"what"`
}

// Summary is what a check looked at.
type Summary struct {
	Apps  int `json:"apps"`
	Users int `json:"users"`
	Other int `json:"other"` // records of other tables
}

// Check reads everything on disk and reports all that is inconsistent; it
// changes nothing. In a running server it sees one consistent state. An err
// means that the check could not be finished.
func (s *Store) Check(ctx context.Context, report func(Finding)) (Summary, error) {
	var sum Summary
	wrong := func(where, format string, args ...any) { report(Finding{where, fmt.Sprintf(format, args...)}) }
	if err := s.db.CheckLevels(nil); err != nil {
		wrong("tables", "%v", err)
	}
	snap := s.db.NewSnapshot()
	defer snap.Close()
	it, err := snap.NewIterWithContext(ctx, nil)
	if err != nil {
		return sum, err
	}
	c := checker{wrong: wrong, apps: map[uint32]*app.App{}, sum: &sum}
	for it.First(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return sum, errors.Join(err, it.Close())
		}
		value, err := it.ValueAndErr()
		if err != nil {
			wrong(describe(it.Key()), "cannot be read: %v", err)
			continue
		}
		c.record(it.Key(), value)
	}
	if err := it.Error(); err != nil {
		wrong("tables", "reading stopped: %v", err)
	}
	if err := it.Close(); err != nil {
		wrong("tables", "%v", err)
	}
	return sum, c.admins(snap)
}

// checker is what a check has seen so far. Keys come in order: apps before
// users, users before what else belongs to accounts.
type checker struct {
	wrong   func(where, format string, args ...any)
	apps    map[uint32]*app.App
	sum     *Summary
	of      uint32            // app of numbers
	numbers map[uint32]string // of the app's users
	format  bool
}

func (c *checker) record(key, value []byte) {
	where := describe(key)
	switch key[0] {
	case tableMeta:
		c.sum.Other++
		if string(key) != string(formatKey) {
			c.wrong(where, "is not known")
		} else if string(value) != fmt.Sprint(FormatVersion) {
			c.wrong(where, "format version is %q, this program reads %d", value, FormatVersion)
		}
	case tableApp:
		c.sum.Apps++
		a := new(app.App)
		if err := json.Unmarshal(value, a); err != nil {
			c.wrong(where, "is no app: %v", err)
		} else if len(key) != keyHeader || string(appendKey(nil, tableApp, a.ID, "")) != string(key) {
			c.wrong(where, "holds app %d", a.ID)
		}
		if len(key) == keyHeader {
			id, _, _ := parseAccountKey(append(append([]byte{}, key...), 0))
			c.apps[id] = a
		}
	case tableUser:
		c.sum.Users++
		c.user(where, key, value)
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
	if c.apps[id] == nil {
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
	if c.numbers == nil || c.of != id {
		c.of, c.numbers = id, map[uint32]string{}
	}
	if other, taken := c.numbers[r.number]; taken {
		c.wrong(where, "has number %d, which user %q has too", r.number, other)
	}
	c.numbers[r.number] = account
	if a := c.apps[id]; a != nil {
		for slot, v := range r.values {
			if v != "" && a.Attributes[slot].Name == "" {
				c.wrong(where, "has value %q in slot %d, which has no name", v, slot)
			}
			if v != "" && a.Attributes[slot].Kind != r.kind {
				c.wrong(where, "has value %q in slot %d, which is for account type %d", v, slot, a.Attributes[slot].Kind)
			}
		}
	}
}

func (c *checker) belongings(where string, key, value []byte) {
	id, _, err := parseAccountKey(key)
	if err != nil {
		c.wrong(where, "%v", err)
		return
	}
	if c.apps[id] == nil {
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

// admins looks for the accounts of admins, and for belongings of accounts that
// do not exist.
func (c *checker) admins(snap *pebble.Snapshot) error {
	exists := func(id uint32, account string) (bool, error) {
		_, closer, err := snap.Get(appendKey(nil, tableUser, id, account))
		if errors.Is(err, pebble.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, closer.Close()
	}
	for id, a := range c.apps {
		for _, admin := range a.Admins {
			ok, err := exists(id, admin)
			if err != nil {
				return err
			}
			if !ok {
				c.wrong(fmt.Sprintf("app %d", id), "admin %q has no account", admin)
			}
		}
	}
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: []byte{tableNick}, UpperBound: []byte{tableRevoked + 1}})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		id, account, err := parseAccountKey(it.Key())
		if err != nil {
			continue // reported before
		}
		ok, err := exists(id, account)
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !ok {
			c.wrong(describe(it.Key()), "the account does not exist")
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// describe names a record for people.
func describe(key []byte) string {
	tables := map[byte]string{
		tableMeta: "meta", tableApp: "app", tableUser: "user", tableNick: "nickname", tableFace: "picture", tableRevoked: "ticket invalidation",
	}
	name, ok := tables[key[0]]
	if !ok {
		return fmt.Sprintf("key %q", key)
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

// Count is how many accounts an app has.
func (s *Store) Count(app uint32) int {
	u, err := s.users(app)
	if err != nil {
		return 0
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.index.Len()
}
