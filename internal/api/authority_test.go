package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/gate"
	"tidings/internal/store/storetest"
)

// A beforeStore is that of a node; once, something happens before it changes anything, or
// after it has read.
type beforeStore struct {
	storetest.Store
	before func()
}

func (s *beforeStore) happen() {
	if f := s.before; f != nil {
		s.before = nil
		f()
	}
}

func (s *beforeStore) Change(ctx context.Context, id uint32, changes []audience.Change) ([]audience.Failure, error) {
	s.happen()
	return s.Store.Change(ctx, id, changes)
}

func (s *beforeStore) Delete(ctx context.Context, id uint32, kind audience.Kind, accounts []string) ([]*apierr.Error, error) {
	s.happen()
	return s.Store.Delete(ctx, id, kind, accounts)
}

func (s *beforeStore) Revoke(ctx context.Context, id uint32, account string, upTo time.Time) error {
	s.happen()
	return s.Store.Revoke(ctx, id, account, upTo)
}

func (s *beforeStore) Users(ctx context.Context, id uint32, accounts []string) ([]audience.User, error) {
	users, err := s.Store.Users(ctx, id, accounts)
	s.happen()
	return users, err
}

// TestAuthority: who may do something is asked when it is done. What takes the right
// away is effective for requests that were checked before: those whose body is on its
// way, and those that are about to change something or have just read it.
func TestAuthority(t *testing.T) {
	const set = `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"new"}}]}`
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	requests := []struct{ command, body string }{
		{"timpush/set_attr", set},
		{"timpush/set_attr_name", `{"AttrNames":{"3":"plan"}}`},
		{"timpush/get_attr", `{"To_Account":["Mary"]}`},
		{"im_open_login_svc/account_import", `{"UserID":"new"}`},
		{"im_open_login_svc/account_delete", `{"DeleteItem":[{"UserID":"Mary"}]}`},
		{"im_open_login_svc/kick", `{"UserID":"ada"}`},
	}
	takings := []struct {
		name string
		take func(*testing.T, *node)
		code int
	}{
		{"kicked", func(t *testing.T, n *node) {
			n.direct().post("im_open_login_svc/kick", `{"UserID":"administrator"}`).ok(t)
		}, 70052},
		{"disabled", func(t *testing.T, n *node) { n.declare(app.Declaration{ID: appID, Status: new(app.Disabled)}) }, 60016},
		{"key removed", func(t *testing.T, n *node) {
			_, err := n.apps.AddKey(t.Context(), appID, "another key of the app", true)
			must(t, err)
			must(t, n.apps.RemoveKey(t.Context(), appID, 1))
		}, 70009},
		{"blocked", func(t *testing.T, n *node) {
			n.declare(app.Declaration{ID: appID, BlockedAccounts: []string{admin}})
		}, 70051},
		{"switched off", func(t *testing.T, n *node) {
			n.declare(app.Declaration{ID: appID, DisabledCommands: []string{"timpush/set_attr", "timpush/set_attr_name", "timpush/get_attr", "im_open_login_svc/account_import", "im_open_login_svc/account_delete", "im_open_login_svc/kick"}})
		}, 60017},
		{"deleted and made again with another key", func(t *testing.T, n *node) {
			n.declare(app.Declaration{ID: appID, Status: new(app.Disabled)})
			must(t, n.apps.Delete(t.Context(), appID))
			n.declare(app.Declaration{ID: appID, SecretKey: new(strings.Repeat("0", 64)), AttrNames: map[string]string{"0": "sex"}})
		}, 70009},
	}
	for _, r := range requests {
		for _, taking := range takings {
			t.Run(r.command+"/"+taking.name, func(t *testing.T) {
				for _, late := range []bool{false, true} {
					n := start(t, gate.Options{})
					store := &beforeStore{Store: storetest.Join(n.store.Apps, n.store.Users, n.store.Close)}
					n.over(store, store, gate.Options{})
					t.Cleanup(n.apps.Close)
					n.serve()
					finish := n.begin(r.command, r.body)
					if late && r.command != "timpush/set_attr_name" { // which asks the registry
						store.before = func() { taking.take(t, n) }
					} else {
						taking.take(t, n)
					}
					before := n.state()
					finish().code(t, taking.code)
					if after := n.state(); !late && after != before {
						t.Errorf("it changed something:\n%s\nwas\n%s", after, before)
					} else if late && (strings.Contains(after, "new:{true") || strings.Contains(after, "[new ")) {
						t.Errorf("it changed something: %s", after)
					}
				}
			})
		}
	}
}

// TestSwappedNames: names that are swapped while a body is on its way, or while users are
// read, mean what they have become.
func TestSwappedNames(t *testing.T) {
	n := start(t, gate.Options{})
	store := &beforeStore{Store: storetest.Join(n.store.Apps, n.store.Users, n.store.Close)}
	n.over(store, store, gate.Options{})
	t.Cleanup(n.apps.Close)
	n.serve()
	swap := func() { n.name(map[int]string{0: "city", 1: "sex"}) }

	finish := n.begin("timpush/set_attr", `{"UserAttrs":[{"To_Account":"ada","Attrs":{"city":"Rome"}}]}`)
	swap()
	finish().ok(t)
	if got := n.post("timpush/get_attr", `{"To_Account":["ada"]}`).raw; !strings.Contains(got, `"Attrs":{"city":"Rome"}`) {
		t.Errorf("ada is %s", got)
	}
	n.name(map[int]string{0: "sex", 1: "city"})
	store.before = swap
	if got := n.post("timpush/get_attr", `{"To_Account":["Mary"]}`).raw; !strings.Contains(got, `"Attrs":{"city":"female","sex":"Paris","country":"France"}`) {
		t.Errorf("after the swap Mary is %s", got)
	}
}

// TestRemovedAdmin: an admin who is removed while his request is on its way is none.
func TestRemovedAdmin(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.Admins = []string{"ops"} })
	store := &beforeStore{Store: storetest.Join(n.store.Apps, n.store.Users, n.store.Close)}
	n.over(store, store, gate.Options{})
	t.Cleanup(n.apps.Close)
	n = n.direct()
	store.before = func() {
		if _, err := n.apps.RemoveAdmin(t.Context(), appID, "ops"); err != nil {
			t.Error(err)
		}
	}
	ticket := n.ticket("ops")
	n.post("timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"new"}}]}`, with("identifier", new("ops")), with("usersig", &ticket)).code(t, 90009)
	if strings.Contains(n.state(), "[new ") {
		t.Error("the removed admin changed something")
	}
}

// TestExpiredMeanwhile: a ticket that expires while the body is on its way is expired.
func TestExpiredMeanwhile(t *testing.T) {
	n := start(t, gate.Options{})
	n.post("timpush/get_attr_name", "{}").ok(t) // the ticket is remembered
	finish := n.begin("timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"new"}}]}`)
	n.clock.advance(25 * time.Hour)
	finish().code(t, 70001)
	if strings.Contains(n.state(), "[new ") {
		t.Error("an expired ticket changed something")
	}
}
