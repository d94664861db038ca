package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test binary be the program, for tests that need it as a process of
// its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"serve", "import", "export", "device", "simulate"}, os.Args[1]) {
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
	}
	flag.Parse()
	os.Exit(m.Run())
}

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update rewrites it):\n%s", file, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(end)", "(end)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n got  %s\n want %s", i+1, a, b)
		}
	}
	return "no difference"
}

// result is what a run of the program left.
type result struct {
	stdout, stderr string
	code           int
}

// A shell runs the program as a user does.
type shell struct {
	vars map[string]string
}

func (s shell) run(ctx context.Context, stdin string, args ...string) result {
	var stdout, stderr buffer
	err := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr, s.lookup)
	return result{stdout.String(), stderr.String(), exitCode(err)}
}

func (s shell) lookup(name string) (string, bool) {
	v, ok := s.vars[name]
	return v, ok
}

// tidings runs the program in an empty environment.
func tidings(t *testing.T, args ...string) result {
	t.Helper()
	return shell{}.run(t.Context(), "", args...)
}

// must runs the program and wants exit code 0.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := tidings(t, args...)
	if r.code != 0 {
		t.Fatalf("tidings %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// fails runs the program and wants an exit code and a text on stderr.
func fails(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	r := tidings(t, args...)
	if r.code != code || !strings.Contains(r.stderr, want) {
		t.Errorf("tidings %s: exit code %d, stderr %q; want %d and %q", strings.Join(args, " "), r.code, r.stderr, code, want)
	}
}

// buffer is an output that may be read while it is written.
type buffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

// served is a server that runs in this process.
type served struct {
	url, metrics, dir string
	stdout, stderr    *buffer
	stop              func() result
}

var readyLine = regexp.MustCompile(`(?m)^tidings: ready on (\S+) \(data (.*?)(?:, metrics (\S+))?\)\n`)

// serve starts a server on dir and waits for it. It ends with the test.
func serve(t *testing.T, dir string, args ...string) *served {
	t.Helper()
	s := &served{dir: dir, stdout: new(buffer), stderr: new(buffer)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data", dir}, args...)
	go func() {
		done <- run(ctx, args, strings.NewReader(""), s.stdout, s.stderr, shell{}.lookup)
	}()
	s.stop = sync.OnceValue(func() result {
		cancel()
		code := exitCode(<-done) // before what it printed is looked at
		return result{s.stdout.String(), s.stderr.String(), code}
	})
	t.Cleanup(func() {
		if r := s.stop(); r.code != 0 {
			t.Errorf("the server ended with exit code %d\n%s", r.code, r.stderr)
		}
	})
	// The output is all there is to wait for: nothing in this process tells of the other.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if m := readyLine.FindStringSubmatch(s.stdout.String()); m != nil {
			s.url, s.metrics = m[1], m[3]
			return s
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("the server did not start: %v\n%s", err, s.stderr)
		default:
		}
	}
	t.Fatalf("the server is not ready\n%s", s.stderr)
	return nil
}

// await returns the matches of a pattern in what another goroutine or process writes,
// once there are n. It looks again and again: a process gives no other sign.
func (b *buffer) await(t *testing.T, pattern *regexp.Regexp, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if m := pattern.FindAllString(b.String(), -1); len(m) >= n {
			return m
		}
	}
	t.Fatalf("no %d times %v:\n%s", n, pattern, b)
	return nil
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
