package audience_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tidings/internal/audience"
	"tidings/internal/testenv"
)

// asNumber is what comparisons with numbers read in a value: its digits in full if it has
// no fraction and fits 64 bits, and the nearest double.
type asNumber struct {
	exact  int64
	whole  bool
	double float64
}

// numberValues are values and how they are read; nil is no number.
var numberValues = map[string]*asNumber{
	"5": {5, true, 5}, "+5": {5, true, 5}, "007": {7, true, 7}, "-3": {-3, true, -3}, "0": {0, true, 0}, "-0": {0, true, 0},
	"9007199254740992": {1 << 53, true, 1 << 53}, "9007199254740993": {1<<53 + 1, true, 1 << 53},
	"9223372036854775807": {1<<63 - 1, true, 1 << 63}, "-9223372036854775808": {-1 << 63, true, -1 << 63},
	"9223372036854775808": {double: 1 << 63}, "99999999999999999999": {double: 1e20},
	"4.5": {double: 4.5}, "5.0": {double: 5}, "5e0": {double: 5}, "50E-1": {double: 5}, ".5": {double: .5}, "-1e3": {double: -1000},
	"": nil, "five": nil, " 5": nil, "5 ": nil, "1e400": nil, "0x5": nil, "1_000": nil, "Inf": nil, "NaN": nil, "--5": nil, "5-": nil, "e5": nil, "٥": nil, "1,5": nil,
}

// numberLiterals are numbers of a Where.
var numberLiterals = map[string]asNumber{
	"5": {5, true, 5}, "0": {0, true, 0}, "-3": {-3, true, -3}, "+7": {7, true, 7}, "- -7": {7, true, 7}, "0x5": {5, true, 5}, "1_000": {1000, true, 1000},
	"9007199254740992": {1 << 53, true, 1 << 53}, "9007199254740993": {1<<53 + 1, true, 1 << 53}, "9223372036854775807": {1<<63 - 1, true, 1 << 63},
	"4.5": {double: 4.5}, "5.0": {double: 5}, "-1e3": {double: -1000}, "9007199254740992.0": {double: 1 << 53}, "1e20": {double: 1e20},
}

// dateValues are values and the Unix second that each is read as; 0 is no date.
var dateValues = map[string]int64{
	"2026-01-31": 1769817600, "2026-01-31T00:00:00Z": 1769817600, "2026-01-31T08:00:00+08:00": 1769817600, "2026-01-31 00:00:00": 1769817600,
	"2026-01-31T00:00:01": 1769817601, "2026-01-30T23:59:59Z": 1769817599, "1999-12-31": 946598400,
	"2026-02-30": 0, "20260131": 0, "31.1.2026": 0, "2026-1-31": 0, "2026-01-31T25:00:00Z": 0, "2026-01": 0, "tomorrow": 0, "": 0, "5": 0,
}

// dateLiterals are dates of a Where.
var dateLiterals = map[string]int64{
	`date("2026-01-31")`: 1769817600, `date('2026-01-30T23:59:59Z')`: 1769817599, `date("2026-01-31T08:00:01+08:00")`: 1769817601, `date("1999-12-31")`: 946598400,
}

// A condition is the text of a Where and what it means, said another way.
type condition struct {
	text  string
	means func(u *audience.Traits) bool
}

// A composer makes conditions of the attributes n for numbers, d for dates and "a name".
type composer struct{ *rand.Rand }

var composed = audience.Attributes{{Name: "n"}, {Name: "d"}, {Name: "a name"}}

