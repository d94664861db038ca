package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/wording"
)

// maxURLBytes bounds path and query (spec/conventions.md, 2.6).
const maxURLBytes = 8 << 10

// request is one request on its way through the checks, and what its log line
// tells.
type request struct {
	http    *http.Request
	id      string
	start   time.Time
	source  netip.Addr
	command *command // nil before check 3
	query   query
	app     *app.App      // nil before check 4
	waited  time.Duration // for the store, of the time that the request may take
}

// ServeHTTP answers one request: always with status 200, once it is an API call.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r := &request{http: hr, id: s.newRequestID(), start: time.Now()}
	w.Header()["X-Request-Id"] = []string{r.id}
	if s.cors(w, hr) {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			// A broken invariant: this request fails, the others go on.
			s.log.Error("request panicked", "request_id", r.id, "panic", p, "stack", stack())
			s.finish(w, r, nil, apierr.Internal.Because(errPanic))
		}
	}()
	out, err := s.answer(r)
	s.finish(w, r, out, err)
}

var errPanic = errors.New("panic")

// answer takes a request through the checks of spec/conventions.md, 2.5, in
// their order, and to its command.
func (s *Server) answer(r *request) (any, error) {
	r.source = s.sourceOf(r.http)

	// 1: overload.
	if n := s.inFlight.Add(1); n > int64(s.opts.MaxInFlight) {
		s.inFlight.Add(-1)
		return nil, apierr.Overloaded.Errorf("the server works on %d requests, as many as it takes; try again later", s.opts.MaxInFlight)
	}
	defer s.inFlight.Add(-1)
	if !s.sources.allow(r.source, s.now()) {
		return nil, apierr.Overloaded.Errorf("address %s sends more than %d requests a second", r.source, s.opts.SourceLimit)
	}

	// 2 and 3: method, path, command.
	if err := s.route(r); err != nil {
		return nil, err
	}

	// 4 to 7: the app and who may reach it.
	r.query = parseQuery(r.http.URL.RawQuery)
	id, err := r.query.sdkAppID()
	if err != nil {
		return nil, err
	}
	a := s.apps.App(id)
	if a == nil {
		return nil, apierr.UnknownApp.Errorf("sdkappid %d does not exist", id)
	}
	r.app = a
	if err := reachable(a, r.source, r.http.Host); err != nil {
		return nil, err
	}

	// 8 to 11: the caller.
	if err := r.query.complete(); err != nil {
		return nil, err
	}
	if err := s.verify(r); err != nil {
		return nil, err
	}
	if slices.Contains(a.Settings.BlockedAccounts, r.query.identifier) {
		return nil, apierr.AccountBlocked.Errorf("account %q is block-listed", r.query.identifier)
	}
	if !a.IsAdmin(r.query.identifier) {
		return nil, r.command.family.notAdmin.Errorf("%s is not an admin of app %d", clip(r.query.identifier), a.ID)
	}

	// 12 and 13: is the command on, and not called too often.
	if slices.Contains(a.Settings.DisabledCommands, r.command.name) {
		return nil, apierr.CommandDisabled.Errorf("%s is switched off for app %d", r.command.name, a.ID)
	}
	if err := s.allow(a, r.command); err != nil {
		return nil, err
	}

	// 14 to 16: the body.
	body, err := s.readBody(r)
	if err != nil {
		return nil, err
	}
	defer putBuffer(body)
	// A client that closes its side of the connection still gets its answer,
	// and what a command has begun is not half answered: only time cancels.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.http.Context()), s.opts.RequestTimeout-r.waited)
	defer cancel()
	return s.carryOut(ctx, r, body.Bytes())
}

// maxStale is how often a request is carried out anew because the attributes of
// its app have changed. A client that changes them more often than requests can
// keep up with gets errors.
const maxStale = 3

// carryOut runs the command of a request that passed all checks. A command maps
// names to slots with the app as it was when the request was checked, which may
// be as long ago as its body took to come. If the store finds that they mean
// something else by now, it changes nothing, and the command runs again with the
// app as it has become.
func (s *Server) carryOut(ctx context.Context, r *request, body []byte) (any, error) {
	c := &caller{App: r.app, Name: r.query.identifier, Legacy: r.command.legacy}
	for stale := 0; ; stale++ {
		out, err := r.command.handle(s, ctx, c, r.command.family, body)
		if !errors.Is(err, audience.ErrStale) || stale == maxStale {
			return out, err
		}
		if c.App, err = s.apps.Settled(ctx, r.app.ID); err != nil {
			return nil, err
		}
	}
}

