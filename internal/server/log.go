package server

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tidings/internal/admin"
	"tidings/internal/config"
)

// NewLogger creates the logger of a configuration. Lines below Warn are gathered
// for up to logDelay, so that the line of a request costs no system call of its own.
// Flush writes the lines that are left.
func NewLogger(w io.Writer, cfg *config.Config) (log *slog.Logger, flush func()) {
	lines := newLineWriter(w)
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	var h slog.Handler = slog.NewTextHandler(lines, opts)
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(lines, opts)
	}
	return slog.New(promptHandler{h, lines}), lines.flush
}

const (
	logDelay       = 100 * time.Millisecond
	logBufferBytes = 64 << 10
)

// lineWriter gathers lines. It is safe for concurrent use.
type lineWriter struct {
	w io.Writer

	mu      sync.Mutex
	lines   []byte
	pending bool // the timer will flush
	timer   *time.Timer

	lastError atomic.Pointer[admin.StatusError]
}

func newLineWriter(w io.Writer) *lineWriter {
	l := &lineWriter{w: w}
	l.timer = time.AfterFunc(time.Hour, l.flush)
	l.timer.Stop()
	return l
}

func (l *lineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line...)
	switch {
	case len(l.lines) >= logBufferBytes:
		l.write()
	case !l.pending:
		l.pending = true
		l.timer.Reset(logDelay)
	}
	return len(line), nil
}

// flush writes the gathered lines.
func (l *lineWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

// write writes the gathered lines. The caller holds mu. An error is dropped: there is
// nowhere to report a log that cannot be written.
func (l *lineWriter) write() {
	_, _ = l.w.Write(l.lines)
	l.lines, l.pending = l.lines[:0], false
}

// promptHandler writes lines of level Warn and above at once, and keeps the last error.
type promptHandler struct {
	slog.Handler
	lines *lineWriter
}

// Handle writes a record.
func (h promptHandler) Handle(ctx context.Context, r slog.Record) error {
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

// WithAttrs returns a handler with attributes and the same writer.
func (h promptHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return promptHandler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup returns a handler with a group and the same writer.
func (h promptHandler) WithGroup(name string) slog.Handler {
	return promptHandler{h.Handler.WithGroup(name), h.lines}
}
