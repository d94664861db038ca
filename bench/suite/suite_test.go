package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/bench/load"
	"tidings/internal/control"
	"tidings/internal/testenv"
)

// TestMain lets the test binary be the server and the baseline too.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Args[1] {
	case "baseline":
		_ = load.BaselineProcess(ctx, os.Stdin, os.Stdout)
	case "serve":
		if err := serveFake(ctx, os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "import": // there is nothing to import into
	default:
		os.Exit(m.Run())
	}
}

// A fake answers like a server that writes checkpoints. Its log is a file in the
// data directory, a byte for each request that changes something.
type fake struct {
	data    string
	metrics string
	log     *os.File
	exits   bool
}

// exitKey in a configuration makes a fake end at the first request without a command.
const exitKey = "exits: true"

// unknownKey in a configuration has a fake refuse to serve.
const unknownKey = "no_such_key: 1"

var dataKey = regexp.MustCompile(`(?m)^data: (.*)$`)

// serveFake serves with a configuration file until ctx ends.
func serveFake(ctx context.Context, config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	if strings.Contains(string(text), unknownKey) {
		return fmt.Errorf("the configuration has %s", unknownKey)
	}
	f := &fake{exits: strings.Contains(string(text), exitKey), data: string(dataKey.FindSubmatch(text)[1])}
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return err
	}
	if f.log, err = os.OpenFile(filepath.Join(f.data, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	defer f.log.Close()
	socket, err := control.Listen(f.data)
	if err != nil {
		return err
	}
	operator := &http.Server{Handler: http.HandlerFunc(f.operate)}
	go func() { _ = operator.Serve(socket) }()
	metrics := httptest.NewServer(http.HandlerFunc(f.measure))
	f.metrics = metrics.URL + "/metrics"
	api := httptest.NewServer(http.HandlerFunc(f.answer))
	fmt.Printf("serving on %s\n", api.URL)
	<-ctx.Done()
	api.Close()
	metrics.Close()
	return operator.Close()
}

func (f *fake) operate(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/info":
		fmt.Fprintf(w, `{"metrics":%q}`, f.metrics)
	case "/store/checkpoint":
		time.Sleep(20 * time.Millisecond) // as long as the answer says that it took
		if err := f.log.Truncate(0); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `{"position":7,"bytes":1000,"seconds":0.02}`)
	default:
		fmt.Fprint(w, "{}")
	}
}

func (f *fake) measure(w http.ResponseWriter, _ *http.Request) {
	log, err := f.log.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, `# HELP tidings_users Accounts.
tidings_users 20000
tidings_checkpoint_running 0
tidings_index_bytes{part="accounts"} 600000
tidings_index_bytes{part="tags"} 400000
tidings_heap_parts_bytes{part="accounts"} 1e+06
tidings_heap_parts_bytes{part="other"} 500000
tidings_log_bytes %d
go_memstats_heap_alloc_bytes 1.6e+06
`, 100*log.Size())
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	if f.exits && r.URL.Path == "/" {
		fmt.Fprintln(os.Stderr, "too many open files")
		os.Exit(2)
	}
	var in struct {
		ToAccount []string `json:"To_Account"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fmt.Fprint(w, `{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":90001}`)
		return
	}
	if in.ToAccount == nil {
		if _, err := f.log.Write([]byte{0}); err != nil {
			fmt.Fprint(w, `{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":91000}`)
			return
		}
	}
	fmt.Fprint(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0`)
	if in.ToAccount != nil {
		fmt.Fprintf(w, `,"UserAttrs":[%s{}]`, strings.Repeat(`{"To_Account":"x","Attrs":{}},`, len(in.ToAccount)))
	}
	fmt.Fprint(w, "}")
}

func testOptions(t *testing.T) Options {
	_, err := os.Stat("/proc/self/stat")
	testenv.Need(t, "/proc", err)
	return Options{
		Program: os.Args[0], Baseline: []string{os.Args[0], "baseline"},
		Scale: 0.0001, Rounds: 1, Round: 50 * time.Millisecond, Connections: 4, Dir: t.TempDir(), Log: t.Output(),
	}
}

// TestSuite runs the groups that a server which only seems to be one can pass.
// Package main runs those that need the real one, and the newer ones again.
func TestSuite(t *testing.T) {
	for _, c := range []struct {
		group string
		want  int // rows
	}{{Requests, 6}, {Changes, 7}, {Sizes, 4}, {Checkpoints, 5}, {Memory, 5}, {Flood, 3}} {
		t.Run(c.group, func(t *testing.T) { testGroup(t, c.group, c.want) })
	}
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
	if n := len(report.Rows); n != want {
		t.Errorf("%d rows, want %d", n, want)
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
	o.Config = unknownKey
	_, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), unknownKey) {
		t.Fatalf("got %v, want an error with what the server said", err)
	}
}

func TestServerThatEndsInFlood(t *testing.T) {
	o := testOptions(t)
	o.Only, o.Config = Flood, exitKey
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "The server ended in the flood: too many open files") {
		t.Errorf("notes: %s", notes)
	}
	if len(report.Rows) != 3 || report.Rows[1].Met || report.Rows[2].Met {
		t.Errorf("rows: %+v", report.Rows)
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

func TestReadMetrics(t *testing.T) {
	got, err := readMetrics(strings.NewReader("# TYPE a gauge\na{part=\"x y\"} 1.5\na{part=\"z\"} 2\n\nb 3e+06\n"))
	if want := (metrics{"a": 3.5, "b": 3e6}); err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"a\n", "a b\n"} {
		if got, err := readMetrics(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
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

func TestReport(t *testing.T) {
	r := Report{Machine: "m", Rows: []Row{{Case: "a < b", Met: true}}}
	var b strings.Builder
	err := r.WriteJSON(&b)
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(b.String())); err != nil {
		t.Fatal(err)
	}
	want := `{"machine":"m","rows":[{"case":"a < b","ours":"","baseline":"","ratio":"","aim":"","met":true}],"notes":null,"met":true}`
	if err != nil || compact.String() != want {
		t.Errorf("%s, %v", b.String(), err)
	}
}
