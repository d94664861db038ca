package journal

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullFS says that there is no room left.
type fullFS struct{ vfs.FS }

func (fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1000}, nil
}

// TestStartOnAFullDisk: a start fails at once and writes nothing; for reading only it
// works.
func TestStartOnAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	if err := mem.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	open := func(fs vfs.FS, readOnly bool) error {
		db, err := Open("data", Options{FS: fs, ReadOnly: readOnly}, &toy{}, toyTable...)
		if err != nil {
			return err
		}
		return db.Close()
	}
	if err := open(mem, false); err != nil {
		t.Fatal(err)
	}
	if err := open(fullFS{mem}, false); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("Open on a full disk = %v", err)
	}
	if err := open(fullFS{mem}, true); err != nil {
		t.Errorf("Open for reading on a full disk = %v", err)
	}
	if err := open(mem, false); err != nil {
		t.Errorf("Open when there is room = %v", err)
	}
}
