package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckConfig: it finds what would keep a server from starting, tells what a start
// would change, with a server and without one, and changes nothing itself.
func TestCheckConfig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	check := func(text string, args ...string) result {
		t.Helper()
		return tidings(t, append([]string{"serve", "--check-config", "--config", write(t, "tidings.yaml", text), "--data", dir}, args...)...)
	}
	const file = "metrics_listen: \"off\"\napps:\n- sdkappid: 5\n  secret_key: very-secret-text\n  admins: [a]\n  limits: {default: 7}\n- sdkappid: 6\n"
	if r := check("metrics_apps: 5\n"); r != (result{"tidings: the configuration is good: 0 apps\n", "", 0}) {
		t.Errorf("%+v", r)
	}
	if r := check(file); r != (result{"tidings: the configuration is good: 2 apps, of which a start makes 2 and changes 0\n", "", 0}) {
		t.Errorf("%+v", r)
	}
	readable := write(t, "readable.yaml", file)
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := check(file, "--config", readable); r.code != 0 || !strings.Contains(r.stderr, "every user of this machine can read the file") || strings.Contains(r.stderr, "very-secret") {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
	for _, test := range []struct{ text, want string }{
		{"listen: x\n", "is not an address"},
		{"demo: true\n" + file, "--demo makes an app of its own"},
	} {
		if r := check(test.text); r.code != exitConfig && r.code != exitUsage || !strings.Contains(r.stderr, test.want) || r.stdout != "" {
			t.Errorf("%q: %+v", test.text, r)
		}
	}
	must(t, "app", "create", "5", "--attr", "0=city", "--secret-key-file", write(t, "key", "very-secret-text"), "--admin", "a", "--limit", "default=7", "--data", dir)
	must(t, "app", "create", "6", "--data", dir)
	for running := range 2 {
		if running == 1 {
			serve(t, dir)
		}
		if r := check(file); r != (result{"tidings: the configuration is good: 2 apps\n", "", 0}) {
			t.Errorf("%+v", r)
		}
		must(t, "admin", "add", "5", "bob", "--data", dir)
		must(t, "key", "add", "5", "--primary", "--data", dir)
		if r := check(file); r != (result{"tidings: the configuration is good: 2 apps, of which a start makes 0 and changes 1\n  app 5: secret_key, admins\n", "", 0}) {
			t.Errorf("%+v", r)
		}
		r := check("apps:\n- {sdkappid: 5, attr_names: {0: city}, attr_types: {0: 1}}\n")
		if r.code != exitConfig || !strings.Contains(r.stderr, "app 5 of the configuration: attr_names of app 5:") {
			t.Errorf("%+v", r)
		}
		if running == 0 {
			must(t, "admin", "remove", "5", "bob", "--data", dir)
			must(t, "key", "remove", "5", "1", "--data", dir)
			must(t, "key", "remove", "5", "2", "--data", dir)
			must(t, "key", "add", "5", "--primary", "--secret-key-file", write(t, "key", "very-secret-text"), "--data", dir)
			before := tree(t, dir)
			if r := check(file); r.code != 0 {
				t.Errorf("%+v", r)
			}
			if after := tree(t, dir); after != before {
				t.Errorf("the directory was\n%s\nand is\n%s", before, after)
			}
		}
	}
	// What does not fit keeps a server from starting too, and starting it again cannot help.
	fails(t, exitConfig, "app 5 of the configuration", "serve", "--config", write(t, "t.yaml", "apps:\n- {sdkappid: 5, attr_names: {0: city}, attr_types: {0: 1}}\n"),
		"--data", stoppedCopy(t), "--listen", "127.0.0.1:0")
	fails(t, 1, "is no data directory of tidings, and index.html is in it", "serve", "--check-config", "--data", filepath.Dir(write(t, "index.html", "")))
}

// stoppedCopy is a directory of an app 5 with another attribute type than the test wants.
func stoppedCopy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, "app", "create", "5", "--attr", "0=city", "--data", dir)
	return dir
}

// tree lists the files of a directory with their sizes and times.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "LOCK" { // opened anew by whoever reads
			return err
		}
		info, err := e.Info()
		if err == nil {
			b.WriteString(path + " " + info.Mode().String() + " " + number(int(info.Size())) + " " + info.ModTime().String() + "\n")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
