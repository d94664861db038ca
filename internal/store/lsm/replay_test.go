package lsm_test

import (
	"math/rand/v2"
	"path"
	"slices"
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

// archiveFile copies a file to the archive, durably.
func archiveFile(mem *vfs.MemFS, name string) error {
	if err := mem.MkdirAll(archive, 0o755); err != nil {
		return err
	}
	if err := vfs.Copy(mem, name, path.Join(archive, path.Base(name))); err != nil {
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
	if names, err := whole.List(archive); err == nil {
		for _, name := range names {
			if err := vfs.Copy(whole, path.Join(archive, name), path.Join(dir, "log", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
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
