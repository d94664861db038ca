package api

import (
	"reflect"
	"strconv"
	"strings"

	"tidings/internal/gate"
)

// A Shape is the form of a JSON value: what documents and schemas say of a request or an
// answer. It is made from the types of a row, from the tags of their fields (package
// gate) and from what the comments say of them. A field of an answer that the older family
// does not know has the tag newer:"yes".
type Shape struct {
	Type   string  // string, integer, boolean, array or object
	Item   *Shape  // of an array; of an object whose members have any names
	Fields []Field // of an object whose members have names of their own
	Strict bool    // the object refuses other members
}

// A Field is a member of an object.
type Field struct {
	Name  string
	Doc   string // what it is, in sentences
	Need  bool   // it has to be in a request; it is always in an answer
	Value Shape

	Bounded  bool // Min and Max hold: of the number, or of the number of entries
	Min, Max int64
	Default  int64 // of an integer in a request, if Defaults
	Defaults bool
	Over     string   // the code of more entries
	Words    []string // that a text may be
	Note     string   // what holds besides
}

// Request returns the shape of the body of a command, under its older name if older says so.
func Request(c gate.Command, older bool) Shape {
	return shapeOf(runOf(c, older).In, shaping{request: true, strict: c.Family.Strict})
}

// Answer returns the shape of what the answer of a command holds besides the envelope.
func Answer(c gate.Command, older bool) Shape {
	return shapeOf(runOf(c, older).Out, shaping{older: older})
}

func runOf(c gate.Command, older bool) gate.Run {
	if older && c.Older.Run.In != nil {
		return c.Older.Run
	}
	return c.Run
}

// shaping is what shapeOf carries down.
type shaping struct{ request, strict, older bool }

// shapeOf returns the shape of a type. A type that has none is a mistake of the program.
func shapeOf(t reflect.Type, how shaping) Shape {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if own, ok := reflect.Zero(t).Interface().(interface{ shape() reflect.Type }); ok {
		t = own.shape()
	}
	switch {
	case t == reflect.TypeFor[gate.Members]():
		return Shape{Type: "object", Item: &Shape{Type: "string"}}
	case t == reflect.TypeFor[gate.Raw]():
		return Shape{Type: "object"} // fieldOf reads which
	case t.Kind() == reflect.String:
		return Shape{Type: "string"}
	case t.Kind() == reflect.Bool:
		return Shape{Type: "boolean"}
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return Shape{Type: "integer"}
	case t.Kind() == reflect.Slice:
		item := shapeOf(t.Elem(), how)
		return Shape{Type: "array", Item: &item}
	case t.Kind() == reflect.Map:
		item := shapeOf(t.Elem(), how)
		return Shape{Type: "object", Item: &item}
	case t.Kind() == reflect.Struct:
		return Shape{Type: "object", Fields: fieldsOf(t, how), Strict: how.strict}
	}
	panic("a request or an answer cannot have a " + t.String())
}

func fieldsOf(t reflect.Type, how shaping) (fields []Field) {
	for f := range t.Fields() {
		switch {
		case f.Anonymous:
			fields = append(fields, fieldsOf(f.Type, how)...)
		case f.Type == reflect.TypeFor[gate.Kept](): // names are not known
		case f.IsExported() && (!how.older || f.Tag.Get("newer") == ""):
			fields = append(fields, fieldOf(t, f, how))
		}
	}
	return fields
}

func fieldOf(t reflect.Type, sf reflect.StructField, how shaping) Field {
	how.strict = (how.strict || sf.Tag.Get("strict") == "yes") && sf.Tag.Get("loose") == ""
	f := Field{
		Name: sf.Name, Doc: docs.Fields[t.Name()][sf.Name], Value: shapeOf(sf.Type, how),
		Over: sf.Tag.Get("over"), Note: sf.Tag.Get("note"),
	}
	if text := sf.Tag.Get("is"); text != "" {
		first, _, _ := strings.Cut(text, "|")
		f.Value = Shape{Type: first}
	}
	if text := sf.Tag.Get("words"); text != "" {
		f.Words = strings.Split(text, "|")
	}
	name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
	if name != "" {
		f.Name = name
	}
	f.Need = sf.Tag.Get("need") == "yes"
	if !how.request {
		f.Need = !strings.HasPrefix(options, "omit")
	}
	for _, tag := range []string{"items", "range"} {
		if from, to, ok := strings.Cut(sf.Tag.Get(tag), "-"); ok {
			f.Bounded, f.Min, f.Max = true, integer(from), integer(to)
		}
	}
	f.Defaults = how.request && !f.Need && sf.Type.Kind() == reflect.Int64
	if text := sf.Tag.Get("default"); text != "" {
		f.Default = integer(text)
	}
	return f
}

// integer reads a number in a tag, which package gate has read before.
func integer(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// Rules returns the limits of a field as documents say them; the empty string if it has
// none.
func (f *Field) Rules() string {
	var rules []string
	if f.Bounded {
		text := strconv.FormatInt(f.Min, 10) + " to " + strconv.FormatInt(f.Max, 10)
		switch {
		case f.Value.Type == "integer" && f.Max == f.Min+1:
			text = strings.Replace(text, "to", "or", 1)
		case f.Value.Type != "integer" && f.Min == 0:
			text = "at most " + strconv.FormatInt(f.Max, 10) + " entries"
		case f.Value.Type != "integer":
			text += " entries"
		}
		rules = append(rules, text)
	}
	if f.Words != nil {
		rules = append(rules, "`"+strings.Join(f.Words, "`, `")+"`")
	}
	if f.Defaults {
		rules = append(rules, "default "+strconv.FormatInt(f.Default, 10))
	}
	if f.Note != "" {
		rules = append(rules, f.Note)
	}
	text := strings.Join(rules, ", ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// Text returns what a field is and its limits.
func (f *Field) Text() string { return strings.TrimSpace(f.Doc + " " + f.Rules()) }

// A Line is a field in a table.
type Line struct {
	Path string // "UserAttrs[].To_Account"
	Type string // "Array of String"
	Field
}

// Lines returns the fields of a shape and of the shapes in it, each after the one that it
// is in.
func (s Shape) Lines() []Line { return s.lines(nil, "") }

func (s Shape) lines(lines []Line, prefix string) []Line {
	for _, f := range s.Fields {
		lines = append(lines, Line{prefix + f.Name, f.Value.word(), f})
		inner, sub := f.Value, prefix+f.Name+"."
		if inner.Type == "array" {
			inner, sub = *inner.Item, prefix+f.Name+"[]."
		}
		lines = inner.lines(lines, sub)
	}
	return lines
}

// word returns the type as tables say it.
func (s Shape) word() string {
	word := strings.ToUpper(s.Type[:1]) + s.Type[1:]
	if s.Item != nil && s.Item.Fields == nil {
		word += " of " + s.Item.word()
	}
	return word
}
