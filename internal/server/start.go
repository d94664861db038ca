package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/config"
	"tidings/internal/control"
	"tidings/internal/store"
)

// progressPause is the time between lines about a start that takes long.
const progressPause = 5 * time.Second

// A startLog tells the log how a start goes.
type startLog struct {
	log       *slog.Logger
	began     time.Time
	part      store.OpeningPart // that is under way
	partBegan time.Time
	groups    uint64
	took      []any     // attributes: how long the parts took
	next      time.Time // when the next line about progress is due
}

func newStartLog(log *slog.Logger, cfg *config.Config, b Build) *startLog {
	now := time.Now()
	args := []any{"version", b.Version}
	if b.Commit != "" {
		args = append(args, "commit", b.Commit)
	}
	log.Info("starting", append(args, "go", b.Go, "pid", os.Getpid(), "data", cfg.Data, "config", cfg.File)...)
	warnOfReaders(log, cfg)
	return &startLog{log: log, began: now, next: now.Add(progressPause)}
}

func warnOfReaders(log *slog.Logger, cfg *config.Config) {
	if cfg.SecretsInFile && othersCanRead(cfg.File) {
		log.Warn("the configuration file holds a secret_key, and every user of this machine can read the file", "file", cfg.File)
	}
}

// opening returns the hook for the opening of the data directory: it writes a line now and
// then, and ends the opening when ctx ends.
func (l *startLog) opening(ctx context.Context) func(store.Opening) error {
	return func(o store.Opening) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		now := time.Now()
		if o.Part != l.part {
			l.end(now)
			l.part, l.partBegan = o.Part, now
		}
		l.groups = o.Groups
		if !now.Before(l.next) {
			l.next = now.Add(progressPause)
			percent := int64(100)
			if o.Total > 0 {
				percent = min(100, 100*o.Done/o.Total)
			}
			l.log.Info("reading the data directory", "part", string(o.Part), "percent", percent, "bytes", o.Done, "groups", o.Groups, "duration", now.Sub(l.began).Round(time.Millisecond))
		}
		return nil
	}
}

// end notes how long the part took that was under way.
func (l *startLog) end(now time.Time) {
	if l.part != "" {
		l.took = append(l.took, string(l.part), now.Sub(l.partBegan).Round(time.Microsecond))
	}
	l.part = ""
}

// opened is called when the data directory is open.
func (l *startLog) opened() { l.end(time.Now()) }

// ready writes the line of a server that listens.
func (l *startLog) ready(ctx context.Context, s *Server) {
	users, devices, err := s.users(ctx)
	args := []any{
		"api", s.URL(), "listen", s.apiAddr.Addr().String(), "tls", s.cert != nil, "metrics", s.MetricsURL(), "clients", s.ClientsURL(), "control", control.Path(s.cfg.Data),
		"apps", len(s.apps.All()), "users", users, "devices", devices, "groups", l.groups, "duration", time.Since(l.began).Round(time.Microsecond),
	}
	if err != nil {
		args = append(args, "error", err)
	}
	l.log.Info("ready", append(args, l.took...)...)
	if s.cert != nil {
		l.log.Info("certificate", certificateAttrs(s.cert.used.Load())...)
	}
	if len(s.apps.All()) == 0 {
		l.log.Info("there are no apps", "hint", "make one with tidings app create, or declare it in the configuration file")
	}
}

// users returns how many users all apps have, and how many devices.
func (s *Server) users(ctx context.Context) (users, devices int, err error) {
	for _, a := range s.apps.All() {
		accounts, err := s.store.Users.Count(ctx, a.ID)
		if err != nil {
			return 0, 0, err
		}
		n, err := s.store.Devices.Count(ctx, a.ID)
		if err != nil {
			return 0, 0, err
		}
		users, devices = users+accounts-n, devices+n
	}
	return users, devices, nil
}

// Unfit is the error of an app in the configuration that does not fit what is stored.
type Unfit struct {
	ID  uint32
	Err error
}

func (e *Unfit) Error() string { return fmt.Sprintf("app %d of the configuration: %v", e.ID, e.Err) }
func (e *Unfit) Unwrap() error { return e.Err }

func unfit(id uint32, err error) error {
	if _, ok := errors.AsType[*app.Error](err); ok {
		return &Unfit{id, err}
	}
	return fmt.Errorf("app %d of the configuration: %w", id, err)
}

// declareApps makes the apps of the configuration so. What that changes was changed by a
// command since the last start, or in the file, and goes to the log: the names of the
// settings, and never a value.
func (s *Server) declareApps(ctx context.Context) error {
	for _, d := range s.cfg.Apps {
		changes, isNew, err := s.apps.Changes(d)
		if err != nil {
			return unfit(d.ID, err)
		}
		a, err := s.apps.Declare(ctx, d)
		if err != nil {
			return unfit(d.ID, err)
		}
		switch {
		case isNew:
			s.log.Info("app created", "app", a.ID, "name", a.Name)
		case len(changes) > 0:
			s.log.Info("the configuration changed an app", "app", a.ID, "settings", strings.Join(changes, ","))
		}
	}
	return nil
}

// An AppChange is what a start would change in an app.
type AppChange struct {
	ID uint32
	admin.Changes
}

// Check returns what a start with a configuration would change in the apps of the data
// directory, the apps that it would create too, and logs what a start would warn of. Check
// changes nothing. The error of an app that does not fit is *Unfit. A directory that no
// server has open is read, as at a start.
func Check(ctx context.Context, cfg *config.Config, version string, log *slog.Logger) (all []AppChange, err error) {
	warnOfReaders(log, cfg)
	if cfg.TLSCert != "" {
		if _, err := newCertificate(cfg.LoadCertificate, log); err != nil {
			return nil, err
		}
	}
	fresh, err := isNew(cfg.Data)
	if err != nil || len(cfg.Apps) == 0 {
		return nil, err
	}
	if fresh {
		for _, d := range cfg.Apps {
			all = append(all, AppChange{d.ID, admin.Changes{New: true}})
		}
		return all, nil
	}
	c, err := Operate(ctx, cfg.Data, true, version, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, d := range cfg.Apps {
		change := AppChange{ID: d.ID}
		if change.Changes, err = admin.AppChanges.Do(ctx, c, d); err != nil {
			return nil, unfit(d.ID, err)
		}
		if change.New || len(change.Settings) > 0 {
			all = append(all, change)
		}
	}
	return all, nil
}
