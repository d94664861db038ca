package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tidings/internal/control"
	"tidings/internal/transfer"
)

// users is a file that uses all there is.
const users = `{"AttrNames":{"0":"sex","2":"app build"},"AttrTypes":{"0":0,"2":1}}
{"To_Account":"Mary","Attrs":{"sex":"female"},"Tags":["a|b\\","beta"],"Nick":"M, \"the\" first","FaceUrl":"https://x/y","Created":1760000000}
{"To_Account":"bob","Tags":["beta"],"Created":1760000001}
{"To_Account":"phone-1","AccountType":1,"Attrs":{"app build":"42"},"Tags":["dev"],"Created":1760000002}
`

// newApp makes app 9 in a directory of its own, served if running.
func newApp(t *testing.T, running bool, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	must(t, append([]string{"app", "create", "9", "--data", dir}, args...)...)
	if running {
		serve(t, dir)
	}
	return dir
}

// exported is what an export prints, without the account that each app has from
// the moment it is made.
func exported(t *testing.T, dir string, args ...string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(must(t, append([]string{"export", "--app", "9", "--data", dir}, args...)...)) {
		if !strings.Contains(line, "administrator") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRoundTrip: what is exported imports to the same state, in every format, on
// a server and without.
func TestRoundTrip(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			t.Parallel()
			dir := newApp(t, running)
			for range 2 { // it can be repeated
				must(t, "import", "--app", "9", write(t, "users.ndjson", users), "--data", dir)
			}
			if got := exported(t, dir); got != users {
				t.Fatalf("exports\n%swant\n%s", got, users)
			}
			whole := must(t, "export", "--app", "9", "--data", dir)
			for _, name := range []string{"u.ndjson", "u.jsonl.gz", "u.csv", "u.csv.gz"} {
				file := filepath.Join(t.TempDir(), name)
				must(t, "export", "--app", "9", "--data", dir, "--output", file)
				if left, err := filepath.Glob(file + ".*"); err != nil || len(left) > 0 {
					t.Errorf("%s: leaves %v, %v", name, left, err)
				}
				fresh := newApp(t, running, "--attr", "0=sex", "--attr", "2=app build", "--attr-type", "2=1")
				must(t, "import", "--app", "9", file, "--data", fresh)
				if got := must(t, "export", "--app", "9", "--data", fresh); got != whole {
					t.Errorf("%s: after a round trip\n%swant\n%s", name, got, whole)
				}
				if _, err := os.Stat(file + transfer.NoteSuffix); err == nil {
					t.Errorf("%s: the note of an import that is done is left", name)
				}
			}
		})
	}
}

