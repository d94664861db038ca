package cli

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// line returns the line of a log with a message.
func line(t *testing.T, log, msg string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^.* msg="?`+regexp.QuoteMeta(msg)+`[" ].*$`).FindAllString(log, -1)
	if len(m) != 1 {
		t.Fatalf("%d lines %q:\n%s", len(m), msg, log)
	}
	return m[0]
}

func contains(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// TestStartLog: a start says what was started, with what, and what the configuration
// changed; and nobody finds a secret in it.
func TestStartLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, dir)
	log := s.stop().stderr
	contains(t, line(t, log, "starting"), "level=INFO", " version=", " go="+runtime.Version(), " pid=", " data="+dir+" ")
	contains(t, line(t, log, "ready"), "level=INFO", " api="+s.url+" ", " metrics="+s.metrics+" ", " control="+dir+"/control.sock ", " tls=false ", " apps=0 users=0 ", " duration=")
	contains(t, line(t, log, "there are no apps"), "level=INFO", "tidings app create")
	contains(t, line(t, log, "stopped"), "duration=", "uptime=")

	file := write(t, "tidings.yaml", "apps:\n- {sdkappid: 5, secret_key: very-secret-text, admins: [a], limits: {default: 7}, attr_names: {0: city}}\n")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	log = serve(t, dir, "--config", file).stop().stderr
	contains(t, line(t, log, "app created"), "app=5 ")
	contains(t, line(t, log, "the configuration file holds a secret_key, and every user of this machine can read the file"), "level=WARN", file)
	contains(t, line(t, log, "starting"), " config="+file)

	must(t, "admin", "add", "5", "bob", "--data", dir)
	must(t, "app", "set", "5", "--limit", "default=9", "--data", dir)
	must(t, "key", "add", "5", "--primary", "--data", dir)
	must(t, "app", "create", "6", "--data", dir)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	r := serve(t, dir, "--config", file).stop()
	contains(t, line(t, r.stderr, "the configuration changed an app"), "level=INFO", "app=5 settings=secret_key,admins,limits")
	contains(t, line(t, r.stderr, "ready"), " apps=2 users=4 ", " log=", " tables=")
	if strings.Contains(r.stdout+r.stderr, "very-secret-text") || strings.Contains(r.stderr, "WARN") || strings.Contains(r.stderr, "there are no apps") {
		t.Errorf("the log is\n%s", r.stderr)
	}
	// A start that changes nothing says nothing.
	if log := serve(t, dir, "--config", file).stop().stderr; strings.Contains(log, "changed") || strings.Contains(log, "created") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestStoppedAtStart: a server that is told to stop before it is ready ends with 0 and
// leaves the directory as it was.
func TestStoppedAtStart(t *testing.T) {
	dir := t.TempDir()
	must(t, "app", "create", "5", "--data", dir)
	before := tree(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := shell{}.run(ctx, "", "serve", "--listen", "127.0.0.1:0", "--data", dir)
	if r.code != 0 || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	line(t, r.stderr, "stopped before it was ready")
	if after := tree(t, dir); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
	if out := must(t, "app", "list", "--data", dir); !strings.Contains(out, "app 5") {
		t.Error(out)
	}
}

// TestServiceManager: systemd hears when the server is ready, and when it stops.
func TestServiceManager(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	next := func() string {
		t.Helper()
		b := make([]byte, 1000)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan result, 1)
	go func() {
		done <- shell{map[string]string{"NOTIFY_SOCKET": name}}.run(ctx, "", "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--data", filepath.Join(t.TempDir(), "data"))
	}()
	if got := next(); !strings.HasPrefix(got, "READY=1\nSTATUS=ready on http://127.0.0.1:") {
		t.Errorf("first %q", got)
	}
	stop()
	if got := next(); got != "STOPPING=1" {
		t.Errorf("then %q", got)
	}
	if r := <-done; r.code != 0 || strings.Contains(r.stderr, "WARN") {
		t.Errorf("%+v", r)
	}
}

// TestVersionFlag prints what the command prints.
func TestVersionFlag(t *testing.T) {
	if flag, command := must(t, "--version"), must(t, "version"); flag != command {
		t.Errorf("--version prints %q, version %q", flag, command)
	}
}
