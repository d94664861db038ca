// Package admin holds what an operator can do with a data directory: look at apps and
// change them, make tickets, bring users and devices in and out, check, checkpoint, back up.
//
// All of it is one table of operations (operations.go). The command line reaches it
// through a Caller: package control carries one over a unix socket, or within the
// process where no server runs. This package knows neither sockets nor HTTP.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
	"tidings/internal/device"
	"tidings/internal/store"
	"tidings/internal/wording"
)

// Check reads everything that is stored and reports what is wrong. An err means
// that it was not finished.
type Check func(ctx context.Context, report func(store.Finding)) (store.Summary, error)

// A Service carries operations out.
type Service struct {
	Apps  *app.Registry
	Users audience.Store
	// Devices are those of the apps.
	Devices device.Store
	// Blocked returns why nothing is sent with a certificate of an app; nil: nothing sends here.
	Blocked func(id uint32, certificate int) (reason string, blocked bool)
	// TestPush sends a push to one device; nil: nothing can be sent from here.
	TestPush TestPush
	Check    Check
	// Checkpoint writes a checkpoint and returns when it is complete.
	Checkpoint func(context.Context) (store.Checkpoint, error)
	Backup     Backup
	Status     func(context.Context) (Status, error)
	Info       Info
	// Declared are the apps in the configuration of the server, which its next start makes
	// so again.
	Declared []app.Declaration
	Strict   bool // tickets are checked as with strict_usersig
	// Certificate returns the certificate that the API shows at this moment, in DER; nil:
	// it has none.
	Certificate func() []byte
	// Drivers check credentials and ask providers about them; nil: that needs a server.
	Drivers channel.Drivers
	Key     *credential.Key // of credentials
	// CopyKey puts the key of credentials into a directory.
	CopyKey func(dir string) error
	// CertificateUse returns how many devices name a certificate; nil: nobody knows.
	CertificateUse func(ctx context.Context, id uint32, certificate int) (devices int, err error)
	Log            *slog.Logger // nil: operations are not logged
}

// Info is about the server that answers.
type Info struct {
	Version string `json:"version"`
	URL     string `json:"url,omitempty"` // of the API; empty without a server
	Metrics string `json:"metrics,omitempty"`
	// Certificate is the certificate of the API, in DER; empty without TLS. Whoever learned it
	// here needs no other reason to trust it.
	Certificate []byte `json:"certificate,omitempty"`
	Data        string `json:"data"`
	PID         int    `json:"pid,omitempty"`
}

// A Caller carries operations out somewhere. An operator's mistake is an *app.Error,
// wherever that is.
type Caller interface {
	// Call does an operation with a request and decodes the result into out, which
	// may be nil.
	Call(ctx context.Context, name string, in, out any) error
	// Stream does an operation with a request and the bytes of data, and returns the
	// bytes of the answer, which the caller closes. An error that comes after the first
	// of them is that of a later Read.
	Stream(ctx context.Context, name string, in any, data []byte) (io.ReadCloser, error)
	Close() error
}

// An Op names an operation and ties the types of its request and its result to it.
type Op[In, Out any] string

// Do does the operation.
func (o Op[In, Out]) Do(ctx context.Context, c Caller, in In) (out Out, err error) {
	err = c.Call(ctx, string(o), in, &out)
	return out, err
}

// Effect returns what the operation does to what is stored.
func (o Op[In, Out]) Effect() Effect { return Find(string(o)).Effect }

// A StreamOp names an operation that takes bytes besides its request, or answers with
// more of them than should be held in memory.
type StreamOp[In any] string

// Open begins the operation.
func (o StreamOp[In]) Open(ctx context.Context, c Caller, in In, data []byte) (io.ReadCloser, error) {
	return c.Stream(ctx, string(o), in, data)
}

// Effect returns what the operation does to what is stored.
func (o StreamOp[In]) Effect() Effect { return Find(string(o)).Effect }

// None is the request, or the result, of an operation that needs none.
type None struct{}

// An Answer takes what an operation answers.
type Answer struct {
	io.Writer
	Push func() // sends what was written so far; nil: whoever reads sees it at once

	facts []slog.Attr // for the line of the log
}

// push sends what was written so far. An error is that of a later write.
func (a *Answer) push() {
	if a.Push != nil {
		a.Push()
	}
}

// Do does an operation with an encoded request, and with the bytes of data if it takes
// any. A failure that is the operator's mistake is an *app.Error.
func (s *Service) Do(ctx context.Context, name string, in []byte, data io.Reader, out *Answer) error {
	o := Find(name)
	if o == nil {
		err := &app.Error{Msg: fmt.Sprintf("this server knows no operation %.100q; is it an older version?", name)}
		s.log(&Operation{Name: name, Logs: []string{}}, nil, nil, err)
		return err
	}
	err := asMistake(o.run(s, ctx, in, data, out))
	s.log(o, in, out.facts, err)
	return err
}

// asMistake returns err as an *app.Error if it is the operator's mistake.
func asMistake(err error) error {
	if e, ok := errors.AsType[*app.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*apierr.Error](err); ok && e.Cause == nil {
		return &app.Error{Msg: e.Info()}
	}
	return err
}

// maxLogged bounds a text in a line of the log.
const maxLogged = 200

// log writes the line of an operation, if it has one.
func (s *Service) log(o *Operation, in []byte, facts []slog.Attr, err error) {
	if s.Log == nil || o.Logs == nil {
		return
	}
	var members map[string]any
	_ = json.Unmarshal(in, &members) // what is no object has no members
	attrs := []slog.Attr{logged("operation", o.Name)}
	for _, name := range o.Logs {
		value := members[name]
		if value == nil {
			continue
		}
		if name == "sdkappid" {
			name = "app"
		}
		attrs = append(attrs, logged(name, value))
	}
	attrs = append(attrs, facts...)
	if err != nil {
		attrs = append(attrs, logged("error", err.Error()))
	}
	s.Log.LogAttrs(context.Background(), slog.LevelInfo, "operation", attrs...)
}

// logged returns a value for the log: whole numbers as such, the rest as text of
// bounded length.
func logged(name string, value any) slog.Attr {
	if n, ok := value.(float64); ok && n == float64(int64(n)) {
		return slog.Int64(name, int64(n))
	}
	text := wording.Clip(fmt.Sprint(value), maxLogged)
	return slog.String(name, text)
}
