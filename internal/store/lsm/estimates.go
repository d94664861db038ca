package lsm

import (
	"sync"

	"tidings/internal/audience"
)

// estimates are the last counts that were asked for, each with the version of
// the index that it was right for: who watches an audience asks for the same
// again and again.
type estimates struct {
	mu    sync.Mutex
	known map[string]estimated
}

// An estimated holds the counts of an audience and of each of its clauses.
type estimated struct {
	version uint64
	all     uint64
	each    []uint64
}

// maxEstimates and maxEstimateKey, in bytes, bound what is kept for an app to
// less than a megabyte.
const (
	maxEstimates   = 256
	maxEstimateKey = 2 << 10
)

// estimateKey tells estimates apart, by the texts of the clauses of an expression.
// The names of attributes are not enough: a name can move to another slot.
func estimateKey(e audience.Expr, clauses []audience.ClauseCount) string {
	var key []byte
	audience.Walk(e, func(term audience.Expr) {
		if ref, ok := audience.AttrOf(term); ok {
			key = append(key, byte(ref.Slot))
		}
	})
	for _, c := range clauses {
		key = append(append(key, '\n'), c.Clause...) // no text holds a line break
	}
	return string(key)
}

func (s *estimates) find(key string, version uint64) (estimated, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[key]
	return e, ok && e.version == version
}

func (s *estimates) keep(key string, e estimated) {
	if len(key) > maxEstimateKey {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]estimated{}
	}
	if _, there := s.known[key]; !there && len(s.known) >= maxEstimates {
		for old := range s.known { // whichever comes first
			delete(s.known, old)
			break
		}
	}
	s.known[key] = e
}

// clear forgets everything.
func (s *estimates) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = nil
}

// memory returns how many bytes the counts take, roughly.
func (s *estimates) memory() (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.known {
		bytes += int64(len(key)+8*len(e.each)) + 100
	}
	return bytes
}
