package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A directory that a process may be changing has a file that says so. It holds the
// inode numbers of itself and of the directories of the parts, which a copy does not
// have: whatever is copied file by file while a process changes it has files of different
// moments, and some of these fit each other well enough to be opened.
//
// A process that is killed leaves the file, with the numbers that are still right, and so
// does a machine that loses its power; a directory that is moved keeps them. A snapshot
// of a whole file system keeps them too, and is as good as a power loss. Device numbers
// are not looked at: some change with every start of the machine.
const markerFile = "running"

// markerText is followed by the numbers.
const markerText = "A tidings process may be changing this directory, which is not to be copied then: %d %d %d %d\n"

// mark writes the marker of a directory that is about to be changed.
func (db *DB) mark() (err error) {
	if db.marked {
		return nil
	}
	fsys := db.opts.FS
	f, err := fsys.Create(db.path(markerFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	db.marked = true
	numbers, err := inodes(fsys, db.dir)
	if err == nil {
		_, err = fmt.Fprintf(f, markerText, numbers[0], numbers[1], numbers[2], numbers[3])
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(fsys, db.dir)
}

// unmark removes the marker once nothing is changed any more.
func (db *DB) unmark() error {
	if !db.marked {
		return nil
	}
	db.marked = false
	if err := ignoreMissing(db.opts.FS.Remove(db.path(markerFile))); err != nil {
		return err
	}
	return syncDir(db.opts.FS, db.dir)
}

// Copied is the error of a directory that was copied while a process had the original
// open.
type Copied struct {
	Dir    string
	Marker string // the file that shows it
}

func (e *Copied) Error() string {
	return fmt.Sprintf("%s is a copy that was made while a server was changing the original, so its files are of different moments: make a backup with tidings backup. If it was copied from a snapshot, or while no server ran because it had been killed, remove %s and check the copy", e.Dir, e.Marker)
}

// CheckCopied returns a *Copied if a directory was copied while a process had the original
// open.
func CheckCopied(fsys vfs.FS, dir string) error {
	name := fsys.PathJoin(dir, markerFile)
	f, err := fsys.Open(name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return err
	}
	var want [4]uint64
	if _, err := fmt.Sscanf(string(text), markerText, &want[0], &want[1], &want[2], &want[3]); err != nil {
		return nil // its writing was cut off, and nothing was changed before it was complete
	}
	numbers, err := inodes(fsys, dir)
	if err != nil {
		return err
	}
	for i, n := range numbers {
		if n != 0 && want[i] != 0 && n != want[i] {
			return &Copied{dir, name}
		}
	}
	return nil
}

// inodes returns the inode numbers of the marker and of the directories of the parts; 0
// for one that is not there, or if the file system has no such numbers.
func inodes(fsys vfs.FS, dir string) (numbers [4]uint64, err error) {
	for i, name := range []string{markerFile, tablesDir, logDir, checkpointDir} {
		info, err := fsys.Stat(fsys.PathJoin(dir, name))
		if isNotExist(err) {
			continue
		}
		if err != nil {
			return numbers, err
		}
		numbers[i] = inode(info)
	}
	return numbers, nil
}
