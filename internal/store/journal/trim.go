package journal

import (
	"maps"
	"slices"
)

// trim removes the checkpoints before the two newest good ones, those that cannot be
// read, and the segments of the log whose groups are all in the older of the two.
func (db *DB) trim() error {
	all, err := db.list()
	c := &db.checkpoints
	for _, bad := range c.bad {
		all = slices.DeleteFunc(all, func(pos Pos) bool { return pos == bad.pos })
	}
	if err != nil || len(all) < checkpointsKept {
		return err
	}
	old := all[checkpointsKept:]
	for _, bad := range c.bad {
		old = append(old, bad.pos)
	}
	for _, pos := range old {
		if err := ignoreMissing(db.opts.FS.Remove(db.path(checkpointDir, checkpointName(pos)))); err != nil {
			return err
		}
	}
	c.bad = nil
	if err := syncDir(db.opts.FS, db.path(checkpointDir)); err != nil {
		return err
	}
	older := all[checkpointsKept-1]
	c.mu.Lock()
	first := maps.Clone(c.first)
	c.mu.Unlock()
	numbers, err := segments(db.opts.FS, db.path(logDir))
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if follower := firstAfter(first, n); follower == 0 || follower > older+1 {
			break // it has a group that is not in the older checkpoint, or is the last
		}
		if err := db.removeSegment(n); err != nil {
			return err
		}
		// One after the other: a later one must not be gone and an earlier one there.
		if err := syncDir(db.opts.FS, db.path(logDir)); err != nil {
			return err
		}
		c.mu.Lock()
		delete(c.first, n)
		c.mu.Unlock()
	}
	return nil
}

// firstAfter returns the position of the first group in the segments after one; 0 if
// they have none.
func firstAfter(first map[uint64]Pos, segment uint64) Pos {
	least := Pos(0)
	for n, pos := range first {
		if n > segment && (least == 0 || pos < least) {
			least = pos
		}
	}
	return least
}
