package audience

import (
	"strings"
	"testing"

	"tidings/internal/apierr"
)

// awkward are attributes of which most cannot stand in a Where as they are.
var awkward = Attributes{
	{Name: "plan"}, {Name: "region"}, {Name: "app build"}, {Name: "app-id"}, {Name: "a.b"}, {Name: "let"}, {Name: "appbuild"}, {Name: "s&m"}, {Name: "b'c"},
}

// long is a word of many times the length that an error may have.
var long = strings.Repeat("y", 5000)

// whereErrors are mistakes and what is said about each, after "Where, line 1, column ".
var whereErrors = []struct{ text, want string }{
	{``, `1: the expression is empty; write a condition such as plan == "gold", or true for everyone`},
	{"  // nothing", `1: the expression is empty; write a condition such as plan == "gold", or true for everyone`},

	// Operators of other languages, and of other keyboards.
	{`plan = "gold"`, `6: write == instead of =`},
	{`plan === "gold"`, `6: write == instead of ===`},
	{`plan !== "gold"`, `6: write != instead of !==`},
	{`plan <> "gold"`, `6: write != instead of <>`},
	{`plan => 3`, `6: write >= instead of =>`},
	{`plan =< 3`, `6: write <= instead of =<`},
	{`plan ≥ 3`, `6: write >= instead of ≥`},
	{`plan＝"gold"`, `5: write == instead of ＝`},
	{`tag("a") & tag("b")`, `10: write && instead of &`},
	{`tag("a") | tag("b")`, `10: write || instead of |`},
	{`tag("a") AND tag("b")`, `10: write && instead of AND`},
	{`tag("a") Or tag("b")`, `10: write || instead of Or`},
	{`NOT tag("a")`, `1: write ! instead of NOT`},
	{`NOT(tag("a"))`, `1: write ! instead of NOT`},
	{`plan IN ["gold"]`, `6: write in instead of IN`},
	{`plan NOT IN ["gold"]`, `6: write ! instead of NOT`},
	{`plan LIKE "g%"`, `6: LIKE is not known here; there are && || ! == != < <= > >= in`},
	{`plan matches "g.*"`, `6: operator matches is not known here; there are && || ! == != < <= > >= in`},
	{`true ? true : false`, `6: ? is not known here; there are && || ! == != < <= > >= in`},
	{`tag("a"); tag("b")`, `1: write && between conditions, and not ;`},
	{`plan == {"gold"}`, `9: { is not known here; write ( ) around conditions and [ ] around lists`},

	// Texts and numbers.
	{`plan == “gold”`, `9: write " instead of “`},
	{`plan == gold`, `9: an attribute is compared with a text, a number or date(...); a text is written "gold"`},
	{`plan == "gold`, `9: the text that begins here has no closing quote on its line`},
	{`plan ==  'gold"`, `10: the text that begins here has no closing quote on its line`},
	{`plan == "\d"`, `9: the text that begins here has a wrong backslash; write \\ for one backslash and \" for a quote`},
	{`plan == b"gold"`, `9: write a text without b before it`},
	{`plan == 42abc`, `9: "42abc" is no number; write a text in quotes`},
	{`plan > "42"`, `8: > compares numbers and dates: write 42 without quotes`},
	{`plan > "2026-01-31"`, `8: > compares numbers and dates: write date("2026-01-31")`},
	{`plan > "gold"`, `8: > compares numbers and dates: write a number, or date("2026-01-31")`},
	{`plan == 99999999999999999999`, `9: the number 99999999999999999999 is too large; up to 64 bits are exact, and larger ones are written 1e20`},
	{`plan == 0x99999999999999999999`, `9: the number 0x99999999999999999999 is too large; up to 64 bits are exact, and larger ones are written 1e20`},
	{`plan == 1e999`, `9: the number 1e999 is too large; up to 64 bits are exact, and larger ones are written 1e20`},
	{`plan in [1]`, `10: a list holds texts: write each in quotes`},
	{`/* plan`, `1: the comment that begins here is not closed`},
	{`plan == @`, `9: '@' is not known here`},

	// Names.
	{`plna == "gold"`, `1: attribute "plna" is not set with set_attr_name; did you mean "plan"?`},
	{`has("regoin")`, `1: attribute "regoin" is not set with set_attr_name; did you mean "region"?`},
	{`attr("app buidl") == "42"`, `1: attribute "app buidl" is not set with set_attr_name; did you mean "app build"?`},
	{`zodiac == "leo"`, `1: attribute "zodiac" is not set with set_attr_name`},
	{`app build == "42"`, `1: write attr("app build") for the attribute "app build"`},
	{`42 <= app build`, `7: write attr("app build") for the attribute "app build"`},
	{`has(app build)`, `5: write the name in quotes, "app build"`},
	{`app-id == "x"`, `1: write attr("app-id") for the attribute "app-id"`},
	{`app-id in ["x"]`, `1: write attr("app-id") for the attribute "app-id"`},
	{`a.b == "x"`, `1: write attr("a.b") for the attribute "a.b"`},
	{`let == "x"`, `1: write attr("let") for the attribute "let"`},
	{`s&m == "x"`, `1: write attr("s&m") for the attribute "s&m"`},
	{`shoe size == "42"`, `1: a name that is more than one word is written attr("shoe size")`},
	{`gold`, `1: gold is no condition; tags are written tag("gold")`},
	{`"gold"`, `1: a text is no condition; tags are written tag("gold")`},
	{`!plan`, `2: plan is an attribute: compare it, or write has("plan")`},
	{`tag(beta)`, `1: tag takes one text in quotes: tag("beta")`},
	{`tags("beta")`, `1: function "tags" is not known; did you mean tag?`},
	{`lower(plan) == "gold"`, `1: function "lower" is not known; there are tag, has, attr, date`},
	{`filter(plan)`, `1: function "filter" is not known; there are tag, has, attr, date`},
	{`date("2026-01-31")`, `1: date(...) must be compared with an attribute`},
	{`attr("plan")`, `1: attr(...) must be compared, or write has(...)`},
	{`"gold" == "gold"`, `8: one side of == must be an attribute, and not in quotes`},

	// What is missing, and what is too much.
	{`plan ==`, `8: something is missing after ==`},
	{`tag("a") &&`, `12: something is missing after &&`},
	{`&& tag("a")`, `1: something is missing before &&`},
	{`tag("a") && || tag("b")`, `13: something is missing between && and ||`},
	{`(tag("a")`, `1: this ( is not closed`},
	{`plan in ["gold"`, `9: this [ is not closed`},
	{`plan in ["gold")`, `16: this ) does not close [`},
	{`tag("a"))`, `9: this ) closes nothing`},
	{`plan "gold"`, `6: an operator such as == or && is missing before "gold"`},
	{`tag("a") tag("b")`, `10: an operator such as == or && is missing before tag`},

	// Nothing long is said again.
	{`plan > "` + long + `"`, `8: > compares numbers and dates: write a number, or date("2026-01-31")`},
	{long, `1: ` + long[:100] + `... is no condition; tags are written tag("` + long[:100] + `...")`},
	{`plan ` + long, `6: ` + long[:100] + `... is not known here; there are && || ! == != < <= > >= in`},
	{`"` + strings.Repeat("\a", 5000) + `" "x"`, `5004: an operator such as == or && is missing before "x"`},
	{`tag(` + long + `)`, `1: tag takes one text in quotes: tag("` + long[:100] + `...")`},
}

func TestWhereErrors(t *testing.T) {
	for _, test := range whereErrors {
		_, err := ParseWhere(test.text, &awkward)
		if err == nil {
			t.Errorf("ParseWhere(%.60s) has no error, want %s", test.text, test.want)
			continue
		}
		want := "Where, line 1, column " + test.want
		if e := apierr.From(err); e.Kind != apierr.BadWhere || e.Info() != want {
			t.Errorf("ParseWhere(%.60s)\n got %v\nwant %v", test.text, e, want)
		}
	}
}

func TestWhereErrorsCountLines(t *testing.T) {
	_, err := ParseWhere("plan == \"gold\" // é =\n  &&\n\té = 1", &awkward)
	if want := "Where, line 3, column 4: write == instead of ="; err == nil || apierr.From(err).Info() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
