package cli

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"tidings/internal/server"
)

func TestUsageMistakes(t *testing.T) {
	var transcript strings.Builder
	for _, line := range []string{
		"apps", "serv", "xyz", "app", "app lst", "app create 1 2", "app create x", "app create --nme x", "app show", "app list extra",
		"key retire 1", "key retire 0 1 --never", "admin add 1", "sig make", "sig make --app x", "sig make --app 1 --expire 0s", "sig check --app 1",
		"call", "call --app 1", "call timpush/get_attr", "call --app 1 timpush/get_atr", "call --app 1 remove_attr", "call --app 1 --url ftp://x timpush/get_attr",
		"serve extra", "serve --no-such-flag", "version extra",
		"import --app 1", "import x.csv", "import --app 1 x", "import --app 1 x --format xml", "export", "export --app 1 x", "audience", "audience lst",
		"audience count", "audience explain --app 1", "audience count --app 1 --where x --condition {}", "audience list --app 1 --account-type 2",
		"audience cuont --app 1", "serv --demo", "app --app 1", "app list --jsn", "app create --adress x", "serve --lisen :1 --nothing", "key list 1 --dta x", "serve -x",
		"backup", "backup a b", "restore", "restore a --until x",
	} {
		r := tidings(t, strings.Fields(line)...)
		if r.code != exitUsage || r.stdout != "" {
			t.Errorf("tidings %s: exit code %d, stdout %q", line, r.code, r.stdout)
		}
		if strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("tidings %s: not one sentence: %q", line, r.stderr)
		}
		transcript.WriteString("$ tidings " + line + "\n" + r.stderr)
	}
	golden(t, "usage.txt", transcript.String())
}

func TestHelp(t *testing.T) {
	out := must(t)
	if out != must(t, "--help") || !strings.Contains(out, "completion") {
		t.Errorf("help:\n%s", out)
	}
	for _, args := range [][]string{{"app", "--help"}, {"completion", "bash"}} {
		if must(t, args...) == "" {
			t.Errorf("tidings %v prints nothing", args)
		}
	}
	if out := must(t, "app", "set", "--help"); strings.Contains(out, "true|false") || !strings.Contains(out, "--json  ") || !strings.Contains(out, "--user-ids ascii|utf8") {
		t.Errorf("help of app set:\n%s", out)
	}
	dir := newApp(t, false)
	for _, args := range [][]string{
		{"app", "show", ""}, {"app", "set", ""}, {"key", "remove", ""}, {"export", "--app", ""}, {"sig", "make", "--app", ""},
	} {
		args = append([]string{"__complete", args[0], "--data", dir}, args[1:]...)
		if out := must(t, args...); !strings.HasPrefix(out, "9\tapp 9\n") {
			t.Errorf("%v completes %q", args, out)
		}
	}
	if out := must(t, "__complete", "app", "set", "9", "--user-ids", ""); !strings.HasPrefix(out, "ascii\nutf8\n") {
		t.Errorf("completion of --user-ids: %q", out)
	}
	if out := must(t, "__complete", "call", ""); !strings.Contains(out, "timpush/remove_attr") {
		t.Errorf("completion of call: %q", out)
	}
}

func TestVersion(t *testing.T) {
	if out := must(t, "version"); !strings.HasPrefix(out, "tidings ") || !strings.Contains(out, runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("version prints %q", out)
	}
	var b server.Build
	if err := json.Unmarshal([]byte(must(t, "version", "--json")), &b); err != nil || b.Version == "" || b.Go != runtime.Version() {
		t.Errorf("version --json: %+v, %v", b, err)
	}
}

func TestConfigurationMistakes(t *testing.T) {
	file := write(t, "tidings.yaml", "listen: nonsense\nmax_bdy: 1MiB\napps:\n  - sdkappid: 0\n    secret_key: short-and-secret-\x00\n")
	r := tidings(t, "serve", "--config", file)
	if r.code != exitConfig || r.stdout != "" || strings.Contains(r.stderr, "short-and-secret") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	file = write(t, "tidings.yaml", "listen: nonsense\nmax_bdy: 1MiB\napps:\n  - sdkappid: 0\n    secret_key: secret\n    limits: {default: -1}\n")
	r = tidings(t, "serve", "--config", file, "--cache-size", "1", "--tls-cert", "none.pem")
	if r.code != exitConfig || r.stdout != "" {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
	golden(t, "configuration.txt", strings.ReplaceAll(r.stderr, file, "tidings.yaml"))
}
