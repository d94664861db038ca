package gate

import (
	"context"
	"crypto/sha256"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"tidings/internal/apierr"
	"tidings/internal/usersig"
)

// checkTicket verifies the ticket, or finds that it was verified before. A ticket that
// was is good whoever else sends bad ones from the same address: nobody guesses one.
func (g *Gate) checkTicket(r *request) error {
	now := g.now()
	q := &r.query
	key := ticketKey(q)
	before, verified := g.tickets.find(key)
	if verified && before.good(r.app.Epoch, now) {
		g.tickets.hits.Add(1)
		r.expires = before.expires
		return nil
	}
	if !verified {
		if err := g.throttled(r, g.failures, q.identifier); err != nil {
			return err
		}
	}
	claims, expires, err := g.verify(r, g.failures, q.identifier, q.ticket)
	if err != nil {
		g.tickets.entries.Remove(key) // it was good once, and is not any more
		return err
	}
	if err := g.checkInvalidation(r, claims); err != nil {
		return err
	}
	if !r.app.IsAdmin(q.identifier) {
		return nil // it is refused anyway, and is not to take the place of one that is not
	}
	r.expires = expires
	g.tickets.add(key, ticketEntry{r.app.Epoch, r.expires})
	return nil
}

// attempt returns whose attempt it is to verify a ticket of an account.
func (r *request) attempt(account string) attempt {
	return attempt{Network(r.source), r.app.ID, sha256.Sum256([]byte(account))}
}

// throttled refuses tickets of an account from a source that failed too often.
func (g *Gate) throttled(r *request, failures *failureLog, account string) error {
	now := g.now()
	until := failures.blocked(r.attempt(account), now)
	if until.IsZero() {
		return nil
	}
	r.later = until.Sub(now)
	return apierr.TicketThrottled.Errorf("too many failed verifications from %s, try again after %s", r.source, until.UTC().Format(time.RFC3339))
}

// verify verifies a ticket of an account with the keys of the app, and returns what it says
// and the last Unix second in which it is good. A failure counts.
func (g *Gate) verify(r *request, failures *failureLog, account, ticket string) (c usersig.Claims, last int64, err error) {
	now := g.now()
	keys := r.app.GoodKeys(now)
	secrets := make([]string, len(keys))
	for i, k := range keys {
		secrets[i] = string(k.Secret)
	}
	c, signer, err := usersig.Verify(usersig.Request{
		Ticket: ticket, Identifier: account, SDKAppID: r.app.ID, Keys: secrets, Now: now, Strict: g.opts.StrictUserSig,
	})
	if err != nil {
		g.metrics.ticketsRefused.Inc()
		failures.add(r.attempt(account), now)
		return c, 0, err
	}
	g.metrics.ticketsVerified.Inc()
	expires := c.Expires()
	if ends := keys[signer].Ends; !ends.IsZero() && ends.Before(expires) {
		expires = ends.Add(-time.Second) // a key is good up to its end, a ticket through its last second
	}
	return c, expires.Unix(), nil
}

// checkInvalidation refuses a ticket that was issued before its account was kicked.
func (g *Gate) checkInvalidation(r *request, c usersig.Claims) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.http.Context()), g.opts.RequestTimeout-r.waited)
	defer cancel()
	began := time.Now()
	revoked, err := g.invalidations.RevokedUpTo(ctx, r.app.ID, c.Identifier)
	r.waited += time.Since(began)
	if err != nil {
		return err
	}
	return c.Invalidated(revoked)
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

// find returns what is known of a ticket that was verified, under whatever epoch.
func (c *ticketCache) find(key [sha256.Size]byte) (ticketEntry, bool) { return c.entries.Get(key) }

// good reports whether the ticket needs no verification.
func (e ticketEntry) good(epoch uint64, now time.Time) bool {
	return e.epoch == epoch && now.Unix() <= e.expires
}

func (c *ticketCache) add(key [sha256.Size]byte, e ticketEntry) { c.entries.Add(key, e) }