func TestImportFormats(t *testing.T) {
	const csv = "\ufeffTo_Account,Tags,sex,Created\r\nMary,beta|a,female,1760000000\r\n\r\n\"bob\",,,1760000001\r\n"
	const want = `{"AttrNames":{"0":"sex"},"AttrTypes":{"0":0}}
{"To_Account":"Mary","Attrs":{"sex":"female"},"Tags":["a","beta"],"Created":1760000000}
{"To_Account":"bob","Created":1760000001}
`
	for _, c := range []struct{ name, text, stdin string }{
		{name: "u.csv", text: csv},
		{name: "u.csv", text: zipped(t, csv)}, // known by its first bytes
		{name: "u.csv.gz", text: zipped(t, csv)},
		{name: "u.ndjson", text: "\ufeff\n" + strings.ReplaceAll(want, "\n", "\r\n\r\n")},
		{name: "u.ndjson", text: strings.TrimSpace(want)},
		{stdin: want},
		{stdin: zipped(t, want)},
	} {
		dir := newApp(t, false, "--attr", "0=sex")
		file := "-"
		if c.stdin == "" {
			file = write(t, c.name, c.text)
		}
		r := shell{}.run(t.Context(), c.stdin, "import", "--app", "9", file, "--data", dir)
		if got := exported(t, dir); r.code != 0 || got != want {
			t.Errorf("%s%.40q: %+v, then\n%s", c.name, c.stdin, r, got)
		}
	}
	dir := newApp(t, false, "--attr", "0=sex")
	if r := (shell{}).run(t.Context(), csv, "import", "--app", "9", "-", "--format", "csv", "--data", dir); r.code != 0 || exported(t, dir) != want {
		t.Errorf("CSV from standard input: %+v", r)
	}
	for stdin, hints := range map[string]int{csv: 1, "{\"To_Account\":\"\"}\n" + csv: 0} {
		r := shell{}.run(t.Context(), stdin, "import", "--app", "9", "-", "--data", dir)
		if n := strings.Count(r.stderr, "standard input is read as NDJSON; CSV needs --format csv\n"); r.code != 1 || n != hints {
			t.Errorf("%q as NDJSON: %d hints: %+v", stdin, n, r)
		}
	}
	fails(t, exitUsage, `the name "users.txt" does not tell the format`, "import", "--app", "9", "users.txt", "--data", dir)
	fails(t, exitUsage, `--format "xml" is neither ndjson nor csv`, "export", "--app", "9", "--format", "xml", "--data", dir)
	fails(t, 1, "no such file", "import", "--app", "9", "none.csv", "--data", dir)
	fails(t, 1, "is a directory", "import", "--app", "9", "--format", "csv", dir, "--data", dir)
	fails(t, 1, "app 8 does not exist", "import", "--app", "8", write(t, "u.csv", csv), "--data", dir)
	fails(t, 1, "app 8 does not exist", "export", "--app", "8", "--data", dir)
	fails(t, 1, "column \"city\" is no attribute of the app; its attributes are \"sex\"", "import", "--app", "9", write(t, "u.csv", "To_Account,city\n"), "--data", dir)
	fails(t, 1, "no row with the names", "import", "--app", "9", write(t, "u.csv", ""), "--data", dir)
}

func TestImportBadLines(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	lines := []struct{ line, want string }{
		{`{"AttrNames":{"0":"color"}}`, `slot 0 is named "sex" and not "color"`},
		{`{"To_Account":"good1","Attrs":{"sex":"f"}}`, ""},
		{`{"To_Account":"good1","Attrs":{"size":"f"}}`, `the app has no attribute "size"`},
		{`{"To_Account":"good1","Attrs":{"sex":""}}`, `Attrs.sex: value "" has 0 bytes, it may have 1 to 50`},
		{`{"To_Account":"good1","Attrs":{"sex":"` + strings.Repeat("x", 51) + `"}}`, "has 51 bytes, it may have 1 to 50"},
		{`{"To_Account":"good1","Attrs":{"build":"f"}}`, "attribute build is not for this account type"},
		{`{"To_Account":"good1","AccountType":1}`, "the account exists with account type 0, not 1"},
		{`{"To_Account":"good1","Tags":["` + strings.Repeat("x", 51) + `"]}`, "Tags[0]: tag"},
		{`{"To_Account":"good1","Tags":["one","two","three"]}`, ""},
		{`{"To_Account":"good2","Tags":["four"]}`, "tag four is new, and the app may have 3 different tags"},
		{`{"To_Account":"good2","AccountType":1,"Tags":["one"]}`, "tag one is not for this account type"},
		{`{"To_Account":"good3","Nick":"` + strings.Repeat("x", 501) + `"}`, "Nick has 501 bytes, it may have 500"},
		{`{"To_Account":"` + strings.Repeat("x", 33) + `"}`, "has 33 bytes, a UserID has at most 32"},
		{`{"To_Account":"你好"}`, "not printable ASCII"},
		{`{"To_Account":"你好","AccountType":1}`, ""},
		{`{"To_Account":"a\u0000b","AccountType":1}`, "holds a control character"},
		{"{\"To_Account\":\"\xff\"}", "no JSON"},
		{"\x00", "no JSON"},
		{long, "it is longer than 65536 bytes"},
		{``, ""},
		{`{"To_Account":"good1","Nick":"later wins"}`, ""},
	}
	var text strings.Builder
	bad := 0
	for _, l := range lines {
		text.WriteString(l.line + "\n")
		if l.want != "" {
			bad++
		}
	}
	for _, running := range []bool{false, true} {
		dir := newApp(t, running, "--attr", "0=sex", "--attr", "1=build", "--attr-type", "1=1", "--max-tags", "3")
		errors := filepath.Join(t.TempDir(), "bad.ndjson")
		r := tidings(t, "import", "--app", "9", write(t, "u.ndjson", text.String()), "--data", dir, "--errors", errors)
		if r.code != 1 || !strings.Contains(r.stdout, "4 users imported in ") || !strings.Contains(r.stdout, fmt.Sprintf(" a second: 2 new, 2 changed, 0 unchanged; %d lines, %d bad.\n", len(lines), bad)) {
			t.Errorf("exit code %d, %q", r.code, r.stdout)
		}
		told := map[int]transfer.Failure{}
		file, err := os.ReadFile(errors)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(file) {
			var f transfer.Failure
			if err := json.Unmarshal(line, &f); err != nil {
				t.Fatal(err)
			}
			told[f.Line] = f
		}
		for i, l := range lines {
			f, isBad := told[i+1]
			if isBad != (l.want != "") || !strings.Contains(f.Reason, l.want) {
				t.Errorf("line %d, %.100s: %+v, want %q", i+1, l.line, f, l.want)
			}
			if isBad && !strings.Contains(r.stderr, fmt.Sprintf("tidings: line %d", i+1)) {
				t.Errorf("line %d is not on standard error:\n%s", i+1, r.stderr)
			}
		}
		got := exported(t, dir)
		for _, want := range []string{`"Tags":["one","three","two"],"Nick":"later wins"`, `"To_Account":"你好"`} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
	}
}

