package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/audience"
	"tidings/internal/gate"
)

// nowhere is a ResponseWriter that keeps the code of the answer only.
type nowhere struct {
	header http.Header
	bytes  int
	failed bool
}

func (w *nowhere) Header() http.Header { return w.header }
func (w *nowhere) WriteHeader(int)     {}
func (w *nowhere) Write(b []byte) (int, error) {
	w.bytes += len(b)
	w.failed = w.failed || !strings.HasPrefix(string(b[:20]), `{"ActionStatus":"OK"`)
	return len(b), nil
}

// benchNode has users u0 to u99 with three attributes, and no log.
func benchNode(b *testing.B) *node {
	n := open(b, gate.Options{LogRequests: gate.LogOff}, vfs.NewMem())
	n.declare(declaration())
	attrs := &n.apps.App(appID).Attributes
	var changes []audience.Change
	for i := range 100 {
		changes = append(changes, audience.Change{Account: fmt.Sprintf("u%d", i), Create: true, Attributes: attrs, Set: audience.Values{"female", "Paris", "France"}})
	}
	if _, err := n.store.Users.Change(context.Background(), appID, changes); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkHandler measures whole requests without a network, the store in
// memory: what one takes of a processor.
func BenchmarkHandler(b *testing.B) {
	hundred := strings.Builder{}
	for i := range 100 {
		fmt.Fprintf(&hundred, `,"u%d"`, i)
	}
	for _, c := range []struct{ name, command, body string }{ // remove_attr finds nothing but the first time
		{"get_attr_name", "timpush/get_attr_name", "{}"},
		{"get_attr/1", "timpush/get_attr", `{"To_Account":["u1"]}`},
		{"get_attr/100", "timpush/get_attr", `{"To_Account":[` + hundred.String()[1:] + `]}`},
		{"remove_attr/1", "timpush/remove_attr", userList(1, `["sex","city"]`)},
		{"remove_attr/100", "timpush/remove_attr", userList(100, `["sex","city"]`)},
		{"set_attr/1", "timpush/set_attr", userList(1, `{"sex":"male"}`)},
		{"set_attr/100", "timpush/set_attr", userList(100, `{"sex":"male"}`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := benchNode(b)
			u, err := url.ParseRequestURI("/v4/" + c.command + "?" + n.query().Encode())
			if err != nil {
				b.Fatal(err)
			}
			// Each request changes what the one before has set.
			texts := [2]string{c.body, strings.ReplaceAll(c.body, `"male"`, `"none"`)}
			body, i := strings.NewReader(""), 0
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				i++
				body.Reset(texts[i%2])
				r := &http.Request{
					Method: http.MethodPost, URL: u, RequestURI: u.RequestURI(), Header: http.Header{}, Host: "h", RemoteAddr: "127.0.0.1:5000",
					Body: io.NopCloser(body), ContentLength: int64(len(c.body)),
				}
				w := &nowhere{header: http.Header{}}
				if n.handler.ServeHTTP(w, r); w.failed {
					b.Fatal("the request failed")
				}
			}
		})
	}
}
