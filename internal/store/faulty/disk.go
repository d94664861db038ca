package faulty

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// NewDisk returns a file system in memory that has a directory, and can lose power.
func NewDisk(t testing.TB, dir string) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	if err := disk.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return disk
}

// Crash returns a copy of a disk as a power loss may leave it: with what was synced, and
// nothing else.
func Crash(disk *vfs.MemFS) *vfs.MemFS { return disk.CrashClone(vfs.CrashCloneCfg{}) }

// CrashKeeping is Crash for a disk that kept a share of what was not synced, in percent,
// which r chooses.
//
// Pebble creates a manifest, then the marker that names it, and then syncs the directory.
// A file system with a journal, on which Pebble relies, never keeps only the later entry
// of a directory. Where chance did that in the data directory dir, nothing is kept.
func CrashKeeping(disk *vfs.MemFS, dir string, percent int, r *rand.Rand) *vfs.MemFS {
	crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})
	if !inOrder(crashed, dir) {
		return Crash(disk)
	}
	return crashed
}

// inOrder reports whether a database has the manifest that its newest marker names.
func inOrder(disk vfs.FS, dir string) bool {
	names, err := disk.List(dir + "/db")
	if err != nil {
		return true // not created yet
	}
	newest := ""
	for _, name := range names {
		if strings.HasPrefix(name, "marker.manifest.") {
			newest = max(newest, name)
		}
	}
	return newest == "" || slices.Contains(names, newest[strings.LastIndex(newest, ".")+1:])
}

// Copy returns a copy of a disk with everything that was written, synced or not.
func Copy(disk *vfs.MemFS) *vfs.MemFS {
	return disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// InLog reports whether a file is a segment of the log.
func InLog(name string) bool { return strings.Contains(name, "/log/0") }

// HeldLog returns a file system whose fsyncs of the log wait at a gate.
func HeldLog(disk vfs.FS, gate *Gate) *FS {
	return &FS{FS: disk, Before: func(op, name string) error {
		if op == "sync" && InLog(name) {
			gate.Pass()
		}
		return nil
	}}
}

// Files returns the files below a directory with their content, except locks.
func Files(t testing.TB, disk vfs.FS, dir string) map[string]string {
	t.Helper()
	files := Tree(t, disk, dir)
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasSuffix(name, "/") })
	return files
}

// Tree returns Files and the directories below, whose names end with a slash.
func Tree(t testing.TB, disk vfs.FS, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := disk.PathJoin(dir, name)
		stat, err := disk.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case stat.IsDir():
			tree[path+"/"] = ""
			maps.Copy(tree, Tree(t, disk, path))
		case name != "LOCK":
			tree[path] = string(Read(t, disk, path))
		}
	}
	return tree
}

// Read returns the content of a file.
func Read(t testing.TB, disk vfs.FS, name string) []byte {
	t.Helper()
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Write creates or replaces a file, durably.
func Write(t testing.TB, disk vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(bytes.Clone(b)) // a file of Pebble may spoil what it is given
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
