// Package storetest is the suite that every storage backend passes: what its
// methods do, and what is left of it after a restart and after a crash.
package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/device"
)

// A Store is what the server needs of a backend.
type Store interface {
	app.Store
	audience.Store
	Close() error
}

// Join makes one Store of those of a backend.
func Join(apps app.Store, users audience.Store, end func() error) Store {
	return joined{apps, users, end}
}

type (
	appStore  = app.Store
	userStore = audience.Store
	joined    struct {
		appStore
		userStore
		end func() error
	}
)

func (j joined) Close() error { return j.end() }

// A Database is where a Store keeps things, empty at first.
type Database struct {
	// Open opens it; at most one Store is open at a time.
	Open func() (Store, error)
	// Crash makes the next Open see what a power loss at this moment leaves. The
	// Store that is open is then closed, which must not reach the Database any
	// more. Nil if the backend cannot do that in a test.
	Crash func()
	// Inspect fails the test if the data is not consistent. It may be nil.
	Inspect func(t *testing.T, s Store)

	// Devices returns the device.Store beside a Store; nil if there is none.
	Devices func(s Store) device.Store

	// The promises of audience.Store that not every backend keeps yet.
	DeletionRevokes  bool // Delete and DeleteApp make the tickets issued so far invalid
	KeepsAdmins      bool // Delete refuses admins of the app
	ChecksAttributes bool // Change refuses attributes that the app no longer has
}

// Run tests a backend. make gives an empty database each time.
func Run(t *testing.T, make func(t *testing.T) Database) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, h *harness)
	}{
		{"create", testCreate},
		{"set and remove", testSetAndRemove},
		{"order and duplicates", testOrder},
		{"failures", testFailures},
		{"account kinds", testKinds},
		{"profile", testProfile},
		{"what no record may hold", testUnstorable},
		{"reading", testReading},
		{"deletion", testDelete},
		{"deletion by kind", testDeleteKind},
		{"deletion of an admin", testDeleteAdmin},
		{"stale attributes", testStale},
		{"tags of an account", testTagEdits},
		{"tags beside other changes", testTagsWhole},
		{"limits of tags", testTagLimits},
		{"kinds of tags", testTagKinds},
		{"kinds of tags after a crash", testTagsAfterCrash},
		{"tags of an app", testTags},
		{"values of an attribute", testAttrValues},
		{"estimate", testEstimate},
		{"explain", testExplain},
		{"list", testList},
		{"list while accounts change", testListFixed},
		{"page tokens", testPageTokens},
		{"ticket invalidation", testRevoke},
		{"import and export", testImport},
		{"export of one moment", testExportMoment},
		{"export of an audience", testExportAudience},
		{"apps", testApps},
		{"apps are apart", testApart},
		{"app deletion", testDeleteApp},
		{"first change after a start", testFirstChange},
		{"unknown app", testUnknownApp},
		{"cancelled context", testCancelled},
		{"closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &harness{T: t, db: make(t)}
			h.open()
			t.Cleanup(h.close)
			c.test(t, h)
			h.inspect()
		})
	}
}

// testCancelled: a call whose context ends does all or nothing, and the store
// goes on.
func testCancelled(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Change(gone, id, []audience.Change{{Account: "b", Create: true}}); err == nil {
		t.Error("Change under an ended context succeeded")
	}
	_, err := h.Delete(gone, id, audience.UserID, []string{"a"})
	if err == nil {
		t.Error("Delete under an ended context succeeded")
	}
	if err := h.SaveApp(gone, NewApp(2)); err == nil {
		t.Error("SaveApp under an ended context succeeded")
	}
	if err := h.DeleteApp(gone, id); err == nil {
		t.Error("DeleteApp under an ended context succeeded")
	}
	h.twice(func() {
		h.want(id, "a", "")
		h.want(id, "b", "-")
		h.wantApps(NewApp(id))
	})
	// Contexts that end at any moment.
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Microsecond)
		stamp := fmt.Sprint(i)
		_, _ = h.Change(ctx, id, []audience.Change{
			{Account: "a", Set: audience.Values{0: stamp, 1: stamp}, Attributes: Attributes},
			{Account: "c", Create: true, Set: audience.Values{0: stamp, 1: stamp}, Attributes: Attributes},
		})
		cancel()
	}
	var before []audience.User
	h.twice(func() {
		users, err := h.Users(t.Context(), id, []string{"a", "c"})
		if err != nil {
			t.Fatal(err)
		}
		if a, c := users[0].Values, users[1].Values; a[0] != a[1] || a != c {
			t.Fatalf("requests that were cut off left %q and %q", a, c)
		}
		if before != nil && !reflect.DeepEqual(before, users) {
			t.Fatalf("users are %v after a restart, were %v", users, before)
		}
		before = users
	})
	h.change(id, []audience.Change{{Account: "a", Set: audience.Values{0: "end"}}})
}

// testClosed: what is called after Close, as a handler that outlives the
// server's patience does, fails and does not panic.
func testClosed(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a")
	s := h.Store
	h.close()
	if _, err := s.Change(t.Context(), id, []audience.Change{{Account: "b", Create: true}}); err == nil {
		t.Error("Change after Close succeeded")
	}
	if _, err := s.Delete(t.Context(), id, audience.UserID, []string{"a"}); err == nil {
		t.Error("Delete after Close succeeded")
	}
	if err := s.Revoke(t.Context(), id, "a", time.Unix(1, 0)); err == nil {
		t.Error("Revoke after Close succeeded")
	}
	if _, err := s.RevokedUpTo(t.Context(), id, "a"); err == nil {
		t.Error("RevokedUpTo after Close succeeded")
	}
	if _, err := s.Apps(t.Context()); err == nil {
		t.Error("Apps after Close succeeded")
	}
	if err := s.SaveApp(t.Context(), NewApp(5)); err == nil {
		t.Error("SaveApp after Close succeeded")
	}
	if err := s.DeleteApp(t.Context(), id); err == nil {
		t.Error("DeleteApp after Close succeeded")
	}
	h.open()
	h.want(id, "a", "")
	h.want(id, "b", "-")
	h.wantApps(NewApp(id))
}

// Continue opens a database that holds apps, looks at it, changes it, and looks
// at it again after a restart.
func Continue(t *testing.T, db Database, apps []*app.App, look func(Store)) {
	h := &harness{T: t, db: db}
	h.open()
	defer h.close()
	h.wantApps(apps...)
	look(h.Store)
	h.saveApp(NewApp(2))
	h.change(2, []audience.Change{{Account: "new", Create: true, Set: audience.Values{0: "x"}}})
	h.reopen()
	h.wantApps(append(slices.Clone(apps), NewApp(2))...)
	look(h.Store)
	h.want(2, "new", "0=x")
	h.inspect()
}
