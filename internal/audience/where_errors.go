package audience

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"

	"tidings/internal/apierr"
	"tidings/internal/wording"
)

// whereText is the text of a Where expression, and makes the errors about it. The
// grammar is another one's, with more in it and with errors in words of its own, so
// foreign looks for what does not belong to Where before the text is parsed, and refused
// finds words for what the parser does not take. An error quotes little of the text: it
// stays under 1 KB.
type whereText struct {
	runes []rune
	attrs *Attributes
}

// wrong returns an error about the place at an offset.
func (s *whereText) wrong(offset int, format string, args ...any) *apierr.Error {
	line, column := 1, 1
	for _, r := range s.runes[:min(offset, len(s.runes))] {
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return apierr.BadWhere.Errorf("Where, line %d, column %d: %s", line, column, fmt.Sprintf(format, args...))
}

// scan reads tokens until see returns an error. It passes a token, the one before, and
// the brackets that are open.
func (s *whereText) scan(see func(before, t lexer.Token, open []lexer.Token) *apierr.Error) *apierr.Error {
	l := lexer.New()
	l.Reset(file.NewSource(string(s.runes)))
	var before lexer.Token
	var open []lexer.Token
	for {
		t, err := l.Next()
		if err != nil {
			if e, ok := errors.AsType[*file.Error](err); ok {
				return s.unreadable(before, e)
			}
			return nil // the end
		}
		if err := see(before, t, open); err != nil {
			return err
		}
		switch {
		case t.Is(lexer.Bracket, "(", "["):
			open = append(open, t)
		case t.Kind == lexer.Bracket && len(open) > 0:
			open = open[:len(open)-1]
		}
		before = t
	}
}

// instead maps what people write to how it is written in a Where; of two that fit, the
// longer one is meant.
var instead = map[string]string{
	"=": "==", "===": "==", "!==": "!=", "<>": "!=", "=>": ">=", "=<": "<=", "&": "&&", "|": "||",
	"≥": ">=", "≤": "<=", "≠": "!=", "＝": "==", "＞": ">", "＜": "<", "！": "!", "＆": "&&", "｜": "||",
	"（": "(", "）": ")", "［": "[", "］": "]", "【": "[", "】": "]", "，": ",", "、": ",",
	"“": `"`, "”": `"`, "„": `"`, "«": `"`, "»": `"`, "＂": `"`, "「": `"`, "」": `"`, "‘": "'", "’": "'", "＇": "'",
}

// correction returns what is written instead of the signs at an offset, of which at least
// length belong together; empty if that table does not have them.
func (s *whereText) correction(offset, length int) (found, right string) {
	for n := min(3, len(s.runes)-offset); n >= length; n-- {
		found = string(s.runes[offset : offset+n])
		if right = instead[found]; right != "" {
			return found, right
		}
	}
	return "", ""
}

// foreign returns why a token of the grammar has no place in any Where; nil if it has.
func (s *whereText) foreign(before, t lexer.Token, _ []lexer.Token) *apierr.Error {
	switch t.Kind {
	case lexer.Operator:
		if found, right := s.correction(t.From, t.To-t.From); found != "" {
			if err := s.unquoted(before, t); err != nil {
				return err
			}
			return s.wrong(t.From, "write %s instead of %s", right, found)
		}
		switch t.Value {
		case "let", "if", "else", "?", ":", "::", "?.", "??", "..", "#":
			if err := s.unquoted(before, t); err != nil {
				return err
			}
			return s.wrong(t.From, "%s is not known here; %s", t.Value, operators)
		}
	case lexer.Bracket:
		if t.Value == "{" || t.Value == "}" {
			return s.wrong(t.From, "%s is not known here; write ( ) around conditions and [ ] around lists", t.Value)
		}
	case lexer.Number:
		if !readable(t.Value) {
			return s.wrong(t.From, "the number %s is too large; up to 64 bits are exact, and larger ones are written 1e20", clip(t.Value))
		}
	case lexer.Bytes:
		return s.wrong(t.From, "write a text without b before it")
	}
	return nil
}

const operators = "there are && || ! == != < <= > >= in"

// readable reports whether a number is one that the grammar can hold.
func readable(number string) bool {
	number = strings.ToLower(strings.ReplaceAll(number, "_", ""))
	if !strings.HasPrefix(number, "0x") && strings.ContainsAny(number, ".e") {
		_, err := strconv.ParseFloat(number, 64)
		return err == nil
	}
	base := 10
	if strings.HasPrefix(number, "0x") || strings.HasPrefix(number, "0b") || strings.HasPrefix(number, "0o") {
		base = 0 // the prefix says it
	}
	_, err := strconv.ParseInt(number, base, 64)
	return err == nil
}

// unreadable returns the error for what is no token. It stands behind the token before.
func (s *whereText) unreadable(before lexer.Token, e *file.Error) *apierr.Error {
	start := before.To
	for start < e.From && unicode.IsSpace(s.runes[start]) {
		start++
	}
	switch e.Message {
	case "literal not terminated":
		return s.wrong(start, "the text that begins here has no closing quote on its line")
	case "unclosed comment":
		return s.wrong(start, "the comment that begins here is not closed")
	}
	switch r := s.runes[min(start, len(s.runes)-1)]; {
	case r == '"' || r == '\'' || r == 'b' || r == 'B':
		return s.wrong(start, `the text that begins here has a wrong backslash; write \\ for one backslash and \" for a quote`)
	case r >= '0' && r <= '9' || r == '.':
		end := start
		for end < len(s.runes) && !unicode.IsSpace(s.runes[end]) {
			end++
		}
		return s.wrong(start, "%q is no number; write a text in quotes", clip(string(s.runes[start:end])))
	}
	if found, right := s.correction(e.From, 1); found != "" {
		return s.wrong(e.From, "write %s instead of %s", right, found)
	}
	return s.wrong(e.From, "%q is not known here", s.runes[min(e.From, len(s.runes)-1)])
}

// unparsed returns the error for a text that the parser refuses.
func (s *whereText) unparsed(err error) error {
	e, ok := errors.AsType[*file.Error](err)
	if !ok {
		return apierr.BadWhere.Because(err)
	}
	if strings.Contains(e.Message, "maximum allowed nodes") {
		return apierr.WhereTooLarge.Errorf("Where has more than %d terms and %d values", MaxTerms, MaxWhereValues)
	}
	why := s.scan(func(before, t lexer.Token, open []lexer.Token) *apierr.Error {
		if t.From < e.From {
			return nil
		}
		return s.refused(before, t, open)
	})
	if why == nil {
		why = s.wrong(e.From, "this is no expression")
	}
	return why
}

// refused returns the error for a token that the parser did not take where it stands.
func (s *whereText) refused(before, t lexer.Token, open []lexer.Token) *apierr.Error {
	for _, word := range []lexer.Token{before, t} {
		if right := upperCase(word.Value); word.Kind == lexer.Identifier && right != "" {
			return s.wrong(word.From, "write %s instead of %s", right, word.Value)
		}
	}
	if err := s.unquoted(before, t); err != nil {
		return err
	}
	was, is := show(before), show(t)
	operand := before.Kind == lexer.Identifier || before.Kind == lexer.String || before.Kind == lexer.Number || before.Is(lexer.Bracket, ")", "]")
	switch {
	case t.Kind == lexer.EOF && before.Kind == "":
		return s.wrong(0, "the expression is empty; write a condition such as plan == %q, or true for everyone", "gold")
	case t.Kind == lexer.EOF && operand && len(open) > 0:
		return s.wrong(open[len(open)-1].From, "this %s is not closed", open[len(open)-1].Value)
	case t.Kind == lexer.EOF:
		return s.wrong(t.From, "something is missing after %s", was)
	case !operand && before.Kind == "":
		return s.wrong(t.From, "something is missing before %s", is)
	case !operand:
		return s.wrong(t.From, "something is missing between %s and %s", was, is)
	case t.Is(lexer.Bracket, ")", "]") && len(open) == 0:
		return s.wrong(t.From, "this %s closes nothing", t.Value)
	case t.Is(lexer.Bracket, ")", "]") && (t.Value == ")") != (open[len(open)-1].Value == "("):
		return s.wrong(t.From, "this %s does not close %s", t.Value, open[len(open)-1].Value)
	case before.Kind == lexer.Identifier && t.Kind == lexer.Identifier && s.attrs.Index(before.Value) < 0:
		return s.wrong(before.From, "a name that is more than one word is written attr(%q)", was+" "+is)
	case before.Kind == lexer.Identifier && t.Kind == lexer.Identifier:
		return s.wrong(t.From, "%s is not known here; %s", is, operators)
	case t.Kind == lexer.Operator || t.Kind == lexer.Bracket:
		return s.wrong(t.From, "%s has no place after %s", is, was)
	}
	return s.wrong(t.From, "an operator such as == or && is missing before %s", is)
}

// show returns a token as it is written, or its beginning.
func show(t lexer.Token) string {
	if t.Kind == lexer.String {
		return strconv.Quote(clip(t.Value))
	}
	return clip(t.Value)
}

// upperCase returns what is written instead of an operator such as AND, which is a word
// in other letters than the grammar's; empty for other words.
func upperCase(word string) string {
	lower := strings.ToLower(word)
	if lower == word {
		return ""
	}
	return map[string]string{"and": "&&", "or": "||", "not": "!", "in": "in"}[lower]
}

// unquoted returns an error if one of two tokens begins the name of an attribute that
// cannot stand as it is; nil if neither does.
func (s *whereText) unquoted(tokens ...lexer.Token) *apierr.Error {
	for _, t := range tokens {
		if err := s.unquotedName(t.From); err != nil {
			return err
		}
	}
	return nil
}

func (s *whereText) unquotedName(offset int) *apierr.Error {
	ref, ok := s.unquotedAt(offset)
	if !ok {
		return nil
	}
	if before := string(s.runes[:offset]); strings.HasSuffix(before, "has(") || strings.HasSuffix(before, "attr(") {
		return s.wrong(offset, "write the name in quotes, %q", ref.Name)
	}
	return s.wrong(offset, "write %s for the attribute %q", ref, ref.Name)
}

// unquotedAt returns the attribute whose name stands at an offset and is no identifier.
func (s *whereText) unquotedAt(offset int) (found Ref, ok bool) {
	rest := string(s.runes[offset:])
	for slot, a := range s.attrs {
		ref := Ref{slot, a.Name}
		after, named := strings.CutPrefix(rest, a.Name)
		if !named || len(a.Name) <= len(found.Name) || ref.String() == a.Name {
			continue
		}
		if identifier.MatchString(a.Name[len(a.Name)-1:]) && after != "" && identifier.MatchString(after[:1]) {
			continue // it is a part of a longer word
		}
		found, ok = ref, true
	}
	return found, ok
}

// unknownAttr says that no attribute has a name, and which one may be meant.
func unknownAttr(name string, attrs *Attributes) string {
	return fmt.Sprintf("attribute %q is not set with set_attr_name%s", clip(name), attrs.suggest(name))
}

// suggest asks for an attribute whose name is near a misspelt one; empty if none is.
func (a *Attributes) suggest(name string) string {
	var names []string
	for _, attr := range a {
		if attr.Name != "" {
			names = append(names, attr.Name)
		}
	}
	near := wording.Nearest(name, names)
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}
