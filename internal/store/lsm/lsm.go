// Package lsm is the embedded store: users' records and apps on disk in Pebble,
// what requests ask about users in memory, one process.
//
// A change is made in memory under the lock of its app and put into the open
// group of the committer under the same lock, so disk and memory have one
// order. The request is answered when the group is on disk. A reader that meets
// a change whose group is not there yet waits for it, so no answer ever shows
// what a crash could take back.
//
// Lock order: users.mu, Store.mu, committer.mu; estimates.mu and pages.mu are taken
// under users.mu and hold no other, scheduler.mu under locks of the database.
package lsm

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/index"
)

// FormatVersion is the version of what is on disk. It grows when an older
// program could no longer read it. doc/storage-format.md.
const FormatVersion = 2

// Options tunes a Store. The zero value is good for one small node.
type Options struct {
	FS           vfs.FS       // default: the operating system's
	MemtableSize int64        // bytes of changes in memory before they become a table; default 16 MiB
	CacheSize    int64        // bytes of table blocks in memory; default 8 MiB
	Logger       *slog.Logger // default slog.Default()
	ReadOnly     bool         // changes nothing on disk, not even to recover

	// Fatal ends the process. It is called when the disk refuses a write, after
	// which no change could be made durable; should it return, every change and
	// every answer that rests on one fails. Default: os.Exit(1).
	Fatal func()
}

// InUse is the error of opening a data directory that another process has.
type InUse struct{ Dir string }

func (e *InUse) Error() string {
	return fmt.Sprintf("data directory %s is in use by another tidings process", e.Dir)
}

// errReadOnly is the error of changes to a store that is opened read-only.
var errReadOnly = errors.New("the store is open for reading only")

// Store is an open data directory. It is safe for concurrent use.
type Store struct {
	db     *pebble.DB
	lock   *pebble.Lock
	commit *committer
	log    *slog.Logger
	seed   maphash.Seed

	fs       vfs.FS
	dir      string
	identity uint64 // of the directory, so that no other's snapshot is taken for its own
	epoch    uint64 // counts the openings of the directory; written into each record
	marks    *marks
	scratch  []byte // guarded by the committer's lock
	pages    pages

	compactions *scheduler

	readOnly bool
	loaded   bool         // the index holds all there is
	life     sync.RWMutex // held for reading while db is used beside the committer
	closed   bool

	mu   sync.RWMutex
	apps map[uint32]*users
}

// Open opens the data directory, which must exist, and reads who is in it. It
// fails with *InUse if another process has it.
func Open(dir string, opts Options) (*Store, error) {
	s, err := openDatabase(dir, opts)
	if err != nil {
		return nil, err
	}
	if err := s.load(opts.ReadOnly); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the database in %s: %w", dir, err), s.Close())
	}
	s.marks.epoch.Store(s.epoch)
	s.compactions.begin()
	s.loaded = true
	return s, nil
}

