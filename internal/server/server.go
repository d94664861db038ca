// Package server puts the parts together: it opens a data directory, makes the
// apps of the configuration so, serves the API, the metrics and the control
// socket, and stops it all in order.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/config"
	"tidings/internal/control"
	"tidings/internal/gate"
	"tidings/internal/store/lsm"
)

// Server is a running Tidings server.
type Server struct {
	cfg      *config.Config
	log      *slog.Logger
	store    *lsm.Store
	apps     *app.Registry
	registry *prometheus.Registry
	control  *admin.Service
	cert     tls.Certificate

	api, metrics, socket             *http.Server
	apiAddr, metricsAddr, socketAddr net.Listener
}

// Start opens the data directory and all listeners of a configuration; Run
// serves them. On an error nothing is left open.
//
// A new data directory is made only once everything else that can fail is there. The
// listeners of one that exists are opened last: until the users are in memory a client
// is refused and does not wait, and a second server says that the directory is in use.
func Start(ctx context.Context, cfg *config.Config, version string, log *slog.Logger) (_ *Server, err error) {
	s := &Server{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	fresh, err := isNew(cfg.Data)
	if err != nil {
		return nil, err
	}
	if cfg.TLSCert != "" {
		if s.cert, err = tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey); err != nil {
			return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
		}
	}
	if fresh {
		if err := s.listen(); err != nil {
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
	s.store, err = lsm.Open(cfg.Data, lsm.Options{MemtableSize: cfg.MemtableSize, CacheSize: cfg.CacheSize, CheckpointLog: cfg.CheckpointLog, KeepLog: cfg.KeepLog, Logger: log})
	if err != nil {
		return nil, err
	}
	if s.apps, err = app.Open(ctx, s.store.Apps, api.Commands()); err != nil {
		return nil, err
	}
	if err := s.declareApps(ctx); err != nil {
		return nil, err
	}
	if !fresh {
		if err := s.listen(); err != nil {
			return nil, err
		}
	}
	if s.socketAddr, err = control.Listen(cfg.Data); err != nil {
		return nil, err
	}
	s.control = &admin.Service{Log: s.log, Apps: s.apps, Users: s.store.Users, Check: s.store.Check, Checkpoint: s.store.Checkpoint, Backup: backup(s.store, true), Info: admin.Info{
		Version: version, URL: s.URL(), Metrics: s.MetricsURL(), Data: cfg.Data, PID: os.Getpid(),
	}}
	if cfg.TLSCert != "" {
		s.control.Certificate = func() []byte { return s.cert.Certificate[0] }
	}
	s.build()
	return s, nil
}

// declareApps makes the apps of the configuration so.
func (s *Server) declareApps(ctx context.Context) error {
	for _, d := range s.cfg.Apps {
		known := s.apps.App(d.ID) != nil
		a, err := s.apps.Declare(ctx, d)
		if err != nil {
			return fmt.Errorf("app %d of the configuration: %w", d.ID, err)
		}
		if !known {
			s.log.Info("app created", "app", a.ID, "name", a.Name)
		}
	}
	return nil
}

// fallbackMetrics is where metrics are served when the default address is taken.
const fallbackMetrics = "127.0.0.1:0"

// listen opens the listeners of the API and of the metrics.
func (s *Server) listen() (err error) {
	if s.apiAddr, err = net.Listen("tcp", s.cfg.Listen); err != nil {
		return listenError("listen", s.cfg.Listen, err)
	}
	if s.cfg.MetricsListen != "" {
		s.metricsAddr, err = net.Listen("tcp", s.cfg.MetricsListen)
		if errors.Is(err, syscall.EADDRINUSE) && !s.cfg.MetricsListenSet {
			s.log.Warn("the default address for metrics is taken, using a free port", "address", s.cfg.MetricsListen)
			s.metricsAddr, err = net.Listen("tcp", fallbackMetrics)
		}
		if err != nil {
			return listenError("metrics_listen", s.cfg.MetricsListen, err)
		}
	}
	return nil
}

func listenError(key, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %s is in use by another program; choose another with --%s", key, address, strings.ReplaceAll(key, "_", "-"))
	}
	return fmt.Errorf("%s: %w", key, err)
}

// build makes the HTTP servers.
func (s *Server) build() {
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.store.Register(s.registry)
	handler := api.New(s.apps, s.store.Users, gate.Options{
		MaxBodyBytes:    s.cfg.MaxBody,
		MaxInFlight:     s.cfg.MaxInFlight,
		SourceLimit:     s.cfg.SourceLimit,
		RequestTimeout:  s.cfg.RequestTimeout,
		TrustedProxies:  s.cfg.TrustedProxies,
		StrictUserSig:   s.cfg.StrictUserSig,
		CORSOrigins:     s.cfg.CORSOrigins,
		RequestIDInBody: s.cfg.RequestIDInBody,
		LogRequests:     gate.LogRequests(s.cfg.LogRequests),
		Logger:          s.log,
		Metrics:         s.registry,
	})
	s.api = &http.Server{
		DisableGeneralOptionsHandler: true, // OPTIONS * is no API call either
		Handler:                      s.withHealth(handler),
		ReadHeaderTimeout:            s.cfg.BodyTimeout,
		ReadTimeout:                  s.cfg.BodyTimeout,
		WriteTimeout:                 s.cfg.BodyTimeout + s.cfg.RequestTimeout + 10*time.Second,
		IdleTimeout:                  s.cfg.IdleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.metrics = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	s.socket = &http.Server{Handler: control.Handler(s.control), ReadHeaderTimeout: 5 * time.Second}
}

// maxHeaderBytes bounds the request line and the headers: the longest URL that
// is read, and room for what proxies add.
const maxHeaderBytes = 32 << 10

// withHealth answers the probes of an orchestrator beside the API.
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

// URL is where the API is served.
func (s *Server) URL() string {
	scheme := "http"
	if s.cfg.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + s.apiAddr.Addr().String()
}

// MetricsURL is where the metrics are served; empty if they are off.
func (s *Server) MetricsURL() string {
	if s.metricsAddr == nil {
		return ""
	}
	return "http://" + s.metricsAddr.Addr().String() + "/metrics"
}

// Control carries out an operator's operations in this process.
func (s *Server) Control() admin.Caller {
	return control.Local(s.control, func() error { return nil })
}

// Run serves until ctx ends, then finishes the requests in flight, within the
// configured limit, makes everything durable and closes. Every goroutine of the
// server has ended when it returns.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 3)
	var wg sync.WaitGroup
	serve := func(serve func() error) {
		wg.Go(func() {
			if err := serve(); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	serve(func() error {
		if s.cfg.TLSCert != "" {
			s.api.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.cert}}
			return s.api.ServeTLS(s.apiAddr, "", "")
		}
		return s.api.Serve(s.apiAddr)
	})
	if s.metricsAddr != nil {
		serve(func() error { return s.metrics.Serve(s.metricsAddr) })
	}
	serve(func() error { return s.socket.Serve(s.socketAddr) })

	pacing, stop := context.WithCancel(ctx)
	wg.Go(func() { paceCollector(pacing) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	s.log.Info("stopping", "limit", s.cfg.ShutdownTimeout)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	for _, h := range []*http.Server{s.api, s.metrics, s.socket} {
		if stopErr := h.Shutdown(limit); stopErr != nil {
			s.log.Warn("requests did not finish in time and were cut off")
			err = errors.Join(err, h.Close())
		}
	}
	wg.Wait()
	err = errors.Join(err, s.close())
	if err == nil {
		s.log.Info("stopped")
	}
	return err
}

// close closes what Start opened.
func (s *Server) close() error {
	var errs []error
	for _, l := range []net.Listener{s.apiAddr, s.metricsAddr, s.socketAddr} {
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
