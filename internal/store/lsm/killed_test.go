package lsm_test

import (
	"context"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// lockless is a file system for a store whose process was killed: its lock is no more,
// though the store of the test is still there.
type lockless struct{ vfs.FS }

func (lockless) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// TestKilledThenPowerLost: a process is killed after it wrote a group and before that
// was durable. The next start finds the group, which is in the memory of the
// machine, and shows it: a power loss after that does not take it back.
func TestKilledThenPowerLost(t *testing.T) {
	mem := faulty.NewDisk(t, dir)
	g := &faulty.Gate{} // which is never lifted: a process that was killed goes on no more
	at := make(chan struct{}, 1)
	s, err := tryOpen(lockless{&faulty.FS{FS: mem, Before: func(op, name string) error {
		if op == "sync" && faulty.InLog(name) {
			select {
			case at <- struct{}{}:
			default:
			}
			g.Pass()
		}
		return nil
	}}}, lsm.Options{CheckpointLog: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	<-at
	g.Shut()
	ctx, cancel := context.WithCancel(t.Context())
	unanswered := start(func() error { _, err := s.Change(ctx, id, []audience.Change{set("a", "written")}); return err })
	<-at // and it was killed here
	next, err := tryOpen(lockless{mem}, lsm.Options{CheckpointLog: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	u, err := next.Users(t.Context(), id, []string{"a"})
	if err != nil || !u[0].Exists {
		t.Fatalf("what was written is not found: %+v, %v", u, err)
	}
	mustChange(t, next, set("b", "later"))
	lost := open(t, faulty.Crash(mem))
	defer lost.Close()
	if u, err := lost.Users(t.Context(), id, []string{"a", "b"}); err != nil || !u[0].Exists || !u[1].Exists {
		t.Errorf("after a power loss: %+v, %v", u, err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-unanswered; err == nil {
		t.Error("the change was answered")
	}
}
