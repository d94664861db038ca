package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/testenv"
)

func TestCall(t *testing.T) {
	s := serve(t, t.TempDir(), "--demo")
	call := func(args ...string) []string {
		return append([]string{"call", "--data", s.dir, "--app", "1400000001"}, args...)
	}
	out := must(t, call("timpush/get_attr", `{"To_Account":["Mary"]}`)...)
	golden(t, "call.txt", out)
	for _, same := range [][]string{
		call("v4/timpush/get_attr", "@"+write(t, "body.json", `{"To_Account":["Mary"]}`)),
		call("/v4/timpush/get_attr", `{"To_Account":["Mary"]}`, "--url", s.url+"/"),
	} {
		if got := must(t, same...); got != out {
			t.Errorf("%v prints %s", same, got)
		}
	}
	if r := (shell{}).run(t.Context(), `{"To_Account":["Mary"]}`, call("timpush/get_attr", "-")...); r.stdout != out {
		t.Errorf("body from standard input: %+v", r)
	}
	if got := must(t, call("timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"f"}}]}`, "--raw")...); got != plainOK {
		t.Errorf("--raw prints %q", got)
	}

	r := tidings(t, call("timpush/get_attr", `{"To_Account":1}`)...)
	if r.code != 1 || !strings.Contains(r.stdout, `"ErrorCode": 90001`) || !strings.Contains(r.stderr, "timpush/get_attr: error 90001, request ") {
		t.Errorf("an answer in error: %+v", r)
	}
	r = tidings(t, call("timpush/get_attr", "--identifier", "Mary")...)
	if r.code != 1 || !strings.Contains(r.stdout, `"ErrorCode": 90009`) {
		t.Errorf("no admin: %+v", r)
	}
	fails(t, 1, "app 99 does not exist", "call", "--data", s.dir, "--app", "99", "timpush/get_attr")
	fails(t, 1, "no such file", call("timpush/get_attr", "@none")...)
	fails(t, 1, "connection refused", call("timpush/get_attr", "--url", "http://127.0.0.1:1")...)

	s.stop()
	fails(t, 1, "no server is running on the data directory "+s.dir+"; start one with tidings serve", call("timpush/get_attr")...)
	fails(t, 1, "connection refused", call("timpush/get_attr", "--url", s.url)...) // signed by the directory
}

func TestCallWithKeyFile(t *testing.T) {
	s := serve(t, t.TempDir())
	key := write(t, "key", "the-key-of-the-shop\n")
	must(t, "app", "create", "9", "--secret-key-file", key, "--data", s.dir)
	remote := []string{"call", "--url", s.url, "--app", "9", "--data", "/nowhere", "timpush/get_attr_name"}
	must(t, append(remote, "--secret-key-file", key)...)
	fails(t, 1, "no key to sign with, name a file with --secret-key-file: there is no data directory", remote...)
	fails(t, 1, "timpush/get_attr_name: error 70009", append(remote, "--secret-key-file", write(t, "key", "another-key"))...)
	fails(t, exitUsage, "standard input", append(remote, "-", "--secret-key-file", "-")...)

	// A command that this version does not know may exist elsewhere.
	r := tidings(t, "call", "--url", s.url, "--app", "9", "--secret-key-file", key, "timpush/pussh")
	if r.code != 1 || !strings.Contains(r.stderr, `warning: unknown command "timpush/pussh"`) || !strings.Contains(r.stdout, "ErrorCode") {
		t.Errorf("an unknown command: %+v", r)
	}
	fails(t, exitUsage, `unknown command "timpush"`, "call", "--url", s.url, "--app", "9", "--secret-key-file", key, "timpush")
}

func TestCallCurl(t *testing.T) {
	s := serve(t, t.TempDir(), "--demo")
	line := must(t, "call", "--data", s.dir, "--app", "1400000001", "--curl", "timpush/get_attr", `{"To_Account":["o'brien $HOME"]}`)
	_, err := exec.LookPath("curl")
	testenv.Need(t, "curl", err)
	if got := sh(t, strings.TrimSpace(line)); !strings.Contains(got, `"To_Account":"o'brien $HOME"`) {
		t.Errorf("%sanswers %s", line, got)
	}
}

// TestCallElsewhere calls what is not the API.
func TestCallElsewhere(t *testing.T) {
	key := write(t, "key", "the-key-of-the-shop")
	var ticket string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ticket = r.URL.Query().Get("usersig")
		switch r.URL.Path {
		case "/v4/timpush/get_attr":
			http.Redirect(w, r, "/other", http.StatusFound)
		case "/v4/timpush/set_attr":
			_, _ = w.Write([]byte("hello\n"))
		default:
			t.Errorf("a request for %s", r.URL.Path)
		}
	}))
	defer other.Close()
	for command, want := range map[string]string{
		"timpush/get_attr": "answered with HTTP status 302 Found",
		"timpush/set_attr": "did not answer as the API does",
	} {
		r := tidings(t, "call", "--url", other.URL, "--app", "9", "--secret-key-file", key, command)
		if r.code != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v, want %q", command, r, want)
		}
		if ticket == "" || strings.Contains(r.stderr, ticket) {
			t.Errorf("%s: ticket %q in %q", command, ticket, r.stderr)
		}
	}
}

