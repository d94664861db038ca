package lsm

// SetMaxGroupBytes makes groups full earlier.
func (s *Store) SetMaxGroupBytes(n int) {
	s.commit.mu.Lock()
	defer s.commit.mu.Unlock()
	s.commit.room = n
}

// SharePlace tells whether two accounts wait for each other's changes, as one
// pair in lastSize does.
func (s *Store) SharePlace(a, b string) bool { return s.place(a) == s.place(b) }
