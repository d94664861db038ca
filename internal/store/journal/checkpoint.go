package journal

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"tidings/internal/store"
)

// A checkpoint is the memory in a file, so that a start need not read the whole log.
// It is written beside changes: what it holds of an app may be newer than its
// position, never older, and the memory knows how new.
//
//	8 bytes  magic
//	8 bytes  history of the directory
//	8 bytes  position: every group up to it is in the memory that follows
//	8 bytes  chain of the group at that position
//	8 bytes  second at which it was begun, Unix time
//	         what Memory.Save wrote
//	8 bytes  XXH3 of all before
//
// Numbers are little-endian. Two checkpoints are kept, and the log since the older:
// one that cannot be read loses nothing.
const (
	checkpointDir     = "checkpoints"
	tempSuffix        = ".new" // of one that is not complete yet
	checkpointMagic   = "TIDCKP\x003"
	checkpointHeader  = 40
	checkpointTrailer = 8
	checkpointsKept   = 2
	checkpointPiece   = 1 << 20     // bytes written and read at once
	checkpointPace    = 32 << 20    // bytes a second, at most: disk and processors are the requests' first of all
	checkpointRetry   = time.Minute // after one that failed
	behindTimes       = 4           // its limit is how long the log may be before changes are slowed
)

// checkpoint names a checkpoint; the zero one is that of an empty directory.
type checkpoint struct {
	pos    Pos
	chain  uint64
	second int64 // at which it was begun, Unix time
	file   string
	size   int64
}

// checkpoints knows which there are and when the next is due.
type checkpoints struct {
	one chan struct{}    // holds an element while one is written
	bad []*badCheckpoint // could not be read when the directory was opened; of whoever is in one

	mu      sync.Mutex
	last    checkpoint
	since   int64          // bytes of log since the last
	limit   int64          // of these, beyond which one is due
	changed bool           // there is a change in them
	settled bool           // nothing changed between the two that are kept, or since: nothing that was erased is left in them
	begun   time.Time      // of the log since the last, if there is no last
	retry   time.Time      // before which none is tried, after one that failed
	first   map[uint64]Pos // position of the first group of each segment that has one
	running bool
	took    time.Duration
	count   int

	behind atomic.Bool   // the log is behindTimes its limit
	wake   chan struct{} // holds at most one token: one may be due
	ended  chan struct{} // closed when run has ended
	cancel context.CancelFunc
}

func checkpointName(pos Pos) string { return fmt.Sprintf("%016x", uint64(pos)) }

