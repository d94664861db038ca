package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidings/internal/audience"
)

// tagged returns a change of the tags of an account, which is made if it does not
// exist.
func tagged(account string, op audience.TagOp, tags ...string) audience.Change {
	return audience.Change{Account: account, Create: true, Tags: audience.TagEdit{Op: op, Tags: tags}}
}

// ofKind returns a change of an account that is made with a kind.
func ofKind(kind audience.Kind, c audience.Change) audience.Change {
	c.Kind = kind
	return c
}

// wantTags compares the tags of an account, "a b c".
func (h *harness) wantTags(account, tags string) {
	h.Helper()
	users, err := h.Users(h.Context(), id, []string{account})
	if err != nil {
		h.Fatalf("Users(%q): %v", account, err)
	}
	if got := strings.Join(users[0].Tags, " "); got != tags {
		h.Errorf("user %q has the tags %q, want %q", account, got, tags)
	}
}

func testTagEdits(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	for _, edit := range []struct {
		op   audience.TagOp
		tags string
		want string
	}{
		{audience.AddTags, "b", "b"},
		{audience.AddTags, "c a b a", "a b c"},
		{audience.KeepTags, "", "a b c"},
		{audience.AddTags, "", "a b c"},
		{audience.RemoveTags, "b unknown", "a c"},
		{audience.ReplaceTags, "z c z", "c z"},
		{audience.RemoveTags, "", "c z"},
		{audience.ReplaceTags, "", ""},
		{audience.AddTags, "x y", "x y"},
		{audience.ClearTags, "", ""},
		{audience.RemoveTags, "x", ""},
		{audience.ReplaceTags, "a", "a"},
	} {
		h.change(id, []audience.Change{tagged("u", edit.op, strings.Fields(edit.tags)...)})
		h.twice(func() { h.wantTags("u", edit.want) })
		if t.Failed() {
			t.Fatalf("after op %d with %q", edit.op, edit.tags)
		}
	}
	long := strings.Repeat("t", audience.MaxTagBytes)
	h.change(id, []audience.Change{
		tagged("v", audience.AddTags, long, "\u4f60\u597d", "with space"),
		tagged("v", audience.RemoveTags, "with space"), // in order
		tagged("w", audience.AddTags, "a"),
	})
	h.twice(func() {
		h.wantTags("v", long+" \u4f60\u597d")
		h.wantTags("u", "a")
		h.wantTags("w", "a")
	})
	h.deleteUsers(id, []string{"u"}, true)
	h.create(id, "u")
	h.twice(func() {
		h.wantTags("u", "")
		h.wantTags("w", "a")
	})
}

// testTagsWhole: a change whose tags are refused changes nothing else either.
func testTagsWhole(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.change(id, []audience.Change{ofKind(audience.RegistrationID, tagged("phone", audience.AddTags, "phones"))})
	h.create(id, "u")
	both := func(account string) audience.Change {
		c := tagged(account, audience.AddTags, "fine", "phones")
		c.Set = audience.Values{0: "x"}
		c.Profile.Nick = text("nick")
		return c
	}
	h.change(id, []audience.Change{both("u"), tagged("v", audience.AddTags, "v"), both("made")}, "u 90035", "made 90035")
	h.twice(func() {
		h.want(id, "u", "")
		h.wantTags("u", "")
		h.want(id, "made", "-")
		h.wantTags("v", "v")
		h.wantTopTags("", 10, 2, "phones 1 1", "v 1 0")
	})
	for _, u := range h.export(id) {
		if u.Nick != "" {
			h.Errorf("user %q has the nickname %q of a change that was refused", u.Account, u.Nick)
		}
	}
}

