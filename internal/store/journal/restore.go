package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Restore makes a data directory of a backup, which begins a new history: positions go
// on, but no file of the directory before fits the new one, nor the other way round. So
// it does not take the files of the backup for its own:
//
//   - The groups of the backup, and of segments that were kept since if a later moment is
//     wanted, make the memory as in a start, and are applied to a copy of the tables.
//   - The memory becomes the first checkpoint, at the position of the last of these groups.
//   - The log begins with the group after it, which holds what the restoring itself changes,
//     if only that it has happened.
//
// While this is going on a file says so, and nobody opens the directory.
const unrestoredFile = "restore-not-finished"

// RestoreOptions tunes a restore.
type RestoreOptions struct {
	// Until is the moment of which the directory is to be: groups of that second are in
	// it, later ones are not. Zero: the end of the log.
	Until time.Time
	// Logs are directories with segments that go on where the backup ends.
	Logs     []string
	Progress func(done, total int64) // of bytes; may be nil

	// Finish is called with the memory as it was, and with the tables that belong to
	// it. What add adds becomes the first group of the new history.
	Finish func(v *View, add func(app uint32, write func(*Batch))) error
}

// Restored says what a restore made.
type Restored struct {
	Backup Manifest
	End    Pos   // position of the last group of the old history
	Second int64 // of that group, Unix time
	Ended  bool  // no later group was found: the log ends there
}

// A TooEarly is the error of a moment that a backup cannot be restored to.
type TooEarly struct {
	Until    time.Time
	Earliest time.Time // that is possible
}

func (e *TooEarly) Error() string {
	const layout = time.RFC3339
	return fmt.Sprintf("the backup can be restored to %s or later, not to %s: take an earlier backup, and the log kept since", e.Earliest.UTC().Format(layout), e.Until.UTC().Format(layout))
}

// cut says where the log of a restore ends.
type cut struct {
	until int64    // last second whose groups count; 0: all
	logs  []string // further directories with segments
	later bool     // there is a group after it
}

// newCut finds the segments. A data directory among the places for them stands for its log
// and its kept segments.
func newCut(fsys vfs.FS, r *RestoreOptions) (*cut, error) {
	c := new(cut)
	if !r.Until.IsZero() {
		c.until = r.Until.Unix()
	}
	for _, dir := range r.Logs {
		before := len(c.logs)
		for _, part := range []string{keptDir, logDir, ""} {
			place := fsys.PathJoin(dir, part)
			if _, err := fsys.Stat(place); isNotExist(err) && part != "" || part == "" && len(c.logs) > before {
				continue
			}
			numbers, err := segments(fsys, place)
			if damage, ok := errors.AsType[*Damage](err); ok {
				return nil, fmt.Errorf("%s holds other files than segments of a log, as %s", place, damage.File)
			}
			if err != nil {
				return nil, err
			}
			if len(numbers) > 0 {
				c.logs = append(c.logs, place)
			}
		}
		if len(c.logs) == before {
			return nil, fmt.Errorf("%s holds no segment of a log", dir)
		}
	}
	return c, nil
}

