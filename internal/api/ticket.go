package api

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"tidings/internal/apierr"
	"tidings/internal/usersig"
)

// verify is check 9: the ticket is good, or was found good before.
func (s *Server) verify(r *request) error {
	now := s.now()
	q := &r.query
	who := func() attempt { return attempt{network(r.source), r.app.ID, sha256.Sum256([]byte(q.identifier))} }
	if until := s.failures.blocked(who, now); !until.IsZero() {
		return apierr.TicketThrottled.Errorf("too many failed verifications from %s, try again after %s", r.source, until.UTC().Format(time.RFC3339))
	}
	key := ticketKey(q)
	if s.tickets.good(key, r.app.Epoch, now) {
		return nil
	}
	keys := r.app.GoodKeys(now)
	secrets := make([]string, len(keys))
	for i, k := range keys {
		secrets[i] = string(k.Secret)
	}
	claims, with, err := usersig.Verify(usersig.Request{
		Ticket: q.ticket, Identifier: q.identifier, SDKAppID: r.app.ID, Keys: secrets, Now: now, Lax: s.opts.LaxUserSig,
	})
	if err != nil {
		s.metrics.ticketsRefused.Inc()
		s.failures.add(who(), now)
		return err
	}
	s.metrics.ticketsVerified.Inc()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.http.Context()), s.opts.RequestTimeout)
	defer cancel()
	began := time.Now()
	revoked, err := s.users.RevokedUpTo(ctx, r.app.ID, q.identifier)
	r.waited = time.Since(began)
	if err != nil {
		return err
	}
	if err := claims.Invalidated(revoked); err != nil {
		return err
	}
	expires := claims.Expires()
	if ends := keys[with].Ends; !ends.IsZero() && ends.Before(expires) {
		expires = ends.Add(-time.Second) // a key is good up to its end, a ticket through its last second
	}
	s.tickets.add(key, ticketEntry{r.app.Epoch, expires.Unix()})
	return nil
}

// ticketCache remembers tickets that were verified. A ticket is good again only
// under the same epoch of its app: after a change of its keys, or a kick, every
// ticket of the app is verified anew. Contract: spec/conventions.md, 1.5.
type ticketCache struct {
	entries *lru.Cache[[sha256.Size]byte, ticketEntry]
	hits    atomic.Int64
}

type ticketEntry struct {
	epoch   uint64
	expires int64 // last Unix second
}

// maxTickets bounds the cache. Callers are the few admins of each app.
const maxTickets = 1 << 16

func newTicketCache() *ticketCache {
	entries, err := lru.New[[sha256.Size]byte, ticketEntry](maxTickets)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &ticketCache{entries: entries}
}

func ticketKey(q *query) [sha256.Size]byte {
	var buf [1024]byte
	b := append(buf[:0], q.appID...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(q.identifier)), 10)
	b = append(b, ' ')
	b = append(b, q.identifier...)
	return sha256.Sum256(append(b, q.ticket...))
}

func (c *ticketCache) good(key [sha256.Size]byte, epoch uint64, now time.Time) bool {
	e, ok := c.entries.Get(key)
	if !ok || e.epoch != epoch || now.Unix() > e.expires {
		return false
	}
	c.hits.Add(1)
	return true
}

func (c *ticketCache) add(key [sha256.Size]byte, e ticketEntry) { c.entries.Add(key, e) }

// failureLog counts failed verifications and blocks who fails too often: after
// failuresAllowed within failureWindow, for failureWindow. It is keyed by source
// address too, or anyone could lock out an admin. Contract: spec/conventions.md,
// 1.6.
type failureLog struct {
	mu      sync.Mutex
	entries *simplelru.LRU[attempt, *failures]
	newest  atomic.Int64 // Unix nanoseconds of the end of the last block
}

const (
	failuresAllowed = 10
	failureWindow   = time.Minute
	maxAttempts     = 1 << 16 // attempts remembered, the latest
)

// attempt is who tries to verify as whom.
type attempt struct {
	source     netip.Addr
	app        uint32
	identifier [sha256.Size]byte
}

type failures struct {
	at    [failuresAllowed]time.Time // the last failures, a ring
	n     int
	until time.Time // blocked up to here
}

func newFailureLog() *failureLog {
	entries, err := simplelru.NewLRU[attempt, *failures](maxAttempts, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &failureLog{entries: entries}
}

// blocked tells until when who is blocked; the zero time if not. While nobody
// is, it does not ask who.
func (l *failureLog) blocked(who func() attempt, now time.Time) time.Time {
	if now.UnixNano() >= l.newest.Load() {
		return time.Time{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.entries.Get(who()); ok && now.Before(f.until) {
		return f.until
	}
	return time.Time{}
}

// add counts a failure.
func (l *failureLog) add(who attempt, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.entries.Get(who)
	if !ok {
		f = &failures{}
		l.entries.Add(who, f)
	}
	oldest := f.at[(f.n+1)%failuresAllowed]
	f.at[f.n%failuresAllowed] = now
	f.n++
	if f.n >= failuresAllowed && now.Sub(oldest) < failureWindow {
		*f = failures{until: now.Add(failureWindow)}
		l.newest.Store(f.until.UnixNano())
	}
}

// network is the address itself, or the /64 of an IPv6 address: one host has as
// many addresses in it as it likes.
func network(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
