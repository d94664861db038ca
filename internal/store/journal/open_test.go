package journal

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
)

// TestInUse: a directory that is open is not opened again.
func TestInUse(t *testing.T) {
	fs := faulty.NewDisk(t, dir)
	m := open(t, fs)
	defer m.close(t)
	for _, readOnly := range []bool{false, true} {
		_, err := openToy(fs, Options{ReadOnly: readOnly})
		if _, ok := errors.AsType[*InUse](err); !ok {
			t.Errorf("Open, for reading only %v: %v, want *InUse", readOnly, err)
		}
	}
}

// TestOtherDirectories: an empty directory, one of an earlier program and one that
// lacks a part are refused, and nothing is changed in them.
func TestOtherDirectories(t *testing.T) {
	made := faulty.NewDisk(t, dir)
	m := open(t, made)
	m.mustSet(t, 1, "a", "1")
	m.checkpoint(t)
	m.close(t)
	for _, c := range []struct {
		name     string
		readOnly bool
		remove   []string
		want     string
	}{
		{"nothing", true, []string{"db", "log", "checkpoints"}, "no database in " + dir},
		{"format 2", false, []string{"log", "checkpoints"}, "an earlier program"},
		{"no log", false, []string{"log"}, dir + "/log is damaged: the directory is missing"},
		{"no checkpoints", false, []string{"checkpoints"}, dir + "/checkpoints is damaged: the directory is missing"},
		{"no tables, for reading", true, []string{"db"}, dir + "/db is damaged: there is no database in it"},
		{"no tables", false, []string{"db"}, dir + "/db is damaged: there is no database in it"},
		{"only a log", false, []string{"db", "checkpoints"}, dir + "/db is damaged: there is no database in it"},
	} {
		fs := faulty.Copy(made)
		for _, r := range c.remove {
			if err := fs.RemoveAll(dir + "/" + r); err != nil {
				t.Fatal(err)
			}
		}
		before := faulty.Tree(t, fs, dir)
		if _, err := openToy(fs, Options{ReadOnly: c.readOnly}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v, want %q", c.name, err, c.want)
		}
		if !maps.Equal(before, faulty.Tree(t, fs, dir)) {
			t.Errorf("%s: the directory changed", c.name)
		}
	}
}

// TestStrangeFiles: what other programs leave in every directory is not looked at; a
// file that nobody put there by habit is damage.
func TestStrangeFiles(t *testing.T) {
	for _, d := range []string{"log", "checkpoints"} {
		fs := faulty.NewDisk(t, dir)
		m := open(t, fs)
		m.mustSet(t, 1, "a", "1")
		m.checkpoint(t)
		m.close(t)
		for _, name := range []string{".nfs0000000000000001", ".DS_Store", "lost+found"} {
			faulty.Write(t, fs, dir+"/"+d+"/"+name, []byte("?"))
		}
		again := open(t, fs)
		again.close(t)
		faulty.Write(t, fs, dir+"/"+d+"/notes", []byte("?"))
		if _, err := openToy(fs, Options{}); err == nil || !strings.Contains(err.Error(), dir+"/"+d+"/notes") {
			t.Errorf("%s: Open = %v, want the name of the stray file", d, err)
		}
	}
}

// fullFS says that there is no room left.
type fullFS struct{ vfs.FS }

func (fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1000}, nil
}

// TestStartOnAFullDisk: a start fails at once and writes nothing; for reading only it
// works.
func TestStartOnAFullDisk(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	m := open(t, disk)
	m.mustSet(t, 1, "a", "1")
	want := m.state(t)
	m.close(t)
	before := faulty.Tree(t, disk, dir)
	if _, err := openToy(fullFS{disk}, Options{}); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("Open = %v, want that the disk is full", err)
	}
	noFiles := &faulty.FS{FS: disk, Before: func(op, name string) error {
		if _, err := disk.Stat(name); op == "create" && err != nil && !strings.HasSuffix(name, markerFile) { // a killed process left that
			return fmt.Errorf("%s: %w", name, syscall.ENOSPC)
		}
		return nil
	}}
	if _, err := openToy(noFiles, Options{}); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "takes no new file") {
		t.Errorf("Open = %v, want that the disk takes no new file", err)
	}
	if !maps.Equal(before, faulty.Tree(t, disk, dir)) {
		t.Error("the directory changed")
	}
	m, err := openToy(fullFS{disk}, Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("Open for reading: %v", err)
	}
	if got := m.state(t); got != want {
		t.Errorf("it is %q, want %q", got, want)
	}
	m.close(t)
}
