package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/config"
	"tidings/internal/server"
	"tidings/internal/simulate"
	"tidings/internal/wording"
)

const (
	stageApp = 1400000001
	stageKey = "a secret key for pushes"
)

// A stage is a served app beside a simulator of FCM, whose service account is its
// certificate 1.
type stage struct {
	*backend
	t       testing.TB
	sim     *simulate.Simulator
	witness *witness
	server  *server.Server
	vars    map[string]string // of the environment
	edit    func(*config.Config)
	log     *syncBuffer
	halt    func() // ends the server
}

// A syncBuffer is written by a server while a test reads it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newStage starts a stage; edits change the app.
func newStage(t testing.TB, o simulate.Options, edits ...func(*app.Declaration)) *stage {
	t.Helper()
	s := &stage{t: t, log: &syncBuffer{}}
	s.sim, s.witness = simulator(t, o)
	s.vars = map[string]string{
		"TIDINGS_DATA": t.TempDir() + "/data", "TIDINGS_LISTEN": "127.0.0.1:0", "TIDINGS_METRICS_LISTEN": "127.0.0.1:0",
		"TIDINGS_FCM_URL": s.sim.URL(), "TIDINGS_FCM_TOKEN_URL": tokenURI(t, s.sim), "TIDINGS_FCM_RAMP": "false", "TIDINGS_FCM_TIMEOUT": "10s",
	}
	key, none := stageKey, wording.Span(0)
	d := app.Declaration{
		ID: stageApp, SecretKey: &key, AppKeys: []string{pushAppKey}, CreateAccounts: new(true), PushGap: &none,
		RegistrationRate: new(0), RegistrationSourceRate: new(0), AttrNames: map[string]string{"0": "plan"},
		Limits: app.Limits{app.LimitDefault: 0},
	}
	for _, edit := range edits {
		edit(&d)
	}
	s.edit = func(c *config.Config) { c.Apps = []app.Declaration{d} }
	s.start()
	must(t, s, admin.AddCertificate, admin.NewCertificateRequest{ID: stageApp, Provider: channel.FCM, Secret: s.sim.ServiceAccount()})
	return s
}

// start serves the data directory.
func (s *stage) start() {
	t := s.t
	t.Helper()
	vars := maps.Clone(s.vars)
	cfg, err := config.Load(nil, func(name string) (string, bool) { v, ok := vars[name]; return v, ok }, "", api.Commands())
	if err != nil {
		t.Fatal(err)
	}
	s.edit(cfg)
	if s.server, err = server.Start(context.Background(), cfg, "test", slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	s.halt = sync.OnceFunc(func() {
		s.backend.http.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(s.halt)
	s.backend = newBackend(t, s.server.URL(), stageApp, stageKey)
}

// restart ends the server and starts it again.
func (s *stage) restart() {
	s.t.Helper()
	s.halt()
	s.start()
}

// must does an operation of the operator that succeeds.
func must[In, Out any](t testing.TB, s *stage, op admin.Op[In, Out], in In) Out {
	t.Helper()
	out, err := op.Do(context.Background(), s.server.Control(), in)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return out
}

// rings returns how often each token of the phones was delivered to.
func (s *stage) rings(phones ...*phone) []int {
	var all []int
	for _, p := range phones {
		all = append(all, s.sim.TokenCount(p.token))
	}
	return all
}

// block has the provider refuse the credentials until the lane is blocked, and returns what
// mends that. Until then no page is opened.
func (s *stage) block() (open func()) {
	s.t.Helper()
	behave(s.t, s.sim, simulate.Behaviour{Forbidden: true})
	p := s.install("phone-token-to-block-with", nil)
	id := s.batch("refused", []string{p.id}, nil)
	s.await(id, "blocked", func(p *pushTask) bool { return p.State == "blocked" })
	s.must("tidings/stop_task", fields{"TaskId": id}, nil)
	return func() {
		s.t.Helper()
		behave(s.t, s.sim, simulate.Behaviour{})
		must(s.t, s, admin.ReplaceCertificate, admin.ReplaceRequest{ID: stageApp, Certificate: 1, Secret: s.sim.ServiceAccount()})
	}
}
