// Package lsm is the embedded store: users' records and apps on disk in Pebble,
// what requests ask about users in memory, one process.
//
// A change is made in memory under the lock of its app and put into the open
// group of the committer under the same lock, so disk and memory have one
// order. The request is answered when the group is on disk. A reader that meets
// a change whose group is not there yet waits for it, so no answer ever shows
// what a crash could take back.
//
// Lock order: Store.mu, users.mu, committer.mu.
package lsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/index"
)

// FormatVersion is the version of what is on disk. It grows when an older
// program could no longer read it. doc/storage-format.md.
const FormatVersion = 1

// Options tunes a Store. The zero value is good for one small node.
type Options struct {
	FS           vfs.FS       // default: the operating system's
	MemtableSize int64        // bytes of changes in memory before they become a table; default 16 MiB
	CacheSize    int64        // bytes of table blocks in memory; default 8 MiB
	Logger       *slog.Logger // default slog.Default()
	ReadOnly     bool         // changes nothing on disk, not even to recover
}

// InUse is the error of opening a data directory that another process has.
type InUse struct{ Dir string }

func (e *InUse) Error() string {
	return fmt.Sprintf("data directory %s is in use by another tidings process", e.Dir)
}

// Store is an open data directory. It is safe for concurrent use.
type Store struct {
	db     *pebble.DB
	lock   *pebble.Lock
	commit *committer
	log    *slog.Logger
	seed   maphash.Seed

	mu   sync.RWMutex
	apps map[uint32]*users
}

// users are the users of one app.
type users struct {
	mu    sync.RWMutex
	index *index.Users
	gone  bool // the app was deleted
	// last is the group of the last change, by the hash of the account.
	last [lastSize]uint64
}

const lastSize = 128

func (s *Store) place(account string) int {
	return int(maphash.String(s.seed, account) % lastSize)
}