// list returns the positions of the checkpoints that are there, newest first.
func (db *DB) list() ([]Pos, error) {
	names, err := db.opts.FS.List(db.path(checkpointDir))
	if err != nil {
		return nil, err
	}
	var all []Pos
	for _, name := range names {
		n, err := strconv.ParseUint(name, 16, 64)
		switch {
		case err == nil && name == checkpointName(Pos(n)):
			all = append(all, Pos(n))
		case !strings.HasSuffix(name, tempSuffix) && !isForeign(name): // else its writing was interrupted
			return nil, &Damage{db.path(checkpointDir, name), -1, "it is no checkpoint"}
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all, nil
}

// removeUnfinished removes what is left of checkpoints and backups whose writing was interrupted.
func (db *DB) removeUnfinished() error {
	names, err := db.opts.FS.List(db.path(checkpointDir))
	for _, name := range names {
		if err == nil && strings.HasSuffix(name, tempSuffix) {
			err = db.opts.FS.Remove(db.path(checkpointDir, name))
		}
	}
	if err == nil {
		err = db.opts.FS.RemoveAll(db.path(backupDir))
	}
	return err
}

// loadCheckpoint reads the newest good checkpoint into the memory.
func (db *DB) loadCheckpoint() (checkpoint, error) {
	all, err := db.list()
	if err != nil {
		return checkpoint{}, err
	}
	for _, pos := range all {
		c, err := db.openCheckpoint(pos, db.memory.Load)
		if db.opening.ended != nil {
			return c, db.opening.ended
		}
		var bad *badCheckpoint
		if err == nil || !errors.As(err, &bad) {
			return c, err
		}
		db.checkpoints.bad = append(db.checkpoints.bad, bad)
		db.opts.Logger.Warn("a checkpoint cannot be read, taking the one before and more of the log", "file", bad.file, "error", bad.err)
	}
	return checkpoint{}, nil
}

// badCheckpoint is the error of a checkpoint that is not as it was written.
type badCheckpoint struct {
	pos  Pos
	file string
	err  error
}

func (e *badCheckpoint) Error() string { return fmt.Sprintf("%s: %v", e.file, e.err) }
func (e *badCheckpoint) Unwrap() error { return e.err }

// openCheckpoint calls load with the content of a checkpoint once it has verified
// it: the memory it becomes is of many pieces that live and change on their own, and
// one buffer for all would outlive most, so the file is read twice.
func (db *DB) openCheckpoint(pos Pos, load func(io.Reader, int64) error) (checkpoint, error) {
	c := checkpoint{pos: pos, file: db.path(checkpointDir, checkpointName(pos))}
	f, err := db.opts.FS.Open(c.file, vfs.SequentialReadsOption)
	if err != nil {
		return c, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return c, err
	}
	c.size = stat.Size()
	if err := db.opening.begin(store.OpeningCheckpoint, 2*c.size); err != nil {
		return c, err
	}
	header := make([]byte, checkpointHeader)
	if err := db.verifyCheckpoint(f, &c, header); err != nil {
		return c, &badCheckpoint{pos, c.file, err}
	}
	c.chain = binary.LittleEndian.Uint64(header[24:])
	c.second = int64(binary.LittleEndian.Uint64(header[32:]))
	size := c.size - checkpointHeader - checkpointTrailer
	body := bufio.NewReaderSize(openingReader{io.NewSectionReader(f, checkpointHeader, size), &db.opening}, checkpointPiece)
	if err := load(body, size); err != nil {
		return c, &badCheckpoint{pos, c.file, err}
	}
	return c, nil
}

// verifyCheckpoint reads a whole file and compares checksum and header.
func (db *DB) verifyCheckpoint(f io.ReaderAt, c *checkpoint, header []byte) error {
	if c.size < checkpointHeader+checkpointTrailer {
		return fmt.Errorf("%d bytes are too few", c.size)
	}
	if _, err := f.ReadAt(header, 0); err != nil {
		return err
	}
	if magic := string(header[:8]); magic != checkpointMagic {
		return fmt.Errorf("it begins with %q, want %q", magic, checkpointMagic)
	}
	sum := xxh3.New()
	body := io.NewSectionReader(f, 0, c.size-checkpointTrailer)
	if _, err := io.CopyBuffer(sum, openingReader{body, &db.opening}, make([]byte, checkpointPiece)); err != nil {
		return err
	}
	var want [checkpointTrailer]byte
	if _, err := f.ReadAt(want[:], c.size-checkpointTrailer); err != nil {
		return err
	}
	switch {
	case sum.Sum64() != binary.LittleEndian.Uint64(want[:]):
		return errors.New("its checksum is wrong")
	case binary.LittleEndian.Uint64(header[8:]) != db.tables.history:
		return errors.New("it is of another data directory, or of this one before it was restored")
	case Pos(binary.LittleEndian.Uint64(header[16:])) != c.pos:
		return fmt.Errorf("it is of group %d and is named for group %d", binary.LittleEndian.Uint64(header[16:]), c.pos)
	}
	return nil
}

// loaded notes from which checkpoint the directory was opened, and how long the log
// since is.
func (c *checkpoints) loaded(o *Options, last checkpoint, since int64) {
	c.last, c.since, c.changed, c.begun = last, since, since > 0, time.Now()
	c.measure(o)
}

// measure sets how long the log may become before a checkpoint is due. Half as long as
// the checkpoint is large bounds both: what a start has to read, which takes several
// times as long for a byte of log, and what checkpoints write beside the log.
func (c *checkpoints) measure(o *Options) {
	c.limit = max(o.CheckpointLog, c.last.size/2)
	c.behind.Store(c.since > behindTimes*c.limit)
}

// begin notes the first group of a segment.
func (c *checkpoints) begin(segment uint64, pos Pos) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.first[segment]; !known {
		c.first[segment] = pos
	}
}

// wrote notes a group that is in the log and applied, and whether it holds a change. The
// caller holds mu.
func (c *checkpoints) wrote(size int64, changed bool) {
	first := changed && !c.changed // the age of the last begins to matter
	c.since += size
	c.changed = c.changed || changed
	if c.since <= c.limit && !first {
		return
	}
	c.behind.Store(c.since > behindTimes*c.limit)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// begunSegment reports whether a segment has a group.
func (c *checkpoints) begunSegment(segment uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, has := c.first[segment]
	return has
}

// due reports whether a checkpoint is to be written: the log since the last is long, or
// the last is old and one of the two that are kept may hold what was erased since. It
// returns when to ask again, if nothing is written until then.
func (c *checkpoints) due(o *Options) (due, old bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, began := time.Now(), c.begun
	if c.last.pos > 0 {
		began = time.Unix(c.last.second, 0)
	}
	wait = o.CheckpointAge - now.Sub(began)
	old = wait <= 0 && (c.changed || !c.settled && c.last.pos > 0)
	due = old || c.since > c.limit
	if pause := c.retry.Sub(now); pause > 0 {
		return false, old, pause
	}
	if wait <= 0 {
		wait = o.CheckpointAge
	}
	return due, old, wait
}

// run writes checkpoints when they are due, until stop.
func (c *checkpoints) run(ctx context.Context, db *DB) {
	defer close(c.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, old, wait := c.due(&db.opts)
		if due {
			err := db.dueCheckpoint(ctx, old)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				db.opts.Logger.Error("a checkpoint could not be written, the log grows until one is", "error", err)
				c.mu.Lock()
				c.retry = time.Now().Add(checkpointRetry)
				c.mu.Unlock()
			}
			continue
		}
		kept, err := db.pruneKept()
		if err != nil {
			db.opts.Logger.Error("kept segments of the log whose time has passed cannot be removed, trying again", "error", err)
		}
		wait = min(wait, kept, db.compactIfDue(ctx))
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.wake:
		}
	}
}

