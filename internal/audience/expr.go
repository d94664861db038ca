package audience

import (
	"cmp"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits of one expression: the most terms (tags, attributes, comparisons), the most
// values in all of them together, and the most bytes of its text. Each term and value
// costs an operation on sets, so the limits bound a query (BenchmarkCount in package
// index).
const (
	MaxTerms       = 64
	MaxWhereValues = 1000
	MaxWhereBytes  = 16 << 10
)

// An Expr is an expression that is true or false of each user. Its String is a Where
// with the same meaning.
type Expr interface {
	String() string
	// Matches reports whether the expression is true of a user. Package index evaluates an
	// expression for all users at once; Matches is the definition of what is right.
	Matches(u *Traits) bool
	binding() int // precedence of the text: 1 for ||, 2 for &&, 3 if it needs no brackets
}

// Traits holds what expressions ask about a user.
type Traits struct {
	Kind   Kind
	Values Values
	Tags   []string
}

type (
	// And is true if all its members are. Without members it is true.
	And []Expr
	// Or is true if one of its members is. Without members it is false.
	Or []Expr
	// Not is true if the expression Of is false.
	Not struct{ Of Expr }
	// HasTag is true of users with a tag.
	HasTag struct{ Tag string }
	// HasAttr is true of users with any value of an attribute.
	HasAttr struct{ Attr Ref }
	// Equals is true of users who have one of some values of an attribute.
	Equals struct {
		Attr   Ref
		Values []string
	}
	// Compare is true of users whose value of an attribute, read as a number or a date,
	// compares with a quantity as Op says.
	Compare struct {
		Attr Ref
		Op   string // "<", "<=", ">", ">=", "=="
		To   Quantity
	}
)

// A Ref refers to an attribute.
type Ref struct {
	Slot int
	Name string
}

// A Quantity is a number or a moment.
type Quantity struct {
	Number float64   // if Moment is zero
	Moment time.Time // in UTC

	isWhole bool
	whole   int64 // the exact number, if isWhole
}

// Whole returns the quantity of a number without a fraction. It compares exactly with
// values that have no fraction and at most 64 bits; all other numbers compare as doubles.
func Whole(n int64) Quantity { return Quantity{Number: float64(n), isWhole: true, whole: n} }

// identifier matches names that refer to an attribute as they are, but for those in
// reserved.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reserved holds the words that mean something else in a Where.
var reserved = map[string]bool{
	"true": true, "false": true, "nil": true, "not": true, "in": true, "and": true, "or": true, "let": true, "if": true, "else": true,
	"matches": true, "contains": true, "startsWith": true, "endsWith": true,
}

// String returns the attribute's name if it can stand as it is, else attr("name").
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

// String returns the number, or date("…").
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

// number reads a value as a number as people write it: no infinity and no hexadecimal.
func number(value string) (float64, bool) {
	if value == "" || strings.Trim(value, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(value, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// whole reads a value as a number without a fraction and with at most 64 bits.
func whole(value string) (int64, bool) {
	if strings.Trim(value, "0123456789+-") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil
}

// moment reads a value as a time, which is in UTC unless it has a zone, or as a day, which
// stands for its first moment in UTC.
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

// A Reading is a value and what comparisons read in it. A value that is compared several
// times is read only once as a number and once as a moment.
type Reading struct {
	Value string

	readNumber, readMoment      bool // which of the two were done
	isWhole, isNumber, isMoment bool // with what success
	whole                       int64
	double                      float64
	time                        time.Time
}

func (r *Reading) asNumber() {
	if !r.readNumber {
		r.readNumber = true
		r.whole, r.isWhole = whole(r.Value)
		r.double, r.isNumber = number(r.Value)
	}
}

func (r *Reading) asMoment() {
	if !r.readMoment {
		r.readMoment = true
		r.time, r.isMoment = moment(r.Value)
	}
}

// Compares reports whether the comparison is true of a value. It is not true of a value
// that is no number, or no date, where To is one.
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

// Matches reports whether all members are true of a user.
func (e And) Matches(u *Traits) bool {
	for _, x := range e {
		if !x.Matches(u) {
			return false
		}
	}
	return true
}

// Matches reports whether a member is true of a user.
func (e Or) Matches(u *Traits) bool {
	for _, x := range e {
		if x.Matches(u) {
			return true
		}
	}
	return false
}

// Matches reports whether the expression Of is false of a user.
func (e Not) Matches(u *Traits) bool { return !e.Of.Matches(u) }

// Matches reports whether a user has the tag.
func (e HasTag) Matches(u *Traits) bool {
	for _, t := range u.Tags {
		if t == e.Tag {
			return true
		}
	}
	return false
}

// Matches reports whether a user has a value of the attribute.
func (e HasAttr) Matches(u *Traits) bool { return u.Values[e.Attr.Slot] != "" }

// Matches reports whether a user's value of the attribute is among Values.
func (e Equals) Matches(u *Traits) bool {
	value := u.Values[e.Attr.Slot]
	for _, v := range e.Values {
		if v == value && v != "" {
			return true
		}
	}
	return false
}

// Matches reports whether a user's value of the attribute compares as Op says.
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

// join returns the texts of some expressions with an operator between, in brackets where
// their own operator does not bind more tightly; none if there are no expressions.
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

// String returns the members with && between.
func (e And) String() string { return join(e, " && ", 2, "true") }

// String returns the members with || between.
func (e Or) String() string { return join(e, " || ", 1, "false") }

// String returns the expression Of with ! before it, or with the opposite operator: !=,
// not in.
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

// String returns tag("name").
func (e HasTag) String() string { return "tag(" + quote(e.Tag) + ")" }

// String returns has("name").
func (e HasAttr) String() string { return "has(" + quote(e.Attr.Name) + ")" }

// String returns name == "value", or name in ["value", …].
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

// String returns name >= 42 and the like.
func (e Compare) String() string { return e.Attr.String() + " " + e.Op + " " + e.To.String() }

// Walk calls f for each term of an expression. A term is neither And, Or nor Not.
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

// Clauses returns the parts of an expression that must all be true. An estimate and an
// explanation have a line for each.
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

// AttrOf returns the attribute of a term, if the term has one.
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
