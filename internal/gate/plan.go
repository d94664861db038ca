package gate

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"tidings/internal/apierr"
)

// A plan is how an object of a request is decoded: made once from the fields of a
// struct and their tags.
//
// A field is a string, an int64, a pointer to either (a member that may be absent or
// null), a struct or a pointer to one, a list of strings or structs, Members, or a
// map[string]int64. A struct that is embedded lends its fields. Tags:
//
//	json:"To_Account"  the member's name, if it is not the field's
//	need:"yes"         the member has to be there
//	account:"yes"      it names an account, or each of its elements does
//	items:"1-100"      a list has so many elements, Members so many members
//	over:"90018"       the code if there are more; without it one more is kept, and the
//	                   command has to count
//	range:"0-100"      an integer is within
//	default:"100"      an integer that is absent
//	list:"yes"         an array is taken for an object with the keys 0, 1, ...
//	strict:"yes"       members that the object does not have are refused
//	note:"1 to 50 bytes"  what documents say besides
type plan struct {
	fields []field
	strict bool
}

type field struct {
	name     string
	index    []int
	kind     kind
	optional bool // a pointer
	need     bool
	account  bool
	asList   bool
	least    int // items
	most     int // items; 0 is no limit
	over     *apierr.Kind
	min, max int64 // of an integer, if bounded
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
)

// planOf returns the plan of a struct. A field that no plan can hold is a mistake of
// the program.
func planOf(t reflect.Type) *plan {
	p := &plan{}
	for f := range t.Fields() {
		if f.Anonymous {
			for _, inner := range planOf(f.Type).fields {
				inner.index = append(slices.Clone(f.Index), inner.index...)
				p.fields = append(p.fields, inner)
			}
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
	f := field{name: sf.Name, index: sf.Index, need: sf.Tag.Get("need") == "yes", account: sf.Tag.Get("account") == "yes", asList: sf.Tag.Get("list") == "yes"}
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
	if text := sf.Tag.Get("over"); text != "" {
		code := number(sf, text)
		i := slices.IndexFunc(apierr.Kinds(), func(k *apierr.Kind) bool { return int64(k.Code) == code })
		if i < 0 {
			panic(fmt.Sprintf("%s: no code %d", sf.Name, code))
		}
		f.over = apierr.Kinds()[i]
	}
	return f
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

// names lists the members.
func (p *plan) names() []string {
	all := make([]string, len(p.fields))
	for i, f := range p.fields {
		all[i] = f.name
	}
	return all
}
