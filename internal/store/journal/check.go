package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// Check reads the records of all tables and reports those that are wrong. It calls
// each with the others. What cannot be read is a finding; an error is only that ctx
// ended. In a running server it sees one consistent state.
func (db *DB) Check(ctx context.Context, wrong func(where, what string), each func(t *Table, app uint32, key, value []byte)) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	if db.opts.ReadOnly {
		if err := db.tables.db.CheckLevels(nil); err != nil { // which no context ends
			wrong("database", err.Error())
		}
	}
	snapshot, end := db.tables.snapshot()
	defer func() { _ = end() }()
	it, err := snapshot.NewIterWithContext(ctx, nil)
	if err != nil {
		wrong("database", err.Error())
		return ctx.Err()
	}
	last := "the first key"
	for it.First(); it.Valid() && ctx.Err() == nil; it.Next() {
		last = db.describe(it.Key())
		value, err := it.ValueAndErr()
		if err != nil {
			wrong(last, fmt.Sprintf("cannot be read: %v", err))
			continue
		}
		db.checkRecord(last, it.Key(), value, wrong, each)
	}
	if err := it.Close(); err != nil && ctx.Err() == nil {
		wrong("database", fmt.Sprintf("records after %s cannot be read: %v", last, err))
	}
	return ctx.Err()
}

func (db *DB) checkRecord(where string, key, value []byte, wrong func(where, what string), each func(t *Table, app uint32, key, value []byte)) {
	if len(key) > 0 && key[0] == metaTable {
		switch string(key) {
		case string(formatKey), string(historyKey), string(positionKey), string(countKey):
		default:
			wrong(where, "is not known")
		}
		return
	}
	if len(key) < 5 || db.tables.known[key[0]] == nil {
		wrong(where, "belongs to no table")
		return
	}
	t := db.tables.known[key[0]]
	if t.Check != nil {
		if err := t.Check(key[5:], value); err != nil {
			wrong(where, err.Error())
			return
		}
	}
	each(t, binary.BigEndian.Uint32(key[1:]), key[5:], value)
}

// describe names a record for people.
func (db *DB) describe(key []byte) string {
	switch {
	case len(key) == 0:
		return "the empty key"
	case key[0] == metaTable:
		return fmt.Sprintf("meta %q", key[1:])
	case len(key) < 5 || db.tables.known[key[0]] == nil:
		return fmt.Sprintf("key %q", key)
	}
	return fmt.Sprintf("%s %x of app %d", db.tables.known[key[0]].Name, key[5:], binary.BigEndian.Uint32(key[1:]))
}

// CheckFiles reports what is wrong with checkpoints that a start does without. Open
// has read the whole log, and found which checkpoints hold what makes no sense although
// their checksums are right.
func (db *DB) CheckFiles(ctx context.Context, wrong func(where, what string)) error {
	all, err := db.list()
	if err != nil {
		return err
	}
	known := map[Pos]bool{}
	for _, bad := range db.checkpoints.bad {
		known[bad.pos] = true
		wrong("checkpoint "+bad.file, bad.err.Error())
	}
	for _, pos := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if known[pos] {
			continue
		}
		_, err := db.openCheckpoint(pos, func(io.Reader, int64) error { return nil })
		if bad, ok := errors.AsType[*badCheckpoint](err); ok {
			wrong("checkpoint "+bad.file, bad.err.Error())
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Rebuild fills a memory by another way than Open: from the oldest checkpoint, or from
// none if the log goes back to its beginning, and from the whole log after it. It is for
// checks: if the two memories differ, a file is not as it was written. It returns false
// if there is no other way than that of Open.
func (db *DB) Rebuild(m Memory) (bool, error) {
	all, err := db.list()
	if err != nil || len(all) == 0 {
		return false, err
	}
	r := &replay{db: db, memory: m, log: db.newLogReader(0)}
	begins, err := db.logBegins()
	switch {
	case err != nil:
		return false, err
	case begins == 1:
		r.log.next = 1
	case len(all) < checkpointsKept:
		return false, nil
	default:
		if r.begin, err = db.openCheckpoint(all[len(all)-1], m.Load); err != nil {
			return false, err
		}
		r.log.floor = r.begin.pos
	}
	if err := r.log.read(r.remember); err != nil {
		return false, err
	}
	return true, m.Loaded()
}

// logBegins returns the position of the first group in the log; 0 if it has none.
func (db *DB) logBegins() (first Pos, err error) {
	r := db.newLogReader(^Pos(0) - 1)
	err = r.read(func(info groupInfo, _ []byte, _ int) error {
		first = info.pos
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return first, err
}

var errEnough = errors.New("enough")

// Unreadable reports whether an error is that of tables that cannot be opened at all,
// or not be read.
func Unreadable(err error) bool {
	_, ok := errors.AsType[*unreadable](err)
	return ok || pebble.IsCorruptionError(err)
}
