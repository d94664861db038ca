package app

import (
	"context"
	"sync"
)

// locks is a lock for each SDKAppID. It holds memory only for those that are
// locked or waited for. The zero value is ready.
type locks struct {
	mu  sync.Mutex
	ids map[uint32]*lock
}

// A lock is that of one SDKAppID.
type lock struct {
	free  chan struct{} // holds one element while the lock is not held
	users int           // the holder and those who wait; under locks.mu
}

// lock takes the lock of an id, in the order in which it was asked for, unless
// ctx ends first; then the error is the cause of ctx.
func (l *locks) lock(ctx context.Context, id uint32) error {
	l.mu.Lock()
	k := l.ids[id]
	if k == nil {
		k = l.add(id)
		k.free <- struct{}{}
	}
	k.users++
	l.mu.Unlock()
	select {
	case <-k.free:
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leave(id, k)
		return context.Cause(ctx)
	}
}

// tryLock takes the lock of an id unless somebody holds it or waits for it. It
// reports whether it did.
func (l *locks) tryLock(id uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids[id] != nil {
		return false
	}
	l.add(id).users = 1
	return true
}

// unlock lets go of the lock of an id. Any goroutine may do so for the holder.
func (l *locks) unlock(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.ids[id]
	k.free <- struct{}{}
	l.leave(id, k)
}

// add returns a new lock, which is held.
func (l *locks) add(id uint32) *lock {
	if l.ids == nil {
		l.ids = map[uint32]*lock{}
	}
	k := &lock{free: make(chan struct{}, 1)}
	l.ids[id] = k
	return k
}

func (l *locks) leave(id uint32, k *lock) {
	if k.users--; k.users == 0 {
		delete(l.ids, id)
	}
}
