// Package journal makes changes durable in groups: one write and one fsync for all
// requests of a moment.
//
// The log is the truth. A group of changes is on disk, whole, before anybody hears
// of it, and everything else is made from groups: the tables, which a Pebble
// database holds, and the memory, which belongs to whoever uses the package and is
// kept in checkpoints.
//
//	Commit ─► open group ─► one append to the log, one fsync ─► tables ─► Wait returns
//	start:  newest good checkpoint ─► the groups after it, to memory and tables
//
// Memory and tables are each at a position of the log. A start gives each the
// groups that it lacks, through the same functions that apply a group otherwise.
//
// A failure is final. What was handed to the log is answered OK, or nobody knows
// what became of it: the process ends, and the next start reads what is on disk.
package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store"
)

// Options tunes a DB. The zero value is good for one small node.
type Options struct {
	FS           vfs.FS       // default: the operating system's
	MemtableSize int64        // bytes of changed records in memory before they become a file; default 4 MiB
	CacheSize    int64        // bytes of table blocks in memory; default 8 MiB
	OpenTables   int          // files of tables kept open; default 1000
	Logger       *slog.Logger // default slog.Default()
	ReadOnly     bool         // changes nothing on disk, not even to recover

	Room          int           // bytes of changes that wait for the disk before further ones wait to be made; default 8 MiB
	SegmentSize   int64         // bytes of a file of the log; default 64 MiB
	CheckpointLog int64         // bytes of log after which a checkpoint is due, or half the size of the last if that is more; default 256 MiB
	KeepLog       time.Duration // how long segments of the log are kept that are needed no more; KeepAsBefore: as long as the last Open said; default none
	CheckpointAge time.Duration // after the last checkpoint was begun, when one is due if anything was changed; default 12 h, so that what is erased has left both within 24

	// Opening is called now and then while the directory is opened, by one goroutine, with
	// how far that is. Its error ends the opening, which then returns it. Nothing is
	// changed by an opening that ends before the tables.
	Opening func(store.Opening) error

	// Fatal ends the process. It is called once, when a change can no longer be
	// made durable; should it return, every change and every answer that rests on
	// one fails.
	Fatal func(error)

	cut *cut // of a restore, which reads a backup
}

func (o *Options) setDefaults() {
	o.FS = cmp.Or[vfs.FS](o.FS, vfs.Default)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.MemtableSize = cmp.Or(o.MemtableSize, 4<<20)
	o.CacheSize = cmp.Or(o.CacheSize, 8<<20)
	o.Room = cmp.Or(o.Room, 8<<20)
	o.SegmentSize = cmp.Or(o.SegmentSize, 64<<20)
	o.CheckpointLog = cmp.Or(o.CheckpointLog, 256<<20)
	o.CheckpointAge = cmp.Or(o.CheckpointAge, 12*time.Hour)
}

// Memory is the state that a user of the package keeps in memory, all of it from the log.
type Memory interface {
	// CheckEntry returns why Replay could not read an entry. Every entry is
	// checked before it is written, so that none keeps a later start from reading
	// the log. One goroutine calls it.
	CheckEntry(entry []byte) error
	// Replay applies an entry at a start, in the order of the log. A checkpoint
	// may hold some of the entries that come after its own position.
	Replay(pos Pos, app uint32, entry []byte) error
	// Save writes all of the memory for a checkpoint, beside changes. Everything of
	// the groups up to pos is in it. It returns the position of the last group of
	// which something is in it. It writes large pieces. Seal is DB.Seal.
	Save(ctx context.Context, pos Pos, seal func(Pos), w io.Writer) (Pos, error)
	// Load reads what Save wrote. The memory is empty.
	Load(r io.Reader, size int64) error
	// Loaded is called when the whole log has been replayed.
	Loaded() error
}

// InUse is the error of opening a data directory that another process has.
type InUse struct{ Dir string }

func (e *InUse) Error() string {
	return fmt.Sprintf("data directory %s is in use by another tidings process", e.Dir)
}

var (
	errClosed   = errors.New("the store is closed")
	errReadOnly = errors.New("the store is open for reading only")
	errBehind   = errors.New("no checkpoint could be written for long, and the log has become very long: changes are slowed")
)

