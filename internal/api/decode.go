package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/wording"
)

// handler works on a decoded request after all checks; out becomes the members
// of the answer.
type handler func(s *Server, ctx context.Context, c *caller, f *family, body []byte) (out any, err error)

// call makes a handler of a function over a request's and an answer's type.
func call[In, Out any](f func(*Server, context.Context, *caller, *In) (Out, error)) handler {
	return func(s *Server, ctx context.Context, c *caller, fam *family, body []byte) (any, error) {
		in := new(In)
		if err := decode(body, in, fam); err != nil {
			return nil, err
		}
		return f(s, ctx, c, in)
	}
}

// decode reads the body of a request: one JSON object in UTF-8, perhaps after a
// byte order mark, and nothing behind it. Member names are case-sensitive,
// duplicates refused, unknown ones ignored; null is absent. Contract:
// spec/conventions.md, 2.3.
func decode(body []byte, in any, f *family) error {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	err := json.Unmarshal(body, in)
	if err == nil {
		if k := jsontext.Value(bytes.TrimLeft(body, " \t\r\n")).Kind(); k != '{' { // null
			return f.badJSON.Errorf("request body is %s, not a JSON object", wording.JSONKind(k))
		}
		return nil
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		// It was met on the way: what comes after it may be no JSON, and that is
		// an earlier check.
		if syntax := json.Unmarshal(body, new(jsontext.Value)); syntax != nil {
			err, semantic = syntax, nil
		}
	}
	if semantic == nil {
		if len(bytes.TrimSpace(body)) == 0 {
			return f.badJSON.Errorf("request body is empty; a command without members takes {}")
		}
		return f.badJSON.Errorf("request body is not valid JSON: %s", syntaxError(err))
	}
	where := semantic.JSONPointer
	if where == "" {
		return f.badJSON.Errorf("request body is %s, not a JSON object", wording.JSONKind(semantic.JSONKind))
	}
	if w, ok := errors.AsType[*wantError](err); ok {
		kind := f.badField
		if w.account && f == accountFamily {
			kind = apierr.AccountType
		}
		if w.member != nil {
			where = where.AppendToken(*w.member)
		}
		return kind.Errorf("%s: want %s, got %s", place(string(where)), w.want, w.got)
	}
	got := wording.JSONKind(semantic.JSONKind)
	rest := bytes.TrimLeft(body[min(int(semantic.ByteOffset), len(body)):], " \t\r\n,:")
	if v, err := jsontext.NewDecoder(bytes.NewBuffer(rest)).ReadValue(); err == nil && v.Kind() == semantic.JSONKind {
		got = shown(v)
	}
	return f.badField.Errorf("%s: want %s, got %s", place(string(where)), wanted(semantic), got)
}

// shown is a value of the wrong type as an error shows it: itself, if it is short.
func shown(v jsontext.Value) string {
	if k := v.Kind(); k == '{' || k == '[' || len(v) > 40 {
		return wording.JSONKind(k)
	}
	return string(v)
}

// syntaxError is a decoder's error without its package and with the place as
// people write it.
func syntaxError(err error) string {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return wording.Clip(strings.TrimPrefix(err.Error(), "jsontext: "), 200)
	}
	text := syntax.Err.Error()
	if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
		text = "duplicate member"
	}
	if errors.Is(syntax.Err, io.ErrUnexpectedEOF) {
		text = "it ends too early"
	}
	if where := place(string(syntax.JSONPointer)); where != "" {
		text += " at " + where
	}
	return wording.Clip(strings.TrimPrefix(text, "jsontext: "), 200) + " after " + strconv.FormatInt(syntax.ByteOffset, 10) + " bytes"
}

// place turns a JSON pointer into the way people write: UserAttrs[3].Attrs.
func place(pointer string) string {
	var b strings.Builder
	for token := range jsontext.Pointer(pointer).Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(wording.Clip(token, 60))
	}
	return b.String()
}

// wanted is what a decoder wanted, in words.
func wanted(e *json.SemanticError) string {
	if e.GoType == nil {
		return "another value"
	}
	switch e.GoType.Kind().String() {
	case "slice":
		return "an array"
	case "map", "struct":
		return "an object"
	case "int", "int64", "uint32", "uint8":
		return "an integer"
	}
	return "a " + e.GoType.Kind().String()
}

// wantError says that a member is of the wrong type.
type wantError struct {
	want, got string
	account   bool    // it names an account: 60015 where the family has that
	member    *string // the member of an object that a decoder of ours reads; nil: the value itself
}

func (e *wantError) Error() string { return fmt.Sprintf("want %s, got %s", e.want, e.got) }

// text is a JSON string. Absent and null are not set.
type text struct {
	value string
	set   bool
}

// UnmarshalJSONFrom reads a string or null.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error { return t.read(dec, false) }

func (t *text) read(dec *jsontext.Decoder, account bool) error {
	switch dec.PeekKind() {
	case 'n':
		return dec.SkipValue()
	case '"':
		tok, err := dec.ReadToken()
		if err != nil {
			return err
		}
		t.value, t.set = tok.String(), true
		return nil
	case '{', '[', '0', 't', 'f':
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		return &wantError{want: "a string", got: shown(v), account: account}
	}
	_, err := dec.ReadToken() // the syntax error
	return err
}

// userID is a text that names an account.
type userID struct{ text }

// UnmarshalJSONFrom reads a string or null; another type is its own error code
// in some families (spec/conventions.md, 2.3).
func (u *userID) UnmarshalJSONFrom(dec *jsontext.Decoder) error { return u.read(dec, true) }

// members is a JSON object of strings, in its order. Members that are null are
// absent.
type members struct {
	list []member
	set  bool
}

type member struct{ name, value string }

// UnmarshalJSONFrom reads an object of strings or null.
func (m *members) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case 'n':
		return dec.SkipValue()
	case '{':
	case '"', '[', '0', 't', 'f':
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		return &wantError{want: "an object", got: shown(v)}
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	m.set = true
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		entry := member{name: name.String()}
		var value text
		if err := value.read(dec, false); err != nil {
			if w, ok := errors.AsType[*wantError](err); ok {
				w.member = &entry.name
			}
			return err
		}
		if value.set {
			entry.value = value.value
			m.list = append(m.list, entry)
		}
	}
	_, err := dec.ReadToken()
	return err
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBytes keeps a rare large body from holding memory for ever.
const maxPooledBytes = 64 << 10

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxPooledBytes {
		b.Reset()
		buffers.Put(b)
	}
}

// readBody reads the body, no more of it than the limit. The buffer is given
// back with putBuffer.
func (s *Server) readBody(r *request) (*bytes.Buffer, error) {
	limit := s.opts.MaxBodyBytes
	tooLarge := func() error {
		return r.command.family.tooLarge.Errorf("request body is over %d bytes", limit)
	}
	if r.http.ContentLength > limit {
		return nil, tooLarge()
	}
	b := buffers.Get().(*bytes.Buffer)
	if n := r.http.ContentLength; n > 0 {
		b.Grow(int(n) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(r.http.Body, limit+1))
	switch {
	case err == nil && int64(b.Len()) <= limit:
		return b, nil
	case err == nil:
		err = tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = apierr.Timeout.Because(fmt.Errorf("reading the body: %w", err))
	case errors.Is(err, http.ErrBodyReadAfterClose), errors.Is(err, io.ErrUnexpectedEOF):
		err = apierr.BadHTTP.Errorf("the request body ends before its length")
	default:
		err = apierr.BadHTTP.Errorf("the request body cannot be read")
	}
	putBuffer(b)
	return nil, err
}
