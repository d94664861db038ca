package lsm

// WithSegments makes the files of the log small.
func WithSegments(o *Options, bytes int64) *Options {
	o.segmentSize = bytes
	return o
}

// WithRoom makes changes wait for the disk earlier.
func WithRoom(o *Options, bytes int) *Options {
	o.room = bytes
	return o
}

// SharePlace reports whether two accounts wait for each other's changes, as one
// pair in lastSize does.
func (s *Store) SharePlace(a, b string) bool { return s.tenants.place(a) == s.tenants.place(b) }