// Restore makes a directory, which does not exist or is empty, of a backup. Memory becomes
// what the directory has. If it fails, or ctx ends, nothing is left of it. The Options are
// those of Open.
func Restore(ctx context.Context, from, dir string, o Options, r RestoreOptions, m Memory, list ...*Table) (result Restored, err error) {
	o.setDefaults()
	fsys := o.FS
	if result.Backup, err = ReadBackup(ctx, fsys, from, r.Progress); err != nil {
		return result, err
	}
	remove, err := makeEmpty(fsys, dir, unrestoredFile)
	if err != nil {
		return result, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	unfinished := fsys.PathJoin(dir, unrestoredFile)
	if err := writeFile(fsys, unfinished, nil); err != nil {
		return result, err
	}
	if err := syncDir(fsys, dir); err != nil {
		return result, err
	}
	old := o
	old.ReadOnly = true
	if old.cut, err = newCut(fsys, &r); err != nil {
		return result, err
	}
	source, err := Open(from, old, m, list...)
	if err != nil {
		return result, err
	}
	result.End, result.Second, result.Ended = source.Applied(), source.second, !old.cut.later
	w := &restorer{ctx: ctx, source: source, options: o, fs: fsys, dir: dir, memory: m, list: list}
	err = w.run(from, result.Backup, r)
	if err := errors.Join(err, source.Close()); err != nil {
		return result, err
	}
	for _, part := range []string{tablesDir, logDir, checkpointDir, ""} {
		if err := syncDir(fsys, fsys.PathJoin(dir, part)); err != nil {
			return result, err
		}
	}
	if err := fsys.Remove(unfinished); err != nil {
		return result, err
	}
	if err := syncDir(fsys, dir); err != nil {
		return result, err
	}
	syncAncestors(fsys, dir)
	return result, nil
}

// restorer writes the directory of a restore.
type restorer struct {
	ctx     context.Context //nolint:containedctx // it lives as long as one Restore
	source  *DB             // the backup, and the memory made from it
	options Options
	fs      vfs.FS
	dir     string
	memory  Memory
	list    []*Table
	tables  *tables
}

func (w *restorer) run(from string, m Manifest, r RestoreOptions) error {
	for _, part := range []string{tablesDir, logDir, checkpointDir} {
		if err := w.fs.MkdirAll(w.fs.PathJoin(w.dir, part), 0o700); err != nil {
			return err
		}
	}
	if err := w.checkRoom(m); err != nil {
		return err
	}
	if err := w.copyTables(from, m, r.Progress); err != nil {
		return err
	}
	var err error
	f := &fault{log: w.options.Logger} // Pebble tells it some errors, and nobody else
	w.tables, err = openTables(w.dir, &w.options, nil, f, false, w.list)
	if err != nil {
		return err
	}
	err = w.write(r)
	return errors.Join(err, w.tables.db.Close(), f.err())
}

// checkRoom returns an error if the disk has no room for what is restored, which is about
// as large as the backup: Pebble would try again and again to write a table.
func (w *restorer) checkRoom(m Manifest) error {
	usage, err := w.fs.GetDiskUsage(w.dir)
	if err != nil {
		return nil // it is not known here
	}
	if need := uint64(m.Size() + memtables*w.options.MemtableSize); usage.AvailBytes < need {
		return fmt.Errorf("the disk of %s has room for %d bytes, restoring needs %d", w.dir, usage.AvailBytes, need)
	}
	return nil
}

// copyTables copies the files of the tables.
func (w *restorer) copyTables(from string, m Manifest, progress func(done, total int64)) error {
	read := m.Size() // when it was verified
	c := &copier{ctx: w.ctx, fs: w.fs, progress: progress, done: read, total: read}
	var files []BackupFile
	for _, f := range m.Files {
		if part, _, _ := bytes.Cut([]byte(f.Name), []byte("/")); string(part) == tablesDir {
			files = append(files, f)
			c.total += f.Bytes
		}
	}
	for _, f := range files {
		sum, err := c.copy(w.fs.PathJoin(from, f.Name), w.fs.PathJoin(w.dir, f.Name), f.Bytes)
		if err == nil && sum != f.SHA256 {
			err = &Damage{w.fs.PathJoin(from, f.Name), -1, "its checksum is wrong: bytes have changed"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write makes tables, checkpoint and log of the new history.
func (w *restorer) write(r RestoreOptions) error {
	end := w.source.Applied()
	if err := w.applyTables(end); err != nil {
		return err
	}
	history := rand.Uint64() | 1
	for history == w.source.tables.history {
		history = rand.Uint64() | 1
	}
	if err := w.tables.begin(history); err != nil {
		return err
	}
	blocks, err := w.firstGroup(r)
	if err != nil {
		return err
	}
	if err := w.checkpoint(end); err != nil {
		return err
	}
	segment, err := createSegment(w.fs, w.fs.PathJoin(w.dir, logDir), 1, history)
	if err != nil {
		return err
	}
	size := len(blocks)
	group, chain := closeGroup(end+1, blocks, max(w.source.second, time.Now().Unix()), w.source.chain)
	err = segment.append(end+1, group)
	if err := errors.Join(err, segment.close()); err != nil {
		return err
	}
	if err := w.tables.apply(end+1, chain, group[groupHeader:size]); err != nil {
		return err
	}
	return w.tables.sync()
}

// applyTables applies the groups that the copy of the tables lacks.
func (w *restorer) applyTables(end Pos) error {
	position := w.tables.position
	if position == end {
		return nil
	}
	log := w.source.newLogReader(position)
	err := log.read(func(info groupInfo, blocks []byte, _ int) error {
		switch {
		case w.ctx.Err() != nil:
			return context.Cause(w.ctx)
		case info.pos > end:
			return errEnough
		case info.pos <= position:
			return nil
		}
		return w.tables.apply(info.pos, info.chain, blocks)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// firstGroup returns the first group of the new history, with room for its header.
func (w *restorer) firstGroup(r RestoreOptions) ([]byte, error) {
	group := make([]byte, groupHeader)
	if r.Finish != nil {
		err := r.Finish(&View{reader: w.tables.reader}, func(app uint32, write func(*Batch)) {
			var b Batch
			if write(&b); len(b.entries) > 0 {
				group = binary.AppendUvarint(group, uint64(app))
				group = appendBytes(group, b.entries)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(group) == groupHeader {
		group = appendBytes(binary.AppendUvarint(group, 0), nil)
	}
	return group, w.source.checkBlocks(group[groupHeader:])
}

// checkpoint writes the memory.
func (w *restorer) checkpoint(end Pos) error {
	db := &DB{dir: w.dir, opts: w.options, tables: w.tables, memory: w.memory}
	db.applied.Store(uint64(end))
	db.groups = []*group{db.newGroup(end + 1)}
	c := checkpoint{pos: end, chain: w.source.chain, second: time.Now().Unix()}
	_, err := db.saveMemory(w.ctx, db.path(checkpointDir, checkpointName(end)), c, false)
	return err
}

// begin begins a history in tables that have another.
func (t *tables) begin(history uint64) error {
	t.history = history
	return t.db.Set(historyKey, binary.BigEndian.AppendUint64(nil, history), pebble.Sync)
}

// cutter returns f for the groups that count, and an errEnough after them.
func (r *replay) cutter(f func(groupInfo, []byte, int) error) func(groupInfo, []byte, int) error {
	c := r.db.opts.cut
	if c == nil || c.until == 0 {
		return f
	}
	needed := max(r.begin.pos, r.db.tables.position)
	return func(info groupInfo, blocks []byte, size int) error {
		if !c.later && info.second <= c.until {
			return f(info, blocks, size)
		}
		if c.later = true; info.pos > needed && r.log.next > needed {
			return errEnough
		}
		if info.pos < needed {
			return nil // the time of the group at that position is asked for
		}
		return &TooEarly{time.Unix(c.until, 0), time.Unix(info.second, 0)}
	}
}