// Open opens the data directory, which must exist, and reads who is in it. It
// fails with *InUse if another process has it.
func Open(dir string, opts Options) (*Store, error) {
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	path := filepath.Join(dir, "db")
	if opts.ReadOnly {
		if _, err := opts.FS.Stat(path); err != nil {
			return nil, fmt.Errorf("no database in %s: %w", dir, err)
		}
	}
	if err := opts.FS.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(path, opts.FS)
	if err != nil {
		if opts.FS != vfs.Default || isLocked(err) {
			return nil, &InUse{dir}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	s := &Store{lock: lock, log: opts.Logger, seed: maphash.MakeSeed(), apps: map[uint32]*users{}}
	if s.db, err = pebble.Open(path, pebbleOptions(opts, lock)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database in %s: %w", path, err), lock.Close())
	}
	s.commit = newCommitter(s.db)
	go s.commit.run()
	if err := s.load(opts.ReadOnly); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the database in %s: %w", path, err), s.Close())
	}
	return s, nil
}

func pebbleOptions(opts Options, lock *pebble.Lock) *pebble.Options {
	memtable := opts.MemtableSize
	if memtable == 0 {
		memtable = 16 << 20
	}
	cache := opts.CacheSize
	if cache == 0 {
		cache = 8 << 20
	}
	o := &pebble.Options{
		FS:       opts.FS,
		Lock:     lock,
		ReadOnly: opts.ReadOnly,
		Logger:   pebbleLogger{opts.Logger},
		// Pebble takes memtables out of the cache.
		CacheSize:                   cache + 2*memtable,
		MemTableSize:                uint64(memtable),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               64 << 20,
		FormatMajorVersion:          pebble.FormatNewest,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// pebbleLogger passes what Pebble has to say to the server's log.
type pebbleLogger struct{ log *slog.Logger }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("storage", "detail", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("storage", "detail", fmt.Sprintf(format, args...))
}

// Fatalf ends the process: Pebble calls it when the disk refuses a write, and
// from then on nothing could be answered OK.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.log.Error("storage failed, the server stops: nothing that was answered OK is lost", "detail", fmt.Sprintf(format, args...))
	os.Exit(1)
}

// load reads apps and users into memory.
func (s *Store) load(readOnly bool) error {
	if err := s.checkFormat(readOnly); err != nil {
		return err
	}
	if err := s.scan(tableApp, func(key, value []byte) error {
		id, _, err := parseAccountKey(append(key, 0))
		if err != nil {
			return err
		}
		s.apps[id] = &users{index: index.NewUsers()}
		return nil
	}); err != nil {
		return err
	}
	var id uint32
	var u *users
	err := s.scan(tableUser, func(key, value []byte) error {
		in, account, err := parseAccountKey(key)
		if err != nil {
			return err
		}
		r, err := parseUser(value)
		if err != nil {
			return fmt.Errorf("user %q of app %d: %w", account, in, err)
		}
		if u == nil || in != id {
			if id, u = in, s.apps[in]; u == nil {
				return fmt.Errorf("user %q belongs to app %d, which does not exist", account, in)
			}
		}
		if u.index.Has(r.number) {
			return fmt.Errorf("users %q and %q of app %d have the same number %d", u.index.Account(r.number), account, in, r.number)
		}
		u.index.AddAt(r.number, account, r.kind, r.created)
		for i, v := range r.values {
			if v != "" {
				u.index.Set(r.number, i, v)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w (tidings check lists everything that is wrong)", err)
	}
	for _, u := range s.apps {
		u.index.FindHoles()
	}
	return nil
}

var formatKey = append([]byte{tableMeta}, "format"...)

func (s *Store) checkFormat(readOnly bool) error {
	value, closer, err := s.db.Get(formatKey)
	if errors.Is(err, pebble.ErrNotFound) {
		if readOnly {
			return nil
		}
		return s.db.Set(formatKey, fmt.Append(nil, FormatVersion), pebble.Sync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if got := string(value); got != fmt.Sprint(FormatVersion) {
		return fmt.Errorf("format version %q is not known, this program reads version %d: use a newer program", got, FormatVersion)
	}
	return nil
}

// scan calls f for every key of a table, in order. Key and value are valid
// during the call.
func (s *Store) scan(table byte, f func(key, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = f(it.Key(), value)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// Close makes everything durable and closes the store. No call may be under
// way.
func (s *Store) Close() error {
	s.commit.stop()
	return errors.Join(s.db.Close(), s.lock.Close())
}

// Ready tells why the store takes no changes; nil if it does.
func (s *Store) Ready() error {
	s.commit.mu.Lock()
	defer s.commit.mu.Unlock()
	return s.commit.err
}

// Apps reads every app.
func (s *Store) Apps(context.Context) ([]*app.App, error) {
	var apps []*app.App
	err := s.scan(tableApp, func(key, value []byte) error {
		a := new(app.App)
		if err := json.Unmarshal(value, a); err != nil {
			return fmt.Errorf("app record %x: %w", key, err)
		}
		apps = append(apps, a)
		return nil
	})
	return apps, err
}

// SaveApp stores an app, new or changed, and makes the accounts of its admins
// that do not exist.
func (s *Store) SaveApp(ctx context.Context, a *app.App) error {
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding app %d: %w", a.ID, err)
	}
	s.mu.Lock()
	u := s.apps[a.ID]
	if u == nil {
		u = &users{index: index.NewUsers()}
		s.apps[a.ID] = u
	}
	s.mu.Unlock()

	u.mu.Lock()
	g, err := s.commit.add(func(b *pebble.Batch) {
		must(b.Set(appendKey(nil, tableApp, a.ID, ""), record, nil))
		for _, admin := range a.Admins {
			if _, exists := u.index.Find(admin); !exists {
				n := u.index.Add(admin, audience.UserID, uint32(time.Now().Unix()))
				putUser(b, a.ID, u.index, n)
			}
		}
	})
	if err == nil {
		for _, admin := range a.Admins {
			u.last[s.place(admin)] = g.seq
		}
	}
	u.mu.Unlock()
	if err != nil {
		return err
	}
	return g.wait(ctx)
}

// DeleteApp takes an app away with everything in it.
func (s *Store) DeleteApp(ctx context.Context, id uint32) error {
	s.mu.Lock()
	u := s.apps[id]
	delete(s.apps, id)
	s.mu.Unlock()
	if u == nil {
		return apierr.UnknownApp
	}
	u.mu.Lock()
	u.gone = true
	g, err := s.commit.add(func(b *pebble.Batch) {
		must(b.Delete(appendKey(nil, tableApp, id, ""), nil))
		for _, table := range append([]byte{tableUser}, accountTables...) {
			must(b.DeleteRange(appendKey(nil, table, id, ""), tableEnd(table, id), nil))
		}
	})
	u.mu.Unlock()
	if err != nil {
		return err
	}
	return g.wait(ctx)
}

func (s *Store) users(app uint32) (*users, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if u := s.apps[app]; u != nil {
		return u, nil
	}
	return nil, apierr.UnknownApp
}

// must is for writes into a batch, which fail only if the batch is misused.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("lsm: writing into a batch: %v", err))
	}
}

// putUser writes the record of user n.
func putUser(b *pebble.Batch, app uint32, u *index.Users, n uint32) {
	var key [keyHeader + audience.MaxAccountBytes]byte
	var record [maxUserRecord]byte
	k := append(appendKey(key[:0], tableUser, app, ""), u.Account(n)...)
	must(b.Set(k, appendUser(record[:0], u, n), nil))
}

// Change makes changes to accounts, in order. Accounts that cannot be changed
// come back as failures and the others are changed, each whole. It returns when
// everything it says is durable.
func (s *Store) Change(ctx context.Context, app uint32, changes []audience.Change) ([]audience.Failure, error) {
	u, err := s.users(app)
	if err != nil {
		return nil, err
	}
	var failures []audience.Failure
	var seq uint64
	u.mu.Lock()
	if u.gone {
		u.mu.Unlock()
		return nil, apierr.UnknownApp
	}
	g, err := s.commit.add(func(b *pebble.Batch) {
		for i := range changes {
			if err := s.change(b, app, u, &changes[i]); err != nil {
				failures = append(failures, audience.Failure{Account: changes[i].Account, Err: err})
			}
		}
	})
	if err == nil {
		seq = s.touch(u, g, changes)
	}
	u.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return failures, s.wait(ctx, g, seq)
}

// touch notes the group in which accounts changed. Without a group it gives the
// last in which one of them may have changed.
func (s *Store) touch(u *users, g *group, changes []audience.Change) (seq uint64) {
	for i := range changes {
		last := &u.last[s.place(changes[i].Account)]
		if g != nil {
			*last = g.seq
		}
		seq = max(seq, *last)
	}
	return seq
}

// wait returns when the group and what came before is durable; without a
// group, when the one with number seq is.
func (s *Store) wait(ctx context.Context, g *group, seq uint64) error {
	if g != nil {
		return g.wait(ctx)
	}
	return s.commit.waitFor(ctx, seq)
}

// change makes one change, in memory and in the batch, whole or not at all.
func (s *Store) change(b *pebble.Batch, app uint32, u *users, c *audience.Change) *apierr.Error {
	n, exists := u.index.Find(c.Account)
	kind := audience.UserID
	switch {
	case exists:
		kind = u.index.Kind(n)
	case !c.Create || len(c.Account) > audience.MaxAccountBytes:
		return apierr.UnknownAccount.Errorf("account does not exist")
	}
	if err := c.Allows(kind); err != nil {
		return err
	}
	changed := !exists
	if !exists {
		n = u.index.Add(c.Account, kind, uint32(time.Now().Unix()))
	}
	for i, v := range c.Set {
		if v != "" && u.index.Set(n, i, v) || c.Remove.Has(i) && u.index.Set(n, i, "") {
			changed = true
		}
	}
	if changed {
		putUser(b, app, u.index, n)
	}
	if c.Profile.Nick != nil {
		must(b.Set(appendKey(nil, tableNick, app, c.Account), []byte(*c.Profile.Nick), nil))
	}
	if c.Profile.FaceURL != nil {
		must(b.Set(appendKey(nil, tableFace, app, c.Account), []byte(*c.Profile.FaceURL), nil))
	}
	return nil
}

// Users reads accounts, one answer for each in the same order.
func (s *Store) Users(ctx context.Context, app uint32, accounts []string) ([]audience.User, error) {
	u, err := s.users(app)
	if err != nil {
		return nil, err
	}
	users := make([]audience.User, len(accounts))
	var text []byte // all values, so that they take one allocation
	var seq uint64
	u.mu.RLock()
	lengths := make([][audience.Slots]uint8, len(accounts))
	for i, account := range accounts {
		seq = max(seq, u.last[s.place(account)])
		n, exists := u.index.Find(account)
		if !exists {
			continue
		}
		users[i].Exists, users[i].Kind = true, u.index.Kind(n)
		for slot := range audience.Slots {
			v := u.index.Value(n, slot)
			lengths[i][slot] = uint8(len(v))
			text = append(text, v...)
		}
	}
	u.mu.RUnlock()
	rest := string(text)
	for i := range users {
		for slot, n := range lengths[i] {
			users[i].Values[slot], rest = rest[:n], rest[n:]
		}
	}
	return users, s.commit.waitFor(ctx, seq)
}

// Delete takes accounts away with all their data and tells for each whether it
// existed.
func (s *Store) Delete(ctx context.Context, app uint32, accounts []string) ([]bool, error) {
	u, err := s.users(app)
	if err != nil {
		return nil, err
	}
	existed := make([]bool, len(accounts))
	var seq uint64
	u.mu.Lock()
	if u.gone {
		u.mu.Unlock()
		return nil, apierr.UnknownApp
	}
	g, err := s.commit.add(func(b *pebble.Batch) {
		for i, account := range accounts {
			var n uint32
			if n, existed[i] = u.index.Find(account); !existed[i] {
				continue
			}
			u.index.Remove(n)
			for _, table := range append([]byte{tableUser}, accountTables...) {
				must(b.Delete(appendKey(nil, table, app, account), nil))
			}
		}
	})
	for _, account := range accounts {
		last := &u.last[s.place(account)]
		if g != nil {
			*last = g.seq
		}
		seq = max(seq, *last)
	}
	u.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return existed, s.wait(ctx, g, seq)
}

// Revoke makes the tickets of an account issued up to a second invalid. An
// account that does not exist is 70107.
func (s *Store) Revoke(ctx context.Context, app uint32, account string, upTo time.Time) error {
	u, err := s.users(app)
	if err != nil {
		return err
	}
	u.mu.Lock()
	if _, exists := u.index.Find(account); !exists || u.gone {
		seq := u.last[s.place(account)]
		u.mu.Unlock()
		if err := s.commit.waitFor(ctx, seq); err != nil {
			return err
		}
		return apierr.UnknownAccount.Errorf("account %q does not exist", account)
	}
	g, err := s.commit.add(func(b *pebble.Batch) {
		must(b.Set(appendKey(nil, tableRevoked, app, account), appendSecond(nil, upTo), nil))
	})
	u.mu.Unlock()
	if err != nil {
		return err
	}
	return g.wait(ctx)
}

// RevokedUpTo is the Unix second up to which the tickets of an account are
// invalid; 0 if none are.
func (s *Store) RevokedUpTo(_ context.Context, app uint32, account string) (int64, error) {
	if len(account) > audience.MaxAccountBytes {
		return 0, nil
	}
	value, closer, err := s.db.Get(appendKey(nil, tableRevoked, app, account))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	return parseSecond(value)
}

// AppIDs lists the apps there are, in order.
func (s *Store) AppIDs() []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := make([]uint32, 0, len(s.apps))
	for id := range s.apps {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// isLocked tells whether locking a directory failed because another process
// holds the lock.
func isLocked(err error) bool {
	return !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist)
}