// TestImportBadCSV: a quote that is not closed takes no good line along.
func TestImportBadCSV(t *testing.T) {
	dir := newApp(t, false, "--attr", "0=sex")
	var text strings.Builder
	text.WriteString("To_Account,sex,Nick\n\"open,f,\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "u%d,f,\n", i)
	}
	text.WriteString("\"multi\",f,\"two\nlines\"\nshort\n\"bad\"x,f,\nlast,f,\"no end\n")
	r := tidings(t, "import", "--app", "9", write(t, "u.csv", text.String()), "--data", dir)
	if r.code != 1 || !strings.Contains(r.stdout, "20 001 users imported") || !strings.Contains(r.stdout, "; 20 007 lines, 4 bad.") {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{
		"line 2: ", "(a quote that is not closed?)", "line 20005: it has 1 cells, the first row has 3", "line 20006: ", "line 20007: ",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in %s", want, r.stderr)
		}
	}
	if got := exported(t, dir); !strings.Contains(got, `"Nick":"two\nlines"`) {
		t.Error("no cell of two lines")
	}
}

func TestImportManyBadLines(t *testing.T) {
	dir := newApp(t, false)
	r := tidings(t, "import", "--app", "9", write(t, "u.ndjson", strings.Repeat("x\n", 60_000)+`{"To_Account":"good"}`), "--data", dir)
	if r.code != 1 || strings.Count(r.stderr, "\n") != shownFailures+1 || !strings.Contains(r.stderr, "59 900 more bad lines are not shown; --errors FILE takes all") {
		t.Errorf("exit code %d, %s\n%.1000s", r.code, r.stdout, r.stderr)
	}
	if got := exported(t, dir); !strings.Contains(got, "good") {
		t.Errorf("the good line is not in: %s", got)
	}
}

