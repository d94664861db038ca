package control

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLogOperations: a line names the app if there is one, and says what came of an
// import; a dry run, which changes nothing, has none.
func TestLogOperations(t *testing.T) {
	s, _ := startStale(t, nil)
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	const users = `{"To_Account":"u"}` + "\n" + `{"To_Account":"v"}` + "\n" + `{"To_Account":""}`
	for _, c := range []struct{ target, body, want string }{
		{"/no/such", `{}`, `level=INFO msg=operation operation=no/such error="this server knows no operation \"no/such\"; is it an older version?"` + "\n"},
		{"/admin/add", `{"sdkappid":1400000001,"account":"ops"}`, "level=INFO msg=operation operation=admin/add app=1400000001 account=ops\n"},
		{"/app/list", `{}`, ""},
		{`/users/import?in={"sdkappid":1400000001}`, users, "level=INFO msg=operation operation=users/import app=1400000001 users=2 bad=1\n"},
		{`/users/import?in={"sdkappid":1400000001,"dry_run":true}`, users, ""},
	} {
		log.Reset()
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", c.target, strings.NewReader(c.body)))
		if log.String() != c.want {
			t.Errorf("%s logs %q, want %q", c.target, log.String(), c.want)
		}
	}
}
