package gate

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/wording"
)

// value reads what a member is, which is not null.
func (d *decoder) value(v reflect.Value, f *field) error {
	if f.optional {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch f.kind {
	case textKind:
		text, err := d.str(f.account)
		v.SetString(text)
		if err == nil && text != "" {
			err = d.word(text, f)
		}
		return err
	case rawKind:
		return d.raw(v, f)
	case integerKind:
		n, err := d.integer()
		if err == nil && f.bounded && (n < f.min || n > f.max) {
			return d.outside(n, f)
		}
		v.SetInt(n)
		return err
	case objectKind:
		if d.json.PeekKind() != '{' {
			return d.want("an object", false)
		}
		d.code, d.says = cmp.Or(f.inside, d.code), ""
		return d.object(v, f.plan)
	case membersKind:
		return d.members(v.Addr().Interface().(*Members), f)
	case numbersKind:
		return d.numbers(v.Addr().Interface().(*map[string]int64), f)
	case textsKind:
		texts := v.Addr().Interface().(*[]string)
		*texts = []string{} // there, though it may be empty
		return d.list(f, func(kept bool) error {
			if !kept && d.json.PeekKind() == '"' {
				return d.json.SkipValue()
			}
			text, err := d.str(f.account)
			if err == nil {
				err = d.word(text, f)
			}
			if err == nil {
				*texts = append(*texts, text)
			}
			return err
		})
	default:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))     // there, though it may be empty
		spare := reflect.New(v.Type().Elem()).Elem() // for elements that are not kept
		return d.list(f, func(kept bool) error {
			if d.json.PeekKind() != '{' {
				return d.want("an object", false)
			}
			if !kept {
				spare.SetZero()
				return d.object(spare, f.plan)
			}
			v.Grow(1)
			v.SetLen(v.Len() + 1)
			return d.object(v.Index(v.Len()-1), f.plan)
		})
	}
}

// word checks a text that is one of some words.
func (d *decoder) word(text string, f *field) error {
	if f.words == nil || slices.Contains(f.words, text) {
		return nil
	}
	return d.note(d.bad(), fmt.Sprintf("%s: %q is none of %s", d.place(), wording.Clip(text, 40), strings.Join(f.words, ", ")))
}

func (d *decoder) outside(n int64, f *field) error {
	if f.max == f.min+1 {
		return d.note(d.bad(), fmt.Sprintf("%s: %d is neither %d nor %d", d.place(), n, f.min, f.max))
	}
	return d.note(d.bad(), fmt.Sprintf("%s: %d is not a number from %d to %d", d.place(), n, f.min, f.max))
}

// raw keeps a value as it is, if it has one of the types.
func (d *decoder) raw(v reflect.Value, f *field) error {
	kinds := map[string]jsontext.Kind{"object": '{', "array": '[', "string": '"', "number": '0'}
	k := d.json.PeekKind()
	if !slices.ContainsFunc(f.types, func(t string) bool { return kinds[t] == k }) {
		names := make([]string, len(f.types))
		for i, t := range f.types {
			names[i] = wording.JSONKind(kinds[t])
		}
		return d.want(strings.Join(names, " or "), false)
	}
	text, err := d.json.ReadValue()
	if err == nil && !text.IsValid() {
		return d.fail(d.family.BadJSON, "has a member twice")
	}
	v.SetBytes(bytes.Clone(text))
	return err
}

// list reads an array: element reads the next of its elements, and keeps it if it is
// told to.
func (d *decoder) list(f *field, element func(kept bool) error) error {
	if d.json.PeekKind() != '[' {
		return d.want("an array", false)
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	n, code := 0, d.code
	d.code = cmp.Or(f.inside, code)
	for d.json.PeekKind() != ']' {
		d.path = append(d.path, step{index: n})
		if err := element(f.most == 0 || n <= f.most); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
		n++
	}
	d.code = code
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	return d.count(n, f)
}

// count checks the length of a list.
func (d *decoder) count(n int, f *field) error {
	if n < f.least {
		return d.missing(f)
	}
	if f.most > 0 && n > f.most && f.over != nil && (d.over == nil || len(d.path) < d.depth) {
		d.over, d.depth = f.over.Errorf("%s has %d entries, at most %d are allowed", d.place(), n, f.most), len(d.path)
	}
	return nil
}

// str reads a string.
func (d *decoder) str(account bool) (string, error) {
	if d.json.PeekKind() != '"' {
		return "", d.want("a string", account)
	}
	token, err := d.json.ReadToken()
	if err != nil {
		return "", err
	}
	return token.String(), nil
}

// integer reads an integer: neither text nor a fraction (spec/conventions.md, 2.3).
func (d *decoder) integer() (int64, error) {
	if d.json.PeekKind() != '0' {
		return 0, d.want("an integer", false)
	}
	v, err := d.json.ReadValue()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0, d.note(d.bad(), fmt.Sprintf("%s: want an integer, got %s", d.place(), wording.Clip(string(v), 40)))
	}
	return n, nil
}

// each reads an object, or, if the field allows it, an array as an object with the
// keys 0, 1, ..., as some languages write one. A member that is null is absent.
func (d *decoder) each(f *field, member func(name string) error) error {
	asList := f.asList && d.json.PeekKind() == '['
	if !asList && d.json.PeekKind() != '{' {
		return d.want("an object", false)
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		switch k := d.json.PeekKind(); {
		case k == '}' && !asList, k == ']' && asList:
			_, err := d.json.ReadToken()
			return err
		}
		name := strconv.Itoa(i)
		if !asList {
			token, err := d.json.ReadToken()
			if err != nil {
				return err
			}
			name = token.String()
		}
		if d.json.PeekKind() == 'n' {
			if err := d.json.SkipValue(); err != nil {
				return err
			}
			continue
		}
		d.path = append(d.path, step{name: name, index: i})
		if err := member(name); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
	}
}

// members reads an object of strings. A name may be there once among those that are
// kept.
func (d *decoder) members(into *Members, f *field) error {
	*into = Members{}
	n := 0
	err := d.each(f, func(name string) error {
		if n++; f.most > 0 && len(*into) > f.most {
			_, err := d.str(false)
			return err
		}
		if slices.ContainsFunc(*into, func(m Member) bool { return m.Name == name }) {
			return d.fail(d.family.BadJSON, "is there twice")
		}
		text, err := d.str(false)
		*into = append(*into, Member{name, text})
		return err
	})
	if err != nil {
		return err
	}
	return d.count(n, f)
}

// numbers reads an object of integers. Names that are there twice are few enough to
// compare where the field bounds them.
func (d *decoder) numbers(into *map[string]int64, f *field) error {
	*into = map[string]int64{}
	return d.each(f, func(name string) error {
		if _, twice := (*into)[name]; twice {
			return d.fail(d.family.BadJSON, "is there twice")
		}
		n, err := d.integer()
		if f.most == 0 || len(*into) <= f.most {
			(*into)[name] = n
		}
		return err
	})
}
