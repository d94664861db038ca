package lsm

import (
	"context"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/index"
)

// Estimate counts an audience and each of its clauses on its own, and picks
// accounts evenly spread over it.
func (s *Users) Estimate(ctx context.Context, id uint32, q audience.Query, sample int) (e audience.Estimate, err error) {
	clauses := audience.Clauses(q.Expr)
	e.Clauses = make([]audience.ClauseCount, len(clauses))
	for i, c := range clauses {
		e.Clauses[i].Clause = c.String()
	}
	text := estimateKey(q.Expr, e.Clauses)
	err = s.ask(ctx, id, &question{prepare: func(x *tenant, u *index.View) (int, func(func()) error, error) {
		kind, err := u.KindOf(q.Expr, q.Attributes, q.Kind)
		if err != nil {
			return 0, nil, err
		}
		key, version := string(byte('0'+kind))+text, u.Version(q.Expr)
		counted, known := x.estimates.find(key, version)
		cost := 0
		if known = known && sample == 0; !known {
			cost = u.Cost(clauses)
		}
		return cost, func(yield func()) (err error) {
			if !known {
				if counted, e.Sample, err = count(ctx, u, clauses, kind, yield, sample); err != nil {
					return err
				}
				counted.version = version
				x.estimates.keep(key, counted)
			}
			e.Count = counted.all
			for i, n := range counted.each {
				e.Clauses[i].Count = n
			}
			return nil
		}, nil
	}})
	return e, err
}

// count counts an audience, and picks some of its accounts.
func count(ctx context.Context, u *index.View, clauses []audience.Expr, kind audience.Kind, yield func(), sample int) (counted estimated, accounts []string, err error) {
	a, err := u.Audience(ctx, clauses, kind, yield)
	if err != nil {
		return counted, nil, err
	}
	if counted.all, counted.each, err = a.Count(ctx); err != nil {
		return counted, nil, err
	}
	picked, err := a.Sample(ctx, sample)
	for _, n := range picked {
		accounts = append(accounts, string(u.Account(n)))
	}
	return counted, accounts, err
}

// Explain returns which clauses are true of an account, and what it has.
func (s *Users) Explain(ctx context.Context, id uint32, q audience.Query, account string) (e audience.Explanation, err error) {
	err = s.read(ctx, id, func(x *tenant) error {
		kind, err := x.users.KindOf(q.Expr, q.Attributes, q.Kind)
		if err != nil {
			return err
		}
		n, exists := x.users.Find(account)
		if !exists {
			return unknownAccount(account)
		}
		e.Traits = x.users.Traits(n)
		e.Match = e.Traits.Kind == kind && q.Expr.Matches(e.Traits)
		for _, c := range audience.Clauses(q.Expr) {
			e.Clauses = append(e.Clauses, audience.ClauseMatch{Clause: c.String(), Match: e.Traits.Kind == kind && c.Matches(e.Traits)})
		}
		return nil
	})
	return e, err
}

// List lists accounts in the order of their numbers. The audience is
// fixed with the first page.
func (s *Users) List(ctx context.Context, id uint32, q audience.Query, limit int, after string) (p audience.Page, err error) {
	if after != "" {
		err = s.read(ctx, id, func(x *tenant) error {
			l, from := x.pages.find(after)
			if l == nil {
				return apierr.PageExpired.Errorf("Next: the page token is not known or more than %v old", pageLife)
			}
			p = x.page(&x.users.View, l, from, limit)
			return nil
		})
		return p, err
	}
	clauses := audience.Clauses(q.Expr)
	l := &list{}
	err = s.ask(ctx, id, &question{list: l, prepare: func(x *tenant, u *index.View) (int, func(func()) error, error) {
		kind, err := u.KindOf(q.Expr, q.Attributes, q.Kind)
		return u.Cost(clauses), func(yield func()) error {
			a, err := u.Audience(ctx, clauses, kind, yield)
			if err != nil {
				return err
			}
			if l.users, err = a.Select(ctx); err != nil {
				return err
			}
			p = x.page(u, l, 0, limit)
			return nil
		}, err
	}})
	return p, err
}

// page returns a page of a list, from a number on, and keeps the list if there is more
// of it.
func (x *tenant) page(u *index.View, l *list, from uint32, limit int) (p audience.Page) {
	p.Accounts = make([]string, 0, min(limit, l.users.Len()))
	for n := range l.users.From(from) {
		if len(p.Accounts) == limit {
			p.Next = x.pages.keep(l, n)
			break
		}
		if u.Has(n) {
			p.Accounts = append(p.Accounts, string(u.Account(n)))
		}
	}
	return p
}

// listCost is what it costs to look at a value or tag for a list, in nanoseconds, and
// scanStep how many are looked at between two looks at the context.
const (
	listCost = 100
	scanStep = 1 << 10
)

// AttrValues lists the values of a slot, those of most users first.
func (s *Users) AttrValues(ctx context.Context, id uint32, slot int, prefix string, limit int) (top []audience.ValueCount, total int, err error) {
	err = s.ask(ctx, id, &question{prepare: func(_ *tenant, u *index.View) (int, func(func()) error, error) {
		return u.Values(slot) * listCost, func(yield func()) error {
			scan := index.ValueScan{Slot: slot, TopList: index.TopList{Prefix: prefix, Limit: limit}}
			for u.ScanValues(&scan, scanStep) {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if yield != nil {
					yield()
				}
			}
			top, total = scan.Top, scan.Total
			return nil
		}, nil
	}})
	return top, total, err
}

// Tags lists tags, those of most users first.
func (s *Users) Tags(ctx context.Context, id uint32, prefix string, limit int) (top []audience.ValueCount, total int, err error) {
	err = s.ask(ctx, id, &question{prepare: func(_ *tenant, u *index.View) (int, func(func()) error, error) {
		return u.TagCount() * listCost, func(func()) error {
			l := u.Tags(prefix, limit)
			top, total = l.Top, l.Total
			return nil
		}, nil
	}})
	return top, total, err
}
