package admin

import (
	"context"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/app"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
)

const appID = 1400000001

// newService returns a service over a store in memory, with an app.
func newService(t *testing.T) *Service {
	t.Helper()
	s, err := lsm.Open("", lsm.Options{FS: vfs.NewMem(), MemtableSize: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	apps, err := app.Open(t.Context(), s.Apps, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		apps.Close()
		if _, err := s.Check(context.Background(), func(f store.Finding) { t.Errorf("check: %s: %s", f.Where, f.What) }); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := apps.Declare(t.Context(), app.Declaration{ID: appID}); err != nil {
		t.Fatal(err)
	}
	return &Service{
		Apps: apps, Users: s.Users, Devices: s.Devices, Check: s.Check, Checkpoint: s.Checkpoint,
		Status: func(context.Context) (Status, error) { return Status{}, nil },
	}
}
