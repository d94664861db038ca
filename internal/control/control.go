// Package control carries the operations of package admin: through the unix socket of
// the server that has a data directory open, or, with no server running, within the
// process that has opened it. Operations and errors are the same either way.
//
// The socket is guarded by file permissions: who can open it may do everything.
package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"tidings/internal/admin"
	"tidings/internal/app"
)

// maxBodyBytes bounds a request on the socket, and an answer that is no stream.
const maxBodyBytes = 64 << 20

// readAll reads a request, or an answer that is no stream.
func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBodyBytes+1))
	if err == nil && len(b) > maxBodyBytes {
		err = &app.Error{Msg: fmt.Sprintf("a request or an answer has more than %d bytes", maxBodyBytes)}
	}
	return b, err
}

// answerBuffer is how much of an answer is gathered before it is sent. An error
// before that is answered as one.
const answerBuffer = 64 << 10

// failureTrailer holds the failure of an operation that had begun to answer.
const failureTrailer = "Tidings-Failure"

// Handler answers operations: POST /app/create with its request as the body. Those of
// streams have their request in the URL, and data in the body.
func Handler(s *admin.Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(s, w, r) })
}

func serve(s *admin.Service, w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[1:]
	request := []byte(r.URL.Query().Get("in"))
	var err error
	if o := admin.Find(name); o == nil || !o.Stream {
		request, err = readAll(r.Body)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Trailer", failureTrailer)
	begun := &begun{Writer: w}
	out := bufio.NewWriterSize(begun, answerBuffer)
	if err == nil {
		err = s.Do(r.Context(), name, request, r.Body, &admin.Answer{Writer: out, Push: func() {
			_ = out.Flush() // its error is that of the next write
			_ = http.NewResponseController(w).Flush()
		}})
	}
	if err != nil && !begun.any {
		w.Header().Del("Trailer")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(asFailure(err))
		return
	}
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		w.Header().Set(failureTrailer, url.QueryEscape(string(asFailure(err))))
	}
}

// begun notes whether anything was written.
type begun struct {
	io.Writer
	any bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.any = true
	return b.Writer.Write(p)
}

// failure is the answer to an operation that failed.
type failure struct {
	Error   string `json:"error"`
	Mistake bool   `json:"mistake"` // the operator's, not the server's
}

func asFailure(err error) []byte {
	_, mistake := errors.AsType[*app.Error](err)
	text, _ := json.Marshal(failure{err.Error(), mistake}) // never fails
	return text
}

func (f failure) err() error {
	if f.Mistake {
		return &app.Error{Msg: f.Error}
	}
	return errors.New(f.Error)
}
