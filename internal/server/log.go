package server

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tidings/internal/admin"
	"tidings/internal/config"
	"tidings/internal/store/lsm"
)

// NewLogger creates the logger of a configuration. Lines are written by a goroutine of
// their own, so that neither a request nor the store waits for whoever reads the log: if
// that stands still, lines below Warn are dropped, counted and reported when it goes on.
// Lines below Warn are gathered for up to logDelay, so that the line of a request costs no
// system call of its own. Done writes the lines that are left, and waits for that as long
// as logPatience.
func NewLogger(w io.Writer, cfg *config.Config) (log *slog.Logger, done func()) {
	lines := newLineWriter(w)
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	var h slog.Handler = slog.NewTextHandler(lines, opts)
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(lines, opts)
	}
	lines.dropped = func(n int64) {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "the log was not written fast enough, lines are missing", 0)
		r.AddAttrs(slog.Int64("lines", n))
		_ = h.Handle(context.Background(), r)
	}
	return slog.New(promptHandler{h, lines}), lines.close
}

const (
	logDelay       = 100 * time.Millisecond
	logBufferBytes = 64 << 10 // gathered, and then written at once
	logRoomBytes   = 1 << 20  // waiting to be written, after which lines below Warn are dropped
	logLimitBytes  = 4 << 20  // after which all are
	logPatience    = 2 * time.Second
)

// lineWriter gathers lines, and a goroutine writes them. It is safe for concurrent use.
type lineWriter struct {
	dropped func(n int64) // writes a line about lines that are missing

	mu      sync.Mutex
	lines   []byte
	missing int64       // lines dropped and not reported
	closed  bool        // the goroutine ends when it has written what there is
	done    bool        // it has
	timer   *time.Timer // wakes the goroutine when lines have waited for logDelay

	wake  chan struct{}
	ended chan struct{}

	total     atomic.Int64 // lines dropped
	lastError atomic.Pointer[admin.StatusError]
}

func newLineWriter(w io.Writer) *lineWriter {
	l := &lineWriter{wake: make(chan struct{}, 1), ended: make(chan struct{})}
	l.timer = time.AfterFunc(time.Hour, l.flush)
	l.timer.Stop()
	go l.run(w)
	return l
}

// Write keeps a line for the goroutine.
func (l *lineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines)+len(line) > logLimitBytes || l.done {
		l.missing++
		l.total.Add(1)
		return len(line), nil
	}
	if len(l.lines) == 0 {
		l.timer.Reset(logDelay)
	}
	if l.lines = append(l.lines, line...); len(l.lines) >= logBufferBytes {
		l.flush()
	}
	return len(line), nil
}

// drop reports whether a line that is not important finds no room, and counts it.
func (l *lineWriter) drop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < logRoomBytes {
		return false
	}
	l.missing++
	l.total.Add(1)
	return true
}

// flush lets the goroutine write what there is. It does not wait for it.
func (l *lineWriter) flush() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run writes lines until close. An error is dropped: there is nowhere to report a log that
// cannot be written.
func (l *lineWriter) run(w io.Writer) {
	defer close(l.ended)
	var lines []byte
	for range l.wake {
		for {
			var missing int64
			lines, missing = l.take(lines)
			if len(lines) == 0 && missing == 0 {
				break
			}
			_, _ = w.Write(lines)
			if missing > 0 {
				l.dropped(missing)
			}
		}
		if l.isDone() {
			return
		}
	}
}

// take returns the lines that wait to be written, and how many are missing before them,
// and leaves empty for the lines to come.
func (l *lineWriter) take(empty []byte) (lines []byte, missing int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, l.lines = l.lines, empty[:0]
	missing, l.missing = l.missing, 0
	return lines, missing
}

// isDone reports whether the log is closed and nothing is left to write.
func (l *lineWriter) isDone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = l.closed && len(l.lines) == 0 && l.missing == 0
	return l.done
}

// close writes what is left, and waits for that for a while. Later lines are dropped.
func (l *lineWriter) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.flush()
	select {
	case <-l.ended:
	case <-time.After(logPatience):
	}
}

// promptHandler has lines of level Warn and above written at once, drops others if they
// find no room, and keeps the last error.
type promptHandler struct {
	slog.Handler
	lines *lineWriter
}

// Handle writes a record.
func (h promptHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn && h.lines.drop() {
		return nil
	}
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelError {
		last := &admin.StatusError{Time: r.Time.UTC(), Message: r.Message}
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "error" {
				last.Error = a.Value.String()
			}
			return true
		})
		h.lines.lastError.Store(last)
	}
	if r.Level >= slog.LevelWarn {
		h.lines.flush()
	}
	return err
}

// lastError returns the last line of level ERROR that a logger of NewLogger wrote; nil if
// there was none.
func lastError(log *slog.Logger) *admin.StatusError {
	if h, ok := log.Handler().(promptHandler); ok {
		return h.lines.lastError.Load()
	}
	return nil
}

// fail returns what ends the process after the store failed: it waits until the log says
// so, for as long as logPatience.
func fail(log *slog.Logger) func() {
	return func() {
		if h, ok := log.Handler().(promptHandler); ok {
			h.lines.close()
		}
		os.Exit(lsm.ExitFailed)
	}
}

// droppedLines returns how many lines a logger of NewLogger has dropped.
func droppedLines(log *slog.Logger) int64 {
	if h, ok := log.Handler().(promptHandler); ok {
		return h.lines.total.Load()
	}
	return 0
}

// WithAttrs returns a handler with attributes and the same writer.
func (h promptHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return promptHandler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup returns a handler with a group and the same writer.
func (h promptHandler) WithGroup(name string) slog.Handler {
	return promptHandler{h.Handler.WithGroup(name), h.lines}
}
