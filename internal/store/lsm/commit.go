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
type committer struct {
	db   *pebble.DB
	wake chan struct{} // holds at most one token: the open group has changes
	quit chan struct{}
	done chan struct{} // closed when run has returned

	durable atomic.Uint64 // every group up to this one is on disk

	mu     sync.Mutex
	taken  sync.Cond // the open group was taken: there is room
	open   *group
	flying *group // on its way to the disk, or the last that was
	err    error  // set once: no further change is taken

	observe func(changes int, took time.Duration) // after each commit
}

// A group is a set of changes that become durable together.
type group struct {
	seq   uint64 // counts from 1
	batch *pebble.Batch
	done  chan struct{} // closed when the group is on disk or err says why not
	err   error
}

func newCommitter(db *pebble.DB) *committer {
	c := &committer{
		db:      db,
		wake:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
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
// groups have the order of memory. If add fails write was not called.
func (c *committer) add(write func(*pebble.Batch)) (*group, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.open.batch.Len() > maxGroupBytes {
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
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return g, nil
}

// fail makes every further change fail; the caller holds mu.
func (c *committer) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.taken.Broadcast()
}

// run commits groups until stop.
func (c *committer) run() {
	defer close(c.done)
	for {
		select {
		case <-c.wake:
			c.commit()
		case <-c.quit:
			c.commit() // what came before stop
			return
		}
	}
}

// commit makes the open group durable and tells those who wait.
func (c *committer) commit() {
	c.mu.Lock()
	g := c.open
	if g.batch.Empty() || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.flying = g
	c.open = c.newGroup(g.seq + 1)
	c.taken.Broadcast()
	c.mu.Unlock()

	start, changes := time.Now(), int(g.batch.Count())
	g.err = c.db.Apply(g.batch, pebble.Sync)
	if g.err == nil {
		c.durable.Store(g.seq)
		g.err = g.batch.Close()
	}
	if g.err != nil {
		c.mu.Lock()
		c.fail(fmt.Errorf("committing: %w", g.err))
		// The group that gathered meanwhile rests on this one.
		c.open.err = c.err
		close(c.open.done)
		c.mu.Unlock()
	}
	close(g.done)
	c.observe(changes, time.Since(start))
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
	c.mu.Lock()
	g := c.open
	if c.flying != nil && seq <= c.flying.seq {
		g = c.flying
	}
	c.mu.Unlock()
	return g.wait(ctx)
}

// stop commits what was added and ends run.
func (c *committer) stop() {
	close(c.quit)
	<-c.done
	c.mu.Lock()
	c.fail(errClosed)
	c.mu.Unlock()
}
