// Package lsm is the embedded store: an open data directory, which is a journal
// with the stores of apps and users over it. One process.
//
// Apps and users are in memory, a tenant for each app, and are made from the log of
// the journal; what need not be in memory is in its tables. A change is decided and
// made in memory under the lock of its tenant, and becomes part of the open group of
// the journal under the same lock, so log and memory have one order. The request is
// answered when the group is durable. A reader that meets a change whose group is
// not durable yet waits for it, so no answer ever shows what a crash could take back.
//
// Lock order: running.work of a task, or events.mu; tenant.mu, tenants.mu, tenantTasks.mu,
// running.mu, then the locks of the journal. Only under running.work and events.mu anybody
// waits for the disk. estimates.mu, pages.mu and the locks of caches are taken under others
// and hold none.
package lsm

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store"
	"tidings/internal/store/journal"
)

// ExitFailed is the exit code of a process whose store failed.
const ExitFailed = 70

// Options tunes a Store. The zero value is good for one small node. What most of it
// means, and its defaults, are in journal.Options.
type Options struct {
	FS            vfs.FS
	MemtableSize  int64 // bytes
	CacheSize     int64 // bytes
	CheckpointLog int64 // bytes
	KeepLog       time.Duration
	OpenTables    int // files of tables kept open
	Logger        *slog.Logger
	ReadOnly      bool
	Opening       func(store.Opening) error

	// Fatal ends the process. It is called when the disk refuses a write, or a change
	// panics, after which no change could be made durable; should it return, every change and
	// every answer that rests on one fails. Default: os.Exit(ExitFailed).
	Fatal func()

	room        int   // of the journal, less in tests
	segmentSize int64 // the same
	small       int   // accounts of an audience whose devices are gathered; 0: smallAudience

	// In tests every question is asked of a view, with this for a pacer.
	pace func()
}

// InUse is the error of opening a data directory that another process has.
type InUse = journal.InUse

// Store is an open data directory. It is safe for concurrent use.
type Store struct {
	Apps    *Apps
	Users   *Users
	Devices *Devices
	Tasks   *Tasks

	journal *journal.DB
	tenants *tenants
	program int64 // bytes of the heap before the directory was opened
}

// Open opens the data directory, which must exist, and reads what is in it. It fails
// with *InUse if another process has it, with *journal.Damage if files are not as
// they were written.
func Open(dir string, opts Options) (*Store, error) {
	s := &Store{tenants: newTenants(), program: heapBytes()}
	m := &memory{tenants: s.tenants}
	var err error
	s.journal, err = journal.Open(dir, opts.journal(), m, tables...)
	if err != nil {
		m.stop()
		return nil, err
	}
	s.tenants.journal = s.journal
	if opts.pace != nil {
		s.tenants.light, s.tenants.pacer = -1, func() func() { return opts.pace }
	}
	s.Apps = &Apps{s.tenants}
	s.Users = &Users{tenants: s.tenants}
	s.Devices = &Devices{s.Users}
	s.Tasks = &Tasks{tenants: s.tenants, users: s.Users, small: uint64(cmp.Or(opts.small, smallAudience))}
	err = s.openKeys(opts.ReadOnly, directoryKey{hashKeyName, &s.Users.hashKey}, directoryKey{reportKeyName, &s.Tasks.key})
	if err == nil {
		err = s.Tasks.load()
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// journal returns the options of the journal.
func (o Options) journal() journal.Options {
	if o.Fatal == nil {
		o.Fatal = func() { os.Exit(ExitFailed) }
	}
	return journal.Options{
		OpenTables: o.OpenTables,
		FS:         o.FS, MemtableSize: o.MemtableSize, CacheSize: o.CacheSize, CheckpointLog: o.CheckpointLog, KeepLog: o.KeepLog,
		Logger: o.Logger, ReadOnly: o.ReadOnly, Opening: o.Opening, Room: o.room, SegmentSize: o.segmentSize,
		Fatal: func(error) { o.Fatal() },
	}
}

// KeepAsBefore is the KeepLog of a program that does not know it.
const KeepAsBefore = journal.KeepAsBefore

// Close makes everything durable and closes the store. Calls that are under way
// end with what their changes came to; later ones fail.
func (s *Store) Close() error { return s.journal.Close() }

// Ready returns why no change is taken, or why changes are slowed; nil if all is well.
func (s *Store) Ready() error { return s.journal.Ready() }

// Checkpoint writes a checkpoint, so that a start need not read the log before it.
func (s *Store) Checkpoint(ctx context.Context) (store.Checkpoint, error) {
	return s.journal.Checkpoint(ctx)
}

// A directoryKey is a random key of a directory.
type directoryKey struct {
	name []byte
	key  *[]byte
}

// openKeys reads the keys of the directory, or makes them: in a new directory, or in one of
// before a key was needed.
func (s *Store) openKeys(readOnly bool, keys ...directoryKey) error {
	var missing []directoryKey
	err := s.journal.Read(func(v *journal.View) (err error) {
		for _, k := range keys {
			if *k.key, err = v.Get(tableKeys, 0, k.name); err != nil {
				return err
			}
			if *k.key == nil {
				missing = append(missing, k)
			}
		}
		return nil
	})
	if err != nil || len(missing) == 0 || readOnly {
		return err
	}
	pos, err := s.journal.Commit(0, false, func(b *journal.Batch) {
		for _, k := range missing {
			*k.key = make([]byte, hashKeyBytes)
			_, _ = rand.Read(*k.key) // never fails
			b.Set(tableKeys, k.name, *k.key)
		}
	})
	if err != nil {
		return err
	}
	return s.journal.Wait(context.Background(), pos)
}