// DB is an open directory. It is safe for concurrent use.
type DB struct {
	dir    string
	opts   Options
	lock   *pebble.Lock
	fault  *fault
	tables *tables
	memory Memory

	life   sync.Mutex
	closed bool           // the tables are in use no more; under life
	using  sync.WaitGroup // who uses the tables beside the committer; begun under life
	ending sync.Once
	ends   chan struct{} // closed when Close begins
	marked bool          // the directory has the marker of this DB

	backups chan struct{} // holds an element while a backup is made

	// The committer, in commit.go.
	applied atomic.Uint64 // every group up to this one is on disk and in the tables
	wake    chan struct{} // holds at most one token: there is a group to write, or the committer is to end
	done    chan struct{} // closed when the committer has ended

	mu           sync.Mutex
	room         chan struct{} // closed when there may be room again
	groups       []*group      // on its way or last written, then sealed ones, then the open one
	err          error         // set once: no further change is taken
	writers      int           // Commits that are under way
	spare        [][]byte      // memory of groups that were written
	waiting      int           // bytes of changes that are not applied yet
	waitingBulk  int           // of these, those of bulk writers
	closing      bool
	appliedChain uint64 // of the group at applied
	tail         logEnd // where that group ends
	observe      func(bytes int, took, sync time.Duration)

	// What follows belongs to the committer's goroutine.
	segment *segmentWriter
	roll    atomic.Bool       // a checkpoint was written: the next group begins a segment; set by anybody
	ahead   chan aheadSegment // the next segment, once it is asked for
	chain   uint64
	second  int64

	checkpoints checkpoints
	opening     opening // of the goroutine in Open
}

// Open opens a directory, which must exist, and brings memory and tables up to the end
// of the log. It fails with *InUse if another process has it, with *Damage if files
// are not as they were written.
func Open(dir string, o Options, m Memory, list ...*Table) (*DB, error) {
	o.setDefaults()
	db := &DB{
		dir: dir, opts: o, memory: m, fault: &fault{end: o.Fatal, log: o.Logger},
		ends: make(chan struct{}), backups: make(chan struct{}, 1), opening: opening{hook: o.Opening},
	}
	if o.ReadOnly {
		db.opts.FS = readOnlyFS{o.FS}
	}
	if err := db.claim(); err != nil {
		return nil, err
	}
	if err := db.start(list); err != nil {
		if db.tables != nil {
			err = errors.Join(err, db.tables.db.Close())
		}
		return nil, errors.Join(err, db.unmark(), db.lock.Close())
	}
	db.opening.hook = nil
	go db.run()
	ctx, cancel := context.WithCancel(context.Background())
	db.checkpoints.cancel = cancel
	if o.ReadOnly {
		close(db.checkpoints.ended)
	} else {
		go db.checkpoints.run(ctx, db)
	}
	return db, nil
}

func (db *DB) path(elem ...string) string {
	return db.opts.FS.PathJoin(append([]string{db.dir}, elem...)...)
}

// claim creates the directories of the parts if there is nothing yet, and locks them.
func (db *DB) claim() error {
	fsys, path := db.opts.FS, db.path(tablesDir)
	if err := db.refused(); err != nil {
		return err
	}
	have := map[string]bool{}
	for _, d := range []string{tablesDir, logDir, checkpointDir} {
		switch names, err := fsys.List(db.path(d)); {
		case isNotExist(err):
		case err != nil:
			return err
		default:
			// A directory that holds nothing may be one whose making was cut off.
			have[d] = d != tablesDir && len(names) > 0 || hasDatabase(names)
		}
	}
	if err := db.checkComplete(have); err != nil {
		return err
	}
	if db.opts.ReadOnly {
		if _, err := fsys.Stat(path); err != nil {
			return fmt.Errorf("no database in %s: %w", db.dir, err)
		}
	}
	if !db.opts.ReadOnly && !have[tablesDir] {
		for _, d := range []string{path, db.path(logDir), db.path(checkpointDir)} {
			if err := fsys.MkdirAll(d, 0o700); err != nil {
				return err
			}
		}
		syncAncestors(fsys, path)
	}
	var err error
	if db.lock, err = pebble.LockDirectory(path, fsys); err != nil {
		if isLocked(err) {
			return &InUse{db.dir}
		}
		return fmt.Errorf("locking %s: %w", path, err)
	}
	return nil
}

