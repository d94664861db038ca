package lsm_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/storetest"
)

// apart is an account that does not share the place of others, and so need not
// wait for their changes.
func apart(s *opened, others ...string) string {
	for i := 0; ; i++ {
		name := fmt.Sprint("apart", i)
		if !slices.ContainsFunc(others, func(o string) bool { return s.lsm.SharePlace(name, o) }) {
			return name
		}
	}
}

func set(account, value string) audience.Change {
	return audience.Change{Account: account, Create: true, Set: audience.Values{value}, Attributes: storetest.Attributes}
}

// calls are calls of a store under way.
type calls struct {
	t  *testing.T
	wg sync.WaitGroup
	mu sync.Mutex
	// ended tells how each that has returned did.
	ended map[string]error
}

func (c *calls) start(name string, f func() error) {
	c.wg.Go(func() {
		err := f()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended == nil {
			c.ended = map[string]error{}
		}
		c.ended[name] = err
	})
}

// want waits until nothing moves and compares which calls have returned.
func (c *calls) want(names ...string) {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range names {
		if _, ok := c.ended[n]; !ok {
			c.t.Errorf("%s has not returned", n)
		}
	}
	if len(c.ended) != len(names) {
		c.t.Errorf("returned: %v, want only %q", c.ended, names)
	}
}

// finish opens the gate, waits for all calls and compares their errors: those that want
// does not name are nil.
func (c *calls) finish(g *faulty.Gate, want map[string]error) {
	c.t.Helper()
	g.Lift()
	c.wg.Wait()
	for name, err := range c.ended {
		if !errors.Is(err, want[name]) {
			c.t.Errorf("%s: %v, want %v", name, err, want[name])
		}
	}
}

func (c *calls) running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ended) < 50
}
