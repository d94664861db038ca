package journal

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Table holds records that need not be in memory. A key is the byte of the table,
// the SDKAppID, big-endian, and what names the record in the app.
type Table struct {
	ID     byte
	Name   string // for people: "nickname"
	PerApp bool   // deleting an app clears it
	// AtStart is for few records, without which a start cannot go on: they are read
	// before the directory is opened for writing.
	AtStart bool
	// Check returns what is wrong with a record; nil if nothing is.
	Check func(key, value []byte) error
}

// tablesDir is where the tables are, in a Pebble database. Its own log is written
// and not waited for: what it loses in a crash is applied again from ours.
const tablesDir = "db"

// The table of what a directory is. Every group is applied to the tables with its
// position and with one more added to the count of groups. If a file of the
// database is lost, or an older list of its files is taken for the newest, the
// count is less than the position: what the file held is missing, though what came
// after it is there.
const metaTable = 0

var (
	formatKey   = []byte("\x00format")
	historyKey  = []byte("\x00history")
	positionKey = []byte("\x00position")
	countKey    = []byte("\x00count")
)

// formatVersion is the version of what is on disk. doc/storage-format.md.
const formatVersion = 3

// pebbleFormat is the format of Pebble's own files. It is raised by decision: an
// older program then no longer opens a directory.
const pebbleFormat = pebble.FormatValueSeparation

// memtables is how many memtables there are at most before writes wait.
const memtables = 4

// Merger merges numbers: those of the table of what the directory is are added up,
// of those of other tables the largest stays.
var Merger = &pebble.Merger{
	Name: "tidings.numbers",
	Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		n := &number{adds: len(key) > 0 && key[0] == metaTable}
		return n, n.MergeNewer(value)
	},
}

type number struct {
	adds  bool
	value uint64
}

// MergeNewer merges a number.
func (n *number) MergeNewer(value []byte) error {
	if len(value) != 8 {
		return fmt.Errorf("a number of %d bytes, want 8", len(value))
	}
	if v := binary.BigEndian.Uint64(value); n.adds {
		n.value += v
	} else {
		n.value = max(n.value, v)
	}
	return nil
}

// MergeOlder merges a number.
func (n *number) MergeOlder(value []byte) error { return n.MergeNewer(value) }

// Finish returns the number.
func (n *number) Finish(bool) ([]byte, io.Closer, error) {
	return binary.BigEndian.AppendUint64(nil, n.value), nil, nil
}

// tables is the database.
type tables struct {
	db       *pebble.DB
	reader   pebble.Reader // db, or in a directory open for reading only, what db lacks over it
	known    map[byte]*Table
	position Pos    // up to which groups were applied when it was opened
	chain    uint64 // of the group at that position
	history  uint64
	erased   atomic.Int64 // second since which there may be records that were deleted or replaced; 0: there are none
}

// unreadable is the error of a database that Pebble does not open.
type unreadable struct {
	path string
	err  error
}

func (e *unreadable) Error() string {
	return fmt.Sprintf("the database in %s cannot be opened: %v", e.path, e.err)
}
func (e *unreadable) Unwrap() error { return e.err }

func openTables(dir string, o *Options, lock *pebble.Lock, f *fault, readOnly bool, list []*Table) (*tables, error) {
	t := &tables{known: map[byte]*Table{}}
	for _, table := range list {
		if table.ID == 0 || t.known[table.ID] != nil {
			panic(fmt.Sprintf("journal: the byte of table %s, %d, is taken", table.Name, table.ID))
		}
		t.known[table.ID] = table
	}
	path := o.FS.PathJoin(dir, tablesDir)
	var err error
	if t.db, err = pebble.Open(path, pebbleOptions(o, lock, f, readOnly)); err != nil {
		return nil, &unreadable{path, err}
	}
	t.reader = t.db
	if err := t.readMeta(path); err != nil {
		return nil, errors.Join(err, t.db.Close())
	}
	return t, nil
}

