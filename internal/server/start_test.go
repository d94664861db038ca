package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/config"
	"tidings/internal/store"
)

// TestOpeningLog: a start that takes long says now and then how far it is, and ends when it
// is told to.
func TestOpeningLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newStartLog(slog.New(slog.NewTextHandler(&log, nil)), &config.Config{Data: "d"}, ThisBuild("v1"))
		ctx, cancel := context.WithCancelCause(t.Context())
		hook := l.opening(ctx)
		log.Reset()
		for i := range 12 { // seconds
			part, done := store.OpeningCheckpoint, int64(i)
			if i >= 8 {
				part, done = store.OpeningLog, int64(i-8)
			}
			if err := hook(store.Opening{Part: part, Done: done, Total: 8, Groups: uint64(max(0, i-8))}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		l.opened()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `msg="reading the data directory" part=checkpoint percent=`) || !strings.Contains(lines[1], "part=log percent=") {
			t.Errorf("the log is\n%s", &log)
		}
		if got := l.took; len(got) != 4 || got[0] != "checkpoint" || got[1] != 8*time.Second || got[2] != "log" || got[3] != 4*time.Second {
			t.Errorf("the parts took %v", got)
		}
		told := errors.New("told")
		cancel(told)
		if err := hook(store.Opening{}); !errors.Is(err, told) {
			t.Errorf("told to end: %v", err)
		}
	})
}
