package simulate

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// documented are the errors that a body can lead to.
var documented = regexp.MustCompile(`^(400 INVALID_ARGUMENT( INVALID_ARGUMENT)?( field=[\pL\pN_.\[\]]*)*|` +
	`404 NOT_FOUND( UNREGISTERED)?|403 PERMISSION_DENIED( SENDER_ID_MISMATCH| reason=IAM_PERMISSION_DENIED)|` +
	`401 UNAUTHENTICATED( THIRD_PARTY_AUTH_ERROR| reason=ACCESS_TOKEN_EXPIRED)|` +
	`429 RESOURCE_EXHAUSTED QUOTA_EXCEEDED subject=(project|device|device:collapsible)|500 INTERNAL INTERNAL|503 UNAVAILABLE UNAVAILABLE|400 FAILED_PRECONDITION UNSPECIFIED_ERROR)$`)

// FuzzMessage sends bodies. The answer is 200 with a name or an error of documented form;
// 200 only for JSON with one target, and that message is counted once.
func FuzzMessage(f *testing.F) {
	for _, x := range refusals {
		if len(x.body) < 1000 {
			f.Add([]byte(x.body))
		}
	}
	for _, body := range good {
		f.Add([]byte(body))
	}
	f.Add([]byte(benchMessage(1)))
	s := start(f, Options{})
	access := s.accounts.issue(s.accounts.first, true, s.state.now(), defaultLife)
	f.Fuzz(func(t *testing.T, body []byte) {
		s.Reset()
		w := httptest.NewRecorder()
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond) // a token may hang
		defer stop()
		r := httptest.NewRequestWithContext(ctx, "POST", fcmPath+defaultProject+fcmSend, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+access)
		if aborted(func() { s.serve(w, r) }) {
			return // the token asked for no answer
		}
		if w.Code == 502 && strings.HasPrefix(w.Body.String(), "<!DOCTYPE html>") {
			return
		}
		got := reply{w.Code, w.Header(), w.Body.String()}
		if w.Code != 200 {
			if line, _ := got.parse(t); !documented.MatchString(line) {
				t.Errorf("%s\n%s", line, w.Body)
			}
			if s.Delivered() != 0 {
				t.Error("refused and delivered")
			}
			return
		}
		var reply struct{ Name string }
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || !strings.HasPrefix(reply.Name, "projects/"+defaultProject+"/messages/") {
			t.Errorf("answer %s", w.Body)
		}
		var sent struct {
			Message map[string]any `json:"message"`
		}
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatalf("accepted, and no JSON: %v", err)
		}
		targets := 0
		for _, name := range []string{"token", "fid", "topic", "condition"} {
			if sent.Message[name] != nil {
				targets++
			}
		}
		if targets != 1 {
			t.Errorf("accepted with %d targets", targets)
		}
		if got := s.Totals(); got.Delivered+got.Fates["validated"] != 1 || got.Tokens != got.Delivered {
			t.Errorf("%+v", got)
		}
	})
}

// aborted reports whether a handler ended its request without an answer.
func aborted(serve func()) (ended bool) {
	defer func() {
		if p := recover(); p == any(http.ErrAbortHandler) {
			ended = true
		} else if p != nil {
			panic(p)
		}
	}()
	serve()
	return false
}
