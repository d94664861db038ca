// Package channeltest tests the providers that are packages below channel: what every one
// of them promises, over sockets, against fakes that do as they are told.
package channeltest

import (
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// An Answer is what a fake says to one message.
type Answer struct {
	Status int
	Header map[string]string
	Body   string
	Hang   bool          // no answer at all
	Reset  bool          // the stream ends after the request was read
	Slow   time.Duration // between the status and the body
	Short  bool          // the body ends before its Content-Length
	Before func()        // called before the answer
}

// A Fake is a provider that speaks HTTP/2 over TLS, or without TLS.
type Fake struct {
	URL   string
	Roots *x509.CertPool

	answer func(r *http.Request, body string) Answer
	ended  chan struct{}

	mu       sync.Mutex
	requests []Request
}

// A Request is one that a fake got.
type Request struct {
	Path   string
	Header http.Header
	Body   string
}

// NewFake starts a fake that says what answer returns. It ends with the test.
func NewFake(t testing.TB, secure bool, answer func(r *http.Request, body string) Answer) *Fake {
	t.Helper()
	f := &Fake{answer: answer, ended: make(chan struct{})}
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that end early are what is tested
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
		f.Roots = x509.NewCertPool()
		f.Roots.AddCert(s.Certificate())
	} else {
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		p.SetHTTP1(true)
		s.Config.Protocols = &p
		s.Start()
	}
	f.URL = s.URL
	t.Cleanup(func() {
		close(f.ended)
		s.CloseClientConnections()
		s.Close()
	})
	return f
}

// ServeHTTP answers a request.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, Request{r.URL.Path, r.Header.Clone(), string(body)})
	f.mu.Unlock()
	a := f.answer(r, string(body))
	if a.Before != nil {
		a.Before()
	}
	if a.Hang {
		select {
		case <-f.ended:
		case <-r.Context().Done():
		}
		return
	}
	if a.Reset {
		panic(http.ErrAbortHandler)
	}
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.Status)
	if a.Slow > 0 {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(a.Slow):
		case <-f.ended:
		case <-r.Context().Done():
		}
	}
	if _, err := io.Copy(w, strings.NewReader(a.Body)); err != nil || a.Short {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Requests returns what the fake got, and forgets it.
func (f *Fake) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.requests
	f.requests = nil
	return got
}