// route finds the command: only POST to /v4/service/command is an API call.
func (s *Server) route(r *request) error {
	hr := r.http
	if len(hr.RequestURI) > maxURLBytes {
		return apierr.BadHTTP.Errorf("the URL has %d bytes, at most %d are read", len(hr.RequestURI), maxURLBytes)
	}
	if hr.Method != http.MethodPost {
		return apierr.BadHTTP
	}
	if c := s.commands[hr.URL.Path]; c != nil {
		r.command = c
	} else if rest, ok := strings.CutPrefix(hr.URL.Path, "/v4/"); ok {
		if service, name, ok := strings.Cut(rest, "/"); ok && service != "" && name != "" && !strings.Contains(name, "/") {
			return apierr.UnknownCommand.Errorf("no command %s", clip(rest))
		}
		return apierr.BadHTTP
	} else {
		return apierr.BadHTTP
	}
	for _, enc := range hr.Header["Content-Encoding"] {
		if enc != "" && !strings.EqualFold(enc, "identity") {
			return apierr.BadHTTP.Errorf("Content-Encoding %s is not supported, send the body as it is", clip(enc))
		}
	}
	return nil
}

// reachable are the checks of an app itself: is it on, may this address and
// this host reach it.
func reachable(a *app.App, source netip.Addr, host string) error {
	switch a.Status {
	case app.Disabled:
		return apierr.AppDisabled.Errorf("app %d is disabled", a.ID)
	case app.Suspended:
		return apierr.AppSuspended.Errorf("app %d is suspended", a.ID)
	}
	if allowed := a.Settings.Addresses; len(allowed) > 0 &&
		!slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(source) }) {
		return apierr.AddressRefused.Errorf("source address %s is not permitted for app %d", source, a.ID)
	}
	if hosts := a.Settings.Hosts; len(hosts) > 0 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			return apierr.WrongSite.Errorf("host %s does not belong to the site of app %d", clip(host), a.ID)
		}
	}
	return nil
}

// finish writes the answer, counts it and logs it.
func (s *Server) finish(w http.ResponseWriter, r *request, out any, err error) {
	var e *apierr.Error
	if err != nil {
		e = r.failure(err)
		if e.Kind == apierr.Timeout && errors.Is(e, os.ErrDeadlineExceeded) {
			w.Header().Set("Connection", "close") // the rest of a slow body is not wanted
		}
	}
	body := encode(out, e, s.requestIDInBody(r))
	writeJSON(w, body)
	took := time.Since(r.start)
	s.metrics.count(r.command, e, took)
	if r.app != nil && s.opts.Answered != nil {
		code := 0
		if e != nil {
			code = e.Kind.Code
		}
		s.opts.Answered(r.app.ID, code)
	}
	s.logRequest(r, e, took)
}

// failure returns err as the caller is told it. What is no mistake of the caller
// has a code of the command's family: the end of request_timeout, whatever
// waited too long, and internal errors.
func (r *request) failure(err error) *apierr.Error {
	e := apierr.From(err)
	switch {
	case r.command == nil:
	case errors.Is(err, context.DeadlineExceeded):
		return r.command.family.timeout.Because(err)
	case e.Kind == apierr.Internal:
		return &apierr.Error{Kind: r.command.family.internal, Msg: e.Msg, Cause: e.Cause}
	}
	return e
}

func (s *Server) requestIDInBody(r *request) string {
	if s.opts.RequestIDInBody {
		return r.id
	}
	return ""
}

// logRequest writes the log line of a request: who, what, how it ended, how
// long it took; never a ticket, a key or the body.
func (s *Server) logRequest(r *request, e *apierr.Error, took time.Duration) {
	if s.opts.LogRequests == LogOff || s.opts.LogRequests == LogFailed && e == nil {
		return
	}
	level := slog.LevelInfo
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("request_id", r.id))
	if r.command != nil {
		attrs = append(attrs, slog.String("command", r.command.name))
	} else {
		attrs = append(attrs, slog.String("method", wording.Clip(r.http.Method, 16)), slog.String("path", wording.Clip(r.http.URL.Path, 100)))
	}
	switch {
	case r.app != nil:
		attrs = append(attrs, slog.Uint64("app", uint64(r.app.ID)), slog.String("caller", wording.Clip(r.query.identifier, 64)))
	case r.query.hasAppID:
		attrs = append(attrs, slog.String("app", wording.Clip(r.query.appID, 10)))
	}
	if r.query.random != "" {
		attrs = append(attrs, slog.String("random", wording.Clip(r.query.random, 20)))
	}
	attrs = append(attrs, slog.String("source", r.source.String()))
	code := 0
	if e != nil {
		code = e.Kind.Code
	}
	attrs = append(attrs, slog.Int("code", code), slog.Duration("duration", took))
	if e != nil {
		attrs = append(attrs, slog.String("info", e.Info()))
		if e.Cause != nil {
			attrs = append(attrs, slog.String("error", e.Cause.Error()))
			level = slog.LevelError
		}
		if errors.Is(e, context.Canceled) || errors.Is(e, os.ErrDeadlineExceeded) {
			level = slog.LevelInfo // the client went away, or was too slow
		}
	}
	if h := s.log.Handler(); h.Enabled(r.http.Context(), level) {
		// Not through the Logger, which would look up its caller's line each time.
		line := slog.NewRecord(r.start.Add(took), level, "request", 0)
		line.AddAttrs(attrs...)
		_ = h.Handle(r.http.Context(), line)
	}
}