// readMeta reads what the directory is.
func (t *tables) readMeta(path string) error {
	format, err := get(t.db, formatKey)
	if err != nil {
		return err
	}
	switch string(format) {
	case "", fmt.Sprint(formatVersion):
	case "1", "2":
		return fmt.Errorf("format %s is that of an earlier program, and this one reads %d: export the users of each app with that program (tidings export) and import them into a new directory", format, formatVersion)
	default:
		return fmt.Errorf("format version %q is not known, this program reads %d: use a newer program", format, formatVersion)
	}
	count, err := t.number(countKey)
	history, historyErr := t.number(historyKey)
	at, positionErr := get(t.db, positionKey)
	if err := cmp.Or(err, historyErr, positionErr); err != nil {
		return err
	}
	if len(at) == 16 {
		t.position, t.chain = Pos(binary.BigEndian.Uint64(at)), binary.BigEndian.Uint64(at[8:])
	} else if at != nil {
		return &Damage{path, -1, fmt.Sprintf("meta %q has %d bytes, want 16", positionKey[1:], len(at))}
	}
	if count != uint64(t.position) {
		return &Damage{path, -1, fmt.Sprintf("the tables say that %d groups are applied, and have %d of them", t.position, count)}
	}
	t.history = history
	return nil
}

// overlay puts what the database lacks over it, for a directory that is open for
// reading only.
func (t *tables) overlay() *pebble.Batch {
	b := t.db.NewIndexedBatch()
	t.reader = b
	return b
}

// create writes the format and a history into an empty database.
func (t *tables) create(history uint64) error {
	b := t.db.NewBatch()
	must(b.Set(formatKey, fmt.Append(nil, formatVersion), nil))
	must(b.Set(historyKey, binary.BigEndian.AppendUint64(nil, history), nil))
	t.history = history
	return errors.Join(t.db.Apply(b, pebble.Sync), b.Close())
}

// snapshot returns the tables as they are now, and a function that ends the snapshot.
func (t *tables) snapshot() (reader pebble.Reader, end func() error) {
	if t.reader != t.db { // open for reading only
		return t.reader, func() error { return nil }
	}
	s := t.db.NewSnapshot()
	return s, s.Close
}

// get returns the value of a key, not nil even if it is empty; nil if there is none.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]byte{}, value...), closer.Close()
}

func (t *tables) number(key []byte) (uint64, error) {
	value, err := get(t.db, key)
	if err != nil || value == nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, &Damage{tablesDir, -1, fmt.Sprintf("meta %q has %d bytes, want 8", key[1:], len(value))}
	}
	return binary.BigEndian.Uint64(value), nil
}

// must is for writes into a batch, which fail only if the batch is misused.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("journal: writing into a batch: %v", err))
	}
}

var one = binary.BigEndian.AppendUint64(nil, 1)

// apply applies the changes of a group to the tables: all of them or none. It does
// not wait for the disk.
func (t *tables) apply(pos Pos, chain uint64, blocks []byte) error {
	b := t.db.NewBatch()
	if err := t.put(b, blocks); err != nil {
		return errors.Join(err, b.Close())
	}
	return t.finish(b, pos, chain)
}

// put puts what the entries of a group change into a batch.
func (t *tables) put(b *pebble.Batch, blocks []byte) error {
	t.erased.CompareAndSwap(0, time.Now().Unix())
	return eachEntry(blocks, func(app uint32, e entry) error {
		switch e.kind {
		case entrySet:
			return b.Set(tableKey(e.table, app, e.key), e.value, nil)
		case entryDelete:
			return b.Delete(tableKey(e.table, app, e.key), nil)
		case entryRaise:
			return b.Merge(tableKey(e.table, app, e.key), e.value, nil)
		case entryClear:
			for _, table := range t.known {
				if table.PerApp {
					must(b.DeleteRange(tableKey(table.ID, app, nil), tableEnd(table.ID, app), nil))
				}
			}
		}
		return nil
	})
}

