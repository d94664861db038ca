package lsm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// maxGroupBytes is how much a group may hold before further changes wait for
// the one before it to reach the disk.
const maxGroupBytes = 8 << 20

var errClosed = errors.New("the store is closed")

// A committer makes changes durable in groups: while one group is on its way
// to the disk, the changes of all requests that come meanwhile gather in the
// next, in the order in which they were made in memory. Each group is one write
// and one fsync, and is on disk whole or not at all.
//
// Every group ends: it becomes durable, or it fails, and then so does each one
// after it, because it rests on what was lost.
type committer struct {
	db    *pebble.DB
	fault *fault
	room  int           // maxGroupBytes, less in tests
	wake  chan struct{} // holds at most one token: the open group has changes, or the committer is closing
	done  chan struct{} // closed when run has returned

	durable atomic.Uint64 // every group up to this one is on disk

	mu      sync.Mutex
	taken   sync.Cond // the open group was taken: there is room
	open    *group
	flying  *group // on its way to the disk, or the last that was
	err     error  // set once: no further change is taken
	closing bool   // the open group is the last

	observe func(changes int, took time.Duration) // after each commit
}

// A group is a set of changes that become durable together.
type group struct {
	seq   uint64 // counts from 1
	batch *pebble.Batch
	done  chan struct{} // closed when the group is on disk or err says why not
	err   error
}

func newCommitter(db *pebble.DB, f *fault) *committer {
	c := &committer{
		db:      db,
		fault:   f,
		room:    maxGroupBytes,
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		observe: func(int, time.Duration) {},
	}
	c.taken.L = &c.mu
	c.open = c.newGroup(1)
	return c
}

func (c *committer) newGroup(seq uint64) *group {
	return &group{seq: seq, batch: c.db.NewBatch(), done: make(chan struct{})}
}

// add lets write put changes into the open group and gives the group, or nil
// if it wrote nothing. The caller holds the lock of what it changes, so that
// groups have the order of memory. If add fails write was not called. While the
// open group is full, add waits for the disk, whatever becomes of the request.
func (c *committer) add(write func(*pebble.Batch)) (*group, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.open.batch.Len() > c.room {
		c.taken.Wait()
	}
	if c.err != nil {
		return nil, c.err
	}
	g := c.open
	before := g.batch.Count()
	write(g.batch)
	if g.batch.Count() == before {
		return nil, nil
	}
	c.poke()
	return g, nil
}

// poke wakes run.
func (c *committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run commits groups until stop.
func (c *committer) run() {
	defer close(c.done)
	for range c.wake {
		if last := c.commit(); last {
			return
		}
	}
}

// commit makes the open group durable and tells those who wait. It tells
// whether there will be no other.
func (c *committer) commit() (last bool) {
	c.mu.Lock()
	g, observe := c.open, c.observe
	last = c.closing
	if failed := c.err != nil && !errors.Is(c.err, errClosed); failed || g.batch.Empty() {
		c.mu.Unlock()
		return last
	}
	c.flying = g
	c.open = c.newGroup(g.seq + 1)
	c.taken.Broadcast()
	c.mu.Unlock()

	start, changes := time.Now(), int(g.batch.Count())
	if g.err = c.fault.err(); g.err == nil {
		g.err = c.db.Apply(g.batch, pebble.Sync)
	}
	if g.err == nil {
		g.err = c.fault.err() // Apply says nothing of what it told the logger
	}
	if g.err != nil {
		c.fail(fmt.Errorf("committing: %w", g.err))
	} else {
		c.durable.Store(g.seq)
		_ = g.batch.Close() // only gives its memory back
	}
	close(g.done)
	observe(changes, time.Since(start))
	return last
}

// fail ends the open group, which rests on one that failed, and all that would
// follow.
func (c *committer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.open.err = err
	close(c.open.done)
	c.taken.Broadcast()
}

// wait returns when the group is durable.
func (g *group) wait(ctx context.Context) error {
	select {
	case <-g.done:
		return g.err
	default:
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waitFor returns when the group with a number is durable. Zero is no group.
func (c *committer) waitFor(ctx context.Context, seq uint64) error {
	if seq <= c.durable.Load() {
		return nil
	}
	// One group is in flight at a time, so a number that is not durable is
	// that of the flying group, or that of the open one.
	c.mu.Lock()
	g := c.open
	if c.flying != nil && seq <= c.flying.seq {
		g = c.flying
	}
	durable := seq <= c.durable.Load()
	c.mu.Unlock()
	if durable {
		return nil
	}
	return g.wait(ctx)
}

// newest is the number of the last group that may have reached the database.
func (c *committer) newest() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flying == nil {
		return 0
	}
	return c.flying.seq
}

// state is why no change is taken; nil if they are.
func (c *committer) state() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.fault.err()
}

// stop takes no more changes, commits those that were, and ends run.
func (c *committer) stop() {
	c.mu.Lock()
	if c.err == nil {
		c.err = errClosed
	}
	c.closing = true
	c.taken.Broadcast()
	c.poke()
	c.mu.Unlock()
	<-c.done
}

// A fault is what made the database give up. Pebble tells it only to its
// logger, which is expected to end the process.
type fault struct {
	cause atomic.Pointer[error]

	// What the database goes on in spite of, so far.
	mu     sync.Mutex
	recent error
	since  time.Time // of the last log line
	last   time.Time
}

const (
	troubleTime = 10 * time.Second // how long a passing trouble makes the store unready
	troubleLog  = 10 * time.Second // between log lines about it
)

// background notes a passing trouble and tells whether to log it.
func (f *fault) background(err error) (log bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent, f.last = err, time.Now()
	if log = f.last.Sub(f.since) > troubleLog; log {
		f.since = f.last
	}
	return log
}

// trouble is what went wrong a moment ago.
func (f *fault) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last) < troubleTime {
		return f.recent
	}
	return nil
}

func (f *fault) set(err error) { f.cause.CompareAndSwap(nil, &err) }

func (f *fault) err() error {
	if err := f.cause.Load(); err != nil {
		return *err
	}
	return nil
}
