package audience_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

func TestConditionRefusals(t *testing.T) {
	attrs := &audience.Attributes{{Name: "plan"}, {Name: "city"}}
	eleven := strings.Split("0 1 2 3 4 5 6 7 8 9 10", " ")
	plan := []audience.NamedValue{{Name: "plan", Value: "gold"}}
	for _, test := range []struct {
		name string
		c    audience.Condition
		kind *apierr.Kind
		says string
	}{
		{"tags and attributes", audience.Condition{TagsNot: []string{"a"}, AttrsOr: plan}, apierr.TagsAndAttributes, "exclude each other"},
		{"eleven tags", audience.Condition{TagsAnd: eleven}, apierr.TooManyTags, "Condition.TagsAnd has 11 tags"},
		{"eleven tags not", audience.Condition{TagsNot: eleven}, apierr.TooManyTags, "Condition.TagsNot has 11 tags"},
		{"an empty tag", audience.Condition{TagsOr: []string{"a", ""}}, apierr.EmptyTag, "Condition.TagsOr[1]: the tag is empty"},
		{"a long tag", audience.Condition{TagsNot: []string{strings.Repeat("é", 26)}}, apierr.TagTooLong, "has 52 bytes"},
		{"a tag in both lists", audience.Condition{TagsAnd: []string{"a", "b"}, TagsOr: []string{"c", "b"}}, apierr.TagTwice, `Condition.TagsOr[1]: tag "b"`},
		{"an attribute that is not set", audience.Condition{AttrsAnd: []audience.NamedValue{{Name: "plna", Value: "x"}}}, apierr.InvalidAttribute, `names "plna", which is not set with set_attr_name; did you mean "plan"?`},
		{"an empty value", audience.Condition{AttrsOr: []audience.NamedValue{{Name: "city"}}}, apierr.InvalidAttribute, "Condition.AttrsOr.city: value \"\" has 0 bytes"},
		{"a long value", audience.Condition{AttrsAnd: []audience.NamedValue{{Name: "city", Value: strings.Repeat("x", 51)}}}, apierr.InvalidAttribute, "has 51 bytes"},
		{"eleven attributes", audience.Condition{AttrsAnd: slices.Repeat(plan, 11)}, apierr.InvalidAttribute, "has 11 attributes"},
	} {
		_, err := test.c.Expr(attrs)
		if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Kind != test.kind || !strings.Contains(e.Info(), test.says) {
			t.Errorf("%s: %v, want %d with %q", test.name, err, test.kind.Code, test.says)
		}
	}
}

// FuzzCondition makes a Condition of lines: the first byte of each says which
// list it is for. One that is not refused must mean what the contract says, and
// print as a Where that means the same.
func FuzzCondition(f *testing.F) {
	f.Add("abeta\nabig\nomuted\nnvip")
	f.Add("Aplan=gold\nOcity=\"Rome\\\nOplan=x")
	f.Add("a\x00\na\u2028\no\"\\")
	attrs := &audience.Attributes{{Name: "plan"}, {Name: "city"}, {Name: "app build"}}
	users := []*audience.Traits{{}, {Tags: []string{"beta", "vip"}}, {Values: audience.Values{"gold", "Rome"}}}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		var c audience.Condition
		for line := range strings.SplitSeq(text, "\n") {
			if line == "" {
				continue
			}
			rest := line[1:]
			name, value, _ := strings.Cut(rest, "=")
			switch line[0] {
			case 'a':
				c.TagsAnd = append(c.TagsAnd, rest)
			case 'o':
				c.TagsOr = append(c.TagsOr, rest)
			case 'n':
				c.TagsNot = append(c.TagsNot, rest)
			case 'A':
				c.AttrsAnd = append(c.AttrsAnd, audience.NamedValue{Name: name, Value: value})
			case 'O':
				c.AttrsOr = append(c.AttrsOr, audience.NamedValue{Name: name, Value: value})
			}
		}
		e, err := c.Expr(attrs)
		if err != nil {
			if _, ok := errors.AsType[*apierr.Error](err); !ok {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		where, err := audience.ParseWhere(e.String(), attrs)
		if err != nil && len(c.TagsAnd)+len(c.TagsOr)+len(c.TagsNot)+len(c.AttrsAnd)+len(c.AttrsOr) > 0 {
			t.Fatalf("%+v prints as %s, which does not parse: %v", c, e, err)
		}
		// Somebody who has everything, and all but one thing, besides those above.
		all := &audience.Traits{Tags: slices.Concat(c.TagsAnd, c.TagsOr)}
		for _, v := range slices.Concat(c.AttrsOr, c.AttrsAnd) {
			all.Values[attrs.Index(v.Name)] = v.Value
		}
		asked := append(slices.Clone(users), all)
		for i := range all.Tags {
			asked = append(asked, &audience.Traits{Tags: slices.Concat(all.Tags[:i], all.Tags[i+1:])})
		}
		for _, u := range asked {
			want := means(&c, attrs, u)
			if got := e.Matches(u); got != want {
				t.Fatalf("%+v is %t of %+v, want %t", c, got, u, want)
			}
			if where != nil && where.Matches(u) != want {
				t.Fatalf("%s, printed from %+v, is %t of %+v", where, c, !want, u)
			}
		}
	})
}

