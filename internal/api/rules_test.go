package api_test

import (
	"context"
	"fmt"
	"testing"

	"tidings/internal/api"
	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/gate"
)

// A refusingStore fails to make some accounts, as a store does whose app has
// rules about them, and leaves the rest to a real one.
type refusingStore struct {
	audience.Store
	refused map[string]*apierr.Error
}

func (s refusingStore) Change(ctx context.Context, app uint32, changes []audience.Change) ([]audience.Failure, error) {
	var all []audience.Failure
	for i, c := range changes {
		if err := s.refused[c.Account]; err != nil && c.Create {
			all = append(all, audience.Failure{Account: c.Account, Err: err})
			continue
		}
		failures, err := s.Store.Change(ctx, app, changes[i:i+1])
		if err != nil {
			return nil, err
		}
		all = append(all, failures...)
	}
	return all, nil
}

// withRules makes a node on whose store an app has no room for the accounts full
// and full2, soon was deleted a moment ago, and broken meets a failure.
func withRules(t *testing.T, edits ...func(*app.Declaration)) *node {
	n := start(t, gate.Options{}, edits...)
	n.handler = api.New(n.parts(refusingStore{n.store.Users, map[string]*apierr.Error{
		"full":   apierr.AccountLimit.Errorf("app has 4 accounts, it may have 4"),
		"full2":  apierr.AccountLimit.Errorf("app has 4 accounts, it may have 4"),
		"soon":   apierr.ReimportTooSoon.Errorf("deleted a moment ago"),
		"broken": apierr.Internal.Errorf("the index of the app is full"),
	}}), gate.Options{Now: n.clock.now})
	return n.direct()
}

func TestImportOfRefusedAccount(t *testing.T) {
	n := withRules(t)
	for account, want := range map[string]struct {
		code int
		info string
	}{
		"full":   {70398, "app has 4 accounts"},
		"soon":   {70399, "deleted a moment ago"},
		"broken": {70500, "index of the app is full"},
	} {
		n.unchanged(account, func() {
			n.post("im_open_login_svc/account_import", fmt.Sprintf(`{"UserID":%q}`, account)).code(t, want.code, want.info)
		})
	}
	n.post("im_open_login_svc/account_import", `{"UserID":"new"}`).ok(t)
}

func TestImportOfRefusedAccounts(t *testing.T) {
	for _, test := range []struct {
		name, accounts string
		code           int
		failed         string // of FailAccounts
		made           int
	}{
		{"some", `["full","new","","full2","newer","soon","broken"]`, 0, "[full  full2 soon broken]", 2},
		{"twice", `["new","full","new","full"]`, 0, "[full full]", 1},
		{"no room", `["full","full2"]`, 70398, "<nil>", 0},
		{"no room for what may be one", `["","full"," x"]`, 70398, "<nil>", 0},
		{"none, for several reasons", `["full","soon"]`, 0, "[full soon]", 0},
		{"too soon", `["soon"]`, 0, "[soon]", 0},
		{"broken", `["broken"]`, 0, "[broken]", 0},
		{"none that may be one", `[""," x"]`, 0, "[  x]", 0},
		{"one exists", `["full","Mary"]`, 0, "[full]", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := withRules(t)
			before := n.count()
			a := n.post("im_open_login_svc/multiaccount_import", `{"Accounts":`+test.accounts+`}`).code(t, test.code)
			if got := fmt.Sprint(a.members["FailAccounts"]); got != test.failed {
				t.Errorf("FailAccounts is %s, want %s", got, test.failed)
			}
			if made := n.count() - before; made != test.made {
				t.Errorf("%d accounts were made, want %d", made, test.made)
			}
		})
	}
}

// TestCreateOfRefusedAccount: whoever only sets something learns of the limit,
// and of an account that was deleted that it does not exist.
func TestCreateOfRefusedAccount(t *testing.T) {
	n := withRules(t, func(d *app.Declaration) { d.CreateAccounts = new(true) })
	for command, body := range map[string]string{
		"set_attr": `{"UserAttrs":[{"To_Account":"full","Attrs":{"sex":"f"}},{"To_Account":"Mary","Attrs":{"sex":"f"}},{"To_Account":"soon","Attrs":{}},{"To_Account":"new","Attrs":{}}]}`,
		"add_tag":  `{"UserTags":[{"To_Account":"full","Tags":["a"]},{"To_Account":"Mary","Tags":["a"]},{"To_Account":"soon","Tags":["a"]},{"To_Account":"new","Tags":["a"]}]}`,
	} {
		got := fmt.Sprint(n.post("timpush/"+command, body).ok(t).ErrorList)
		want := "[{full 70398 app has 4 accounts, it may have 4} {soon 70107 account does not exist: deleted a moment ago}]"
		if got != want {
			t.Errorf("%s: ErrorList is %s, want %s", command, got, want)
		}
		if a := n.post("all_member_push/im_"+command, body).ok(t); a.ErrorList != nil {
			t.Errorf("im_%s: %s, want no ErrorList", command, a.raw)
		}
	}
}
