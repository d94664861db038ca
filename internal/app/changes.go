package app

import (
	"reflect"
	"slices"
	"strings"
)

// Changes returns what declaring an app would change, in the words of the configuration
// and in its order, without changing anything. It fails as Declare would, except for an
// admin who turns out to be a RegistrationID. New reports whether there is no such app yet.
func (r *Registry) Changes(d Declaration) (fields []string, isNew bool, err error) {
	old := r.App(d.ID)
	whole, err := r.declared(old, d)
	if err != nil || old == nil {
		return nil, old == nil, err
	}
	if whole == old {
		return nil, false, nil
	}
	// A member changes something if the declaration comes to something else without it.
	for field, value := range reflect.ValueOf(d).Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if value.IsZero() || name == "sdkappid" {
			continue
		}
		without := d
		reflect.ValueOf(&without).Elem().FieldByIndex(field.Index).SetZero()
		if name == "attr_names" {
			without.AttrTypes = nil // of the slots that it names
		}
		if a, err := r.declared(old, without); err != nil || !a.equal(whole) {
			fields = append(fields, name)
		}
	}
	return slices.Clip(fields), false, nil
}