// TestImportCutOff: what comes before the end of a truncated file is in.
func TestImportCutOff(t *testing.T) {
	dir := newApp(t, false)
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, `{"To_Account":"user%d","Nick":"%x"}`+"\n", i, i*i*7919)
	}
	whole := zipped(t, text.String())
	r := tidings(t, "import", "--app", "9", write(t, "u.ndjson.gz", whole[:len(whole)/2]), "--data", dir)
	if r.code != 1 || !strings.Contains(r.stderr, "the compressed data is cut off; all lines up to ") {
		t.Errorf("%+v", r)
	}
	if n := strings.Count(exported(t, dir), "\n"); n < 1000 || n > 2000 {
		t.Errorf("%d lines of a half file are in", n)
	}
	fails(t, 1, "u.ndjson.gz: the compressed data is cut off; no line is done\n", "import", "--app", "9", write(t, "u.ndjson.gz", whole[:12]), "--data", dir)
	damaged := []byte(whole)
	damaged[len(damaged)-8] ^= 1
	r = tidings(t, "import", "--app", "9", write(t, "u.ndjson.gz", string(damaged)), "--data", dir)
	if r.code != 1 || !strings.Contains(r.stderr, "the compressed data is damaged") {
		t.Errorf("%+v", r)
	}
}

func TestImportReplaceAndDryRun(t *testing.T) {
	for _, running := range []bool{false, true} {
		dir := newApp(t, running)
		must(t, "import", "--app", "9", write(t, "u.ndjson", users), "--data", dir)
		before := must(t, "export", "--app", "9", "--data", dir)

		more := write(t, "more.ndjson", `{"AttrNames":{"5":"city"}}`+"\n"+strings.Repeat("\n", 30_000)+`{"To_Account":"Mary","Attrs":{"city":"Rome"}}`+"\n"+`{"To_Account":"new","Attrs":{"none":"x"}}`)
		r := tidings(t, "import", "--app", "9", more, "--data", dir, "--dry-run", "--json")
		var s importSummary
		if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || r.code != 1 || s.Counts != (transfer.Counts{Users: 1, Changed: 1}) || s.Bad != 1 || s.Lines != 30_003 || !s.DryRun || !strings.Contains(r.stderr, `line 30003, new: the app has no attribute "none"`) {
			t.Errorf("--dry-run: %+v, %v", r, err)
		}
		if after := must(t, "export", "--app", "9", "--data", dir); after != before {
			t.Errorf("a dry run makes of\n%s\n%s", before, after)
		}
		replace := []string{"import", "--app", "9", write(t, "r.ndjson", `{"To_Account":"Mary","Tags":["new"],"Created":5}`), "--data", dir, "--replace", "--json"}
		for _, want := range []transfer.Counts{{Users: 1, Changed: 1}, {Users: 1, Unchanged: 1}} {
			var s importSummary
			if err := json.Unmarshal([]byte(must(t, replace...)), &s); err != nil || s.Counts != want {
				t.Errorf("--replace: %+v, %v; want %+v", s, err, want)
			}
		}
		if got := exported(t, dir); !strings.Contains(got, `{"To_Account":"Mary","Tags":["new"],"Created":5}`+"\n") {
			t.Errorf("--replace leaves\n%s", got)
		}
	}
}

// hook is an output that notices a text.
type hook struct {
	buffer
	text string
	once sync.Once
	do   func()
}

func (h *hook) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(h.text)) {
		h.once.Do(h.do)
	}
	return h.buffer.Write(b)
}

