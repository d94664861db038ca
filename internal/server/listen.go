package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// fallbackMetrics is where metrics are served when the default address is taken.
const fallbackMetrics = "127.0.0.1:0"

// listen opens the listeners of the API, of client apps and of the metrics.
func (s *Server) listen(ctx context.Context) (err error) {
	api, err := listenOn(ctx, s.cfg.Listen)
	if err != nil {
		return listenError("listen", s.cfg.Listen, err)
	}
	connections := s.files.connections
	if s.cfg.DevicesListen != "" {
		clients, err := listenOn(ctx, s.cfg.DevicesListen)
		if err != nil {
			return errors.Join(listenError("devices_listen", s.cfg.DevicesListen, err), api.Close())
		}
		half := max(connections/2, 1)
		connections = max(connections-half, 1)
		s.clientConnections = bound(clients, half, s.cfg.TrustedProxies, s.log)
		s.clientsAddr = s.clientConnections
	}
	s.connections = bound(api, connections, s.cfg.TrustedProxies, s.log)
	s.apiAddr = s.connections
	if s.cfg.MetricsListen != "" {
		s.metricsAddr, err = listenOn(ctx, s.cfg.MetricsListen)
		if errors.Is(err, syscall.EADDRINUSE) && !s.cfg.MetricsListenSet {
			s.log.Warn("the default address for metrics is taken, using a free port", "address", s.cfg.MetricsListen)
			s.metricsAddr, err = listenOn(ctx, fallbackMetrics)
		}
		if err != nil {
			return listenError("metrics_listen", s.cfg.MetricsListen, err)
		}
		s.metricsAddr = bound(s.metricsAddr, maxScrapers, everyone, s.log)
	}
	return nil
}

func listenOn(ctx context.Context, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, networkOf(address), address)
}

// networkOf returns the network of an address. One that names an IPv4 address, 0.0.0.0 too,
// is of IPv4 only: Go would take 0.0.0.0 for all addresses of both kinds.
func networkOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
			return "tcp4"
		}
	}
	return "tcp"
}

func listenError(key, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %s is in use by another program; choose another with --%s", key, address, strings.ReplaceAll(key, "_", "-"))
	}
	return fmt.Errorf("%s: %w", key, err)
}

// URL returns where the API is served, for a client on this machine.
func (s *Server) URL() string { return s.urlOf(s.apiAddr) }

// ClientsURL returns where client apps call, for one on this machine.
func (s *Server) ClientsURL() string {
	if s.clientsAddr == nil {
		return s.URL()
	}
	return s.urlOf(s.clientsAddr)
}

func (s *Server) urlOf(l net.Listener) string {
	scheme := "http"
	if s.cfg.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(l.Addr())
}

// MetricsURL returns where the metrics are served, for a client on this machine; empty if
// they are off.
func (s *Server) MetricsURL() string {
	if s.metricsAddr == nil {
		return ""
	}
	return "http://" + reachable(s.metricsAddr.Addr()) + "/metrics"
}

// Everywhere returns what of the API's address the URL does not show: that it is all
// addresses of the machine, or all of IPv4; empty if it is one.
func (s *Server) Everywhere() string { return everywhere(s.apiAddr.Addr()) }

func everywhere(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	switch {
	case !ok || !tcp.IP.IsUnspecified():
		return ""
	case tcp.IP.To4() != nil:
		return "all IPv4 addresses"
	}
	return "all addresses"
}

// reachable returns the address of a listener for a client on this machine: one that
// listens everywhere is reached on loopback, by IPv4, which a listener on [::] takes too.
func reachable(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}).String()
	}
	return a.String()
}

// isLoopback reports whether only this machine reaches a listener.
func isLoopback(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
