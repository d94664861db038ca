package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tidings/internal/testenv"
)

var pythonBlock = regexp.MustCompile("(?s)```python\n(.*?)```")

// pythonOf returns the Python program of a document.
func pythonOf(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "doc", document))
	if err != nil {
		t.Fatal(err)
	}
	program := pythonBlock.FindSubmatch(text)
	if program == nil {
		t.Fatalf("%s has no program in Python", document)
	}
	return string(program[1])
}

// TestPythonExamples runs the Python programs of the documents as they stand there: one
// makes a call with a ticket of its own, by the public algorithm, and one fetches the
// users of an app so that they can be imported, and compared, elsewhere.
func TestPythonExamples(t *testing.T) {
	_, err := exec.LookPath("python3")
	testenv.Need(t, "python3", err)
	dir := t.TempDir()
	for name, document := range map[string]string{"call.py": "languages.md", "fetch.py": "moving.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(pythonOf(t, document)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, t.TempDir(), "--demo")
	must(t, "app", "create", "5", "--data", s.dir, "--attr", "0=city", "--attr", "1=app build", "--attr", "2=since",
		"--attr", "3=sex", "--attr", "4=plan", "--attr", "5=region", "--attr", "6=country")
	secret := func(app string) string {
		t.Helper()
		var keys []struct{ Secret string }
		if err := json.Unmarshal([]byte(must(t, "key", "list", app, "--data", s.dir, "--reveal", "--json")), &keys); err != nil || len(keys) != 1 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		return keys[0].Secret
	}
	run := func(program, stdin string, env ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "python3", program)
		cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(stdin), append(append(os.Environ(), "TIDINGS_URL="+s.url), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", program, err)
		}
		return string(out)
	}

	if out := run("call.py", "", "SECRET_KEY="+secret("1400000001")); !strings.Contains(out, "'ErrorCode': 0") || !strings.Contains(out, "'city': 'Paris'") {
		t.Errorf("the call prints %s", out)
	}
	if out := run("call.py", "", "SECRET_KEY=another"); !strings.Contains(out, "'ErrorCode': 70009") {
		t.Errorf("with another key it prints %s", out)
	}

	const accounts = "Mary\nghost-17\ntom\nkenji\n"
	users := run("fetch.py", accounts, "SECRET_KEY="+secret("1400000001"))
	if strings.Count(users, "\n") != 3 || !strings.Contains(users, `"Tags": ["beta", "wk-digest"], "To_Account": "Mary"`) {
		t.Fatalf("fetched:\n%s", users)
	}
	file := filepath.Join(dir, "users.ndjson")
	if err := os.WriteFile(file, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "import", "--data", s.dir, "--app", "5", file)
	if again := run("fetch.py", accounts, "SDKAPPID=5", "SECRET_KEY="+secret("5")); again != users {
		t.Errorf("imported, and fetched again:\n%s\nwant:\n%s", again, users)
	}
}
