package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"tidings/internal/app"
)

// A stream is an operation that takes bytes besides its request, or answers with
// more of them than should be held in memory.
type stream func(s *Service, ctx context.Context, in []byte, body io.Reader, out io.Writer) error

func streamOp[In any](f func(*Service, context.Context, In, io.Reader, io.Writer) error) stream {
	return func(s *Service, ctx context.Context, body []byte, data io.Reader, out io.Writer) error {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return &app.Error{Msg: "request: " + err.Error()}
		}
		return f(s, ctx, in, data, out)
	}
}

var streams = map[string]stream{
	OpImport: streamOp((*Service).importUsers),
	OpExport: streamOp((*Service).exportUsers),
	OpBackup: streamOp((*Service).backup),
}

// streamBuffer is how much of an answer is gathered before it is sent. An error
// before that is answered as one.
const streamBuffer = 64 << 10

// failureTrailer holds the failure of a stream that had begun to answer.
const failureTrailer = "Tidings-Failure"

func (s *Service) serveStream(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[1:]
	in := []byte(r.URL.Query().Get("in"))
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Trailer", failureTrailer)
	sent := &sent{w: w}
	out := pusher{bufio.NewWriterSize(sent, streamBuffer), w}
	err := streams[name](s, r.Context(), in, r.Body, out)
	if err != nil && !sent.any {
		w.Header().Del("Trailer")
		w.WriteHeader(http.StatusBadRequest)
		text, _ := json.Marshal(asFailure(err))
		_, _ = w.Write(text)
	} else {
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		text := ""
		if err != nil {
			failed, _ := json.Marshal(asFailure(err))
			text = url.QueryEscape(string(failed))
		}
		w.Header().Set(failureTrailer, text)
	}
	if err != nil || name == OpBackup { // importUsers writes the line of an import that is done
		s.logOperation(name, in, err)
	}
}

// pusher is the answer of a stream that may send what it has gathered.
type pusher struct {
	*bufio.Writer
	client http.ResponseWriter // nil: the caller is in this process
}

// push sends what was gathered. An error is that of a later write.
func (p pusher) push() {
	_ = p.Flush() // it stays
	if p.client != nil {
		_ = http.NewResponseController(p.client).Flush()
	}
}

// sent notes whether anything was written.
type sent struct {
	w   io.Writer
	any bool
}

func (s *sent) Write(b []byte) (int, error) {
	s.any = true
	return s.w.Write(b)
}

// Stream does an operation in the server.
func (r *remote) Stream(ctx context.Context, op string, in any, body []byte) (io.ReadCloser, error) {
	request, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/"+op+"?in="+url.QueryEscape(string(request)), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, broken(err)
	}
	if resp.StatusCode == http.StatusOK {
		return &answer{resp}, nil
	}
	defer resp.Body.Close()
	text, err := readAll(resp.Body)
	if err != nil {
		return nil, broken(err)
	}
	return nil, refusal(resp.Status, text)
}

// answer is the answer of a stream.
type answer struct{ resp *http.Response }

// Read ends with io.EOF if the operation was done, else with its error.
func (a *answer) Read(b []byte) (int, error) {
	n, err := a.resp.Body.Read(b)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, broken(err)
	}
	text, err := url.QueryUnescape(a.resp.Trailer.Get(failureTrailer))
	if err != nil || text == "" {
		return n, io.EOF
	}
	return n, refusal("after the answer began", []byte(text))
}

// Close ends the operation if it is not done.
func (a *answer) Close() error { return a.resp.Body.Close() }

// Stream does an operation here.
func (l *local) Stream(ctx context.Context, op string, in any, body []byte) (io.ReadCloser, error) {
	f := streams[op]
	if f == nil {
		return nil, fmt.Errorf("there is no stream %q", op)
	}
	request, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	read, write := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		out := pusher{bufio.NewWriterSize(write, streamBuffer), nil}
		err := f(l.service, ctx, request, bytes.NewReader(body), out)
		if err == nil {
			err = out.Flush()
		}
		_ = write.CloseWithError(said(err)) // never fails
	}()
	return &piped{read, cancel, done}, nil
}

// piped is the answer of a stream of this process.
type piped struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the operation if it is not done, and waits for it.
func (p *piped) Close() error {
	p.cancel()
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// said is an error as it comes through a socket too.
func said(err error) error {
	if err == nil {
		return nil
	}
	if f := asFailure(err); f.Mistake {
		return f.err()
	}
	return err
}

func (f failure) err() error {
	if f.Mistake {
		return &app.Error{Msg: f.Error}
	}
	return errors.New(f.Error)
}
