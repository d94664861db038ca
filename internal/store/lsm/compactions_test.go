package lsm

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// fakeDB has no compaction that waits, until it is asked: right after it said no,
// somebody wants one.
type fakeDB struct {
	s          *scheduler
	asked, ran int
	waiting    bool
}

func (f *fakeDB) GetAllowedWithoutPermission() int { return 1 }

func (f *fakeDB) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	was := f.waiting
	if f.asked++; f.asked == 1 {
		if ok, _ := f.s.TrySchedule(); !ok {
			f.waiting = true
		}
	}
	return was, pebble.WaitingCompaction{}
}

func (f *fakeDB) Schedule(pebble.CompactionGrantHandle) bool {
	f.waiting = false
	f.ran++
	return true
}

// TestNoCompactionIsForgotten: one that is refused while another is looked for
// in vain runs all the same; none runs before begin or after Unregister.
func TestNoCompactionIsForgotten(t *testing.T) {
	s := newScheduler()
	db := &fakeDB{s: s}
	s.Register(1, db)
	if ok, _ := s.TrySchedule(); ok {
		t.Error("a compaction may run before begin")
	}
	s.begin()
	if db.ran != 1 || db.waiting {
		t.Errorf("%d compactions run, waiting: %t", db.ran, db.waiting)
	}
	s.Done()
	if ok, _ := s.TrySchedule(); !ok {
		t.Error("none may run although none does")
	}
	s.Done()
	s.Unregister()
	if ok, _ := s.TrySchedule(); ok {
		t.Error("a compaction may run after Unregister")
	}
}
