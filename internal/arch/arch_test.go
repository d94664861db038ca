// Package arch holds no code, only the test of how packages may depend on each
// other.
package arch

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// I/O that a package without I/O does not reach, not even through others. (os
// itself is under fmt; that it is not imported is in neverImports.)
var ioPackages = []string{"net", "net/http", "os/exec", "os/signal", "database/sql", "github.com/cockroachdb/pebble/v2", "github.com/prometheus/client_golang/prometheus"}

// backends are what stores and what delivers.
var backends = []string{"tidings/internal/store/lsm", "github.com/cockroachdb/pebble/v2"}

// neverReaches maps a package to those it must not depend on, even through others. That
// it depends on nothing above its floor goes without saying (floors).
var neverReaches = map[string][]string{
	"tidings/internal/apierr":   append([]string{"tidings/..."}, ioPackages...),
	"tidings/internal/audience": append(but("tidings/internal/apierr", "tidings/internal/wording"), ioPackages...),
	"tidings/internal/usersig":  append(but("tidings/internal/apierr"), ioPackages...),
	"tidings/internal/index":    append(but("tidings/internal/apierr", "tidings/internal/audience", "tidings/internal/wording"), ioPackages...),
	"tidings/internal/app":      append(but("tidings/internal/channel", "tidings/internal/apierr", "tidings/internal/audience", "tidings/internal/wording"), "net/http", "os/exec", "database/sql", "github.com/cockroachdb/pebble/v2"),
	"tidings/internal/store":    append(but(), ioPackages...),
	"tidings/internal/wording":  append(but(), ioPackages...),
	"tidings/internal/config":   append(but("tidings/internal/channel", "tidings/internal/apierr", "tidings/internal/audience", "tidings/internal/app", "tidings/internal/wording"), append(backends, "net/http")...),
	"tidings/internal/gate":     but("tidings/internal/channel", "tidings/internal/apierr", "tidings/internal/audience", "tidings/internal/app", "tidings/internal/usersig", "tidings/internal/wording"),
	"tidings/internal/api":      but("tidings/internal/device", "tidings/internal/dispatch", "tidings/internal/report", "tidings/internal/task", "tidings/internal/channel", "tidings/internal/gate", "tidings/internal/apierr", "tidings/internal/audience", "tidings/internal/app", "tidings/internal/usersig", "tidings/internal/wording"),
	"tidings/internal/userfile": append(but("tidings/internal/apierr", "tidings/internal/audience", "tidings/internal/wording"), ioPackages...),
	"tidings/internal/channel":  append(but(), ioPackages...),
	"tidings/internal/simulate": but(), // what it is to test must not be what it is made from
	"tidings/internal/admin":    {"net/http"},
	"tidings/internal/transfer": {"net/http"},
	"tidings/client":            append(but("tidings/internal/apierr", "tidings/internal/usersig"), "github.com/...", "-github.com/go-json-experiment/json/...", "golang.org/..."),

	"tidings/internal/channel/h2":  append(but(), "net/http/httptest"),
	"tidings/internal/channel/fcm": append(but("tidings/internal/channel", "tidings/internal/channel/h2"), "net/http/httptest"),

	"tidings/internal/store/journal": append(but("tidings/internal/store"), "net/http/httptest"),
	"tidings/internal/store/lsm":     {"net/http/httptest", "tidings/internal/config"},
	"tidings/internal/server":        {"tidings/client", "testing"},
	"tidings/cmd/tidings":            {"testing", "net/http/httptest", "github.com/santhosh-tekuri/..."},
}

// but returns a pattern for every package of the module except some.
func but(except ...string) []string {
	list := []string{"tidings/..."}
	for _, e := range except {
		list = append(list, "-"+e)
	}
	return list
}

