package cli

import (
	"bufio"
	"net/http"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"tidings/internal/testenv"
)

// series returns what a server says of its metrics: the value by name and labels.
func series(t *testing.T, url string) map[string]float64 {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if i := strings.LastIndexByte(lines.Text(), ' '); i >= 0 {
			name, value = lines.Text()[:i], lines.Text()[i+1:]
		}
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && name[0] != '#' {
			all[name] = v
		}
	}
	return all
}

func metric(t *testing.T, url, name string) float64 {
	t.Helper()
	v, ok := series(t, url)[name]
	if !ok {
		t.Fatalf("no metric %s", name)
	}
	return v
}

// TestMetrics: the program says what it is, apps are told apart while there are few, and
// no histogram has more buckets than somebody would draw.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	must(t, "app", "create", "5", "--admin", "a", "--data", dir)
	must(t, "app", "create", "6", "--data", dir)
	for setting, told := range map[string]bool{"2": true, "1": false, "0": false} {
		s := serve(t, dir, "--metrics-apps", setting)
		all := series(t, s.metrics)
		build := currentVersion()
		if name := `tidings_build_info{commit="` + build.Commit + `",goversion="` + runtime.Version() + `",version="` + build.Version + `"}`; all[name] != 1 {
			t.Errorf("%s is %v", name, all[name])
		}
		if all["tidings_ready"] != 1 || all["tidings_users"] != 3 {
			t.Errorf("ready %v, users %v", all["tidings_ready"], all["tidings_users"])
		}
		must(t, "call", "--data", dir, "--app", "5", "timpush/get_attr_name")
		fails(t, 1, "", "call", "--data", dir, "--app", "5", "timpush/get_attr", "{}")
		all = series(t, s.metrics)
		for result, want := range map[string]float64{"ok": 1, "failed": 1} {
			if n, there := all[`tidings_app_requests_total{app="5",result="`+result+`"}`]; there != told || told && n != want {
				t.Errorf("metrics_apps %s: %v requests of app 5 are %s, %v", setting, n, result, there)
			}
		}
		users, there := all[`tidings_app_users{app="5"}`]
		if there != told || told && users != 2 {
			t.Errorf("metrics_apps %s: users of app 5 %v, %v", setting, users, there)
		}
		buckets := map[string]int{}
		for name := range all {
			if base, _, ok := strings.Cut(name, `_bucket{`); ok && !strings.Contains(name, "command=") {
				buckets[base]++
			}
		}
		if n := buckets["tidings_store_fsync_duration_seconds"]; n != 14 {
			t.Errorf("%d buckets of fsyncs, want 14", n)
		}
		for base, n := range buckets {
			if strings.HasPrefix(base, "tidings_") && n > 16 {
				t.Errorf("%s has %d buckets", base, n)
			}
		}
		s.stop()
	}
}

// TestProfilesThroughSocket: they are there whatever the address of the metrics is.
func TestProfilesThroughSocket(t *testing.T) {
	_, err := exec.LookPath("curl")
	testenv.Need(t, "curl", err)
	s := serve(t, t.TempDir(), "--metrics-listen", "off")
	out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--fail", "--unix-socket", s.dir+"/control.sock", "http://control/debug/pprof/heap?debug=1").Output()
	if err != nil || !strings.HasPrefix(string(out), "heap profile: ") {
		t.Errorf("%v: %.100s", err, out)
	}
}
