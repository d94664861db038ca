package api

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/gate"
)

// OpenAPI returns the description of the API as an OpenAPI 3.1 document, made from the
// table: the same bytes for the same table and version. It describes what a client should
// send; that the server also takes null for a member that is absent is in it, that it takes
// repeated slashes or a list for AttrNames is not.
func OpenAPI(version string) []byte {
	paths, schemas := object{}, object{}
	described := map[string]bool{}
	for _, c := range Table() {
		service, _, _ := strings.Cut(c.Name, "/")
		if !described[service] {
			described[service] = true
			schemas = append(schemas, member{service + ".Code", codeSchema(c.Family.Common(), "Codes of the checks that all commands of "+service+" share.")})
		}
		paths = append(paths, member{"/v4/" + c.Name, object{{"post", operation(c, service, false)}}})
	}
	for _, c := range Table() {
		if c.Older.Name != "" {
			service, _, _ := strings.Cut(c.Name, "/")
			paths = append(paths, member{"/v4/" + c.Older.Name, object{{"post", operation(c, service, true)}}})
		}
	}
	paths = append(paths, routePaths()...)
	text, err := json.Marshal(object{
		{"openapi", "3.1.0"},
		{"info", object{
			{"title", "Tidings"},
			{"version", version},
			{"description", "A push and audience server that speaks the REST API of Tencent Cloud Chat's push service. " +
				"The HTTP status of a command is 200 whatever the outcome: ErrorCode says whether it succeeded. " +
				"Client apps call what is under /v1, where the status says it too."},
		}},
		{"servers", []object{{{"url", "/"}, {"description", "The server that this document came from."}}}},
		{"security", []object{{{"usersig", []string{}}}}},
		{"paths", paths},
		{"components", object{
			{"securitySchemes", append(object{{"usersig", object{
				{"type", "apiKey"},
				{"in", "query"},
				{"name", "usersig"},
				{"description", "A ticket for the account in identifier, made with a secret key of the app."},
			}}}, routeSchemes...)},
			{"parameters", append(slices.Clone(queryParameters), routeParameters...)},
			{"schemas", schemas},
		}},
	}, jsontext.WithIndent("  "))
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	return append(text, '\n')
}

// OpenAPIHandler answers with the document to everyone: it holds nothing of an app.
func OpenAPIHandler(version string) http.Handler {
	text := OpenAPI(version)
	tag := fmt.Sprintf("\"%x\"", sha256.Sum256(text))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	})
}

// queryParameters are those of every command, the first also of what client apps call; usersig is the security scheme.
var queryParameters = object{
	{"sdkappid", object{
		{"name", "sdkappid"},
		{"in", "query"},
		{"required", true},
		{"description", "Number of the app."},
		{"schema", object{{"type", "integer"}, {"minimum", 1}, {"maximum", 4294967295}}},
	}},
	{"identifier", object{
		{"name", "identifier"},
		{"in", "query"},
		{"required", true},
		{"description", "Account that calls, an admin of the app."},
		{"schema", object{{"type", "string"}, {"minLength", 1}}},
	}},
	{"random", object{
		{"name", "random"},
		{"in", "query"},
		{"description", "Any text. It goes into the log line of the request."},
		{"schema", object{{"type", "string"}}},
	}},
	{"contenttype", object{
		{"name", "contenttype"},
		{"in", "query"},
		{"schema", object{{"type", "string"}, {"const", "json"}}},
	}},
}