// openDatabase is Open without reading anything.
func openDatabase(dir string, opts Options) (*Store, error) {
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Fatal == nil {
		opts.Fatal = func() { os.Exit(1) }
	}
	path := opts.FS.PathJoin(dir, "db")
	if opts.ReadOnly {
		if _, err := opts.FS.Stat(path); err != nil {
			return nil, fmt.Errorf("no database in %s: %w", dir, err)
		}
		opts.FS = readOnlyFS{opts.FS}
	} else {
		if err := opts.FS.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
		syncAncestors(opts.FS, path)
	}
	lock, err := pebble.LockDirectory(path, opts.FS)
	if err != nil {
		if isLocked(err) {
			return nil, &InUse{dir}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	s := &Store{fs: opts.FS, dir: dir, lock: lock, log: opts.Logger, readOnly: opts.ReadOnly, seed: maphash.MakeSeed(), marks: newMarks(), compactions: newScheduler(), apps: map[uint32]*users{}}
	f := &fault{}
	if s.db, err = pebble.Open(path, s.pebbleOptions(opts, f)); err != nil {
		return nil, errors.Join(&unreadable{path, err}, lock.Close())
	}
	s.commit = newCommitter(s.db, f)
	if opts.ReadOnly {
		s.commit.err = errReadOnly
	}
	go s.commit.run()
	return s, nil
}

// readOnlyFS makes no file of a lock: where there is none, as in a copy, or none
// can be made, no process that writes has the database open.
type readOnlyFS struct{ vfs.FS }

// Lock locks a file if that is there.
func (f readOnlyFS) Lock(name string) (io.Closer, error) {
	if _, err := f.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	lock, err := f.FS.Lock(name)
	if errors.Is(err, syscall.EROFS) {
		return io.NopCloser(nil), nil
	}
	return lock, err
}

// Unwrap gives the file system below.
func (f readOnlyFS) Unwrap() vfs.FS { return f.FS }

// unreadable is the error of a database that Pebble does not open.
type unreadable struct {
	path string
	err  error
}

func (e *unreadable) Error() string {
	return fmt.Sprintf("opening the database in %s: %v", e.path, e.err)
}
func (e *unreadable) Unwrap() error { return e.err }

// syncAncestors makes the directories above path durable, some of which may be
// new: what is synced in a directory is lost with it if a power loss takes back
// that it was made. Those above the data directory may not be ours to open;
// then they are not ours to have made either.
func syncAncestors(fs vfs.FS, path string) {
	if fs == vfs.Default {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
	}
	for up := fs.PathDir(path); up != path; path, up = up, fs.PathDir(up) {
		if d, err := fs.OpenDir(up); err == nil {
			_ = d.Sync()
			_ = d.Close()
		}
	}
}

func (s *Store) pebbleOptions(opts Options, f *fault) *pebble.Options {
	memtable := cmp.Or(opts.MemtableSize, 16<<20)
	cache := cmp.Or(opts.CacheSize, 8<<20)
	log := pebbleLogger{opts.Logger, f, opts.Fatal}
	o := &pebble.Options{
		FS:       opts.FS,
		Lock:     s.lock,
		ReadOnly: opts.ReadOnly,
		Logger:   log,
		// Pebble takes memtables out of the cache.
		CacheSize:                   cache + 2*memtable,
		MemTableSize:                uint64(memtable),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               64 << 20,
		FormatMajorVersion:          pebble.FormatNewest,
	}
	// A block that cannot be read fails what needs it, and nothing else: left to
	// itself Pebble would end the process.
	o.EventListener = &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) { log.Errorf("%s", info) },
		// A table that cannot be written, on a full disk for one, is tried again
		// without a pause until it can.
		BackgroundError: func(err error) {
			if f.background(err) {
				log.Errorf("a table cannot be written, trying again: %v", err)
			}
		},
	}
	o.BlockPropertyCollectors = []func() pebble.BlockPropertyCollector{func() pebble.BlockPropertyCollector {
		return sstable.NewBlockIntervalCollector(epochs, s.marks, nil)
	}}
	o.Experimental.CompactionScheduler = s.compactions
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// pebbleLogger passes what Pebble has to say to the server's log.
type pebbleLogger struct {
	log   *slog.Logger
	fault *fault
	end   func()
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("storage", "detail", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("storage", "detail", fmt.Sprintf(format, args...))
}

// Fatalf ends the process: Pebble calls it when the disk refuses a write, and
// from then on nothing could be answered OK.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	l.fault.set(errors.New(detail)) // before anybody could take the write for done
	l.log.Error("storage failed, the server stops: nothing that was answered OK is lost", "detail", detail)
	l.end()
}

// load reads apps and users into memory.
func (s *Store) load(readOnly bool) error {
	if err := s.checkFormat(readOnly); err != nil {
		return err
	}
	if err := s.beginEpoch(readOnly); err != nil {
		return err
	}
	if err := s.readApps(); err != nil {
		return err
	}
	return s.loadIndex(readOnly)
}

// readApps makes the apps there are, without users.
func (s *Store) readApps() error {
	return s.scan(tableApp, nil, func(key, _ []byte) error {
		id, err := parseAppKey(key)
		if err != nil {
			return err
		}
		s.apps[id] = &users{index: index.NewUsers()}
		return nil
	})
}

var formatKey = append([]byte{tableMeta}, "format"...)

func (s *Store) checkFormat(readOnly bool) error {
	value, closer, err := s.db.Get(formatKey)
	if err == nil {
		got := string(value)
		err = closer.Close()
		switch {
		case err != nil:
		case got == fmt.Sprint(FormatVersion):
			return nil
		case got != "1": // whose records this program reads
			return fmt.Errorf("format version %q is not known, this program reads up to %d: use a newer program", got, FormatVersion)
		}
	}
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	if readOnly {
		return nil
	}
	return s.db.Set(formatKey, fmt.Append(nil, FormatVersion), pebble.Sync)
}

// scan calls f for every key of a table, in order, but for blocks that filters
// leave out. Key and value are valid during the call.
func (s *Store) scan(table byte, filters []pebble.BlockPropertyFilter, f func(key, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}, PointKeyFilters: filters})
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

// Close makes everything durable and closes the store. Calls that are under way
// end with what their changes came to; later ones fail.
func (s *Store) Close() error {
	s.commit.stop()
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.loaded && !s.readOnly && errors.Is(s.commit.state(), errClosed) {
		if err := s.writeSnapshot(); err != nil {
			s.log.Warn("the snapshot of the index could not be written, the next start reads all records", "error", err)
		}
	}
	return errors.Join(s.db.Close(), s.lock.Close())
}

// enter keeps the database open until leave.
func (s *Store) enter() error {
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return errClosed
	}
	return nil
}

func (s *Store) leave() { s.life.RUnlock() }

// Ready tells why the store takes no changes; nil if it does.
func (s *Store) Ready() error { return cmp.Or(s.commit.state(), s.commit.fault.trouble()) }

// isLocked tells whether locking a directory failed because another process
// holds the lock, and not because the file of the lock could not be opened.
func isLocked(err error) bool {
	_, opening := errors.AsType[*fs.PathError](err)
	return !opening
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// newIdentity is a random number that is not 0.
func newIdentity() uint64 { return rand.Uint64() | 1 }
