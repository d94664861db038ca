package task

import "time"

// A Status is what the dispatcher knows of a task that has not ended, and keeps nowhere.
type Status struct {
	Rate  int          // messages a second, over the last seconds
	Left  uint64       // units that have no outcome yet: an estimate
	Lanes []LaneStatus // in which something may be left
}

// A LaneStatus is what the dispatcher knows of a lane of a task.
type LaneStatus struct {
	Certificate int
	Rate        int       // messages a second that may go now; 0: any number
	Held        time.Time // nothing goes before; zero: it goes
	Blocked     string    // why nothing goes until somebody acts; empty: it goes
	Since       time.Time // of Blocked
	Pages       int       // that are open
}

// Blocked reports whether all lanes in which something may be left are blocked.
func (s *Status) Blocked() bool {
	for _, l := range s.Lanes {
		if l.Blocked == "" {
			return false
		}
	}
	return len(s.Lanes) > 0
}
