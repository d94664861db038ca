package storetest

import (
	"slices"
	"strings"
	"testing"

	"tidings/internal/audience"
)

// query parses a Where expression of the suite's Attributes. "true" is everyone.
func (h *harness) query(where string, kind audience.Kind) audience.Query {
	h.Helper()
	e, err := audience.ParseWhere(where, Attributes)
	if err != nil {
		h.Fatalf("ParseWhere(%q): %v", where, err)
	}
	return audience.Query{Expr: e, Attributes: Attributes, Kind: kind}
}

// estimate asks for an audience of UserIDs and a sample that holds all of it.
func (h *harness) estimate(where string) audience.Estimate {
	h.Helper()
	e, err := h.Estimate(h.Context(), id, h.query(where, audience.UserID), 1000)
	if err != nil {
		h.Fatalf("Estimate(%s): %v", where, err)
	}
	return e
}

// wantSelected compares who is in an audience of UserIDs, the built-in admin
// left out: "a b c" in any order.
func (h *harness) wantSelected(where, accounts string) {
	h.Helper()
	e := h.estimate(where)
	got := slices.Sorted(slices.Values(e.Sample))
	if int(e.Count) != len(got) || strings.Join(withoutAdmin(got), " ") != accounts {
		h.Errorf("Estimate(%s) is %d accounts, %q; want %q", where, e.Count, got, accounts)
	}
}

// testFirstChange: an estimate that is asked for right after a start does not
// hide the first change that follows. Tags come last: reading those of an app at
// the start could count as changes.
func testFirstChange(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.change(id, []audience.Change{
		{Account: "a", Create: true, Set: audience.Values{"gold"}},
		{Account: "b", Create: true, Set: audience.Values{"free"}},
	})
	change := func(c audience.Change) func() {
		return func() { h.change(id, []audience.Change{c}) }
	}
	tag := func(op audience.TagOp) func() {
		return change(audience.Change{Account: "b", Tags: audience.TagEdit{Op: op, Tags: []string{"vip"}}})
	}
	for _, step := range []struct {
		where, before string
		change        func()
		after         string
		accounts      int // after the change, the built-in admin among them
	}{
		{`attr0 == "gold"`, "a", change(audience.Change{Account: "b", Set: audience.Values{"gold"}}), "a b", 3},
		{`attr0 == "gold"`, "a b", change(audience.Change{Account: "a", Remove: slots(0)}), "b", 3},
		{`attr0 == "gold"`, "b", change(audience.Change{Account: "c", Create: true, Set: audience.Values{"gold"}}), "b c", 4},
		{`attr0 == "gold"`, "b c", func() { h.deleteUsers(id, []string{"c"}, true) }, "b", 3},
		{`tag("vip")`, "", tag(audience.AddTags), "b", 3},
		{`tag("vip")`, "b", tag(audience.RemoveTags), "", 3},
	} {
		h.reopen()
		h.wantSelected(step.where, step.before)
		h.estimate("true")
		step.change()
		h.wantSelected(step.where, step.after)
		if e := h.estimate("true"); int(e.Count) != step.accounts {
			t.Errorf("true selects %d accounts, want %d", e.Count, step.accounts)
		}
	}
}
