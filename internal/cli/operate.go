package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/server"
)

// An access says what a command does with a data directory.
type access int

const (
	reads   access = iota + 1
	changes        // what is there
	creates        // the directory too, if need be
)

// accessOf returns the access that an operation with an effect needs.
func accessOf(effect admin.Effect) access {
	if effect == admin.Reads {
		return reads
	}
	return changes
}

// operate calls f with a Caller for the data directory of a command.
func (e *env) operate(cmd *cobra.Command, a access, f func(context.Context, admin.Caller) error) (err error) {
	c, err := e.reach(cmd.Context(), e.data(cmd), a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return f(cmd.Context(), c)
}

// reach returns a Caller for a data directory: through its server if one runs, otherwise
// one that has opened the directory in this process.
func (e *env) reach(ctx context.Context, dir string, a access) (admin.Caller, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && a != creates {
		return nil, fmt.Errorf("there is no data directory %s; name one with --data, or make it with tidings serve or tidings app create", dir)
	}
	return server.Operate(ctx, dir, a == reads, currentVersion().Version, e.warnings())
}

// ask does one operation on the data directory of a command.
func ask[In, Out any](e *env, cmd *cobra.Command, op admin.Op[In, Out], in In) (out Out, err error) {
	a := accessOf(op.Effect())
	if string(op) == string(admin.CreateApp) {
		a = creates // an app may be the first thing there
	}
	err = e.operate(cmd, a, func(ctx context.Context, c admin.Caller) error {
		out, err = op.Do(ctx, c, in)
		return err
	})
	return out, err
}

// change does one operation that changes settings of an app, and warns if the next start
// of the server sets them back.
func change[In, Out any](e *env, cmd *cobra.Command, op admin.Op[In, Out], in In, id uint32, settings ...string) (out Out, err error) {
	err = e.operate(cmd, accessOf(op.Effect()), func(ctx context.Context, c admin.Caller) error {
		if out, err = op.Do(ctx, c, in); err != nil {
			return err
		}
		e.warnUndone(ctx, c, id, settings...)
		return nil
	})
	return out, err
}

// warnUndone warns if the configuration of the server says something else of settings of
// an app.
func (e *env) warnUndone(ctx context.Context, c admin.Caller, id uint32, settings ...string) {
	undone, err := admin.AppUndone.Do(ctx, c, admin.AppRequest{ID: id})
	if err != nil { // what was asked for is done
		fmt.Fprintf(e.stderr, "tidings: warning: it is not known whether the next start of the server undoes this: %s\n", plain(err.Error()))
		return
	}
	undone = slices.DeleteFunc(undone, func(name string) bool { return !slices.Contains(settings, name) })
	if len(undone) > 0 {
		fmt.Fprintf(e.stderr, "tidings: warning: the next start of the server undoes this: its configuration declares %s of app %d; change it there too\n", enumerate(undone, "and"), id)
	}
}
