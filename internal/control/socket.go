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
)

// socketName is the socket in the data directory.
const socketName = "control.sock"

// maxBodyBytes bounds a request and an answer on the socket.
const maxBodyBytes = 64 << 20

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBodyBytes+1))
	if err == nil && len(b) > maxBodyBytes {
		err = fmt.Errorf("more than %d bytes", maxBodyBytes)
	}
	return b, err
}

// maxSocketPath is what every system's socket address has room for.
const maxSocketPath = 100

// socketPath is a path of the socket short enough for a socket address. Where
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

// broken is the error of a request that got no answer. It leaves out the URL of the
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
func Dial(ctx context.Context, dir string) (Caller, error) {
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
func (r *remote) Call(ctx context.Context, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/"+op, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return broken(err)
	}
	defer resp.Body.Close()
	answer, err := readAll(resp.Body)
	if err != nil {
		return broken(err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp.Status, answer)
	}
	return decode(answer, out)
}

// refusal is the error that an answer other than 200 tells.
func refusal(status string, answer []byte) error {
	var f failure
	if err := json.Unmarshal(answer, &f); err != nil {
		return fmt.Errorf("control socket: status %s: %s", status, strings.TrimSpace(string(answer)))
	}
	return f.err()
}

// Close ends the connections.
func (r *remote) Close() error {
	r.http.CloseIdleConnections()
	r.done()
	return nil
}

// Local is a Caller on a service of this process; closing it calls close.
func (s *Service) Local(close func() error) Caller { return &local{s, close} }

type local struct {
	service *Service
	close   func() error
}

// Call does an operation here, with the same encoding as through a socket.
func (l *local) Call(ctx context.Context, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := l.service.do(ctx, op, body)
	if err != nil {
		return said(err)
	}
	return decode(answer, out)
}

// Close closes the data directory.
func (l *local) Close() error { return l.close() }

func decode(answer []byte, out any) error {
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
