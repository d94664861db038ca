package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tidings/internal/api"
	"tidings/internal/gate"
)

// FuzzBody sends any body to any command. Every answer is JSON with the
// envelope (parseAnswer), a body that is not JSON gets its family's code for
// that and no other, and a refused request changes nothing.
func FuzzBody(f *testing.F) {
	commands := api.Commands()
	for i, name := range commands {
		f.Add(uint8(i), []byte(bodies[name]))
		f.Add(uint8(i), []byte(`{"UserID":1,`))
		f.Add(uint8(i), []byte(`{"UserAttrs":[{"To_Account":1}]}`))
	}
	for _, h := range hostiles() {
		if _, text, ok := strings.Cut(h.raw, "\r\n\r\n"); ok && len(text) < 2000 {
			i := slices.IndexFunc(commands, func(name string) bool { return strings.Contains(h.raw, "/"+name+"?") })
			f.Add(uint8(max(i, 0)), []byte(text))
		}
	}
	n := open(f, gate.Options{}, withDevices(f, device))
	n.fill()
	ticket := n.query().Encode()
	f.Fuzz(func(t *testing.T, command uint8, body []byte) {
		n.t = t
		name := commands[int(command)%len(commands)]
		before := n.state()
		a := n.local(t, name, ticket, body)
		if a.ErrorCode == 70052 { // a kick was found that ends our own ticket
			n.clock.advance(time.Hour)
			ticket = n.query().Encode()
			a = n.local(t, name, ticket, body)
		}
		text := bytes.TrimPrefix(body, []byte("\ufeff"))
		if notJSON := 60003; !json.Valid(text) || !utf8.Valid(text) {
			if !strings.HasPrefix(name, "im_open_login_svc/") {
				notJSON = 90001
			}
			if a.ErrorCode != notJSON {
				t.Errorf("%s %q is not JSON and gets %s, want %d", name, body, a.raw, notJSON)
			}
		}
		allowed := []int{0, 90001, 90018, 90033}
		if strings.HasPrefix(name, "im_open_login_svc/") {
			allowed = []int{0, 60003, 60015, 70107, 70402, 40601}
		}
		if !slices.Contains(allowed, a.ErrorCode) {
			t.Errorf("%s %q gets %s, want one of %v", name, body, a.raw, allowed)
		}
		if a.ErrorCode != 0 {
			if after := n.state(); after != before {
				t.Errorf("%s %q was refused (%s) and changed %s to %s", name, body, a.raw, before, after)
			}
		}
	})
}

// local calls a command without a network.
func (n *node) local(t testing.TB, command, query string, body []byte) answer {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v4/"+command+"?"+query, bytes.NewReader(body))
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	return parseAnswer(t, command, w.Code, w.Header(), w.Body.Bytes())
}
