package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A backup of an open directory is of one moment, and makes no change wait.
//
// What it needs are files of which no byte changes any more: the newest checkpoint, at a
// position C; the tables, of which Pebble makes a copy at a position P, after C; and the
// log from C on, up to a position E at or after P, which is durable.
// Checkpoints and log would be removed when the next checkpoint is written, and it takes
// minutes to copy them. To hold the next checkpoint back, or the trimming after it, for so
// long would let the log grow without a bound. So the files are linked first, beside each
// other in a directory of the data directory, while no checkpoint is written. That takes
// moments. Then links are copied, and it does not matter what becomes of the files' other
// names.
//
// The last segment grows while it is copied. It is copied up to the byte at which the group
// E ends.
const backupDir = "backup.tmp"

// backupLog is the part of CheckpointLog that the log since the last checkpoint may have
// without another checkpoint before a backup: a quarter.
const backupLog = 4

var (
	errBackupRuns = errors.New("a backup is being made already")
	errLinks      = errors.New("the file system of the data directory has no hard links, and the log has become very long while its files were copied: no checkpoint could be written meanwhile")
)

// BackupOptions tunes a backup.
type BackupOptions struct {
	Paced    bool                    // no faster than a checkpoint is written
	Progress func(done, total int64) // of bytes; may be nil
}

// logEnd is where the log ends that is durable and applied.
type logEnd struct {
	segment uint64
	bytes   int64 // of that segment
	second  int64 // of the last group
}

// Backup copies the directory as it is at one moment to another, which does not exist or
// is empty. If it fails, or ctx ends, nothing is left of the copy.
func (db *DB) Backup(ctx context.Context, dir string, o BackupOptions) (m Manifest, err error) {
	if db.opts.ReadOnly {
		return m, errReadOnly
	}
	if err := db.enter(); err != nil {
		return m, err
	}
	defer db.leave()
	select {
	case db.backups <- struct{}{}:
	default:
		return m, errBackupRuns
	}
	defer func() { <-db.backups }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // Close waits for whoever uses the tables
		select {
		case <-db.ends:
			cancel(errClosed)
		case <-ctx.Done():
		}
	}()
	b := &backup{db: db, dir: dir, temp: db.path(backupDir), m: Manifest{Format: manifestFormat, Begun: time.Now().UTC().Truncate(time.Second)}}
	remove, err := b.prepare()
	if err != nil {
		return m, err
	}
	defer func() {
		err = errors.Join(err, db.opts.FS.RemoveAll(b.temp))
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	if err := db.checkpointForBackup(ctx); err != nil {
		return m, err
	}
	if err := b.freeze(ctx); err != nil {
		return m, err
	}
	if err := b.copy(ctx, o); err != nil {
		return m, err
	}
	db.opts.Logger.Info("backup written", "dir", dir, "position", b.m.End, "bytes", b.m.Size(), "duration", time.Since(b.m.Begun).Round(time.Second))
	return b.m, nil
}

// A backup is one that is being made.
type backup struct {
	db    *DB
	dir   string
	temp  string
	files []frozen // in the order of their names
	m     Manifest
}

// frozen is a file of which no byte up to its size changes.
type frozen struct {
	name string // below temp and dir
	size int64
}

// prepare creates the directories. It returns what removes them with what is in them.
func (b *backup) prepare() (remove func() error, err error) {
	fsys := b.db.opts.FS
	if err := b.apart(); err != nil {
		return nil, err
	}
	remove, err = makeEmpty(fsys, b.dir, manifestFile+tempSuffix)
	if err != nil {
		return nil, err
	}
	for _, part := range []string{"", tablesDir, logDir, checkpointDir} {
		if err == nil {
			err = fsys.MkdirAll(fsys.PathJoin(b.dir, part), 0o700)
		}
	}
	// From now on nobody takes it for a data directory.
	if err == nil {
		err = writeFile(fsys, fsys.PathJoin(b.dir, manifestFile+tempSuffix), nil)
	}
	if err == nil {
		err = fsys.RemoveAll(b.temp) // of a backup that could not remove it
	}
	// The database of Pebble's copy is made for everybody to read.
	for _, part := range []string{"", logDir, checkpointDir} {
		if err == nil {
			err = fsys.MkdirAll(fsys.PathJoin(b.temp, part), 0o700)
		}
	}
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	return remove, nil
}

