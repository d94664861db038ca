package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/transfer"
)

// callers returns a caller through a socket and one within the process, for a service
// that only has its info.
func callers(t *testing.T) map[string]admin.Caller {
	t.Helper()
	dir, err := os.MkdirTemp("", "control") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	apps, err := app.Open(t.Context(), noApps{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &admin.Service{Apps: apps, Info: admin.Info{Version: "test"}}
	server := &http.Server{Handler: Handler(s)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	remote, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = remote.Close()
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return map[string]admin.Caller{"remote": remote, "local": Local(s, func() error { return nil })}
}

// noApps is a store without apps.
type noApps struct{ app.Store }

func (noApps) Apps(context.Context) ([]*app.App, error) { return nil, nil }

// TestCarries: results, and mistakes as *app.Error, are the same through a socket and
// within the process, for every operation, also before an answer is read.
func TestCarries(t *testing.T) {
	for where, c := range callers(t) {
		if info, err := admin.GetInfo.Do(t.Context(), c, admin.None{}); err != nil || info.Version != "test" {
			t.Errorf("%s: info = %+v, %v", where, info, err)
		}
		if apps, err := admin.ListApps.Do(t.Context(), c, admin.None{}); err != nil || apps == nil || len(apps) != 0 {
			t.Errorf("%s: app/list = %+v, %v", where, apps, err)
		}
		for _, o := range admin.Operations() {
			err := do(t, c, o, `not an object`)
			if mistake, ok := errors.AsType[*app.Error](err); !ok || !strings.HasPrefix(mistake.Msg, "request: ") {
				t.Errorf("%s: %s of a string: %v", where, o.Name, err)
			}
		}
		for _, name := range []string{"no/such", "", "app", "app/create/"} {
			err := c.Call(t.Context(), name, admin.None{}, nil)
			if mistake, ok := errors.AsType[*app.Error](err); !ok || !strings.Contains(mistake.Msg, "knows no operation") {
				t.Errorf("%s: %q: %v", where, name, err)
			}
		}
	}
}

// do does an operation that takes anything.
func do(t *testing.T, c admin.Caller, o admin.Operation, in any) error {
	t.Helper()
	if !o.Stream {
		return c.Call(t.Context(), o.Name, in, nil)
	}
	answer, err := c.Stream(t.Context(), o.Name, in, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.ReadAll(answer)
	return err
}

// TestHugeBodies: a request that is too large is refused as one, and so is a chunk; the
// server answers on.
func TestHugeBodies(t *testing.T) {
	c := callers(t)["remote"]
	huge := admin.AccountRequest{ID: 7, Account: strings.Repeat("x", maxBodyBytes)}
	_, err := admin.AddAdmin.Do(t.Context(), c, huge)
	if mistake, ok := errors.AsType[*app.Error](err); !ok || !strings.Contains(mistake.Msg, "has more than 67108864 bytes") {
		t.Errorf("a request of 64 MiB: %.200v", err)
	}
	answer, err := admin.ImportUsers.Open(t.Context(), c, transfer.Chunk{App: 7}, make([]byte, transfer.MaxChunkBytes+1))
	if err == nil {
		_ = answer.Close()
	}
	if _, ok := errors.AsType[*app.Error](err); !ok {
		t.Errorf("a chunk for no app: %v", err)
	}
	if _, err := admin.GetInfo.Do(t.Context(), c, admin.None{}); err != nil {
		t.Errorf("after it: %v", err)
	}
}
