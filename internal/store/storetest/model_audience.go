package storetest

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// expr returns an expression of some depth about the attributes of a kind, and
// about tags of any.
func (m *model) expr(kind audience.Kind, depth int) audience.Expr {
	if depth > 0 && m.chance(2) {
		list := make([]audience.Expr, m.r.IntN(4))
		for i := range list {
			list[i] = m.expr(kind, depth-1)
		}
		switch m.r.IntN(3) {
		case 0:
			return audience.And(list)
		case 1:
			return audience.Or(list)
		}
		return audience.Not{Of: m.expr(kind, depth-1)}
	}
	ref := audience.Ref{Slot: m.r.IntN(9)}
	if kind == audience.RegistrationID {
		ref.Slot = 9
	}
	ref.Name = Attributes[ref.Slot].Name
	switch m.r.IntN(6) {
	case 0, 1:
		return audience.HasTag{Tag: m.tag(kind)}
	case 2:
		return audience.HasAttr{Attr: ref}
	case 3:
		op := []string{"<", "<=", ">", ">=", "=="}[m.r.IntN(5)]
		ref.Slot = 2 + m.r.IntN(2)
		ref.Name = Attributes[ref.Slot].Name
		to := audience.Quantity{Number: float64(m.r.IntN(100))}
		if ref.Slot == 3 {
			to = audience.Quantity{Moment: time.Date(2026, time.Month(1+m.r.IntN(12)), 1+m.r.IntN(28), 0, 0, 0, 0, time.UTC)}
		}
		return audience.Compare{Attr: ref, Op: op, To: to}
	}
	e := audience.Equals{Attr: ref}
	for range 1 + m.r.IntN(3) {
		e.Values = append(e.Values, m.value(ref.Slot))
	}
	return e
}

// query returns a random question. One in some is about both kinds.
func (m *model) randomQuery() audience.Query {
	return audience.Query{Expr: m.expr(m.kind(), 2), Attributes: Attributes, Kind: m.kind()}
}

// queriesAbout returns questions whose answer a change of an account could
// change: about everyone, about each value and tag of before and after, and
// random ones.
func (m *model) queriesAbout(u *modelUser, c *audience.Change) (queries []audience.Query) {
	before := &modelUser{}
	if u != nil {
		before = u
	}
	terms := []audience.Expr{audience.And{}}
	for slot := range Attributes {
		ref := audience.Ref{Slot: slot, Name: Attributes[slot].Name}
		for _, v := range []string{before.values[slot], c.Set[slot]} {
			if v != "" {
				terms = append(terms, audience.HasAttr{Attr: ref}, audience.Equals{Attr: ref, Values: []string{v}})
			}
		}
	}
	for _, tags := range [][]string{before.tags, c.Tags.Tags} {
		for _, tag := range tags[:min(len(tags), 5)] {
			terms = append(terms, audience.HasTag{Tag: tag})
		}
	}
	for _, term := range terms {
		for kind := range audience.Kind(2) {
			queries = append(queries, audience.Query{Expr: term, Attributes: Attributes, Kind: kind})
		}
		queries = append(queries, audience.Query{Expr: audience.Not{Of: term}, Attributes: Attributes, Kind: m.kind()})
	}
	return append(queries, m.randomQuery(), m.randomQuery())
}

// askChangeAsk asks about what a change concerns, makes it and asks again.
func (m *model) askChangeAsk(id uint32, a *modelApp) {
	m.Helper()
	c := m.randomChange(id, a)
	c.OfKind, c.UserIDOnly = false, false // they mostly refuse
	u := a.users[c.Account]
	queries := m.queriesAbout(u, &c)
	ask := func() {
		m.Helper()
		for _, q := range queries {
			m.compareEstimate(id, a, q)
		}
	}
	m.note("ask %d queries of %d", len(queries), id)
	ask()
	if u != nil && m.chance(3) && !a.app.IsAdmin(c.Account) {
		m.deleteAccounts(id, a, u.kind, []string{c.Account})
	} else {
		m.makeChange(id, a, c)
	}
	ask()
}

// compareEstimate asks for an estimate. Its sample is members of the audience.
func (m *model) compareEstimate(id uint32, a *modelApp, q audience.Query) {
	m.Helper()
	limit := []int{0, 1, 3, 1000}[m.r.IntN(4)]
	got, err := m.Estimate(m.Context(), id, q, limit)
	kind, one := a.kindOf(q)
	if !one {
		if !errors.Is(err, apierr.WrongAccountKind) {
			m.Fatalf("Estimate(%d, %s) = %+v, %v; want 90035", id, q.Expr, got, err)
		}
		return
	}
	users := a.selected(q.Expr, kind)
	want := audience.Estimate{Count: uint64(len(users)), Sample: got.Sample}
	for _, e := range audience.Clauses(q.Expr) {
		want.Clauses = append(want.Clauses, audience.ClauseCount{Clause: e.String(), Count: uint64(len(a.selected(e, kind)))})
	}
	if len(got.Clauses) == 0 {
		got.Clauses = nil
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		m.Fatalf("Estimate(%d, %s) of kind %d = %+v, %v; want %+v", id, q.Expr, q.Kind, got, err, want)
	}
	seen := map[string]bool{}
	for _, account := range got.Sample {
		if users[account] == nil || seen[account] {
			m.Fatalf("Estimate(%d, %s) has the sample %q, %q is not in the audience or twice in the sample", id, q.Expr, got.Sample, account)
		}
		seen[account] = true
	}
	if len(seen) != min(limit, len(users)) {
		m.Fatalf("Estimate(%d, %s) has a sample of %d, want %d of %d", id, q.Expr, len(seen), limit, len(users))
	}
}

