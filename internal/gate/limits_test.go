package gate

import (
	"context"
	"testing"

	"tidings/internal/app"
)

// noDisk is an app.Store that keeps nothing.
type noDisk struct{}

func (noDisk) Apps(context.Context) ([]*app.App, error) { return nil, nil }
func (noDisk) SaveApp(context.Context, *app.App) error  { return nil }
func (noDisk) DeleteApp(context.Context, uint32) error  { return nil }

// TestLimitsOfDeletedApps: the buckets of apps that are gone are dropped, and of one
// that is there only those of the commands that were called.
func TestLimitsOfDeletedApps(t *testing.T) {
	apps, err := app.Open(t.Context(), noDisk{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer apps.Close()
	family := &Family{}
	run := Func(func(context.Context, *Caller, *struct{}) (struct{}, error) { return struct{}{}, nil })
	g := New(apps, nil, []Command{
		{Name: "a/b", Family: family, Rate: Rate{PerSecond: 1}, Run: run},
		{Name: "a/c", Family: family, Rate: Rate{PerSecond: 1}, Run: run},
	}, Clients{}, Options{})
	c := g.commands["/v4/a/b"]
	for id := uint32(1); id <= 3*limitsSweep; id++ {
		a, err := apps.Declare(t.Context(), app.Declaration{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		r := &request{app: a, command: c, rooms: &g.rooms}
		if err := g.pass(r, rateChecks); err != nil {
			t.Fatal(err)
		}
		r.slot.release()
		if id == 3*limitsSweep {
			break
		}
		if _, err := apps.SetStatus(t.Context(), id, app.Disabled); err != nil {
			t.Fatal(err)
		}
		if err := apps.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	kept, made := 0, 0
	g.limits.Range(func(_, v any) bool {
		kept++
		for i := range v.(*appLimits).commands {
			if v.(*appLimits).commands[i].Load() != nil {
				made++
			}
		}
		return true
	})
	shares := 0
	g.rooms.slots.apps.Range(func(_, _ any) bool { shares++; return true })
	if shares > limitsSweep {
		t.Errorf("shares of %d apps are kept, and one app is there", shares)
	}
	if kept > 1 || made != 1 {
		t.Errorf("buckets of %d apps are kept, %d of commands; one app is there, and called one", kept, made)
	}
}
