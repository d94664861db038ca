package storetest

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidings/internal/apierr"
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

// population makes users of both kinds for the tests of audiences.
func (h *harness) population() {
	h.Helper()
	user := func(account string, values audience.Values, tags ...string) audience.Change {
		return audience.Change{Account: account, Create: true, Set: values, Tags: audience.TagEdit{Op: audience.AddTags, Tags: tags}}
	}
	h.saveApp(NewApp(id))
	h.change(id, []audience.Change{
		user("ann", audience.Values{0: "gold", 1: "7", 2: "2026-03-01"}, "vip", "beta"),
		user("bob", audience.Values{0: "free", 1: "42"}, "beta"),
		user("cid", audience.Values{0: "gold", 1: "seven"}),
		user("dan", audience.Values{}, "vip"),
		ofKind(audience.RegistrationID, user("p1", audience.Values{9: "android"}, "phones")),
		ofKind(audience.RegistrationID, user("p2", audience.Values{9: "ios"})),
	})
}

func testEstimate(t *testing.T, h *harness) {
	h.population()
	h.twice(func() {
		for where, accounts := range map[string]string{
			`true`:                          "ann bob cid dan",
			`false`:                         "",
			`attr0 == "gold"`:               "ann cid",
			`attr0 != "gold"`:               "bob dan",
			`attr0 in ["free", "none"]`:     "bob",
			`has("attr0")`:                  "ann bob cid",
			`!has("attr0") && !tag("beta")`: "dan",
			`tag("vip") || tag("beta")`:     "ann bob dan",
			`tag("vip") && attr0 == "gold"`: "ann",
			`tag("nobody has it")`:          "",
			`!tag("nobody has it")`:         "ann bob cid dan",
			`attr1 >= 7`:                    "ann bob",
			`attr1 < 42`:                    "ann",
			`attr2 <= date("2026-03-01")`:   "ann",
			`attr9 == "ios"`:                "p2",
			`!tag("phones")`:                "p2",
			`tag("phones") && has("attr9")`: "p1",
		} {
			h.wantSelected(where, accounts)
		}
		e := h.estimate(`tag("vip") && attr0 == "gold" && true`)
		if e.Count != 1 || len(e.Clauses) != 2 || e.Clauses[0] != (audience.ClauseCount{Clause: `tag("vip")`, Count: 2}) || e.Clauses[1] != (audience.ClauseCount{Clause: `attr0 == "gold"`, Count: 2}) {
			t.Errorf("Estimate = %+v", e)
		}
		for _, asked := range []struct {
			kind         audience.Kind
			sample, want int
		}{{audience.UserID, 0, 0}, {audience.UserID, 2, 2}, {audience.UserID, 100, 5}, {audience.RegistrationID, 100, 2}} {
			e, err := h.Estimate(t.Context(), id, h.query("true", asked.kind), asked.sample)
			if err != nil || len(e.Sample) != asked.want {
				t.Errorf("Estimate of everyone of kind %d with a sample of %d = %+v, %v", asked.kind, asked.sample, e, err)
			}
		}
		for _, mixed := range []string{`attr9 == "ios" && attr0 == "gold"`, `tag("phones") || tag("vip")`, `attr0 == "gold" && tag("phones")`} {
			if _, err := h.Estimate(t.Context(), id, h.query(mixed, audience.UserID), 1); !errors.Is(err, apierr.WrongAccountKind) {
				t.Errorf("Estimate(%s) = %v, want 90035", mixed, err)
			}
		}
	})
}

func testExplain(t *testing.T, h *harness) {
	h.population()
	h.twice(func() {
		for _, c := range []struct {
			where, account string
			match          bool
			clauses        []bool
		}{
			{`tag("vip") && attr0 == "gold"`, "ann", true, []bool{true, true}},
			{`tag("vip") && attr0 == "gold"`, "dan", false, []bool{true, false}},
			{`tag("vip") && attr0 == "gold"`, "p1", false, []bool{false, false}},
			{`!tag("vip")`, "p1", false, []bool{false}}, // for UserIDs
			{`attr9 != "ios"`, "p1", true, []bool{true}},
			{`attr9 != "ios"`, "ann", false, []bool{false}},
			{`attr1 > 8`, "cid", false, []bool{false}},
		} {
			e, err := h.Explain(t.Context(), id, h.query(c.where, audience.UserID), c.account)
			var clauses []bool
			for _, m := range e.Clauses {
				clauses = append(clauses, m.Match)
			}
			if err != nil || e.Match != c.match || !slices.Equal(clauses, c.clauses) {
				t.Errorf("Explain(%s, %q) = %+v, %v; want %t, %v", c.where, c.account, e, err, c.match, c.clauses)
			}
		}
		e, err := h.Explain(t.Context(), id, h.query("true", audience.UserID), "ann")
		want := &audience.Traits{Values: audience.Values{0: "gold", 1: "7", 2: "2026-03-01"}, Tags: []string{"beta", "vip"}}
		if err != nil || !e.Match || !reflect.DeepEqual(e.Traits, want) {
			t.Errorf("Explain(true, ann) = %+v, %v; want %+v", e, err, want)
		}
		if _, err := h.Explain(t.Context(), id, h.query("true", audience.UserID), "nobody"); !errors.Is(err, apierr.UnknownAccount) {
			t.Errorf("Explain(true, nobody) = %v, want 70107", err)
		}
		if _, err := h.Explain(t.Context(), id, h.query(`tag("phones") && tag("vip")`, audience.UserID), "ann"); !errors.Is(err, apierr.WrongAccountKind) {
			t.Errorf("Explain of both kinds = %v, want 90035", err)
		}
	})
}