// compareExplain asks why an account is in an audience or not.
func (m *model) compareExplain(id uint32, a *modelApp, q audience.Query, account string) {
	m.Helper()
	got, err := m.Explain(m.Context(), id, q, account)
	kind, one := a.kindOf(q)
	u := a.users[account]
	switch {
	case !one && u != nil && !errors.Is(err, apierr.WrongAccountKind), one && u == nil && !errors.Is(err, apierr.UnknownAccount), !one && u == nil && err == nil:
		m.Fatalf("Explain(%d, %s, %q) = %+v, %v; the query is of one kind: %t, the account exists: %t", id, q.Expr, account, got, err, one, u != nil)
	case !one || u == nil:
		return
	}
	want := audience.Explanation{Match: u.kind == kind && q.Expr.Matches(u.traits()), Traits: u.traits()}
	for _, e := range audience.Clauses(q.Expr) {
		want.Clauses = append(want.Clauses, audience.ClauseMatch{Clause: e.String(), Match: u.kind == kind && e.Matches(u.traits())})
	}
	if err != nil || got.Match != want.Match || !slices.Equal(got.Clauses, want.Clauses) ||
		got.Traits.Kind != u.kind || got.Traits.Values != u.values || !slices.Equal(got.Traits.Tags, u.tags) {
		m.Fatalf("Explain(%d, %s, %q) = %+v, %v; want %+v", id, q.Expr, account, got, err, want)
	}
}

// order returns the accounts of an audience as a list has them. Each is in it
// once.
func (m *model) order(id uint32, a *modelApp, q audience.Query) (accounts []string, ok bool) {
	m.Helper()
	kind, one := a.kindOf(q)
	if !one {
		if p, err := m.List(m.Context(), id, q, 10, ""); !errors.Is(err, apierr.WrongAccountKind) {
			m.Fatalf("List(%d, %s) = %+v, %v; want 90035", id, q.Expr, p, err)
		}
		return nil, false
	}
	accounts = m.pages(id, q, 1000, func() {})
	users := a.selected(q.Expr, kind)
	for _, account := range accounts {
		if users[account] == nil {
			m.Fatalf("List(%d, %s) = %q, %q is not in the audience or twice in the list", id, q.Expr, accounts, account)
		}
		delete(users, account)
	}
	if len(users) > 0 {
		m.Fatalf("List(%d, %s) = %q, %d more are in the audience", id, q.Expr, accounts, len(users))
	}
	m.compareSelected(id, a, q, accounts)
	return accounts, true
}

// compareSelected exports an audience: the users of a list of it, with what they have.
func (m *model) compareSelected(id uint32, a *modelApp, q audience.Query, list []string) {
	m.Helper()
	var accounts []string
	err := m.Export(m.Context(), id, func(attrs *audience.Attributes) (audience.Query, error) {
		if *attrs != *Attributes {
			m.Fatalf("Export(%d) says that the attributes are %v", id, attrs)
		}
		return q, nil
	}, func(*audience.Attributes) error { return nil }, func(e *audience.Exported) error {
		accounts = append(accounts, e.Account)
		if u := a.users[e.Account]; u == nil || e.Kind != u.kind || e.Values != u.values || !slices.Equal(e.Tags, u.tags) {
			m.Fatalf("Export(%d, %s) has %+v, want %+v", id, q.Expr, e, u)
		}
		return nil
	})
	if err != nil || !slices.Equal(accounts, list) {
		m.Fatalf("Export(%d, %s) = %q, %v; want %q", id, q.Expr, accounts, err, list)
	}
}

// listStep reads a list in pages, with changes between them. The accounts are
// those of the first page's moment, in the same order, but for those that were
// deleted before their page was asked for.
func (m *model) listStep(id uint32, a *modelApp) {
	m.Helper()
	q := m.randomQuery()
	if m.chance(2) {
		q.Expr = audience.And{}
	}
	rest, ok := m.order(id, a, q)
	if !ok {
		return
	}
	members := map[string]*modelUser{}
	for _, account := range rest {
		members[account] = a.users[account]
	}
	next := func() string { // the next that was not deleted
		for len(rest) > 0 && a.users[rest[0]] != members[rest[0]] {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return "(the end)"
		}
		return rest[0]
	}
	limit := 1 + m.r.IntN(8)
	m.note("List(%d, %s) in pages of %d: %q", id, q.Expr, limit, rest)
	for after := ""; ; {
		p := m.page(id, q, limit, after)
		for _, account := range p.Accounts {
			if want := next(); account != want {
				m.Fatalf("List(%d, %s) has the page %q, want %s in the place of %s", id, q.Expr, p.Accounts, want, account)
			}
			rest = rest[1:]
		}
		if after = p.Next; after == "" {
			break
		}
		for range m.r.IntN(3) {
			if m.chance(2) {
				m.changeStep(id, a)
			} else {
				m.deleteStep(id, a)
			}
		}
	}
	if want := next(); len(rest) > 0 {
		m.Fatalf("List(%d, %s) ends before %s", id, q.Expr, want)
	}
}