// refused returns why a directory is not opened although its parts may be good.
func (db *DB) refused() error {
	if _, err := db.opts.FS.Stat(db.path(unrestoredFile)); err == nil {
		return fmt.Errorf("%s is the directory of a restore that was not finished: remove it, and restore again", db.dir)
	}
	if db.opts.ReadOnly {
		return nil
	}
	if backup, err := IsBackup(db.opts.FS, db.dir); err != nil {
		return err
	} else if backup {
		return fmt.Errorf("%s is a backup, which must not change: make a data directory of it with tidings restore", db.dir)
	}
	return CheckCopied(db.opts.FS, db.dir)
}

// checkComplete returns an error if one of the three directories is missing and another
// was in use; have are those with files in them. All three are created, and synced, before
// the first file.
func (db *DB) checkComplete(have map[string]bool) error {
	if !have[tablesDir] {
		if have[logDir] || have[checkpointDir] {
			return &Damage{db.path(tablesDir), -1, "there is no database in it"}
		}
		return nil
	}
	_, logErr := db.opts.FS.Stat(db.path(logDir))
	_, checkpointErr := db.opts.FS.Stat(db.path(checkpointDir))
	switch {
	case isNotExist(logErr) && isNotExist(checkpointErr):
		return fmt.Errorf("%s is a directory of an earlier program, which this one does not read: export the users of each app with that program (tidings export) and import them into a new directory", db.dir)
	case isNotExist(logErr):
		return &Damage{db.path(logDir), -1, "the directory is missing"}
	case isNotExist(checkpointErr):
		return &Damage{db.path(checkpointDir), -1, "the directory is missing"}
	}
	return nil
}

// hasDatabase reports whether some files are those of a database.
func hasDatabase(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return name != "LOCK" })
}

// isLocked reports whether locking a directory failed because another process
// holds the lock, and not because the file of the lock could not be opened.
func isLocked(err error) bool {
	_, opening := errors.AsType[*fs.PathError](err)
	return !opening
}

// syncAncestors makes the directories above path durable, some of which may be
// new: what is synced in a directory is lost with it if a power loss takes back
// that it was made. Those above the data directory may not be ours to open;
// then they are not ours to have made either.
func syncAncestors(fsys vfs.FS, path string) {
	if fsys == vfs.Default {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
	}
	for up := fsys.PathDir(path); up != path; path, up = up, fsys.PathDir(up) {
		if d, err := fsys.OpenDir(up); err == nil {
			_ = d.Sync()
			_ = d.Close()
		}
	}
}

// start brings memory and tables up to the end of the log. Nothing is opened for writing
// before everything was read and found to fit.
func (db *DB) start(list []*Table) error {
	db.checkpoints.ended, db.checkpoints.wake = make(chan struct{}), make(chan struct{}, 1)
	db.checkpoints.one = make(chan struct{}, 1)
	names, err := db.opts.FS.List(db.path(tablesDir))
	if err != nil {
		return err
	}
	fresh := !hasDatabase(names)
	if fresh {
		err = db.create(list)
	} else {
		db.tables, err = openTables(db.dir, &db.opts, db.lock, db.fault, true, list)
	}
	unmade := err == nil && db.tables.history == 0
	if unmade || errors.Is(err, pebble.ErrDBDoesNotExist) {
		err = db.interrupted(list, err)
	}
	if err != nil {
		return err
	}
	r := &replay{db: db, memory: db.memory, log: db.newLogReader(0)}
	if err := r.run(list, fresh); err != nil {
		return err
	}
	last := r.log.next - 1
	db.applied.Store(uint64(last))
	db.chain, db.appliedChain, db.second = r.log.chain, r.log.chain, r.log.second
	db.room, db.wake, db.done = make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
	db.observe = func(int, time.Duration, time.Duration) {}
	db.groups = []*group{db.newGroup(last + 1)}
	if db.opts.ReadOnly {
		db.err = errReadOnly
		return nil
	}
	if err := db.removeUnfinished(); err != nil {
		return err
	}
	if err := db.openKept(); err != nil {
		return err
	}
	db.tables.erased.Store(cmp.Or(r.begin.second, time.Now().Unix()))
	return db.beginSegment(r)
}

