package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/config"
)

// TestClientsListener: with devices_listen client apps call there and nobody else does, and
// without it they call where the API is.
func TestClientsListener(t *testing.T) {
	const register, command = "/v1/devices?sdkappid=9", "/v4/timpush/get_attr_name?sdkappid=9"
	for _, test := range []struct {
		listen string
		api    map[string]string // "METHOD TARGET" to the status and a part of the answer
		client map[string]string
	}{
		{
			"",
			map[string]string{"POST " + register: "401 95020", "POST " + command: "200 60025", "GET /healthz": "200 ok", "GET /openapi.json": "200 openapi"},
			nil,
		},
		{
			"127.0.0.1:0",
			map[string]string{"POST " + register: "200 60002", "POST " + command: "200 60025", "GET /healthz": "200 ok", "GET /openapi.json": "200 openapi"},
			map[string]string{"POST " + register: "401 95020", "POST " + command: "400 60009", "GET /healthz": "200 ok", "GET /readyz": "200 ready", "GET /openapi.json": "400 60009", "GET /": "400 60009"},
		},
	} {
		cfg, err := config.Load(nil, func(string) (string, bool) { return "", false }, "", api.Commands())
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listen, cfg.DevicesListen, cfg.MetricsListen, cfg.Data = "127.0.0.1:0", test.listen, "", t.TempDir()
		cfg.Apps = []app.Declaration{{ID: 9}}
		s, err := Start(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		if (s.ClientsURL() == s.URL()) != (test.listen == "") {
			t.Errorf("devices_listen %q: client apps call at %s, the API is at %s", test.listen, s.ClientsURL(), s.URL())
		}
		for url, calls := range map[string]map[string]string{s.URL(): test.api, s.ClientsURL(): test.client} {
			if test.client == nil {
				calls = test.api
			}
			for call, want := range calls {
				method, target, _ := strings.Cut(call, " ")
				status, part, _ := strings.Cut(want, " ")
				r, err := http.NewRequest(method, url+target, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !strings.HasPrefix(resp.Status, status) || !strings.Contains(string(body), part) {
					t.Errorf("devices_listen %q: %s: %s, %.200s, %v, want %s", test.listen, call, resp.Status, body, err, want)
				}
			}
		}
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
