package load

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// ServeBaseline answers every request on ln with body, until ctx ends. The server is
// compared with it: it has net/http, a handler that reads the request, and the header
// fields of the server, and nothing else.
func ServeBaseline(ctx context.Context, ln net.Listener, body []byte) error {
	length := []string{strconv.Itoa(len(body))}
	contentType := []string{"application/json; charset=utf-8"}
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return // the client is gone
			}
			var id [8]byte
			for i, bits := 0, rand.Uint64(); i < len(id); i++ {
				id[i] = byte(bits >> (8 * i))
			}
			h := w.Header()
			h["Content-Type"] = contentType
			h["Content-Length"] = length
			h.Set("X-Request-Id", hex.EncodeToString(id[:]))
			_, _ = w.Write(body)
		}),
	}
	var wg sync.WaitGroup
	served := make(chan struct{})
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-served:
		}
		_ = s.Close()
	})
	err := s.Serve(ln)
	close(served)
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// BaselineProcess serves a baseline on a free port of loopback, as the whole work of a
// process. It reads the body from in and prints the URL to out.
func BaselineProcess(ctx context.Context, in io.Reader, out io.Writer) error {
	body, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "baseline on http://%s\n", ln.Addr()); err != nil {
		_ = ln.Close()
		return err
	}
	return ServeBaseline(ctx, ln, body)
}
