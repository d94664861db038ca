package audience

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"tidings/internal/wording"
)

// attr reads an attribute. Without an error, ok is false for anything else.
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
		if err := w.unquoted(n); err != nil {
			return ref, false, err
		}
		return ref, false, w.wrong(n, "%s", unknownAttr(name, w.attrs))
	}
	return Ref{slot, name}, true, nil
}

// unquoted returns an error if a node begins the name of an attribute that cannot stand
// as it is; nil if it does not.
func (w *where) unquoted(n ast.Node) error {
	if err := w.text.unquotedName(n.Location().From); err != nil {
		return err
	}
	return nil // and not a nil *apierr.Error
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
	example := "..."
	if len(n.Arguments) > 0 {
		if id, ok := n.Arguments[0].(*ast.IdentifierNode); ok {
			example = clip(id.Value)
		}
	}
	return "", w.wrong(n, "%s takes one text in quotes: %s(%q)", name, name, example)
}

// functions are the functions of the language.
var functions = []string{"tag", "has", "attr", "date"}

// call reads a condition that is a call.
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
			return nil, w.wrong(n, "%s", unknownAttr(attr, w.attrs))
		}
		return HasAttr{Ref{slot, attr}}, nil
	case "attr":
		return nil, w.wrong(n, "attr(...) must be compared, or write has(...)")
	case "date":
		return nil, w.wrong(n, "date(...) must be compared with an attribute")
	default:
		if right := upperCase(name); right != "" {
			return nil, w.wrong(n, "write %s instead of %s", right, name)
		}
		text := "there are " + strings.Join(functions, ", ")
		if near := wording.Nearest(name, functions); near != "" {
			text = fmt.Sprintf("did you mean %s?", near)
		}
		return nil, w.wrong(n, "function %q is not known; %s", clip(name), text)
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
		for _, side := range []ast.Node{n.Left, n.Right} {
			if err := w.unquoted(first(side)); err != nil {
				return nil, err
			}
			if call, ok := side.(*ast.CallNode); ok && !slices.Contains(functions, callee(call)) {
				return w.call(call) // says that there is no such function
			}
		}
		return nil, w.wrong(n, "one side of %s must be an attribute, and not in quotes", n.Operator)
	}
	if s, ok := right.(*ast.StringNode); ok {
		if op != "==" && op != "!=" {
			return nil, w.wrong(right, "%s compares numbers and dates: write %s", op, unquotedQuantity(s.Value))
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

// first returns the node at the beginning of a chain of operators and members.
func first(n ast.Node) ast.Node {
	for {
		switch of := n.(type) {
		case *ast.BinaryNode:
			n = of.Left
		case *ast.MemberNode:
			n = of.Node
		default:
			return n
		}
	}
}

// unquotedQuantity says how to write what is in quotes as a number or a date.
func unquotedQuantity(text string) string {
	if _, ok := number(text); ok {
		return clip(text) + " without quotes"
	}
	if _, ok := moment(text); ok {
		return fmt.Sprintf("date(%q)", clip(text))
	}
	return fmt.Sprintf("a number, or date(%q)", "2026-01-31")
}

// value reads an attribute's value, a literal.
func (w *where) value(s *ast.StringNode) (string, error) {
	w.values++
	if err := CheckValue(s.Value); err != nil {
		return "", w.wrong(s, "%s", err.Info())
	}
	return s.Value, nil
}

// quantity reads a number or a date, a literal.
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
	if id, ok := n.(*ast.IdentifierNode); ok {
		return Quantity{}, w.wrong(n, "an attribute is compared with a text, a number or date(...); a text is written %q", clip(id.Value))
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
		if err := w.unquoted(first(n.Left)); err != nil {
			return nil, err
		}
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
			return nil, w.wrong(item, "a list holds texts: write each in quotes")
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
