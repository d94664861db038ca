package journal

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// A group is a set of changes that become durable together.
//
// While one group is on its way to the disk, the changes of all requests that come
// meanwhile gather in the open one, in the order in which they were made in memory:
// a Commit is made under the lock of its app. Each group is one write and one fsync,
// and is on disk whole or not at all. One group is on its way at a time.
//
// Every group ends: it becomes durable, or it fails, and then so does each one after
// it, because it rests on what was lost.
type group struct {
	pos    Pos
	buf    []byte // room for the header, then blocks; the committer's once it took the group
	size   int    // bytes of changes in it
	bulk   int    // of these, those of bulk writers
	tables bool   // some entry is about a table
	tick   bool   // it holds no change
	after  []func()
	done   chan struct{} // closed when the group is durable and in the tables, or err says why not
	err    error
}

// newGroup returns an empty group, in the memory of one that was written if there is any.
func (db *DB) newGroup(pos Pos) *group {
	g := &group{pos: pos, done: make(chan struct{})}
	if n := len(db.spare); n > 0 {
		g.buf, db.spare = db.spare[n-1], db.spare[:n-1]
	} else {
		g.buf = make([]byte, groupHeader, 4<<10)
	}
	return g
}

// maxSpare is the largest memory of a group that is kept for others, in bytes.
const maxSpare = 2 << 20

func (g *group) empty() bool { return len(g.buf) == groupHeader }

// slowed is how long each change waits while checkpoints do not keep up with the log.
const slowed = 20 * time.Millisecond

// bulkShare is the part of a group that bulk writers may fill.
const bulkShare = 4

