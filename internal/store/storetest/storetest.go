// Package storetest is the suite that every storage backend passes: what its
// methods do, and what is left of it after a restart and after a crash.
package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
)

// A Store is what the server needs of a backend.
type Store interface {
	app.Store
	audience.Store
	Close() error
}

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

	// The promises of audience.Store that not every backend keeps yet.
	DeletionRevokes  bool // Delete makes the tickets issued so far invalid
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

// harness is an open store whose methods may not fail.
type harness struct {
	*testing.T
	db Database
	Store
}

func (h *harness) open() {
	h.Helper()
	s, err := h.db.Open()
	if err != nil {
		h.Fatalf("Open: %v", err)
	}
	h.Store = s
}

func (h *harness) close() {
	if h.Store == nil {
		return
	}
	if err := h.Store.Close(); err != nil {
		h.Errorf("Close: %v", err)
	}
	h.Store = nil
}

func (h *harness) reopen() {
	h.Helper()
	h.close()
	h.open()
}

func (h *harness) inspect() {
	h.Helper()
	if h.db.Inspect != nil && h.Store != nil {
		h.db.Inspect(h.T, h.Store)
	}
}

// id is the app of most tests.
const id = 1400000001

// Attributes are those of the apps of the suite: in slot 9 one that is for
// RegistrationIDs.
var Attributes = func() *audience.Attributes {
	var a audience.Attributes
	for i := range a {
		a[i].Name = fmt.Sprintf("attr%d", i)
	}
	a[9].Kind = audience.RegistrationID
	return &a
}()

// NewApp is an app with Attributes.
func NewApp(id uint32) *app.App {
	return &app.App{
		ID: id, Name: "test", Status: app.Enabled, Created: time.Unix(1_700_000_000, 0).UTC(),
		Keys:       []app.Key{{ID: 1, Secret: "a secret key", Primary: true, Created: time.Unix(1_700_000_000, 0).UTC()}},
		NextKey:    1,
		Admins:     []string{app.BuiltInAdmin},
		Attributes: *Attributes,
	}
}

func (h *harness) saveApp(a *app.App) {
	h.Helper()
	if err := h.SaveApp(h.Context(), a); err != nil {
		h.Fatalf("SaveApp(%d): %v", a.ID, err)
	}
}

// change makes changes of which those in failing, a list of "account code",
// fail.
func (h *harness) change(app uint32, changes []audience.Change, failing ...string) {
	h.Helper()
	for i := range changes {
		if changes[i].Set != (audience.Values{}) {
			changes[i].Attributes = Attributes
		}
	}
	failures, err := h.Change(h.Context(), app, changes)
	if err != nil {
		h.Fatalf("Change(%d, %v): %v", app, changes, err)
	}
	var got []string
	for _, f := range failures {
		got = append(got, fmt.Sprint(f.Account, " ", f.Err.Kind.Code))
	}
	if !slices.Equal(got, failing) {
		h.Fatalf("Change(%d, %v) failed for %q, want %q", app, changes, got, failing)
	}
}

// create makes accounts.
func (h *harness) create(app uint32, accounts ...string) {
	h.Helper()
	var changes []audience.Change
	for _, a := range accounts {
		changes = append(changes, audience.Change{Account: a, Create: true})
	}
	h.change(app, changes)
}

// want compares an account with its values by slot, "0=a 3=b"; "-" is no
// account.
func (h *harness) want(app uint32, account, values string) {
	h.Helper()
	users, err := h.Users(h.Context(), app, []string{account})
	if err != nil || len(users) != 1 {
		h.Fatalf("Users(%d, %q) = %v, %v", app, account, users, err)
	}
	if got := show(users[0]); got != values {
		h.Fatalf("user %q of app %d is %q, want %q", account, app, got, values)
	}
}

func show(u audience.User) string {
	if !u.Exists {
		return "-"
	}
	var all []string
	for i, v := range u.Values {
		if v != "" {
			all = append(all, fmt.Sprintf("%d=%s", i, v))
		}
	}
	return strings.Join(all, " ")
}

func (h *harness) wantCount(app uint32, want int) {
	h.Helper()
	if got, err := h.Count(h.Context(), app); err != nil || got != want {
		h.Fatalf("Count(%d) = %d, %v; want %d", app, got, err, want)
	}
}

func (h *harness) wantRevoked(app uint32, account string, want int64) {
	h.Helper()
	got, err := h.RevokedUpTo(h.Context(), app, account)
	if err != nil || got != want {
		h.Fatalf("RevokedUpTo(%d, %q) = %d, %v; want %d", app, account, got, err, want)
	}
}

// twice runs a check now and after a restart.
func (h *harness) twice(check func()) {
	h.Helper()
	check()
	h.reopen()
	check()
}

func slots(list ...int) (s audience.SlotSet) {
	for _, i := range list {
		s.Add(i)
	}
	return s
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

// withoutAdmin returns accounts without the one that every app has.
func withoutAdmin(accounts []string) []string {
	return slices.DeleteFunc(accounts, func(a string) bool { return a == app.BuiltInAdmin })
}