// create creates the database of a new directory.
func (db *DB) create(list []*Table) (err error) {
	if db.opts.ReadOnly {
		return fmt.Errorf("no database in %s", db.dir)
	}
	if err := db.mark(); err != nil {
		return err
	}
	if db.tables, err = openTables(db.dir, &db.opts, db.lock, db.fault, false, list); err != nil {
		return err
	}
	return db.tables.create(rand.Uint64() | 1)
}

// interrupted creates the database of a directory whose first opening was cut off
// before its database had a history, or before there was a database that could be
// opened. It is damage if anything else is there.
func (db *DB) interrupted(list []*Table, opening error) error {
	numbers, err := segments(db.opts.FS, db.path(logDir))
	if err != nil {
		return err
	}
	all, err := db.list()
	if err != nil {
		return err
	}
	switch {
	case len(numbers) > 0 || len(all) > 0 || opening == nil && db.tables.position > 0:
		return errors.Join(&Damage{db.path(tablesDir), -1, "it does not say what it is"}, opening)
	case db.opts.ReadOnly:
		return fmt.Errorf("%s: the directory was never opened by a server", db.dir)
	}
	if t := db.tables; t != nil {
		db.tables = nil
		if err := t.db.Close(); err != nil {
			return err
		}
	}
	return db.create(list)
}

// syncLog syncs the log that was read. A killed process may have written groups that are
// only in the memory of the machine, and nothing may rest on them before they are on disk.
func (db *DB) syncLog() error {
	fsys, dir := db.opts.FS, db.path(logDir)
	numbers, err := segments(fsys, dir)
	if err != nil || len(numbers) == 0 {
		return err
	}
	for _, n := range numbers[max(0, len(numbers)-2):] { // the last may have been made ahead
		if err := syncFile(fsys, fsys.PathJoin(dir, segmentName(n))); err != nil {
			return err
		}
	}
	return syncDir(fsys, dir)
}

// beginSegment begins a segment after those that are there.
func (db *DB) beginSegment(r *replay) error {
	numbers, err := segments(db.opts.FS, db.path(logDir))
	if err != nil {
		return err
	}
	next := uint64(1)
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	if db.segment, err = createSegment(db.opts.FS, db.path(logDir), next, db.tables.history); err != nil {
		return err
	}
	db.checkpoints.first = r.log.first
	db.tail = logEnd{db.segment.number, db.segment.records.Size(), db.second}
	return nil
}

// syncFile syncs a file.
func syncFile(fsys vfs.FS, name string) error {
	f, err := fsys.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close makes everything durable and closes the directory. Calls that are under way
// end with what their changes came to; later ones fail.
func (db *DB) Close() (err error) {
	db.ending.Do(func() { err = db.close() })
	return err
}

func (db *DB) close() error {
	close(db.ends)
	db.checkpoints.stop()
	db.stop()
	var errs []error
	if !db.opts.ReadOnly && errors.Is(db.State(), errClosed) {
		db.checkpointAtEnd()
	}
	db.life.Lock()
	db.closed = true
	db.life.Unlock()
	db.using.Wait()
	if !db.opts.ReadOnly {
		errs = append(errs, db.closeSegments())
	}
	if b, ok := db.tables.reader.(*pebble.Batch); ok {
		errs = append(errs, b.Close())
	}
	errs = append(errs, db.tables.db.Close())
	if errors.Join(errs...) == nil && errors.Is(db.State(), errClosed) {
		errs = append(errs, db.unmark())
	}
	return errors.Join(append(errs, db.lock.Close())...)
}

// enter keeps the tables open until leave. It waits for nobody: some callers hold the
// lock of an app, which the checkpoint that Close writes asks for.
func (db *DB) enter() error {
	db.life.Lock()
	defer db.life.Unlock()
	if db.closed {
		return errClosed
	}
	db.using.Add(1)
	return nil
}

func (db *DB) leave() { db.using.Done() }

// Read calls f with the tables as they are, after every group that Wait has
// returned for.
func (db *DB) Read(f func(*View) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	return f(&View{reader: db.tables.reader})
}

// Ready returns why no change is taken, or why changes are slowed; nil if all is well.
func (db *DB) Ready() error {
	if err := cmp.Or(db.State(), db.fault.trouble()); err != nil {
		return err
	}
	if db.checkpoints.behind.Load() {
		return errBehind
	}
	return nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
