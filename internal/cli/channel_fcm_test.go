package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/simulate"
)

// TestChannelFCM: with a served instance and a Google that is played, a service account is
// added, tried out and replaced, through TLS with an authority of its own; one that Google
// does not know is refused, and nothing of any private key shows anywhere.
func TestChannelFCM(t *testing.T) {
	google, err := simulate.Start(simulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = google.Close() })
	stranger, err := simulate.Start(simulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Close() })
	second, err := google.AddServiceAccount("another-project")
	if err != nil {
		t.Fatal(err)
	}
	strange, err := stranger.AddServiceAccount("strange-project")
	if err != nil {
		t.Fatal(err)
	}
	unknown := strings.ReplaceAll(string(strange), stranger.URL(), google.URL())

	dir := t.TempDir()
	must(t, "app", "create", "9", "--data", dir)
	s := serve(t, dir, "--log-level", "debug", "--fcm-url", google.TLSURL(), "--fcm-ca-file", write(t, "ca.pem", string(google.CA())), "--fcm-token-url", tokenURL(t, google.ServiceAccount()))
	var shown strings.Builder
	run := func(code int, want string, args ...string) string {
		t.Helper()
		r := tidings(t, append([]string{"channel"}, append(args, "--app", "9", "--data", dir)...)...)
		if r.code != code || !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("channel %s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), r.code, code, want, r.stdout, r.stderr)
		}
		shown.WriteString(r.stdout + r.stderr)
		return r.stdout
	}
	run(0, "project tidings-simulator", "add", "--provider", "fcm", "--file", write(t, "a.json", string(google.ServiceAccount())))
	run(1, "fcm refuses the credential", "add", "--provider", "fcm", "--file", write(t, "b.json", unknown))
	run(0, "project strange-project", "add", "--provider", "fcm", "--offline", "--file", write(t, "c.json", unknown))
	run(1, "the credential cannot be used", "add", "--provider", "fcm", "--file", write(t, "d.json", strings.Replace(string(second), "BEGIN PRIVATE", "BEGIN PUBLIC", 1)))
	run(0, "Good", "test", "1")
	run(1, "Good", "test", "2")
	run(1, "fcm refuses the credential", "replace", "1", "--file", write(t, "e.json", unknown))
	run(0, "Good", "test", "1")
	run(0, "project another-project", "replace", "1", "--file", write(t, "f.json", string(second)))
	run(0, "Good", "test", "1")
	var list []admin.Certificate
	if err := json.Unmarshal([]byte(run(0, "", "list", "--json")), &list); err != nil || len(list) != 2 || list[0].Version != 2 || list[1].ID != 2 {
		t.Errorf("there are %+v, %v", list, err)
	}
	r := s.stop()
	shown.WriteString(r.stdout + r.stderr)
	for name, account := range map[string]string{"the first": string(google.ServiceAccount()), "the second": string(second), "the unknown": unknown} {
		var a struct {
			Key string `json:"private_key"`
		}
		if err := json.Unmarshal([]byte(account), &a); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(a.Key), "\n")
		for _, line := range lines[1 : len(lines)-1] {
			if strings.Contains(shown.String(), line) {
				t.Fatalf("a line of the private key of %s account shows in\n%s", name, &shown)
			}
			err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				b, err := os.ReadFile(path)
				if strings.Contains(string(b), line) {
					t.Errorf("a line of the private key of %s account is in %s", name, path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// tokenURL returns where a service account says that access tokens are.
func tokenURL(t *testing.T, account []byte) string {
	t.Helper()
	var a struct {
		URI string `json:"token_uri"`
	}
	if err := json.Unmarshal(account, &a); err != nil || a.URI == "" {
		t.Fatalf("token_uri is %q, %v", a.URI, err)
	}
	return a.URI
}
