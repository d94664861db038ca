package server

import (
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tidings/internal/control"
)

// registerProgram adds what is known of the process and the program to the metrics.
func (s *Server) registerProgram() {
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidings_build_info",
		Help: "Always 1; the labels say which program this is.",
	}, []string{"version", "commit", "goversion"})
	info.WithLabelValues(s.build.Version, s.build.Commit, s.build.Go).Set(1)
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidings_ready",
		Help: "1 while changes are taken as fast as the disk can, as /readyz says, else 0.",
	}, func() float64 {
		if s.store.Ready() != nil {
			return 0
		}
		return 1
	})
	dropped := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tidings_log_lines_dropped_total",
		Help: "Lines of the log that are missing because it was not written fast enough.",
	}, func() float64 { return float64(droppedLines(s.log)) })
	s.registry.MustRegister(info, ready, dropped)
	if s.cert != nil {
		s.cert.register(s.registry)
	}
}

// metricsServer returns the server of the metrics. Profiles are with them only where
// nobody but this machine can ask for them: they tell about the program, and taking one is
// work.
func (s *Server) metricsServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	if s.metricsAddr != nil && isLoopback(s.metricsAddr) {
		addProfiles(mux)
	}
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
}

// socketServer returns the server of the control socket: the operator's operations, and
// profiles, which are there whatever the address of the metrics is.
func (s *Server) socketServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", control.Handler(s.control))
	addProfiles(mux)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
}

func addProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
