package lsm_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"tidings/internal/audience"
	"tidings/internal/store/faulty"
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
	s, fs, g := heldStore(t)
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
	c.finish(g, nil)
	before := s.lsm.Digests(t)
	crashed := faulty.Crash(fs)
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

// TestAppComesBackWhileSaved: an app is deleted and made again in one group after a
// checkpoint listed the apps and before it comes to this one. The checkpoint has the
// new one.
func TestAppComesBackWhileSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		ctx := t.Context()
		if err := s.SaveApp(ctx, storetest.NewApp(2)); err != nil {
			t.Fatal(err)
		}
		g.Shut()
		c := &calls{t: t}
		c.start("change of another app", func() error {
			_, err := s.Change(ctx, 2, []audience.Change{{Account: "a", Create: true}})
			return err
		})
		synctest.Wait() // it is held, so all that follows is in the next group
		first := true
		apps, err := s.lsm.Saved(ctx, func() {
			if !first {
				return
			}
			first = false // app 2 is copied, the other comes after it
			c.start("delete", func() error { return s.DeleteApp(ctx, id) })
			synctest.Wait()
			c.start("make", func() error { return s.SaveApp(ctx, storetest.NewApp(id)) })
			synctest.Wait()
		})
		if err != nil || !slices.Equal(apps, []uint32{2, id}) {
			t.Errorf("the checkpoint has apps %v, %v; want both", apps, err)
		}
		g.Lift()
		c.wg.Wait()
	})
}

// TestExportOfOneMoment: what an export shows of the tables is of the moment at which
// it shows the users, though a later change went the same way to the disk.
func TestExportOfOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		ctx := t.Context()
		g.Shut()
		c := &calls{t: t}
		nick := func(text string) func() error {
			return func() error {
				_, err := s.Change(ctx, id, []audience.Change{{Account: "a", Profile: audience.Profile{Nick: &text}}})
				return err
			}
		}
		shown := ""
		c.start("first", nick("first"))
		synctest.Wait() // it is held
		c.start("second", nick("second"))
		synctest.Wait()
		c.start("export", func() error {
			return s.Export(ctx, id, nil, func(*audience.Attributes) error { return nil }, func(e *audience.Exported) error {
				if e.Account == "a" {
					shown = e.Nick
				}
				return nil
			})
		})
		synctest.Wait()
		c.start("third", nick("third"))
		synctest.Wait()
		c.finish(g, nil)
		if shown != "second" {
			t.Errorf("the export shows the nickname %q, want second", shown)
		}
	})
}
