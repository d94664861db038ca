package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/internal/load"
)

// TestMain lets the test binary be the server and the baseline too.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Getenv("SUITE_TEST_PROCESS") {
	case "":
		os.Exit(m.Run())
	case "baseline":
		_ = load.BaselineProcess(ctx, os.Stdin, os.Stdout)
	case "server":
		s := httptest.NewServer(http.HandlerFunc(fakeServer))
		fmt.Printf("serving on %s\n", s.URL)
		<-ctx.Done()
		s.Close()
	case "broken":
		fmt.Fprintln(os.Stderr, "no such file")
		os.Exit(1)
	}
}

func fakeServer(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ToAccount []string `json:"To_Account"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fmt.Fprint(w, `{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":90001}`)
		return
	}
	fmt.Fprint(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0`)
	if in.ToAccount != nil {
		fmt.Fprintf(w, `,"UserAttrs":[%s{}]`, strings.Repeat(`{"To_Account":"x","Attrs":{}},`, len(in.ToAccount)))
	}
	fmt.Fprint(w, "}")
}

func as(role string) []string {
	return []string{"/usr/bin/env", "SUITE_TEST_PROCESS=" + role, os.Args[0]}
}

func testOptions(t *testing.T) Options {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		if os.Getenv("TIDINGS_TEST_REQUIRE") == "all" {
			t.Fatal("needs /proc")
		}
		t.Skip("needs /proc")
	}
	return Options{
		Serve:    func(string) []string { return as("server") },
		Baseline: as("baseline"),
		Sign:     func(secret string, _ uint32, identifier string) string { return identifier + secret[:8] },
		Scale:    0.0001, Rounds: 1, Round: 50 * time.Millisecond, Connections: 4, Dir: t.TempDir(), Log: t.Output(),
	}
}

// TestSuite runs the groups that a server which only seems to be one can pass.
// Package main runs the others with the real one.
func TestSuite(t *testing.T) {
	t.Run(Requests, func(t *testing.T) { testGroup(t, Requests, 10) })
	t.Run(Sizes, func(t *testing.T) { testGroup(t, Sizes, 4) })
}

func testGroup(t *testing.T, group string, want int) {
	o := testOptions(t)
	o.Only = group
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := report.WriteMarkdown(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	if n := len(report.Rows) + len(report.Notes); n != want {
		t.Errorf("%d rows and notes, want %d", n, want)
	}
	if bad := regexp.MustCompile(`NaN|Inf|%!`).FindString(table.String()); bad != "" {
		t.Errorf("the report has a %s", bad)
	}
	left, err := os.ReadDir(o.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	o := testOptions(t)
	o.Serve = func(string) []string { return as("broken") }
	_, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("got %v, want an error with what the server said", err)
	}
}

func TestCancel(t *testing.T) {
	o := testOptions(t)
	o.Only, o.Round = Requests, 10*time.Second
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	if _, err := Run(ctx, o); err == nil {
		t.Error("no error after the end of the context")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v to stop", took)
	}
	if left, _ := os.ReadDir(o.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1 000", 5_000_000: "5 000 000"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of 3, 1, 2 is %v", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of 4, 1, 2, 3 is %v", got)
	}
}
