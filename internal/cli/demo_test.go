package cli

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tidings/internal/simulate"
)

// TestDemoPush runs the lines of the README and of the demo: a push is seen to arrive, and a
// trace says of each user why it did or did not.
func TestDemoPush(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	s := serve(t, dir, "--demo")
	lines := s.stdout.await(t, regexp.MustCompile(`(?m)^go run \./cmd/tidings .*$`), 2)
	run := func(line string) string {
		args := strings.Fields(strings.TrimPrefix(line, "go run ./cmd/tidings "))
		line = strings.Join(args, " ")
		for _, quoted := range regexp.MustCompile(`'[^']*'`).FindAllString(line, -1) {
			line = strings.Replace(line, quoted, strings.ReplaceAll(strings.Trim(quoted, "'"), " ", "\x00"), 1)
		}
		args = strings.Fields(line)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\x00", " ")
		}
		return must(t, append(args, "--data", dir)...)
	}
	if got := run(lines[0]); !strings.Contains(got, "done, 7 devices, 6 handed to a provider") {
		t.Errorf("%s\n%s", lines[0], got)
	}
	s.stdout.await(t, regexp.MustCompile(`(?m)^[0-9:]{8}  .*'s .* shows: "Hello", "It works"$`), 5)
	if got := run(lines[1]); !strings.Contains(got, "the person does not permit notifications") {
		t.Errorf("%s\n%s", lines[1], got)
	}
	traces := func(want map[string]string) {
		t.Helper()
		for account, want := range want {
			if got := must(t, "trace", "--data", dir, "--app", fmt.Sprint(demoID), account); !strings.Contains(got, want) {
				t.Errorf("of %s it says\n%s\nwant %q", account, got, want)
			}
		}
	}
	traces(map[string]string{"omar": "fcm says that its token is dead", "inga": "it arrived at", "lucas": "was not in the audience"})
	must(t, "push", "--data", dir, "--app", fmt.Sprint(demoID), "--all", "--title", "T", "--desc", "D")
	s.stdout.await(t, regexp.MustCompile(`(?m)^[0-9:]{8}  .*'s .* shows: "T", "D"$`), 7)
	traces(map[string]string{"omar": "the device has no token", "noor_77": "the device has no token", "tom": "has no device", "lucas": "arrived"})
}

// TestDemoBesideRealCredentials: a demo does not start on a directory in which somebody has
// added a certificate, nor with the address of a provider.
func TestDemoBesideRealCredentials(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	fails(t, exitUsage, "--demo pushes to a simulator of its own", "serve", "--demo", "--data", dir, "--fcm-url", "http://127.0.0.1:9")
	google, err := simulate.Start(simulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer google.Close()
	account := strings.ReplaceAll(string(google.ServiceAccount()), tokenURL(t, google.ServiceAccount()), "https://oauth2.googleapis.com/token")
	serve(t, dir, "--demo").stop()
	real := serve(t, dir)
	must(t, "channel", "add", "--data", dir, "--app", fmt.Sprint(demoID), "--provider", "fcm", "--name", "shop", "--offline", "--file", write(t, "account.json", account))
	real.stop()
	fails(t, 1, "has certificate 2, which the demo did not make", "serve", "--demo", "--data", dir, "--listen", "127.0.0.1:0")
}
