package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/admin"
	"tidings/internal/store/journal"
)

// session is what an operator writes. It must go the same way with a server
// running and without. KEY is a file with a key, "<" is what stands on
// standard input.
const session = `
app list
app show 1400000001
app create
app create 1400000007 --name shop --description books --attr 0=sex --attr 2=app_build --attr-type 2=1 --admin ops --create-accounts --max-accounts 1000000 --user-ids utf8 --delete-accounts=false --reimport-wait 30d --limit default=0 --limit timpush/get_attr=50 --host push.example.com --address 10.0.0.0/8 --address 192.0.2.7 --blocked-account eve --disabled-command timpush/set_attr --secret-key-file KEY
app create 1400000007
app list
app list --json
app show 1400000007
app show 1400000007 --json
app show 99
app set 1400000007 --address '' --limit '' --admin '' --host '' --blocked-account '' --disabled-command '' --attr 3=plan --name books
app set 1400000007
app set 1400000007 --attr 0=sex --attr 1=sex
app set 1400000007 --attr 1=sex
app set 1400000007 --limit default=-1 --limit timpush/none=1 --disabled-command none --host http://x
app set 1400000007 --limit default
app set 1400000007 --max-accounts 0 --reimport-wait 0
app set 1400000007 --max-accounts -1 --reimport-wait 93d
app set 1400000007 --reimport-wait soon
app set 1400000007 --address 10.0.0.1/8
app set 99 --name x
app suspend 1400000007
app disable 1400000007 --json
app enable 1400000007
key list 1400000007
key list 1400000007 --json
key add 1400000007
key add 1400000007 --primary --secret-key-file - < another-secret-key
key add 1400000007 --secret-key-file - --json < a-third-secret-key
key add 1400000007 --secret-key-file - < short
key add 1400000007 --secret-key-file -
key add 1400000007 --secret-key-file KEY
key retire 1400000007 1 --ends 2099-12-31T00:00:00Z
key retire 1400000007 2 --in 24h
key retire 1400000007 4 --ends 2020-01-01
key retire 1400000007 3 --in 1d
key retire 1400000007 1
key retire 1400000007 1 --never --in 1d
key retire 1400000007 1 --ends tomorrow
key list 1400000007
key retire 1400000007 1 --never --json
key remove 1400000007 2
key remove 1400000007 2
key remove 1400000007 x
key list 1400000007 --reveal
key remove 1400000007 3
key remove 1400000007 1
key add 1400000007 --primary
admin list 1400000007
admin add 1400000007 boss
admin add 1400000007 ops --json
admin add 1400000007 ''
admin remove 1400000007 ops
admin remove 1400000007 nobody
admin remove 1400000007 administrator
sig make --app 1400000007
sig make --app 1400000007 --identifier boss --expire 24h --json
sig make --app 1400000007 --identifier guest
sig make --app 1400000007 --secret-key-file KEY --json
sig make --app 99
sig make --app 1400000007 --expire 1y
sig check --app 1400000007 nonsense
sig check --app 1400000007 nonsense --json
check
check --json
app delete 1400000007
app delete 1400000007 --yes
app disable 1400000007
app delete 1400000007 --yes
app show 1400000007
app list
`

func TestOperatorSession(t *testing.T) {
	for _, mode := range []string{"stopped", "running"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			key := write(t, "key", "the-key-of-the-shop\n")
			if mode == "running" {
				serve(t, dir)
			}
			must(t, "app", "create", "5", "--data", dir)
			must(t, "app", "disable", "5", "--data", dir)
			must(t, "app", "delete", "5", "--yes", "--data", dir)
			var transcript strings.Builder
			for line := range strings.Lines(strings.TrimSpace(session)) {
				transcript.WriteString(step(t, strings.TrimSpace(line), dir, key))
			}
			golden(t, "operator.txt", transcript.String())
		})
	}
}

