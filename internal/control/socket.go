package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"tidings/internal/admin"
)

// socketName is the socket in the data directory.
const socketName = "control.sock"

// maxSocketPath is what every system's socket address has room for.
const maxSocketPath = 100

// socketPath returns a path of the socket short enough for a socket address. Where
// the real one is longer, Linux reaches it through the open directory; done
// closes that.
func socketPath(dir string) (path string, done func(), err error) {
	path = filepath.Join(dir, socketName)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("the path %s is too long for a unix socket: use a data directory with a shorter one", path)
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName), func() { _ = d.Close() }, nil
}

// Path returns the name of the socket of a data directory.
func Path(dir string) string { return filepath.Join(dir, socketName) }

// Listen makes the socket of a data directory, which the caller holds open: a
// socket that is there already is left over from a process that died.
func Listen(dir string) (net.Listener, error) {
	if err := os.Remove(filepath.Join(dir, socketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		done()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(filepath.Join(dir, socketName), 0o600); err != nil {
		_ = l.Close()
		done()
		return nil, err
	}
	return &listener{l, done}, nil
}

type listener struct {
	net.Listener
	done func()
}

func (l *listener) Close() error {
	err := l.Listener.Close() // removes the socket
	l.done()
	return err
}

// ErrNoServer says that no server has the data directory open.
var ErrNoServer = errors.New("no server is running on this data directory")

// ErrStopped says that the server ended, or was killed, while it was asked. What it was
// asked to change may be changed.
var ErrStopped = errors.New("the server stopped before it had answered")

// broken returns the error of a request that got no answer. It leaves out the URL of the
// request, which is of no use to anybody.
func broken(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE, fs.ErrNotExist} {
		if errors.Is(err, end) {
			return ErrStopped
		}
	}
	return fmt.Errorf("control socket: %w", err)
}

// Dial reaches the server that has a data directory open; ErrNoServer if there
// is none.
func Dial(ctx context.Context, dir string) (admin.Caller, error) {
	path, done, err := socketPath(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoServer
	}
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		done()
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("no permission to use %s: run as the user of the server", filepath.Join(dir, socketName))
		}
		return nil, ErrNoServer
	}
	_ = conn.Close()
	return &remote{
		http: http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
		}},
		done: done,
	}, nil
}

// remote is a Caller through a socket.
type remote struct {
	http http.Client
	done func()
}

// Call does an operation in the server.
func (r *remote) Call(ctx context.Context, name string, in, out any) error {
	request, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := r.post(ctx, name, request)
	if err != nil {
		return err
	}
	defer answer.Close()
	text, err := readAll(answer)
	if err != nil {
		return err
	}
	return decode(text, out)
}

func decode(text []byte, out any) error {
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// Stream does an operation in the server.
func (r *remote) Stream(ctx context.Context, name string, in any, data []byte) (io.ReadCloser, error) {
	request, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return r.post(ctx, name+"?in="+url.QueryEscape(string(request)), data)
}

// post sends a request and returns the answer, which the caller closes.
func (r *remote) post(ctx context.Context, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/"+path, bytes.NewReader(body))
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

// answer is what an operation answers.
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

// refusal returns the error in an answer other than 200.
func refusal(status string, text []byte) error {
	var f failure
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("control socket: status %s: %s", status, strings.TrimSpace(string(text)))
	}
	return f.err()
}

// Close ends the connections.
func (r *remote) Close() error {
	r.http.CloseIdleConnections()
	r.done()
	return nil
}
