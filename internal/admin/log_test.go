package admin

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// TestLogOperations: a line names the app if there is one, and says what came of an
// import; a dry run, which changes nothing, has none.
func TestLogOperations(t *testing.T) {
	s := newService(t)
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	const users = `{"To_Account":"u"}` + "\n" + `{"To_Account":"v"}` + "\n" + `{"To_Account":""}`
	for _, c := range []struct{ name, in, data, want string }{
		{"no/such", `{}`, "", `level=INFO msg=operation operation=no/such error="this server knows no operation \"no/such\"; is it an older version?"` + "\n"},
		{"admin/add", `{"sdkappid":1400000001,"account":"ops"}`, "", "level=INFO msg=operation operation=admin/add app=1400000001 account=ops\n"},
		{"app/list", `{}`, "", ""},
		{"key/reveal", `{"sdkappid":1400000001}`, "", "level=INFO msg=operation operation=key/reveal app=1400000001\n"},
		{"key/add", `{"sdkappid":1400000001,"secret":"a-key-of-mine"}`, "", "level=INFO msg=operation operation=key/add app=1400000001\n"},
		{"key/remove", `{"sdkappid":1400000001,"key":7}`, "", `level=INFO msg=operation operation=key/remove app=1400000001 key=7 error="app 1400000001 has no key 7"` + "\n"},
		{"users/import", `{"sdkappid":1400000001}`, users, "level=INFO msg=operation operation=users/import app=1400000001 users=2 created=2 changed=0 bad=1\n"},
		{"users/try", `{"sdkappid":1400000001}`, users, ""},
	} {
		log.Reset()
		_ = s.Do(t.Context(), c.name, []byte(c.in), strings.NewReader(c.data), &Answer{Writer: io.Discard})
		if log.String() != c.want {
			t.Errorf("%s logs %q, want %q", c.name, log.String(), c.want)
		}
	}
}
