package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

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
		bad.Attributes = Attributes
		_, err := h.Change(t.Context(), id, []audience.Change{{Account: "a", Set: audience.Values{1: "x"}, Attributes: Attributes}, bad})
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

// testStale: changes that were made from attributes which the app no longer has
// are refused, all of them, if they set a slot that is another one now.
func testStale(t *testing.T, h *harness) {
	if !h.db.ChecksAttributes {
		t.Skip("the backend does not look at the attributes")
	}
	a := NewApp(id)
	h.saveApp(a)
	h.create(id, "a")
	for _, other := range []audience.Attribute{{Name: "renamed"}, {}, {Name: Attributes[1].Name, Kind: audience.RegistrationID}} {
		a := NewApp(id)
		a.Attributes[1] = other
		h.saveApp(a)
		_, err := h.Change(t.Context(), id, []audience.Change{
			{Account: "a", Set: audience.Values{0: "as before"}, Attributes: Attributes},
			{Account: "b", Create: true, Set: audience.Values{1: "stale"}, Attributes: Attributes},
		})
		if !errors.Is(err, audience.ErrStale) {
			t.Errorf("slot 1 is %+v now: Change = %v, want %v", other, err, audience.ErrStale)
		}
		h.twice(func() {
			h.want(id, "a", "")
			h.want(id, "b", "-")
		})
	}
	// What sets other slots may be made from older attributes.
	h.change(id, []audience.Change{{Account: "a", Set: audience.Values{0: "x"}, Remove: slots(1)}})
	h.twice(func() { h.want(id, "a", "0=x") })
}