// operation describes a command, under its older name if older says so.
func operation(c gate.Command, service string, older bool) object {
	name, text := c.Name, c.Doc
	if older {
		name = c.Older.Name
		text = "The older name of " + c.Name + ", for UserIDs only. It lacks " + c.Older.Lacks + ". " + text
	}
	tag, _, _ := strings.Cut(name, "/")
	var parameters []object
	for _, p := range queryParameters {
		parameters = append(parameters, ref("parameters", p.name))
	}
	request := Request(c, older)
	o := object{
		{"operationId", strings.ReplaceAll(name, "/", "_")},
		{"tags", []string{tag}},
		{"summary", Summary(c)},
		{"description", text + " " + Limits(c)},
	}
	if older {
		o = append(o, member{"deprecated", true})
	}
	return append(
		o,
		member{"x-effect", c.Effect.String()},
		member{"x-rate", c.Rate.PerSecond},
		member{"parameters", parameters},
		member{"requestBody", object{
			{"required", len(request.Fields) > 0},
			{"content", jsonContent(request.schema(true), jsontext.Value(c.Example))},
		}},
		member{"responses", object{{"200", object{
			{"description", "The call succeeded, or ErrorCode says why it failed."},
			{"content", jsonContent(object{{"oneOf", []object{success(Answer(c, older)), failure(c, service)}}}, nil)},
		}}}},
	)
}

func jsonContent(schema object, example jsontext.Value) object {
	content := object{{"schema", schema}}
	if example != nil {
		content = append(content, member{"example", example})
	}
	return object{{"application/json", content}}
}

// Summary returns the first sentence about a command, without its full stop.
func Summary(c gate.Command) string {
	first, _, _ := strings.Cut(c.Doc, ". ")
	return strings.TrimSuffix(first, ".")
}

// BodyCodes returns the codes that a command may answer about its body, and its own: those
// that depend on the command.
func BodyCodes(c gate.Command) []*apierr.Kind {
	f := c.Family
	return distinct(append([]*apierr.Kind{f.TooLarge, f.BadJSON, f.BadField, f.BadAccount}, c.Codes...))
}

// Limits returns the limits of a command as a sentence.
func Limits(c gate.Command) string {
	text := fmt.Sprintf("At most %d calls per second by an app.", c.Rate.PerSecond)
	if c.Body.Bytes > 0 {
		text += " The body has at most " + size(c.Body.Bytes) + "."
	}
	return text
}

// size returns a number of bytes as people say it.
func size(n int64) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// success describes the answer of a command that did what it was asked.
func success(answer Shape) object {
	properties := object{
		{"ActionStatus", object{{"const", "OK"}}},
		{"ErrorInfo", object{{"const", ""}}},
		{"ErrorCode", object{{"const", 0}}},
	}
	required := []string{"ActionStatus", "ErrorInfo", "ErrorCode"}
	members, always := answer.members(false)
	return object{
		{"title", "Success"},
		{"type", "object"},
		{"properties", append(append(properties, members...), requestID)},
		{"required", append(required, always...)},
	}
}

// failure describes the answer of a command that failed.
func failure(c gate.Command, service string) object {
	code := ref("schemas", service+".Code")
	if len(c.Codes) > 0 {
		code = object{{"anyOf", []object{code, codeSchema(c.Codes, "")}}}
	}
	return failed(code, refused(c))
}

// failed describes an answer that says that a call failed, with one of some codes and the
// members that such an answer has besides.
func failed(code object, members map[string]any) object {
	properties := object{
		{"ActionStatus", object{{"const", "FAIL"}}},
		{"ErrorInfo", object{{"type", "string"}, {"description", "What was wrong, for people."}}},
		{"ErrorCode", code},
	}
	required := []string{"ActionStatus", "ErrorInfo", "ErrorCode"}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		properties, required = append(properties, member{name, object{{"const", members[name]}}}), append(required, name)
	}
	return object{
		{"title", "Failure"},
		{"type", "object"},
		{"properties", append(properties, requestID)},
		{"required", required},
	}
}

// refused returns the members that the answer of a command has that failed.
func refused(c gate.Command) (members map[string]any) {
	if c.Refused == "" {
		return nil
	}
	if err := json.Unmarshal([]byte("{"+c.Refused+"}"), &members); err != nil {
		panic(c.Name + ": " + err.Error()) // a mistake of the program
	}
	return members
}

var requestID = member{"RequestId", object{{"type", "string"}, {"description", "Only if the server is configured to send it."}}}
