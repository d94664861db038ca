package server

import (
	"context"

	"tidings/internal/audience"
)

// FillDemo gives an app the users of the contract's examples, where they are
// not there yet.
func (s *Server) FillDemo(ctx context.Context, app uint32) error {
	users := []struct{ account, sex, city, country string }{
		{"Mary", "female", "Paris", "France"},
		{"xiaoming", "male", "Shenzhen", "China"},
	}
	attrs := &s.apps.App(app).Attributes
	there, err := s.store.Users(ctx, app, []string{users[0].account, users[1].account})
	if err != nil {
		return err
	}
	var changes []audience.Change
	for i, u := range users {
		if there[i].Exists {
			continue
		}
		c := audience.Change{Account: u.account, Create: true, Attributes: attrs}
		for name, value := range map[string]string{"sex": u.sex, "city": u.city, "country": u.country} {
			if i := attrs.Index(name); i >= 0 {
				c.Set[i] = value
			}
		}
		changes = append(changes, c)
	}
	_, err = s.store.Change(ctx, app, changes)
	return err
}