// apart returns an error if the directory of the backup is the data directory, or in it.
func (b *backup) apart() error {
	fsys := b.db.opts.FS
	data, dir := absolute(fsys, b.db.dir), absolute(fsys, b.dir)
	own, err := fsys.Stat(data)
	if err != nil {
		return err
	}
	for {
		info, err := fsys.Stat(dir)
		if dir == data || err == nil && inode(info) != 0 && inode(info) == inode(own) && info.DeviceID() == own.DeviceID() {
			return fmt.Errorf("the backup %s would be in the data directory %s", b.dir, b.db.dir)
		}
		up := fsys.PathDir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}

// absolute returns the path of a file from the root on.
func absolute(fsys vfs.FS, path string) string {
	if vfs.Root(fsys) == vfs.Default {
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
	}
	return filepath.Clean(path)
}

// makeEmpty creates a directory, or finds it empty. It returns what removes it again with
// everything in it, or what is in it if it was there. The file with the name last, which
// says that the directory is not complete, is there as long as anything else is.
func makeEmpty(fsys vfs.FS, dir, last string) (remove func() error, err error) {
	names, err := fsys.List(dir)
	there := err == nil
	if err != nil && !isNotExist(err) {
		return nil, err
	}
	for _, name := range names {
		if !isForeign(name) {
			return nil, fmt.Errorf("%s is not empty: there is %s in it", dir, name)
		}
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if there && vfs.Root(fsys) == vfs.Default {
		_ = os.Chmod(dir, 0o700) // the files in it are private all the same
	}
	return func() error {
		names, err := fsys.List(dir)
		for _, name := range names {
			if err == nil && name != last && !isForeign(name) {
				err = fsys.RemoveAll(fsys.PathJoin(dir, name))
			}
		}
		if err != nil {
			return err
		}
		err = syncDir(fsys, dir)
		if there {
			return errors.Join(err, ignoreMissing(fsys.Remove(fsys.PathJoin(dir, last))))
		}
		return errors.Join(err, fsys.RemoveAll(dir))
	}, nil
}

// checkpointForBackup writes a checkpoint if there is none, or if the log since the last is
// long: it would have to be copied, and read by whoever restores it.
func (db *DB) checkpointForBackup(ctx context.Context) error {
	c := &db.checkpoints
	c.mu.Lock()
	needed := c.last.pos == 0 || c.since > c.limit/backupLog
	c.mu.Unlock()
	if !needed {
		return nil
	}
	_, err := db.writeCheckpoint(ctx, true)
	return err
}

// freeze links what the backup holds. No checkpoint is written meanwhile, and nothing is
// removed.
func (b *backup) freeze(ctx context.Context) error {
	db, c := b.db, &b.db.checkpoints
	select {
	case c.one <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.one }()
	c.mu.Lock()
	last, first := c.last, maps.Clone(c.first)
	c.mu.Unlock()
	fsys := db.opts.FS
	if err := db.tables.db.Checkpoint(fsys.PathJoin(b.temp, tablesDir), pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("copying the tables: %w", err)
	}
	position, err := db.positionOf(b.temp)
	if err != nil {
		return err
	}
	// The group may be in the tables and nobody has heard of it yet.
	if err := db.Wait(ctx, position); err != nil {
		return err
	}
	db.mu.Lock()
	end, pos, chain := db.tail, db.Applied(), db.appliedChain
	db.mu.Unlock()
	b.m.History, b.m.Chain = hexadecimal(db.tables.history), hexadecimal(chain)
	b.m.Checkpoint, b.m.Tables, b.m.End, b.m.Second = last.pos, position, pos, end.second
	if err := b.listTables(); err != nil {
		return err
	}
	if last.pos > 0 {
		if err := b.link(ctx, checkpointDir, checkpointName(last.pos), last.size); err != nil {
			return err
		}
	}
	numbers, err := segments(fsys, db.path(logDir))
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if next := firstAfter(first, n); next != 0 && next <= last.pos+1 || n > end.segment {
			continue
		}
		size := end.bytes
		if n != end.segment {
			info, err := fsys.Stat(db.path(logDir, segmentName(n)))
			if err != nil {
				return err
			}
			size = info.Size()
		}
		if err := b.link(ctx, logDir, segmentName(n), size); err != nil {
			return err
		}
	}
	slices.SortFunc(b.files, func(x, y frozen) int { return strings.Compare(x.name, y.name) })
	return nil
}

func hexadecimal(n uint64) string { return fmt.Sprintf("%016x", n) }

// positionOf returns the position of the tables in another directory.
func (db *DB) positionOf(dir string) (Pos, error) {
	o := db.opts
	o.FS = readOnlyFS{o.FS}
	f := &fault{log: o.Logger}
	t, err := openTables(dir, &o, nil, f, true, slices.Collect(maps.Values(db.tables.known)))
	if err != nil {
		return 0, err
	}
	return t.position, errors.Join(t.db.Close(), f.err())
}

// listTables lists the files of Pebble's copy.
func (b *backup) listTables() error {
	fsys := b.db.opts.FS
	names, err := fsys.List(fsys.PathJoin(b.temp, tablesDir))
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := fsys.Stat(fsys.PathJoin(b.temp, tablesDir, name))
		if err != nil {
			return err
		}
		b.files = append(b.files, frozen{tablesDir + "/" + name, info.Size()})
	}
	return nil
}

