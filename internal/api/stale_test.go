package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/gate"
	"tidings/internal/store/storetest"
)

// A staleStore refuses changes made from attributes that the app no longer has,
// as it was last saved.
type staleStore struct {
	storetest.Store
	saved  audience.Attributes
	asked  int                             // how often Change was called
	saving func()                          // if set: after an app is saved, before the registry knows
	before func(changes []audience.Change) // if set: what happens before a change is made
}

func (s *staleStore) SaveApp(ctx context.Context, a *app.App) error {
	err := s.Store.SaveApp(ctx, a)
	s.saved = a.Attributes
	if s.saving != nil {
		s.saving()
	}
	return err
}

func (s *staleStore) Change(ctx context.Context, id uint32, changes []audience.Change) ([]audience.Failure, error) {
	s.asked++
	if s.before != nil {
		s.before(changes)
	}
	for _, c := range changes {
		for slot, v := range c.Set {
			if v != "" && c.Attributes[slot] != s.saved[slot] {
				return nil, fmt.Errorf("slot %d: %w", slot, audience.ErrStale)
			}
			if c.Remove.Has(slot) && c.Attributes[slot].Name != s.saved[slot].Name {
				return nil, fmt.Errorf("slot %d: %w", slot, audience.ErrStale)
			}
		}
	}
	return s.Store.Change(ctx, id, changes)
}

// startStale starts a node over a staleStore.
func startStale(t *testing.T, patience time.Duration) (*node, *staleStore) {
	t.Helper()
	n := start(t, gate.Options{})
	store := &staleStore{Store: storetest.Join(n.store.Apps, n.store.Users, n.store.Close), saved: n.apps.App(appID).Attributes}
	n.over(store, store, gate.Options{RequestTimeout: patience})
	t.Cleanup(n.apps.Close)
	return n.direct(), store
}

const setCity = `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"city":"Rome"}}]}`

// name gives slots names.
func (n *node) name(names map[int]string) {
	n.t.Helper()
	if err := n.apps.NameAttributes(context.Background(), appID, names, nil); err != nil {
		n.t.Fatal(err)
	}
}

// TestStaleNames: names are those that the app has when a request is carried
// out, not those of when it was checked.
func TestStaleNames(t *testing.T) {
	n, store := startStale(t, 10*time.Second)
	// Two names are swapped between the checks and the change, twice.
	swaps := []map[int]string{{0: "city", 1: "sex"}, {0: "sex", 1: "city"}, {0: "city", 1: "sex"}}
	store.before = func([]audience.Change) {
		if len(swaps) > 0 {
			n.name(swaps[0])
			swaps = swaps[1:]
		}
	}
	n.post("timpush/set_attr", setCity).ok(t)
	a := n.post("timpush/get_attr", `{"To_Account":["Mary"]}`).ok(t)
	if want := `"Attrs":{"city":"Rome","sex":"Paris","country":"France"}`; !strings.Contains(a.raw, want) || store.asked != 4 {
		t.Errorf("after %d tries Mary is %s, want %s", store.asked, a.raw, want)
	}

	// remove_attr, too, empties the slot that has the name by then.
	swaps = []map[int]string{{0: "sex", 1: "city"}}
	n.post("timpush/remove_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":["city"]}]}`).ok(t)
	if a := n.post("timpush/get_attr", `{"To_Account":["Mary"]}`).ok(t); strings.Contains(a.raw, "Paris") || !strings.Contains(a.raw, "Rome") {
		t.Errorf("after city was taken away Mary is %s", a.raw)
	}
	n.name(map[int]string{0: "city", 1: "sex"})

	// A name that is gone by then is refused as it always was.
	swaps = []map[int]string{{0: "town"}}
	n.post("timpush/set_attr", setCity).code(t, 90033, "city")
}

// TestStaleWithoutEnd: an app whose attributes change faster than a request can
// follow, and one that is gone.
func TestStaleWithoutEnd(t *testing.T) {
	n, store := startStale(t, 200*time.Millisecond)
	swapped := false
	store.before = func([]audience.Change) {
		if swapped = !swapped; swapped {
			n.name(map[int]string{0: "city", 1: "sex"})
		} else {
			n.name(map[int]string{0: "sex", 1: "city"})
		}
	}
	before := n.state()
	n.post("timpush/set_attr", setCity).code(t, 90994)
	if store.asked < 2 {
		t.Errorf("it was tried %d times", store.asked)
	}
	n.name(map[int]string{0: "sex", 1: "city"})
	if after := n.state(); after != before {
		t.Errorf("it changed something:\n%s\nwas\n%s", after, before)
	}

	store.before = func([]audience.Change) {
		n.declare(app.Declaration{ID: appID, Status: new(app.Disabled)})
		if err := n.apps.Delete(context.Background(), appID); err != nil {
			t.Error(err)
		}
		store.saved = audience.Attributes{}
	}
	n.post("timpush/set_attr", setCity).code(t, apierr.UnknownApp.Code)
}

// TestStaleBeforeRegistry: a store may know of new names before the registry
// has them; then a request waits for them instead of being stale again.
func TestStaleBeforeRegistry(t *testing.T) {
	n, store := startStale(t, 10*time.Second)
	saved, goOn := make(chan struct{}), make(chan struct{})
	store.saving = func() {
		close(saved)
		<-goOn
	}
	named := make(chan error)
	go func() {
		named <- n.apps.NameAttributes(context.Background(), appID, map[int]string{0: "city", 1: "sex"}, nil)
	}()
	<-saved
	store.before = func([]audience.Change) {
		if store.asked == 1 {
			time.AfterFunc(20*time.Millisecond, func() { close(goOn) })
		}
	}
	n.post("timpush/set_attr", setCity).ok(t)
	if err := <-named; err != nil || store.asked != 2 {
		t.Errorf("NameAttributes = %v; the change was tried %d times, want 2", err, store.asked)
	}
}
