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
	"tidings/internal/apierr"
	"tidings/internal/gate"
)

// FuzzBody sends any body to any command. Every answer is JSON with the
// envelope (parseAnswer), a body that is not JSON gets its family's code for
// that and no other, any other refusal has a code of the command's row, and a
// refused request changes nothing.
func FuzzBody(f *testing.F) {
	commands := api.Commands()
	for i, name := range commands {
		f.Add(uint8(i), []byte(bodies[name]))
		row, _ := api.Find(name)
		f.Add(uint8(i), []byte(row.Example))
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
		nothing := strings.HasSuffix(name, "get_attr_name") && len(bytes.TrimSpace(text)) == 0 // which has no fields
		if notJSON := 60003; !nothing && (!json.Valid(text) || !utf8.Valid(text)) {
			if !strings.HasPrefix(name, "im_open_login_svc/") {
				notJSON = 90001
			}
			if a.ErrorCode != notJSON {
				t.Errorf("%s %q is not JSON and gets %s, want %d", name, body, a.raw, notJSON)
			}
		}
		row, _ := api.Find(name)
		ofBody := slices.DeleteFunc(api.BodyCodes(row), func(k *apierr.Kind) bool { return k == row.Family.TooLarge })
		if a.ErrorCode != 0 && !slices.ContainsFunc(ofBody, func(k *apierr.Kind) bool { return k.Code == a.ErrorCode }) {
			t.Errorf("%s %q gets %s, which its row does not have", name, body, a.raw)
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