// TestImportResumes interrupts an import in its first chunk and starts it again.
func TestImportResumes(t *testing.T) {
	const n = 60_000
	var ndjson, csv strings.Builder
	csv.WriteString("To_Account,Nick\n")
	fmt.Fprintln(&ndjson, `{"AttrNames":{}}`)
	for i := range n {
		if i == 10 {
			nick := strings.Repeat("x", 501)
			fmt.Fprintf(&ndjson, "{\"To_Account\":\"u%d\",\"Nick\":%q}\n", i, nick)
			fmt.Fprintf(&csv, "u%d,%s\n", i, nick)
			continue
		}
		fmt.Fprintf(&ndjson, "{\"To_Account\":\"u%d\"}\n", i)
		fmt.Fprintf(&csv, "u%d,\n", i)
	}
	for name, text := range map[string]string{
		"u.ndjson": ndjson.String(), "u.csv": csv.String(), "u.ndjson.gz": zipped(t, ndjson.String()), "u.csv.gz": zipped(t, csv.String()),
	} {
		t.Run(name, func(t *testing.T) {
			dir := newApp(t, false)
			file := write(t, name, text)
			args := []string{"import", "--app", "9", file, "--data", dir, "--json"}
			ctx, cancel := context.WithCancel(t.Context())
			out, err := new(buffer), &hook{text: "Nick has 501 bytes", do: cancel}
			code := exitCode(run(ctx, args, strings.NewReader(""), out, err, shell{}.lookup))
			if code != 1 || !strings.Contains(err.String(), "interrupted; all lines up to ") || !strings.Contains(err.String(), "start the same import again to go on from there") {
				t.Fatalf("exit code %d: %s%s", code, out, err)
			}
			// A note about something else is not taken.
			other := newApp(t, false)
			if r := tidings(t, "import", "--app", "9", file, "--data", other, "--dry-run"); r.code != 1 || strings.Contains(r.stderr, "going on") {
				t.Errorf("a dry run: %+v", r)
			}
			r := tidings(t, args...)
			var s importSummary
			if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || r.code != 1 || s.Resumed == 0 || s.Lines >= n || s.Lines+s.Resumed != n+1 || s.Bad != 0 || s.Users != s.Created+s.Changed+s.Unchanged || s.Created == 0 || !strings.Contains(r.stderr, "going on after line ") {
				t.Errorf("again: %+v, %v", r, err)
			}
			if got := strings.Count(exported(t, dir), "\n"); got != n {
				t.Errorf("%d lines of %d are in", got-1, n-1)
			}
			if _, err := os.Stat(file + transfer.NoteSuffix); err == nil {
				t.Error("the note is left")
			}
		})
	}
}

