package server_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/server"
)

// TestOperateChecksWhatDoesNotOpen: a check reports what keeps a directory from
// being opened, and other operations say why they cannot be done.
func TestOperateChecksWhatDoesNotOpen(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	c, err := server.Operate(t.Context(), dir, false, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), "app/create", app.Declaration{ID: 1400000001}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	check := func() admin.CheckReport {
		t.Helper()
		c, err := server.Operate(t.Context(), dir, true, "test", log)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var report admin.CheckReport
		if err := c.Call(t.Context(), string(admin.CheckStore), struct{}{}, &report); err != nil {
			t.Fatalf("check: %v", err)
		}
		return report
	}
	if r := check(); len(r.Findings) != 0 || r.Apps != 1 || r.Users != 1 {
		t.Errorf("a good directory: %+v", r)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "db", "MANIFEST-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifests {
		if err := os.Remove(m); err != nil {
			t.Fatal(err)
		}
	}
	if r := check(); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].What, "cannot be opened") {
		t.Errorf("a directory without manifests: %+v", r)
	}
	c, err = server.Operate(t.Context(), dir, true, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call(t.Context(), "app/list", struct{}{}, nil); err == nil {
		t.Error("app/list of a directory that does not open succeeded")
	}
	if _, err := server.Operate(t.Context(), t.TempDir(), true, "test", log); err == nil {
		t.Error("an empty directory was taken for a data directory")
	}
}
