package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	url := serve(t, dir)
	key := write(t, "key", "the-key-of-the-shop")
	tidings(t, "app", "create", "9", "--data", dir, "--secret-key-file", key)
	base := []string{"run", "--data", dir, "--app", "9", "--users", "300", "--users-per-request", "10", "--connections", "4", "--duration", "1s"}
	with := func(args ...string) []string { return append(append([]string{}, base...), args...) }

	fails(t, 1, "; lift the limits of the app: tidings app set 9 --limit default=0", with("--command", "get_attr")...)
	tidings(t, "app", "set", "9", "--limit", "default=0", "--data", dir)
	fails(t, 1, "90033 (30 times); name the attributes and create the users first: --fill", with()...)
	fails(t, 1, " times); create the users first: --fill", with("--command", "get_attr")...)
	before := ""
	for i, args := range [][]string{
		{"--fill", "--command", "get_attr", "--rate", "50"},
		{"--rate", "50"},
		{"--command", "set_attr", "--rate", "50"},
		{"--command", "import"},
		{"--url", url, "--secret-key-file", key, "--data", "/nowhere", "--rate", "50"},
	} {
		r := bench(t, with(append(args, "--json")...)...)
		var out report
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || r.code != 0 {
			t.Fatalf("run %v: exit code %d, %v\n%s%s", args, r.code, err, r.stdout, r.stderr)
		}
		if out.Requests == 0 || out.Users != 10*out.Requests || len(out.Failed) > 0 || out.LatencyMillis["max"] == 0 {
			t.Errorf("run %v reports %+v", args, out)
		}
		if !strings.Contains(r.stderr, "This changes the users user0000000 to user0000299 in app 9 of "+url) {
			t.Errorf("run %v warns %q", args, r.stderr)
		}
		// Every run leaves the users as they were.
		users := tidings(t, "call", "--data", dir, "--app", "9", "timpush/get_attr", `{"To_Account":["user0000000","user0000007","user0000299"]}`)
		if i == 0 {
			before = users
		} else if users != before {
			t.Errorf("run %v leaves the users as %s", args, users)
		}
	}
	out := must(t, with("--command", "import")...)
	for _, want := range []string{"Command        import, users a request: 10\n", "Requests       30, ", "Latency p99.9  "} {
		if !strings.Contains(out, want) {
			t.Errorf("the table has no %q:\n%s", want, out)
		}
	}
}

func TestInterruptedRun(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	tidings(t, "app", "create", "9", "--data", dir, "--limit", "default=0")
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	r := benchUntil(ctx, "run", "--data", dir, "--app", "9", "--users", "1000", "--fill", "--duration", "1h", "--rate", "50")
	if r.code != 1 || !strings.HasSuffix(r.stderr, "\ntidings-bench: interrupted\n") {
		t.Errorf("%+v", r)
	}
	out := tidings(t, "call", "--data", dir, "--app", "9", "timpush/get_attr", `{"To_Account":["user0000000","user0000700"]}`)
	if strings.Count(out, `"sex"`) != 2 {
		t.Errorf("users do not have their attributes back: %s", out)
	}
}

func TestRunOverTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // one run does not trust it
	s.StartTLS()
	defer s.Close()
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	key := write(t, "key", "the-key-of-the-shop")
	run := []string{"run", "--url", s.URL, "--secret-key-file", key, "--app", "9", "--command", "get_attr", "--duration", "50ms", "--connections", "1"}
	must(t, append(run, "--ca", ca)...)
	must(t, append(run, "--insecure")...)
	fails(t, 1, "; trust it with --ca FILE", run...)
	fails(t, 1, "holds no certificate", append(run, "--ca", key)...)
}
