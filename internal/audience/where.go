package audience

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"

	"tidings/internal/apierr"
)

// ParseWhere parses a Where expression over the attributes of an app, such as
//
//	plan == "gold" && (region in ["EU", "APAC"] || tag("beta")) && !tag("muted")
//
// It has ==, !=, in and not in for values; <, <=, > and >= for values that are numbers or
// dates (app_build >= 42, since < date("2026-01-01")); tag("x"), has("city"), and
// attr("app build") for names that are no identifiers. An expression that is wrong is
// 95001 with line and column. One that is too large is 95002.
//
// The grammar is that of expr-lang/expr. A Where may use the part of it that selects
// users.
func ParseWhere(text string, attrs *Attributes) (Expr, error) {
	if len(text) > MaxWhereBytes {
		return nil, apierr.WhereTooLarge.Errorf("Where has %d bytes, it may have %d", len(text), MaxWhereBytes)
	}
	if depth := nesting(text); depth > maxNesting {
		return nil, apierr.WhereTooLarge.Errorf("Where nests %d levels deep, it may nest %d", depth, maxNesting)
	}
	text += " " // gives the end a place of its own: the grammar puts it on the last character
	w := where{text: whereText{[]rune(text), attrs}, attrs: attrs}
	if err := w.text.scan(w.text.foreign); err != nil {
		return nil, err
	}
	tree, err := parser.ParseWithConfig(text, grammar())
	if err != nil {
		return nil, w.text.unparsed(err)
	}
	e, err := w.bool(tree.Node)
	if err != nil {
		return nil, err
	}
	if w.terms > MaxTerms || w.values > MaxWhereValues {
		return nil, apierr.WhereTooLarge.Errorf("Where has %d terms and %d values, it may have %d and %d", w.terms, w.values, MaxTerms, MaxWhereValues)
	}
	return e, nil
}

// grammar returns the configuration of the parser. It has as many nodes as the largest
// expression may take. It has none of the grammar's functions: their names are defined
// anew, and so a call of one is a call like any other.
func grammar() *conf.Config {
	config := conf.CreateNew()
	config.MaxNodes = maxNodes
	for name := range builtin.Index {
		config.Functions[name] = nil
	}
	return config
}

// maxNodes is how many nodes a syntax tree may have. A term takes up to eight.
const maxNodes = 8 * (MaxTerms + MaxWhereValues)

// maxNesting bounds the parser's recursion.
const maxNesting = 200

// nesting returns a number that is not less than the depth to which brackets and prefix
// operators nest. It is larger if texts have such characters, which matters only to texts
// with many.
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

// where makes an Expr of a syntax tree.
type where struct {
	text          whereText
	attrs         *Attributes
	terms, values int
}

// wrong returns an error about the place of a node.
func (w *where) wrong(n ast.Node, format string, args ...any) error {
	return w.text.wrong(n.Location().From, format, args...)
}

// bool reads a condition.
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
		if ref, ok := w.text.unquotedAt(n.Location().From); ok {
			return nil, w.wrong(n, "%s is an attribute: compare it, or write has(%q)", ref, ref.Name)
		}
		return nil, w.wrong(n, "%s is no condition; tags are written tag(%q)", clip(n.Value), clip(n.Value))
	case *ast.SequenceNode:
		return nil, w.wrong(n, "write && between conditions, and not ;")
	case *ast.StringNode:
		return nil, w.wrong(n, "a text is no condition; tags are written tag(%q)", clip(n.Value))
	}
	return nil, w.wrong(n, "a condition is wanted here, such as plan == %q", "gold")
}

// negate returns the opposite of a condition, of a negation the condition itself.
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
	return nil, w.wrong(n, "operator %s is not known here; %s", clip(n.Operator), operators)
}

// flatten returns the members of a chain of the same operator, or a condition alone.
func flatten[L ~[]Expr](e Expr) L {
	if l, ok := e.(L); ok && len(l) > 0 {
		return slices.Clip(l)
	}
	return L{e}
}
