package doc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/config"
	"tidings/internal/server"
)

var update = flag.Bool("update", false, "rewrite the answers in doc/api.md")

// demoID is the app of tidings serve --demo.
const demoID = 1400000001

// example is a request of a document and, right after it, its answer:
//
//	```http
//	POST /v4/timpush/get_attr
//
//	{"To_Account":["Mary"]}
//	```
//	```json
//	{"ActionStatus":"OK", ...}
//	```
//
// A target without a query gets the one that every call needs. In a target
// with one, TICKET stands for a good usersig.
var example = regexp.MustCompile("(?s)(```http\n([A-Z]+) (\\S+)\n(.*?)```\n+```json\n)(.*?)\n?```")

// TestAPIExamples makes every call of doc/api.md, in order, on one server with
// the demo data, and compares the answers.
func TestAPIExamples(t *testing.T) {
	text, err := os.ReadFile("api.md")
	if err != nil {
		t.Fatal(err)
	}
	if n, m := bytes.Count(text, []byte("```http\n")), len(example.FindAllIndex(text, -1)); n != m || n == 0 {
		t.Fatalf("api.md has %d requests, but %d with an answer right after them", n, m)
	}
	url, ticket := serveDemo(t)
	got := example.ReplaceAllFunc(text, func(block []byte) []byte {
		m := example.FindSubmatch(block)
		method, target, body, want := string(m[2]), string(m[3]), string(m[4]), string(m[5])
		answer := call(t, method, url+withQuery(target, ticket), strings.TrimSpace(body))
		if answer != want && !*update {
			t.Errorf("%s %s\n%s\n got %s\nwant %s", method, target, body, answer, want)
		}
		return []byte(string(m[1]) + answer + "\n```")
	})
	if *update {
		if err := os.WriteFile("api.md", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// serveDemo serves the demo app until the test ends.
func serveDemo(t *testing.T) (url, ticket string) {
	variables := map[string]string{
		"TIDINGS_DATA": t.TempDir(), "TIDINGS_LISTEN": "127.0.0.1:0", "TIDINGS_METRICS_LISTEN": "off",
	}
	lookup := func(name string) (string, bool) { v, ok := variables[name]; return v, ok }
	cfg, err := config.Load(nil, lookup, "", api.Commands())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Apps = []app.Declaration{server.Demo(demoID)}
	sim, err := server.SimulateProviders(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	s, err := server.Start(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	if err := s.FillDemo(t.Context(), demoID, sim.ServiceAccount()); err != nil {
		t.Fatal(err)
	}
	var sig admin.Sig
	if err := s.Control().Call(t.Context(), "sig/make", admin.SigRequest{ID: demoID}, &sig); err != nil {
		t.Fatal(err)
	}
	return s.URL(), sig.Ticket
}

func withQuery(target, ticket string) string {
	if !strings.Contains(target, "?") {
		target += fmt.Sprintf("?sdkappid=%d&identifier=%s&usersig=TICKET&random=99999999&contenttype=json", demoID, app.BuiltInAdmin)
	}
	return strings.ReplaceAll(target, "TICKET", ticket)
}

// call makes a request and gives the answer as the documents print it.
func call(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json; charset=utf-8" || len(resp.Header.Get("X-Request-Id")) != 16 {
		t.Errorf("%s %s: status %s, headers %v", method, req.URL.Path, resp.Status, resp.Header)
	}
	return printed(t, answer)
}

// maxLine is the longest answer that is printed on one line.
const maxLine = 110

// printed is an answer as it stands in the documents: as it came, or indented if
// it is long.
func printed(t *testing.T, answer []byte) string {
	t.Helper()
	if len(answer) <= maxLine {
		return string(answer)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, answer, "", "  "); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return b.String()
}
