package lsm

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"tidings/internal/store/journal"
)

// expirePiece is how many records are deleted at a time, and requestPiece how many of
// remembered requests, each of which is looked at once more while the app is locked.
const (
	expirePiece  = 2000
	requestPiece = 100
)

// Expire drops what is kept no longer, piece by piece: of each app what is due, and when too
// many numbers of deleted accounts wait for ended tasks, the audiences and outcomes of
// those that ended first.
func (t *Tasks) Expire(ctx context.Context, now time.Time) error {
	for _, x := range t.all() {
		if err := t.release(ctx, x); err != nil {
			return err
		}
		for more := true; more; {
			var err error
			if more, err = t.expireDue(ctx, x, now); err != nil {
				return err
			}
		}
		if err := t.unpin(ctx, x, now); err != nil {
			return err
		}
	}
	return nil
}

// expireDue drops what is first due of an app, a task or some requests, and reports whether
// there may be more.
func (t *Tasks) expireDue(ctx context.Context, x *tenant, now time.Time) (more bool, err error) {
	var due []byte // the first key
	var keys []tableRecord
	err = t.journal.Read(func(v *journal.View) error {
		err := v.Walk(ctx, tableDue, x.id, nil, nil, func(key, _ []byte) (bool, error) {
			if int64(binary.BigEndian.Uint64(key)) > now.Unix() {
				return false, nil
			}
			key = slices.Clone(key)
			if due == nil {
				due = key
			}
			if key[8] == dueRequest {
				keys = append(keys, tableRecord{tableRequest, key[9:]}, tableRecord{tableDue, key})
			}
			return key[8] == dueRequest && len(keys) < 2*requestPiece, ctx.Err()
		})
		if err != nil || due == nil {
			return err
		}
		number := due[9:]
		switch due[8] {
		case dueTask:
			keys = []tableRecord{{tableTask, number}, {tableEndedTask, number}, {tableDue, due}}
		case dueTrace:
			if keys, err = t.traceOf(ctx, v, x.id, number); len(keys) < expirePiece {
				keys = append(keys, tableRecord{tableDue, due})
			}
		}
		return err
	})
	if err != nil || due == nil {
		return false, err
	}
	err = t.change(ctx, x, func(b *journal.Batch) {
		for _, r := range keys {
			// A key may be in use anew since it was due. Nobody uses it at this moment.
			if r.table == tableRequest && t.inUse(x, r.key, now) {
				continue
			}
			b.Delete(r.table, r.key)
		}
	})
	if err != nil {
		return false, err
	}
	switch number := binary.BigEndian.Uint64(due[9:]); due[8] { // of a request it is none
	case dueTask:
		t.records.forget(taskOf{x, number})
	case dueTrace:
		t.audiences.forget(x, number)
	}
	return true, nil
}

// A tableRecord names a record.
type tableRecord struct {
	table *journal.Table
	key   []byte
}

// traceOf returns the records of what is kept of each device of a task, expirePiece at
// most.
func (t *Tasks) traceOf(ctx context.Context, v *journal.View, app uint32, prefix []byte) (keys []tableRecord, err error) {
	for _, table := range traceTables {
		err = v.Walk(ctx, table, app, prefix, nil, func(key, _ []byte) (bool, error) {
			if len(keys) == expirePiece {
				return false, nil
			}
			keys = append(keys, tableRecord{table, append([]byte(nil), key...)})
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// inUse reports whether an IdempotencyKey is remembered, or may be.
func (t *Tasks) inUse(x *tenant, key []byte, now time.Time) bool {
	known, err := t.remembered(x, hash(key), now)
	return known != nil || err != nil
}

// change makes a change of the tables of an app, as one of those who write much and for
// whom nobody waits. An app that is deleted has none.
func (t *Tasks) change(ctx context.Context, x *tenant, write func(b *journal.Batch)) error {
	if err := t.journal.Reserve(ctx, true); err != nil {
		return err
	}
	pos, err := func() (journal.Pos, error) {
		x.mu.RLock()
		defer x.mu.RUnlock()
		defer t.journal.Guard()
		if x.gone {
			return 0, nil
		}
		return t.journal.Commit(x.id, true, write)
	}()
	if err != nil {
		return err
	}
	return t.journal.Wait(ctx, pos)
}

// unpin lets go of numbers that tasks held whose traces are gone by now.
func (t *Tasks) unpin(ctx context.Context, x *tenant, now time.Time) error {
	gone := hourOf(now.Add(-traceLife).UnixMilli()) // tasks that ended before this hour have no trace
	var hours []uint64
	x.tasks.mu.Lock()
	for hour := range x.tasks.pins {
		if hour < max(gone, x.tasks.floor) {
			hours = append(hours, hour)
		}
	}
	x.tasks.mu.Unlock()
	if len(hours) == 0 {
		return nil
	}
	err := t.change(ctx, x, func(b *journal.Batch) {
		for _, hour := range hours {
			b.Delete(tablePinned, taskKey(hour))
		}
	})
	if err != nil {
		return err
	}
	x.tasks.mu.Lock()
	for _, hour := range hours {
		delete(x.tasks.pins, hour)
	}
	x.tasks.mu.Unlock()
	x.tasks.refresh()
	return nil
}

// release gives up what is kept of the tasks that ended first, an hour of them, when the
// numbers that wait for them pass half of what may wait. That is on disk before any number
// is given out: else a start would take the audiences for whole.
func (t *Tasks) release(ctx context.Context, x *tenant) error {
	x.mu.RLock()
	crowded := !x.gone && x.users.Resting() > x.mayRest()/2
	x.mu.RUnlock()
	if !crowded {
		return nil
	}
	x.tasks.mu.Lock()
	first, found := uint64(floorHour), false
	for hour, pin := range x.tasks.pins {
		if pin == x.tasks.least && hour < first {
			first, found = hour, true
		}
	}
	x.tasks.mu.Unlock()
	if !found {
		return nil // the numbers wait for tasks that have not ended, or for lists
	}
	floor := first + 1
	if err := t.change(ctx, x, func(b *journal.Batch) { b.Raise(tablePinned, taskKey(floorHour), floor) }); err != nil {
		return err
	}
	x.tasks.mu.Lock()
	x.tasks.floor = max(x.tasks.floor, floor)
	x.tasks.mu.Unlock()
	return nil
}
