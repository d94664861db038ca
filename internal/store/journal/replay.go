package journal

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/store"
)

// A replay brings memory and tables up to the end of the log at a start.
type replay struct {
	db     *DB
	memory Memory // the DB's, or for a check another
	log    logReader
	begin  checkpoint // from which the memory was read
	bytes  int64      // of log since
	first  Pos        // that the log has; 0: none
}

// newLogReader returns a reader of the log. Groups up to floor may be missing.
func (db *DB) newLogReader(floor Pos) logReader {
	r := logReader{fs: db.opts.FS, dir: db.path(logDir), history: db.tables.history, floor: floor}
	if db.opts.cut != nil {
		r.more = db.opts.cut.logs
	}
	return r
}

// run reads the newest good checkpoint and the log. The tables were opened for
// reading only, unless they are fresh: they are opened for writing once everything
// was read and found to fit.
func (r *replay) run(list []*Table, fresh bool) error {
	db := r.db
	var err error
	if r.begin, err = db.loadCheckpoint(); err != nil {
		return err
	}
	r.log.floor = r.begin.pos
	total, err := db.logSize()
	if err != nil {
		return err
	}
	if err := db.opening.begin(store.OpeningLog, total); err != nil {
		return err
	}
	if err := r.log.read(r.cutter(r.remember)); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if r.log.passed != nil {
		db.opts.Logger.Warn("a part of the log cannot be read; the newest checkpoint has what it held", "file", r.log.passed.File, "offset", r.log.passed.Offset)
	}
	if err := r.fits(); err != nil {
		return err
	}
	if err := r.memory.Loaded(); err != nil {
		return err
	}
	db.checkpoints.loaded(&db.opts, r.begin, r.bytes)
	if fresh {
		return nil
	}
	if err := r.readNeeded(list); err != nil {
		return err
	}
	if !db.opts.ReadOnly {
		if err := db.mark(); err != nil {
			return err
		}
		if err := db.syncLog(); err != nil {
			return err
		}
	}
	if db.opts.cut != nil {
		return nil // they are made elsewhere
	}
	if err := db.opening.begin(store.OpeningTables, total); err != nil {
		return err
	}
	return r.tables(list)
}

// remember is the memory's half of a group.
func (r *replay) remember(info groupInfo, blocks []byte, size int) error {
	begin, tables := &r.begin, r.db.tables
	if err := r.db.opening.group(size); err != nil {
		return err
	}
	if r.first == 0 {
		if r.first = info.pos; info.pos > begin.pos+1 {
			return r.gap()
		}
	}
	switch {
	case info.pos == begin.pos && info.chain != begin.chain, info.pos == begin.pos+1 && begin.pos > 0 && info.before != begin.chain:
		return &Damage{begin.file, -1, "it does not belong to the log that is there"}
	case info.pos == tables.position && info.chain != tables.chain, info.pos == tables.position+1 && tables.position > 0 && info.before != tables.chain:
		return &Damage{r.db.path(tablesDir), -1, "the tables do not belong to the log that is there"}
	case info.pos <= begin.pos:
		return nil
	}
	r.bytes += int64(size)
	if err := eachEntry(blocks, func(app uint32, e entry) error {
		if e.kind != entryMemory {
			return tables.check(e)
		}
		return r.memory.Replay(info.pos, app, e.value)
	}); err != nil {
		return misfit{err}
	}
	return nil
}

// gap returns the error of a log that begins after the newest good checkpoint.
func (r *replay) gap() error {
	what := fmt.Sprintf("the log begins with group %d, and there is no checkpoint before it", r.first)
	if r.begin.pos > 0 {
		what = fmt.Sprintf("the log begins with group %d, and the newest good checkpoint ends with group %d", r.first, r.begin.pos)
	}
	for _, bad := range r.db.checkpoints.bad {
		return &Damage{bad.file, -1, fmt.Sprintf("%v; and %s", bad.err, what)}
	}
	return &Damage{r.log.dir, -1, what}
}

