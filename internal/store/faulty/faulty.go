// Package faulty is disks for tests: one that fails, waits or is looked at when the test
// says so, and copies of one that lost power.
//
// Pebble's errorfs, which looks alike, does not see what is written to a file that was
// reused, as Pebble does with its log, nor a file that is closed; it names the old file
// of a renaming; and no write of it fails halfway.
package faulty

import "github.com/cockroachdb/pebble/v2/vfs"

// FS calls Before in front of every operation that can change what a power loss
// leaves, and Reading in front of every one that reads a file. An error of either
// becomes that of the operation.
type FS struct {
	vfs.FS
	// Before gets the operation, one of create, reuse, rename, link, remove, write,
	// sync and close, and the name of the file. It may be nil.
	Before func(op, name string) error
	// Reading may be nil.
	Reading func(name string) error
	// Short makes a write that fails write half of its bytes, as on a full disk.
	Short bool
}

// Create creates a file.
func (f *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.before("create", name); err != nil {
		return nil, err
	}
	return f.file(name)(f.FS.Create(name, c))
}

// Open opens a file for reading.
func (f *FS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file(name)(f.FS.Open(name, o...))
}

// OpenReadWrite opens a file for both.
func (f *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file(name)(f.FS.OpenReadWrite(name, c, o...))
}

// OpenDir opens a directory.
func (f *FS) OpenDir(name string) (vfs.File, error) { return f.file(name)(f.FS.OpenDir(name)) }

// ReuseForWrite makes one file of another.
func (f *FS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.before("reuse", to); err != nil {
		return nil, err
	}
	return f.file(to)(f.FS.ReuseForWrite(from, to, c))
}

// Rename renames a file.
func (f *FS) Rename(from, to string) error {
	if err := f.before("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Link gives a file another name.
func (f *FS) Link(from, to string) error {
	if err := f.before("link", to); err != nil {
		return err
	}
	return f.FS.Link(from, to)
}

// Remove removes a file.
func (f *FS) Remove(name string) error {
	if err := f.before("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// Unwrap returns the file system below.
func (f *FS) Unwrap() vfs.FS { return f.FS }

func (f *FS) file(name string) func(vfs.File, error) (vfs.File, error) {
	return func(opened vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return &file{opened, f, name}, nil
	}
}

func (f *FS) before(op, name string) error {
	if f.Before == nil {
		return nil
	}
	return f.Before(op, name)
}

func (f *FS) reading(name string) error {
	if f.Reading == nil {
		return nil
	}
	return f.Reading(name)
}

type file struct {
	vfs.File
	fs   *FS
	name string
}

func (f *file) Read(b []byte) (int, error) {
	if err := f.fs.reading(f.name); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.fs.reading(f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, offset)
}

func (f *file) Write(b []byte) (int, error) {
	if err := f.fs.before("write", f.name); err != nil {
		if f.fs.Short {
			n, _ := f.File.Write(b[:len(b)/2])
			return n, err
		}
		return 0, err
	}
	return f.File.Write(b)
}

func (f *file) Sync() error {
	if err := f.fs.before("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *file) SyncData() error {
	if err := f.fs.before("sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *file) SyncTo(n int64) (bool, error) {
	if err := f.fs.before("sync", f.name); err != nil {
		return false, err
	}
	return f.File.SyncTo(n)
}

func (f *file) Close() error {
	if err := f.fs.before("close", f.name); err != nil {
		return err
	}
	return f.File.Close()
}
