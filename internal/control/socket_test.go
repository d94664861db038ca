package control

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/transfer"
)

// TestServerStops: whenever a server ends, whoever asks it learns that and nothing of
// sockets and URLs.
func TestServerStops(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/"+string(admin.ExportUsers) {
			_, _ = io.WriteString(w, "{}\n")
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	s.Listener = l
	s.Start()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	load := func() error {
		_, err := admin.ImportUsers.Open(t.Context(), c, transfer.Chunk{}, []byte("{}\n"))
		return err
	}
	export := func() error {
		answer, err := admin.ExportUsers.Open(t.Context(), c, admin.ExportRequest{}, nil)
		if err != nil {
			return err
		}
		defer answer.Close()
		_, err = io.ReadAll(answer)
		return err
	}
	for _, when := range []string{"in the middle", "before"} {
		for what, err := range map[string]error{"a call": c.Call(t.Context(), "info", struct{}{}, nil), "an import": load(), "an export": export()} {
			if !errors.Is(err, ErrStopped) || err.Error() != ErrStopped.Error() {
				t.Errorf("the server ended %s %s: %v", when, what, err)
			}
		}
		if when == "in the middle" {
			s.Close()
		}
	}
}
