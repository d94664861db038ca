package api

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
)

// codeSchema describes an ErrorCode.
func codeSchema(kinds []*apierr.Kind, title string) object {
	var enum []int
	var text strings.Builder
	text.WriteString(title)
	for _, k := range distinct(kinds) {
		enum = append(enum, k.Code)
		fmt.Fprintf(&text, "\n- %d: %s", k.Code, k.Text)
	}
	return object{{"type", "integer"}, {"enum", enum}, {"description", strings.TrimPrefix(text.String(), "\n")}}
}

func distinct(kinds []*apierr.Kind) (list []*apierr.Kind) {
	seen := map[*apierr.Kind]bool{}
	for _, k := range kinds {
		if !seen[k] {
			list, seen[k] = append(list, k), true
		}
	}
	return list
}

// schema returns the JSON Schema of a value.
func (s Shape) schema(request bool) object {
	o := object{{"type", s.Type}}
	switch {
	case s.Type == "array":
		return append(o, member{"items", s.Item.schema(request)})
	case s.Type == "object" && s.Item != nil:
		item := s.Item.schema(request)
		if request {
			item = item.nullable()
		}
		return append(o, member{"additionalProperties", item})
	case s.Type != "object":
		return o
	}
	properties, required := s.members(request)
	if len(properties) > 0 {
		o = append(o, member{"properties", properties})
	}
	if len(required) > 0 {
		o = append(o, member{"required", required})
	}
	if s.Strict {
		o = append(o, member{"additionalProperties", false})
	}
	return o
}

// members returns the schemas of the members of an object, and which of them it always
// has.
func (s Shape) members(request bool) (properties object, required []string) {
	for _, f := range s.Fields {
		properties = append(properties, member{f.Name, f.schema(request)})
		if f.Need {
			required = append(required, f.Name)
		}
	}
	return properties, required
}

// schema returns the JSON Schema of a member. One that is null is absent in a request.
func (f *Field) schema(request bool) object {
	o := f.Value.schema(request)
	if f.Words != nil && f.Value.Type == "array" {
		o = object{{"type", "array"}, {"items", object{{"type", "string"}, {"enum", f.Words}}}}
	}
	if f.Bounded {
		words := map[string][2]string{"integer": {"minimum", "maximum"}, "array": {"minItems", "maxItems"}, "object": {"minProperties", "maxProperties"}}[f.Value.Type]
		if f.Min > 0 || f.Value.Type == "integer" {
			o = append(o, member{words[0], f.Min})
		}
		o = append(o, member{words[1], f.Max})
	}
	if f.Words != nil && f.Value.Type == "string" {
		o = append(o, member{"enum", f.enum(request)})
	}
	text := f.Doc
	if f.Defaults {
		o = append(o, member{"default", f.Default})
	}
	if f.Note != "" {
		text += " " + strings.ToUpper(f.Note[:1]) + f.Note[1:] + "."
	}
	if request && !f.Need {
		o = o.nullable()
	}
	return append(o, member{"description", text})
}

// enum returns the values of a text that is one of some words.
func (f *Field) enum(request bool) (values []any) {
	for _, w := range f.Words {
		values = append(values, w)
	}
	if request {
		values = append(values, "")
	}
	if request && !f.Need {
		values = append(values, nil)
	}
	return values
}

// nullable returns a schema that allows null too.
func (o object) nullable() object {
	for i, m := range o {
		if text, ok := m.value.(string); ok && m.name == "type" {
			o[i].value = []string{text, "null"}
		}
	}
	return o
}

func ref(kind, name string) object { return object{{"$ref", "#/components/" + kind + "/" + name}} }

// An object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSONTo writes the object.
func (o object) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, m := range o {
		if err := enc.WriteToken(jsontext.String(m.name)); err != nil {
			return err
		}
		if err := json.MarshalEncode(enc, m.value); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}
