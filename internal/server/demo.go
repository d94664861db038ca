package server

import (
	"context"

	"tidings/internal/app"
	"tidings/internal/audience"
)

// demoAttributes are the attributes of the demo app, by slot.
var demoAttributes = []string{"sex", "city", "country", "plan", "region", "app build", "since"}

// demoUsers are the users of the demo app: those in the examples of the contract, and
// enough others that a condition selects a part of them.
var demoUsers = []struct {
	account string
	values  audience.Values
	tags    []string
}{
	{"Mary", audience.Values{"female", "Paris", "France", "gold", "EU", "42", "2025-03-14"}, []string{"beta", "wk-digest"}},
	{"xiaoming", audience.Values{"male", "Shenzhen", "China", "silver", "APAC", "38", "2026-02-01"}, []string{"wk-digest"}},
	{"ada-lov", audience.Values{"female", "London", "UK", "gold", "UK", "42", "2024-12-10"}, []string{"beta"}},
	{"noor_77", audience.Values{"female", "Amman", "Jordan", "free", "MEA", "41", "2026-01-05"}, nil},
	{"kenji", audience.Values{"male", "Osaka", "Japan", "gold", "APAC", "40", "2025-07-30"}, []string{"muted"}},
	{"priya", audience.Values{"female", "Pune", "India", "gold", "APAC", "42", "2025-11-02"}, []string{"beta", "cricket"}},
	{"lucas", audience.Values{"male", "Lyon", "France", "free", "EU", "39", "2025-01-20"}, []string{"cycling"}},
	{"sofia", audience.Values{"female", "Turin", "Italy", "silver", "EU", "42", "2026-03-08"}, []string{"beta", "cycling"}},
	{"omar", audience.Values{"male", "Cairo", "Egypt", "gold", "MEA", "37", "2024-05-17"}, []string{"muted", "wk-digest"}},
	{"inga", audience.Values{"female", "", "Latvia", "gold", "EU", "42", "2026-06-21"}, []string{"cycling"}},
	{"tom", audience.Values{}, nil},
}

// Demo returns the declaration of the demo app.
func Demo(id uint32) app.Declaration {
	name := "demo"
	d := app.Declaration{ID: id, Name: &name, AttrNames: map[string]string{}}
	for slot, attr := range demoAttributes {
		d.AttrNames[string(rune('0'+slot))] = attr
	}
	return d
}

// FillDemo creates the users of the demo app that do not exist yet.
func (s *Server) FillDemo(ctx context.Context, id uint32) error {
	attrs := &s.apps.App(id).Attributes
	var accounts []string
	for _, u := range demoUsers {
		accounts = append(accounts, u.account)
	}
	there, err := s.store.Users.Users(ctx, id, accounts)
	if err != nil {
		return err
	}
	var changes []audience.Change
	for i, u := range demoUsers {
		if !there[i].Exists {
			changes = append(changes, audience.Change{
				Account: u.account, Create: true, Attributes: attrs, Set: u.values,
				Tags: audience.TagEdit{Op: audience.AddTags, Tags: u.tags},
			})
		}
	}
	_, err = s.store.Users.Change(ctx, id, changes)
	return err
}
