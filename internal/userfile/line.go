// Package userfile reads and writes the lines of files that hold the users of an app:
// lines of JSON (NDJSON) with the member names of the API, or CSV. It opens no files.
// doc/import-export.md describes both formats.
package userfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/audience"
	"tidings/internal/wording"
)

// MaxLineBytes is the length of the longest line, or record of CSV, without its line
// break. The line of a user with everything at its limit, and every character escaped,
// is half as long.
const MaxLineBytes = 64 << 10

// A Line is what a line of a file says about a user. Its form was checked, and its
// values were not.
type Line struct {
	Account string
	Kind    audience.Kind
	Attrs   []audience.NamedValue // no name twice
	Tags    []string
	Nick    *string // nil: absent
	FaceURL *string
	Created uint32 // Unix second; 0: absent
}

// A Parser reads lines of JSON. The zero value is ready to use. A Parser must not be used
// by several goroutines at once.
type Parser struct {
	dec  jsontext.Decoder
	buf  bytes.Buffer
	text string // the line; the strings of a Line share its memory
}

// Line reads a line, which is one JSON object, into l. To_Account is required. A member
// that is unknown, occurs twice or has the wrong type is an error, so that nothing is
// lost silently because its name was misspelt.
func (p *Parser) Line(line []byte, l *Line) error {
	*l = Line{Attrs: l.Attrs[:0], Tags: l.Tags[:0]}
	p.text = string(line)
	p.buf = *bytes.NewBuffer(line)
	p.dec.Reset(&p.buf)
	if k := p.dec.PeekKind(); k != '{' && k != 0 {
		return fmt.Errorf("want a JSON object, got %s", wording.JSONKind(k))
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return syntaxError(err)
	}
	seen := false
	for p.dec.PeekKind() != '}' {
		name, err := p.string("")
		if err != nil {
			return err
		}
		switch name {
		case "To_Account":
			seen = true
			l.Account, err = p.string(name)
		case "AccountType":
			var n uint32
			n, err = p.number(name, 0, uint32(audience.RegistrationID))
			l.Kind = audience.Kind(n)
		case "Created":
			l.Created, err = p.number(name, 1, math.MaxUint32)
		case "Nick":
			l.Nick, err = p.optional(name)
		case "FaceUrl":
			l.FaceURL, err = p.optional(name)
		case "Tags":
			err = p.tags(l)
		case "Attrs":
			err = p.attrs(l)
		case "AttrNames", "AttrTypes":
			return fmt.Errorf("%s: a header can only be the first line of a file", name)
		default:
			return fmt.Errorf("member %q is not known; there are To_Account, AccountType, Attrs, Tags, Nick, FaceUrl and Created", clip(name))
		}
		if err != nil {
			return err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return syntaxError(err)
	}
	switch _, err := p.dec.ReadToken(); {
	case err == nil:
		return errors.New("there is more after the JSON object")
	case !errors.Is(err, io.EOF):
		return syntaxError(err)
	case !seen:
		return errors.New("To_Account is missing")
	}
	return nil
}

// string reads a string. where is the member that has it, or empty for the name of a
// member.
func (p *Parser) string(where string) (string, error) {
	if k := p.dec.PeekKind(); k != '"' {
		return "", p.wrong(where, "a string", k)
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return "", syntaxError(err)
	}
	if bytes.IndexByte(v, '\\') < 0 {
		end := int(p.dec.InputOffset())
		return p.text[end-len(v)+1 : end-1], nil
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err
}

func (p *Parser) optional(where string) (*string, error) {
	s, err := p.string(where)
	return &s, err
}

// wrong returns the error for a value of kind k in the place of what is wanted.
func (p *Parser) wrong(where, want string, k jsontext.Kind) error {
	if k == 0 {
		_, err := p.dec.ReadToken()
		return syntaxError(err)
	}
	if where == "" {
		where = "a member's name"
	}
	return fmt.Errorf("%s: want %s, got %s", where, want, wording.JSONKind(k))
}

func (p *Parser) number(where string, low, high uint32) (uint32, error) {
	if k := p.dec.PeekKind(); k != '0' {
		return 0, p.wrong(where, "a number", k)
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return 0, syntaxError(err)
	}
	n, err := strconv.ParseUint(string(v), 10, 32)
	if err != nil || uint32(n) < low || uint32(n) > high {
		return 0, fmt.Errorf("%s: %s is not a whole number from %d to %d", where, clip(string(v)), low, high)
	}
	return uint32(n), nil
}

func (p *Parser) tags(l *Line) error {
	if k := p.dec.PeekKind(); k != '[' {
		return p.wrong("Tags", "an array", k)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return syntaxError(err)
	}
	for p.dec.PeekKind() != ']' {
		tag, err := p.string("Tags")
		if err != nil {
			return err
		}
		l.Tags = append(l.Tags, tag)
	}
	_, err := p.dec.ReadToken()
	return syntaxError(err)
}

func (p *Parser) attrs(l *Line) error {
	if k := p.dec.PeekKind(); k != '{' {
		return p.wrong("Attrs", "an object", k)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return syntaxError(err)
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.string("")
		if err != nil {
			return err
		}
		if k := p.dec.PeekKind(); k != '"' {
			return p.wrong("Attrs."+clip(name), "a string", k)
		}
		value, err := p.string("Attrs")
		if err != nil {
			return err
		}
		l.Attrs = append(l.Attrs, audience.NamedValue{Name: name, Value: value})
	}
	_, err := p.dec.ReadToken()
	return syntaxError(err)
}

// AppendLine appends a user as a line of JSON with its line break. The texts of the user
// must be UTF-8.
func AppendLine(b []byte, l *Line) ([]byte, error) {
	w := writer{b: append(b, `{"To_Account":`...)}
	w.string(l.Account)
	if l.Kind != audience.UserID {
		w.b = strconv.AppendUint(append(w.b, `,"AccountType":`...), uint64(l.Kind), 10)
	}
	for i, a := range l.Attrs {
		w.separate(i, `,"Attrs":{`)
		w.string(a.Name)
		w.b = append(w.b, ':')
		w.string(a.Value)
	}
	if len(l.Attrs) > 0 {
		w.b = append(w.b, '}')
	}
	for i, tag := range l.Tags {
		w.separate(i, `,"Tags":[`)
		w.string(tag)
	}
	if len(l.Tags) > 0 {
		w.b = append(w.b, ']')
	}
	if l.Nick != nil {
		w.b = append(w.b, `,"Nick":`...)
		w.string(*l.Nick)
	}
	if l.FaceURL != nil {
		w.b = append(w.b, `,"FaceUrl":`...)
		w.string(*l.FaceURL)
	}
	if l.Created != 0 {
		w.b = strconv.AppendUint(append(w.b, `,"Created":`...), uint64(l.Created), 10)
	}
	if w.err != nil {
		return b, fmt.Errorf("user %q: %w", l.Account, w.err)
	}
	return append(w.b, '}', '\n'), nil
}

type writer struct {
	b   []byte
	err error // the first
}

func (w *writer) string(s string) {
	var err error
	if w.b, err = jsontext.AppendQuote(w.b, s); err != nil && w.err == nil {
		w.err = fmt.Errorf("%q: %w", s, err)
	}
}

// separate writes what comes before item i of a list: begin before the first, a comma
// before the others.
func (w *writer) separate(i int, begin string) {
	if i == 0 {
		w.b = append(w.b, begin...)
	} else {
		w.b = append(w.b, ',')
	}
}

// A header is the first line of an export.
type header struct {
	AttrNames map[string]string
	AttrTypes map[string]int `json:",omitempty"`
}

// IsHeader reports whether a line is meant as a header: its first member is one that
// only a header has.
func IsHeader(line []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("{"))
	rest = bytes.TrimSpace(rest)
	return ok && (bytes.HasPrefix(rest, []byte(`"AttrNames"`)) || bytes.HasPrefix(rest, []byte(`"AttrTypes"`)))
}

// ParseHeader reads the header of a file and returns the attributes that the header
// defines.
func ParseHeader(line []byte) (*audience.Attributes, error) {
	var h header
	if err := json.Unmarshal(line, &h, json.RejectUnknownMembers(true)); err != nil {
		if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
			where := clip(strings.ReplaceAll(strings.TrimPrefix(string(wrong.JSONPointer), "/"), "/", "."))
			if errors.Is(err, json.ErrUnknownName) {
				return nil, fmt.Errorf("member %q is not known; a header has AttrNames and AttrTypes", where)
			}
			return nil, fmt.Errorf("%s: %s does not belong there", where, wording.JSONKind(wrong.JSONKind))
		}
		return nil, syntaxError(err)
	}
	var a audience.Attributes
	for slot, name := range h.AttrNames {
		i, ok := parseSlot(slot)
		switch {
		case !ok:
			return nil, fmt.Errorf("AttrNames: %q is not a slot from 0 to %d", clip(slot), audience.Slots-1)
		case name == "" || len(name) > audience.MaxNameBytes:
			return nil, fmt.Errorf("AttrNames.%s: %q has %d bytes, an attribute name has 1 to %d", slot, clip(name), len(name), audience.MaxNameBytes)
		case a.Index(name) >= 0:
			return nil, fmt.Errorf("AttrNames: %q is the name of two slots", name)
		}
		a[i].Name = name
	}
	for slot, kind := range h.AttrTypes {
		i, ok := parseSlot(slot)
		switch {
		case !ok || a[i].Name == "":
			return nil, fmt.Errorf("AttrTypes: %q is not a slot that AttrNames names", clip(slot))
		case kind != int(audience.UserID) && kind != int(audience.RegistrationID):
			return nil, fmt.Errorf("AttrTypes.%s: %d is not an account type, 0 (UserID) or 1 (RegistrationID)", slot, kind)
		}
		a[i].Kind = audience.Kind(kind)
	}
	return &a, nil
}

func parseSlot(s string) (int, bool) {
	if len(s) != 1 || s[0] < '0' || s[0] >= '0'+audience.Slots {
		return 0, false
	}
	return int(s[0] - '0'), true
}

// AppendHeader appends the header that defines some attributes, with its line break.
func AppendHeader(b []byte, a *audience.Attributes) ([]byte, error) {
	h := header{AttrNames: map[string]string{}, AttrTypes: map[string]int{}}
	for i, attr := range a {
		if attr.Name != "" {
			h.AttrNames[strconv.Itoa(i)], h.AttrTypes[strconv.Itoa(i)] = attr.Name, int(attr.Kind)
		}
	}
	line, err := json.Marshal(h, json.Deterministic(true))
	return append(append(b, line...), '\n'), err
}

// syntaxError returns a decoder's error in words that name no package; nil for nil.
func syntaxError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the JSON ends too early")
	}
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return err
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("member %q stands twice", clip(string(syntax.JSONPointer.LastToken())))
	}
	return fmt.Errorf("no JSON after %d bytes: %s", syntax.ByteOffset, strings.TrimPrefix(syntax.Err.Error(), "jsontext: "))
}

// clip shortens a text for an error.
func clip(s string) string { return wording.Clip(s, 60) }
