// Package server puts the parts together: it opens a data directory, sets the apps to
// what the configuration says, serves the API, the metrics and the control socket, and
// stops in order.
package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
	"tidings/internal/channel/fcm"
	"tidings/internal/config"
	"tidings/internal/control"
	"tidings/internal/dispatch"
	"tidings/internal/gate"
	"tidings/internal/store/lsm"
)

// Server is a running Tidings server.
type Server struct {
	cfg        *config.Config
	log        *slog.Logger
	store      *lsm.Store
	apps       *app.Registry
	registry   *prometheus.Registry
	control    *admin.Service
	build      Build
	cert       *certificate // nil: no TLS
	drivers    channel.Drivers
	key        *credential.Key
	ends       *ends
	dispatcher *dispatch.Dispatcher
	files      fileBudget
	started    time.Time // when it was ready

	api, clients, metrics, socket                 *http.Server
	apiAddr, clientsAddr, metricsAddr, socketAddr net.Listener
	connections                                   *bounded // apiAddr
	clientConnections                             *bounded // clientsAddr; nil: client apps call where the API is
}

// Start opens the data directory and all listeners of a configuration. Run serves them.
// On an error nothing is left open.
//
// A new data directory is made last, so that a start that fails leaves none behind. With a
// directory that exists, the listeners are opened last: until the users are in memory a
// client is refused and does not wait, and a second server fails because the directory is
// in use and not because the port is.
func Start(ctx context.Context, cfg *config.Config, version string, log *slog.Logger) (_ *Server, err error) {
	s := &Server{cfg: cfg, log: log, registry: prometheus.NewRegistry(), build: ThisBuild(version)}
	start := newStartLog(log, cfg, s.build)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.files = newFileBudget(openFiles(), cfg.MaxConnections)
	if s.files.connections < cfg.MaxConnections {
		log.Warn("max_connections is more than the process may have open files, less what the store needs", "max_connections", cfg.MaxConnections, "open_files", openFiles(), "used", s.files.connections)
	}
	fresh, err := isNew(cfg.Data)
	if err != nil {
		return nil, err
	}
	if cfg.TLSCert != "" {
		if s.cert, err = newCertificate(cfg.LoadCertificate, log); err != nil {
			return nil, err
		}
	}
	if s.drivers, err = drivers(cfg); err != nil {
		return nil, err
	}
	if fresh {
		if err := s.listen(ctx); err != nil {
			return nil, err
		}
	}
	if err := makePrivate(cfg.Data, log); err != nil {
		return nil, err
	}
	if cfg.Demo {
		if err := markDemo(cfg.Data); err != nil {
			return nil, err
		}
	}
	s.store, err = lsm.Open(cfg.Data, lsm.Options{MemtableSize: cfg.MemtableSize, CacheSize: cfg.CacheSize, CheckpointLog: cfg.CheckpointLog, KeepLog: cfg.KeepLog, OpenTables: s.files.tables, Logger: log, Fatal: fail(log), Opening: start.opening(ctx)})
	if err != nil {
		return nil, err
	}
	start.opened()
	if s.apps, err = app.Open(ctx, s.store.Apps, api.Commands()); err != nil {
		return nil, err
	}
	if err := s.declareApps(ctx); err != nil {
		return nil, err
	}
	s.key = loadKey(cfg.CredentialsKeyFile, cfg.Data, s.apps.All(), log)
	if !fresh {
		if err := s.listen(ctx); err != nil {
			return nil, err
		}
	}
	if s.socketAddr, err = control.Listen(cfg.Data); err != nil {
		return nil, err
	}
	s.socketAddr = bound(s.socketAddr, maxOperators, everyone, s.log)
	s.control = &admin.Service{
		Log: s.log, Apps: s.apps, Users: s.store.Users, Devices: s.store.Devices,
		Drivers: s.drivers, Key: s.key, CopyKey: copyKey(keyFile(cfg.CredentialsKeyFile, cfg.Data)),
		CertificateUse: s.store.Devices.CertificateUse, Blocked: s.blocked, TestPush: s.testPush,
		Check: s.store.Check, Checkpoint: s.store.Checkpoint, Backup: backup(s.store, true), Status: s.status,
		Declared: cfg.Apps, Strict: cfg.StrictUserSig,
		Info: admin.Info{Version: version, URL: s.URL(), Metrics: s.MetricsURL(), Data: cfg.Data, PID: os.Getpid()},
	}
	if s.cert != nil {
		s.control.Certificate = s.cert.leaf
	}
	s.dispatcher = s.newDispatcher()
	s.serveWith()
	s.started = time.Now().UTC().Truncate(time.Second)
	start.ready(ctx, s)
	return s, nil
}

