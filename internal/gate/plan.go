package gate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"tidings/internal/apierr"
	"tidings/internal/wording"
)

// A plan is how an object of a request is decoded: made once from the fields of a
// struct and their tags.
//
// A field is a string, an int64, a pointer to either (a member that may be absent or
// null), a struct or a pointer to one, a list of strings or structs, Members, a Raw, or a
// map[string]int64. A struct that is embedded lends its fields. A field of type Kept takes
// the members as they are: those that the object does not have, or all. Tags:
//
//	json:"To_Account"  the member's name, if it is not the field's
//	need:"yes"         the member has to be there
//	account:"yes"      it names an account, or each of its elements does
//	items:"1-100"      a list has so many elements, Members so many members
//	over:"90018"       the code if there are more; without it one more is kept, and the
//	                   command has to count
//	code:"90005"       the code if the member is missing or wrong, and of what is in it, in
//	                   place of the family's
//	inside:"90010"     the code of what is in it, in place of that of code
//	text:"Invalid …"   what is said of a member that is missing or wrong, in place of the
//	                   details
//	words:"a|b"        a string is one of these, or empty; each of a list is one of these
//	is:"object"        the types that a Raw may have: object, array, string or number, several
//	                   with a bar between
//	keep:"all"         a Kept takes all members, not only those that the object lacks
//	near:"Where DryRun"  on an embedded or blank field: an unknown member of the object is
//	                   refused if it is, but for case, a member of the object, or within two
//	                   letters of one of these names
//	range:"0-100"      an integer is within
//	default:"100"      an integer that is absent
//	list:"yes"         an array is taken for an object with the keys 0, 1, ...
//	strict:"yes"       members that the object does not have are refused
//	loose:"yes"        in it they are ignored, though the family refuses them
//	note:"1 to 50 bytes"  what documents say besides
type plan struct {
	fields []field
	strict bool
	near   []string // an unknown member that is near to one of them is refused
	kept   []int    // the place of the field that takes members as they are; nil: there is none
	all    bool     // it takes all members
}

type field struct {
	name     string
	index    []int
	kind     kind
	optional bool // a pointer
	need     bool
	account  bool
	asList   bool
	loose    bool
	least    int // items
	most     int // items; 0 is no limit
	over     *apierr.Kind
	code     *apierr.Kind // of the member; nil: that of the object that it is in
	inside   *apierr.Kind // of what is in it; nil: that of the member
	text     string
	words    []string
	types    []string // of a Raw
	min, max int64    // of an integer, if bounded
	bounded  bool
	def      int64
	plan     *plan // of an object, or of the objects in a list
}

type kind int

const (
	textKind kind = iota
	integerKind
	objectKind
	textsKind   // []string
	objectsKind // []struct
	membersKind // Members
	numbersKind // map[string]int64
	rawKind     // Raw
)

// A Raw is a JSON value as it is in a request.
type Raw []byte

// Kept are members of a request as they are.
type Kept map[string]json.RawMessage

// planOf returns the plan of a struct. A field that no plan can hold is a mistake of
// the program.
func planOf(t reflect.Type) *plan {
	p := &plan{}
	for f := range t.Fields() {
		p.near = append(p.near, strings.Fields(f.Tag.Get("near"))...)
		switch {
		case f.Anonymous:
			for _, inner := range planOf(f.Type).fields {
				inner.index = append(slices.Clone(f.Index), inner.index...)
				p.fields = append(p.fields, inner)
			}
			continue
		case f.Name == "_":
			continue
		case f.Type == reflect.TypeFor[Kept]():
			p.kept, p.all = f.Index, f.Tag.Get("keep") == "all"
			continue
		}
		p.fields = append(p.fields, fieldOf(f))
	}
	if len(p.fields) > 64 {
		panic(fmt.Sprintf("%v has more than 64 members", t)) // decoder.object has a bit for each
	}
	return p
}

