package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tidings/internal/testenv"
)

// A drill does what the operator's guide says about backups, with the program as it is
// built, in places of its own.
type drill struct {
	*testing.T
	root  string
	until string // the second before the mistake
}

// systemctl starts and stops a server as systemd does.
const systemctl = `#!/bin/sh
case $1 in
start)
	: >ROOT/out
	tidings serve --config ROOT/tidings.yaml >>ROOT/out 2>>ROOT/err &
	echo $! >ROOT/pid
	until grep -q 'ready on' ROOT/out; do kill -0 $(cat ROOT/pid) || exit 1; sleep 0.02; done;;
stop)
	kill $(cat ROOT/pid)
	while kill -0 $(cat ROOT/pid) 2>/dev/null; do sleep 0.02; done
	rm ROOT/pid ROOT/out;;
esac
`

// TestBackupDocument follows "Backup and restore" of doc/operating.md, and compares
// what it shows.
func TestBackupDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the server")
	}
	_, err := exec.LookPath("sh")
	testenv.Need(t, "sh", err)
	text, err := os.ReadFile(filepath.Join("..", "..", "doc", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "\n## Backup and restore\n")
	page, _, _ = strings.Cut(page, "\n## ")
	d := newDrill(t)
	d.prepare()
	commands := 0
	for _, section := range strings.Split(page, "\n### ")[1:] {
		d.before(section)
		for _, block := range regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(section, -1) {
			for _, shown := range strings.Split("\n"+block[1], "\n$ ")[1:] {
				command, want, _ := strings.Cut(strings.TrimSuffix(shown, "\n"), "\n")
				got, err := d.run(command)
				if err != nil || scrubBackup(got) != scrubBackup(want) {
					t.Fatalf("$ %s\n%s\n%v\nthe page shows\n%s", command, got, err, want)
				}
				commands++
			}
		}
	}
	if commands < 12 {
		t.Errorf("the page has %d commands", commands)
	}
	for account, want := range map[string]string{"anna": "Imported", "wrong": "NotImported", "mary": "Imported", "paul": "Imported"} {
		if got := d.call("im_open_login_svc/account_check", fmt.Sprintf(`{"CheckItem":[{"UserID":%q}]}`, account)); !strings.Contains(got, `"`+want+`"`) {
			t.Errorf("after the last restore %s: %s, want %s", account, got, want)
		}
	}
	wantPrivate(t, filepath.Join(d.root, "backup"))
	wantPrivate(t, d.data())
}

func newDrill(t *testing.T) *drill {
	d := &drill{T: t, root: t.TempDir()}
	bin := filepath.Join(d.root, "bin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "tidings"), "tidings/cmd/tidings").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(strings.ReplaceAll(systemctl, "ROOT", d.root)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.root, "tidings.yaml"), []byte("listen: 127.0.0.1:0\nmetrics_listen: \"off\"\nkeep_log: 7d\ndata: "+d.data()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(d.data()), filepath.Join(d.root, "backup"), filepath.Join(d.root, "tmp")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(d.root, "pid")); err == nil {
			if out, err := exec.Command(filepath.Join(bin, "systemctl"), "stop").CombinedOutput(); err != nil {
				t.Errorf("stopping: %v\n%s", err, out)
			}
		}
	})
	return d
}

func (d *drill) data() string { return filepath.Join(d.root, "var/lib/tidings") }

// run runs a command of the page.
func (d *drill) run(command string) (string, error) {
	command = regexp.MustCompile(` (/var/lib|/backup|/tmp)/`).ReplaceAllString(command, " "+d.root+"$1/")
	if d.until != "" {
		command = backupTime.ReplaceAllString(command, d.until)
	}
	cmd := exec.CommandContext(d.Context(), "sh", "-c", "umask 022; "+command)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(d.root, "bin")+":"+os.Getenv("PATH"), "TIDINGS_DATA="+d.data())
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(strings.ReplaceAll(string(out), d.root, ""), "\n"), err
}

// must runs a command that is not on the page.
func (d *drill) must(command string) string {
	d.Helper()
	out, err := d.run(command)
	if err != nil {
		d.Fatalf("$ %s\n%s%v", command, out, err)
	}
	return out
}

// call makes a call, with a ticket of a second that a restore has not made invalid.
func (d *drill) call(command, body string) string {
	d.Helper()
	for range 100 {
		out, err := d.run("tidings call --app 1400000001 " + command + " '" + body + "'")
		if err == nil {
			return out
		}
		if !strings.Contains(out, "70") {
			d.Fatalf("%s: %s", command, out)
		}
		time.Sleep(100 * time.Millisecond) // a ticket of the second in which the restore ended all is refused
	}
	d.Fatalf("%s: no ticket is accepted", command)
	return ""
}

// prepare makes the server that is backed up.
func (d *drill) prepare() {
	d.must("systemctl start")
	d.must("tidings app create --name shop --admin backend")
	d.must("tidings key add 1400000001 --primary")
	d.call("im_open_login_svc/multiaccount_import", `{"AccountList":[{"UserID":"mary"},{"UserID":"paul"}]}`)
}

// before does what happens between two sections.
func (d *drill) before(section string) {
	title, _, _ := strings.Cut(section, "\n")
	switch title {
	case "Restoring":
		d.must("tidings key remove 1400000001 1")
		d.call("im_open_login_svc/kick", `{"UserID":"mary"}`)
		d.call("im_open_login_svc/account_delete", `{"DeleteItem":[{"UserID":"paul"}]}`)
	case "To a second after the backup":
		d.must("tidings backup /backup/tuesday")
		d.call("im_open_login_svc/account_import", `{"UserID":"anna"}`)
		d.must("tidings checkpoint") // so that some of the log is kept, and some is not
		d.call("im_open_login_svc/kick", `{"UserID":"anna"}`)
		d.must("tidings checkpoint")
		d.until = time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
		time.Sleep(1100 * time.Millisecond) // the second has to pass
		d.call("im_open_login_svc/account_import", `{"UserID":"wrong"}`)
		d.must("tidings checkpoint")
		if kept, err := filepath.Glob(filepath.Join(d.data(), "kept-log", "0*")); err != nil || len(kept) == 0 {
			d.Errorf("no segment is kept: %v", err)
		}
	}
}

