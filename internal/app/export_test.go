package app

// Locked returns how many locks of apps take memory.
func (r *Registry) Locked() int {
	r.locks.mu.Lock()
	defer r.locks.mu.Unlock()
	return len(r.locks.ids)
}
