package audience

import (
	"strings"
	"testing"
	"unicode/utf8"

	"tidings/internal/apierr"
)

var whereAttrs = Attributes{{Name: "plan"}, {Name: "region"}, {Name: "app build"}, {Name: "since"}}

func TestParseWhere(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`plan == "gold" && (region in ["EU","APAC"] || tag("beta")) && !tag("muted")`, `plan == "gold" && (region in ["EU", "APAC"] || tag("beta")) && !tag("muted")`},
		{`attr("app build") >= 42`, `attr("app build") >= 42`},
		{`42 <= attr("app build")`, `attr("app build") >= 42`},
		{`has("region") and not has('plan')`, `has("region") && !has("plan")`},
		{`since < date("2026-01-01")`, `since < date("2026-01-01")`},
		{`plan != "gold"`, `plan != "gold"`},
		{`region not in ["EU"]`, `region != "EU"`},
		{`true`, `true`},
		{`plan < 1e19`, `plan < 1e+19`},
		{`plan < 1e308`, `plan < 1e+308`},
		{`plan > -9007199254740993`, `plan > -9007199254740993`},
		{`plan > 4.50`, `plan > 4.5`},
	} {
		e, err := ParseWhere(c.text, &whereAttrs)
		if err != nil || e.String() != c.want {
			t.Errorf("ParseWhere(%s) = %v, %v; want %s", c.text, e, err, c.want)
		}
	}
	for _, c := range []struct {
		text string
		kind *apierr.Kind
		info string
	}{
		{``, apierr.BadWhere, "line 1"},
		{`plan ==`, apierr.BadWhere, "line 1, column"},
		{"plan == \"a\" &&\n  shoe == \"b\"", apierr.BadWhere, "line 2, column 3"},
		{`plan`, apierr.BadWhere, `has("plan")`},
		{`plan < "gold"`, apierr.BadWhere, "numbers and dates"},
		{`since > date("tomorrow")`, apierr.BadWhere, `"tomorrow" is no date`},
		{`plan matches ".*"`, apierr.BadWhere, "operator matches"},
		{`len(plan) == 1`, apierr.BadWhere, ""},
		{`plan == ""`, apierr.BadWhere, "1 to 50"},
		{`tag("` + strings.Repeat("x", 51) + `")`, apierr.BadWhere, "51 bytes"},
		{`let x = 1; x == plan`, apierr.BadWhere, ""},
		{strings.Repeat(`tag("x") || `, 64) + `tag("x")`, apierr.WhereTooLarge, "65 terms"},
		{strings.Repeat("(", 5000), apierr.WhereTooLarge, "nests"},
		{strings.Repeat("!", 5000) + `tag("x")`, apierr.WhereTooLarge, "nests"},
		{strings.Repeat("x", MaxWhereBytes+1), apierr.WhereTooLarge, "bytes"},
	} {
		_, err := ParseWhere(c.text, &whereAttrs)
		if e := apierr.From(err); err == nil || e.Kind != c.kind || !strings.Contains(e.Info(), c.info) {
			t.Errorf("ParseWhere(%.60s) = %v, want %d with %q", c.text, err, c.kind.Code, c.info)
		}
	}
}

// TestNumbersCompareExactly: numbers without a fraction are not compared as doubles,
// which cannot tell large ones apart.
func TestNumbersCompareExactly(t *testing.T) {
	for _, c := range []struct {
		where, value string
		want         bool
	}{
		{`plan > 9007199254740992`, "9007199254740993", true},
		{`plan > 9007199254740993`, "9007199254740993", false},
		{`plan <= 9223372036854775806`, "9223372036854775807", false},
		{`plan >= -9223372036854775807`, "-9223372036854775808", false},
		{`plan >= 5`, "+5", true},
		{`plan >= 5`, "007", true},
		{`plan >= 5`, "4.999", false},
		{`plan >= 5`, "5e0", true},
		{`plan > 5`, "5.0", false},
		{`plan < 5.5`, "5", true},
		{`plan < 5`, "99999999999999999999", false},
		{`plan > 5`, "5 ", false},
		{`plan >= 0`, "", false},
	} {
		e, err := ParseWhere(c.where, &whereAttrs)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Matches(&Traits{Values: Values{c.value}}); got != c.want {
			t.Errorf("%s of %q is %t, want %t", c.where, c.value, got, c.want)
		}
	}
}

func FuzzParseWhere(f *testing.F) {
	f.Add(`plan == "gold" && (region in ["EU","APAC"] || tag("beta")) && !tag("muted")`)
	f.Add(`attr("app build") >= -4.5e3 or since < date("2026-01-01T08:00:00+08:00")`)
	f.Add(`not (plan not in ['a', "b"]) && has("since") || true`)
	for _, test := range whereErrors {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, attrs := range []*Attributes{{}, &awkward} {
			_, err := ParseWhere(text, attrs)
			checkWhereError(t, text, err)
		}
		e, err := ParseWhere(text, &whereAttrs)
		if checkWhereError(t, text, err); err != nil {
			return
		}
		again, err := ParseWhere(e.String(), &whereAttrs)
		if err != nil || again.String() != e.String() {
			t.Fatalf("%q does not survive a round trip: %s, %v, %v", text, e, again, err)
		}
	})
}

// checkWhereError fails the test unless an error, if there is one, is of a kind that
// ParseWhere has and within its bounds.
func checkWhereError(t *testing.T, text string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	e := apierr.From(err)
	if info := e.Info(); e.Kind != apierr.BadWhere && e.Kind != apierr.WhereTooLarge || len(info) > 1024 || !strings.HasPrefix(info, "Where") || !utf8.ValidString(info) {
		t.Fatalf("%q: %v", text, err)
	}
}
