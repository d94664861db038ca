package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidings/internal/app"
)

var update = flag.Bool("update", false, "rewrite doc/configuration.md")

// The document is made of doc.md in testdata, where {{keys}} and the like stand
// for what the tables of keys say.
func TestDocument(t *testing.T) {
	page := read(t, "testdata/doc.md")
	for name, text := range map[string]string{
		"keys":     describe(keys(new(Config), nil), true, "###"),
		"apps":     describe(appKeys(new(app.Declaration)), false, "###"),
		"retiring": describe(retiringKeys(new(app.RetiringKey)), false, "####"),
		"example":  read(t, "testdata/example.yaml"),
	} {
		page = strings.ReplaceAll(page, "{{"+name+"}}\n", text)
	}
	const name = "../../doc/configuration.md"
	if *update {
		if err := os.WriteFile(name, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if read(t, name) != page {
		t.Errorf("%s is not what internal/config says; run go test ./internal/config -update", name)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// describe is a section for each key. Top reports whether they are keys of the
// top level, with a variable and a flag each.
func describe(keys []key, top bool, heading string) string {
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteString("\n")
		}
		typ := k.typ
		if k.list {
			typ = "list (" + typ + ")"
		}
		fmt.Fprintf(&b, "%s `%s`\n\n%s\n\n- Type: %s\n", heading, k.name, k.doc, typ)
		switch {
		case k.def == "required":
			b.WriteString("- Required\n")
		case k.def == "":
			b.WriteString("- Default: none\n")
		case top:
			fmt.Fprintf(&b, "- Default: `%s`\n", k.def)
		default:
			fmt.Fprintf(&b, "- Default: %s\n", k.def)
		}
		if top && !k.fileOnly {
			fmt.Fprintf(&b, "- Variable: `%s`\n- Flag: `--%s`\n", k.env(), k.flag())
		}
	}
	return b.String()
}

// The example is a configuration that works, but for its files.
func TestExample(t *testing.T) {
	_, err := load(t, read(t, "testdata/example.yaml"), nil)
	want := `tidings.yaml:12: apps[0].secret_key_file: the file cannot be read: no such file or directory
tidings.yaml:14: apps[0].retiring_keys[0].secret_key_file: the file cannot be read: no such file or directory
tidings.yaml:2: tls_cert: "/etc/tidings/cert.pem": no such file or directory
tidings.yaml:3: tls_key: "/etc/tidings/key.pem": no such file or directory`
	got := strings.Split(fmt.Sprint(err), "\n")
	slices.Sort(got)
	if strings.Join(got, "\n") != want {
		t.Errorf("got:\n%v\nwant:\n%s", strings.Join(got, "\n"), want)
	}
}

// Every member of a declaration can be set in the file.
func TestAppKeysAreComplete(t *testing.T) {
	for _, test := range []struct {
		of   any
		keys []key
	}{
		{app.Declaration{}, appKeys(new(app.Declaration))},
		{app.RetiringKey{}, retiringKeys(new(app.RetiringKey))},
	} {
		var want, got []string
		for f := range reflect.TypeOf(test.of).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, name)
		}
		for _, k := range test.keys {
			if k.name != "secret_key"+fileSuffix {
				got = append(got, k.name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%T: keys %v, members %v", test.of, got, want)
		}
	}
}
