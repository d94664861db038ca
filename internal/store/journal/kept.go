package journal

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Segments that are needed no more are kept for a time, if that is wanted, so that a
// backup can be restored to a moment after it. They are moved to a directory of their
// own, where a file says for how long: commands that open the directory without a server
// do not know its configuration.
//
// The age of a segment is that of its last group, so of the file, which nobody has written
// to since.
const (
	keptDir = "kept-log"
	ageFile = ".age" // how long segments are kept, in seconds
)

// KeepAsBefore is the Options.KeepLog of a program that does not know it: it is as the
// directory says.
const KeepAsBefore time.Duration = -1

// keptCheck is how long the end of a segment's time may have passed before it is removed.
const keptCheck = time.Minute

// openKept makes the directory of kept segments what the options say.
func (db *DB) openKept() error {
	fsys, dir := db.opts.FS, db.path(keptDir)
	if db.opts.KeepLog == KeepAsBefore {
		age, err := readAge(fsys, fsys.PathJoin(dir, ageFile))
		db.opts.KeepLog = age
		return err
	}
	if db.opts.KeepLog == 0 {
		if _, err := fsys.Stat(dir); isNotExist(err) {
			return nil
		}
		if err := fsys.RemoveAll(dir); err != nil {
			return err
		}
		return syncDir(fsys, db.dir)
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	seconds := int64(db.opts.KeepLog / time.Second)
	if err := writeFile(fsys, fsys.PathJoin(dir, ageFile), strconv.AppendInt(nil, seconds, 10)); err != nil {
		return err
	}
	return errors.Join(syncDir(fsys, dir), syncDir(fsys, db.dir))
}

// readAge reads how long segments are kept; 0 if none are.
func readAge(fsys vfs.FS, name string) (time.Duration, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return 0, ignoreMissing(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || seconds < 0 || seconds > int64(maxKeep/time.Second) {
		return maxKeep, nil // its writing was cut off: the next server knows better
	}
	return time.Duration(seconds) * time.Second, nil
}

const maxKeep = 100 * 365 * 24 * time.Hour

// removeSegment takes a segment out of the log that is needed no more.
func (db *DB) removeSegment(n uint64) error {
	fsys, name := db.opts.FS, db.path(logDir, segmentName(n))
	if db.opts.KeepLog == 0 {
		return fsys.Remove(name)
	}
	if err := fsys.Rename(name, db.path(keptDir, segmentName(n))); err != nil {
		return err
	}
	return syncDir(fsys, db.path(keptDir)) // before it is missing in the log
}

// pruneKept removes kept segments whose time has passed. It returns when to ask again.
func (db *DB) pruneKept() (wait time.Duration, err error) {
	if db.opts.KeepLog == 0 {
		return maxKeep, nil
	}
	fsys, dir := db.opts.FS, db.path(keptDir)
	numbers, err := segments(fsys, dir)
	if err != nil {
		return keptCheck, err
	}
	for _, n := range numbers { // the oldest first
		name := fsys.PathJoin(dir, segmentName(n))
		info, err := fsys.Stat(name)
		if err != nil {
			return keptCheck, err
		}
		if left := db.opts.KeepLog - time.Since(info.ModTime()); left > 0 {
			return max(left, keptCheck), nil
		}
		if err := fsys.Remove(name); err != nil {
			return keptCheck, err
		}
		if err := syncDir(fsys, dir); err != nil {
			return keptCheck, err
		}
	}
	return db.opts.KeepLog, nil
}