func TestSig(t *testing.T) {
	key := write(t, "key", "the-key-of-the-shop\n")
	running := serve(t, t.TempDir()).dir
	stopped := t.TempDir()
	for _, dir := range []string{running, stopped} {
		must(t, "app", "create", "9", "--secret-key-file", key, "--data", dir)
		ticket := must(t, "sig", "make", "--app", "9", "--data", dir)
		if strings.Count(ticket, "\n") != 1 || !strings.HasPrefix(ticket, "eJ") {
			t.Errorf("sig make prints %q", ticket)
		}
		if r := (shell{}).run(t.Context(), ticket, "sig", "check", "--app", "9", "-", "--data", dir); r.code != 0 {
			t.Errorf("its ticket: %+v", r)
		}
		ticket = strings.TrimSpace(ticket)
		must(t, "sig", "check", "--app", "9", ticket, "--secret-key-file", key)
		var said admin.Sig
		r := tidings(t, "sig", "check", "--app", "9", ticket, "--identifier", "bob", "--data", dir, "--json")
		if err := json.Unmarshal([]byte(r.stdout), &said); err != nil || r.code != 1 || said.Code != 70013 || said.Identifier != "administrator" || r.stderr != "" {
			t.Errorf("for another account: %+v, %v", r, err)
		}
		// A ticket made without the directory is good in it, until its account is kicked.
		ticket = strings.TrimSpace(must(t, "sig", "make", "--app", "9", "--secret-key-file", key))
		must(t, "sig", "check", "--app", "9", ticket, "--data", dir)
	}
	ticket := strings.TrimSpace(must(t, "sig", "make", "--app", "9", "--data", running))
	must(t, "call", "--data", running, "--app", "9", "im_open_login_svc/kick", `{"UserID":"administrator"}`)
	if r := tidings(t, "sig", "check", "--app", "9", ticket, "--data", running); r.code != 1 || !strings.Contains(r.stdout, "70052") {
		t.Errorf("after a kick: %+v", r)
	}
	if r := tidings(t, "sig", "check", "--app", "9", ticket, "--secret-key-file", write(t, "key", "another-key")); r.code != 1 || !strings.Contains(r.stdout, "no: 70009") || strings.Contains(r.stdout, "Admin") {
		t.Errorf("with another key: %+v", r)
	}
	fails(t, 1, "secret key: standard input is empty", "sig", "make", "--app", "9", "--secret-key-file", "-")
	fails(t, 1, "secret key: open none: no such file", "sig", "make", "--app", "9", "--secret-key-file", "none")
	fails(t, 1, "is larger than a key can be", "sig", "make", "--app", "9", "--secret-key-file", write(t, "key", strings.Repeat("x", 5000)))
}
