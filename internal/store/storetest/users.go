package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
)

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
	answers, err := h.Delete(h.Context(), app, audience.UserID, accounts)
	var got []bool
	for _, a := range answers {
		got = append(got, a == nil)
	}
	if err != nil || !slices.Equal(got, want) {
		h.Fatalf("Delete(%d, %q) = %v, %v; want %v", app, accounts, answers, err, want)
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