var backupTime = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// scrubBackup leaves out what differs each time.
func scrubBackup(s string) string {
	s = backupTime.ReplaceAllString(s, "TIME")
	s = regexp.MustCompile(`position \d+`).ReplaceAllString(s, "position N")
	return regexp.MustCompile(`\d+\.\d (k?B|s)\b`).ReplaceAllString(s, "N $1")
}

// TestBackupCommand: what the two commands print, and what they refuse.
func TestBackupCommand(t *testing.T) {
	place := t.TempDir()
	at := func(name string) string { return filepath.Join(place, name) }
	data := at("data")
	must(t, "app", "create", "9", "--data", data)
	var report backupReport
	if err := json.Unmarshal([]byte(must(t, "backup", at("one"), "--data", data, "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if report.Dir != at("one") || report.Verified == nil || report.Verified.Apps != 1 || report.Verified.Users != 1 || report.Bytes == 0 || report.Position == 0 {
		t.Errorf("backup --json: %+v", report)
	}
	if out := must(t, "backup", at("two"), "--data", data, "--no-verify"); !strings.Contains(out, "Not verified: tidings check --data "+at("two")) {
		t.Errorf("backup --no-verify: %s", out)
	}
	if err := os.Mkdir(at("open"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at("open"), 0o755); err != nil { // this process may have a umask of its own
		t.Fatal(err)
	}
	must(t, "backup", at("open"), "--data", data)
	if info, err := os.Stat(at("open")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a backup in an empty directory: %v, %v", info.Mode(), err)
	}
	fails(t, 1, "no backup was made: "+at("one")+" is not empty", "backup", at("one"), "--data", data)
	fails(t, 1, "would be in the data directory", "backup", filepath.Join(data, "x"), "--data", data)
	fails(t, 1, "there is no data directory", "backup", at("three"), "--data", at("none"))
	if err := os.Symlink(data, at("link")); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, "would be in the data directory", "backup", at("link/x"), "--data", data)
	fails(t, 1, at("one")+" is a backup, which must not change", "app", "create", "10", "--data", at("one"))
	fails(t, 1, at("one")+" is a backup, which must not change", "serve", "--listen", "127.0.0.1:0", "--data", at("one"))
	must(t, "app", "show", "9", "--data", at("one"))

	fails(t, exitUsage, `--until "yesterday" is not a time`, "restore", at("one"), "--data", at("new"), "--until", "yesterday")
	fails(t, 1, "the backup can be restored to "+report.Time.Format(time.RFC3339)+" or later", "restore", at("one"), "--data", at("new"), "--until", "2020-01-01T00:00:00Z")
	fails(t, 1, "nothing was restored: "+data+" is not empty", "restore", at("one"), "--data", data)
	fails(t, 1, data+" is no complete backup: it has no manifest.json", "restore", data, "--data", at("new"))
	fails(t, 1, "holds other files than segments of a log", "restore", at("one"), "--data", at("new"), "--log", place)
	must(t, "app", "disable", "9", "--data", data)
	must(t, "app", "delete", "9", "--yes", "--data", data)
	var restored restoreReport
	if err := json.Unmarshal([]byte(must(t, "restore", at("one"), "--data", at("new"), "--compare", data, "--json")), &restored); err != nil {
		t.Fatal(err)
	}
	if len(restored.Returned) != 1 || restored.Returned[0].Kind != "app" || !restored.Compared || restored.Users != 1 || restored.TicketsEnded.IsZero() {
		t.Errorf("restore --json: %+v", restored)
	}
	out := must(t, "restore", at("two"), "--data", at("newer"), "--keep-tickets", "--until", "2099-01-01T00:00:00Z")
	for _, want := range []string{"The log that is there ends at ", "Tickets are as they were"} {
		if !strings.Contains(out, want) {
			t.Errorf("restore prints no %q:\n%s", want, out)
		}
	}
	must(t, "check", "--data", at("newer"))
	file := filepath.Join(at("two"), "log", "0000000001")
	if err := os.Truncate(file, 100); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, file+" is damaged: it has 100 bytes", "restore", at("two"), "--data", at("newest"))
	if r := tidings(t, "check", "--data", at("two")); r.code != 1 || !strings.Contains(r.stdout, file+": it has 100 bytes") {
		t.Errorf("check of a damaged backup: %+v", r)
	}
	if _, err := os.Stat(at("newest")); !os.IsNotExist(err) {
		t.Errorf("a restore that failed leaves its directory: %v", err)
	}
}

// TestCopyOfRunning: a copy that cp made of a running server's directory is found out.
func TestCopyOfRunning(t *testing.T) {
	place := t.TempDir()
	data, copied := filepath.Join(place, "data"), filepath.Join(place, "copy")
	s := serve(t, data)
	must(t, "app", "create", "9", "--data", data)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", data, copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	s.stop()
	if r := tidings(t, "check", "--data", copied); r.code != 1 || !strings.Contains(r.stdout, "is a copy that was made while a server was changing the original") {
		t.Errorf("check of the copy: %+v", r)
	}
	fails(t, 1, "is a copy that was made while", "serve", "--listen", "127.0.0.1:0", "--data", copied)
	must(t, "check", "--data", data)
}
