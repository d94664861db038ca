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

// An estimated is an estimate without a sample.
type estimated struct {
	version uint64
	audience.Estimate
}

// maxEstimates bounds the estimates kept for an app, a few kilobytes each at
// most.
const maxEstimates = 256

// estimateKey tells estimates apart. The names of attributes are not enough: a
// name can move to another slot.
func estimateKey(e audience.Expr, kind audience.Kind) string {
	key := []byte{byte(kind)}
	audience.Walk(e, func(term audience.Expr) {
		if ref, ok := audience.AttrOf(term); ok {
			key = append(key, byte(ref.Slot))
		}
	})
	return string(key) + e.String()
}

func (s *estimates) find(key string, version uint64) (audience.Estimate, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[key]
	return e.Estimate, ok && e.version == version
}

func (s *estimates) keep(key string, version uint64, e audience.Estimate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]estimated{}
	}
	if _, there := s.known[key]; !there && len(s.known) >= maxEstimates {
		for any := range s.known {
			delete(s.known, any)
			break
		}
	}
	s.known[key] = estimated{version, e}
}
