package lsm

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/wording"
)

// read calls f with the users of an app as they are after every change made
// before, and returns when all that f saw is durable. An error of f rests on what
// f saw as well.
func (s *Store) read(ctx context.Context, app uint32, f func(u *users) error) error {
	newest, err := s.look(ctx, app, f)
	if err := s.commit.waitFor(ctx, newest); err != nil {
		return err
	}
	return err
}

// look is read without waiting: newest is the group that what f saw rests on.
func (s *Store) look(ctx context.Context, app uint32, f func(u *users) error) (newest uint64, err error) {
	u := s.find(app)
	if u == nil {
		return 0, apierr.UnknownApp
	}
	u.mu.RLock()
	gone, newest := u.gone, u.newest
	if gone == 0 {
		err = f(u)
	}
	u.mu.RUnlock()
	if gone != 0 {
		return 0, s.unknownApp(ctx, gone)
	}
	return newest, err
}

// Estimate counts an audience and each of its clauses on its own, and picks
// accounts evenly spread over it.
func (s *Store) Estimate(ctx context.Context, app uint32, q audience.Query, sample int) (e audience.Estimate, err error) {
	err = s.read(ctx, app, func(u *users) error {
		kind, err := u.index.KindOf(q.Expr, q.Attributes, q.Kind)
		if err != nil {
			return err
		}
		clauses := audience.Clauses(q.Expr)
		e.Clauses = make([]audience.ClauseCount, len(clauses))
		for i, c := range clauses {
			e.Clauses[i].Clause = c.String()
		}
		key, version := estimateKey(q.Expr, kind, e.Clauses), u.index.Version(q.Expr)
		counted, known := u.estimates.find(key, version)
		if !known {
			counted.version = version
			if counted.all, counted.each, err = u.index.Estimate(clauses, kind); err != nil {
				return err
			}
			u.estimates.keep(key, counted)
		}
		e.Count = counted.all
		for i, n := range counted.each {
			e.Clauses[i].Count = n
		}
		e.Sample, err = u.sample(q.Expr, kind, sample)
		return err
	})
	return e, err
}

// sample picks accounts evenly spread over an audience.
func (u *users) sample(expr audience.Expr, kind audience.Kind, most int) (accounts []string, err error) {
	if most == 0 {
		return nil, nil
	}
	set, err := u.index.Select(expr, kind)
	if err != nil {
		return nil, err
	}
	of := set.GetCardinality()
	n := min(uint64(most), of)
	for i := range n {
		number, err := set.Select(uint32(i * of / n))
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, string(u.index.Account(number)))
	}
	return accounts, nil
}

// Explain tells which clauses are true of an account, and what it has.
func (s *Store) Explain(ctx context.Context, app uint32, q audience.Query, account string) (e audience.Explanation, err error) {
	err = s.read(ctx, app, func(u *users) error {
		kind, err := u.index.KindOf(q.Expr, q.Attributes, q.Kind)
		if err != nil {
			return err
		}
		n, exists := u.index.Find(account)
		if !exists {
			return apierr.UnknownAccount.Errorf("account %q does not exist", wording.Clip(account, audience.MaxAccountBytes))
		}
		e.Traits = u.index.Traits(n)
		e.Match = e.Traits.Kind == kind && q.Expr.Matches(e.Traits)
		for _, c := range audience.Clauses(q.Expr) {
			e.Clauses = append(e.Clauses, audience.ClauseMatch{Clause: c.String(), Match: e.Traits.Kind == kind && c.Matches(e.Traits)})
		}
		return nil
	})
	return e, err
}