// serveWith creates the HTTP servers.
func (s *Server) serveWith() {
	s.registerProgram()
	s.connections.register(s.registry, "tidings_connections", "to the API")
	if s.clientConnections != nil {
		s.clientConnections.register(s.registry, "tidings_client_connections", "of client apps")
	}
	s.store.Register(s.registry, s.cfg.MetricsApps)
	requests := &appRequests{apps: s.apps.All, limit: s.cfg.MetricsApps}
	s.ends = &ends{apps: s.apps.All, key: s.key, limit: s.cfg.MetricsApps, log: s.log}
	s.registry.MustRegister(requests, s.ends)
	handler := api.New(api.Parts{Apps: s.apps, Users: s.store.Users, Devices: s.store.Devices, Tasks: s.store.Tasks, Drivers: s.drivers, Dispatcher: s.dispatcher, Unseal: s.unseal, CheckFCM: fcm.CheckOverride}, gate.Options{
		MaxBodyBytes:    s.cfg.MaxBody,
		MaxInFlight:     s.cfg.MaxInFlight,
		MaxBodyMemory:   s.cfg.MaxBodyMemory,
		SourceLimit:     s.cfg.SourceLimit,
		RequestTimeout:  s.cfg.RequestTimeout,
		TrustedProxies:  s.cfg.TrustedProxies,
		StrictUserSig:   s.cfg.StrictUserSig,
		CORSOrigins:     s.cfg.CORSOrigins,
		RequestIDInBody: s.cfg.RequestIDInBody,
		LogRequests:     gate.LogRequests(s.cfg.LogRequests),
		Logger:          s.log,
		Metrics:         s.registry,
		Answered:        requests.answered,
	})
	s.connections.known = handler.Knows
	both := http.Handler(handler)
	if s.clientsAddr != nil {
		both = handler.Commands()
		s.clients = s.httpServer(s.withHealth(handler.Clients()))
	}
	s.api = s.httpServer(s.withHealth(s.withOpenAPI(both)))
	s.metrics = s.metricsServer()
	s.socket = s.socketServer()
}

// httpServer creates a server for strangers.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		DisableGeneralOptionsHandler: true, // OPTIONS * is no API call either
		Handler:                      h,
		ReadHeaderTimeout:            s.cfg.BodyTimeout,
		ReadTimeout:                  s.cfg.BodyTimeout,
		WriteTimeout:                 s.cfg.BodyTimeout + s.cfg.RequestTimeout + 10*time.Second,
		IdleTimeout:                  s.cfg.IdleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// maxStreams bounds the requests at once of an HTTP/2 connection, which are outside the
// bound of connections.
const maxStreams = 32

// maxHeaderBytes bounds the request line and the headers together: the longest URL that
// is read, and room for headers that proxies add.
const maxHeaderBytes = 32 << 10

// withHealth returns a handler that answers the probes of an orchestrator, and leaves other
// requests to next.
func (s *Server) withHealth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			switch r.URL.Path {
			case "/healthz":
				_, _ = io.WriteString(w, "ok\n")
				return
			case "/readyz":
				if err := s.store.Ready(); err != nil {
					http.Error(w, "not ready: the store takes no changes", http.StatusServiceUnavailable)
					return
				}
				_, _ = io.WriteString(w, "ready\n")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// withOpenAPI returns a handler that sends the description of the API, and leaves other
// requests to next.
func (s *Server) withOpenAPI(next http.Handler) http.Handler {
	openAPI := api.OpenAPIHandler(s.build.Version)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/openapi.json" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			openAPI.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Control returns a Caller for the operations of an operator in this process.
func (s *Server) Control() admin.Caller {
	return control.Local(s.control, func() error { return nil })
}

// Reload reads the certificate again if its files have changed. It is what a SIGHUP asks for.
func (s *Server) Reload() {
	if s.cert == nil {
		s.log.Info("nothing to reload: there is no certificate, and the rest of the configuration is read at a start only")
		return
	}
	s.cert.look(true)
}

// Run serves until ctx ends, then finishes the requests in flight, within the
// configured limit, makes everything durable and closes. Every goroutine of the
// server has ended when it returns.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 4)
	var wg sync.WaitGroup
	serve := func(serve func() error) {
		wg.Go(func() {
			if err := serve(); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	serve(func() error { return s.serveStrangers(s.api, s.apiAddr) })
	if s.clientsAddr != nil {
		serve(func() error { return s.serveStrangers(s.clients, s.clientsAddr) })
	}
	if s.metricsAddr != nil {
		serve(func() error { return s.metrics.Serve(s.metricsAddr) })
	}
	serve(func() error { return s.socket.Serve(s.socketAddr) })

	pacing, stop := context.WithCancel(ctx)
	wg.Go(func() { _ = s.dispatcher.Run(pacing) }) // its error is why pacing ended
	wg.Go(func() { s.sweepDevices(pacing) })
	wg.Go(func() { paceCollector(pacing) })
	wg.Go(func() { s.ends.watch(pacing) })
	if s.cert != nil {
		wg.Go(func() { s.cert.watch(pacing) })
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	began := time.Now()
	s.log.Info("stopping", "limit", s.cfg.ShutdownTimeout)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	for _, h := range []*http.Server{s.api, s.clients, s.metrics, s.socket} {
		if h == nil {
			continue
		}
		if stopErr := h.Shutdown(limit); stopErr != nil {
			s.log.Warn("requests did not finish in time and were cut off")
			err = errors.Join(err, h.Close())
		}
	}
	wg.Wait()
	err = errors.Join(err, s.close())
	if err == nil {
		s.log.Info("stopped", "duration", time.Since(began).Round(time.Microsecond), "uptime", time.Since(s.started).Round(time.Second))
	}
	return err
}

// serveStrangers serves on a listener, with the certificate if there is one.
func (s *Server) serveStrangers(h *http.Server, l net.Listener) error {
	if s.cert == nil {
		return h.Serve(l)
	}
	h.TLSConfig = s.cert.config()
	return h.ServeTLS(l, "", "")
}

// close closes what Start opened.
func (s *Server) close() error {
	var errs []error
	for _, l := range []net.Listener{s.apiAddr, s.clientsAddr, s.metricsAddr, s.socketAddr} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.apps != nil {
		s.apps.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}
