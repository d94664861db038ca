// Package storetest is the suite that every storage backend passes: what its
// methods do, and what is left of it after a restart and after a crash.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
)

// A Store is what the server needs of a backend. Each method returns when what
// it changed, and what it tells, is durable.
type Store interface {
	app.Store
	// Change makes changes to accounts, in order; those that cannot be made come
	// back as failures.
	Change(ctx context.Context, app uint32, changes []audience.Change) ([]audience.Failure, error)
	// Users reads accounts, one answer for each in the same order.
	Users(ctx context.Context, app uint32, accounts []string) ([]audience.User, error)
	// Delete takes accounts away with all their data and tells which existed.
	Delete(ctx context.Context, app uint32, accounts []string) (existed []bool, err error)
	// Revoke makes the tickets of an account issued up to a second invalid; it
	// never makes one valid again.
	Revoke(ctx context.Context, app uint32, account string, upTo time.Time) error
	// RevokedUpTo is that second; 0 if there is none.
	RevokedUpTo(ctx context.Context, app uint32, account string) (int64, error)
	// Import makes changes in batches, or with dryRun only tells which it could
	// not make as things are.
	Import(ctx context.Context, app uint32, batches iter.Seq[[]audience.Change], dryRun bool, failed func(i int, err *apierr.Error)) error
	// Export gives an app's attributes and its users as they are at one moment.
	Export(ctx context.Context, app uint32, begin func(*audience.Attributes) error, each func(*audience.Exported) error) error
	// Count is how many accounts an app has; 0 if there is no such app.
	Count(app uint32) int
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
		{"ticket invalidation", testRevoke},
		{"import and export", testImport},
		{"export of one moment", testExportMoment},
		{"apps", testApps},
		{"apps are apart", testApart},
		{"app deletion", testDeleteApp},
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
	if got := h.Count(app); got != want {
		h.Fatalf("Count(%d) = %d, want %d", app, got, want)
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

func testCreate(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	long := strings.Repeat("x", audience.MaxAccountBytes)
	names := []string{"a", "\x00", "with space", "\xe4\xbd\xa0\xe5\xa5\xbd", "A", long, "\xff\xfe"}
	h.create(id, names...)
	h.create(id, "a", "a") // again: no change
	h.change(id, []audience.Change{
		{Account: "", Create: true},
		{Account: long + "x", Create: true},
		{Account: "nobody"},
	}, " 70107", long+"x 70107", "nobody 70107")
	h.twice(func() {
		h.wantCount(id, len(names)+1) // administrator
		h.want(id, app.BuiltInAdmin, "")
		for _, a := range names {
			h.want(id, a, "")
		}
		h.want(id, "nobody", "-")
		h.want(id, "", "-")
		h.want(id, long+"x", "-")
	})
}

func testSetAndRemove(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a", "b")
	long := strings.Repeat("v", audience.MaxValueBytes)
	h.change(id, []audience.Change{
		{Account: "a", Set: audience.Values{0: "x", 3: "y", 8: long}},
		{Account: "b", Set: audience.Values{0: "x"}},
		{Account: "new", Create: true, Set: audience.Values{1: "\x00\u00e9"}},
	})
	h.change(id, []audience.Change{{Account: "a", Set: audience.Values{3: "z"}, Remove: slots(0, 5)}})
	h.change(id, []audience.Change{{Account: "b", Remove: slots(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)}, {Account: "b", Remove: slots(0)}})
	h.twice(func() {
		h.want(id, "a", "3=z 8="+long)
		h.want(id, "b", "")
		h.want(id, "new", "1=\x00\u00e9")
	})
}

func testOrder(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a")
	h.change(id, []audience.Change{
		{Account: "a", Set: audience.Values{0: "first", 1: "first"}},
		{Account: "late", Set: audience.Values{0: "too early"}},
		{Account: "a", Set: audience.Values{0: "second"}},
		{Account: "late", Create: true, Set: audience.Values{0: "made"}},
		{Account: "a", Remove: slots(1)},
		{Account: "late", Set: audience.Values{1: "then set"}},
		{Account: "gone", Create: true},
		{Account: "a", Set: audience.Values{2: "third"}},
		{Account: "late", Set: audience.Values{2: "r"}, Remove: slots(1)},
	}, "late 70107")
	h.twice(func() {
		h.want(id, "a", "0=second 2=third")
		h.want(id, "late", "0=made 2=r")
		h.want(id, "gone", "")
	})
}

func testFailures(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a", "b")
	h.change(id, []audience.Change{
		{Account: "x", Set: audience.Values{0: "1"}},
		{Account: "a", Set: audience.Values{0: "1"}},
		{Account: "y", Remove: slots(0)},
		{Account: "b", Set: audience.Values{0: "2"}},
		{Account: "x", Remove: slots(0)}, // each entry has its own
	}, "x 70107", "y 70107", "x 70107")
	h.twice(func() {
		h.want(id, "a", "0=1")
		h.want(id, "b", "0=2")
		h.want(id, "x", "-")
		h.want(id, "y", "-")
		h.wantCount(id, 3)
	})
}

func testKinds(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a")
	h.change(id, []audience.Change{
		{Account: "a", Set: audience.Values{0: "refused with the other", 9: "for installations"}, Remove: slots(1)},
		{Account: "made", Create: true, Set: audience.Values{9: "for installations"}},
		{Account: "a", Set: audience.Values{1: "kept"}, UserIDOnly: true},
		{Account: "a", Remove: slots(9)}, // takes away what cannot be there
	}, "a 90035", "made 90035")
	h.twice(func() {
		h.want(id, "a", "1=kept")
		h.want(id, "made", "-") // not even made
	})
}

func testProfile(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	nick, face, empty := strings.Repeat("n", audience.MaxProfileBytes), "http://example.com/", ""
	h.change(id, []audience.Change{
		{Account: "a", Create: true, Profile: audience.Profile{Nick: &nick, FaceURL: &face}},
		{Account: "a", Create: true, Profile: audience.Profile{Nick: &empty}},
		{Account: "nobody", Profile: audience.Profile{Nick: &nick}},
	}, "nobody 70107")
	h.twice(func() { h.want(id, "a", "") })
}

// testUnstorable: what the checks before a store let through by mistake is an
// error of the whole call and does not reach the disk.
func testUnstorable(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a")
	long := strings.Repeat("n", audience.MaxProfileBytes+1)
	for _, bad := range []audience.Change{
		{Account: "a", Set: audience.Values{0: strings.Repeat("v", audience.MaxValueBytes+1)}},
		{Account: "a", Set: audience.Values{0: "\xff"}},
		{Account: "a", Profile: audience.Profile{Nick: &long}},
		{Account: "a", Profile: audience.Profile{FaceURL: &long}},
	} {
		_, err := h.Change(t.Context(), id, []audience.Change{{Account: "a", Set: audience.Values{1: "x"}}, bad})
		if err == nil {
			t.Errorf("Change(%v) succeeded", bad)
		}
	}
	bad := NewApp(7)
	bad.Admins = append(bad.Admins, "")
	if h.SaveApp(t.Context(), bad) == nil {
		t.Error("SaveApp with an admin without a name succeeded")
	}
	h.twice(func() { h.want(id, "a", "") })
}

func testReading(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a", "b")
	h.change(id, []audience.Change{{Account: "a", Set: audience.Values{0: "1", 8: "2"}}, {Account: "b", Set: audience.Values{0: "3"}}})
	users, err := h.Users(t.Context(), id, []string{"b", "nobody", "a", "b", ""})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range users {
		got = append(got, show(u))
	}
	if want := []string{"0=3", "-", "0=1 8=2", "0=3", "-"}; !slices.Equal(got, want) {
		t.Fatalf("Users gives %q, want %q", got, want)
	}
	if users, err := h.Users(t.Context(), id, nil); err != nil || len(users) != 0 {
		t.Fatalf("Users of nobody = %v, %v", users, err)
	}
}

func (h *harness) deleteUsers(app uint32, accounts []string, want ...bool) {
	h.Helper()
	if got, err := h.Delete(h.Context(), app, accounts); err != nil || !slices.Equal(got, want) {
		h.Fatalf("Delete(%d, %q) = %v, %v; want %v", app, accounts, got, err, want)
	}
}

func testDelete(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	nick := "nick"
	h.change(id, []audience.Change{
		{Account: "a", Create: true, Set: audience.Values{0: "1"}, Profile: audience.Profile{Nick: &nick, FaceURL: &nick}},
		{Account: "b", Create: true, Set: audience.Values{0: "1"}},
		{Account: "c", Create: true, Set: audience.Values{0: "2"}},
	})
	h.revoke("a", 100)
	h.deleteUsers(id, []string{"a", "nobody", "a", "c"}, true, false, false, true)
	h.deleteUsers(id, nil)
	h.twice(func() {
		h.want(id, "a", "-")
		h.want(id, "c", "-")
		h.want(id, "b", "0=1")
		h.wantRevoked(id, "a", 0)
		h.wantCount(id, 2)
	})
	// An account of the same name is a new one.
	h.create(id, "a", "d")
	h.twice(func() {
		h.want(id, "a", "")
		h.want(id, "b", "0=1")
		h.want(id, "d", "")
		h.wantRevoked(id, "a", 0)
	})
	h.revoke("a", 50)
	h.wantRevoked(id, "a", 50)
}

func (h *harness) revoke(account string, upTo int64) {
	h.Helper()
	if err := h.Revoke(h.Context(), id, account, time.Unix(upTo, 999)); err != nil {
		h.Fatalf("Revoke(%q, %d): %v", account, upTo, err)
	}
}

func testRevoke(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a", "b")
	h.wantRevoked(id, "a", 0)
	h.revoke("a", 1_700_000_000)
	h.revoke("a", 1_700_000_005)
	h.revoke("a", 1_600_000_000) // the clock went back: what was invalid stays so
	err := h.Revoke(t.Context(), id, "nobody", time.Unix(5, 0))
	if !errors.Is(err, apierr.UnknownAccount) {
		t.Fatalf("Revoke(nobody) = %v, want 70107", err)
	}
	h.twice(func() {
		h.wantRevoked(id, "a", 1_700_000_005)
		h.wantRevoked(id, "b", 0)
		h.wantRevoked(id, "nobody", 0)
		h.wantRevoked(id, strings.Repeat("x", 1000), 0)
	})
	h.revoke("a", 1_600_000_000)
	h.wantRevoked(id, "a", 1_700_000_005)
}

// wantApps compares the apps that are stored, in any order.
func (h *harness) wantApps(want ...*app.App) {
	h.Helper()
	got, err := h.Apps(h.Context())
	if err != nil {
		h.Fatalf("Apps: %v", err)
	}
	order := func(a, b *app.App) int { return int(int64(a.ID) - int64(b.ID)) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if len(got) != len(want) {
		h.Fatalf("%d apps, want %d", len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			h.Fatalf("app is\n%+v, want\n%+v", *got[i], *want[i])
		}
	}
}

func testApps(_ *testing.T, h *harness) {
	h.wantApps()
	low, high := NewApp(1), NewApp(1<<32-1)
	high.Keys = append(high.Keys, app.Key{ID: 2, Secret: "another key", Ends: time.Unix(1_800_000_000, 0).UTC()})
	high.Settings = app.Settings{CreateAccounts: true, UserIDs: app.UTF8, Limits: app.Limits{"default": 0}, Hosts: []string{"push.example.com"}}
	high.Admins = []string{app.BuiltInAdmin, "robot"}
	h.saveApp(low)
	h.saveApp(high)
	h.twice(func() {
		h.wantApps(low, high)
		h.want(1<<32-1, "robot", "")
		h.want(1, app.BuiltInAdmin, "")
		h.wantCount(1<<32-1, 2)
	})
	// Changed, an app keeps its users; a new admin has an account at once.
	h.change(1, []audience.Change{{Account: app.BuiltInAdmin, Set: audience.Values{0: "x"}}})
	changed := NewApp(1)
	changed.Name, changed.Status = "changed", app.Disabled
	changed.Admins = []string{app.BuiltInAdmin, "second"}
	h.saveApp(changed)
	h.twice(func() {
		h.wantApps(changed, high)
		h.want(1, app.BuiltInAdmin, "0=x")
		h.want(1, "second", "")
	})
}

func testApart(_ *testing.T, h *harness) {
	for _, id := range []uint32{1, 2, 255, 256, 1<<32 - 1} {
		h.saveApp(NewApp(id))
		h.change(id, []audience.Change{{Account: "a", Create: true, Set: audience.Values{0: fmt.Sprint(id)}}})
	}
	h.deleteUsers(2, []string{"a"}, true)
	h.twice(func() {
		for _, id := range []uint32{1, 255, 256, 1<<32 - 1} {
			h.want(id, "a", fmt.Sprintf("0=%d", id))
		}
		h.want(2, "a", "-")
	})
}

func testDeleteApp(t *testing.T, h *harness) {
	for _, id := range []uint32{1, 2, 1<<32 - 1} {
		h.saveApp(NewApp(id))
		nick := "nick"
		h.change(id, []audience.Change{{Account: "a", Create: true, Set: audience.Values{0: "x"}, Profile: audience.Profile{Nick: &nick}}})
		if err := h.Revoke(t.Context(), id, "a", time.Unix(9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []uint32{1, 1<<32 - 1} {
		if err := h.DeleteApp(t.Context(), id); err != nil {
			t.Fatalf("DeleteApp(%d): %v", id, err)
		}
		if err := h.DeleteApp(t.Context(), id); !errors.Is(err, apierr.UnknownApp) {
			t.Fatalf("DeleteApp(%d) again = %v, want 60006 or such", id, err)
		}
	}
	h.twice(func() {
		h.wantApps(NewApp(2))
		h.want(2, "a", "0=x")
		h.wantRevoked(2, "a", 9)
		h.wantCount(1, 0)
		h.wantCount(1<<32-1, 0)
		h.wantRevoked(1, "a", 0)
		h.wantUnknown(1)
	})
	// An app of the same number is a new one.
	h.saveApp(NewApp(1))
	h.twice(func() {
		h.wantCount(1, 1)
		h.want(1, "a", "-")
		h.wantRevoked(1, "a", 0)
	})
	h.create(1, "a", "b")
	h.twice(func() {
		h.want(1, "a", "")
		h.wantRevoked(1, "a", 0)
		h.wantCount(1, 3)
	})
}

// wantUnknown calls everything on an app that does not exist.
func (h *harness) wantUnknown(app uint32) {
	h.Helper()
	ctx := h.Context()
	_, change := h.Change(ctx, app, []audience.Change{{Account: "a", Create: true}})
	_, users := h.Users(ctx, app, []string{"a"})
	_, del := h.Delete(ctx, app, []string{"a"})
	for call, err := range map[string]error{
		"Change": change, "Users": users, "Delete": del,
		"Revoke": h.Revoke(ctx, app, "a", time.Unix(1, 0)), "DeleteApp": h.DeleteApp(ctx, app),
	} {
		if !errors.Is(err, apierr.UnknownApp) {
			h.Errorf("%s in app %d, which does not exist: %v, want %v", call, app, err, apierr.UnknownApp)
		}
	}
	h.wantCount(app, 0)
	h.wantRevoked(app, "a", 0)
}

func testUnknownApp(_ *testing.T, h *harness) {
	h.wantUnknown(id)
	h.saveApp(NewApp(id))
	h.wantUnknown(id + 1)
	h.wantUnknown(0)
	h.twice(func() { h.wantCount(id, 1) })
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
	_, err := h.Delete(gone, id, []string{"a"})
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
	if _, err := s.Delete(t.Context(), id, []string{"a"}); err == nil {
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
