package lsm_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
)

// archive is where the segments of the log go that a store removes, so that a test
// has every group there ever was.
const archive = "/var/lib/archive"

// archiving returns a file system that keeps removed segments.
func archiving(mem *vfs.MemFS) *faulty.FS {
	return &faulty.FS{FS: mem, Before: func(op, name string) error {
		if op != "remove" || !faulty.InLog(name) {
			return nil
		}
		return archiveFile(mem, name)
	}}
}

// archiveFile copies a file to the archive, durably. Whoever copies the disk meanwhile
// finds the whole file in the archive or none: a checkpoint that is written aside may
// remove segments while a test reads them.
func archiveFile(mem vfs.FS, name string) error {
	if err := mem.MkdirAll(archive, 0o755); err != nil {
		return err
	}
	part := path.Join(archive, "."+path.Base(name))
	if err := vfs.Copy(mem, name, part); err != nil {
		return err
	}
	if err := mem.Rename(part, path.Join(archive, path.Base(name))); err != nil {
		return err
	}
	for _, dir := range []string{archive, path.Dir(archive)} {
		d, err := mem.OpenDir(dir)
		if err != nil {
			return err
		}
		if err := d.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// unarchive copies the files of the archive, where there is one, to the log.
func unarchive(t *testing.T, fs vfs.FS) {
	t.Helper()
	names, err := fs.List(archive)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue // being archived
		}
		if err := vfs.Copy(fs, path.Join(archive, name), path.Join(dir, "log", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestArchive copies the disk at every step of archiving a segment and removing it: in
// each copy the segment is whole.
func TestArchive(t *testing.T) {
	mem, name, copies := faulty.NewDisk(t, dir), dir+"/log/0000000001", 0
	if err := mem.MkdirAll(dir+"/log", 0o755); err != nil {
		t.Fatal(err)
	}
	faulty.Write(t, mem, name, []byte("groups"))
	look := func() {
		disk := faulty.Copy(mem)
		unarchive(t, disk)
		if got := string(faulty.Read(t, disk, name)); got != "groups" {
			t.Errorf("copy %d has the segment %q", copies, got)
		}
		copies++
	}
	looking := &faulty.FS{FS: mem, Before: func(string, string) error { look(); return nil }}
	if err := archiveFile(looking, name); err != nil {
		t.Fatal(err)
	}
	if err := looking.Remove(name); err != nil {
		t.Fatal(err)
	}
	look()
	if copies < 5 {
		t.Errorf("%d copies were looked at", copies)
	}
}

// agrees makes the state of a store anew in every way there is, and compares: they
// all come to the same. Nobody changes anything meanwhile. The store is over
// archiving(mem).
func agrees(t *testing.T, s *opened, mem *vfs.MemFS, r *rand.Rand) {
	t.Helper()
	want := s.lsm.Digests(t)
	same := func(way string, fs vfs.FS, o lsm.Options) {
		t.Helper()
		other, err := tryOpen(fs, o)
		if err != nil {
			t.Errorf("%s: %v", way, err)
			return
		}
		if got := other.lsm.Digests(t); got != want {
			t.Errorf("%s makes it\n%s, it is\n%s", way, got, want)
		}
		if err := other.Close(); err != nil {
			t.Errorf("%s: Close: %v", way, err)
		}
	}
	killed := func() *vfs.MemFS { return faulty.Copy(mem) }

	whole := killed()
	removeAll(t, whole, dir+"/checkpoints")
	unarchive(t, whole)
	same("a replay of all groups", whole, lsm.Options{ReadOnly: true})
	same("a start after a kill", killed(), lsm.Options{})
	same("a start after a crash", faulty.Crash(mem), lsm.Options{})

	if _, err := s.lsm.Checkpoint(t.Context()); err != nil {
		t.Errorf("Checkpoint: %v", err)
		return
	}
	alone := killed()
	names, err := alone.List(dir + "/checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name != slices.Max(names) {
			if err := alone.Remove(path.Join(dir, "checkpoints", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	same("the newest checkpoint alone", alone, lsm.Options{ReadOnly: true})
	_, err = lsm.CheckDir(t.Context(), dir, lsm.Options{FS: killed(), Logger: quiet}, func(f store.Finding) {
		t.Errorf("check of the files: %s: %s", f.Where, f.What)
	})
	if err != nil {
		t.Errorf("check of the files: %v", err)
	}
}

// removeAll removes the files of a directory.
func removeAll(t *testing.T, fs vfs.FS, dir string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := fs.Remove(path.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
