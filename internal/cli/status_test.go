package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/internal/admin"
)

// status runs tidings status and wants an exit code.
func status(t *testing.T, dir string, code int) (text string, st admin.Status) {
	t.Helper()
	r := tidings(t, "status", "--data", dir)
	j := tidings(t, "status", "--data", dir, "--json")
	if r.code != code || j.code != code || r.stderr != "" || j.stderr != "" {
		t.Fatalf("status: exit codes %d and %d, want %d\n%s%s", r.code, j.code, code, r.stderr, j.stderr)
	}
	if err := json.Unmarshal([]byte(j.stdout), &st); err != nil {
		t.Fatal(err)
	}
	return r.stdout, st
}

// TestStatus looks at a directory with a server, after it, and after a kill.
func TestStatus(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cert, key := certificate(t)
	s := serve(t, dir, "--demo", "--tls-cert", cert, "--tls-key", key)
	must(t, "checkpoint", "--data", dir)
	text, st := status(t, dir, 0)
	if !st.Running || st.PID != os.Getpid() || st.URL != s.url || st.Metrics != s.metrics || !st.TakesChanges || st.Reason != "" ||
		st.Apps == nil || *st.Apps != 1 || st.Users == nil || *st.Users != 12 || st.Version == "" || st.Interrupted {
		t.Errorf("%+v", st)
	}
	if st.Disk.Log == 0 || st.Disk.Checkpoints == 0 || st.Disk.Tables == 0 || st.Checkpoint == nil || st.Checkpoint.Bytes != st.Disk.Checkpoints ||
		time.Since(st.Checkpoint.Time) > time.Hour || time.Since(st.Started) > time.Hour || time.Until(st.CertificateEnds) > time.Hour || st.LastError != nil {
		t.Errorf("%+v", st)
	}
	for _, want := range []string{"Address      " + s.url, "Changes      taken\n", "Users        12\n", "Devices      11\n", "Last error   none since the start\n", "Certificate  until "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	s.stop()
	text, st = status(t, dir, 1)
	if st.Running || st.TakesChanges || st.Interrupted || st.Users != nil || st.Disk.Log == 0 || st.Checkpoint == nil || !strings.Contains(text, "stopped in order") {
		t.Errorf("stopped: %+v\n%s", st, text)
	}
	// What a process that was killed leaves.
	if err := os.WriteFile(filepath.Join(dir, "running"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, st = status(t, dir, 1); !st.Interrupted || !strings.Contains(text, "the last was killed") {
		t.Errorf("killed: %+v\n%s", st, text)
	}
	fails(t, 1, "is no data directory of tidings", "status", "--data", t.TempDir())
	fails(t, 1, "there is no data directory", "status", "--data", filepath.Join(dir, "none"))
}
