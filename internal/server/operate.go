package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/control"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
)

// Operate returns a Caller for a data directory: through its server if one runs, else
// in this process. A directory that is only read is opened by the first operation that
// needs it. A check and the status look at files, so they work on a directory that does
// not open.
func Operate(ctx context.Context, dir string, readOnly bool, version string, log *slog.Logger) (admin.Caller, error) {
	c, err := control.Dial(ctx, dir)
	if !errors.Is(err, control.ErrNoServer) {
		return c, err
	}
	if readOnly { // changes nothing on disk, not even a mode
		if ours, err := isData(dir); err != nil {
			return nil, err
		} else if !ours {
			return nil, fmt.Errorf("%s is no data directory of tidings", dir)
		}
	} else {
		if _, err := isNew(dir); err != nil {
			return nil, err
		}
		if err := makePrivate(dir, log); err != nil {
			return nil, err
		}
	}
	info := admin.Info{Version: version, Data: dir}
	status := func(context.Context) (admin.Status, error) { return directoryStatus(dir), nil }
	open := func(ctx context.Context) (admin.Caller, error) {
		s, err := lsm.Open(dir, lsm.Options{Logger: log, ReadOnly: readOnly, KeepLog: lsm.KeepAsBefore, Opening: func(store.Opening) error { return context.Cause(ctx) }})
		if err != nil {
			return nil, err
		}
		apps, err := app.Open(ctx, s.Apps, api.Commands())
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		service := &admin.Service{Apps: apps, Users: s.Users, Devices: s.Devices, Check: s.Check, Checkpoint: s.Checkpoint, Backup: backup(s, false), Status: status, Info: info, Key: keyBeside(dir), CopyKey: copyKey(keyFile("", dir))}
		return control.Local(service, func() error {
			apps.Close()
			return s.Close()
		}), nil
	}
	if !readOnly {
		return open(ctx)
	}
	closed := &admin.Service{Info: info, Status: status, Check: func(ctx context.Context, report func(store.Finding)) (store.Summary, error) {
		return lsm.CheckDir(ctx, dir, lsm.Options{Logger: log}, report)
	}}
	return &reader{closed: control.Local(closed, func() error { return nil }), open: open}, nil
}

// reader is a Caller that reads a data directory which no server has open. It is for one
// goroutine.
type reader struct {
	closed admin.Caller // does what needs no open directory
	open   func(context.Context) (admin.Caller, error)
	all    admin.Caller // nil until an operation needs it
}

// Call carries an operation out in this process.
func (r *reader) Call(ctx context.Context, op string, in, out any) error {
	if (op == string(admin.CheckStore) || op == string(admin.StoreStatus)) && r.all == nil {
		return r.closed.Call(ctx, op, in, out)
	}
	if err := r.need(ctx); err != nil {
		return err
	}
	return r.all.Call(ctx, op, in, out)
}

// Stream carries an operation out in this process.
func (r *reader) Stream(ctx context.Context, op string, in any, body []byte) (io.ReadCloser, error) {
	if err := r.need(ctx); err != nil {
		return nil, err
	}
	return r.all.Stream(ctx, op, in, body)
}

// need opens the data directory unless it is open.
func (r *reader) need(ctx context.Context) (err error) {
	if r.all == nil {
		r.all, err = r.open(ctx)
	}
	return err
}

// Close closes the data directory, if it was opened.
func (r *reader) Close() error {
	if r.all == nil {
		return nil
	}
	return r.all.Close()
}
