package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExportSelected exports those whom an expression selects, with a server and without,
// and the same as tidings audience list.
func TestExportSelected(t *testing.T) {
	for _, running := range []bool{false, true} {
		dir := newApp(t, running)
		must(t, "import", "--app", "9", write(t, "u.ndjson", users), "--data", dir)
		for _, test := range []struct {
			flags []string
			want  string
		}{
			{nil, "administrator Mary bob phone-1"},
			{[]string{"--where", `sex == "female"`}, "Mary"},
			{[]string{"--where", `!has("sex")`}, "administrator bob"},
			{[]string{"--where", `tag("dev")`}, "phone-1"},
			{[]string{"--where", `tag("nobody")`}, ""},
			{[]string{"--condition", `{"TagsOr":["beta","none"]}`}, "Mary bob"},
			{[]string{"--condition", `{"AttrsAnd":{"sex":"female"}}`}, "Mary"},
			{[]string{"--condition", "{}"}, "administrator Mary bob"},
			{[]string{"--account-type", "1"}, "phone-1"},
			{[]string{"--condition", "@" + write(t, "condition", `{"TagsAnd":["beta"]}`)}, "Mary bob"},
		} {
			for _, format := range []string{"ndjson", "csv"} {
				file := filepath.Join(t.TempDir(), "out")
				must(t, append([]string{"export", "--app", "9", "--data", dir, "--output", file, "--format", format}, test.flags...)...)
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(accounts(t, format, string(b)), " "); got != test.want {
					t.Errorf("running %t: export %q as %s has %q, want %q", running, test.flags, format, got, test.want)
				}
			}
			if !running || test.flags == nil {
				continue
			}
			listed := must(t, append([]string{"audience", "list", "--app", "9", "--data", dir}, test.flags...)...)
			if got := strings.Join(strings.Fields(listed), " "); got != test.want {
				t.Errorf("audience list %q has %q, want %q", test.flags, got, test.want)
			}
		}
		for _, test := range []struct {
			flags []string
			want  string
			code  int
		}{
			{[]string{"--where", "sex =="}, "Where", 1},
			{[]string{"--where", `planet == "x"`}, "planet", 1},
			{[]string{"--where", `tag("dev") && sex == "female"`}, "another account type", 1},
			{[]string{"--where", "true", "--condition", "{}"}, "exclude each other", 64},
			{[]string{"--condition", `{"TagAnd":["beta"]}`}, "TagAnd", 1},
			{[]string{"--condition", `{`}, "not JSON", 64},
			{[]string{"--account-type", "2"}, `"2"`, 64},
		} {
			before := "what was there"
			file := write(t, "old.ndjson", before)
			r := tidings(t, append([]string{"export", "--app", "9", "--data", dir, "--output", file}, test.flags...)...)
			if r.code != test.code || !strings.Contains(r.stderr, test.want) {
				t.Errorf("running %t: export %q: %+v, want %q and code %d", running, test.flags, r, test.want, test.code)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != before {
				t.Errorf("export %q leaves %q, %v in the file", test.flags, b, err)
			}
			if r := tidings(t, append([]string{"export", "--app", "9", "--data", dir}, test.flags...)...); r.stdout != "" {
				t.Errorf("export %q writes %q", test.flags, r.stdout)
			}
		}
	}
}

// accounts returns the accounts of a file, in its order.
func accounts(t *testing.T, format, text string) (accounts []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines[1:] {
		if format == "csv" {
			account, _, _ := strings.Cut(line, ",")
			accounts = append(accounts, account)
			continue
		}
		var user struct {
			Account string `json:"To_Account"`
		}
		if err := json.Unmarshal([]byte(line), &user); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		accounts = append(accounts, user.Account)
	}
	return accounts
}