// step runs one line of a session and tells what came of it, without what
// differs each time.
func step(t *testing.T, line, dir, key string) string {
	t.Helper()
	command, stdin, _ := strings.Cut(line, " < ")
	args := append(strings.Fields(command), "--data", dir)
	for i := range args {
		switch args[i] {
		case "KEY":
			args[i] = key
		case "''":
			args[i] = ""
		}
	}
	r := shell{}.run(t.Context(), stdin, args...)
	var b strings.Builder
	fmt.Fprintf(&b, "$ tidings %s\n%s", line, r.stdout)
	for text := range strings.Lines(r.stderr) {
		b.WriteString("! " + text)
	}
	if r.code != 0 {
		fmt.Fprintf(&b, "exit code %d\n", r.code)
	}
	return scrub(strings.ReplaceAll(b.String(), dir, "DATA")) + "\n"
}

var scrubbed = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`20[1-8]\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TTTTTTTTTTTTTTTTTTTT"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "SECRET"},
	{regexp.MustCompile(`\beJ[A-Za-z0-9*_-]{100,}`), "TICKET"},
	{regexp.MustCompile(`request [0-9a-f]{16}`), "request ID"},
}

func scrub(s string) string {
	for _, r := range scrubbed {
		s = r.what.ReplaceAllString(s, r.by)
	}
	return s
}

// TestSecretsStaySecret runs whatever shows something about an app, and looks
// for its keys.
func TestSecretsStaySecret(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, "--log-level", "debug")
	must(t, "app", "create", "9", "--data", dir)
	must(t, "app", "create", "10", "--data", dir, "--secret-key-file", write(t, "key", "a-key-that-was-given"))
	var keys []admin.Key
	if err := json.Unmarshal([]byte(must(t, "key", "list", "9", "--reveal", "--json", "--data", dir)), &keys); err != nil {
		t.Fatal(err)
	}
	secrets := []string{keys[0].Secret, "a-key-that-was-given"}
	if len(secrets[0]) != 64 {
		t.Fatalf("--reveal shows %q", secrets[0])
	}
	for _, line := range []string{
		"app list", "app list --json", "app show 9", "app show 9 --json", "app set 9 --name x --json", "app disable 9 --json",
		"app enable 9 --json", "key list 9", "key list 9 --json", "key retire 9 1 --never", "admin list 9 --json",
		"sig make --app 9 --json", "check --json", "app show 10 --json", "key list 10 --json", "app create 9",
		"call --app 9 timpush/get_attr_name", "call --app 9 timpush/get_attr_name --curl",
	} {
		r := tidings(t, append(strings.Fields(line), "--data", dir)...)
		for _, secret := range secrets {
			if strings.Contains(r.stdout+r.stderr, secret) {
				t.Errorf("tidings %s shows a secret key", line)
			}
		}
	}
	for _, secret := range secrets {
		if r := s.stop(); strings.Contains(r.stdout+r.stderr, secret) {
			t.Error("the server shows a secret key")
		}
	}
}

func TestDeleteAsks(t *testing.T) {
	for _, c := range []struct {
		answer string
		gone   bool
	}{{"9\n", true}, {"yes\n", false}, {"", false}} {
		dir := t.TempDir()
		must(t, "app", "create", "9", "--data", dir)
		must(t, "app", "disable", "9", "--data", dir)
		var out buffer
		e := &env{stdin: strings.NewReader(c.answer), stdout: &out, stderr: &out, lookup: shell{}.lookup}
		cmd := e.appDeleteCommand()
		dataFlag(cmd.Flags())
		if err := cmd.Flags().Set("data", dir); err != nil {
			t.Fatal(err)
		}
		cmd.SetContext(t.Context())
		err := e.confirmDelete(cmd, 9)
		if (err == nil) != c.gone {
			t.Errorf("answer %q: %v", c.answer, err)
		}
		if !strings.Contains(out.String(), "Delete app 9, app 9, with 1 user?") {
			t.Errorf("asks %q", &out)
		}
	}
	if isTerminal(strings.NewReader("")) {
		t.Error("a reader is a terminal")
	}
}

func TestCheckFindings(t *testing.T) {
	dir := t.TempDir()
	must(t, "app", "create", "9", "--data", dir)
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{FormatMajorVersion: pebble.FormatValueSeparation, Logger: quiet{}, Merger: journal.Merger})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set([]byte("\xf0what"), nil, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	want := `key "\xf0what": belongs to no table` + "\n1 app, 1 user, 2 other records: 1 finding.\n"
	if r := tidings(t, "check", "--data", dir); r.code != 1 || r.stdout != want || r.stderr != "" {
		t.Errorf("stopped: exit code %d, stderr %q\n%s", r.code, r.stderr, r.stdout)
	}
	server := serve(t, dir)
	if r := tidings(t, "check", "--data", dir); r.code != 1 || r.stdout != want || r.stderr != "" {
		t.Errorf("running: exit code %d, stderr %q\n%s", r.code, r.stderr, r.stdout)
	}
	server.stop()

	manifests, err := filepath.Glob(filepath.Join(dir, "db", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no manifest: %v", err)
	}
	for _, file := range manifests {
		if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := tidings(t, "check", "--data", dir); r.code != 1 || !strings.HasPrefix(r.stdout, "database: the database in "+dir) ||
		!strings.HasSuffix(r.stdout, "\nNothing could be counted: 1 finding; see Damage in doc/operating.md.\n") {
		t.Errorf("damaged: exit code %d, stderr %q\n%s", r.code, r.stderr, r.stdout)
	}
	for _, args := range [][]string{{"app", "list"}, {"serve", "--listen", "127.0.0.1:0"}} {
		fails(t, 1, "the database in "+dir, append(args, "--data", dir)...)
		fails(t, 1, "; see Damage in doc/operating.md\n", append(args, "--data", dir)...)
	}
	fails(t, 2, "could not check: there is no data directory", "check", "--data", filepath.Join(dir, "none"))
	fails(t, 2, "could not check: ", "check", "--data", t.TempDir())
}

// TestCheckLog: without its log a directory does not open, and a check says why with
// the path once; a file that does not belong there is a finding too.
func TestCheckLog(t *testing.T) {
	dir := t.TempDir()
	must(t, "app", "create", "9", "--data", dir)
	must(t, "checkpoint", "--data", dir)
	check := func(want string) {
		t.Helper()
		want += "\nNothing could be counted: 1 finding; see Damage in doc/operating.md.\n"
		if r := tidings(t, "check", "--data", dir); r.code != 1 || r.stdout != want || r.stderr != "" {
			t.Errorf("exit code %d, stderr %q\n%swant\n%s", r.code, r.stderr, r.stdout, want)
		}
	}
	foreign := filepath.Join(dir, "log", "notes.txt")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(foreign + " is damaged: it is no segment of the log")
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "log", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no log: %v", err)
	}
	for _, file := range segments {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	checkpoints, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*"))
	if err != nil || len(checkpoints) != 1 {
		t.Fatalf("checkpoints %v, %v", checkpoints, err)
	}
	check(filepath.Join(dir, "log") + " is damaged: the log has no groups, and there is a checkpoint " + checkpoints[0] + " at group 2")
}

// quiet is a logger of Pebble that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

func TestDataFromEnvironment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	sh := shell{map[string]string{"TIDINGS_DATA": dir}}
	if r := sh.run(t.Context(), "", "app", "create", "9"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	if r := sh.run(t.Context(), "", "app", "show", "9"); r.code != 0 {
		t.Error(r.stderr)
	}
	if r := sh.run(t.Context(), "", "app", "list", "--data", filepath.Join(dir, "other")); r.code != 1 {
		t.Errorf("--data does not win: %s", r.stdout)
	}
}