// TestImportServerKilled kills the server in the middle of an import, which says
// how far it got; after a start of the server the same import goes on, and at the
// end every line is in once.
func TestImportServerKilled(t *testing.T) {
	const n = 130_000 // lines of three chunks
	dir := t.TempDir()
	file := write(t, "tidings.yaml", "listen: 127.0.0.1:0\nmetrics_listen: \"off\"\ndata: "+dir+"\napps: [{sdkappid: 9, attr_names: {0: sex}}]\n")
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "serve", "--config", file)
		stdout := new(buffer)
		cmd.Stdout, cmd.Stderr = stdout, t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stdout.await(t, readyLine, 1)
		return cmd
	}
	var text strings.Builder
	for i := range n {
		nick := "n"
		if i == 60_000 {
			nick = strings.Repeat("x", 501)
		}
		fmt.Fprintf(&text, "{\"To_Account\":\"u%06d\",\"Attrs\":{\"sex\":\"f\"},\"Tags\":[\"t%d\"],\"Nick\":%q}\n", i, i%50, nick)
	}
	users := write(t, "u.ndjson", text.String())
	args := []string{"import", "--app", "9", users, "--data", dir, "--json"}

	server := start()
	stderr := &hook{text: "Nick has 501 bytes", do: func() { _ = server.Process.Kill() }}
	code := exitCode(run(t.Context(), args, strings.NewReader(""), new(buffer), stderr, shell{}.lookup))
	_ = server.Wait() // it was killed
	if want := regexp.MustCompile(`u.ndjson: the server stopped before it had answered; all lines up to \d+ \d+ are done; start it, then the same import again to go on from there\n$`); code != 1 || !want.MatchString(stderr.String()) {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	must(t, "check", "--data", dir)

	server = start()
	r := tidings(t, args...)
	var s importSummary
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || s.Resumed < 60_000 || s.Resumed+s.Lines != n || !strings.Contains(r.stderr, "going on after line ") {
		t.Errorf("again: %+v, %v", r, err)
	}
	if got := strings.Count(exported(t, dir), "\n"); got != n { // one line is bad, one is the header
		t.Errorf("%d users of %d are in", got-1, n-1)
	}
	if out := must(t, "audience", "count", "--data", dir, "--app", "9", "--where", `sex == "f" && tag("t7")`); !strings.Contains(out, "2 600") {
		t.Errorf("of them %s are counted, want 2 600", out)
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	must(t, "check", "--data", dir)
}

// TestImportStoppedAtFirst: a server that ends in the first chunk may have done some of
// it.
func TestImportStoppedAtFirst(t *testing.T) {
	j := &importJob{importFlags: new(importFlags), Import: &transfer.Import{Sent: true}, name: "-"}
	want := "standard input: the server stopped before it had answered; it is not known which lines are done; start it, then the same import again"
	if got := j.stopped(control.ErrStopped, false); got.Error() != want {
		t.Errorf("says %v, want %s", got, want)
	}
}

// TestImportNote: a note of another import is not taken for one's own.
func TestImportNote(t *testing.T) {
	dir := newApp(t, false)
	file := write(t, "u.ndjson", `{"To_Account":"a"}`)
	for note, want := range map[string]string{
		"nonsense":   "cannot be read",
		`{"size":1}`: "is about a file that has changed since",
	} {
		if err := os.WriteFile(file+transfer.NoteSuffix, []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := tidings(t, "import", "--app", "9", file, "--data", dir); r.code != 0 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stdout, "1 user imported") {
			t.Errorf("note %s: %+v", note, r)
		}
	}
}

// TestExportFails: an export that does not come to its end leaves no file.
func TestExportFails(t *testing.T) {
	for _, running := range []bool{false, true} {
		dir := newApp(t, running)
		must(t, "import", "--app", "9", write(t, "u.ndjson", users), "--data", dir)
		folder := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := shell{}.run(ctx, "", "export", "--app", "9", "--data", dir, "--output", filepath.Join(folder, "u.ndjson"))
		if left, err := os.ReadDir(folder); r.code != 1 || err != nil || len(left) > 0 {
			t.Errorf("an export that was interrupted: %+v leaves %v, %v", r, left, err)
		}
		none := filepath.Join(folder, "none", "u.ndjson")
		fails(t, 1, " "+none+": no such file", "export", "--app", "9", "--data", dir, "--output", none)
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out, 200, "users")
	p.terminal = true
	for i := range 3 {
		p.start, p.last = p.start.Add(-lineInterval), p.last.Add(-lineInterval)
		p.update(int64(50*(i+1)), 1000*(i+1), nil)
	}
	p.clear()
	if got := out.String(); !strings.Contains(got, "75%  3 000 users, ") || !strings.Contains(got, " left") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("prints %q", got)
	}
	out.Reset()
	p = newProgress(&out, 0, "users")
	p.update(1, 1, nil)
	p.last = p.last.Add(-lineInterval)
	p.update(2, 5, func() string { return ", 1 bad line" })
	if got := out.String(); !strings.HasPrefix(got, "tidings: 5 users, ") || !strings.HasSuffix(got, ", 1 bad line\n") {
		t.Errorf("prints %q", got)
	}
}

// TestImportMaxBad: too many bad lines end an import after the chunk in which they are,
// and the next run goes on behind it.
func TestImportMaxBad(t *testing.T) {
	dir := newApp(t, false)
	var text strings.Builder
	for i := range 120_000 {
		if i%10_000 == 1 {
			text.WriteString("nonsense\n")
			continue
		}
		fmt.Fprintf(&text, "{\"To_Account\":\"u%d\"}\n", i)
	}
	file := write(t, "u.ndjson", text.String())
	args := []string{"import", "--app", "9", file, "--data", dir, "--max-bad", "4"}
	r := tidings(t, args...)
	if r.code != 1 || !strings.Contains(r.stderr, "too many lines are bad: 5; all lines up to 50 000 are done; start the same import again to go on from there") {
		t.Errorf("first: %+v", r)
	}
	if r = tidings(t, args...); r.code != 1 || !strings.Contains(r.stderr, "all lines up to 100 000 are done") {
		t.Errorf("again: %+v", r)
	}
	if r = tidings(t, args...); r.code != 1 || !strings.Contains(r.stdout, "19 998 users imported") {
		t.Errorf("to the end: %+v", r)
	}
	fails(t, exitUsage, "--max-bad -1 is less than 0", "import", "--app", "9", file, "--data", dir, "--max-bad", "-1")
}
