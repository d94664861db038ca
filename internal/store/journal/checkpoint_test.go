package journal

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
)

// checkpointFiles are the files of the checkpoints, newest first.
func checkpointFiles(t testing.TB, fs *vfs.MemFS) []string {
	t.Helper()
	names, err := fs.List(dir + "/checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	slices.Reverse(names)
	for i := range names {
		names[i] = dir + "/checkpoints/" + names[i]
	}
	return names
}

// TestTrim: two checkpoints are kept, and the log since the older; one that cannot be
// read is no checkpoint.
func TestTrim(t *testing.T) {
	fs := faulty.NewDisk(t, dir)
	m := open(t, fs)
	fill := func(n int) {
		for i := range n {
			m.mustSet(t, 1, fmt.Sprint("k", i), strings.Repeat("v", 500))
		}
		m.checkpoint(t)
	}
	for range 4 {
		fill(20)
	}
	kept := checkpointFiles(t, fs)
	if len(kept) != 2 {
		t.Fatalf("checkpoints are %q", kept)
	}
	first, err := m.db.logBegins()
	if err != nil {
		t.Fatal(err)
	}
	if first <= 20 || first > 61 {
		t.Errorf("the log begins with group %d, and the older checkpoint ends with 60", first)
	}
	want := m.state(t)
	m.close(t)

	faulty.Write(t, fs, kept[0], []byte("rubbish"))
	m = open(t, fs)
	if got := m.state(t); got != want {
		t.Errorf("from the older checkpoint: %.200q, want %.200q", got, want)
	}
	fill(5)
	if now := checkpointFiles(t, fs); len(now) != 2 || slices.Contains(now, kept[0]) || !slices.Contains(now, kept[1]) {
		t.Errorf("the checkpoints are %q; %q cannot be read, and %q can", now, kept[0], kept[1])
	}
	want = m.state(t)
	m.close(t)
	faulty.Write(t, fs, checkpointFiles(t, fs)[0], []byte("rubbish"))
	m = open(t, fs)
	if got := m.state(t); got != want {
		t.Errorf("from the older checkpoint: %.200q, want %.200q", got, want)
	}
	m.close(t)
}

// TestTrimFails: a checkpoint is written although nothing can be removed, and the next
// removes what is old.
func TestTrimFails(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	var stuck atomic.Bool
	m, err := openToy(&faulty.FS{FS: disk, Before: func(op, name string) error {
		if op == "remove" && stuck.Load() {
			return syscall.EPERM
		}
		return nil
	}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close(t)
	stuck.Store(true)
	for n := range 4 {
		m.mustSet(t, 1, "a", fmt.Sprint(n))
		m.checkpoint(t)
	}
	if files := checkpointFiles(t, disk); len(files) != 4 {
		t.Errorf("there are %q, want all 4", files)
	}
	stuck.Store(false)
	m.mustSet(t, 1, "a", "last")
	m.checkpoint(t)
	if files := checkpointFiles(t, disk); len(files) != 2 {
		t.Errorf("there are %q, want 2", files)
	}
}

// TestNoHalfCheckpoint: a memory that holds half a change gets into no checkpoint, not
// even if all that the log says of it is durable.
func TestNoHalfCheckpoint(t *testing.T) {
	fs := faulty.NewDisk(t, dir)
	m := open(t, fs)
	m.mustSet(t, 1, "a", "1")
	want := m.state(t)
	m.half(t, 1, "a")
	if _, err := m.db.Checkpoint(t.Context()); err == nil {
		t.Error("Checkpoint succeeded")
	}
	_ = m.db.Close()
	if left := checkpointFiles(t, fs); len(left) > 0 {
		t.Errorf("there are %q", left)
	}
	m = open(t, fs)
	defer m.close(t)
	if got := m.state(t); got != want {
		t.Errorf("afterwards it is %q, want %q", got, want)
	}
}

// TestCheckOfSenselessCheckpoint: a checkpoint that is as it was written, and makes no
// sense to the memory, is one that a start goes without and a check reports.
func TestCheckOfSenselessCheckpoint(t *testing.T) {
	fs := faulty.NewDisk(t, dir)
	m := open(t, fs)
	m.mustSet(t, 1, "k", "x\nnonsense")
	m.checkpoint(t)
	want := m.state(t)
	m.close(t)
	m = open(t, fs)
	defer m.close(t)
	if got := m.state(t); got != want {
		t.Errorf("the state is %s, want %s", got, want)
	}
	var found []string
	if err := m.db.CheckFiles(t.Context(), func(where, _ string) { found = append(found, where) }); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !strings.HasPrefix(found[0], "checkpoint ") {
		t.Errorf("the check finds %q, want the checkpoint", found)
	}
}
