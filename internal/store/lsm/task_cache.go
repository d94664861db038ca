package lsm

import (
	"context"
	"fmt"
	"sync"

	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// An audienceCache has audiences, those that were asked for last: another is read from
// the tables again. So a thousand tasks that wait take no more memory than some that
// are being sent.
type audienceCache struct {
	mu    sync.Mutex
	known map[taskOf]*frozen
	bytes int64
}

// A taskOf names a task of an app. Another app may get the SDKAppID of one that was deleted,
// and counts its tasks from 1 too.
type taskOf struct {
	x      *tenant
	number uint64
}

// maxAudienceBytes bounds the memory of an audienceCache, unless a single audience is
// larger. That is some ten audiences of ten million accounts.
const maxAudienceBytes = 16 << 20

func (c *audienceCache) get(x *tenant, number uint64) *frozen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[taskOf{x, number}]
}

func (c *audienceCache) put(x *tenant, number uint64, f *frozen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[taskOf]*frozen{}
	}
	place := taskOf{x, number}
	if old := c.known[place]; old != nil {
		c.bytes -= old.memory()
	}
	c.known[place] = f
	c.bytes += f.memory()
	for other, old := range c.known { // whichever comes first
		if c.bytes <= maxAudienceBytes {
			break
		}
		if other != place {
			c.bytes -= old.memory()
			delete(c.known, other)
		}
	}
}

// forget forgets an audience that is worked on no more.
func (c *audienceCache) forget(x *tenant, number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.known[taskOf{x, number}]; old != nil {
		c.bytes -= old.memory()
		delete(c.known, taskOf{x, number})
	}
}

func (c *audienceCache) memory() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// A frozen is the audience of a task, all of it in memory as long as somebody has it.
type frozen struct {
	parts []*numbers // by upper half; nil: there are none
	n     uint64
}

func (f *frozen) has(n uint32) bool {
	upper := n >> 16
	return int(upper) < len(f.parts) && f.parts[upper] != nil && f.parts[upper].has(uint16(n))
}

// chosen reports whether a device is meant: it is in the audience, or its user is.
func (f *frozen) chosen(u *index.View, n uint32) bool {
	if f.has(n) {
		return true
	}
	owner, bound := u.Owner(n)
	return bound && f.has(owner)
}

// each calls f with the accounts from a number on, in order, until f returns false.
func (f *frozen) each(from uint32, do func(n uint32) bool) {
	for upper := int(from >> 16); upper < len(f.parts); upper++ {
		if f.parts[upper] == nil {
			continue
		}
		low := uint16(0)
		if upper == int(from>>16) {
			low = uint16(from)
		}
		if !f.parts[upper].each(low, func(low uint16) bool { return do(uint32(upper)<<16 | uint32(low)) }) {
			return
		}
	}
}

// memory returns the bytes of an audience.
func (f *frozen) memory() int64 {
	bytes := 100 + 8*len(f.parts)
	for _, s := range f.parts {
		if s != nil {
			bytes += s.bytes() + 50
		}
	}
	return int64(bytes)
}

// set puts in the accounts with an upper half.
func (f *frozen) set(upper uint32, s *numbers) {
	for uint32(len(f.parts)) <= upper {
		f.parts = append(f.parts, nil)
	}
	f.parts[upper] = s
	f.n += uint64(s.n)
}

// audience returns the audience of a task, from memory or tables.
func (t *Tasks) audience(ctx context.Context, x *tenant, number uint64) (*frozen, error) {
	if f := t.audiences.get(x, number); f != nil {
		return f, nil
	}
	f := &frozen{}
	err := t.journal.Read(func(v *journal.View) error {
		return v.Walk(ctx, tableAudience, x.id, taskKey(number), nil, func(key, value []byte) (bool, error) {
			s, err := parseNumbers(value)
			if err != nil {
				return false, fmt.Errorf("audience of task %d of app %d: %w", number, x.id, err)
			}
			f.set(uint32(key[8])<<8|uint32(key[9]), s)
			return true, ctx.Err()
		})
	})
	if err != nil {
		return nil, err
	}
	t.audiences.put(x, number, f)
	return f, nil
}

// A taskCache has what some tasks are, with their messages: those that were made or asked for
// last. Each step of a task asks, so it has as many as may be on their way at once.
type taskCache struct {
	mu    sync.Mutex
	known map[taskOf]cachedTask
	bytes int
}

// A cachedTask is the record of a task, which is parsed when it is asked for first.
type cachedTask struct {
	record func() (*taskRecord, error)
	bytes  int
}

// maxTaskBytes bounds the records of a taskCache. A usual one has half a kilobyte, the
// largest some ten.
const maxTaskBytes = 4 << 20

func (c *taskCache) get(place taskOf) (record func() (*taskRecord, error), known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, known := c.known[place]
	return t.record, known
}

// put puts in the record of a task, and returns it parsed.
func (c *taskCache) put(place taskOf, value []byte) func() (*taskRecord, error) {
	t := cachedTask{bytes: len(value), record: sync.OnceValues(func() (*taskRecord, error) { return parseTaskRecord(place.x.id, place.number, value) })}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[taskOf]cachedTask{}
	}
	c.drop(place)
	for old := range c.known { // whichever comes first
		if c.bytes+t.bytes <= maxTaskBytes {
			break
		}
		c.drop(old)
	}
	c.known[place] = t
	c.bytes += t.bytes
	return t.record
}

func (c *taskCache) forget(place taskOf) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(place)
}

func (c *taskCache) drop(place taskOf) {
	c.bytes -= c.known[place].bytes
	delete(c.known, place)
}