// dueCheckpoint writes a checkpoint. If that is because the last is old, what was
// erased has to leave the directory: without a change since the last, a group without
// one is written, so that there are two checkpoints after the last change and no log
// before them.
func (db *DB) dueCheckpoint(ctx context.Context, old bool) error {
	if old {
		if err := db.Wait(ctx, db.tick()); err != nil {
			return err
		}
	}
	_, err := db.Checkpoint(ctx)
	return err
}

// compactIfDue writes the tables anew, without what was erased, if the oldest of that has
// been there for CheckpointAge. It returns when to ask again.
func (db *DB) compactIfDue(ctx context.Context) time.Duration {
	age := db.opts.CheckpointAge
	since := db.tables.erased.Load()
	if since == 0 {
		return age
	}
	if wait := age - time.Since(time.Unix(since, 0)); wait > 0 {
		return wait
	}
	if err := db.tables.compact(ctx); err != nil && ctx.Err() == nil {
		db.opts.Logger.Error("the tables could not be written anew, what was erased is still in their files", "error", err)
	}
	return checkpointRetry
}

// stop ends run, and the checkpoint that it may be writing.
func (c *checkpoints) stop() {
	c.cancel()
	<-c.ended
}

// checkpointAtEnd writes a checkpoint when the directory is closed, if there is much
// log that the next start would have to read.
func (db *DB) checkpointAtEnd() {
	db.checkpoints.mu.Lock()
	much := db.checkpoints.since > db.opts.CheckpointLog/16
	db.checkpoints.mu.Unlock()
	if !much {
		return
	}
	if _, err := db.writeCheckpoint(context.Background(), false); err != nil {
		db.opts.Logger.Warn("no checkpoint could be written, the next start reads more of the log", "error", err)
	}
}

// Checkpoint writes a checkpoint beside changes and returns when it is complete. If
// nothing changed since the last, it returns that.
func (db *DB) Checkpoint(ctx context.Context) (store.Checkpoint, error) {
	if db.opts.ReadOnly {
		return store.Checkpoint{}, errReadOnly
	}
	if err := db.enter(); err != nil {
		return store.Checkpoint{}, err
	}
	defer db.leave()
	return db.writeCheckpoint(ctx, true)
}

