package cli

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tidings/internal/simulate"
	"tidings/internal/testenv"
)

var simulatorReady = regexp.MustCompile(`(?m)^tidings: simulating FCM on (\S+) and https://.*\n`)

// simulateFor runs a simulator for a test, and returns its address, its outputs, and what
// ends it.
func simulateFor(t *testing.T, args ...string) (url string, stdout, stderr *buffer, stop func() int) {
	t.Helper()
	stdout, stderr = new(buffer), new(buffer)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"simulate", "--listen", "127.0.0.1:0"}, args...), strings.NewReader(""), stdout, stderr, shell{}.lookup)
	}()
	stop = func() int {
		cancel()
		err := <-done
		done <- err
		return exitCode(err)
	}
	t.Cleanup(func() { stop() })
	ready := stdout
	for _, a := range args {
		if a == "--json" {
			ready = stderr
		}
	}
	line := ready.await(t, simulatorReady, 1)[0]
	return simulatorReady.FindStringSubmatch(line)[1], stdout, stderr, stop
}

// quickStart finds, in doc/simulator.md, the lines that send something and what they print.
var quickStart = regexp.MustCompile("(?s)Send something.*?```sh\n(.*?)```\n\n```\n(.*?)```")

// TestSimulateQuickStart does what the document says.
func TestSimulateQuickStart(t *testing.T) {
	_, err := exec.LookPath("curl")
	testenv.Need(t, "curl", err)
	text, err := os.ReadFile("../../doc/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := quickStart.FindStringSubmatch(string(text))
	if parts == nil {
		t.Fatal("the document has no quick start")
	}
	dir := t.TempDir()
	url, stdout, stderr, stop := simulateFor(t, "--dir", filepath.Join(dir, "fcm"))
	out := sh(t, "cd '"+dir+"' && set -e\n"+strings.ReplaceAll(parts[1], "http://127.0.0.1:9099", url))
	if !strings.Contains(out, `"name": "projects/tidings-simulator/messages/`) || !strings.Contains(out, `"UNREGISTERED"`) || !strings.Contains(out, `{"delivered":1,`) {
		t.Errorf("it answers %s", out)
	}
	clock := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{3}  `)
	stdout.await(t, clock, 2)
	got := clock.ReplaceAllString(simulatorReady.ReplaceAllString(stdout.String(), ""), "")
	if want := clock.ReplaceAllString(parts[2], ""); got != want {
		t.Errorf("it prints\n%swant\n%s", got, want)
	}
	if code := stop(); code != 0 || stderr.String() != "tidings: 1 accepted, 1 gone; 1 delivered to 1 token, 0 ids repeated\n" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	for _, name := range []string{"ca.pem", "service-account.json"} {
		if _, err := os.Stat(filepath.Join(dir, "fcm", name)); err != nil {
			t.Error(err)
		}
	}
}

// TestSimulateJSON reads the output of --json, and a text that would change the terminal.
func TestSimulateJSON(t *testing.T) {
	_, err := exec.LookPath("curl")
	testenv.Need(t, "curl", err)
	send := func(url, title string) {
		t.Helper()
		sh(t, `auth=$(curl -sS -X POST `+url+`/simulate/access-token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -sS -H "Authorization: Bearer $auth" -H 'Content-Type: application/json' `+url+`/v1/projects/tidings-simulator/messages:send -d '{"message":{"token":"0123456789abcdef","notification":{"title":"`+title+`"},"android":{"notification":{"channel_id":"news"}}}}'`)
	}
	url, stdout, _, stop := simulateFor(t, "--json")
	send(url, "<T>")
	line := stdout.await(t, regexp.MustCompile(`(?m)^{.*}$`), 1)[0]
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event != "delivered" || e.Token != "…abcdef" || e.Title != "<T>" || e.Channel != "news" || strings.Contains(line, "0123456789abcdef") {
		t.Errorf("it prints %s", line)
	}
	if code := stop(); code != 0 || stdout.String() != line+"\n" {
		t.Errorf("exit code %d, all it prints is %s", code, stdout)
	}

	url, stdout, _, stop = simulateFor(t)
	send(url, `\u001b[2J`)
	if line := stdout.await(t, regexp.MustCompile(`(?m)^.*abcdef.*$`), 1)[0]; !strings.Contains(line, `"\x1b[2J"`) || !strings.Contains(line, "[news]") {
		t.Errorf("it prints %q", line)
	}
	stop()
	_, stdout, stderr, stop := simulateFor(t, "--quiet", "--latency", "1ms-2ms", "--share", "gone=0.5,lost=0.1", "--dead", "0.1")
	if code := stop(); code != 0 || strings.Count(stdout.String(), "\n") != 1 || stderr.String() != "tidings: nothing came; 0 delivered to 0 tokens, 0 ids repeated\n" {
		t.Errorf("exit code %d, prints %s%s", code, stdout, stderr)
	}
}

func TestSimulateMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"--listen 0.0.0.0:0": "not on loopback", "--listen :0": "not on loopback", "--latency x": "--latency", "--latency 5ms-2ms": "max_latency",
		"--share gone": "FATE=SHARE", "--share x=0.1": `the fate "x"`, "--dead 2": "dead is 2", "--all accepted": `"accepted"`, "--abrupt": "go_away",
		"--streams -1": "Streams", "--token-life 1ms": "TokenLife", "--project X": "project", "extra": "extra", "--go-awy 3": "--go-away",
	} {
		fails(t, exitUsage, want, append([]string{"simulate"}, strings.Fields(args)...)...)
	}
	// Its port is taken.
	s, err := simulate.Start(simulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fails(t, exitFailure, "in use", "simulate", "--listen", strings.TrimPrefix(s.URL(), "http://"))
}

// TestSimulateDocument shows that the document names every fate and every flag.
func TestSimulateDocument(t *testing.T) {
	text, err := os.ReadFile("../../doc/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, fate := range simulate.FateNames() {
		if !strings.Contains(string(text), "\n| `"+fate+"` |") {
			t.Errorf("it lacks the fate %s", fate)
		}
	}
	for _, flag := range regexp.MustCompile(`(?m)^ +(--[a-z-]+)`).FindAllStringSubmatch(must(t, "simulate", "--help"), -1) {
		if !strings.Contains(string(text), flag[1]) {
			t.Errorf("it lacks the flag %s", flag[1])
		}
	}
}
