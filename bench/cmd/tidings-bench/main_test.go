package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidings/internal/cli"
)

// TestMain lets the test binary be the two programs: what is started with a verb of
// tidings is that one, with the race detector and built from what is tested.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve", "import", "export", "simulate", "device":
			os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
		case "baseline", "post":
			main()
		}
	}
	os.Exit(m.Run())
}

// result holds what a run of a program printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// bench runs tidings-bench.
func bench(t *testing.T, args ...string) result {
	t.Helper()
	return benchUntil(t.Context(), args...)
}

// benchUntil runs tidings-bench, which ctx interrupts.
func benchUntil(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := execute(ctx, args, strings.NewReader(""), &stdout, &stderr)
	return result{stdout.String(), stderr.String(), code}
}

// must runs tidings-bench and wants exit code 0.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := bench(t, args...)
	if r.code != 0 {
		t.Fatalf("tidings-bench %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// fails runs tidings-bench and wants an exit code and a text on stderr.
func fails(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	r := bench(t, args...)
	if r.code != code || !strings.Contains(r.stderr, want) || r.stdout != "" && code == 2 {
		t.Errorf("tidings-bench %s: exit code %d, stdout %q, stderr %q; want %d and %q", strings.Join(args, " "), r.code, r.stdout, r.stderr, code, want)
	}
}

// tidings runs the program of the operator.
func tidings(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	nothing := func(string) (string, bool) { return "", false }
	if code := cli.Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr, nothing); code != 0 {
		t.Fatalf("tidings %s: exit code %d\n%s", strings.Join(args, " "), code, &stderr)
	}
	return stdout.String()
}

var readyLine = regexp.MustCompile(`(?m)^tidings: ready on (\S+) `)

// serve starts a server on dir and returns its URL. It ends with the test.
func serve(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--log-requests", "off", "--data", dir)
	stdout := new(output)
	cmd.Stdout, cmd.Stderr = stdout, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	// What it prints is all there is to wait for: a process gives no other sign.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if m := readyLine.FindStringSubmatch(stdout.String()); m != nil {
			return m[1]
		}
	}
	t.Fatal("the server is not ready")
	return ""
}

// output collects what a process writes, and may be read meanwhile.
type output struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.String()
}

// write makes a file in a temporary directory.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestUsageMistakes(t *testing.T) {
	key := write(t, "key", "secret")
	for line, want := range map[string]string{
		"xyz":                                     `unknown command "xyz"`,
		"run":                                     "--app is missing",
		"run --app x":                             `invalid argument "x" for "--app"`,
		"run --app 1 x":                           `unexpected argument "x"`,
		"run --app 1 --command x":                 `--command "x" is none of remove_attr, set_attr, get_attr, import`,
		"run --app 1 --users 0":                   "--users 0 is not a number from 100",
		"run --app 1 --users-per-request 101":     "--users-per-request 101 is not",
		"run --app 1 --connections 0":             "--connections 0 is not a number from 1 to 10000",
		"run --app 1 --duration x":                `invalid argument "x" for "--duration"`,
		"run --app 1 --rate NaN":                  "--rate NaN is less than 0",
		"run --app 1 --url ftp://x":               `--url "ftp://x" is not of the form https://host:port`,
		"suite --program true --fill":             "unknown flag: --fill",
		"suite --program true --quick --scale 2":  "--quick and --scale do not go together",
		"suite --program true --scale 0":          "--scale 0 is not above 0",
		"suite --program true --rounds 0":         "--rounds 0 is less than 1",
		"suite --program true --turn 1ms":         "--turn 1ms is not from 10ms to 1h",
		"suite --program true --only x":           `--only "x" is none of requests, changes`,
		"suite --program true --before ./nowhere": "--before: ",
		"suite --program ./nowhere":               "--program: ",
		"suite":                                   "--program: ",
		"baseline x":                              `unexpected argument "x"`,
		"run --url http://192.0.2.1 --app 9 --secret-key-file " + key: "say --yes if that is meant",
	} {
		fails(t, 2, want, strings.Fields(line)...)
	}
	fails(t, 1, "no server is running on the data directory /nowhere", "run", "--app", "1", "--data", "/nowhere")
	if !strings.Contains(must(t), "suite") || !strings.Contains(must(t, "run", "--help"), "THEY ARE") {
		t.Error("help lacks what there is")
	}
}