func testTagLimits(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	many := make([]string, audience.MaxTags)
	for i := range many {
		many[i] = fmt.Sprintf("t%03d", i)
	}
	h.change(id, []audience.Change{
		tagged("full", audience.AddTags, many...),
		tagged("full", audience.AddTags, "more"),
		tagged("full", audience.AddTags, many[5]), // it has that
		tagged("late", audience.ReplaceTags, append([]string{"more"}, many...)...),
	}, "full 90032", "late 90032")
	h.twice(func() {
		h.wantTags("full", strings.Join(many, " "))
		h.want(id, "late", "-")
	})
	limited := func(account string, limit int, op audience.TagOp, tags ...string) audience.Change {
		c := tagged(account, op, tags...)
		c.Tags.AppMax = limit
		return c
	}
	const n = audience.MaxTags
	h.change(id, []audience.Change{
		limited("a", n, audience.AddTags, "new"),
		limited("a", n, audience.AddTags, many[0], many[1]), // no other ones
		limited("a", n-50, audience.AddTags, many[2]),
		limited("a", n+1, audience.AddTags, "new", "newer"),
		limited("a", n+1, audience.AddTags, "new"),
		limited("a", n+1, audience.AddTags, "newer"),
		limited("b", 0, audience.AddTags, "newest"), // 0 is no limit
		limited("b", 1, audience.RemoveTags, "newest"),
		limited("a", 1, audience.ReplaceTags, many[3]),
		limited("a", 1, audience.ReplaceTags, "new"),
		limited("full", 1, audience.RemoveTags, many[n-1]),
		limited("a", n, audience.AddTags, "new"), // one of the app's went away
		limited("c", n, audience.KeepTags),
		limited("c", 1, audience.ClearTags),
	}, "a 90032", "a 90032", "a 90032", "a 90032")
	h.twice(func() {
		h.wantTags("a", "new "+many[3])
		h.wantTags("b", "")
		h.wantTags("full", strings.Join(many[:n-1], " "))
		h.wantTopTags("", 1, n, many[3]+" 2 0")
	})
}

// testTagKinds: a tag belongs to the kind of its users, until it has none.
func testTagKinds(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.change(id, []audience.Change{
		tagged("zoe", audience.AddTags, "vip"),
		ofKind(audience.RegistrationID, tagged("phone", audience.AddTags, "phones")),
		tagged("phone", audience.AddTags, "vip"),
		tagged("zoe", audience.ReplaceTags, "phones"),
		tagged("phone", audience.RemoveTags, "vip"), // does not have it
		ofKind(audience.RegistrationID, tagged("a phone", audience.AddTags, "vip")),
	}, "phone 90035", "zoe 90035", "a phone 90035")
	h.twice(func() {
		h.wantTags("zoe", "vip")
		h.wantTags("phone", "phones")
		h.want(id, "a phone", "-")
	})
	// The last of each kind loses it, by an edit or with its account.
	h.change(id, []audience.Change{
		tagged("zoe", audience.ClearTags),
		tagged("phone", audience.ReplaceTags, "vip"),
		tagged("zoe", audience.AddTags, "phones"),
	})
	h.twice(func() {
		h.wantTopTags("", 10, 2, "phones 1 0", "vip 1 1")
		h.wantSelected(`tag("phones")`, "zoe")
		h.wantSelected(`tag("vip")`, "phone")
		h.wantSelected(`!tag("phones")`, "")
	})
	h.deleteKind(id, audience.RegistrationID, []string{"phone"}, nil)
	h.change(id, []audience.Change{tagged("zoe", audience.AddTags, "vip")})
	h.twice(func() {
		h.wantTopTags("", 10, 2, "phones 1 0", "vip 1 0")
		h.wantTags("zoe", "phones vip")
	})
}

// testTagsAfterCrash: tags that go from one kind to the other after a restart are
// of that kind after a crash, whichever account comes first by name.
func testTagsAfterCrash(t *testing.T, h *harness) {
	if h.db.Crash == nil {
		t.Skip("the backend cannot crash")
	}
	h.saveApp(NewApp(id))
	h.change(id, []audience.Change{
		tagged("m", audience.AddTags, "up", "down"),
		ofKind(audience.RegistrationID, tagged("a", audience.KeepTags)),
		ofKind(audience.RegistrationID, tagged("z", audience.KeepTags)),
	})
	h.reopen()
	h.change(id, []audience.Change{
		tagged("m", audience.ReplaceTags, "own"),
		tagged("a", audience.AddTags, "up"),
		tagged("z", audience.AddTags, "down"),
	})
	for range 2 {
		h.db.Crash()
		h.reopen()
		h.twice(func() {
			h.wantTopTags("", 10, 3, "up 1 1", "down 1 1", "own 1 0")
			h.wantSelected(`tag("up")`, "a")
			h.wantSelected(`!tag("up")`, "z")
			h.wantSelected(`tag("down")`, "z")
			h.wantSelected(`tag("own")`, "m")
		})
	}
}

