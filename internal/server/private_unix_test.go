//go:build unix

package server

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRootInADirectoryOfOthers: root changes nothing in a directory that belongs to
// another user's server, and works in its own and in new ones.
func TestRootInADirectoryOfOthers(t *testing.T) {
	const root = 0
	dir := t.TempDir()
	if err := checkOwner(dir, root); err != nil {
		t.Errorf("a new directory: %v", err)
	}
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == root {
		if err := checkOwner(dir, root); err != nil {
			t.Errorf("root's own directory: %v", err)
		}
		owner = 65534
		if err := os.Chown(db, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkOwner(dir, root); err == nil {
		t.Error("root may work in a directory of another user")
	}
	if err := checkOwner(dir, owner); err != nil {
		t.Errorf("its own user: %v", err)
	}
}
