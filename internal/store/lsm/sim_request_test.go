package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/store/storetest"
)

// step makes a request, or reads something.
func (c *simClient) step() {
	ids := slices.Sorted(maps.Keys(c.apps))
	id := ids[c.r.IntN(len(ids))]
	if c.r.IntN(2) == 0 { // so that enough happens to one of them
		id = ids[c.opening%len(ids)]
	}
	a := c.apps[id]
	if !a.exists {
		c.absent(id, a)
		return
	}
	switch n := c.r.IntN(100); {
	case n < 30:
		c.changeStep(id, a)
	case n < 38:
		c.importStep(id, a)
	case n < 48:
		c.deleteStep(id, a)
	case n < 53:
		c.kickStep(id, a)
	case n < 58:
		c.clockStep()
	case n < 63:
		c.saveStep(id, a)
	case n < 65 && !shared(id):
		c.replaceStep(id, a)
	default:
		c.readStep(id, a)
	}
}

// absent is a step with an app that does not exist.
func (c *simClient) absent(id uint32, a *simApp) {
	if c.r.IntN(2) == 0 {
		c.saveStep(id, a)
		return
	}
	if _, err := c.store.Users(c.t.Context(), id, []string{c.some()}); !errors.Is(err, apierr.UnknownApp) && c.ok("Users", err) {
		c.wrong("app %d is there, and it was deleted", id)
	}
}

// replaceStep deletes an app and makes it again. It does not wait for the one to be
// durable before it asks for the other.
func (c *simClient) replaceStep(id uint32, a *simApp) {
	record := storetest.NewApp(id)
	record.Description = fmt.Sprint("stamp ", c.bear())
	deleted := a.clone()
	deleted.end()
	made := deleted.clone()
	made.save(record, c.bear)
	changed := made.clone()
	changes, _ := c.changes(changed, 3)
	steps := []func(context.Context) error{
		func(ctx context.Context) error { return c.store.DeleteApp(ctx, id) },
		func(ctx context.Context) error { return c.store.SaveApp(ctx, record) },
		func(ctx context.Context) error { _, err := c.store.Change(ctx, id, changes); return err },
	}
	n := 1 + c.r.IntN(3)
	c.request(id, []*simApp{deleted, made, changed}[:n], fmt.Sprintf("the first %d of: DeleteApp, SaveApp, Change %s", n, simChanges(changes)), func(ctx context.Context) error {
		errs := make(chan error, n)
		for i := range n {
			go func() { errs <- steps[i](ctx) }()
			for len(errs) <= i && c.store.lsm.Gone(id) == (i > 0) { // until it is so in memory
				time.Sleep(time.Millisecond)
			}
		}
		var all error
		for range n {
			all = errors.Join(all, <-errs)
		}
		return all
	})
}

func (c *simClient) saveStep(id uint32, a *simApp) {
	if shared(id) {
		return
	}
	record := storetest.NewApp(id)
	record.Description = fmt.Sprint("stamp ", c.bear())
	if admin := c.some(); c.r.IntN(2) == 0 && (a.users[admin] == nil || a.users[admin].kind == audience.UserID) {
		record.Admins = append(record.Admins, admin)
	}
	b := a.clone()
	b.save(record, c.bear)
	c.request(id, []*simApp{b}, fmt.Sprint("SaveApp with admins ", record.Admins), func(ctx context.Context) error { return c.store.SaveApp(ctx, record) })
}

func (c *simClient) changeStep(id uint32, a *simApp) {
	b := a.clone()
	changes, want := c.changes(b, 1+c.r.IntN(6))
	c.request(id, []*simApp{b}, "Change "+simChanges(changes), func(ctx context.Context) error {
		failures, err := c.store.Change(ctx, id, changes)
		var got []string
		for _, f := range failures {
			got = append(got, f.Account)
		}
		if err == nil && !slices.Equal(got, want) {
			c.wrong("app %d: %q could not be changed, want %q", id, got, want)
		}
		return err
	})
}