func fieldOf(sf reflect.StructField) field {
	f := field{name: sf.Name, index: sf.Index, need: sf.Tag.Get("need") == "yes", account: sf.Tag.Get("account") == "yes", asList: sf.Tag.Get("list") == "yes", loose: sf.Tag.Get("loose") == "yes"}
	if name, _, _ := strings.Cut(sf.Tag.Get("json"), ","); name != "" {
		f.name = name
	}
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		t, f.optional = t.Elem(), true
	}
	switch {
	case t.Kind() == reflect.String:
		f.kind = textKind
	case t.Kind() == reflect.Int64:
		f.kind = integerKind
	case t == reflect.TypeFor[Members]():
		f.kind = membersKind
	case t == reflect.TypeFor[map[string]int64]():
		f.kind = numbersKind
	case t == reflect.TypeFor[[]string]():
		f.kind = textsKind
	case t == reflect.TypeFor[Raw]():
		f.kind, f.types = rawKind, strings.Split(sf.Tag.Get("is"), "|")
	case t.Kind() == reflect.Struct:
		f.kind, f.plan = objectKind, planOf(t)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		f.kind, f.plan = objectsKind, planOf(t.Elem())
	default:
		panic(fmt.Sprintf("%s: a request cannot have a %v", sf.Name, sf.Type))
	}
	if f.plan != nil {
		f.plan.strict = sf.Tag.Get("strict") == "yes"
	}
	if text := sf.Tag.Get("items"); text != "" {
		least, most := between(sf, text)
		f.least, f.most = int(least), int(most)
	}
	if text := sf.Tag.Get("range"); text != "" {
		f.bounded = true
		f.min, f.max = between(sf, text)
	}
	if text := sf.Tag.Get("default"); text != "" {
		f.def = number(sf, text)
	}
	f.over, f.code, f.inside = kindOf(sf, "over"), kindOf(sf, "code"), kindOf(sf, "inside")
	f.text = sf.Tag.Get("text")
	if words := sf.Tag.Get("words"); words != "" {
		f.words = strings.Split(words, "|")
	}
	return f
}

// kindOf returns the kind whose code is in a tag; nil if there is no such tag.
func kindOf(sf reflect.StructField, tag string) *apierr.Kind {
	text := sf.Tag.Get(tag)
	if text == "" {
		return nil
	}
	code := number(sf, text)
	i := slices.IndexFunc(apierr.Kinds(), func(k *apierr.Kind) bool { return int64(k.Code) == code })
	if i < 0 {
		panic(fmt.Sprintf("%s: no code %d", sf.Name, code))
	}
	return apierr.Kinds()[i]
}

// between reads "1-100".
func between(sf reflect.StructField, text string) (low, high int64) {
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		panic(fmt.Sprintf("%s: %q is no range", sf.Name, text))
	}
	return number(sf, from), number(sf, to)
}

func number(sf reflect.StructField, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", sf.Name, err))
	}
	return n
}

// find returns the place of a member among the fields; -1 if it is none of them.
// Names are case-sensitive.
func (p *plan) find(name string) int {
	return slices.IndexFunc(p.fields, func(f field) bool { return f.name == name })
}

// nearTo reports whether a member that the object does not have looks like one that whoever
// wrote the request cannot have wanted to be ignored.
func (p *plan) nearTo(name string) bool {
	if p.near == nil {
		return false
	}
	like := func(n string) bool { return strings.EqualFold(n, name) }
	return slices.ContainsFunc(p.fields, func(f field) bool { return like(f.name) }) ||
		slices.ContainsFunc(p.near, func(n string) bool {
			return like(n) || wording.Distance(strings.ToLower(n), strings.ToLower(name)) <= 2
		})
}

// names lists the members.
func (p *plan) names() []string {
	all := make([]string, len(p.fields))
	for i, f := range p.fields {
		all[i] = f.name
	}
	return all
}
