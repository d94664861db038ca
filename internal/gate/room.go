package gate

import (
	"sync"
	"sync/atomic"

	"tidings/internal/apierr"
)

// A room is something that requests of all apps take from and give back: places, or
// bytes. One app gets a share of it at most, so that it cannot take it from the
// others.
type room struct {
	size, share int64
	used        atomic.Int64
	apps        sync.Map // uint32 to *atomic.Int64; only apps that exist get in
}

// minSlotShare is the smallest number of places of an app, if there are so many.
const minSlotShare = 64

// newRoom creates a room of which an app gets a quarter, and no less than leastShare.
func newRoom(size, leastShare int64) *room {
	return &room{size: size, share: min(size, max(size/4, leastShare))}
}

// full reports whether nothing is left.
func (r *room) full() bool { return r.used.Load() >= r.size }

// rooms are what requests of one kind take from.
type rooms struct {
	slots  *room // requests whose body is coming or that are worked on
	bodies *room // bytes of their bodies
}

// full is the error of a request for which there is no place left.
func (r *rooms) full() error {
	return apierr.Overloaded.Errorf("the server works on %d requests, as many as it takes; try again later", r.slots.size)
}

// A claim is what one request has taken of a room.
type claim struct {
	room *room
	app  *atomic.Int64
	n    int64
}

// claim begins to take something for an app.
func (r *room) claim(app uint32) claim {
	v, ok := r.apps.Load(app)
	if !ok {
		v, _ = r.apps.LoadOrStore(app, new(atomic.Int64))
	}
	return claim{room: r, app: v.(*atomic.Int64)}
}

// A taken is the outcome of claim.take.
type taken int

const (
	claimed  taken = iota
	roomFull       // nobody gets more
	appFull        // the app has its share
)

// take takes n more, or nothing.
func (c *claim) take(n int64) taken {
	if c.app.Add(n) > c.room.share {
		c.app.Add(-n)
		return appFull
	}
	if c.room.used.Add(n) > c.room.size {
		c.room.used.Add(-n)
		c.app.Add(-n)
		return roomFull
	}
	c.n += n
	return claimed
}

// shrink gives back all but n.
func (c *claim) shrink(n int64) {
	if spare := c.n - n; spare > 0 {
		c.app.Add(-spare)
		c.room.used.Add(-spare)
		c.n = n
	}
}

// release gives everything back.
func (c *claim) release() { c.shrink(0) }
