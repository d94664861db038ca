package cli

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tidings/internal/load/suite"
	"tidings/internal/testenv"
)

func TestBench(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, "--log-requests", "off")
	key := write(t, "key", "the-key-of-the-shop")
	must(t, "app", "create", "9", "--data", dir, "--secret-key-file", key)
	base := []string{"bench", "--data", dir, "--app", "9", "--users", "300", "--users-per-request", "10", "--connections", "4", "--duration", "1s"}
	with := func(args ...string) []string { return append(append([]string{}, base...), args...) }

	fails(t, 1, "; lift the limits of the app: tidings app set 9 --limit default=0", with("--command", "get_attr")...)
	must(t, "app", "set", "9", "--limit", "default=0", "--data", dir)
	fails(t, 1, "90033 (30 times); name the attributes and create the users first: --fill", with()...)
	fails(t, 1, " times); create the users first: --fill", with("--command", "get_attr")...)
	before := ""
	for i, args := range [][]string{
		{"--fill", "--command", "get_attr", "--rate", "50"},
		{"--rate", "50"},
		{"--command", "set_attr", "--rate", "50"},
		{"--command", "import"},
		{"--url", s.url, "--secret-key-file", key, "--data", "/nowhere", "--rate", "50"},
	} {
		r := tidings(t, with(append(args, "--json")...)...)
		var out benchReport
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || r.code != 0 {
			t.Fatalf("bench %v: exit code %d, %v\n%s%s", args, r.code, err, r.stdout, r.stderr)
		}
		if out.Requests == 0 || out.Users != 10*out.Requests || len(out.Failed) > 0 || out.LatencyMillis["max"] == 0 {
			t.Errorf("bench %v reports %+v", args, out)
		}
		if !strings.Contains(r.stderr, "This changes the users user0000000 to user0000299 in app 9 of "+s.url) {
			t.Errorf("bench %v warns %q", args, r.stderr)
		}
		// Every run leaves the users as they were.
		users := must(t, "call", "--data", dir, "--app", "9", "timpush/get_attr", `{"To_Account":["user0000000","user0000007","user0000299"]}`)
		if i == 0 {
			before = users
		} else if users != before {
			t.Errorf("bench %v leaves the users as %s", args, users)
		}
	}
	out := must(t, with("--command", "import")...)
	for _, want := range []string{"Command        import, 10 users a request\n", "Requests       30, ", "Latency p99.9  "} {
		if !strings.Contains(out, want) {
			t.Errorf("the table has no %q:\n%s", want, out)
		}
	}
	fails(t, exitUsage, "say --yes", "bench", "--url", "http://192.0.2.1", "--app", "9", "--secret-key-file", key)
}

func TestInterruptedBench(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, "--log-requests", "off")
	must(t, "app", "create", "9", "--data", dir, "--limit", "default=0")
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	r := shell{}.run(ctx, "", "bench", "--data", dir, "--app", "9", "--users", "1000", "--fill", "--duration", "1h", "--rate", "50")
	if r.code != 1 || r.stderr[strings.LastIndex(strings.TrimSpace(r.stderr), "\n")+1:] != "tidings: interrupted\n" {
		t.Errorf("%+v", r)
	}
	out := must(t, "call", "--data", dir, "--app", "9", "timpush/get_attr", `{"To_Account":["user0000000","user0000700"]}`)
	if strings.Count(out, `"sex"`) != 2 {
		t.Errorf("users do not have their attributes back: %s", out)
	}
}

// TestBenchSuite starts the suite and ends it when its server is filled: a
// whole run takes longer than a test may. The package suite tests that.
func TestBenchSuite(t *testing.T) {
	_, err := os.Stat("/proc/self/stat")
	testenv.Need(t, "the suite", err)
	t.Setenv("TIDINGS_DATA", "/nowhere")
	t.Setenv("TIDINGS_LISTEN", "nonsense") // the suite's server does not hear of it
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr buffer
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"bench", "--suite", "--scale", "0.001", "--rounds", "1", "--connections", "2", "--dir", dir},
			strings.NewReader(""), &stdout, &stderr, os.LookupEnv)
	}()
	for {
		select {
		case err := <-done:
			if exitCode(err) != 1 || !strings.Contains(stderr.String(), "users: filled\n") {
				t.Errorf("exit code %d:\n%s%s", exitCode(err), &stdout, &stderr)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			return
		case <-time.After(10 * time.Millisecond):
			if strings.Contains(stderr.String(), "filled\n") {
				cancel()
			}
		}
	}
}

// TestBenchQuestions runs that part of the suite, small.
func TestBenchQuestions(t *testing.T) {
	_, err := os.Stat("/proc/self/stat")
	testenv.Need(t, "the suite", err)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := suite.Options{Only: suite.Questions, Scale: 0.0003, Rounds: 1, Round: 50 * time.Millisecond, Connections: 4, Dir: t.TempDir(), Log: t.Output()}
	suiteCommands(&o, program)
	report, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 8 {
		t.Errorf("%d rows, want 8: %+v", len(report.Rows), report.Rows)
	}
}

// TestBenchAudiences runs that part of the suite, small, with PostgreSQL, whose
// counts must be those of the server.
func TestBenchAudiences(t *testing.T) {
	_, err := os.Stat("/proc/self/stat")
	testenv.Need(t, "the suite", err)
	_, err = exec.LookPath("psql")
	testenv.Need(t, "PostgreSQL", err)
	dir, err := os.MkdirTemp("", "tidings-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { // for PostgreSQL, which is not root
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := suite.Options{Only: suite.Audiences, Scale: 0.0003, Rounds: 1, Round: 50 * time.Millisecond, Connections: 4, Dir: dir, Log: t.Output()}
	suiteCommands(&o, program)
	report, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Rows {
		t.Logf("%+v", r)
	}
	if len(report.Rows) != 9 || len(report.Notes) != 1 {
		t.Errorf("%d rows and %d notes, want 9 and 1: %q", len(report.Rows), len(report.Notes), report.Notes)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchGroups runs further parts of the suite, small. A row comes out for each
// case, also of what this server does not offer.
func TestBenchGroups(t *testing.T) {
	_, err := os.Stat("/proc/self/stat")
	testenv.Need(t, "the suite", err)
	_, err = exec.LookPath("redis-server")
	testenv.Need(t, "Redis", err)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		group string
		rows  int
	}{{suite.Changes, 7}, {suite.Checkpoints, 5}, {suite.Memory, 5}} {
		t.Run(c.group, func(t *testing.T) {
			dir := t.TempDir()
			o := suite.Options{Only: c.group, Scale: 0.0003, Rounds: 1, Round: 50 * time.Millisecond, Connections: 4, Dir: dir, Log: t.Output()}
			suiteCommands(&o, program)
			report, err := suite.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Rows {
				t.Logf("%+v", r)
			}
			if len(report.Rows) != c.rows || len(report.Notes) != 0 {
				t.Errorf("%d rows, want %d; notes: %q", len(report.Rows), c.rows, report.Notes)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestSuiteReport(t *testing.T) {
	b, err := json.Marshal(newSuiteReport(suite.Report{Machine: "m", Rows: []suite.Row{{Case: "c", Met: true}}}))
	want := `{"machine":"m","rows":[{"case":"c","ours":"","baseline":"","ratio":"","aim":"","met":true}],"notes":null,"met":true}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}