// means is the contract's sentence about a Condition, as a loop.
func means(c *audience.Condition, attrs *audience.Attributes, u *audience.Traits) bool {
	has := func(tag string) bool { return slices.Contains(u.Tags, tag) }
	is := func(v audience.NamedValue) bool { return u.Values[attrs.Index(v.Name)] == v.Value }
	for _, tag := range c.TagsAnd {
		if !has(tag) {
			return false
		}
	}
	for _, v := range c.AttrsAnd {
		if !is(v) {
			return false
		}
	}
	return (len(c.TagsOr) == 0 || slices.ContainsFunc(c.TagsOr, has)) && !slices.ContainsFunc(c.TagsNot, has) &&
		(len(c.AttrsOr) == 0 || slices.ContainsFunc(c.AttrsOr, is))
}

// TestEmptyConditionIsEveryone: the contract's push without a condition.
func TestEmptyConditionIsEveryone(t *testing.T) {
	e, err := (&audience.Condition{}).Expr(&audience.Attributes{})
	if err != nil || !e.Matches(&audience.Traits{}) || fmt.Sprint(audience.Clauses(e)) != "[]" {
		t.Errorf("%v, %v", e, err)
	}
}

// TestConditionExpr is about conditions at their limits, and of odd parts.
func TestConditionExpr(t *testing.T) {
	attrs := &audience.Attributes{{Name: "plan"}, {Name: "city"}, {Name: strings.Repeat("n", audience.MaxNameBytes)}}
	ten := strings.Split("0 1 2 3 4 5 6 7 8 9", " ")
	tag, value := strings.Repeat("é", audience.MaxTagBytes/2), strings.Repeat("v", audience.MaxValueBytes)
	gold, rome := audience.NamedValue{Name: "plan", Value: "gold"}, audience.NamedValue{Name: "city", Value: "Rome"}
	for _, test := range []struct {
		c    audience.Condition
		want string
	}{
		{audience.Condition{TagsAnd: []string{}, AttrsOr: []audience.NamedValue{}}, `true`},
		{audience.Condition{TagsAnd: []string{"a"}}, `tag("a")`},
		{audience.Condition{TagsOr: []string{"a"}}, `tag("a")`},
		{audience.Condition{TagsNot: []string{"a"}}, `!tag("a")`},
		{audience.Condition{TagsNot: []string{"a", "b"}}, `!tag("a") && !tag("b")`},
		{audience.Condition{TagsOr: []string{"b", "a", "b"}}, `tag("b") || tag("a") || tag("b")`},
		{audience.Condition{TagsAnd: []string{"a", "b"}, TagsOr: []string{"c", "d"}, TagsNot: []string{"e"}}, `tag("a") && tag("b") && (tag("c") || tag("d")) && !tag("e")`},
		{audience.Condition{TagsAnd: []string{"a", "a"}, TagsNot: []string{"a"}}, `tag("a") && tag("a") && !tag("a")`},
		{audience.Condition{TagsOr: []string{"a"}, TagsNot: []string{"a"}}, `tag("a") && !tag("a")`},
		{audience.Condition{TagsAnd: []string{tag}}, `tag("` + tag + `")`},
		{audience.Condition{AttrsAnd: []audience.NamedValue{gold}}, `plan == "gold"`},
		{audience.Condition{AttrsOr: []audience.NamedValue{gold}}, `plan == "gold"`},
		{audience.Condition{AttrsAnd: []audience.NamedValue{gold, rome}, AttrsOr: []audience.NamedValue{rome, gold}}, `plan == "gold" && city == "Rome" && (city == "Rome" || plan == "gold")`},
		{audience.Condition{AttrsAnd: []audience.NamedValue{{Name: attrs[2].Name, Value: value}}}, attrs[2].Name + ` == "` + value + `"`},
		{audience.Condition{TagsAnd: ten, TagsNot: ten, TagsOr: []string{"x"}}, `tag("0") && tag("1") && tag("2") && tag("3") && tag("4") && tag("5") && tag("6") && tag("7") && tag("8") && tag("9") && tag("x")` +
			` && !tag("0") && !tag("1") && !tag("2") && !tag("3") && !tag("4") && !tag("5") && !tag("6") && !tag("7") && !tag("8") && !tag("9")`},
	} {
		e, err := test.c.Expr(attrs)
		if err != nil || e.String() != test.want {
			t.Errorf("%+v is %v, %v, want %s", test.c, e, err, test.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	attrs := &audience.Attributes{{Name: "plan"}, {Name: "model", Kind: audience.RegistrationID}, {Name: "city"}}
	for _, test := range []struct {
		where string
		kind  audience.Kind
		known bool
		says  string // of the error
	}{
		{`true`, 0, false, ""},
		{`tag("a") && !tag("b")`, 0, false, ""},
		{`plan == "gold" || city == "Rome"`, audience.UserID, true, ""},
		{`tag("a") && !(model == "x1" || has("model"))`, audience.RegistrationID, true, ""},
		{`model > 5`, audience.RegistrationID, true, ""},
		{`plan == "gold" && (tag("a") || !has("model"))`, audience.UserID, true, "attribute model is for another account type"},
		{`model == "x1" || plan == "gold"`, audience.RegistrationID, true, "attribute plan is for another account type"},
	} {
		e, err := audience.ParseWhere(test.where, attrs)
		if err != nil {
			t.Fatal(err)
		}
		kind, known, err := audience.KindOf(e, attrs)
		if kind != test.kind || known != test.known || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("KindOf(%s) = %d, %t, %v", test.where, kind, known, err)
		}
		if err != nil && !errors.Is(err, apierr.WrongAccountKind) {
			t.Errorf("KindOf(%s) = %v, want 90035", test.where, err)
		}
	}
}
