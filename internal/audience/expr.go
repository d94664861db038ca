package audience

import (
	"cmp"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MaxTerms is the most terms - tags, attributes, comparisons - that one
// expression may hold, and MaxWhereValues the most values in all its lists
// together. Each costs a bitmap operation, so this bounds a query (BenchmarkCount
// in package index).
const (
	MaxTerms       = 64
	MaxWhereValues = 1000
	MaxWhereBytes  = 16 << 10
)

// An Expr says which users are meant. Its String is a Where expression that
// parses to an equal Expr.
type Expr interface {
	String() string
	// Matches reports whether it is true of a user. Index is the fast way to ask it
	// of all users; this one is obvious.
	Matches(u *Traits) bool
	binding() int // how tightly the text binds: 1 ||, 2 &&, 3 one piece
}

// Traits are what expressions ask about a user.
type Traits struct {
	Kind   Kind
	Values Values
	Tags   []string
}

type (
	// And is true if all are; of none it is true.
	And []Expr
	// Or is true if one is; of none it is false.
	Or []Expr
	// Not is true if the other is not.
	Not struct{ Of Expr }
	// HasTag is true of users with a tag.
	HasTag struct{ Tag string }
	// HasAttr is true of users with any value of an attribute.
	HasAttr struct{ Attr Ref }
	// Equals is true of users whose attribute has one of some values.
	Equals struct {
		Attr   Ref
		Values []string
	}
	// Compare is true of users whose attribute is a number or date that compares.
	Compare struct {
		Attr Ref
		Op   string // "<", "<=", ">", ">=", "=="
		To   Quantity
	}
)

// Ref is an attribute as an expression names it.
type Ref struct {
	Slot int
	Name string
}

// Quantity is a number, or a moment.
type Quantity struct {
	Number float64   // if Moment is zero
	Moment time.Time // in UTC

	isWhole bool
	whole   int64 // the number, if it is one without a fraction, exactly
}

// Whole is a number without a fraction, which compares exactly with others of those up
// to 64 bits; a Number compares as a double.
func Whole(n int64) Quantity { return Quantity{Number: float64(n), isWhole: true, whole: n} }

// identifier is a name that can stand for an attribute as it is.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reserved are names that mean something else in a Where expression.
var reserved = map[string]bool{
	"true": true, "false": true, "nil": true, "not": true, "in": true, "and": true, "or": true, "let": true, "if": true, "else": true,
	"matches": true, "contains": true, "startsWith": true, "endsWith": true,
}

// String is the attribute's name if that can stand as it is, else attr("name").
func (r Ref) String() string {
	if identifier.MatchString(r.Name) && !reserved[r.Name] {
		return r.Name
	}
	return "attr(" + quote(r.Name) + ")"
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			b.WriteString(`\u`)
			b.WriteString(strings.Repeat("0", 4-len(strconv.FormatInt(int64(c), 16))))
			b.WriteString(strconv.FormatInt(int64(c), 16))
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// String is the number, or date("…").
func (q Quantity) String() string {
	switch {
	case q.isWhole:
		return strconv.FormatInt(q.whole, 10)
	case q.Moment.IsZero():
		return strconv.FormatFloat(q.Number, 'g', -1, 64)
	case q.Moment.Equal(q.Moment.Truncate(24 * time.Hour)):
		return `date("` + q.Moment.Format(time.DateOnly) + `")`
	}
	return `date("` + q.Moment.Format(time.RFC3339Nano) + `")`
}

// number reads a value as a number, as people write one: no infinities, no hex.
func number(value string) (float64, bool) {
	if value == "" || strings.Trim(value, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(value, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// whole reads a value as a number without a fraction, of at most 64 bits.
func whole(value string) (int64, bool) {
	if strings.Trim(value, "0123456789+-") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil
}

// moment reads a value as a day (its first moment, UTC) or a time with a zone.
func moment(value string) (time.Time, bool) {
	if len(value) < len(time.DateOnly) || value[0] < '0' || value[0] > '9' {
		return time.Time{}, false
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.Parse(layout, value); err == nil {
			return t.UTC(), !t.IsZero()
		}
	}
	return time.Time{}, false
}

// A Reading is a value as comparisons read it, each way once.
type Reading struct {
	Value string

	number, moment              bool // that it was read so
	isWhole, isNumber, isMoment bool
	whole                       int64
	double                      float64
	time                        time.Time
}

func (r *Reading) asNumber() {
	if !r.number {
		r.number = true
		r.whole, r.isWhole = whole(r.Value)
		r.double, r.isNumber = number(r.Value)
	}
}

func (r *Reading) asMoment() {
	if !r.moment {
		r.moment = true
		r.time, r.isMoment = moment(r.Value)
	}
}

// Compares reports whether a value is a quantity of the same sort that compares.
func (c *Compare) Compares(r *Reading) bool {
	var order int
	if c.To.Moment.IsZero() {
		r.asNumber()
		switch {
		case r.isWhole && c.To.isWhole:
			order = cmp.Compare(r.whole, c.To.whole)
		case !r.isNumber:
			return false
		case r.double < c.To.Number:
			order = -1
		case r.double > c.To.Number:
			order = 1
		}
	} else {
		if r.asMoment(); !r.isMoment {
			return false
		}
		order = r.time.Compare(c.To.Moment)
	}
	switch c.Op {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return order == 0
}

// Matches is true if all are.
func (e And) Matches(u *Traits) bool {
	for _, x := range e {
		if !x.Matches(u) {
			return false
		}
	}
	return true
}

// Matches is true if one is.
func (e Or) Matches(u *Traits) bool {
	for _, x := range e {
		if x.Matches(u) {
			return true
		}
	}
	return false
}

// Matches is true if the other is not.
func (e Not) Matches(u *Traits) bool { return !e.Of.Matches(u) }

// Matches looks among the user's tags.
func (e HasTag) Matches(u *Traits) bool {
	for _, t := range u.Tags {
		if t == e.Tag {
			return true
		}
	}
	return false
}

// Matches looks for a value.
func (e HasAttr) Matches(u *Traits) bool { return u.Values[e.Attr.Slot] != "" }

// Matches looks for the user's value among the values.
func (e Equals) Matches(u *Traits) bool {
	value := u.Values[e.Attr.Slot]
	for _, v := range e.Values {
		if v == value && v != "" {
			return true
		}
	}
	return false
}

// Matches compares the user's value.
func (e Compare) Matches(u *Traits) bool { return e.Compares(&Reading{Value: u.Values[e.Attr.Slot]}) }

func (e And) binding() int {
	switch len(e) {
	case 0:
		return 3
	case 1:
		return e[0].binding()
	}
	return 2
}

func (e Or) binding() int {
	switch len(e) {
	case 0:
		return 3
	case 1:
		return e[0].binding()
	}
	return 1
}

func (e Not) binding() int     { return 3 }
func (e HasTag) binding() int  { return 3 }
func (e HasAttr) binding() int { return 3 }
func (e Equals) binding() int  { return 3 }
func (e Compare) binding() int { return 3 }

func join(list []Expr, op string, binding int, none string) string {
	if len(list) == 0 {
		return none
	}
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = e.String()
		if len(list) > 1 && e.binding() <= binding {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, op)
}

// String joins them with &&.
func (e And) String() string { return join(e, " && ", 2, "true") }

// String joins them with ||.
func (e Or) String() string { return join(e, " || ", 1, "false") }

// String puts ! before the other; of a comparison it is the opposite one.
func (e Not) String() string {
	if eq, ok := e.Of.(Equals); ok {
		if len(eq.Values) == 1 {
			return eq.Attr.String() + " != " + quote(eq.Values[0])
		}
		return eq.Attr.String() + " not in " + list(eq.Values)
	}
	switch e.Of.(type) {
	case HasTag, HasAttr:
		return "!" + e.Of.String()
	}
	return "!(" + e.Of.String() + ")"
}

// String is tag("name").
func (e HasTag) String() string { return "tag(" + quote(e.Tag) + ")" }

// String is has("name").
func (e HasAttr) String() string { return "has(" + quote(e.Attr.Name) + ")" }

// String is name == "value", or name in ["value", …].
func (e Equals) String() string {
	if len(e.Values) == 1 {
		return e.Attr.String() + " == " + quote(e.Values[0])
	}
	return e.Attr.String() + " in " + list(e.Values)
}

func list(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// String is name >= 42.
func (e Compare) String() string { return e.Attr.String() + " " + e.Op + " " + e.To.String() }

// Walk calls f for the terms of an expression: what is neither And, Or nor Not.
func Walk(e Expr, f func(term Expr)) {
	switch e := e.(type) {
	case And:
		for _, x := range e {
			Walk(x, f)
		}
	case Or:
		for _, x := range e {
			Walk(x, f)
		}
	case Not:
		Walk(e.Of, f)
	default:
		f(e)
	}
}

// Clauses are the parts that must all be true: what an audience is explained by.
func Clauses(e Expr) []Expr {
	and, ok := e.(And)
	if !ok {
		return []Expr{e}
	}
	var all []Expr
	for _, x := range and {
		all = append(all, Clauses(x)...)
	}
	return all
}

// AttrOf is the attribute of a term, if it has one.
func AttrOf(term Expr) (Ref, bool) {
	switch e := term.(type) {
	case HasAttr:
		return e.Attr, true
	case Equals:
		return e.Attr, true
	case Compare:
		return e.Attr, true
	}
	return Ref{}, false
}
