package load

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// Users in one request and connections of Fill and Restore. More users are
// refused (spec/timpush-api.md, 4).
const (
	fillUsers       = 100
	fillConnections = 32
	fillTime        = time.Hour
)

// Fill names the attributes of the app, creates n accounts and gives each account three
// attributes: sex of 2 values, city of 300 and country of 50. Some values are much more
// frequent than others. Fill may be repeated. It calls progress, if that is not nil, every
// second; each user counts twice.
func Fill(ctx context.Context, t Target, n uint64, progress func(done, total uint64)) error {
	return FillAll(ctx, []Target{t}, n, progress)
}

// FillAll fills apps of one server as Fill does, with n accounts each.
func FillAll(ctx context.Context, targets []Target, n uint64, progress func(done, total uint64)) error {
	c, err := DialAll(ctx, targets, fillConnections)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.NameAttrs(ctx, attrNames[:]); err != nil {
		return err
	}
	users, batch, total := InOrder(n), min(n, fillUsers), n*uint64(len(targets))
	for i, w := range []Workload{Import(users, int(batch)), setAll(users, int(batch))} {
		w.Requests = (n + batch - 1) / batch // the last request may have the first users again
		o := Options{Duration: fillTime}
		if progress != nil {
			o.Progress = func(requests uint64) { progress(uint64(i)*total+min(requests*batch, total), 2*total) }
		}
		if err := c.runAll(ctx, w.Over(len(targets)), o); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// NameAttrs names the attributes of all targets, by slot.
func (c *Client) NameAttrs(ctx context.Context, names []string) error {
	var slots []string
	for slot, name := range names {
		slots = append(slots, fmt.Sprintf("%q:%q", fmt.Sprint(slot), name))
	}
	const command = "timpush/set_attr_name"
	body := `{"AttrNames":{` + strings.Join(slots, ",") + `}}`
	// The first target has a call of its own, because Call returns the text of a refusal.
	if _, err := c.Call(ctx, command, body); err != nil {
		return err
	}
	others := len(c.conns[0].heads) - 1
	if others == 0 {
		return nil
	}
	return c.Prepare(ctx, Workload{
		Requests: uint64(others),
		Append:   func(dst []byte, _ uint64) (string, []byte) { return command, append(dst, body...) },
		Target:   func(seq uint64) int { return 1 + int(seq) },
	})
}

// Prepare makes all requests of a workload, Workload.Requests of them, however long that
// takes. A request in error is an error.
func (c *Client) Prepare(ctx context.Context, w Workload) error {
	return c.runAll(ctx, w, Options{Duration: fillTime})
}

// Restore gives back what RemoveAttr took from the first n users of an order.
func (c *Client) Restore(ctx context.Context, u Users, n uint64) error {
	if n == 0 {
		return nil
	}
	batch := min(n, fillUsers)
	w := SetAttr(u, int(batch))
	w.Requests = (n + batch - 1) / batch
	if err := c.Prepare(ctx, w); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// runAll runs requests that must all be made and succeed.
func (c *Client) runAll(ctx context.Context, w Workload, o Options) error {
	r, err := c.Run(ctx, w, o)
	if err := cmp.Or(err, r.Err()); err != nil {
		return err
	}
	if r.Requests < w.Requests {
		return fmt.Errorf("only %d of %d requests in %v", r.Requests, w.Requests, o.Duration)
	}
	return nil
}
