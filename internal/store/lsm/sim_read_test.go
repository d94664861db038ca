package lsm_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/store/storetest"
)

// readStep looks at something. What only this client changes is exactly as it knows.
func (c *simClient) readStep(id uint32, a *simApp) {
	switch n := c.r.IntN(20); {
	case n < 3:
		c.usersStep(id, a)
	case n < 6:
		c.estimateStep(id, a)
	case n < 7:
		c.explainStep(id, a)
	case n < 10:
		c.listStep(id, a)
	case n < 16:
		c.pageStep()
	case n < 18:
		c.seeClock()
	case n < 19 || shared(id):
		got, err := c.read(c.t.Context(), id)
		if c.ok("reading", err) {
			if d := a.differs(got); d != "" {
				c.wrong("app %d: %s", id, d)
			}
		}
	default:
		c.topStep(id, a)
	}
}

func (c *simClient) usersStep(id uint32, a *simApp) {
	accounts := []string{c.some(), c.some(), "nobody"}
	users, err := c.store.Users(c.t.Context(), id, accounts)
	if !c.ok("Users", err) {
		return
	}
	for i, account := range accounts {
		u := a.users[account]
		if users[i].Exists != (u != nil) || u != nil && (users[i].Kind != u.kind || users[i].Values != u.values || !slices.Equal(users[i].Tags, u.tags)) {
			c.wrong("app %d: %s is %+v, want %v", id, account, users[i], simShow(u))
		}
	}
}

func (c *simClient) estimateStep(id uint32, a *simApp) {
	q, kind := c.randomQuery(id)
	got, err := c.store.Estimate(c.t.Context(), id, q, 3)
	if !c.ok("Estimate", err) {
		return
	}
	want := a.selected(q.Expr, kind)
	if got.Count != uint64(len(want)) || len(got.Sample) != min(3, len(want)) || slices.ContainsFunc(got.Sample, func(x string) bool { return want[x] == nil }) {
		c.wrong("app %d: Estimate(%s) = %+v, want %q", id, q.Expr, got, slices.Sorted(maps.Keys(want)))
	}
}

func (c *simClient) explainStep(id uint32, a *simApp) {
	q, kind := c.randomQuery(id)
	account := c.some()
	u := a.users[account]
	got, err := c.store.Explain(c.t.Context(), id, q, account)
	switch {
	case u == nil:
		if !errors.Is(err, apierr.UnknownAccount) && c.ok("Explain", err) {
			c.wrong("app %d: Explain(%s, %s) = %+v, there is no such account", id, q.Expr, account, got)
		}
	case c.ok("Explain", err) && got.Match != (u.kind == kind && q.Expr.Matches(u.traits())):
		c.wrong("app %d: Explain(%s, %s) = %+v of %s", id, q.Expr, account, got, simShow(u))
	}
}

// listStep reads the first page of a list.
func (c *simClient) listStep(id uint32, a *simApp) {
	q, kind := c.randomQuery(id)
	l := &simList{app: id, query: q, members: a.selected(q.Expr, kind), opening: c.opening}
	if !c.page(l, a) || l.next == "" {
		return
	}
	if c.r.IntN(2) == 0 {
		c.lists = append(c.lists, l)
		return
	}
	// Members are deleted and others made before the next page is read.
	for l.next != "" && !c.stopped {
		c.deleteStep(id, c.apps[id])
		if c.saveStep(id, c.apps[id]); c.r.IntN(2) == 0 && !c.stopped {
			c.changeStep(id, c.apps[id])
		}
		if c.stopped || !c.page(l, c.apps[id]) {
			return
		}
	}
}

// pageStep reads the next page of a list.
func (c *simClient) pageStep() {
	if len(c.lists) == 0 {
		return
	}
	i := c.r.IntN(len(c.lists))
	l := c.lists[i]
	if !c.page(l, c.apps[l.app]) || l.next == "" {
		c.lists = slices.Delete(c.lists, i, i+1)
	}
}

