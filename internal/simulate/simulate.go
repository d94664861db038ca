// Package simulate serves push providers on loopback. They check what they receive as
// strictly as the real ones, misbehave when they are asked to, and count everything, so
// that a sender can be shown to lose nothing and to repeat nothing. There is FCM with
// its token endpoint.
//
// One listener takes HTTP/1.1, HTTP/2 without TLS by prior knowledge, and both over TLS
// with a certificate of its own authority. Beside the providers it serves /simulate/, by
// which programs of any language set the behaviour and read the counters.
//
// A provider is a handler that checks a request by itself. Everything else is common to
// all: the fate of a message (Behaviour, the beginning of its token), connections, the
// ledger of what was accepted, and the hooks. The package is written from the providers'
// documents and knows nothing of this program's own clients: a mistake of theirs shows.
package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a Simulator is. The zero value works.
type Options struct {
	// Listen is the address, which has to be one of loopback: 127.0.0.1:0 if empty.
	Listen string
	// Dir is a directory for ca.pem and service-account.json; what is there already is used
	// again, so that clients can keep both. Empty: nothing is written.
	Dir string
	// Project is the Firebase project that the service account belongs to.
	Project string
	// Streams is how many requests at once a connection of HTTP/2 allows: 100 if 0, as
	// Google's.
	Streams int
	// TokenLife is how long an access token is good: 3599 seconds if 0.
	TokenLife time.Duration
	// Behaviour is how it begins to behave; SetBehaviour changes it.
	Behaviour Behaviour
	// IDKey is the member of data that holds the report id: tidings if empty.
	IDKey string
	// Seed decides what a share of the tokens or of the messages means: the same ones with the
	// same seed.
	Seed uint64
	// Counted bounds the tokens and the report ids that are counted, each: 10 million if 0.
	Counted int
	// History bounds the latest answers that are remembered one by one: 262 144 if 0.
	History int
	// Delivered, if not nil, is called for each message that was accepted, one after the
	// other. When it is too slow, deliveries are left out and counted in Totals.Unheard.
	Delivered func(Delivery)
	// Refused, if not nil, is called like Delivered for each message that was not accepted.
	Refused func(Refusal)
}

// The defaults of Options.
const (
	defaultListen  = "127.0.0.1:0"
	defaultProject = "tidings-simulator"
	defaultIDKey   = "tidings"
	defaultStreams = 100
	defaultLife    = 3599 * time.Second
	defaultCounted = 10_000_000
	defaultHistory = 1 << 18
)

// idleTimeout ends connections that nobody uses, as the providers do.
const idleTimeout = 4 * time.Minute

// A Simulator is a running one.
type Simulator struct {
	options  Options
	listener *listener
	server   *http.Server
	ca       *authority
	accounts *accounts
	state    *state
	ledger   *ledger
	hooks    *hooks
	fcm      *fcm
	serial   atomic.Uint64 // of accepted messages, for their names
	served   sync.WaitGroup
}

// Start starts a Simulator. Close ends it.
func Start(o Options) (_ *Simulator, err error) {
	o = o.filled()
	if err := o.Check(); err != nil {
		return nil, err
	}
	raw, err := listenLoopback(o.Listen)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, raw.Close())
		}
	}()
	s := &Simulator{options: o}
	if s.ca, err = openAuthority(o.Dir); err != nil {
		return nil, err
	}
	s.state = newState(o.Seed)
	if err := s.SetBehaviour(o.Behaviour); err != nil {
		return nil, err
	}
	s.ledger = newLedger(o.Counted, o.History, o.Seed)
	s.hooks = newHooks(o.Delivered, o.Refused)
	s.listener = &listener{Listener: raw, tls: s.ca.config(), state: s.state}
	if s.accounts, err = openAccounts(o, "http://"+raw.Addr().String()); err != nil {
		s.hooks.close()
		return nil, err
	}
	s.fcm = &fcm{s}
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: o.Streams},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // a client that goes away, or does not trust the authority
	}
	// The listener has taken TLS off, so that all connections are plain for net/http.
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	s.served.Go(func() { _ = s.server.Serve(s.listener) })
	return s, nil
}

// filled returns the options with the defaults in place of what is zero.
func (o Options) filled() Options {
	o.Listen = cmp.Or(o.Listen, defaultListen)
	o.Project = cmp.Or(o.Project, defaultProject)
	o.IDKey = cmp.Or(o.IDKey, defaultIDKey)
	o.Streams = cmp.Or(o.Streams, defaultStreams)
	o.TokenLife = cmp.Or(o.TokenLife, defaultLife)
	o.Counted = cmp.Or(o.Counted, defaultCounted)
	o.History = cmp.Or(o.History, defaultHistory)
	return o
}

// Check returns what is wrong with the options.
func (o Options) Check() error {
	o = o.filled()
	for _, limit := range []struct {
		name       string
		value, max int
	}{{"Streams", o.Streams, 1 << 20}, {"Counted", o.Counted, 1 << 30}, {"History", o.History, 1 << 24}} {
		if limit.value < 1 || limit.value > limit.max {
			return fmt.Errorf("%s is %d, want 1 to %d", limit.name, limit.value, limit.max)
		}
	}
	if o.TokenLife < time.Second || o.TokenLife > 12*time.Hour {
		return fmt.Errorf("TokenLife is %v, want 1s to 12h", o.TokenLife)
	}
	if !isProject(o.Project) {
		return fmt.Errorf("the project is %q, want 4 to 30 of a-z, 0-9 and -", o.Project)
	}
	if err := checkLoopback(o.Listen); err != nil {
		return err
	}
	return o.Behaviour.check()
}

func isProject(s string) bool {
	return len(s) >= 4 && len(s) <= 30 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// checkLoopback refuses an address that is not of loopback: the Simulator hands out
// credentials to whoever asks.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the address %q is not on loopback; the simulator listens on 127.0.0.1, [::1] or localhost only", address)
	}
	return nil
}

// listenLoopback listens on an address of loopback.
func listenLoopback(address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("the address %q is %s here, which is not on loopback", address, l.Addr()), l.Close())
	}
	return l, nil
}

// Close ends the Simulator with all its connections and waits for its goroutines.
func (s *Simulator) Close() error {
	s.state.end()
	err := s.server.Close()
	s.served.Wait()
	s.hooks.close()
	return err
}

// URL returns the address without TLS, as http://127.0.0.1:1234.
func (s *Simulator) URL() string { return "http://" + s.listener.Addr().String() }

// TLSURL returns the address with TLS, on the same port.
func (s *Simulator) TLSURL() string { return "https://" + s.listener.Addr().String() }

// CA returns the certificate of the authority that signed the Simulator's own, in PEM.
func (s *Simulator) CA() []byte { return s.ca.pem }

// serve answers a request: that of a provider by its path, and the control API.
func (s *Simulator) serve(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, controlPath); ok {
		s.control(w, r, rest)
		return
	}
	s.state.requests.Add(1)
	if s.state.stall(r.Context()) != nil {
		abort()
	}
	w.Header()["Date"] = s.state.date()
	switch {
	case strings.HasPrefix(r.URL.Path, fcmPath):
		s.fcm.send(w, r)
	case r.URL.Path == tokenPath:
		s.token(w, r)
	default:
		page(w, http.StatusNotFound)
	}
}

// page answers as Google's front end does where no service is: with a page for people.
func page(w http.ResponseWriter, status int) {
	w.Header()["Content-Type"] = []string{"text/html; charset=UTF-8"}
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=en>\n<title>Error %d (%s)!!1</title>\n<p>That’s an error.\n", status, http.StatusText(status)) //nolint:errcheck // the client went away
}
