package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tidings/client"
	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/simulate"
)

// Marks that are in secrets and nowhere else.
const (
	tokenMark  = "MARKEDTOKEN"  // never among the last six characters of a token
	appKeyMark = "MARKEDAPPKEY" // of a second AppKey
	fileMark   = "MARKEDFILE"   // of files that are no good credentials
)

// A recorder keeps what was answered, and the tickets that were shown.
type recorder struct {
	base http.RoundTripper

	mu      sync.Mutex
	answers bytes.Buffer // but for those that show the secret of a new device
	tickets []string
}

// RoundTrip sends a request.
func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := r.base.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	defer r.mu.Unlock()
	if ticket := q.URL.Query().Get("usersig"); ticket != "" {
		r.tickets = append(r.tickets, ticket)
	}
	if resp.StatusCode != http.StatusCreated {
		r.answers.Write(body)
		fmt.Fprintf(&r.answers, "\n%v\n", resp.Header)
	}
	return resp, err
}

// echo is a provider that answers with all that it was sent: with the status at the end of the
// token. Access tokens are those of a simulator.
type echo struct {
	mu      sync.Mutex
	bearers []string
}

// ServeHTTP answers a message.
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	e.bearers = append(e.bearers, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	e.mu.Unlock()
	var in struct{ Message struct{ Token string } }
	_ = json.Unmarshal(body, &in)
	status := http.StatusOK
	_, _ = fmt.Sscanf(in.Message.Token, "status%d", &status)
	said := fmt.Sprintf("no good: %s, authorized by %s", body, r.Header.Get("Authorization"))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if strings.Contains(in.Message.Token, "-html-") {
		fmt.Fprintf(w, "<html>%s</html>", said)
		return
	}
	_ = json.NewEncoder(w).Encode(fields{"name": "n/1", "error": fields{"code": status, "message": said, "status": "X" + in.Message.Token, "details": []fields{
		{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": in.Message.Token},
		{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": []fields{{"field": "message." + in.Message.Token, "description": said}}},
	}}})
}

// TestSecretsStay: tokens, secrets of devices, AppKeys, keys, tickets and credentials are in no
// log, no answer, no metric, no document and no output of the command line, whatever goes wrong:
// but for the answer that shows the secret of a new device once.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{}, func(d *app.Declaration) { d.AppKeys = append(d.AppKeys, appKeyMark+"-of-the-app") })
	provider := &echo{}
	server := httptest.NewUnstartedServer(provider)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	s.vars["TIDINGS_FCM_URL"] = server.URL
	s.restart()
	seen := &recorder{base: s.http.Transport}
	s.http.Transport = seen
	secrets := map[string]string{tokenMark: "a token", appKeyMark: "an AppKey", fileMark: "a file", pushAppKey: "an AppKey", stageKey: "the secret key"}

	var phones []*phone
	for i, status := range []int{200, 200, 400, 401, 403, 404, 429, 500, 503} {
		for _, form := range []string{"json", "html"} {
			p := s.install(fmt.Sprintf("status%d-%s-%s-%06d", status, form, tokenMark, i), nil)
			phones = append(phones, p)
		}
	}
	for i, p := range phones[:6] {
		p.login(fmt.Sprint("user", i))
	}
	for _, p := range phones {
		whole, mark, _ := strings.Cut(p.secret, ".")
		secrets[p.secret], secrets[whole] = "the secret of a device", "the secret of a device"
		if len(mark) > 8 {
			secrets[mark] = "the secret of a device"
		}
	}
	s.wrongPhones(phones)
	id := s.wrongPushes(phones)
	s.wrongCommands(id, phones)

	// The operator's side: right and wrong credentials, and everything that is shown.
	var account map[string]string
	if err := json.Unmarshal(s.sim.ServiceAccount(), &account); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(account["private_key"], "\n") {
		if len(line) > 20 && !strings.HasPrefix(line, "-----") {
			secrets[line] = "a credential"
		}
	}
	output := s.commandLine(id, phones, account)

	s.await(id, "under way", func(p *pushTask) bool { return p.Units > 0 })
	var metrics, openapi string
	for _, page := range []struct {
		url  string
		into *string
	}{{s.server.MetricsURL(), &metrics}, {s.server.URL() + "/openapi.json", &openapi}} {
		resp, err := http.Get(page.url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", page.url, resp.Status, err)
		}
		*page.into = string(body)
	}
	s.halt()
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, ticket := range seen.tickets {
		secrets[ticket], secrets[url.QueryEscape(ticket)] = "a ticket", "a ticket"
	}
	provider.mu.Lock()
	defer provider.mu.Unlock()
	if len(provider.bearers) == 0 || len(seen.tickets) == 0 || !strings.Contains(s.log.String(), "DEBUG") {
		t.Errorf("%d messages, %d tickets: the test shows nothing", len(provider.bearers), len(seen.tickets))
	}
	for _, bearer := range provider.bearers {
		secrets[bearer] = "an access token"
	}
	for where, text := range map[string]string{"the log": s.log.String(), "an answer": seen.answers.String(), "the metrics": metrics, "the description of the API": openapi, "the command line": output} {
		for secret, what := range secrets {
			if i := strings.Index(text, secret); secret != "" && i >= 0 {
				t.Errorf("%s is in %s: …%s…", what, where, text[max(0, i-300):min(len(text), i+len(secret)+100)])
			}
		}
	}
}

// wrongPhones calls as client apps that make every mistake.
func (s *stage) wrongPhones(phones []*phone) {
	s.t.Helper()
	p, other := phones[0], phones[1]
	token := "phone-" + tokenMark + "-000000"
	ticket, key := s.ticket("user0"), "Bearer "+appKeyMark+"-of-the-app"
	for _, authorization := range []string{
		"", key, key + "x", "Bearer " + p.secret, "Bearer " + other.secret, "Bearer " + p.secret + "x", "Basic " + p.secret, p.secret,
		"UserSig " + ticket, "UserSig " + ticket[:len(ticket)/2], "UserSig " + s.ticket("user1"), "UserSig " + p.secret, "Bearer " + ticket,
	} {
		for _, in := range []any{
			nil,
			fields{},
			installation(1, token), installation(99, token), installation(1, strings.Repeat(token, 300)), installation(1, token+"\x01"),
			fields{"Platform": "android", "Tokens": token},
			fields{"Platform": "android", "Tokens": []any{token}},
			fields{"Platform": "android", "Tokens": []fields{{"Certificate": 1, "Token": []string{token}}}},
			fields{"Platform": "android", "Tokens": []fields{{"Certificate": 1, "Token": token, "Kind": "voip"}}},
			fields{"Platform": "android", "Tokens": []fields{{"Certificate": token, "Token": token}}},
			fields{"Platform": "android", "Tokens": []fields{{"Certificate": 1, "Token": token}, {"Certificate": 1, "Token": token}}},
			fields{"UserID": "user0", "UserSig": ticket},
			fields{"UserID": "user0", "UserSig": ticket + "x"},
			fields{"UserID": "user1", "UserSig": ticket},
			fields{"UserID": "user0", "UserSig": []string{ticket}},
			fields{"Badge": -1},
			fields{"Reports": []fields{{"ReportID": "x", "Event": "y"}}},
		} {
			for _, call := range [...][2]string{{"POST", ""}, {"PUT", "/" + p.id}, {"PUT", "/" + p.id + "/user"}, {"PUT", "/" + p.id + "/badge"}, {"POST", "/" + p.id + "/reports"}, {"GET", "/" + p.id}} {
				if _, err := s.v1(call[0], call[1], authorization, in); err != nil {
					s.t.Fatal(err)
				}
			}
		}
	}
	// The last word is that of the phone: its token, and its user.
	p.call("PUT", "", installation(1, p.token), 200)
	p.login("user0")
}

// wrongPushes pushes to all phones, and asks what became of it.
func (s *stage) wrongPushes(phones []*phone) (id string) {
	s.t.Helper()
	id = s.push("to all", nil)
	for _, p := range phones {
		s.awaitTrace(id, p)
	}
	for _, what := range []string{"timpush/push", "tidings/preview_push"} {
		s.must(what, message("dry").with(fields{"DryRun": 1}), nil)
	}
	return id
}

// awaitTrace asks what became of a push at a phone until something did, or its certificate
// is blocked.
func (s *stage) awaitTrace(id string, p *phone) {
	s.t.Helper()
	s.await(id, "further", func(task *pushTask) bool {
		got := s.trace(id, p.id)
		return len(got.Devices) > 0 && (got.Devices[0].Outcome != "" || got.Devices[0].Status != 0) || task.State == "blocked" ||
			len(task.Lanes) > 0 && task.Lanes[len(task.Lanes)-1].State == "throttled"
	})
}

// wrongCommands calls every command with mistakes and with what exists, with good and bad tickets.
func (s *stage) wrongCommands(id string, phones []*phone) {
	s.t.Helper()
	for _, command := range api.Commands() {
		for _, in := range []any{
			fields{},
			[]string{"no object"},
			fields{"To_Account": 7, "TaskId": 7},
			fields{"TaskId": id, "To_Account": phones[0].id},
			fields{"TaskId": id, "To_Account": []string{phones[0].id}},
			fields{"RegistrationID": phones[len(phones)-1].id, "UserID": "user5"},
		} {
			if strings.HasPrefix(command, "tidings/stop") {
				continue
			}
			err := s.Call(s.t.Context(), command, in, nil)
			if _, refused := errors.AsType[*client.Error](err); err != nil && !refused {
				if _, failed := errors.AsType[*client.AccountErrors](err); !failed {
					s.t.Logf("%s: %v", command, err)
				}
			}
		}
	}
	ticket := s.ticket("administrator")
	for _, shown := range []string{ticket, ticket[:len(ticket)/2], ticket + "x", s.ticket("user0"), pushAppKey, phones[0].secret} {
		query := url.Values{"sdkappid": {fmt.Sprint(stageApp)}, "identifier": {"administrator"}, "usersig": {shown}, "random": {"1"}, "contenttype": {"json"}}
		for _, path := range []string{"/v4/timpush/push", "/v4/tidings/list_devices", "/v4/none/such", "/v5"} {
			resp, err := s.http.Post(s.server.URL()+path+"?"+query.Encode(), "application/json", strings.NewReader("{}"))
			if err != nil {
				s.t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
}

// commandLine runs commands of an operator, and returns all that they print.
func (s *stage) commandLine(id string, phones []*phone, account map[string]string) string {
	t := s.t
	t.Helper()
	bin := build(t.(*testing.T))
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	changed := func(name, value string) string {
		other := map[string]string{}
		for k, v := range account {
			other[k] = v
		}
		other[name] = value
		text, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		return file(name+".json", string(text))
	}
	good := file("good.json", string(s.sim.ServiceAccount()))
	number := fmt.Sprint(stageApp)
	var all strings.Builder
	for _, args := range [][]string{
		{"channel", "add", "--provider", "fcm", "--offline", "--file", good},
		{"channel", "add", "--provider", "fcm", "--file", good},
		{"channel", "add", "--provider", "fcm", "--file", file("garbage.json", fileMark)},
		{"channel", "add", "--provider", "fcm", "--file", file("object.json", `{"private_key":"`+fileMark+`","`+fileMark+`":1}`)},
		{"channel", "add", "--provider", "fcm", "--file", changed("private_key", strings.Replace(account["private_key"], "PRIVATE", "PUBLIC", 1))},
		{"channel", "add", "--provider", "fcm", "--file", changed("type", fileMark)},
		{"channel", "add", "--provider", "fcm", "--file", changed("token_uri", "https://"+fileMark+".example.com/")},
		{"channel", "replace", "1", "--file", changed("client_email", "another@example.com")},
		{"channel", "test", "1"},
		{"channel", "list"},
		{"channel", "list", "--json"},
		{"channel", "show", "1"},
		{"appkey", "list"},
		{"device", "list"},
		{"device", "list", "user0"},
		{"device", "show", phones[0].id},
		{"device", "test", phones[0].id},
		{"device", "test", phones[4].id},
		{"device", "restore", "--task", id},
		{"task", "list"},
		{"task", "show", id},
		{"trace", "--task", id, phones[4].id},
		{"trace", "user0"},
		{"push", "--to", "user0,user2", "--title", "t", "--desc", "d", "--dry-run"},
		{"user", "show", "user0"},
		{"export"},
	} {
		cmd := exec.Command(bin, append(args, "--app", number, "--data", s.vars["TIDINGS_DATA"])...)
		out, _ := cmd.CombinedOutput()
		if strings.Contains(string(out), "unknown flag") || strings.Contains(string(out), "unknown command") {
			t.Errorf("%q: %s", args, out)
		}
		fmt.Fprintf(&all, "%q\n%s\n", args, out)
	}
	for _, args := range [][]string{{"app", "show", number}, {"key", "list", number}, {"app", "list"}, {"status"}, {"status", "--json"}} {
		out, _ := exec.Command(bin, append(args, "--data", s.vars["TIDINGS_DATA"])...).CombinedOutput()
		fmt.Fprintf(&all, "%q\n%s\n", args, out)
	}
	// And what an operation in process says when it fails.
	for _, secret := range []string{fileMark, `{"private_key":"` + fileMark + `"}`, string(s.sim.ServiceAccount()) + fileMark} {
		_, err := admin.ReplaceCertificate.Do(t.Context(), s.server.Control(), admin.ReplaceRequest{ID: stageApp, Certificate: 1, Secret: []byte(secret)})
		if err == nil {
			t.Errorf("a bad credential was accepted")
		}
		fmt.Fprintln(&all, err)
	}
	return all.String()
}