// words are values of the third attribute, and tags.
var words = []string{"gold", "Rome", `a "b"`, `\`, "é", "a\tb", "'"}

func pick[T any](c composer, list ...T) T { return list[c.IntN(len(list))] }

func key[V any](c composer, m map[string]V) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return pick(c, keys...)
}

// condition returns a condition with at most so many levels.
func (c composer) condition(levels int) condition {
	if levels == 0 {
		return c.term()
	}
	switch c.IntN(4) {
	case 0:
		x := c.condition(levels - 1)
		return condition{pick(c, "!", "not ", "! ") + "(" + x.text + ")", func(u *audience.Traits) bool { return !x.means(u) }}
	case 1:
		x, y := c.condition(levels-1), c.condition(levels-1)
		return condition{"(" + x.text + ")" + pick(c, " && ", " and ", "&&") + "(" + y.text + ")", func(u *audience.Traits) bool { return x.means(u) && y.means(u) }}
	case 2: // && binds more tightly than ||
		x, y, z := c.term(), c.term(), c.term()
		return condition{x.text + pick(c, " || ", " or ") + y.text + pick(c, " && ", " and ") + z.text, func(u *audience.Traits) bool { return x.means(u) || y.means(u) && z.means(u) }}
	}
	x, y := c.condition(levels-1), c.condition(levels-1)
	return condition{"(" + x.text + ")" + pick(c, " || ", " or ", "||") + "(" + y.text + ")", func(u *audience.Traits) bool { return x.means(u) || y.means(u) }}
}

func (c composer) term() condition {
	switch c.IntN(8) {
	case 0:
		tag := pick(c, words...)
		return condition{"tag(" + strconv.Quote(tag) + ")", func(u *audience.Traits) bool { return slices.Contains(u.Tags, tag) }}
	case 1:
		slot := c.IntN(3)
		return condition{"has(" + strconv.Quote(composed[slot].Name) + ")", func(u *audience.Traits) bool { return u.Values[slot] != "" }}
	case 2:
		return condition{"true", func(*audience.Traits) bool { return true }}
	case 3:
		return c.list()
	case 4, 5:
		return c.number()
	case 6:
		return c.date()
	}
	word, equal := pick(c, words...), c.IntN(2) == 0
	text := `attr("a name") ` + map[bool]string{true: "==", false: "!="}[equal] + " " + strconv.Quote(word)
	return condition{text, func(u *audience.Traits) bool { return (u.Values[2] == word) == equal }}
}

func (c composer) list() condition {
	some, in := make([]string, 1+c.IntN(3)), c.IntN(2) == 0
	quoted := make([]string, len(some))
	for i := range some {
		some[i] = pick(c, words...)
		quoted[i] = strconv.Quote(some[i])
	}
	text := `attr("a name") ` + map[bool]string{true: "in", false: "not in"}[in] + " [" + strings.Join(quoted, ", ") + "]"
	return condition{text, func(u *audience.Traits) bool { return slices.Contains(some, u.Values[2]) == in }}
}

// operator returns a comparison, the same with its sides exchanged, and its meaning for
// what cmp.Compare returns.
func (c composer) operator() (op, exchanged string, holds func(order int) bool) {
	switch c.IntN(5) {
	case 0:
		return "<", ">", func(order int) bool { return order < 0 }
	case 1:
		return "<=", ">=", func(order int) bool { return order <= 0 }
	case 2:
		return ">", "<", func(order int) bool { return order > 0 }
	case 3:
		return ">=", "<=", func(order int) bool { return order >= 0 }
	}
	return "==", "==", func(order int) bool { return order == 0 }
}

// compare returns the text of a comparison in one of its two directions.
func (c composer) compare(attr, op, exchanged, literal string) string {
	if c.IntN(3) == 0 {
		return literal + " " + exchanged + " " + attr
	}
	return attr + " " + op + " " + literal
}

func order[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c composer) number() condition {
	op, exchanged, holds := c.operator()
	literal := key(c, numberLiterals)
	to := numberLiterals[literal]
	return condition{c.compare("n", op, exchanged, literal), func(u *audience.Traits) bool {
		v := numberValues[u.Values[0]]
		switch {
		case v == nil:
			return false
		case v.whole && to.whole:
			return holds(order(v.exact, to.exact))
		}
		return holds(order(v.double, to.double))
	}}
}

func (c composer) date() condition {
	op, exchanged, holds := c.operator()
	literal := key(c, dateLiterals)
	return condition{c.compare("d", op, exchanged, literal), func(u *audience.Traits) bool {
		second := dateValues[u.Values[1]]
		return second != 0 && holds(order(second, dateLiterals[literal]))
	}}
}

func (c composer) user() *audience.Traits {
	u := &audience.Traits{Values: audience.Values{key(c, numberValues), key(c, dateValues), pick(c, append(words, "")...)}}
	for _, w := range words {
		if c.IntN(3) == 0 {
			u.Tags = append(u.Tags, w)
		}
	}
	return u
}

// TestMatchesAgreesWithMeaning composes conditions and what they mean, and asks both
// about users.
func TestMatchesAgreesWithMeaning(t *testing.T) {
	seed := testenv.Seed(t)
	t.Logf("seed %d", seed)
	c := composer{rand.New(rand.NewPCG(seed, 0))}
	for range testenv.Rounds(2000) {
		made := c.condition(c.IntN(4))
		e, err := audience.ParseWhere(made.text, &composed)
		if err != nil {
			t.Fatalf("%s: %v", made.text, err)
		}
		printed, err := audience.ParseWhere(e.String(), &composed)
		if err != nil {
			t.Fatalf("%s prints as %s: %v", made.text, e, err)
		}
		for range 20 {
			u := c.user()
			want := made.means(u)
			if got := e.Matches(u); got != want {
				t.Fatalf("%s is %t of %q, want %t", made.text, got, fmt.Sprint(u.Values[:3], u.Tags), want)
			}
			if printed.Matches(u) != want {
				t.Fatalf("%s prints as %s, which is %t of %q", made.text, e, !want, fmt.Sprint(u.Values[:3], u.Tags))
			}
			clauses := true
			for _, clause := range audience.Clauses(e) {
				clauses = clauses && clause.Matches(u)
			}
			if clauses != want {
				t.Fatalf("the clauses of %s are %t of %q, want %t", made.text, clauses, fmt.Sprint(u.Values[:3], u.Tags), want)
			}
		}
	}
}

// TestEveryReading compares every value with every literal: a random user meets few.
func TestEveryReading(t *testing.T) {
	c := composer{rand.New(rand.NewPCG(1, 1))}
	for range 500 {
		for _, made := range []condition{c.number(), c.date()} {
			e, err := audience.ParseWhere(made.text, &composed)
			if err != nil {
				t.Fatalf("%s: %v", made.text, err)
			}
			for value := range numberValues {
				checkReading(t, made, e, &audience.Traits{Values: audience.Values{0: value}})
			}
			for value := range dateValues {
				checkReading(t, made, e, &audience.Traits{Values: audience.Values{1: value}})
			}
		}
	}
}

func checkReading(t *testing.T, made condition, e audience.Expr, u *audience.Traits) {
	t.Helper()
	if got, want := e.Matches(u), made.means(u); got != want {
		t.Errorf("%s is %t of %q, want %t", made.text, got, u.Values[:2], want)
	}
}
