package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tidings/bench/suite"
	"tidings/internal/testenv"
)

// TestInterruptedSuite ends the suite when its server is filled: a whole run takes
// longer than a test may.
func TestInterruptedSuite(t *testing.T) {
	needSuite(t)
	t.Setenv("TIDINGS_DATA", "/nowhere")
	t.Setenv("TIDINGS_LISTEN", "nonsense") // the suite's server does not hear of it
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, stderr := new(output), new(output)
	done := make(chan int, 1)
	go func() {
		args := []string{"suite", "--program", os.Args[0], "--scale", "0.001", "--rounds", "1", "--connections", "2", "--dir", dir}
		done <- execute(ctx, args, strings.NewReader(""), stdout, stderr)
	}()
	for {
		select {
		case code := <-done:
			if code != 1 || !strings.Contains(stderr.String(), "users: filled\n") || !strings.HasSuffix(stderr.String(), "interrupted\n") {
				t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
			}
			wantEmpty(t, dir)
			return
		case <-time.After(10 * time.Millisecond):
			if strings.Contains(stderr.String(), "filled\n") {
				cancel()
			}
		}
	}
}

// TestGroups runs parts of the suite, small, with the real server and what it is
// compared with. A row comes out for each case.
func TestGroups(t *testing.T) {
	needSuite(t)
	for _, c := range []struct {
		group       string
		rows, notes int
		needs       string // a program
	}{
		{suite.Changes, 7, 0, "redis-server"},
		{suite.Checkpoints, 5, 0, ""},
		{suite.Memory, 5, 0, ""},
		{suite.Audiences, 9, 1, "psql"}, // counts of PostgreSQL must be those of the server
		{suite.Questions, 8, 0, ""},
		{suite.Flood, 3, 1, ""},
		{suite.Push, 16, 2, ""},
	} {
		t.Run(c.group, func(t *testing.T) {
			if c.needs != "" {
				_, err := exec.LookPath(c.needs)
				testenv.Need(t, c.needs, err)
			}
			dir := openDir(t)
			args := []string{"suite", "--program", os.Args[0], "--only", c.group, "--scale", "0.0003", "--rounds", "1", "--turn", "50ms", "--connections", "4", "--dir", dir, "--json"}
			r := bench(t, args...)
			t.Log(r.stderr)
			var report suite.Report
			if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 {
				t.Fatalf("exit code %d, %v\n%s", r.code, err, r.stdout)
			}
			if len(report.Rows) != c.rows || len(report.Notes) != c.notes {
				t.Errorf("%d rows and %d notes, want %d and %d:\n%s", len(report.Rows), len(report.Notes), c.rows, c.notes, r.stdout)
			}
			wantEmpty(t, dir)
		})
	}
}

func needSuite(t *testing.T) {
	t.Helper()
	_, err := os.Stat("/proc/self/stat")
	testenv.Need(t, "/proc", err)
}

// openDir makes a temporary directory that PostgreSQL can reach, which is not root.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidings-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