func testTags(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.wantTopTags("", 10, 0)
	h.change(id, []audience.Change{
		tagged("a", audience.AddTags, "beta", "blue", "x"),
		tagged("b", audience.AddTags, "beta", "x"),
		tagged("c", audience.AddTags, "x"),
		ofKind(audience.RegistrationID, tagged("phone", audience.AddTags, "b-phones")),
	})
	h.twice(func() {
		h.wantTopTags("", 2, 4, "x 3 0", "beta 2 0")
		h.wantTopTags("b", 1, 3, "beta 2 0")
		h.wantTopTags("b-", 10, 1, "b-phones 1 1")
		h.wantTopTags("beta!", 10, 0)
	})
	h.change(id, []audience.Change{tagged("a", audience.RemoveTags, "blue"), tagged("c", audience.ReplaceTags, "beta")})
	h.deleteUsers(id, []string{"b"}, true)
	h.deleteKind(id, audience.RegistrationID, []string{"phone"}, nil)
	h.twice(func() { h.wantTopTags("", 10, 2, "beta 2 0", "x 1 0") })
}

// wantTopTags compares the first tags with a prefix, each "tag users kind", and
// how many there are. Those of equally many users may be in any order.
func (h *harness) wantTopTags(prefix string, limit, total int, want ...string) {
	h.Helper()
	list, n, err := h.Tags(h.Context(), id, prefix, limit)
	if err != nil {
		h.Fatalf("Tags(%q): %v", prefix, err)
	}
	h.wantTop(fmt.Sprintf("Tags(%q, %d)", prefix, limit), list, n, total, want)
}

func (h *harness) wantTop(call string, list []audience.ValueCount, n, total int, want []string) {
	h.Helper()
	var got []string
	for _, v := range list {
		got = append(got, fmt.Sprint(v.Value, " ", v.Count, " ", v.Kind))
	}
	falling := slices.IsSortedFunc(list, func(a, b audience.ValueCount) int { return int(b.Count) - int(a.Count) })
	slices.Sort(got)
	slices.Sort(want)
	if n != total || !falling || !slices.Equal(got, want) {
		h.Errorf("%s = %v of %d; want %q of %d", call, list, n, want, total)
	}
}

func testAttrValues(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	top := func(slot int, prefix string, limit, total int, want ...string) {
		t.Helper()
		list, n, err := h.AttrValues(t.Context(), id, slot, prefix, limit)
		if err != nil {
			t.Fatal(err)
		}
		h.wantTop(fmt.Sprintf("AttrValues(%d, %q, %d)", slot, prefix, limit), list, n, total, want)
	}
	top(0, "", 10, 0)
	h.change(id, []audience.Change{
		{Account: "a", Create: true, Set: audience.Values{0: "gold", 1: "gold"}},
		{Account: "b", Create: true, Set: audience.Values{0: "gold", 3: "\u4f60\u597d"}},
		{Account: "c", Create: true, Set: audience.Values{0: "green"}},
		{Account: "phone", Create: true, Kind: audience.RegistrationID, Set: audience.Values{9: "x"}},
	})
	h.twice(func() {
		top(0, "", 10, 2, "gold 2 0", "green 1 0")
		top(0, "", 1, 2, "gold 2 0")
		top(0, "gr", 10, 1, "green 1 0")
		top(1, "", 10, 1, "gold 1 0")
		top(2, "", 10, 0)
		top(3, "\u4f60", 10, 1, "\u4f60\u597d 1 0")
		top(9, "", 10, 1, "x 1 0")
	})
	h.change(id, []audience.Change{{Account: "a", Remove: slots(0)}, {Account: "b", Set: audience.Values{0: "green"}}})
	h.deleteUsers(id, []string{"a"}, true)
	h.twice(func() {
		top(0, "", 10, 1, "green 2 0")
		top(1, "", 10, 0)
	})
}
