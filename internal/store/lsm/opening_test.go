package lsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// TestOpeningEnds ends the opening of a directory that has a checkpoint, a log after it
// and tables that lack some of it, at each of its calls of the hook. It returns the error
// of the hook, takes no good checkpoint for a bad one, and the next opening finds
// everything.
func TestOpeningEnds(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	s, err := tryOpen(disk, lsm.Options{CheckpointLog: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	a := storetest.NewApp(id)
	if err := s.SaveApp(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if i == 20 {
			if _, err := s.lsm.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Change(t.Context(), id, []audience.Change{set(fmt.Sprintf("user %d", i), "x")}); err != nil {
			t.Fatal(err)
		}
	}
	before := s.lsm.Digests(t)
	crashed := faulty.Crash(disk)
	s.Close()

	var calls []store.Opening
	s, err = tryOpen(faulty.Crash(crashed), lsm.Options{Opening: func(o store.Opening) error {
		calls = append(calls, o)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	parts := map[store.OpeningPart]store.Opening{}
	for _, o := range calls {
		if o.Done > o.Total {
			t.Errorf("%+v: more than there is", o)
		}
		parts[o.Part] = o
	}
	if c := parts[store.OpeningCheckpoint]; len(parts) != 3 || c.Done < c.Total*9/10 || parts[store.OpeningLog].Groups < 20 {
		t.Errorf("parts %+v", parts)
	}

	told := errors.New("told to end")
	for n := range calls {
		fs, left := faulty.Crash(crashed), n
		var log bytes.Buffer
		o := lsm.Options{FS: fs, Logger: slog.New(slog.NewTextHandler(&log, nil)), Opening: func(store.Opening) error {
			if left--; left < 0 {
				return told
			}
			return nil
		}}
		if _, err := lsm.Open(dir, *lsm.WithSegments(&o, 8<<10)); !errors.Is(err, told) || log.Len() > 0 {
			t.Fatalf("ended at call %d, %+v: %v\n%s", n, calls[n], err, &log)
		}
		s, err := tryOpen(fs, lsm.Options{})
		if err != nil {
			t.Fatalf("after an opening that ended at call %d, %+v: %v", n, calls[n], err)
		}
		if after := s.lsm.Digests(t); after != before {
			t.Fatalf("after an opening that ended at call %d, %+v: the state is another", n, calls[n])
		}
		s.Close()
	}
}