func (db *DB) writeCheckpoint(ctx context.Context, paced bool) (info store.Checkpoint, err error) {
	c := &db.checkpoints
	select {
	case c.one <- struct{}{}:
	case <-ctx.Done():
		return info, context.Cause(ctx)
	}
	defer func() { <-c.one }()
	start := time.Now()
	c.mu.Lock()
	db.mu.Lock()
	next := checkpoint{pos: db.Applied(), chain: db.appliedChain, second: start.Unix()}
	db.mu.Unlock()
	last, since, changed := c.last, c.since, c.changed
	if next.pos == last.pos {
		c.mu.Unlock()
		return store.Checkpoint{Position: uint64(last.pos), Bytes: last.size}, nil
	}
	c.running, c.changed = true, false // what is changed from now on may not be in it
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.running = false; err != nil {
			c.changed = c.changed || changed
			return
		}
		c.last, c.took, c.settled = next, time.Since(start), !changed
		c.since -= since
		c.measure(&db.opts)
		c.count++
	}()
	next.file = db.path(checkpointDir, checkpointName(next.pos))
	temp := next.file + tempSuffix
	next.size, err = db.saveMemory(ctx, temp, next, paced)
	if err == nil {
		err = db.tables.sync()
	}
	if state := db.State(); err == nil && state != nil && !errors.Is(state, errClosed) {
		err = state // the memory may hold half a change
	}
	if err == nil {
		err = db.opts.FS.Rename(temp, next.file)
	}
	if err != nil {
		return info, errors.Join(err, ignoreMissing(db.opts.FS.Remove(temp)))
	}
	if err := syncDir(db.opts.FS, db.path(checkpointDir)); err != nil {
		return info, err
	}
	db.roll.Store(true)
	c.bad = slices.DeleteFunc(c.bad, func(b *badCheckpoint) bool { return b.pos == next.pos })
	if err := db.trim(); err != nil { // the checkpoint is there all the same
		db.opts.Logger.Error("old checkpoints and log cannot be removed, the next checkpoint tries again", "error", err)
	}
	took := time.Since(start)
	db.opts.Logger.Info("checkpoint written", "position", next.pos, "bytes", next.size, "duration", took)
	return store.Checkpoint{Position: uint64(next.pos), Bytes: next.size, Seconds: took.Seconds()}, nil
}

// saveMemory writes a file and returns when it, and every group of which something
// is in it, is durable.
func (db *DB) saveMemory(ctx context.Context, name string, c checkpoint, paced bool) (size int64, err error) {
	f, err := db.opts.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	out := &checkpointWriter{ctx: ctx, file: vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: checkpointPiece}), sum: xxh3.New(), start: time.Now(), paced: paced}
	header := append(make([]byte, 0, checkpointHeader), checkpointMagic...)
	for _, n := range []uint64{db.tables.history, uint64(c.pos), c.chain, uint64(c.second)} {
		header = binary.LittleEndian.AppendUint64(header, n)
	}
	_, err = out.Write(header)
	var newest Pos
	if err == nil {
		newest, err = db.memory.Save(ctx, c.pos, db.Seal, out)
	}
	if err == nil {
		_, err = out.Write(binary.LittleEndian.AppendUint64(nil, out.sum.Sum64()))
	}
	if err == nil {
		err = out.file.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return out.size, db.Wait(ctx, newest)
}

func ignoreMissing(err error) error {
	if isNotExist(err) {
		return nil
	}
	return err
}

// checkpointWriter writes a checkpoint, no faster than checkpointPace.
type checkpointWriter struct {
	ctx   context.Context //nolint:containedctx // an io.Writer is handed none, and lives as long as one checkpoint
	file  vfs.File
	sum   *xxh3.Hasher
	size  int64
	start time.Time
	paced bool
}

// Write writes a piece.
func (w *checkpointWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, context.Cause(w.ctx)
	}
	_, _ = w.sum.Write(b) // never fails; before the file, which may spoil what it is given
	n, err := w.file.Write(b)
	w.size += int64(n)
	if early := time.Duration(float64(w.size)/checkpointPace*float64(time.Second)) - time.Since(w.start); w.paced && early > time.Millisecond {
		select {
		case <-time.After(early):
		case <-w.ctx.Done():
		}
	}
	return n, err
}
