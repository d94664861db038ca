package lsm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// heldCheckpoint is a store that has something to write into a checkpoint, whose
// files cannot be made while the gate is shut. Whoever comes to the gate says so.
func heldCheckpoint(t *testing.T) (s *opened, g *faulty.Gate, at <-chan struct{}) {
	t.Helper()
	g = &faulty.Gate{}
	arrived := make(chan struct{}, 1)
	fs := &faulty.FS{FS: faulty.NewDisk(t, dir), Before: func(op, name string) error {
		if op == "create" && strings.Contains(name, "/checkpoints/") {
			select {
			case arrived <- struct{}{}:
			default:
			}
			g.Pass()
		}
		return nil
	}}
	s, err := tryOpen(fs, lsm.Options{CheckpointLog: 1 << 12})
	if err != nil {
		t.Fatal(err)
	}
	a := storetest.NewApp(id)
	a.Settings.ReimportWait = time.Hour // a change reads the tables under the lock of its app
	if err := s.SaveApp(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return s, g, arrived
}

// ends fails the test if a call does not return. What it returns depends on how far
// Close is.
func ends(t *testing.T, what string, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Logf("%s: %v", what, err)
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not return", what)
	}
}

func start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// TestCloseBesideReaders: while Close writes a checkpoint, or waits for one that is
// being written, whoever asks for the tables under the lock of an app does not keep
// Close from that lock.
func TestCloseBesideReaders(t *testing.T) {
	for _, byHand := range []bool{false, true} {
		s, g, at := heldCheckpoint(t)
		var checkpoint <-chan error
		g.Shut()
		if byHand {
			checkpoint = start(func() error { _, err := s.lsm.Checkpoint(context.Background()); return err })
			<-at
		} else if _, err := s.Change(t.Context(), id, []audience.Change{set("a", "x")}); err != nil {
			t.Fatal(err)
		}
		closed := start(s.Close)
		if !byHand {
			<-at
		}
		// So that Close is as far as it gets. Nothing shows that it waits for a mutex, not
		// even to synctest; if it comes later the test passes without having tested.
		time.Sleep(10 * time.Millisecond)
		exported := start(func() error {
			return s.Export(context.Background(), id, nil, func(*audience.Attributes) error { return nil }, func(*audience.Exported) error { return nil })
		})
		tried := start(func() error {
			batches := func(yield func([]audience.Change) bool) { yield([]audience.Change{set("b", "x")}) }
			return s.Import(context.Background(), id, batches, true, nil)
		})
		revoked := start(func() error { _, err := s.RevokedUpTo(context.Background(), id, "a"); return err })
		time.Sleep(10 * time.Millisecond) // the same for the readers
		g.Lift()
		ends(t, "Export", exported)
		ends(t, "Import", tried)
		ends(t, "RevokedUpTo", revoked)
		ends(t, "Close", closed)
		if byHand {
			ends(t, "Checkpoint", checkpoint)
		}
	}
}

// TestCheckpointsWaitInTurn: a checkpoint that another is in the way of ends with its
// context.
func TestCheckpointsWaitInTurn(t *testing.T) {
	s, g, at := heldCheckpoint(t)
	defer s.Close()
	g.Shut()
	first := start(func() error { _, err := s.lsm.Checkpoint(t.Context()); return err })
	<-at
	ctx, cancel := context.WithCancel(t.Context())
	second := start(func() error { _, err := s.lsm.Checkpoint(ctx); return err })
	cancel()
	select {
	case err := <-second:
		if err == nil {
			t.Error("a checkpoint was written beside another")
		}
	case <-time.After(20 * time.Second):
		t.Error("Checkpoint does not return though its context has ended")
	}
	g.Lift()
	if err := <-first; err != nil {
		t.Error(err)
	}
}
