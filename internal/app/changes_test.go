package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
)

func TestChanges(t *testing.T) {
	r, store := open(t)
	ptr := func(s string) *string { return &s }
	no, utf8, five := false, app.UTF8, 5
	if fields, isNew, err := r.Changes(app.Declaration{ID: 7}); fields != nil || !isNew || err != nil {
		t.Errorf("an app that is not there: %v, %v, %v", fields, isNew, err)
	}
	d := app.Declaration{
		ID: 7, Name: ptr("shop"), SecretKey: ptr("a-long-random-text"), Admins: []string{"a"},
		AttrNames: map[string]string{"0": "city"}, AttrTypes: map[string]int{"0": 1}, DeleteAccounts: &no, Limits: app.Limits{"default": 7},
	}
	declare(t, r, d)
	if _, err := r.AddAdmin(t.Context(), 7, "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.AddKey(t.Context(), 7, "", true); err != nil {
		t.Fatal(err)
	}
	declare(t, r, app.Declaration{ID: 7, Limits: app.Limits{"default": 9}})
	saved := store.saves
	for _, test := range []struct {
		change func(*app.Declaration)
		want   string
	}{
		{func(*app.Declaration) {}, "secret_key admins limits"},
		{func(d *app.Declaration) { d.SecretKey, d.Admins, d.Limits = nil, nil, nil }, ""},
		{func(d *app.Declaration) { *d = app.Declaration{ID: 7, AttrNames: map[string]string{"1": "plan"}} }, "attr_names"},
		{func(d *app.Declaration) {
			*d = app.Declaration{ID: 7, AttrNames: map[string]string{"1": "plan"}, AttrTypes: map[string]int{"1": 1}}
		}, "attr_names attr_types"},
		{func(d *app.Declaration) { *d = app.Declaration{ID: 7, MaxTags: &five, DeleteAccounts: &no} }, "max_tags"},
		// The first key retired when another became the primary.
		{func(d *app.Declaration) {
			*d = app.Declaration{ID: 7, Retiring: []app.RetiringKey{{SecretKey: "a-long-random-text"}}}
		}, ""},
		{func(d *app.Declaration) {
			*d = app.Declaration{ID: 7, Retiring: []app.RetiringKey{{SecretKey: "a-long-random-text", Ends: time.Unix(2e9, 0)}}}
		}, "retiring_keys"},
		// The admin needs the other characters.
		{func(d *app.Declaration) { *d = app.Declaration{ID: 7, Admins: []string{"ä"}, UserIDs: &utf8} }, "user_ids admins"},
	} {
		changed := d
		test.change(&changed)
		fields, isNew, err := r.Changes(changed)
		if got := strings.Join(fields, " "); got != test.want || isNew || err != nil {
			t.Errorf("%+v: %q, %v, %v; want %q", changed, got, isNew, err, test.want)
		}
	}
	if _, _, err := r.Changes(app.Declaration{ID: 7, AttrNames: map[string]string{"0": "city"}, AttrTypes: map[string]int{"0": 0}}); err == nil {
		t.Error("another account type of an attribute fits")
	}
	if store.saves != saved || !slices.Contains(r.App(7).Admins, "bob") {
		t.Error("asking changed something")
	}
}