// Reserve returns when there is room for a change, or ctx has ended: too much may
// already wait for a slow disk. It is called before the lock of the app is taken, so
// that nobody waits for the disk under a lock. A bulk writer, one that has much to
// write and nobody who waits for each piece, gets a quarter of the room.
func (db *DB) Reserve(ctx context.Context, bulk bool) error {
	if db.checkpoints.behind.Load() {
		select {
		case <-time.After(slowed):
		case <-ctx.Done():
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		db.mu.Lock()
		err, room := db.err, db.room
		full := db.waiting > db.opts.Room || bulk && db.waitingBulk > db.opts.Room/bulkShare
		db.mu.Unlock()
		if err != nil || !full {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// Commit lets write change one app and adds what it puts into the batch to the open
// group, whose position it returns; 0 if that is nothing. The caller holds the lock
// of the app, so that groups have the order of memory, and waits for the position
// after it has let go. If Commit fails write was not called.
//
// A panic of write ends the process: memory would be changed by half.
func (db *DB) Commit(app uint32, bulk bool, write func(*Batch)) (pos Pos, err error) {
	if err := db.begin(); err != nil {
		return 0, err
	}
	b := batches.Get().(*Batch)
	defer batches.Put(b)
	b.entries, b.tables = b.entries[:0], false
	defer db.end()
	defer db.Guard()
	write(b)

	db.mu.Lock()
	defer db.mu.Unlock()
	if len(b.entries) == 0 {
		return 0, nil
	}
	g := db.groups[len(db.groups)-1]
	if g.size > 0 && g.size+len(b.entries) > db.opts.Room {
		db.seal(g.pos) // so that a group has no more bytes than Room, or one Commit
		g = db.groups[len(db.groups)-1]
	}
	before := len(g.buf)
	g.buf = binary.AppendUvarint(g.buf, uint64(app))
	g.buf = appendBytes(g.buf, b.entries)
	g.tables, g.tick = g.tables || b.tables, false
	size := len(g.buf) - before
	g.size += size
	db.waiting += size
	if bulk {
		g.bulk += size
		db.waitingBulk += size
	}
	db.poke()
	return g.pos, nil
}

// Guard ends the process if the function that deferred it panics. Whoever changes memory
// defers it after taking the lock: memory that is changed by half must not be seen.
func (db *DB) Guard() {
	if p := recover(); p != nil {
		db.fail(fmt.Errorf("panic while memory could be changed: %v\n%s", p, debug.Stack()))
		panic(p)
	}
}

// begin counts a Commit that is under way, if changes are taken.
func (db *DB) begin() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	err := cmp.Or(db.err, db.fault.err()) // fail ends those who wait, and sets err
	if err == nil {
		db.writers++
	}
	return err
}

// end ends what begin began.
func (db *DB) end() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.writers--; db.closing {
		db.poke()
	}
}

var batches = sync.Pool{New: func() any { return new(Batch) }}

// tick adds a group without a change, unless one waits to be written already, and returns
// the position.
func (db *DB) tick() Pos {
	db.mu.Lock()
	defer db.mu.Unlock()
	g := db.groups[len(db.groups)-1]
	if g.empty() && db.err == nil {
		g.buf = appendBytes(binary.AppendUvarint(g.buf, 0), nil)
		g.tick = true
		db.poke()
	}
	return g.pos
}

// Seal sends later changes into groups after a position. So of the app whose lock the
// caller holds, the memory and the groups up to that position hold the same.
func (db *DB) Seal(pos Pos) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.seal(pos)
}

func (db *DB) seal(pos Pos) {
	if g := db.groups[len(db.groups)-1]; g.pos == pos && db.err == nil {
		db.groups = append(db.groups, db.newGroup(pos+1))
	}
}

// ViewAt returns a function that waits for the tables as they are after the group
// with a position, and before any later group that holds something of the app whose
// lock the caller holds. Whoever gets a view closes it.
func (db *DB) ViewAt(pos Pos) func(context.Context) (*View, error) {
	var view *View
	// The tables stay open for the view from now on.
	err := db.enter()
	if err != nil {
		return func(context.Context) (*View, error) { return nil, err }
	}
	take := func() {
		snapshot, end := db.tables.snapshot()
		view = &View{snapshot, func() error {
			defer db.leave()
			return end()
		}}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.seal(pos)
	g := db.find(pos)
	if g == nil { // every group up to pos is in the tables, and nothing of the app is on its way
		take()
		return func(context.Context) (*View, error) { return view, nil }
	}
	if err := g.err; err != nil {
		db.leave()
		return func(context.Context) (*View, error) { return nil, err }
	}
	taken := make(chan struct{})
	g.after = append(g.after, func() {
		if err = g.err; err != nil {
			db.leave()
		} else {
			take()
		}
		close(taken)
	})
	return func(ctx context.Context) (*View, error) {
		select {
		case <-taken:
			return view, err
		case <-ctx.Done():
			go func() { // the view may yet come
				if <-taken; view != nil {
					_ = view.Close()
				}
			}()
			return nil, context.Cause(ctx)
		}
	}
}

// find returns the group with a position if it is not in the tables yet, else nil.
func (db *DB) find(pos Pos) *group {
	if uint64(pos) <= db.applied.Load() {
		return nil
	}
	if i := int(pos - db.groups[0].pos); i < len(db.groups) {
		return db.groups[i]
	}
	return nil
}

// poke wakes the committer.
func (db *DB) poke() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

// run writes groups until stop.
func (db *DB) run() {
	defer close(db.done)
	for range db.wake {
		for {
			g, last := db.take()
			if g == nil {
				if last {
					return
				}
				break
			}
			db.write(g)
		}
	}
}

// take returns the next group to write, if there is one, and reports whether there
// will be no other.
func (db *DB) take() (g *group, last bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for len(db.groups) > 1 && uint64(db.groups[0].pos) <= db.applied.Load() {
		db.groups[0] = nil
		db.groups = db.groups[1:]
	}
	g = db.groups[0]
	if db.err != nil && !errors.Is(db.err, errClosed) || g.empty() && len(db.groups) == 1 {
		return nil, db.closing && db.writers == 0
	}
	if len(db.groups) == 1 {
		db.groups = append(db.groups, db.newGroup(g.pos+1))
	}
	return g, false
}

// write makes a group durable, applies it to the tables, and tells those who wait.
func (db *DB) write(g *group) {
	start := time.Now()
	took, err := db.append(g)
	if err == nil {
		err = db.apply(g)
	}
	if err != nil {
		db.fail(fmt.Errorf("group %d: %w", g.pos, err))
		return
	}
	c := &db.checkpoints
	c.mu.Lock() // so that what is counted as written is what is applied
	db.mu.Lock()
	if g.err != nil { // the store failed meanwhile, and who waited knows
		db.mu.Unlock()
		c.mu.Unlock()
		return
	}
	c.wrote(int64(len(g.buf)), !g.tick)
	db.applied.Store(uint64(g.pos))
	db.appliedChain = db.chain
	db.tail = logEnd{db.segment.number, db.segment.records.Size(), db.second}
	after, observe := g.after, db.observe
	if cap(g.buf) <= maxSpare && len(db.spare) < 2 {
		db.spare = append(db.spare, g.buf[:groupHeader])
	}
	g.buf, g.after = nil, nil
	db.waiting -= g.size
	db.waitingBulk -= g.bulk
	close(db.room)
	db.room = make(chan struct{})
	db.mu.Unlock()
	c.mu.Unlock()
	for _, f := range after { // no later group is in the tables yet
		f()
	}
	close(g.done)
	observe(g.size, time.Since(start), took)
}

// append writes a group to the log.
func (db *DB) append(g *group) (took time.Duration, err error) {
	if err := db.fault.err(); err != nil {
		return 0, err
	}
	// What a later start could not read must not get there.
	if err := db.checkBlocks(g.buf[groupHeader:]); err != nil {
		return 0, fmt.Errorf("a change was to be written that could not be read again: %w", err)
	}
	if err := db.nextSegment(); err != nil {
		return 0, err
	}
	if n := len(g.buf) + groupTrailer; n > maxGroupBytes {
		return 0, fmt.Errorf("the group has %d bytes, a start reads no more than %d", n, maxGroupBytes)
	}
	db.second = max(db.second, time.Now().Unix())
	blocks := len(g.buf)
	b, chain := closeGroup(g.pos, g.buf, db.second, db.chain)
	start := time.Now()
	if err := db.segment.append(g.pos, b); err != nil {
		return 0, err
	}
	db.checkpoints.begin(db.segment.number, g.pos)
	db.chain = chain
	g.buf = b[:blocks]
	return time.Since(start), nil
}

// checkBlocks returns why a start could not read the entries of a group.
func (db *DB) checkBlocks(blocks []byte) error {
	return eachEntry(blocks, func(_ uint32, e entry) error {
		if e.kind == entryMemory {
			return db.memory.CheckEntry(e.value)
		}
		return db.tables.check(e)
	})
}

// apply applies a group to the tables.
func (db *DB) apply(g *group) error {
	var err error
	if g.tables {
		err = db.tables.apply(g.pos, db.chain, g.buf[groupHeader:])
	} else {
		err = db.tables.finish(db.tables.db.NewBatch(), g.pos, db.chain)
	}
	if err == nil {
		err = db.fault.err() // Apply says nothing of what it told the logger
	}
	return err
}

// Wait returns when the group with a position is durable and in the tables. Zero is
// no group.
func (db *DB) Wait(ctx context.Context, pos Pos) error {
	if uint64(pos) <= db.applied.Load() {
		return nil
	}
	db.mu.Lock()
	g := db.find(pos)
	db.mu.Unlock()
	if g == nil {
		return nil
	}
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

// Applied returns the position up to which every group is durable and in the tables.
func (db *DB) Applied() Pos { return Pos(db.applied.Load()) }

// Next returns the position of the open group, or a later one: what is changed from
// now on, under the lock of an app that the caller holds, has no smaller position.
func (db *DB) Next() Pos {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.groups[len(db.groups)-1].pos
}

// fail ends every group that is not durable, and the process.
func (db *DB) fail(err error) {
	db.mu.Lock()
	if db.err == nil || errors.Is(db.err, errClosed) {
		db.err = err
		applied := db.applied.Load()
		for _, g := range db.groups {
			if uint64(g.pos) > applied && g.err == nil {
				g.err = err
				for _, f := range g.after {
					f()
				}
				close(g.done)
			}
		}
		close(db.room)
		db.room = make(chan struct{})
	}
	db.mu.Unlock()
	db.fault.fatal(err)
}

// State returns why no change is taken; nil if changes are.
func (db *DB) State() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.err != nil {
		return db.err
	}
	return db.fault.err()
}

// stop takes no more changes, writes those that were made, and ends the committer.
func (db *DB) stop() {
	db.mu.Lock()
	if db.err == nil {
		db.err = errClosed
		close(db.room)
		db.room = make(chan struct{})
	}
	db.closing = true
	db.poke()
	db.mu.Unlock()
	<-db.done
}