// List lists accounts in the order in which they were made. The audience is
// fixed with the first page.
func (s *Store) List(ctx context.Context, app uint32, q audience.Query, limit int, after string) (p audience.Page, err error) {
	var l *list
	from := uint32(0)
	if after != "" {
		if l, from = s.pages.find(app, after); l == nil {
			return p, apierr.PageExpired.Errorf("Next: the page token is not known or more than %v old", pageLife)
		}
	}
	err = s.read(ctx, app, func(u *users) error {
		if l == nil {
			kind, err := u.index.KindOf(q.Expr, q.Attributes, q.Kind)
			if err != nil {
				return err
			}
			set, err := u.index.Select(q.Expr, kind)
			if err != nil {
				return err
			}
			l = &list{app: app, users: u, set: set}
		}
		if l.users != u {
			return apierr.PageExpired.Errorf("Next: the app was deleted and made again since")
		}
		p.Accounts = make([]string, 0, limit)
		it := l.set.Iterator()
		it.AdvanceIfNeeded(from)
		for it.HasNext() {
			n := it.PeekNext()
			if len(p.Accounts) == limit {
				p.Next = s.pages.keep(l, n)
				break
			}
			it.Next()
			if u.index.Has(n) {
				p.Accounts = append(p.Accounts, string(u.index.Account(n)))
			}
		}
		return nil
	})
	return p, err
}

const (
	// pageLife is how long after a page the next can be asked for.
	pageLife = 5 * time.Minute
	// maxListBytes bounds the memory of all lists; the oldest goes first.
	maxListBytes = 256 << 20
)

// pages are the lists whose next page may be asked for.
type pages struct {
	mu    sync.Mutex
	lists []*list // the least recently used first
	bytes uint64
}

// A list is an audience, fixed.
type list struct {
	id    [8]byte
	app   uint32
	users *users
	set   *roaring.Bitmap
	bytes uint64
	used  time.Time
}

// keep keeps a list and gives the token for its page that begins at a number.
func (p *pages) keep(l *list, from uint32) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if l.bytes == 0 {
		_, _ = rand.Read(l.id[:]) // never fails
		l.bytes = l.set.GetSizeInBytes() + 200
		p.bytes += l.bytes
	} else {
		p.lists = slices.DeleteFunc(p.lists, func(x *list) bool { return x == l })
	}
	l.used = now
	p.lists = append(p.lists, l)
	for len(p.lists) > 1 && (p.bytes > maxListBytes || now.Sub(p.lists[0].used) > pageLife) {
		p.bytes -= p.lists[0].bytes
		p.lists[0].bytes = 0
		p.lists = p.lists[1:]
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(l.id[:], from))
}

// find gives the list and the number a token is for; nil if it has expired.
func (p *pages) find(app uint32, token string) (*list, uint32) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 12 {
		return nil, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lists {
		if string(l.id[:]) == string(b[:8]) && l.app == app && time.Since(l.used) <= pageLife {
			return l, binary.BigEndian.Uint32(b[8:])
		}
	}
	return nil, 0
}

// scanStep is how many values are looked at while nobody can change anything.
const scanStep = 1 << 16

// AttrValues lists the values of a slot, those of most users first. With more
// values than one step each count is right for some moment of the call.
func (s *Store) AttrValues(ctx context.Context, app uint32, slot int, prefix string, limit int) (top []audience.ValueCount, total int, err error) {
	var scan index.ValueScan
	var of *users // an app of the same number may take the place of one that is deleted
	var newest uint64
	for more := true; more; {
		newest, err = s.look(ctx, app, func(u *users) error {
			if u != of {
				of, scan = u, index.ValueScan{Slot: slot, TopList: index.TopList{Prefix: prefix, Limit: limit}}
			}
			more = u.index.ScanValues(&scan, scanStep)
			return context.Cause(ctx)
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return scan.Top, scan.Total, s.commit.waitFor(ctx, newest)
}

// Tags lists tags, those of most users first.
func (s *Store) Tags(ctx context.Context, app uint32, prefix string, limit int) (top []audience.ValueCount, total int, err error) {
	err = s.read(ctx, app, func(u *users) error {
		l := u.index.Tags(prefix, limit)
		top, total = l.Top, l.Total
		return nil
	})
	return top, total, err
}
