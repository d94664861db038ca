package lsm

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// A scheduler lets compactions run, as many as the database wants at once, but
// none before begin: tables that a compaction writes while the index is loaded
// would be as of all epochs (see marks), and every later start would read them.
type scheduler struct {
	db pebble.DBForCompaction

	mu       sync.Mutex
	idle     sync.Cond // granting has ended
	begun    bool
	over     bool
	granting bool
	refused  bool // one that wanted to run while granting
	running  int
	grants   sync.WaitGroup // goroutines that grant
}

func newScheduler() *scheduler {
	s := new(scheduler)
	s.idle.L = &s.mu
	return s
}

// begin lets compactions run from now on.
func (s *scheduler) begin() {
	s.mu.Lock()
	s.begun = true
	s.mu.Unlock()
	s.grant()
}

// mayRun tells whether one more may run.
func (s *scheduler) mayRun() bool {
	return s.begun && !s.over && s.running < s.db.GetAllowedWithoutPermission()
}

// grant lets compactions run that wait. The database locks itself in its calls,
// so they are made without the lock, one grant at a time.
func (s *scheduler) grant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.granting {
		s.idle.Wait()
	}
	s.granting = true
	for s.mayRun() {
		s.running++
		s.mu.Unlock()
		waiting, _ := s.db.GetWaitingCompaction()
		accepted := waiting && s.db.Schedule(s)
		s.mu.Lock()
		if !accepted {
			s.running--
			if !s.refused {
				break
			}
		}
		s.refused = false
	}
	s.granting = false
	s.idle.Broadcast()
}

// Register is where the database tells who it is.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister returns when no call of the database is under way.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	s.over = true
	for s.granting {
		s.idle.Wait()
	}
	s.mu.Unlock()
	s.grants.Wait()
}

// TrySchedule tells whether a compaction may run now. One that may not waits for
// a grant.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayRun() {
		s.refused = s.granting // what is granted now may not be taken
		return false, nil
	}
	s.running++
	return true, s
}

// UpdateGetAllowedWithoutPermission tells that more may run than before. The
// database holds its locks, so the grant is made by another goroutine.
func (s *scheduler) UpdateGetAllowedWithoutPermission() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.grants.Go(s.grant)
	}
}

// Done tells that a compaction has ended.
func (s *scheduler) Done() {
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
	s.grant()
}

// Started, MeasureCPU and CumulativeStats tell what a compaction does.

func (s *scheduler) Started()                                          {}
func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (s *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}
