package gate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/wording"
)

// Members is a JSON object of strings, in its order. A member that is null is absent.
// A nil Members is no object.
type Members []Member

// A Member is one member of an object of strings.
type Member struct{ Name, Value string }

// decode reads the body of a request into in, a pointer to the struct of a plan: one
// JSON object in UTF-8, perhaps after a byte order mark, and nothing behind it. Member
// names are case-sensitive; one that the object has may be there once; others are
// ignored, or refused where the family or the plan is strict; null is absent. What is
// not JSON is reported before what is wrong with a member, and that before a list that
// is too long (spec/conventions.md, 2.3 and 2.5; spec/timpush-api.md, 2.7).
//
// Of a list that is too long only as much is kept as is needed to say so: elements
// take more memory than the text they are read from.
func decode(body []byte, in any, p *plan, f *Family) error {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	trimmed := bytes.Trim(body, blanks)
	if len(p.fields) == 0 && nothing(trimmed) {
		return nil
	}
	if len(trimmed) == 0 {
		return f.BadJSON.Errorf("request body is empty; a command without members takes {}")
	}
	d := decoders.Get().(*decoder)
	defer d.done()
	d.text = *bytes.NewBuffer(body)
	d.family, d.bytes = f, body
	// What is unknown may be there twice: to know that it is not would take memory for
	// each of the members. Of known ones the decoder knows it itself.
	d.json.Reset(&d.text, jsontext.AllowDuplicateNames(true))
	err := d.body(in, p)
	if errors.Is(err, errWrong) {
		// It was met on the way: what comes after it may be no JSON, and that is an
		// earlier check. Asking whether it is JSON is quicker than finding out where it is
		// none.
		if jsontext.Value(trimmed).IsValid(jsontext.AllowDuplicateNames(true)) {
			return d.wrong
		}
		for err = nil; err == nil && d.json.StackDepth() > 0; {
			_, err = d.json.ReadToken()
		}
	}
	if err == nil {
		err = d.end()
	}
	switch {
	case err != nil:
		return f.BadJSON.Errorf("request body is not valid JSON: %s", syntaxError(err))
	case d.wrong != nil:
		return d.wrong
	case d.over != nil:
		return d.over
	}
	return nil
}

const blanks = " \t\r\n"

// nothing reports whether a body says that a command without members gets none: some
// clients send no body, others the empty array that their language has for an empty
// object.
func nothing(body []byte) bool {
	return len(body) == 0 || len(body) >= 2 && body[0] == '[' && body[len(body)-1] == ']' && len(bytes.Trim(body[1:len(body)-1], blanks)) == 0
}

// errWrong ends the reading: a member is wrong, and decoder.wrong says which.
var errWrong = errors.New("a member is wrong")

// A decoder reads one body.
type decoder struct {
	json   jsontext.Decoder
	text   bytes.Buffer // over the body
	bytes  []byte       // the body
	family *Family
	path   []step
	code   *apierr.Kind  // of what is being read; nil: the family's
	says   string        // in place of what is wrong with it
	loose  bool          // unknown members in it are ignored, whatever the family
	wrong  *apierr.Error // the first thing that is wrong with a member
	over   *apierr.Error // a list that is too long: the outermost, of those the first
	depth  int           // of over
}

// A step is where a value is in another: a member, or an element if there is no name.
type step struct {
	name  string
	index int
}

// decoders spares a request the allocation of a decoder.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

func (d *decoder) done() {
	d.text, d.bytes, d.family, d.wrong, d.over, d.depth = bytes.Buffer{}, nil, nil, nil, nil, 0
	d.code, d.says, d.loose = nil, "", false
	d.json.Reset(&d.text) // lets go of the body
	d.path = d.path[:0]
	decoders.Put(d)
}

// body reads the outermost value.
func (d *decoder) body(in any, p *plan) error {
	if k := d.json.PeekKind(); k != '{' {
		v, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		d.wrong = d.family.BadJSON.Errorf("request body is %s, not a JSON object", wording.JSONKind(v.Kind()))
		return errWrong
	}
	return d.object(reflect.ValueOf(in).Elem(), p)
}

