package doc_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tidings/internal/api"
	"tidings/internal/apierr"
	"tidings/internal/gate"
)

// made is a part of a document that is made from the rows of the API.
var made = regexp.MustCompile(`(?s)<!-- row: (\S+) -->\n.*?<!-- end of row -->`)

// TestAPIRows keeps the parts of api.md that come from the rows as the rows are; with
// -update it writes them (make generate). Every command has one, and is in the contents.
func TestAPIRows(t *testing.T) {
	text, err := os.ReadFile("api.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{"older": olderTable()}
	for _, c := range api.Table() {
		parts[c.Name] = rowText(t, c.Name)
		_, method, _ := strings.Cut(c.Name, "/")
		for _, want := range []string{"[`" + method + "`](#" + method + ")", "\n### " + method + "\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("api.md lacks %q", want)
			}
		}
	}
	keepRows(t, "api.md", string(text), parts)
}

// TestRouteRows does the same for devices.md and the rows of what client apps call.
func TestRouteRows(t *testing.T) {
	text, err := os.ReadFile("devices.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, r := range api.Routes() {
		parts[r.Name] = routeText(r)
	}
	keepRows(t, "devices.md", string(text), parts)
}

// keepRows compares the parts of a document with what the rows say; with -update it writes
// them.
func keepRows(t *testing.T, file, text string, parts map[string]string) {
	t.Helper()
	var found []string
	got := made.ReplaceAllStringFunc(text, func(part string) string {
		name := made.FindStringSubmatch(part)[1]
		found = append(found, name)
		want := "<!-- row: " + name + " -->\n" + parts[name] + "<!-- end of row -->"
		if part != want && !*update {
			t.Errorf("%s is not what the row of %s says; make generate writes it. Want\n%s", file, name, want)
		}
		return want
	})
	for name := range parts {
		if n := len(slices.DeleteFunc(slices.Clone(found), func(f string) bool { return f != name })); n != 1 {
			t.Errorf("%s has %d parts for %s, want 1", file, n, name)
		}
	}
	if len(found) != len(parts) {
		t.Errorf("%s has parts for %q, want %d", file, found, len(parts))
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// routeText returns what the row of a route says.
func routeText(r gate.Route) string {
	var b strings.Builder
	shown := "the secret of the device, or a ticket of its user"
	if r.Makes {
		shown = "an AppKey"
	}
	fmt.Fprintf(&b, "`%s %s`, with %s. %s\n", r.Method, r.Path, shown, r.Doc)
	fields(&b, api.RouteRequest(r).Lines())
	answers(&b, api.RouteAnswer(r).Lines())
	b.WriteString("\n| Status | Code | |\n| --- | --- | --- |\n")
	for _, k := range r.Codes {
		fmt.Fprintf(&b, "| %d | %d | %s |\n", api.RouteStatus(k), k.Code, cell(k.Text))
	}
	return b.String()
}

// taskOfExample is the id of a task in an example, which differs from run to run.
var taskOfExample = regexp.MustCompile(`"TaskId":"[^"]*"`)

// changesTask are the commands for tasks that have not ended, and that of a demo ends at
// once.
var changesTask = map[string]bool{"tidings/pause_task": true, "tidings/resume_task": true, "tidings/stop_task": true}

// TestRowExamples: the example of each command works on the demo data, whatever was called
// before, and twice if the row says that it may be repeated.
func TestRowExamples(t *testing.T) {
	url, ticket := serveDemo(t)
	var pushed struct {
		TaskID string `json:"TaskId"`
	}
	text := call(t, http.MethodPost, url+withQuery("/v4/timpush/batch", ticket), `{"From_Account":"administrator","To_Account":["Mary"],"MsgRandom":99,"OfflinePushInfo":{"Title":"T","Desc":"D"}}`)
	if err := json.Unmarshal([]byte(text), &pushed); err != nil || pushed.TaskID == "" {
		t.Fatal(text)
	}
	for _, c := range api.Table() {
		c.Example = taskOfExample.ReplaceAllString(c.Example, `"TaskId":"`+pushed.TaskID+`"`)
		times := 2
		if c.Effect == gate.Once {
			times = 1
		}
		for _, name := range c.Names() {
			for range times {
				var answer struct {
					ErrorCode int
					ErrorList []any
				}
				text := call(t, http.MethodPost, url+withQuery("/v4/"+name, ticket), c.Example)
				if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.ErrorCode != 0 && !(changesTask[c.Name] && answer.ErrorCode == apierr.TaskEnded.Code) || len(answer.ErrorList) > 0 {
					t.Errorf("%s %s: %s", name, c.Example, text)
				}
			}
		}
	}
}

// rowText returns what the row of a command says.
func rowText(t *testing.T, name string) string {
	t.Helper()
	c, ok := api.Find(name)
	if !ok {
		t.Fatalf("no command %s", name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "`POST /v4/%s`. %s %s\n", c.Name, c.Doc, api.Limits(c))
	fields(&b, api.Request(c, false).Lines())
	// What is in an ErrorList is the same for all, and described once.
	lines := slices.DeleteFunc(api.Answer(c, false).Lines(), func(l api.Line) bool { return strings.HasPrefix(l.Path, "ErrorList[]") })
	answers(&b, lines)
	if len(c.Codes) > 0 {
		b.WriteString("\n| Code | besides [those of all commands](#order-of-checks) |\n| --- | --- |\n")
		for _, k := range c.Codes {
			fmt.Fprintf(&b, "| %d | %s |\n", k.Code, cell(k.Text))
		}
	}
	return b.String()
}

// fields writes the table of the members of a request.
func fields(b *strings.Builder, lines []api.Line) {
	if len(lines) == 0 {
		b.WriteString("\nNo fields.\n")
		return
	}
	b.WriteString("\n| Field | Type | Required | |\n| --- | --- | --- | --- |\n")
	for i := range lines {
		need := "no"
		if lines[i].Need {
			need = "yes"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", lines[i].Path, lines[i].Type, need, cell(lines[i].Text()))
	}
}

// answers writes the table of the members of an answer, if it has any.
func answers(b *strings.Builder, lines []api.Line) {
	if len(lines) == 0 {
		return
	}
	b.WriteString("\n| Answer | Type | |\n| --- | --- | --- |\n")
	for i := range lines {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", lines[i].Path, lines[i].Type, cell(lines[i].Text()))
	}
}

// olderTable returns the names of the older family.
func olderTable() string {
	var b strings.Builder
	b.WriteString("| Older command | Same as | It lacks |\n| --- | --- | --- |\n")
	for _, c := range api.Table() {
		if c.Older.Name != "" {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", c.Older.Name, c.Name, cell(c.Older.Lacks))
		}
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