// neverImports maps a package to those it must not import itself.
var neverImports = map[string][]string{
	"tidings/internal/apierr":   {"os", "io/fs", "syscall"},
	"tidings/internal/audience": {"os", "io/fs", "syscall"}, // time for dates in conditions, no clock
	"tidings/internal/usersig":  {"os", "io/fs", "syscall"},
	"tidings/internal/userfile": {"os", "io/fs", "syscall", "time"},
	"tidings/internal/index":    {"os", "io/fs", "syscall", "time"},
	"tidings/internal/app":      {"os", "io/fs", "syscall"},
	"tidings/internal/store":    {"os", "io/fs", "syscall"},
}

// importers maps a package to the only ones that may import it.
var importers = map[string][]string{
	"tidings/internal/store/lsm":       {"tidings/internal/server"},
	"github.com/cockroachdb/pebble/v2": {"tidings/internal/store/journal"},
	"tidings/internal/store/journal":   {"tidings/internal/store/lsm"},
	"tidings/internal/server":          {"tidings/internal/cli"},
	"tidings/internal/cli":             {"tidings/cmd/tidings"},
	"tidings/internal/index":           {"tidings/internal/store/lsm"},
}

// A node is a package: what it imports, and all that it depends on.
type node struct{ imports, deps []string }

func TestDependencyDirection(t *testing.T) {
	packages := list(t)
	for _, p := range slices.Sorted(maps.Keys(neverReaches)) {
		n, ok := packages[p]
		if !ok {
			t.Errorf("package %s is in neverReaches and does not exist", p)
		}
		for _, d := range n.deps {
			if matches(neverReaches[p], d) {
				t.Errorf("%s must never reach %s:\n\t%s", p, d, strings.Join(path(t, packages, p, d), "\n\timports "))
			}
		}
	}
	for p, never := range neverImports {
		for _, d := range packages[p].imports {
			if matches(never, d) {
				t.Errorf("%s must not import %s", p, d)
			}
		}
	}
	for p, n := range packages {
		for _, d := range n.imports {
			if by, limited := importers[d]; limited && strings.HasPrefix(p, "tidings/") && !slices.Contains(by, p) {
				t.Errorf("%s imports %s, which only %q may", p, d, by)
			}
		}
	}
}

// matches reports whether a list names a package; "x/..." is x and all below it,
// "-" before either makes an exception.
func matches(list []string, p string) bool {
	found := false
	for _, pattern := range list {
		pattern, except := strings.CutPrefix(pattern, "-")
		tree, below := strings.CutSuffix(pattern, "/...")
		if pattern == p || below && (p == tree || strings.HasPrefix(p, tree+"/")) {
			if except {
				return false
			}
			found = true
		}
	}
	return found
}

// list returns every package of the module, and of those that it depends on.
func list(t *testing.T) map[string]node {
	t.Helper()
	lookAtSources(t)
	cmd := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}}|{{join .Imports " "}}|{{join .Deps " "}}`, "tidings/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]node{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		packages[f[0]] = node{strings.Fields(f[1]), strings.Fields(f[2])}
	}
	return packages
}

// lookAtSources looks at every source file of the module. go test repeats an earlier
// result as long as what a test looked at is the same, and does not see what go list reads.
func lookAtSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(e.Name(), ".") && e.Name() != "..":
			return fs.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// path returns a shortest way from a package to one that it reaches.
func path(t *testing.T, packages map[string]node, from, to string) []string {
	t.Helper()
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		if p == to {
			var way []string
			for ; p != ""; p = before[p] {
				way = append([]string{p}, way...)
			}
			return way
		}
		for _, d := range packages[p].imports {
			if _, seen := before[d]; !seen {
				before[d] = p
				queue = append(queue, d)
			}
		}
	}
	return []string{from, to}
}

func TestMatches(t *testing.T) {
	list := []string{"tidings/...", "-tidings/internal/apierr", "net/http", "-tidings/x/..."}
	for p, want := range map[string]bool{"tidings/internal/app": true, "tidings/internal/apierr": false, "net/http": true, "net": false, "net/http/httptest": false, "tidings/x/y": false, "tidings/xy": true} {
		if got := matches(list, p); got != want {
			t.Errorf("matches(%q, %q) = %t, want %t", list, p, got, want)
		}
	}
}
