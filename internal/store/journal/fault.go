package journal

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A fault holds the error that ended the store. Some of them Pebble reports to its
// logger only.
type fault struct {
	end   func(error)
	log   *slog.Logger
	once  sync.Once
	cause atomic.Pointer[error]

	// What the database goes on in spite of, so far.
	mu     sync.Mutex
	recent error
	seen   time.Time // when recent came
	logged time.Time // when one was last logged
}

const (
	troubleTime = 10 * time.Second // how long a passing trouble makes the store unready
	troubleLog  = 10 * time.Second // between log lines about it
)

// fatal ends the process.
func (f *fault) fatal(err error) {
	f.cause.CompareAndSwap(nil, &err) // before anybody could take a write for done
	f.once.Do(func() {
		f.log.Error("storage failed, the server stops: nothing that was answered OK is lost", "error", err)
		if f.end != nil {
			f.end(err)
		}
	})
}

// background notes a passing trouble and reports whether to log it.
func (f *fault) background(err error) (log bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent, f.seen = err, time.Now()
	if log = f.seen.Sub(f.logged) > troubleLog; log {
		f.logged = f.seen
	}
	return log
}

// trouble returns what went wrong a moment ago.
func (f *fault) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.seen) < troubleTime {
		return f.recent
	}
	return nil
}

func (f *fault) err() error {
	if err := f.cause.Load(); err != nil {
		return *err
	}
	return nil
}