// finish applies a batch as what a group changes.
func (t *tables) finish(b *pebble.Batch, pos Pos, chain uint64) error {
	var at [16]byte
	binary.BigEndian.PutUint64(at[:], uint64(pos))
	binary.BigEndian.PutUint64(at[8:], chain)
	must(b.Set(positionKey, at[:], nil))
	must(b.Merge(countKey, one, nil))
	if err := t.db.Apply(b, pebble.NoSync); err != nil {
		return err
	}
	return b.Close()
}

// check returns why an entry cannot be applied.
func (t *tables) check(e entry) error {
	if e.kind == entryMemory || e.kind == entryClear {
		return nil
	}
	table := t.known[e.table]
	if table == nil {
		return fmt.Errorf("table %d is not known", e.table)
	}
	if e.kind != entryDelete && table.Check != nil {
		if err := table.Check(e.key, e.value); err != nil {
			return fmt.Errorf("%s %q: %w", table.Name, e.key, err)
		}
	}
	return nil
}

// compact writes the records anew, without those that were deleted or replaced since
// it was last called.
func (t *tables) compact(ctx context.Context) error {
	since := t.erased.Swap(0)
	err := t.db.Compact(ctx, []byte{metaTable + 1}, []byte{0xff}, false)
	if err != nil {
		t.erased.Store(since)
	}
	return err
}

// sync returns when what was applied is durable.
func (t *tables) sync() error {
	return t.db.LogData([]byte("tidings"), pebble.Sync)
}

func tableKey(table byte, app uint32, key []byte) []byte {
	b := make([]byte, 0, 5+len(key))
	b = binary.BigEndian.AppendUint32(append(b, table), app)
	return append(b, key...)
}

// tableEnd is the first key after those of an app in a table.
func tableEnd(table byte, app uint32) []byte {
	if app == 1<<32-1 {
		return []byte{table + 1}
	}
	return tableKey(table, app+1, nil)
}

// readOnlyFS makes no file of a lock: where there is none, as in a copy, or none
// can be made, no process that writes has the database open.
type readOnlyFS struct{ vfs.FS }

// Lock locks a file if that is there.
func (f readOnlyFS) Lock(name string) (io.Closer, error) {
	if _, err := f.Stat(name); isNotExist(err) {
		return io.NopCloser(nil), nil
	}
	lock, err := f.FS.Lock(name)
	if errors.Is(err, syscall.EROFS) {
		return io.NopCloser(nil), nil
	}
	return lock, err
}

// Unwrap returns the file system below.
func (f readOnlyFS) Unwrap() vfs.FS { return f.FS }

func pebbleOptions(o *Options, lock *pebble.Lock, f *fault, readOnly bool) *pebble.Options {
	log := pebbleLogger{o.Logger, f}
	p := &pebble.Options{
		FS:       o.FS,
		Lock:     lock,
		ReadOnly: readOnly,
		Logger:   log,
		Merger:   Merger,
		// Pebble takes memtables out of the cache.
		CacheSize:                   o.CacheSize + 2*o.MemtableSize,
		MemTableSize:                uint64(o.MemtableSize),
		MemTableStopWritesThreshold: memtables,
		MaxOpenFiles:                o.OpenTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               64 << 20,
		FormatMajorVersion:          pebbleFormat,
	}
	// A block that cannot be read fails what needs it, and nothing else: left to
	// itself Pebble would end the process.
	p.EventListener = &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) { log.Errorf("%s", info) },
		// A table that cannot be written, on a full disk for one, is tried again
		// without a pause until it can.
		BackgroundError: func(err error) {
			if f.background(err) {
				log.Errorf("a table cannot be written, trying again: %v", err)
			}
		},
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// pebbleLogger passes what Pebble has to say to the server's log.
type pebbleLogger struct {
	log   *slog.Logger
	fault *fault
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("storage", "detail", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("storage", "detail", fmt.Sprintf(format, args...))
}

// Fatalf ends the store. Pebble calls it when the disk refuses a write.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.fault.fatal(fmt.Errorf(format, args...))
}
