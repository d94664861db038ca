//go:build unix

package cli

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestPrivateFiles: under a permissive umask, in a directory that others can read,
// nothing that a server and an import leave can be read by anybody else.
func TestPrivateFiles(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(map[bool]string{true: "with a server", false: "without a server"}[running], func(t *testing.T) { testPrivateFiles(t, running) })
	}
}

func testPrivateFiles(t *testing.T, running bool) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // this process may have a umask of its own
		t.Fatal(err)
	}
	var log buffer
	program := func(args ...string) *exec.Cmd {
		line := append([]string{"-c", `umask 022; exec "$0" "$@"`, os.Args[0]}, args...)
		cmd := exec.CommandContext(t.Context(), "sh", append(line, "--data", dir)...)
		cmd.Stderr = &log
		return cmd
	}
	config := write(t, "tidings.yaml", "listen: 127.0.0.1:0\nmetrics_listen: \"off\"\napps: [{sdkappid: 9, attr_names: {0: sex}}]\n")
	serve := func() (stop func()) {
		t.Helper()
		cmd, stdout := program("serve", "--config", config), new(buffer)
		cmd.Stdout = stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stdout.await(t, regexp.MustCompile(`ready on`), 1)
		return func() {
			t.Helper()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("serve: %v\n%s", err, &log)
			}
		}
	}
	stop := serve()
	if !running {
		stop()
	}
	if err := program("import", "--app", "9", write(t, "u.ndjson", users)).Run(); err != nil {
		t.Fatalf("import: %v\n%s", err, &log)
	}
	if running {
		wantPrivate(t, dir) // control.sock too
		stop()
	}
	wantPrivate(t, dir)
	if n := strings.Count(log.String(), "its mode is 0700 now"); n != 1 {
		t.Errorf("%d warnings about the mode of the directory, want one:\n%s", n, &log)
	}
}

// wantPrivate looks at the modes of a directory and everything below it.
func wantPrivate(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if n++; info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || n < 5 {
		t.Errorf("looked at %d files, %v", n, err)
	}
}
