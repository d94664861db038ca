package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"tidings/internal/api"
)

// TestCallHelp: the help of a command names all its fields and its example, which can be
// run as it stands.
func TestCallHelp(t *testing.T) {
	golden(t, "call_help.txt", must(t, "call", "--help", "timpush/add_tag"))
	for _, same := range [][]string{{"call", "timpush/add_tag", "--help"}, {"call", "-h", "/v4/timpush/add_tag"}, {"call", "--app", "1", "timpush/add_tag", "-h"}} {
		if got := must(t, same...); got != must(t, "call", "--help", "timpush/add_tag") {
			t.Errorf("%v prints %s", same, got)
		}
	}
	for _, c := range api.Table() {
		for _, name := range c.Names() {
			out := must(t, "call", "--help", name)
			for _, line := range append(api.Request(c, name != c.Name).Lines(), api.Answer(c, name != c.Name).Lines()...) {
				if !strings.Contains(out, "  "+line.Path+" ") {
					t.Errorf("the help of %s lacks %s", name, line.Path)
				}
			}
			if !strings.Contains(out, " "+name+" '"+c.Example+"'\n") {
				t.Errorf("the help of %s lacks the example", name)
			}
			if strings.Contains(c.Example, "'") {
				t.Errorf("the example of %s cannot be pasted into every shell", name)
			}
		}
	}
	if out := must(t, "call", "all_member_push/im_get_attr", "--help"); strings.Contains(out, "ErrorList[]") {
		t.Errorf("the older family has no ErrorList:\n%s", out)
	}
	if out := must(t, "call", "--help"); !strings.Contains(out, "--secret-key-file") {
		t.Errorf("the help of call itself:\n%s", out)
	}
	fails(t, exitUsage, `unknown command "get_atr"; did you mean timpush/get_attr?`, "call", "--help", "get_atr")
}

func TestCallList(t *testing.T) {
	out := must(t, "call", "--list")
	if n := strings.Count(out, "\n"); n != len(api.Commands()) {
		t.Errorf("%d lines, want one for each of %d commands:\n%s", n, len(api.Commands()), out)
	}
	for _, name := range api.Commands() {
		if !strings.Contains("\n"+out, "\n"+name+" ") {
			t.Errorf("no line for %s", name)
		}
	}
	fails(t, exitUsage, "unexpected argument", "call", "--list", "timpush/get_attr")
}

// TestOpenAPI: the program prints what a server of it sends.
func TestOpenAPI(t *testing.T) {
	out := must(t, "openapi")
	if !json.Valid([]byte(out)) {
		t.Errorf("openapi prints %.100s", out)
	}
	s := serve(t, t.TempDir())
	resp, err := http.Get(s.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	sent, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(sent) != out {
		t.Errorf("the server answers %s, %v, %d bytes; openapi prints %d", resp.Status, err, len(sent), len(out))
	}
	http.DefaultClient.CloseIdleConnections()
}