// link creates a second name for a file of the directory, or copies the file where there
// are no links.
func (b *backup) link(ctx context.Context, part, name string, size int64) error {
	db, fsys := b.db, b.db.opts.FS
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	from, to := db.path(part, name), fsys.PathJoin(b.temp, part, name)
	if err := fsys.Link(from, to); err != nil {
		if db.checkpoints.behind.Load() {
			return errLinks
		}
		if err := vfs.LinkOrCopy(fsys, from, to); err != nil {
			return err
		}
	}
	b.files = append(b.files, frozen{part + "/" + name, size})
	return nil
}

// copy copies the files, and writes the manifest when they are durable.
func (b *backup) copy(ctx context.Context, o BackupOptions) error {
	fsys := b.db.opts.FS
	c := &copier{ctx: ctx, fs: fsys, progress: o.Progress}
	if o.Paced {
		c.pace = checkpointPace
	}
	for _, f := range b.files {
		c.total += f.size
	}
	if usage, err := fsys.GetDiskUsage(b.dir); err == nil && usage.AvailBytes < uint64(c.total) {
		return fmt.Errorf("the disk of %s has room for %d bytes, the backup has %d", b.dir, usage.AvailBytes, c.total)
	}
	for _, f := range b.files {
		sum, err := c.copy(fsys.PathJoin(b.temp, f.name), fsys.PathJoin(b.dir, f.name), f.size)
		if err != nil {
			return err
		}
		b.m.Files = append(b.m.Files, BackupFile{f.name, f.size, sum})
	}
	// The manifest gets its name when everything else has: a directory may lose the
	// names that it was given last, in any order.
	for _, part := range []string{tablesDir, logDir, checkpointDir, ""} {
		if err := syncDir(fsys, fsys.PathJoin(b.dir, part)); err != nil {
			return err
		}
	}
	b.m.Ended = time.Now().UTC().Truncate(time.Second)
	text, err := b.m.encode()
	if err != nil {
		return err
	}
	name := fsys.PathJoin(b.dir, manifestFile)
	if err := writeFile(fsys, name+tempSuffix, text); err != nil {
		return err
	}
	if err := fsys.Rename(name+tempSuffix, name); err != nil {
		return err
	}
	if err := syncDir(fsys, b.dir); err != nil {
		return err
	}
	syncAncestors(fsys, b.dir)
	return nil
}

// writeFile writes a file durably.
func writeFile(fsys vfs.FS, name string, b []byte) error {
	f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(cmp.Or(err, f.Sync()), f.Close())
}
