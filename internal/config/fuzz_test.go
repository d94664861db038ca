package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// planted is a secret that must not show in any mistake.
const planted = "s3cr3t"

// FuzzFile: no file makes the loader panic, mistakes have one line each, and a
// secret that is written where secrets belong, in whatever surroundings, is in
// none of them.
func FuzzFile(f *testing.F) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example), "")
	f.Add("apps:\n- sdkappid: 1\n", "  admins: [x]\n")
	f.Add("apps:\n- sdkappid: 1\n  secret_key_file: nowhere\n", "")
	f.Add("apps:\n- retiring_keys:\n  -\n", "  limits: {a: b}\n")
	f.Add("listen: &a [*a]\nlisten: 'x\n", "'")
	f.Add("apps: [{\n", "}]")
	f.Add("%YAML 1.1\n--- !!map\n<<: {}\n? [a]\n: \"\\u0007\"\n", "...")
	file := filepath.Join(f.TempDir(), "f.yaml")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, quoted := range []string{planted, "*" + planted, "!" + planted, "[" + planted + "]", "{" + planted + ": " + planted + "}"} {
			text := before + "  secret_key: " + quoted + "\n" + after
			if strings.Contains(before+after, planted) || strings.Contains(text, "/") {
				return // no secret, or names another file
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(nil, func(string) (string, bool) { return "", false }, file, commands)
			if err == nil {
				continue
			}
			e := err.(*Errors) //nolint:errorlint // it is the only type
			for _, m := range e.Mistakes {
				if m == "" || strings.ContainsAny(m, "\n\r\x00") {
					t.Fatalf("not a line: %q", m)
				}
				var doc yaml.Node
				if strings.Contains(m, planted) && (yaml.Unmarshal([]byte(text), &doc) != nil || onlySecret(&doc)) {
					t.Fatalf("a secret shows in %q, file %q", m, text)
				}
			}
		}
	})
}

// onlySecret reports whether the planted text is nowhere but in the values of
// secret_key. If not, the surroundings have made it part of something else.
func onlySecret(n *yaml.Node) bool {
	if strings.Contains(n.Value, planted) {
		return false
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "secret_key" {
			continue
		}
		if !onlySecret(child) {
			return false
		}
	}
	return true
}
