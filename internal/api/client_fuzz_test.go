package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tidings/internal/api"
	"tidings/internal/gate"
)

// routed calls a route without a network.
func (n *node) routed(t testing.TB, method, path, authorization string, body []byte) reply {
	t.Helper()
	r := httptest.NewRequest(method, fmt.Sprintf("/v1/devices%s?sdkappid=%d", path, appID), bytes.NewReader(body))
	r.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	return reply{parseEnvelope(t, method+" "+path, w.Header(), w.Body.Bytes()), w.Code}
}

// FuzzRegistration sends any body to all routes of one phone. An answer is one that the row
// of the route may give; what is refused changes nothing, of another phone nothing changes
// at all, and what is stored can be stored.
func FuzzRegistration(f *testing.F) {
	rows := api.Routes()
	for i, r := range rows {
		f.Add(uint8(i), []byte(r.Example))
	}
	for _, body := range []string{android, `{"Platform":"ios","Tokens":[{"Certificate":2,"Token":"t","Kind":"liveactivity","LaId":"a","Expires":4294967295,"Topic":"x","Environment":"sandbox"}]}`, `{"Platform":"web","Language":"zh_hans_cn","TimeZone":"Etc/GMT+3"}`, `{"RegistrationID":"sixteen-bytes-id"}`, `{`} {
		f.Add(uint8(0), []byte(body))
		f.Add(uint8(1), []byte(body))
	}
	n := startPhones(f, gate.Options{})
	n.t = f
	other, p := n.newPhone(`{"Platform":"ios"}`), n.newPhone(android)
	first := n.device(other.id)
	f.Fuzz(func(t *testing.T, route uint8, body []byte) {
		n.t = t
		row := rows[int(route)%len(rows)]
		before := n.device(p.id)
		path, authorization := strings.Replace(strings.TrimPrefix(row.Path, "/v1/devices"), "{id}", p.id, 1), bearer(p.secret)
		if row.Makes {
			authorization = bearer(appKey)
		}
		a := n.routed(t, row.Method, path, authorization, body)
		if (a.status < 300) != (a.ErrorCode == 0) || a.status >= 500 {
			t.Fatalf("%s %q: status %d, %s", row.Name, body, a.status, a.raw)
		}
		text := bytes.TrimPrefix(body, []byte("\ufeff"))
		if nothing := row.Method == http.MethodDelete; !nothing && (!json.Valid(text) || !utf8.Valid(text)) && a.status != 400 && a.status != 413 {
			t.Errorf("%s %q is not JSON and gets %d, %s", row.Name, body, a.status, a.raw)
		}
		if !reflect.DeepEqual(n.device(other.id), first) {
			t.Fatalf("%s %q changed another device to %+v", row.Name, body, n.device(other.id))
		}
		if row.Name == "v1/remove" && a.status == 200 {
			p = n.newPhone(android)
			return
		}
		after := n.device(p.id)
		if a.ErrorCode != 0 && !reflect.DeepEqual(after, before) {
			t.Errorf("%s %q was refused (%s) and changed %+v to %+v", row.Name, body, a.raw, before, after)
		}
		if err := after.Check(); err != nil {
			t.Errorf("%s %q is stored: %v", row.Name, body, err)
		}
		if id, made := a.members["RegistrationID"].(string); made {
			d := n.device(id)
			if err := d.Check(); err != nil || len(id) < 16 {
				t.Errorf("%s %q is stored as %s: %v", row.Name, body, id, err)
			}
		}
	})
}

// FuzzReportID reports any id. It reaches the tasks as it is, or is refused and reaches
// nobody.
func FuzzReportID(f *testing.F) {
	for _, id := range []string{"", "a", strings.Repeat("x", 40), strings.Repeat("x", 41), "a b", "\x00", "é", "\xff", `"`, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		f.Add(id, "arrived")
		f.Add(id, "clicked")
	}
	f.Add("a", "ARRIVED")
	n := startPhones(f, gate.Options{})
	n.t = f
	p := n.newPhone(android)
	f.Fuzz(func(t *testing.T, id, event string) {
		n.t = t
		n.events.reported = nil
		body, err := json.Marshal(map[string]any{"Reports": []map[string]string{{"ReportID": id, "Event": event}}})
		if err != nil {
			t.Fatal(err)
		}
		a := n.routed(t, http.MethodPost, "/"+p.id+"/reports", bearer(p.secret), body)
		switch a.status {
		case 200:
			want := fmt.Sprint(p.id, " ", id, " ", map[string]int{"arrived": 1, "clicked": 2}[event])
			if !slices.Equal(n.events.reported, []string{want}) {
				t.Errorf("%q %q: reported %q, want %q", id, event, n.events.reported, want)
			}
		case 400, 413:
			if len(n.events.reported) != 0 {
				t.Errorf("%q %q was refused with %s and is reported as %q", id, event, a.raw, n.events.reported)
			}
		default:
			t.Errorf("%q %q: status %d, %s", id, event, a.status, a.raw)
		}
	})
}
