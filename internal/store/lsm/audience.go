package lsm

import (
	"context"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
	"tidings/internal/wording"
)

// Estimate counts an audience and each of its clauses on its own, and picks
// accounts evenly spread over it.
func (s *Users) Estimate(ctx context.Context, id uint32, q audience.Query, sample int) (e audience.Estimate, err error) {
	err = s.read(ctx, id, func(x *tenant) error {
		kind, err := x.users.KindOf(q.Expr, q.Attributes, q.Kind)
		if err != nil {
			return err
		}
		clauses := audience.Clauses(q.Expr)
		e.Clauses = make([]audience.ClauseCount, len(clauses))
		for i, c := range clauses {
			e.Clauses[i].Clause = c.String()
		}
		key, version := estimateKey(q.Expr, kind, e.Clauses), x.users.Version(q.Expr)
		counted, known := x.estimates.find(key, version)
		if !known {
			counted.version = version
			if counted.all, counted.each, err = x.users.Estimate(clauses, kind); err != nil {
				return err
			}
			x.estimates.keep(key, counted)
		}
		e.Count = counted.all
		for i, n := range counted.each {
			e.Clauses[i].Count = n
		}
		e.Sample, err = x.sample(q.Expr, kind, sample)
		return err
	})
	return e, err
}

// sample picks accounts evenly spread over an audience.
func (x *tenant) sample(expr audience.Expr, kind audience.Kind, limit int) (accounts []string, err error) {
	if limit == 0 {
		return nil, nil
	}
	set, err := x.users.Select(expr, kind)
	if err != nil {
		return nil, err
	}
	all := set.GetCardinality()
	n := min(uint64(limit), all)
	for i := range n {
		number, err := set.Select(uint32(i * all / n))
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, string(x.users.Account(number)))
	}
	return accounts, nil
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
			return apierr.UnknownAccount.Errorf("account %q does not exist", wording.Clip(account, audience.MaxAccountBytes))
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
	err = s.read(ctx, id, func(x *tenant) error {
		l, from := &list{}, uint32(0)
		if after != "" {
			if l, from = x.pages.find(after); l == nil {
				return apierr.PageExpired.Errorf("Next: the page token is not known or more than %v old", pageLife)
			}
		} else {
			kind, err := x.users.KindOf(q.Expr, q.Attributes, q.Kind)
			if err != nil {
				return err
			}
			l.pos = s.journal.Next() // whoever is deleted from now on is in no earlier group
			if l.set, err = x.users.Select(q.Expr, kind); err != nil {
				return err
			}
		}
		p.Accounts = make([]string, 0, limit)
		it := l.set.Iterator()
		it.AdvanceIfNeeded(from)
		for it.HasNext() {
			n := it.PeekNext()
			if len(p.Accounts) == limit {
				p.Next = x.pages.keep(l, n)
				break
			}
			it.Next()
			if x.users.Has(n) {
				p.Accounts = append(p.Accounts, string(x.users.Account(n)))
			}
		}
		return nil
	})
	return p, err
}

// scanStep is how many values are looked at while nobody can change anything.
const scanStep = 1 << 16

// AttrValues lists the values of a slot, those of most users first. With more
// values than one step each count is right for some moment of the call.
func (s *Users) AttrValues(ctx context.Context, id uint32, slot int, prefix string, limit int) (top []audience.ValueCount, total int, err error) {
	var scan index.ValueScan
	var owner *tenant // an app of the same number may take the place of one that is deleted
	var pos journal.Pos
	for more := true; more && err == nil; {
		pos, err = s.look(ctx, id, func(x *tenant) error {
			if x != owner {
				owner, scan = x, index.ValueScan{Slot: slot, TopList: index.TopList{Prefix: prefix, Limit: limit}}
			}
			more = x.users.ScanValues(&scan, scanStep)
			return nil
		})
	}
	if waited := s.journal.Wait(ctx, pos); waited != nil {
		err = waited
	}
	if err != nil {
		return nil, 0, err
	}
	return scan.Top, scan.Total, nil
}

// Tags lists tags, those of most users first.
func (s *Users) Tags(ctx context.Context, id uint32, prefix string, limit int) (top []audience.ValueCount, total int, err error) {
	err = s.read(ctx, id, func(x *tenant) error {
		l := x.users.Tags(prefix, limit)
		top, total = l.Top, l.Total
		return nil
	})
	return top, total, err
}