// page reads a page and reports whether the list may go on. It shows members of the
// first page's moment that were not deleted since, each once, and all of them in
// the end: never somebody else.
func (c *simClient) page(l *simList, a *simApp) bool {
	var gone *apierr.Kind
	switch {
	case !a.exists:
		gone = apierr.UnknownApp
	case l.next != "" && (l.opening != c.opening || time.Since(l.used) > 5*time.Minute || a.ends != l.ends):
		gone = apierr.PageExpired
	}
	call := fmt.Sprintf("List(%d, %s, %q)", l.app, l.query.Expr, l.next)
	l.used, l.ends = time.Now(), a.ends
	p, err := c.store.List(c.t.Context(), l.app, l.query, 1+c.r.IntN(2), l.next)
	if gone != nil {
		if !errors.Is(err, gone) && c.ok(call, err) {
			c.wrong("%s = %+v, want %v", call, p, gone)
		}
		return false
	}
	if !c.ok(call, err) {
		return false
	}
	for account, u := range l.members {
		if now := a.users[account]; now == nil || now.born != u.born {
			delete(l.members, account)
		}
	}
	for _, account := range p.Accounts {
		if l.members[account] == nil {
			c.wrong("%s shows %q, who is not in the audience, or a second time", call, account)
		}
		delete(l.members, account)
	}
	if l.next = p.Next; p.Next == "" && len(l.members) > 0 {
		c.wrong("%s is the last page, and %q were not shown", call, slices.Sorted(maps.Keys(l.members)))
	}
	return true
}

// topStep counts accounts, tags and values of an app that nobody else uses.
func (c *simClient) topStep(id uint32, a *simApp) {
	ctx, slot := c.t.Context(), c.r.IntN(audience.Slots)
	tags, values := map[string]uint64{}, map[string]uint64{}
	for _, u := range a.users {
		for _, tag := range u.tags {
			tags[tag]++
		}
		if v := u.values[slot]; v != "" {
			values[v]++
		}
	}
	n, err := c.store.Count(ctx, id)
	if c.ok("Count", err) && n != len(a.users) {
		c.wrong("app %d has %d accounts, want %d", id, n, len(a.users))
	}
	list, total, err := c.store.Tags(ctx, id, "", 1000)
	if c.ok("Tags", err) && (total != len(tags) || !maps.Equal(counted(list), tags)) {
		c.wrong("app %d: Tags = %v, want %v", id, list, tags)
	}
	list, total, err = c.store.AttrValues(ctx, id, slot, "", 1000)
	if c.ok("AttrValues", err) && (total != len(values) || !maps.Equal(counted(list), values)) {
		c.wrong("app %d: AttrValues(%d) = %v, want %v", id, slot, list, values)
	}
}

func counted(list []audience.ValueCount) map[string]uint64 {
	counts := map[string]uint64{}
	for _, v := range list {
		counts[v.Value] = v.Count
	}
	return counts
}

// seeClock reads the clock of another client. What it shows may not be taken back.
func (c *simClient) seeClock() {
	other := c.clients[c.r.IntN(len(c.clients))]
	q := audience.Query{Expr: audience.Equals{Attr: audience.Ref{Name: storetest.Attributes[0].Name}, Values: []string{other.prefix()}}, Attributes: storetest.Attributes}
	account := other.prefix() + "clock"
	var shown string
	var err error
	if c.r.IntN(2) == 0 {
		var e audience.Explanation
		if e, err = c.store.Explain(c.t.Context(), clockApp, q, account); errors.Is(err, apierr.UnknownAccount) {
			err = nil
		} else if err == nil {
			shown = e.Traits.Values[1]
		}
	} else {
		var users []audience.User
		if users, err = c.store.Users(c.t.Context(), clockApp, []string{account}); err == nil {
			shown = users[0].Values[1]
		}
	}
	if !c.ok("reading a clock", err) {
		return
	}
	n, _ := strconv.Atoi(shown)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.left != nil:
	case n < c.seen[other.k]:
		c.t.Errorf("client %d: %s is %d, and %d was shown before", c.k, account, n, c.seen[other.k])
	default:
		c.seen[other.k] = n
	}
}
