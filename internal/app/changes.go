package app

import "slices"

// Changes returns what declaring an app would change, in the words of the configuration
// and in its order, without changing anything. It fails as Declare would, except for an
// admin who turns out to be a RegistrationID. New reports whether there is no such app yet.
func (r *Registry) Changes(d Declaration) (fields []string, isNew bool, err error) {
	old := r.App(d.ID)
	whole, err := r.declared(old, d)
	if err != nil || old == nil {
		return nil, old == nil, err
	}
	if d.SecretKey != nil && !old.hasKey(Secret(*d.SecretKey), func(k Key) bool { return k.Primary }) {
		fields = append(fields, "secret_key")
	}
	if slices.ContainsFunc(d.Retiring, func(want RetiringKey) bool {
		return !old.hasKey(Secret(want.SecretKey), func(k Key) bool { return !k.Primary && k.Ends.Equal(want.Ends) })
	}) {
		fields = append(fields, "retiring_keys")
	}
	if slices.ContainsFunc(d.AppKeys, func(k string) bool { return old.appKey(Secret(k)) == nil }) {
		fields = append(fields, "app_keys")
	}
	before, after := old.Declaration(), whole.Declaration()
	given, was, becomes := d.Table(), before.Table(), after.Table()
	for i, s := range given {
		if s.Given() && !slices.Equal(was[i].Texts(), becomes[i].Texts()) {
			fields = append(fields, s.Name)
		}
	}
	return fields, false, nil
}

// hasKey reports whether an app has a key with this secret that is as it should be.
func (a *App) hasKey(secret Secret, good func(Key) bool) bool {
	return slices.ContainsFunc(a.Keys, func(k Key) bool { return k.Secret == secret && good(k) })
}