// fits checks that checkpoint, log and tables can be brought together.
func (r *replay) fits() error {
	if r.log.next == 0 { // not one group
		r.log.next = 1
	}
	last, db := r.log.next-1, r.db
	missing := func(what string, pos Pos) error {
		d := Damage{r.log.dir, -1, ""}
		if r.log.bad != nil {
			d = *r.log.bad
		} else if r.log.end != nil {
			d = *r.log.end
		}
		end := "the log has no groups"
		if last > 0 {
			end = fmt.Sprintf("the log ends with group %d", last)
		}
		d.What = fmt.Sprintf("%s, and %s at group %d", end, what, pos)
		return &d
	}
	switch p := db.tables.position; {
	case r.begin.pos > last:
		return missing("there is a checkpoint "+r.begin.file, r.begin.pos)
	case r.log.passed != nil && p < r.begin.pos:
		return r.log.passed // the tables need what it held
	case p > last:
		return missing("the tables are", p)
	case last > 0 && p+1 < r.first:
		return &Damage{db.path(tablesDir), -1, fmt.Sprintf("the tables end with group %d, and the log begins with group %d", p, r.first)}
	}
	return nil
}

// readNeeded reads the records that a start needs, as the tables have them so far.
func (r *replay) readNeeded(list []*Table) error {
	for _, t := range list {
		if !t.AtStart {
			continue
		}
		it, err := r.db.tables.db.NewIter(&pebble.IterOptions{LowerBound: []byte{t.ID}, UpperBound: []byte{t.ID + 1}})
		if err != nil {
			return err
		}
		for it.First(); it.Valid() && err == nil; it.Next() {
			_, err = it.ValueAndErr()
		}
		if err := errors.Join(err, it.Error(), it.Close()); err != nil {
			return &unreadable{r.db.path(tablesDir), fmt.Errorf("table %s: %w", t.Name, err)}
		}
	}
	return nil
}

// tables opens the tables for writing and applies the groups that they lack; in a
// directory that is open for reading only, it puts those over them.
func (r *replay) tables(list []*Table) error {
	db := r.db
	position, last := db.tables.position, r.log.next-1
	var over *pebble.Batch
	if db.opts.ReadOnly {
		if position == last {
			return nil
		}
		over = db.tables.overlay()
	} else {
		if err := db.checkRoom(); err != nil {
			return err
		}
		reading := db.tables.db
		db.tables = nil
		if err := reading.Close(); err != nil {
			return err
		}
		t, err := openTables(db.dir, &db.opts, db.lock, db.fault, false, list)
		if err != nil {
			return err
		}
		db.tables = t
		if t.position != position {
			return errors.New("the tables changed while they were opened")
		}
	}
	if position == last {
		return nil
	}
	again := db.newLogReader(position)
	return again.read(func(info groupInfo, blocks []byte, size int) error {
		if err := db.opening.group(size); err != nil {
			return err
		}
		switch {
		case info.pos <= position:
			return nil
		case over != nil:
			return db.tables.put(over, blocks)
		}
		return db.tables.apply(info.pos, info.chain, blocks)
	})
}

// probeFile is made and removed to see that the disk takes files. Others do not look at
// hidden ones.
const probeFile = ".room"

// checkRoom returns an error if the disk is full. A database that is opened for writing
// writes its own log into tables, and retries for ever if there is no room: the start
// would neither fail nor end.
func (db *DB) checkRoom() error {
	usage, err := db.opts.FS.GetDiskUsage(db.dir) // an error: it is not known here
	if need := uint64(memtables * db.opts.MemtableSize); err == nil && usage.AvailBytes < need {
		return fmt.Errorf("the disk of %s is full: it has %d bytes left, a start needs %d: make room", db.dir, usage.AvailBytes, need)
	}
	// There may be bytes and no more files, or a quota.
	name := db.path(probeFile)
	err = writeFile(db.opts.FS, name, []byte("x"))
	if err := errors.Join(err, ignoreMissing(db.opts.FS.Remove(name))); err != nil {
		return fmt.Errorf("the disk of %s takes no new file: make room: %w", db.dir, err)
	}
	return nil
}
