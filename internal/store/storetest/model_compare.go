package storetest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"tidings/internal/app"
	"tidings/internal/audience"
)

// compare looks at everything.
func (m *model) compare() {
	m.Helper()
	var apps []*app.App
	for _, id := range modelIDs {
		a := m.apps[id]
		if a == nil {
			m.wantCount(id, 0)
			continue
		}
		apps = append(apps, a.app)
		m.wantCount(id, len(a.users))
		m.compareUsers(id, a)
		m.compareExport(id, a)
		m.compareTops(id, a)
		for kind := range audience.Kind(2) {
			everyone := audience.Query{Expr: audience.And{}, Attributes: Attributes, Kind: kind}
			m.compareEstimate(id, a, everyone)
			m.compareOrder(id, a, everyone)
		}
		for range 5 {
			q := m.randomQuery()
			m.compareEstimate(id, a, q)
			m.compareOrder(id, a, q)
			m.compareExplain(id, a, q, m.account())
		}
	}
	m.wantApps(apps...)
	m.inspect()
}

// readStep looks at one thing.
func (m *model) readStep(id uint32, a *modelApp) {
	m.Helper()
	switch m.r.IntN(5) {
	case 0:
		m.compareUsers(id, a)
	case 1:
		m.compareEstimate(id, a, m.randomQuery())
	case 2:
		m.compareExplain(id, a, m.randomQuery(), m.account())
	case 3:
		m.compareOrder(id, a, m.randomQuery())
	case 4:
		m.compareTops(id, a)
	}
}

// compareUsers reads all accounts at once, and some that may not exist.
func (m *model) compareUsers(id uint32, a *modelApp) {
	m.Helper()
	accounts := append(a.accounts(), m.account(), m.account(), "nobody")
	users, err := m.Users(m.Context(), id, accounts)
	if err != nil || len(users) != len(accounts) {
		m.Fatalf("Users(%d, %q) = %d users, %v", id, accounts, len(users), err)
	}
	for i, account := range accounts {
		u, got := a.users[account], users[i]
		if got.Exists != (u != nil) || u != nil && (got.Kind != u.kind || got.Values != u.values || !slices.Equal(got.Tags, u.tags)) {
			m.Fatalf("user %q of app %d is %+v, want %+v", account, id, got, u)
		}
		m.compareRevoked(id, a, account)
	}
}

// compareRevoked compares up to when the tickets of an account are invalid. What
// the model has to leave open is settled by the answer.
func (m *model) compareRevoked(id uint32, a *modelApp, account string) {
	m.Helper()
	want := a.revoked[account]
	want = span{max(want.min, a.ended.min), max(want.max, a.ended.max)}
	if a.users[account] == nil {
		want.min = 0 // there is nobody whose tickets could be good
	}
	got, err := m.RevokedUpTo(m.Context(), id, account)
	if err != nil || !want.has(got) {
		m.Fatalf("RevokedUpTo(%d, %q) = %d, %v; want %+v", id, account, got, err, want)
	}
	if a.users[account] != nil && want.max > 0 {
		a.revoked[account] = span{got, got}
	}
}

// compareExport reads all that is stored of the users.
func (m *model) compareExport(id uint32, a *modelApp) {
	m.Helper()
	accounts := a.accounts()
	for _, got := range m.export(id) {
		if len(accounts) == 0 || accounts[0] != got.Account {
			m.Fatalf("Export(%d) has %+v, want %q next", id, got, accounts)
		}
		u := a.users[got.Account]
		accounts = accounts[1:]
		if got.Kind != u.kind || got.Values != u.values || !slices.Equal(got.Tags, u.tags) || got.Nick != u.nick || got.FaceURL != u.face || !u.created.has(int64(got.Created)) {
			m.Fatalf("Export(%d) has %+v, want %+v", id, got, *u)
		}
		u.created = span{int64(got.Created), int64(got.Created)}
		if one, err := m.User(m.Context(), id, got.Account); err != nil || !reflect.DeepEqual(*one, got) {
			m.Fatalf("User(%d, %q) = %+v, %v; want %+v, as exported", id, got.Account, one, err, got)
		}
	}
	if len(accounts) > 0 {
		m.Fatalf("Export(%d) ends before %q", id, accounts)
	}
}

// compareTops reads the tags, and the values of each slot, all of them and the
// first few with a prefix.
func (m *model) compareTops(id uint32, a *modelApp) {
	m.Helper()
	for _, limit := range []int{1, 3, 1 << 20} {
		prefix := []string{"", "rare 1", "fresh", "one of many", "v", "2"}[m.r.IntN(6)]
		list, total, err := m.Tags(m.Context(), id, prefix, limit)
		if err != nil {
			m.Fatalf("Tags(%d): %v", id, err)
		}
		m.compareTop(fmt.Sprintf("Tags(%d, %q, %d)", id, prefix, limit), list, total, limit, prefix, a.tags())
		for slot := range Attributes {
			list, total, err := m.AttrValues(m.Context(), id, slot, prefix, limit)
			if err != nil {
				m.Fatalf("AttrValues(%d): %v", id, err)
			}
			m.compareTop(fmt.Sprintf("AttrValues(%d, %d, %q, %d)", id, slot, prefix, limit), list, total, limit, prefix, a.values(slot))
		}
	}
}

// compareTop compares a list of those that most users have. Equally many may be
// in any order.
func (m *model) compareTop(call string, list []audience.ValueCount, total, limit int, prefix string, want map[string]audience.ValueCount) {
	m.Helper()
	maps.DeleteFunc(want, func(value string, _ audience.ValueCount) bool { return !strings.HasPrefix(value, prefix) })
	if total != len(want) || len(list) != min(limit, len(want)) {
		m.Fatalf("%s has %d of %d, want %d of %d", call, len(list), total, min(limit, len(want)), len(want))
	}
	for i, v := range list {
		if v != want[v.Value] || i > 0 && v.Count > list[i-1].Count {
			m.Fatalf("%s = %v, %q has %+v", call, list, v.Value, want[v.Value])
		}
		delete(want, v.Value)
	}
	for _, v := range want {
		if len(list) > 0 && v.Count > list[len(list)-1].Count {
			m.Fatalf("%s = %v, %q has %d users", call, list, v.Value, v.Count)
		}
	}
}

// compareOrder asks for a list of an audience. It does not change, whatever the
// size of its pages.
func (m *model) compareOrder(id uint32, a *modelApp, q audience.Query) {
	m.Helper()
	order, ok := m.order(id, a, q)
	if !ok {
		return
	}
	if got := m.pages(id, q, 1+m.r.IntN(10), func() {}); !slices.Equal(got, order) {
		m.Fatalf("List(%d, %s) is %q at once and %q in pages", id, q.Expr, order, got)
	}
}
