package app

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tidings/internal/wording"
)

// A Value is what a declaration says of a setting, and what an app has of it.
type Value interface {
	Type() string // of the value, or of an item of a list: "number"
	Shape() Shape
	Choices() []string // all that can be written; nil: what the type allows
	// Given reports whether the declaration says anything.
	Given() bool
	// Clear has the declaration say that a list or mapping is empty.
	Clear()
	// Put reads a text into the declaration: the value, one more item of a list, or the
	// entry of a mapping with this key. An item that cannot be read is there too, so that
	// the others keep their place.
	Put(key, text string) error
	// Texts returns what the declaration says, as it is written, entries as key=value.
	Texts() []string

	check(name string) []FieldError
	apply() error // makes the app what the declaration says
	declare()     // has the declaration say what the app is
}

// A Shape says what a value is made of.
type Shape int

// The shapes.
const (
	One Shape = iota + 1
	List
	Mapping
)

// A kind is how a text is read, and what it is called.
type kind[T any] struct {
	typ     string
	parse   func(string) (T, error)
	choices []string
}

func (k kind[T]) Type() string      { return k.typ }
func (k kind[T]) Choices() []string { return k.choices }

// named returns the kind under another name.
func (k kind[T]) named(typ string) kind[T] {
	k.typ = typ
	return k
}

// The kinds of texts.
var (
	text    = kind[string]{typ: "text", parse: func(s string) (string, error) { return s, nil }}
	number  = kind[int]{typ: "number", parse: wording.ParseInt}
	boolean = kind[bool]{typ: "bool", parse: wording.ParseBool}
	span    = kind[wording.Span]{typ: "duration", parse: wording.ParseSpan}
	network = kind[netip.Prefix]{typ: "CIDR", parse: wording.ParseNetwork}
)

// word returns the kind of one of some words.
func word[T ~string](words ...T) kind[T] {
	k := kind[T]{parse: func(s string) (T, error) { return T(s), nil }}
	for _, w := range words {
		k.choices = append(k.choices, string(w))
	}
	k.typ = strings.Join(k.choices, "|")
	return k
}

// A place is where an app has a value.
type place[T any] struct {
	get func() T
	set func(T) error
}

// field returns the place of a member of an app.
func field[T any](p *T) place[T] {
	return place[T]{func() T { return *p }, func(v T) error { *p = v; return nil }}
}

// listField returns the place of a list, which is only ever replaced.
func listField[T any](p *[]T) place[[]T] {
	return place[[]T]{
		func() []T { return append([]T{}, *p...) },
		func(v []T) error { *p = slices.Clone(v); return nil },
	}
}

// mapField returns the place of a mapping, which is only ever replaced.
func mapField[M ~map[string]T, T any](p *M) place[M] {
	return place[M]{
		func() M {
			if *p == nil {
				return M{}
			}
			return maps.Clone(*p)
		},
		func(v M) error { *p = maps.Clone(v); return nil },
	}
}

// one is a single value.
type one[T any] struct {
	kind[T]
	given **T // nil: not said
	place place[T]
	valid func(T) error // may be nil
}

func (v *one[T]) Shape() Shape { return One }
func (v *one[T]) Given() bool  { return *v.given != nil }
func (v *one[T]) Clear()       {}

func (v *one[T]) Put(_, text string) error {
	value, err := v.parse(text)
	if err == nil {
		*v.given = &value
	}
	return err
}

func (v *one[T]) Texts() []string {
	if !v.Given() {
		return nil
	}
	return []string{fmt.Sprint(**v.given)}
}

func (v *one[T]) check(name string) []FieldError {
	switch {
	case !v.Given():
	case v.choices != nil && !slices.Contains(v.choices, fmt.Sprint(**v.given)):
		return []FieldError{{name, fmt.Sprintf("%q is none of %s", fmt.Sprint(**v.given), strings.Join(v.choices, ", "))}}
	case v.valid != nil:
		return fieldError(name, v.valid(**v.given))
	}
	return nil
}

func (v *one[T]) apply() error {
	if !v.Given() {
		return nil
	}
	return v.place.set(**v.given)
}

func (v *one[T]) declare() { *v.given = new(v.place.get()) }

// list is a list of values.
type list[T any] struct {
	kind[T]
	given    *[]T // nil: not said
	place    place[[]T]
	valid    func(T) error   // an item; may be nil
	validAll func([]T) error // may be nil
}

func (v *list[T]) Shape() Shape { return List }
func (v *list[T]) Given() bool  { return *v.given != nil }
func (v *list[T]) Clear()       { *v.given = []T{} }

func (v *list[T]) Put(_, text string) error {
	item, err := v.parse(text)
	*v.given = append(*v.given, item)
	return err
}

func (v *list[T]) Texts() (texts []string) {
	for _, item := range *v.given {
		texts = append(texts, fmt.Sprint(item))
	}
	return texts
}

func (v *list[T]) check(name string) (errs []FieldError) {
	for i, item := range *v.given {
		if v.valid != nil {
			errs = append(errs, fieldError(fmt.Sprintf("%s[%d]", name, i), v.valid(item))...)
		}
	}
	if v.validAll != nil {
		errs = append(errs, fieldError(name, v.validAll(*v.given))...)
	}
	return errs
}

func (v *list[T]) apply() error {
	if !v.Given() {
		return nil
	}
	return v.place.set(*v.given)
}

func (v *list[T]) declare() { *v.given = v.place.get() }

// mapping is a value for each of some keys.
type mapping[M ~map[string]T, T any] struct {
	kind[T]
	given *M // nil: not said
	place place[M]
	valid func(key string, value T) error
}

func (v *mapping[M, T]) Shape() Shape { return Mapping }
func (v *mapping[M, T]) Given() bool  { return *v.given != nil }
func (v *mapping[M, T]) Clear()       { *v.given = M{} }

func (v *mapping[M, T]) Put(key, text string) error {
	if *v.given == nil {
		v.Clear()
	}
	if _, twice := (*v.given)[key]; twice {
		return fmt.Errorf("%s is there twice", wording.Quote(key))
	}
	value, err := v.parse(text)
	(*v.given)[key] = value
	return err
}

func (v *mapping[M, T]) Texts() (texts []string) {
	for _, key := range slices.Sorted(maps.Keys(*v.given)) {
		texts = append(texts, fmt.Sprintf("%s=%v", key, (*v.given)[key]))
	}
	return texts
}

func (v *mapping[M, T]) check(name string) (errs []FieldError) {
	for key, value := range *v.given {
		errs = append(errs, fieldError(name+"."+key, v.valid(key, value))...)
	}
	return errs
}

func (v *mapping[M, T]) apply() error {
	if !v.Given() {
		return nil
	}
	return v.place.set(*v.given)
}

func (v *mapping[M, T]) declare() { *v.given = v.place.get() }

// fieldError returns a mistake in a member, if it is one.
func fieldError(name string, err error) []FieldError {
	if err == nil {
		return nil
	}
	return []FieldError{{name, err.Error()}}
}
