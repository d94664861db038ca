package audience

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"tidings/internal/apierr"
)

// ParseWhere reads a Where expression over the attributes of an app: text such
// as
//
//	plan == "gold" && (region in ["EU", "APAC"] || tag("beta")) && !tag("muted")
//
// with ==, !=, in, not in for values, <, <=, >, >= for values that are numbers or
// dates (app_build >= 42, since < date("2026-01-01")), tag("x"), has("city") and
// attr("app build") for names that are no identifiers. What does not parse or
// does not make sense is 95001 with line and column, what is too large 95002.
//
// The grammar is expr-lang's, of which this takes the part that selects users.
func ParseWhere(text string, attrs *Attributes) (Expr, error) {
	if len(text) > MaxWhereBytes {
		return nil, apierr.WhereTooLarge.Errorf("Where has %d bytes, it may have %d", len(text), MaxWhereBytes)
	}
	if depth := nesting(text); depth > maxNesting {
		return nil, apierr.WhereTooLarge.Errorf("Where nests %d levels deep, it may nest %d", depth, maxNesting)
	}
	config := conf.CreateNew()
	config.MaxNodes = 8 * (MaxTerms + MaxWhereValues)
	for name := range builtin.Index {
		config.Disabled[name] = true // date(…) and a field called count are ours
	}
	tree, err := parser.ParseWithConfig(text, config)
	if err != nil {
		if at, ok := errors.AsType[*file.Error](err); ok {
			if strings.Contains(at.Message, "maximum allowed nodes") {
				return nil, apierr.WhereTooLarge.Errorf("Where has more than %d terms and %d values", MaxTerms, MaxWhereValues)
			}
			return nil, apierr.BadWhere.Errorf("Where, line %d, column %d: %s", at.Line, at.Column+1, at.Message)
		}
		return nil, apierr.BadWhere.Errorf("Where: %v", err)
	}
	w := where{source: tree.Source, attrs: attrs}
	e, err := w.bool(tree.Node)
	if err != nil {
		return nil, err
	}
	if w.terms > MaxTerms || w.values > MaxWhereValues {
		return nil, apierr.WhereTooLarge.Errorf("Where has %d terms and %d values, it may have %d and %d", w.terms, w.values, MaxTerms, MaxWhereValues)
	}
	return e, nil
}

// maxNesting keeps the parser's recursion shallow.
const maxNesting = 200

// nesting is at least how deep brackets and prefix operators nest; those inside
// strings count too, which only matters to absurd ones.
func nesting(text string) int {
	depth, deepest, prefix := 0, 0, 0
	for _, c := range text {
		switch c {
		case '(', '[', '{', '?':
			depth++
			prefix = 0
		case ')', ']', '}':
			depth--
			prefix = 0
		case '!', '-', '+':
			prefix++
		case ' ', '\t', '\n', '\r':
		default:
			prefix = 0
		}
		deepest = max(deepest, depth+prefix)
	}
	return max(deepest, strings.Count(text, "not ")/4, strings.Count(text, "?"))
}

// where turns a syntax tree into an Expr.
type where struct {
	source        file.Source
	attrs         *Attributes
	terms, values int
}

func (w *where) wrong(n ast.Node, format string, args ...any) error {
	at := (&file.Error{Location: n.Location()}).Bind(w.source)
	return apierr.BadWhere.Errorf("Where, line %d, column %d: %s", at.Line, at.Column+1, fmt.Sprintf(format, args...))
}

// bool is for places where a condition is wanted.
func (w *where) bool(n ast.Node) (Expr, error) {
	switch n := n.(type) {
	case *ast.BinaryNode:
		return w.binary(n)
	case *ast.UnaryNode:
		if n.Operator != "!" && n.Operator != "not" {
			return nil, w.wrong(n, "%s has no meaning before a condition", n.Operator)
		}
		e, err := w.bool(n.Node)
		if err != nil {
			return nil, err
		}
		return negate(e), nil
	case *ast.CallNode:
		return w.call(n)
	case *ast.BoolNode:
		if n.Value {
			return And{}, nil
		}
		return Or{}, nil
	case *ast.IdentifierNode:
		if w.attrs.Index(n.Value) >= 0 {
			return nil, w.wrong(n, "%s is an attribute: compare it, or write has(%q)", n.Value, n.Value)
		}
		return nil, w.wrong(n, "%s is no condition; tags are written tag(%q)", n.Value, n.Value)
	}
	return nil, w.wrong(n, "a condition is wanted here")
}

// negate takes two negations away and keeps the rest in one form.
func negate(e Expr) Expr {
	if not, ok := e.(Not); ok {
		return not.Of
	}
	return Not{e}
}

func (w *where) binary(n *ast.BinaryNode) (Expr, error) {
	switch n.Operator {
	case "&&", "and", "||", "or":
		left, err := w.bool(n.Left)
		if err != nil {
			return nil, err
		}
		right, err := w.bool(n.Right)
		if err != nil {
			return nil, err
		}
		if n.Operator == "&&" || n.Operator == "and" {
			return append(flatten[And](left), flatten[And](right)...), nil
		}
		return append(flatten[Or](left), flatten[Or](right)...), nil
	case "==", "!=", "<", "<=", ">", ">=":
		return w.compare(n)
	case "in", "not in":
		return w.in(n)
	}
	return nil, w.wrong(n, "operator %s is not known here; there are && || ! == != < <= > >= in", n.Operator)
}

// flatten makes a chain of the same operator one list.
func flatten[L ~[]Expr](e Expr) L {
	if l, ok := e.(L); ok && len(l) > 0 {
		return slices.Clip(l)
	}
	return L{e}
}

