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

// Fill names the attributes of the app, creates n accounts and gives each
// three attributes: sex of 2 values, city of 300 and country of 50, some of
// them much more frequent. It may be repeated. progress, if not nil, is told
// every second how many of how many users are done; each counts twice.
func Fill(ctx context.Context, t Target, n uint64, progress func(done, of uint64)) error {
	c, err := Dial(ctx, t, fillConnections)
	if err != nil {
		return err
	}
	defer c.Close()
	var names []string
	for slot, name := range attrNames {
		names = append(names, fmt.Sprintf("%q:%q", fmt.Sprint(slot), name))
	}
	if _, err := c.Call(ctx, "timpush/set_attr_name", `{"AttrNames":{`+strings.Join(names, ",")+`}}`); err != nil {
		return err
	}
	users, each := InOrder(n), int(min(n, fillUsers))
	for i, w := range []Workload{Import(users, each), setAll(users, each)} {
		o := Options{Duration: fillTime, Requests: (n + uint64(each) - 1) / uint64(each)}
		if progress != nil {
			o.Progress = func(requests uint64) { progress(uint64(i)*n+min(requests*uint64(each), n), 2*n) }
		}
		if err := c.all(ctx, w, o); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// Restore gives back what RemoveAttr took from the first n users of an order.
func (c *Client) Restore(ctx context.Context, u Users, n uint64) error {
	if n == 0 {
		return nil
	}
	each := min(n, fillUsers)
	o := Options{Duration: fillTime, Requests: (n + each - 1) / each}
	if err := c.all(ctx, SetAttr(u, int(each)), o); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// all is Run for requests that must all succeed.
func (c *Client) all(ctx context.Context, w Workload, o Options) error {
	r, err := c.Run(ctx, w, o)
	if err := cmp.Or(err, r.Err()); err != nil {
		return err
	}
	if r.Requests < o.Requests {
		return fmt.Errorf("only %d of %d requests in %v", r.Requests, o.Requests, o.Duration)
	}
	return nil
}
