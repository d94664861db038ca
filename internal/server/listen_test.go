package server

import (
	"net"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAddresses: 0.0.0.0 is of IPv4 only, and whatever the server listens on, the URL that
// it shows is one that a client can use.
func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:8443": "tcp4", "127.0.0.1:1": "tcp4", ":8443": "tcp", "[::]:8443": "tcp", "[::1]:1": "tcp", "localhost:1": "tcp", "[::ffff:127.0.0.1]:1": "tcp",
	} {
		if got := networkOf(address); got != want {
			t.Errorf("networkOf(%s) = %s, want %s", address, got, want)
		}
	}
	for address, want := range map[string][2]string{
		"0.0.0.0:8443": {"127.0.0.1:8443", "all IPv4 addresses"},
		"[::]:8443":    {"127.0.0.1:8443", "all addresses"},
		"[::1]:8443":   {"[::1]:8443", ""},
		"10.0.0.1:80":  {"10.0.0.1:80", ""},
	} {
		a := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))
		if got := [2]string{reachable(a), everywhere(a)}; got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// at is a listener with an address that this machine need not have.
type at struct {
	net.Listener
	address string
}

func (l at) Addr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.address)) }

// TestProfilesStayHere: whoever reaches the metrics from another machine gets no profiles.
func TestProfilesStayHere(t *testing.T) {
	for address, want := range map[string]int{"127.0.0.1:1": 200, "[::1]:1": 200, "0.0.0.0:1": 404, "[::]:1": 404, "10.0.0.1:1": 404} {
		s := &Server{registry: prometheus.NewRegistry(), metricsAddr: at{address: address}}
		for path, code := range map[string]int{"/metrics": 200, "/debug/pprof/": want, "/debug/pprof/heap?debug=1": want} {
			w := httptest.NewRecorder()
			s.metricsServer().Handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != code {
				t.Errorf("metrics on %s: GET %s is answered %d, want %d", address, path, w.Code, code)
			}
		}
	}
}
