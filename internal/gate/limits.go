package gate

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"tidings/internal/apierr"
	"tidings/internal/app"
)

// appLimits are the token buckets of one app: one for each command, made when it is
// first called, and one for all together. A bucket holds one second's worth.
// Contract: spec/conventions.md, 2.7.
type appLimits struct {
	of       app.Limits
	total    *rate.Limiter // nil is unlimited, here and below
	commands []atomic.Pointer[rate.Limiter]
}

func newAppLimits(of app.Limits, n int) *appLimits {
	return &appLimits{of: of, total: bucket(of[app.LimitTotal]), commands: make([]atomic.Pointer[rate.Limiter], n)}
}

// command returns the bucket of a command.
func (l *appLimits) command(c *command) *rate.Limiter {
	b := l.commands[c.index].Load()
	if b == nil {
		if b = bucket(limitOf(l.of, c)); b != nil && !l.commands[c.index].CompareAndSwap(nil, b) {
			b = l.commands[c.index].Load()
		}
	}
	return b
}

// forgetApps drops the buckets and shares of apps that are not there any more.
func (g *Gate) forgetApps() {
	for _, byApp := range []*sync.Map{&g.limits, &g.rooms.slots.apps, &g.rooms.bodies.apps, &g.clients.rooms.slots.apps, &g.clients.rooms.bodies.apps} {
		byApp.Range(func(id, _ any) bool {
			if g.apps.App(id.(uint32)) == nil {
				byApp.Delete(id)
			}
			return true
		})
	}
}

// limitsSweep is after how many apps that are called for the first time the buckets of
// deleted ones are looked for.
const limitsSweep = 256

// limitOf is the calls per second of a command: what the app says of it, else
// what the app says of all, else the contract.
func limitOf(of app.Limits, c *command) int {
	if n, ok := of[c.name]; ok {
		return n
	}
	if n, ok := of[app.LimitDefault]; ok {
		return n
	}
	return c.Rate.PerSecond
}

func bucket(perSecond int) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), perSecond)
}

// checkRate is check 13: the request takes a token of its command and of its app.
func (g *Gate) checkRate(r *request) error {
	a, c := r.app, r.command
	v, ok := g.limits.Load(a.ID)
	if !ok {
		v, _ = g.limits.LoadOrStore(a.ID, newAppLimits(a.Settings.Limits, len(g.commands)))
		if g.called.Add(1)%limitsSweep == 0 {
			g.forgetApps()
		}
	}
	if !maps.Equal(v.(*appLimits).of, a.Settings.Limits) {
		fresh := newAppLimits(a.Settings.Limits, len(g.commands))
		if g.limits.CompareAndSwap(a.ID, v, fresh) {
			v = fresh
		}
	}
	l, now := v.(*appLimits), g.now()
	if b := l.command(c); b != nil && !b.AllowN(now, 1) {
		return apierr.RateLimited.Errorf("%s is called more than %d times a second by app %d", c.name, b.Burst(), a.ID)
	}
	if l.total != nil && !l.total.AllowN(now, 1) {
		return apierr.AppRateLimited.Errorf("app %d calls more than %d times a second", a.ID, l.total.Burst())
	}
	return nil
}

// maxKnown is how many networks are remembered from which a good ticket came.
const maxKnown = 1 << 14

func newKnown() *lru.Cache[netip.Addr, uint32] {
	known, err := lru.New[netip.Addr, uint32](maxKnown)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return known
}

// Knows reports whether a good ticket of an admin came from the network of a peer lately,
// and of which app. Flood protection may prefer such peers to strangers.
func (g *Gate) Knows(network netip.Addr) (app uint32, ok bool) { return g.known.Peek(network) }

// sourceLimiter is flood protection: a token bucket for each source address.
type sourceLimiter struct {
	perSecond int // 0 is unlimited
	buckets   *buckets[netip.Addr]
	refused   atomic.Int64
}

func newSourceLimiter(perSecond int) *sourceLimiter {
	return &sourceLimiter{perSecond: perSecond, buckets: newBuckets[netip.Addr]()}
}

func (l *sourceLimiter) allow(source netip.Addr, now time.Time) bool {
	if l.perSecond == 0 {
		return true
	}
	if l.buckets.bucket(Network(source), rate.Limit(l.perSecond), l.perSecond).AllowN(now, 1) {
		return true
	}
	l.refused.Add(1)
	return false
}

// sourceOf returns the address that a request comes from: the peer's, or, if the peer is
// a trusted proxy, the last address in X-Forwarded-For that is none.
func (g *Gate) sourceOf(peer netip.Addr, h http.Header) netip.Addr {
	if !g.trusted(peer) {
		if h["X-Forwarded-For"] != nil {
			g.proxyWarning.Do(func() {
				g.log.Warn("a peer that is not among trusted_proxies sends X-Forwarded-For, which is not believed; if it is a proxy of yours, all its clients count as one source", "source", peer)
			})
		}
		return peer
	}
	hops := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && g.trusted(peer); i-- {
		hop := ParseAddr(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			break
		}
		peer = hop
	}
	return peer
}

func (g *Gate) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(g.opts.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ParseAddr returns the address of a text with or without a port; the zero Addr if there
// is none.
func ParseAddr(s string) netip.Addr {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone("")
	}
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, _ := netip.ParseAddr(s)
	return a.Unmap().WithZone("")
}
