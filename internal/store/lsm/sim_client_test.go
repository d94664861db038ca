package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tidings/internal/audience"
	"tidings/internal/store/storetest"
)

// simClient makes one request after the other. It knows what each of its apps and
// accounts is, or, of a request whose outcome it was not told, what they may be.
type simClient struct {
	*sim
	k    int // which client it is
	r    *rand.Rand
	apps map[uint32]*simApp // as last acknowledged

	under   uint32    // the app of a request that is under way, or was when it ended
	maybe   []*simApp // what that app may have become besides
	born    int
	clock   int
	lists   []*simList
	log     []string // the last requests
	stopped bool     // after a crash, or since the disk fails
}

// A simList is a list of an audience that the client reads in pages.
type simList struct {
	app     uint32
	query   audience.Query
	members map[string]*simUser // of its first page, but for those that were shown
	next    string
	used    time.Time
	ends    int // of the app
	opening int // of the store
}

// run makes requests, so many, unless the store ends before.
func (c *simClient) run(requests int) {
	for range requests {
		if c.ended() || c.stopped {
			return
		}
		c.step()
		if c.r.IntN(3) == 0 {
			time.Sleep(time.Duration(c.r.IntN(200)) * time.Millisecond)
		}
	}
}

// wrong fails the test.
func (c *simClient) wrong(format string, args ...any) {
	c.stopped = true
	c.t.Errorf("client %d: %s\nafter\n%s", c.k, fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
}

// ok reports whether a call that cannot fail did not. It fails if the store came to
// its end meanwhile, or if the client had no patience.
func (c *simClient) ok(call string, err error) bool {
	switch {
	case err == nil:
		return true
	case c.ended():
		c.stopped = true
	case !errors.Is(err, context.DeadlineExceeded):
		c.wrong("%s: %v", call, err)
	}
	return false
}

// patience is the context of a request.
func (c *simClient) patience() (context.Context, context.CancelFunc) {
	if c.r.IntN(10) == 0 {
		return context.WithTimeout(c.t.Context(), time.Duration(c.r.IntN(3000))*time.Millisecond)
	}
	return context.WithCancel(c.t.Context())
}

// request makes a request that changes an app to the last of some states, each of
// which is that after a part of the request.
func (c *simClient) request(id uint32, states []*simApp, what string, call func(context.Context) error) {
	c.log = append(c.log, fmt.Sprintf("%s app %d: %s", time.Now().Format(time.TimeOnly), id, what))
	c.log = c.log[max(0, len(c.log)-10):]
	ctx, cancel := c.patience()
	defer cancel()
	c.under, c.maybe = id, states
	err := call(ctx)
	if c.ok(what, err) {
		c.acknowledged(states[len(states)-1])
	} else if !c.stopped { // what became of it can be read, and is so from then on
		c.settle(c.t.Context())
	}
}

// acknowledged notes what the client was told, unless the store came to its end
// before that.
func (c *simClient) acknowledged(a *simApp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left != nil {
		c.stopped = true
		return
	}
	c.apps[c.under], c.maybe = a, nil
}

// settle asks what became of a request.
func (c *simClient) settle(ctx context.Context) {
	if c.maybe == nil {
		return
	}
	got, err := c.read(ctx, c.under)
	if !c.ok("reading what became of a request", err) {
		return
	}
	var why []string
	for _, a := range append([]*simApp{c.apps[c.under]}, c.maybe...) {
		d := a.differs(got)
		if d == "" {
			c.acknowledged(a)
			return
		}
		why = append(why, d)
	}
	c.wrong("app %d is neither as it was nor as a request may have left it:\n%s", c.under, strings.Join(why, "\n"))
}

// compare reads everything that the client knows.
func (c *simClient) compare(ctx context.Context) {
	c.settle(ctx)
	for _, id := range slices.Sorted(maps.Keys(c.apps)) {
		if c.stopped {
			return
		}
		got, err := c.read(ctx, id)
		if !c.ok("reading", err) {
			return
		}
		if d := c.apps[id].differs(got); d != "" {
			c.wrong("app %d: %s", id, d)
		}
	}
}

// read reads an app as far as the client knows it.
func (c *simClient) read(ctx context.Context, id uint32) (*simFound, error) {
	got := &simFound{users: map[string]*simUser{}, revoked: map[string]int64{}}
	apps, err := c.store.Apps(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		if a.ID == id {
			got.exists, got.stamp = true, a.Description
		}
	}
	if got.exists {
		err = c.store.Export(ctx, id, nil, func(*audience.Attributes) error { return nil }, func(e *audience.Exported) error {
			if !shared(id) || strings.HasPrefix(e.Account, c.prefix()) {
				got.users[e.Account] = &simUser{kind: e.Kind, values: e.Values, tags: e.Tags, nick: e.Nick}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for n := range simAccounts {
		account := c.account(n)
		if got.revoked[account], err = c.store.RevokedUpTo(ctx, id, account); err != nil {
			return nil, err
		}
	}
	return got, nil
}

const simAccounts = 8 // of a client in an app

func (c *simClient) prefix() string { return fmt.Sprintf("c%d-", c.k) }

func (c *simClient) account(n int) string { return fmt.Sprintf("%s%0*d", c.prefix(), 1+n%3*12, n) }

func (c *simClient) some() string { return c.account(c.r.IntN(simAccounts)) }

func (c *simClient) bear() int { c.born++; return c.born }

// tag is one that only accounts of a kind of the client have.
func (c *simClient) tag(kind audience.Kind) string {
	return fmt.Sprintf("%s%d-%d", c.prefix(), kind, c.r.IntN(6))
}

// owner is the slot that names the client in all accounts of a kind.
func owner(kind audience.Kind) int { return int(kind) * 9 }

// randomChange is a change of one account.
func (c *simClient) randomChange(a *simApp) audience.Change {
	x := audience.Change{Account: c.some(), Create: c.r.IntN(8) > 0, Kind: audience.Kind(c.r.IntN(4) / 3), Attributes: storetest.Attributes}
	kind := x.Kind
	if u := a.users[x.Account]; u != nil {
		kind = u.kind
	}
	x.Set[owner(kind)] = c.prefix()
	if kind == audience.UserID {
		for range c.r.IntN(4) {
			slot := 1 + c.r.IntN(8)
			if c.r.IntN(3) == 0 {
				x.Remove.Add(slot)
			} else {
				x.Set[slot] = fmt.Sprint("v", c.r.IntN(4))
			}
		}
	}
	if x.Tags.Op = audience.TagOp(c.r.IntN(5)); x.Tags.Op != audience.KeepTags && x.Tags.Op != audience.ClearTags {
		for range 1 + c.r.IntN(3) {
			x.Tags.Tags = append(x.Tags.Tags, c.tag(kind))
		}
	}
	if c.r.IntN(4) == 0 {
		x.Profile.Nick = new(strings.Repeat("n", c.r.IntN(50)))
	}
	return x
}

// randomQuery is a question that only accounts of the client answer.
func (c *simClient) randomQuery(id uint32) (audience.Query, audience.Kind) {
	kind := audience.Kind(c.r.IntN(4) / 3)
	e := c.expr(kind, 2)
	if shared(id) {
		slot := owner(kind)
		e = audience.And{audience.Equals{Attr: audience.Ref{Slot: slot, Name: storetest.Attributes[slot].Name}, Values: []string{c.prefix()}}, e}
	}
	return audience.Query{Expr: e, Attributes: storetest.Attributes, Kind: kind}, kind
}

func (c *simClient) expr(kind audience.Kind, depth int) audience.Expr {
	if depth > 0 && c.r.IntN(2) == 0 {
		list := make([]audience.Expr, c.r.IntN(3))
		for i := range list {
			list[i] = c.expr(kind, depth-1)
		}
		return []audience.Expr{audience.And(list), audience.Or(list), audience.Not{Of: c.expr(kind, depth-1)}}[c.r.IntN(3)]
	}
	slot := owner(kind)
	if kind == audience.UserID {
		slot = 1 + c.r.IntN(8)
	}
	ref := audience.Ref{Slot: slot, Name: storetest.Attributes[slot].Name}
	return []audience.Expr{
		audience.And{}, audience.HasTag{Tag: c.tag(kind)}, audience.HasAttr{Attr: ref}, audience.Equals{Attr: ref, Values: []string{"v1", "v2"}},
	}[c.r.IntN(4)]
}
