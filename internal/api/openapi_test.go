package api_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tidings/internal/api"
	"tidings/internal/gate"
)

// document returns the OpenAPI document as any reader gets it.
func document(t *testing.T) map[string]any {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(api.OpenAPI("test"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOpenAPI: the document is the same each time, has every command once, and all its
// references lead somewhere.
func TestOpenAPI(t *testing.T) {
	if !bytes.Equal(api.OpenAPI("1"), api.OpenAPI("1")) {
		t.Error("two documents of one table differ")
	}
	d := document(t)
	var want []string
	for _, name := range api.Commands() {
		want = append(want, "/v4/"+name)
	}
	for _, r := range api.Routes() {
		want = append(want, r.Path)
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if got := slices.Sorted(maps.Keys(d["paths"].(map[string]any))); !slices.Equal(got, want) {
		t.Errorf("paths are %q, want %q", got, want)
	}
	ids, deprecated := map[any]bool{}, 0
	for path, item := range d["paths"].(map[string]any) {
		for _, o := range item.(map[string]any) {
			o := o.(map[string]any)
			if ids[o["operationId"]] {
				t.Errorf("two operations are %v", o["operationId"])
			}
			ids[o["operationId"]] = true
			if o["summary"] == "" || o["description"] == "" {
				t.Errorf("%s is not described", path)
			}
			if o["deprecated"] == true {
				deprecated++
			}
		}
	}
	if want := len(api.Commands()) + len(api.Routes()); len(ids) != want {
		t.Errorf("%d operations, want %d", len(ids), want)
	}
	schemes := d["components"].(map[string]any)["securitySchemes"].(map[string]any)
	eachObject(d, func(o map[string]any) {
		security, _ := o["security"].([]any)
		for _, way := range security {
			for name := range way.(map[string]any) {
				if schemes[name] == nil {
					t.Errorf("%v needs %s, which is no scheme", o["operationId"], name)
				}
			}
		}
	})
	if deprecated != 11 { // spec/timpush-api.md, 14, and spec/conventions.md, 5.6, as far as there are commands
		t.Errorf("%d operations are deprecated, want 10", deprecated)
	}
	eachObject(d, func(o map[string]any) {
		target, ok := o["$ref"].(string)
		if !ok {
			return
		}
		var at any = d
		for part := range strings.SplitSeq(strings.TrimPrefix(target, "#/"), "/") {
			inner, _ := at.(map[string]any)
			at = inner[part]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", target)
		}
	})
}

// eachObject calls visit for every object in a JSON value.
func eachObject(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, inner := range v {
			eachObject(inner, visit)
		}
	case []any:
		for _, inner := range v {
			eachObject(inner, visit)
		}
	}
}

// schemas compiles the schemas of the document, those of answers so that a member which
// they do not have is an error.
func schemas(t *testing.T) func(pointer string) *jsonschema.Schema {
	t.Helper()
	d := document(t)
	for _, item := range d["paths"].(map[string]any) {
		for _, operation := range item.(map[string]any) {
			eachObject(operation.(map[string]any)["responses"], func(o map[string]any) {
				if o["properties"] != nil && o["type"] == "object" {
					o["additionalProperties"] = false
				}
			})
		}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("mem:///openapi.json", d); err != nil {
		t.Fatal(err)
	}
	return func(pointer string) *jsonschema.Schema {
		t.Helper()
		s, err := c.Compile("mem:///openapi.json#" + pointer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// TestOpenAPISchemas holds the golden packets against the schemas: what succeeded is a
// request of the document, what was refused for its form is none, and every answer is an
// answer of it, with a code that the command may have.
func TestOpenAPISchemas(t *testing.T) {
	compile := schemas(t)
	formless := map[string]bool{ // refused for what a schema cannot say
		"account_import/missing": true, "multiaccount_import/both": true,
		"push/misspelt": true, "account_import/long": true, "account_import/not_ascii": true, "set_attr_name/legacy_taken": true, "estimate_audience/both": true,
		"list_devices/next_of_account": true, "restore_tokens/both": true, "restore_tokens/neither": true,
	}
	known := map[string]bool{}
	for _, name := range api.Commands() {
		known[name] = true
	}
	requests := 0
	root := filepath.Join("testdata", "golden")
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.ToSlash(strings.TrimPrefix(file, root+string(filepath.Separator))), ".http")
		request, answer, _ := strings.Cut(string(text), "\n\nHTTP/1.1 200 OK\n")
		head, body, _ := strings.Cut(request, "\n\n")
		_, answer, _ = strings.Cut(answer, "\n\n")
		command, _, _ := strings.Cut(strings.TrimPrefix(head, "POST /v4/"), "?")
		if !known[command] {
			return nil
		}
		operation := "/paths/~1v4~1" + strings.ReplaceAll(command, "/", "~1") + "/post/"
		out, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		if err := compile(operation + "responses/200/content/application~1json/schema").Validate(out); err != nil {
			t.Errorf("%s: the answer %s is none of %s: %v", name, answer, command, err)
		}
		in, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err != nil {
			return nil // refused as what it is
		}
		invalid := compile(operation + "requestBody/content/application~1json/schema").Validate(in)
		code := out.(map[string]any)["ErrorCode"].(json.Number).String()
		switch {
		case code == "0" && invalid != nil:
			t.Errorf("%s: the request %s succeeded and is none of %s: %v", name, body, command, invalid)
		case slices.Contains([]string{"90001", "70402", "60015", "90018"}, code) && (invalid == nil) != formless[name]:
			t.Errorf("%s: the request %s was refused with %s; by the schema: %v", name, body, code, invalid)
		}
		requests++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if requests < 100 {
		t.Errorf("only %d packets were looked at", requests)
	}
}

// TestOpenAPIExamples: the example of a row is a request of it.
func TestOpenAPIExamples(t *testing.T) {
	compile := schemas(t)
	for _, c := range api.Table() {
		example, err := jsonschema.UnmarshalJSON(strings.NewReader(c.Example))
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		pointer := "/paths/~1v4~1" + strings.ReplaceAll(c.Name, "/", "~1") + "/post/requestBody/content/application~1json/schema"
		if err := compile(pointer).Validate(example); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// TestOpenAPIRoutes: what client apps call takes requests of the document, and answers with
// a status, a body and a code of it.
func TestOpenAPIRoutes(t *testing.T) {
	compile := schemas(t)
	n := startPhones(t, gate.Options{})
	p := n.newPhone(android)
	gone := n.newPhone(android)
	gone.call("DELETE", "", "").is(t, 200, 0)
	rows, statuses := map[string]bool{}, map[int]bool{}
	for _, r := range api.Routes() {
		what := strings.TrimPrefix(strings.TrimPrefix(r.Path, "/v1/devices"), "/{id}")
		example := strings.ReplaceAll(r.Example, "eJw...", n.ticket("Mary"))
		for _, c := range []struct{ path, authorization, body string }{
			{"/" + p.id + what, bearer(p.secret), example},
			{"/" + p.id + what, bearer("guess"), example},
			{"/" + gone.id + what, bearer(gone.secret), example},
			{"/" + p.id + what, bearer(p.secret), `{"Misspelt":1}`},
			{"/" + p.id + what, bearer(p.secret), `[`},
			{"/" + p.id + what, bearer(p.secret), `{"Misspelt":"` + strings.Repeat("x", 20<<10) + `"}`},
		} {
			if r.Makes {
				c.path = ""
				c.authorization = strings.ReplaceAll(c.authorization, p.secret, appKey)
				c.authorization = strings.ReplaceAll(c.authorization, gone.secret, appKey)
			}
			if r.Method == http.MethodDelete && c.authorization == bearer(p.secret) && what == "" {
				c.path, c.authorization = "/"+gone.id, bearer("guess") // the phone is needed further on
			}
			got := n.v1(r.Method, c.path, c.authorization, c.body)
			operation := "/paths/" + strings.ReplaceAll(r.Path, "/", "~1") + "/" + strings.ToLower(r.Method)
			answer, err := jsonschema.UnmarshalJSON(strings.NewReader(got.raw))
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			if err := compile(operation + "/responses/" + strconv.Itoa(got.status) + "/content/application~1json/schema").Validate(answer); err != nil {
				t.Errorf("%s: status %d with %s is no answer of it: %v", r.Name, got.status, got.raw, err)
			}
			rows[r.Name], statuses[got.status] = true, true
			in, err := jsonschema.UnmarshalJSON(strings.NewReader(c.body))
			if err != nil || r.Example == "" {
				continue
			}
			invalid := compile(operation + "/requestBody/content/application~1json/schema").Validate(in)
			if good := c.body == example; good != (invalid == nil) {
				t.Errorf("%s: the request %.80s: %v", r.Name, c.body, invalid)
			}
		}
	}
	for _, status := range []int{200, 201, 400, 401, 404, 413} {
		if !statuses[status] {
			t.Errorf("no answer has the status %d", status)
		}
	}
	if len(rows) != len(api.Routes()) {
		t.Errorf("only %v are tested", rows)
	}
}

// TestOpenAPIHandler: whoever has the document is not sent it again.
func TestOpenAPIHandler(t *testing.T) {
	h := api.OpenAPIHandler("1")
	get := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	first := get("")
	if first.Code != http.StatusOK || !bytes.Equal(first.Body.Bytes(), api.OpenAPI("1")) || first.Header().Get("Content-Length") != strconv.Itoa(first.Body.Len()) {
		t.Errorf("got %d and %v", first.Code, first.Header())
	}
	if again := get(first.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("got %d again", again.Code)
	}
	other := httptest.NewRecorder()
	api.OpenAPIHandler("2").ServeHTTP(other, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if other.Header().Get("ETag") == first.Header().Get("ETag") {
		t.Error("another document has the same tag")
	}
}
