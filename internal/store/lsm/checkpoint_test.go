package lsm_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// TestAppComesBackInOneGroup: an app is deleted and made again while an fsync is
// held, both in the same group, and a checkpoint is written beside that. What the
// checkpoint says of the app that is gone does not hide the one that is there.
func TestAppComesBackInOneGroup(t *testing.T) {
	for _, early := range []bool{true, false} { // the checkpoint comes before the new app, or after
		t.Run(fmt.Sprint(early), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testAppComesBack(t, early) })
		})
	}
}

func testAppComesBack(t *testing.T, early bool) {
	g := &faulty.Gate{}
	fs := newFS(t)
	s, err := tryOpen(&faulty.FS{FS: fs, Before: func(op, name string) error {
		if op == "sync" && inLog(name) {
			g.Pass()
		}
		return nil
	}}, lsm.Options{CheckpointLog: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, app := range []uint32{2, id} {
		if err := s.SaveApp(ctx, storetest.NewApp(app)); err != nil {
			t.Fatal(err)
		}
	}
	c := &calls{t: t}
	g.Shut()
	steps := []struct {
		name string
		f    func() error
	}{
		{"change of another app", func() error {
			_, err := s.Change(ctx, 2, []audience.Change{{Account: "a", Create: true}})
			return err
		}}, // its fsync is held
		{"delete", func() error { return s.DeleteApp(ctx, id) }},
		{"make", func() error { return s.SaveApp(ctx, storetest.NewApp(id)) }},
		{"change", func() error { _, err := s.Change(ctx, id, []audience.Change{set("new", "x")}); return err }},
	}
	checkpoint := func() error { _, err := s.lsm.Checkpoint(ctx); return err }
	for i, step := range steps {
		if early && i == 2 {
			c.start("checkpoint", checkpoint)
			synctest.Wait()
		}
		c.start(step.name, step.f)
		synctest.Wait()
	}
	if !early {
		c.start("checkpoint", checkpoint)
		synctest.Wait()
	}
	g.Lift()
	c.wg.Wait()
	for name, err := range c.ended {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := s.lsm.Digests(t)
	crashed := fs.CrashClone(vfsNothing)
	s.Close()
	s = open(t, crashed)
	defer s.Close()
	if after := s.lsm.Digests(t); after != before {
		t.Errorf("the state is %s, was %s", after, before)
	}
	if u, err := s.Users(ctx, id, []string{"new"}); err != nil || !u[0].Exists {
		t.Errorf("Users = %+v, %v", u, err)
	}
	sound(t, s)
}
