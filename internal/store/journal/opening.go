package journal

import (
	"io"

	"tidings/internal/store"
)

// An opening reports how far the opening of a directory is, and ends it if the hook of
// the options says so.
type opening struct {
	hook  func(store.Opening) error
	at    store.Opening
	ended error // of the hook: whatever failed since, failed for this
}

// begin reports that another part begins, of so many bytes.
func (o *opening) begin(part store.OpeningPart, total int64) error {
	if o.hook == nil {
		return nil
	}
	o.at.Part, o.at.Done, o.at.Total = part, 0, total
	return o.read(0)
}

// read reports that n bytes more were read.
func (o *opening) read(n int64) error {
	if o.hook == nil {
		return nil
	}
	if o.ended == nil {
		o.at.Done += n
		o.ended = o.hook(o.at)
	}
	return o.ended
}

// group reports that a group of the log was read.
func (o *opening) group(size int) error {
	if o.hook != nil && o.at.Part == store.OpeningLog {
		o.at.Groups++
	}
	return o.read(int64(size))
}

// openingReader reports what is read from a checkpoint.
type openingReader struct {
	io.Reader
	opening *opening
}

// Read reads.
func (r openingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if ended := r.opening.read(int64(n)); ended != nil {
		return n, ended
	}
	return n, err
}

// logSize returns the bytes of the log.
func (db *DB) logSize() (total int64, err error) {
	numbers, err := segments(db.opts.FS, db.path(logDir))
	for _, n := range numbers {
		info, err := db.opts.FS.Stat(db.path(logDir, segmentName(n)))
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, err
}
