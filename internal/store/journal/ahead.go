package journal

import "errors"

// aheadSegment is a segment made before it is needed.
type aheadSegment struct {
	segment *segmentWriter
	err     error
}

// nextSegment goes over to the next segment when the one that is written is full, or a
// checkpoint was written since it began, so that it can be removed after the next. The
// next is made while the one before fills, so that no change waits for it.
func (db *DB) nextSegment() error {
	s := db.segment
	create := func() aheadSegment {
		next, err := createSegment(db.opts.FS, db.path(logDir), s.number+1, db.tables.history)
		return aheadSegment{next, err}
	}
	if s.records.Size() >= db.opts.SegmentSize/2 && db.ahead == nil {
		ahead := make(chan aheadSegment, 1)
		db.ahead = ahead
		go func() { ahead <- create() }()
	}
	rolled := db.roll.Swap(false) && db.checkpoints.begunSegment(s.number)
	if s.records.Size() < db.opts.SegmentSize && !rolled {
		return nil
	}
	var next aheadSegment
	if db.ahead == nil {
		next = create()
	} else {
		next = <-db.ahead
		db.ahead = nil
	}
	if next.err != nil {
		next = create() // the disk may have room by now
	}
	if next.err != nil {
		return next.err
	}
	db.segment = next.segment
	return s.close()
}

// closeSegments closes the files of the log.
func (db *DB) closeSegments() error {
	err := db.segment.close()
	if db.ahead != nil {
		if next := <-db.ahead; next.err == nil {
			err = errors.Join(err, next.segment.close())
		}
	}
	return err
}
