package lsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/journal"
)

// compareCheck is how many users are compared between two looks at the context.
const compareCheck = 10_000

// A comparer finds what is in a directory and was taken away in a later one.
type comparer struct {
	ctx    context.Context //nolint:containedctx // it lives as long as one comparison
	view   *journal.View   // the tables of the earlier
	later  *Store
	names  *Users // for the hashes of accounts, of both
	report func(store.Returned)
}

// compareWith compares what is restored with a directory that has what came after it. It
// reports as it goes, so it needs no memory for what it finds, but for both directories.
func compareWith(ctx context.Context, opts Options, restored *tenants, v *journal.View, r *RestoreOptions) (err error) {
	opts.ReadOnly = true
	later, err := Open(r.Compare, opts)
	if err != nil {
		return fmt.Errorf("comparing with %s: %w", r.Compare, err)
	}
	defer func() { err = errors.Join(err, later.Close()) }()
	key, err := v.Get(tableKeys, 0, hashKeyName)
	if err != nil {
		return err
	}
	if !bytes.Equal(key, later.Users.hashKey) {
		return fmt.Errorf("%s has nothing to do with the backup: another directory was made there", r.Compare)
	}
	c := &comparer{ctx, v, later, later.Users, r.Returned}
	for _, x := range restored.all() {
		if err := c.tenant(x); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) returned(x *tenant, kind, name, format string, args ...any) {
	c.report(store.Returned{App: x.id, Kind: kind, Name: name, What: fmt.Sprintf(format, args...)})
}

// tenant compares an app.
func (c *comparer) tenant(x *tenant) error {
	y := c.later.tenants.find(x.id)
	if y == nil {
		c.returned(x, store.ReturnedApp, "", "the app was deleted, and is there again with all its users, keys and admins")
		return nil
	}
	c.keys(x, y.app)
	c.appKeys(x, y.app)
	c.certificates(x, y.app)
	c.admins(x, y.app)
	c.access(x, y.app)
	ended, err := c.tickets(x)
	if err != nil {
		return err
	}
	return c.users(x, y, ended)
}

func (c *comparer) keys(x *tenant, later *app.App) {
	for _, k := range x.app.Keys {
		i := slices.IndexFunc(later.Keys, func(l app.Key) bool { return l.ID == k.ID && l.Secret == k.Secret })
		name := fmt.Sprint(k.ID)
		switch {
		case i < 0:
			c.returned(x, store.ReturnedKey, name, "key %d was removed, and is accepted again", k.ID)
		case !later.Keys[i].Ends.IsZero() && (k.Ends.IsZero() || k.Ends.After(later.Keys[i].Ends)):
			c.returned(x, store.ReturnedKey, name, "key %d was to end at %s, and does not", k.ID, later.Keys[i].Ends.UTC().Format(time.RFC3339))
		}
	}
}

func (c *comparer) appKeys(x *tenant, later *app.App) {
	for _, k := range x.app.AppKeys {
		if !slices.ContainsFunc(later.AppKeys, func(l app.AppKey) bool { return l.ID == k.ID && l.Secret == k.Secret }) {
			c.returned(x, store.ReturnedAppKey, fmt.Sprint(k.ID), "AppKey %d was removed, and is accepted again", k.ID)
		}
	}
}

func (c *comparer) certificates(x *tenant, later *app.App) {
	for _, old := range x.app.Certificates {
		switch now := later.Certificate(old.ID); {
		case now == nil:
			c.returned(x, store.ReturnedChannel, fmt.Sprint(old.ID), "certificate %d was removed, and is used again", old.ID)
		case now.Version > old.Version:
			c.returned(x, store.ReturnedChannel, fmt.Sprint(old.ID), "certificate %d has the credential back that was replaced at %s", old.ID, now.Replaced.UTC().Format(time.RFC3339))
		}
	}
}

func (c *comparer) admins(x *tenant, later *app.App) {
	for _, admin := range x.app.Admins {
		if !later.IsAdmin(admin) {
			c.returned(x, store.ReturnedAdmin, admin, "%q was removed from the admins, and is one again", admin)
		}
	}
}

// access compares what keeps callers out.
func (c *comparer) access(x *tenant, later *app.App) {
	if x.app.Status == app.Enabled && later.Status != app.Enabled {
		c.returned(x, store.ReturnedAccess, "", "the app was %s, and is enabled again", later.Status)
	}
	for _, account := range later.Settings.BlockedAccounts {
		if !slices.Contains(x.app.Settings.BlockedAccounts, account) {
			c.returned(x, store.ReturnedAccess, account, "account %q was blocked, and is not any more", account)
		}
	}
}

// tickets returns the hashes of accounts whose tickets were made invalid, and reports if
// those of all accounts were.
func (c *comparer) tickets(x *tenant) (ended map[hash]bool, err error) {
	all, err := readSecond(c.view, tableEnded, x.id, nil)
	if err != nil {
		return nil, err
	}
	ended = map[hash]bool{}
	err = c.later.journal.Read(func(v *journal.View) error {
		later, err := readSecond(v, tableEnded, x.id, nil)
		if err != nil {
			return err
		}
		if later > all {
			c.returned(x, store.ReturnedTickets, "", "all tickets issued up to %s were made invalid", time.Unix(later, 0).UTC().Format(time.RFC3339))
		}
		return v.Each(c.ctx, tableRevoked, x.id, func(key, value []byte) error {
			if len(key) != hashBytes || checkSecond(value) != nil {
				return nil
			}
			before, err := readSecond(c.view, tableRevoked, x.id, key)
			if err == nil && int64(binary.BigEndian.Uint64(value)) > before {
				ended[hash(key)] = true
			}
			return err
		})
	})
	return ended, err
}

// users compares the users of an app. What is said of a user that was deleted holds for its
// tickets too.
func (c *comparer) users(x, y *tenant, ended map[hash]bool) error {
	for n := range x.users.Limit() {
		if n%compareCheck == 0 && c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		if !x.users.Has(n) {
			continue
		}
		account := string(x.users.Account(n))
		later, exists := y.users.Find(account)
		switch {
		case !exists:
			c.returned(x, store.ReturnedUser, account, "%q was deleted, and is there again", account)
		case later != n:
			c.returned(x, store.ReturnedUser, account, "%q was deleted and made again, and has what it had before", account)
		case len(ended) > 0 && x.users.Kind(n) == audience.UserID && ended[c.names.hash(account)]:
			c.returned(x, store.ReturnedTickets, account, "the tickets of %q were made invalid", account)
		}
	}
	return nil
}
