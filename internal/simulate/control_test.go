package simulate

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestControl(t *testing.T) {
	s := start(t, Options{})
	for _, protocol := range protocols {
		s.Reset()
		c := dial(t, s, protocol)
		var b Behaviour
		c.control("PUT", "behaviour", `{"dead":1,"min_latency":"5ms","share":{"lost":0.5}}`, &b)
		if b.Dead != 1 || time.Duration(b.MinLatency) != 5*time.Millisecond || b.Share["lost"] != 0.5 {
			t.Errorf("PUT: %+v", b)
		}
		c.control("PATCH", "behaviour", `{"min_latency":"0s","retry_after":"2m"}`, &b)
		if b.Dead != 1 || b.MinLatency != 0 || time.Duration(b.RetryAfter) != 2*time.Minute || b.Share["lost"] != 0.5 {
			t.Errorf("PATCH: %+v", b)
		}
		if got := c.meet("t", ""); got != fateAnswers[Gone] {
			t.Errorf("with all dead: %q", got)
		}
		b = Behaviour{}
		c.control("PATCH", "behaviour", `{"share":{"gone":0}}`, &b)
		if len(b.Share) != 1 || b.Dead != 1 {
			t.Errorf("a PATCH of the shares: %+v", b)
		}
		c.control("PUT", "behaviour", `{}`, nil)
		c.control("POST", "kill", `{"tokens":["a","b"]}`, nil)
		c.control("POST", "revive", `{"tokens":["b"]}`, nil)
		for token, want := range map[string]string{"a": fateAnswers[Gone], "b": "200", "c": "200"} {
			if got := c.meet(token, "id-"+token); got != want {
				t.Errorf("%s: %q", token, got)
			}
		}
		c.meet("c", "id-c")
		var totals Totals
		c.control("GET", "totals", "", &totals)
		if totals.Delivered != 3 || totals.Tokens != 2 || totals.RepeatedIDs != 1 || totals.Fates["gone"] != 2 {
			t.Errorf("%+v", totals)
		}
		var token tokenReply
		c.control("GET", "token?token=c", "", &token)
		if token.Delivered != 2 || len(token.History) != 2 || token.History[1].ID != "id-c" || token.History[1].Fate != "accepted" {
			t.Errorf("%+v", token)
		}
		var counts Counts
		c.control("POST", "counts", `{"tokens":["c","x","b"],"ids":["id-c","id-a"]}`, &counts)
		if len(counts.Tokens) != 3 || counts.Tokens[0] != 2 || counts.Tokens[1] != 0 || counts.Tokens[2] != 1 || counts.IDs[0] != 2 || counts.IDs[1] != 0 {
			t.Errorf("%+v", counts)
		}
		for path, want := range map[string]string{"id?id=id-c": `{"delivered":2}`, "repeated": `{"id-c":2}`, "wait?delivered=3": `{"delivered":3}`} {
			if r := c.control("GET", path, "", nil); strings.TrimSpace(r.body) != want {
				t.Errorf("%s: %s", path, r.body)
			}
		}
		if r := c.control("GET", "wait?delivered=4&timeout=10ms", "", nil); r.status != 408 || !strings.Contains(r.body, "3 messages were delivered") {
			t.Errorf("a wait in vain: %d %s", r.status, r.body)
		}
		var fates []string
		c.control("GET", "fates", "", &fates)
		if len(fates) != int(fateCount) || fates[0] != "gone" {
			t.Errorf("%v", fates)
		}
		if r := c.control("GET", "ca.pem", "", nil); r.body != string(s.CA()) {
			t.Errorf("%s", r.body)
		}
		if r := c.control("GET", "service-account", "", nil); r.body != string(s.ServiceAccount()) {
			t.Errorf("another service account, %d bytes", len(r.body))
		}
		r := c.control("POST", "service-account?project=other-one", "", nil)
		if account, _ := keyOf(t, []byte(r.body)); account.ProjectID != "other-one" || c.login([]byte(r.body)) == "" {
			t.Errorf("project %q", account.ProjectID)
		}
		var issued accessToken
		c.control("POST", "access-token", "", &issued)
		c.access = issued.Access
		if got := c.meet("c", ""); got != "200" || issued.Type != "Bearer" || issued.In != 3599 {
			t.Errorf("with %+v: %q", issued.Type, got)
		}
		c.control("POST", "expire", "", nil)
		if got := c.meet("c", ""); got != fateAnswers[Unauthenticated] {
			t.Errorf("with a token that was ended: %q", got)
		}
		c.control("POST", "reset", "", nil)
		if s.Delivered() != 0 {
			t.Error("not reset")
		}
	}
}

// fateCount is how many fates can be asked for.
const fateCount = fates - Gone

func TestControlMistakes(t *testing.T) {
	s := start(t, Options{Behaviour: Behaviour{Rate: 77}})
	c := dial(t, s, "h2c")
	for _, x := range []struct {
		method, path, body string
		status             int
		words              string
	}{
		{"GET", "", "", 404, "GET totals"},
		{"DELETE", "behaviour", "", 404, "PATCH behaviour"},
		{"GET", "../totals", "", 404, "there is no"},
		{"PUT", "behaviour", `{"latency":"5ms"}`, 400, "latency"},
		{"PUT", "behaviour", `{"min_latency":5}`, 400, "min_latency"},
		{"PUT", "behaviour", `{"min_latency":"5"}`, 400, "no duration"},
		{"PATCH", "behaviour", `{"rate":5,"dead":2}`, 400, "dead is 2"},
		{"PATCH", "behaviour", `{"rate":5`, 400, "EOF"},
		{"PATCH", "behaviour", `{"rate":5} {}`, 400, "after"},
		{"PATCH", "behaviour", `{"share":{"x":1}}`, 400, `"x"`},
		{"POST", "kill", `[]`, 400, "body"},
		{"GET", "token", "", 400, "token"},
		{"GET", "id", "", 400, "id"},
		{"GET", "wait", "", 400, "delivered"},
		{"GET", "wait?delivered=x", "", 400, `"x"`},
		{"GET", "wait?delivered=1&timeout=1h", "", 400, `"1h"`},
		{"POST", "service-account?project=A", "", 400, `"A"`},
	} {
		r := c.control(x.method, x.path, x.body, nil)
		var reply struct {
			Error string `json:"error"`
		}
		if err := json.Unmarshal([]byte(r.body), &reply); err != nil || r.status != x.status || !strings.Contains(reply.Error, x.words) {
			t.Errorf("%s %s %s: %d %s, want %d %s", x.method, x.path, x.body, r.status, r.body, x.status, x.words)
		}
	}
	if s.Behaviour().Rate != 77 {
		t.Errorf("a mistake has changed the behaviour: %+v", s.Behaviour())
	}
}

// TestControlStrangers shows that a page in a browser controls nothing.
func TestControlStrangers(t *testing.T) {
	s := start(t, Options{})
	for _, x := range []struct{ host, origin string }{{"evil.example", ""}, {"evil.example:80", ""}, {"192.0.2.1", ""}, {"", "https://evil.example"}, {"", "null"}} {
		req, err := http.NewRequestWithContext(context.Background(), "GET", s.URL()+controlPath+"service-account", nil)
		if err != nil {
			t.Fatal(err)
		}
		if x.host != "" {
			req.Host = x.host
		}
		if x.origin != "" {
			req.Header.Set("Origin", x.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 403 {
			t.Errorf("%+v: %d", x, resp.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
