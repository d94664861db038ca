package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
)

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
		h.Fatalf("Change(%d, %s): %v", app, showChanges(changes...), err)
	}
	var got []string
	for _, f := range failures {
		got = append(got, fmt.Sprint(f.Account, " ", f.Err.Kind.Code))
	}
	if !slices.Equal(got, failing) {
		h.Fatalf("Change(%d, %s) failed for %q, want %q", app, showChanges(changes...), got, failing)
	}
}

// showChanges writes changes in short, without what they leave as it is.
func showChanges(changes ...audience.Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "{%q", c.Account)
		show := func(is bool, format string, args ...any) {
			if is {
				fmt.Fprintf(&b, " "+format, args...)
			}
		}
		show(c.Create, "create kind %d", c.Kind)
		show(c.OfKind, "only kind %d", c.Kind)
		show(c.UserIDOnly, "only UserIDs")
		show(c.Created != 0, "created %d", c.Created)
		show(c.Set != audience.Values{}, "set %q", c.Set)
		show(c.Remove != 0, "remove %010b", c.Remove)
		show(c.Tags.Op != audience.KeepTags, "tags op %d %q app max %d", c.Tags.Op, c.Tags.Tags, c.Tags.AppMax)
		show(c.Profile.Nick != nil || c.Profile.FaceURL != nil || c.Profile.Clear, "profile")
		b.WriteString("} ")
	}
	return strings.TrimSpace(b.String())
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

// withoutAdmin returns accounts without the one that every app has.
func withoutAdmin(accounts []string) []string {
	return slices.DeleteFunc(accounts, func(a string) bool { return a == app.BuiltInAdmin })
}