// attr is for places where an attribute is wanted.
func (w *where) attr(n ast.Node) (ref Ref, ok bool, err error) {
	var name string
	switch n := n.(type) {
	case *ast.IdentifierNode:
		name = n.Value
	case *ast.CallNode:
		if callee(n) != "attr" {
			return ref, false, nil
		}
		if name, err = w.stringArgument(n, "attr"); err != nil {
			return ref, false, err
		}
	default:
		return ref, false, nil
	}
	slot := w.attrs.Index(name)
	if slot < 0 {
		return ref, false, w.wrong(n, "attribute %q is not set with set_attr_name", clip(name))
	}
	return Ref{slot, name}, true, nil
}

func callee(n *ast.CallNode) string {
	if id, ok := n.Callee.(*ast.IdentifierNode); ok {
		return id.Value
	}
	return ""
}

func (w *where) stringArgument(n *ast.CallNode, name string) (string, error) {
	if len(n.Arguments) == 1 {
		if s, ok := n.Arguments[0].(*ast.StringNode); ok {
			return s.Value, nil
		}
	}
	return "", w.wrong(n, "%s takes one text: %s(%q)", name, name, "...")
}

func (w *where) call(n *ast.CallNode) (Expr, error) {
	w.terms++
	switch name := callee(n); name {
	case "tag":
		tag, err := w.stringArgument(n, name)
		if err != nil {
			return nil, err
		}
		if err := CheckTag(tag); err != nil {
			return nil, w.wrong(n, "%s", err.Info())
		}
		return HasTag{tag}, nil
	case "has":
		attr, err := w.stringArgument(n, name)
		if err != nil {
			return nil, err
		}
		slot := w.attrs.Index(attr)
		if slot < 0 {
			return nil, w.wrong(n, "attribute %q is not set with set_attr_name", clip(attr))
		}
		return HasAttr{Ref{slot, attr}}, nil
	case "attr":
		return nil, w.wrong(n, "attr(...) must be compared, or write has(...)")
	default:
		return nil, w.wrong(n, "function %q is not known; there are tag, has, attr, date", clip(name))
	}
}

var opposite = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

func (w *where) compare(n *ast.BinaryNode) (Expr, error) {
	w.terms++
	left, right, op := n.Left, n.Right, n.Operator
	ref, ok, err := w.attr(left)
	if err != nil {
		return nil, err
	}
	if !ok {
		left, right, op = right, left, opposite[op]
		if ref, ok, err = w.attr(left); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, w.wrong(n, "one side of %s must be an attribute", n.Operator)
	}
	if s, ok := right.(*ast.StringNode); ok {
		if op != "==" && op != "!=" {
			return nil, w.wrong(right, "%s compares numbers and dates: write a number, or date(%q)", op, s.Value)
		}
		value, err := w.value(s)
		if err != nil {
			return nil, err
		}
		if op == "!=" {
			return Not{Equals{ref, []string{value}}}, nil
		}
		return Equals{ref, []string{value}}, nil
	}
	to, err := w.quantity(right)
	if err != nil {
		return nil, err
	}
	if op == "!=" {
		return Not{Compare{ref, "==", to}}, nil
	}
	return Compare{ref, op, to}, nil
}

// value is an attribute's value as a literal.
func (w *where) value(s *ast.StringNode) (string, error) {
	w.values++
	if err := CheckValue(s.Value); err != nil {
		return "", w.wrong(s, "%s", err.Info())
	}
	return s.Value, nil
}

// quantity is a number or a date as a literal.
func (w *where) quantity(n ast.Node) (Quantity, error) {
	w.values++
	switch n := n.(type) {
	case *ast.IntegerNode:
		return Whole(int64(n.Value)), nil
	case *ast.FloatNode:
		if math.IsInf(n.Value, 0) {
			return Quantity{}, w.wrong(n, "the number is too large")
		}
		return Quantity{Number: n.Value}, nil
	case *ast.UnaryNode:
		if n.Operator == "-" || n.Operator == "+" {
			q, err := w.quantity(n.Node)
			if err != nil || !q.Moment.IsZero() {
				return q, cmp.Or(err, w.wrong(n, "%s has no meaning before a date", n.Operator))
			}
			if n.Operator == "-" {
				q.Number, q.whole = -q.Number, -q.whole
			}
			return q, nil
		}
	case *ast.CallNode:
		if callee(n) == "date" {
			text, err := w.stringArgument(n, "date")
			if err != nil {
				return Quantity{}, err
			}
			t, ok := moment(text)
			if !ok {
				return Quantity{}, w.wrong(n, "%q is no date: write %q or %q", clip(text), "2026-01-31", "2026-01-31T08:00:00Z")
			}
			return Quantity{Moment: t}, nil
		}
	}
	return Quantity{}, w.wrong(n, "a text, a number or date(...) is wanted here")
}

func (w *where) in(n *ast.BinaryNode) (Expr, error) {
	w.terms++
	ref, ok, err := w.attr(n.Left)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, w.wrong(n.Left, "an attribute is wanted before %s", n.Operator)
	}
	array, ok := n.Right.(*ast.ArrayNode)
	if !ok {
		return nil, w.wrong(n.Right, "a list such as [\"EU\", \"APAC\"] is wanted after %s", n.Operator)
	}
	e := Equals{Attr: ref}
	for _, item := range array.Nodes {
		s, ok := item.(*ast.StringNode)
		if !ok {
			return nil, w.wrong(item, "a list holds texts")
		}
		value, err := w.value(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(e.Values, value) {
			e.Values = append(e.Values, value)
		}
	}
	if len(e.Values) == 0 {
		return nil, w.wrong(array, "the list is empty")
	}
	if n.Operator == "not in" {
		return Not{e}, nil
	}
	return e, nil
}