// end checks that nothing follows the body.
func (d *decoder) end() error {
	switch _, err := d.json.ReadToken(); {
	case err == nil:
		return errors.New("there is something behind the object")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// object reads the members of an object. The next token is its brace.
func (d *decoder) object(v reflect.Value, p *plan) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	var seen, there uint64 // by field; there: and not null
	code, loose := d.code, d.loose
	for d.json.PeekKind() != '}' {
		name, err := d.json.ReadToken()
		if err != nil {
			return err
		}
		text := name.String()
		i := p.find(text)
		if i < 0 {
			if err := d.other(text, v, p); err != nil {
				return err
			}
			continue
		}
		f := &p.fields[i]
		begin := d.json.InputOffset()
		d.code, d.says, d.loose = cmp.Or(f.code, code), f.text, loose || f.loose
		d.path = append(d.path, step{name: f.name})
		if seen&(1<<i) != 0 {
			return d.fail(d.family.BadJSON, "is there twice")
		}
		seen |= 1 << i
		if d.json.PeekKind() == 'n' {
			if err := d.json.SkipValue(); err != nil {
				return err
			}
		} else {
			there |= 1 << i
			if err := d.value(v.FieldByIndex(f.index), f); err != nil {
				return err
			}
			if p.all {
				if err := d.keep(text, begin, v, p); err != nil {
					return err
				}
			}
		}
		d.path = d.path[:len(d.path)-1]
		d.code, d.says, d.loose = code, "", loose
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for i := range p.fields {
		if f := &p.fields[i]; there&(1<<i) == 0 {
			if f.need {
				d.path = append(d.path, step{name: f.name})
				d.code, d.says = cmp.Or(f.code, code), f.text
				return d.missing(f)
			}
			if f.def != 0 {
				v.FieldByIndex(f.index).SetInt(f.def)
			}
		}
	}
	return nil
}

// other reads the value of a member that the object does not have: it is refused, kept or
// ignored.
func (d *decoder) other(name string, v reflect.Value, p *plan) error {
	if p.strict || d.family.Strict && !d.loose && p.kept == nil || p.nearTo(name) {
		return d.unknown(name, p)
	}
	begin := d.json.InputOffset()
	null := d.json.PeekKind() == 'n'
	if err := d.json.SkipValue(); err != nil || p.kept == nil || null {
		return err
	}
	d.path = append(d.path, step{name: name})
	if _, twice := v.FieldByIndex(p.kept).Interface().(Kept)[name]; twice {
		return d.fail(d.family.BadJSON, "is there twice")
	}
	if err := d.keep(name, begin, v, p); err != nil {
		return err
	}
	d.path = d.path[:len(d.path)-1]
	return nil
}

// keep puts a member that was read, from behind its name on, among those that are kept as
// they are. Whoever reads it later may not bear a member that is there twice.
func (d *decoder) keep(name string, begin int64, v reflect.Value, p *plan) error {
	value := bytes.TrimLeft(d.bytes[begin:d.json.InputOffset()], blanks+":")
	if !jsontext.Value(value).IsValid() {
		return d.fail(d.family.BadJSON, "has a member twice")
	}
	kept := v.FieldByIndex(p.kept)
	if kept.IsNil() {
		kept.Set(reflect.ValueOf(Kept{}))
	}
	kept.Interface().(Kept)[name] = bytes.Clone(value)
	return nil
}

// unknown is the error of a member that the object does not have.
func (d *decoder) unknown(name string, p *plan) error {
	d.path = append(d.path, step{name: name})
	if near := wording.Nearest(name, p.names()); near != "" {
		return d.fail(d.bad(), "is no member, did you mean %s?", near)
	}
	if len(p.fields) == 0 {
		return d.fail(d.bad(), "is no member, there are none")
	}
	return d.fail(d.bad(), "is no member; there are %s", strings.Join(p.names(), ", "))
}

// missing is the error of a member that has to be there.
func (d *decoder) missing(f *field) error {
	if f.least > 0 {
		return d.fail(d.bad(), "is missing or empty")
	}
	return d.fail(d.bad(), "is missing")
}

// bad returns the kind of what is wrong with a member.
func (d *decoder) bad() *apierr.Kind { return cmp.Or(d.code, d.family.BadField) }

// fail notes what is wrong with the value at the path.
func (d *decoder) fail(k *apierr.Kind, format string, args ...any) error {
	return d.note(k, d.place()+" "+fmt.Sprintf(format, args...))
}

// note notes what is wrong with a value.
func (d *decoder) note(k *apierr.Kind, text string) error {
	d.wrong = k.Errorf("%s", cmp.Or(d.says, text))
	return errWrong
}

// want is the error of a value of another type, which is read.
func (d *decoder) want(what string, account bool) error {
	v, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	k := d.bad()
	if account && d.code == nil && v.Kind() != 'n' {
		k = d.family.BadAccount
	}
	return d.note(k, fmt.Sprintf("%s: want %s, got %s", d.place(), what, d.shown(v)))
}

// place returns the path as people write it: UserAttrs[3].Attrs.
func (d *decoder) place() string {
	var b strings.Builder
	for _, s := range d.path {
		switch {
		case s.name == "":
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		case isNumber(s.name):
			b.WriteString("[" + s.name + "]")
			continue
		case b.Len() > 0:
			b.WriteByte('.')
		}
		b.WriteString(wording.Clip(s.name, 60))
	}
	return b.String()
}

// shown returns a value of the wrong type as an error shows it: itself, if it is short and
// can be no secret.
func (d *decoder) shown(v jsontext.Value) string {
	if k := v.Kind(); k == '{' || k == '[' || len(v) > 40 || k == '"' && d.family.Secret {
		return wording.JSONKind(k)
	}
	return string(v)
}

// syntaxError returns the text of a decoder's error without its package, and with the
// place.
func syntaxError(err error) string {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return wording.Clip(strings.TrimPrefix(err.Error(), "jsontext: "), 200)
	}
	text := syntax.Err.Error()
	if errors.Is(syntax.Err, io.ErrUnexpectedEOF) {
		text = "it ends too early"
	}
	if where := placeOf(syntax.JSONPointer); where != "" {
		text += " at " + where
	}
	return wording.Clip(strings.TrimPrefix(text, "jsontext: "), 200) + " after " + strconv.FormatInt(syntax.ByteOffset, 10) + " bytes"
}

// placeOf returns a JSON pointer as place writes a path.
func placeOf(p jsontext.Pointer) string {
	var d decoder
	for token := range p.Tokens() {
		d.path = append(d.path, step{name: token})
	}
	return d.place()
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}