// simChanges writes changes in short.
func simChanges(changes []audience.Change) string {
	var b strings.Builder
	for _, x := range changes {
		fmt.Fprintf(&b, "%s %t %d %v %b %d %v; ", x.Account, x.Create, x.Kind, x.Set, x.Remove, x.Tags.Op, x.Tags.Tags)
	}
	return b.String()
}

// changes makes changes of an app and returns those accounts that cannot be changed.
func (c *simClient) changes(b *simApp, n int) (changes []audience.Change, failing []string) {
	for range n {
		x := c.randomChange(b)
		if b.change(&x, c.bear()) != nil {
			failing = append(failing, x.Account)
		}
		changes = append(changes, x)
	}
	return changes, failing
}

func (c *simClient) importStep(id uint32, a *simApp) {
	var batches [][]audience.Change
	var states []*simApp
	failing, what := 0, "Import"
	for range 2 + c.r.IntN(4) {
		a = a.clone()
		batch, f := c.changes(a, 1+c.r.IntN(4))
		batches, states, failing = append(batches, batch), append(states, a), failing+len(f)
		what += "; " + simChanges(batch)
	}
	c.request(id, states, what, func(ctx context.Context) error {
		failed := 0
		slow := func(yield func([]audience.Change) bool) { // as fast as its sender is
			for _, b := range batches {
				if !yield(b) {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		err := c.store.Import(ctx, id, slow, false, func(_ int, _ audience.Outcome, err *apierr.Error) {
			if err != nil {
				failed++
			}
		})
		if err == nil && failed != failing {
			c.wrong("app %d: %d could not be imported, want %d", id, failed, failing)
		}
		return err
	})
}

func (c *simClient) deleteStep(id uint32, a *simApp) {
	kind := audience.Kind(c.r.IntN(4) / 3)
	var accounts []string
	for range 1 + c.r.IntN(4) {
		accounts = append(accounts, c.some())
	}
	b := a.clone()
	want := b.remove(kind, accounts)
	c.request(id, []*simApp{b}, fmt.Sprintf("Delete %q of kind %d", accounts, kind), func(ctx context.Context) error {
		got, err := c.store.Delete(ctx, id, kind, accounts)
		for i := range got {
			if (got[i] == nil) != (want[i] == nil) || got[i] != nil && got[i].Kind != want[i] {
				c.wrong("app %d: deletion of %q: %v, want %v", id, accounts[i], got[i], want[i])
			}
		}
		return err
	})
}

func (c *simClient) kickStep(id uint32, a *simApp) {
	account, second := c.some(), time.Now().Unix()+c.r.Int64N(1000)
	b := a.clone()
	u := a.users[account]
	there := u != nil && u.kind == audience.UserID
	if there {
		b.revoked[account] = b.revoked[account].raised(simSpan{second, second})
		c.request(id, []*simApp{b}, fmt.Sprintf("Revoke %s %d", account, second), func(ctx context.Context) error {
			return c.store.Revoke(ctx, id, account, time.Unix(second, 0))
		})
	} else if err := c.store.Revoke(c.t.Context(), id, account, time.Unix(second, 0)); !errors.Is(err, apierr.UnknownAccount) && c.ok("Revoke", err) {
		c.wrong("app %d: %s was kicked and does not exist", id, account)
	}
}

// clockStep moves the clock of the client on, which the others read.
func (c *simClient) clockStep() {
	c.clock++
	x := audience.Change{Account: c.prefix() + "clock", Create: true, Attributes: storetest.Attributes}
	x.Set[0], x.Set[1] = c.prefix(), strconv.Itoa(c.clock)
	b := c.apps[clockApp].clone()
	_ = b.change(&x, c.bear()) // is never refused
	c.request(clockApp, []*simApp{b}, "clock "+x.Set[1], func(ctx context.Context) error {
		_, err := c.store.Change(ctx, clockApp, []audience.Change{x})
		return err
	})
}
