package gate

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/wording"
)

// request is one request on its way through the checks, and what its log line
// says.
type request struct {
	http    *http.Request
	id      string
	start   time.Time
	peer    netip.Addr // of the connection
	source  netip.Addr // the peer, or who is behind a trusted proxy
	command *command   // nil before check 3
	query   query
	app     *app.App      // nil before check 4; as it was when the caller was checked last
	expires int64         // last Unix second of the ticket
	waited  time.Duration // for the store, of the time that the request may take
	rooms   *rooms        // that it takes from
	slot    claim         // the place among the requests that are worked on
	bytes   claim         // the memory of the body
	sum     [32]byte      // SHA-256 of the body, if the command is done once
	begun   bool          // the body is being read
	read    bool          // nothing of the body is left to read
	later   time.Duration // until the same request may pass, if it is known

	// Of a request of a client app: the family, which it has before its command, the
	// RegistrationID in the path, and what checkAuthorization found.
	family               *Family
	device, secret, user string
}

// ServeHTTP answers a request of a command: always with status 200, once it is an API call.
func (g *Gate) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r := g.newRequest(w, hr, &g.rooms)
	if g.crossOrigin(w, hr, g.opts.CORSOrigins, "POST", "Content-Type, X-Requested-With", "X-Request-Id") {
		return
	}
	g.serve(w, r, requestChecks)
}

func (g *Gate) newRequest(w http.ResponseWriter, hr *http.Request, rooms *rooms) *request {
	r := &request{http: hr, id: g.newRequestID(), start: time.Now(), rooms: rooms}
	w.Header()["X-Request-Id"] = []string{r.id}
	return r
}

// serve answers a request whose first checks are given.
func (g *Gate) serve(w http.ResponseWriter, r *request, first []check) {
	// The place is given back after the answer is written: whoever does not read
	// answers uses up places of the own app.
	defer r.slot.release()
	defer func() {
		if p := recover(); p != nil {
			// A broken invariant: this request fails, the others go on.
			g.log.Error("request panicked", "request_id", r.id, "panic", p, "stack", string(debug.Stack()))
			g.finish(w, r, nil, apierr.Internal.Because(errPanic))
		}
	}()
	out, err := g.answer(r, first)
	g.finish(w, r, out, err)
}

var errPanic = errors.New("panic")

// answer takes a request through the checks of spec/conventions.md, 2.5, in
// their order, and to its command.
func (g *Gate) answer(r *request, first []check) (any, error) {
	if err := g.pass(r, first); err != nil {
		return nil, err
	}
	for _, checks := range [][]check{r.command.caller, r.command.rates} {
		if err := g.pass(r, checks); err != nil {
			return nil, err
		}
	}
	defer r.bytes.release()
	in, err := g.body(r) // 14 to 16
	if err != nil {
		return nil, err
	}
	// A client that closes its side of the connection still gets its answer,
	// and what a command has begun is not half answered: only time cancels.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.http.Context()), g.opts.RequestTimeout-r.waited)
	defer cancel()
	return g.carryOut(ctx, r, in)
}

// carryOut runs the command of a request that passed all checks before its body came,
// which may be long ago.
//
// What the checks found is true when the command does its work: a command that changes
// something does so only as long as the app is the one that was checked, which the
// store asks under its lock (audience.WithAuthority); of a command that reads it is
// asked afterwards. If the app has changed, the caller is checked again with the app
// as it has become, and so are the names of attributes that the request has, as long as
// there is time: who changes an app more often than requests can keep up with gets
// timeouts.
func (g *Gate) carryOut(ctx context.Context, r *request, in any) (any, error) {
	for {
		if err := g.recheck(r); err != nil {
			return nil, err
		}
		a := r.app
		c := g.callerOf(r)
		authorized := audience.WithAuthority(ctx, func() bool { return g.apps.App(a.ID) == a })
		out, err := r.command.run.call(authorized, c, in)
		switch {
		case errors.Is(err, audience.ErrStale):
			// The store knows of a change a moment before the registry does.
			if _, err := g.apps.Settled(ctx, a.ID); err != nil {
				return nil, err
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		case r.command.Effect == Reads && g.apps.App(a.ID) != a:
			if err := g.recheck(r); err != nil {
				return nil, err
			}
			if r.app.Attributes == a.Attributes {
				return out, err
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		default:
			return out, err
		}
	}
}

// callerOf returns who makes a request that passed its checks.
func (g *Gate) callerOf(r *request) *Caller {
	c := &Caller{App: r.app, Name: r.query.identifier, Older: r.command.older, Now: g.now(), Body: r.sum}
	if r.family != nil {
		c.Device, c.Secret, c.User = r.device, r.secret, r.user
		c.check = func(account, ticket string) error {
			_, err := g.checkUser(r, account, ticket)
			return err
		}
	}
	return c
}

// recheck makes the checks of the caller again if the app has changed since, or the ticket
// has expired.
func (g *Gate) recheck(r *request) error {
	if g.apps.App(r.app.ID) == r.app && g.now().Unix() <= r.expires {
		return nil
	}
	return g.pass(r, r.command.caller)
}

// finish writes the answer, counts it and logs it.
func (g *Gate) finish(w http.ResponseWriter, r *request, out any, err error) {
	var e *apierr.Error
	if err != nil {
		e = r.failure(err)
		if e.Kind == apierr.Timeout && errors.Is(e, os.ErrDeadlineExceeded) {
			w.Header().Set("Connection", "close") // the rest of a slow body is not wanted
		}
	}
	g.discard(r)
	refused := ""
	if r.command != nil {
		refused = r.command.Refused
	}
	body := encode(out, e, refused, g.requestIDInBody(r))
	writeJSON(w, answerHeader(w.Header(), r, out, e), body)
	took := time.Since(r.start)
	g.metrics.count(r.command, e, took)
	if r.app != nil && g.opts.Answered != nil {
		code := 0
		if e != nil {
			code = e.Kind.Code
		}
		g.opts.Answered(r.app.ID, code)
	}
	g.logRequest(r, e, took)
}

// failure returns err as the caller is told it. What is no mistake of the caller
// has a code of the command's family: the end of request_timeout, whatever
// waited too long, and internal errors.
func (r *request) failure(err error) *apierr.Error {
	e := apierr.From(err)
	switch {
	case r.command == nil:
	case errors.Is(err, context.DeadlineExceeded):
		return r.command.Family.Timeout.Because(err)
	case e.Kind == apierr.Internal:
		return &apierr.Error{Kind: r.command.Family.Internal, Msg: e.Msg, Cause: e.Cause}
	}
	return e
}

func (g *Gate) requestIDInBody(r *request) string {
	if g.opts.RequestIDInBody {
		return r.id
	}
	return ""
}

// logRequest writes the log line of a request: who, what, how it ended, how
// long it took; never a ticket, a key or the body.
func (g *Gate) logRequest(r *request, e *apierr.Error, took time.Duration) {
	if g.opts.LogRequests == LogOff || g.opts.LogRequests == LogFailed && e == nil {
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
		attrs = append(attrs, slog.Uint64("app", uint64(r.app.ID)))
		if r.family == nil {
			attrs = append(attrs, slog.String("caller", wording.Clip(r.query.identifier, 64)))
		}
	case r.query.hasAppID:
		attrs = append(attrs, slog.String("app", wording.Clip(r.query.appID, 10)))
	}
	if r.device != "" {
		attrs = append(attrs, slog.String("device", wording.Clip(r.device, 64)))
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
			attrs = append(attrs, slog.String("error", wording.Clip(e.Cause.Error(), apierr.MaxInfoBytes)))
			level = slog.LevelError
		}
		if errors.Is(e, context.Canceled) || errors.Is(e, os.ErrDeadlineExceeded) {
			level = slog.LevelInfo // the client went away, or was too slow
		}
	}
	if h := g.log.Handler(); h.Enabled(r.http.Context(), level) {
		// Not through the Logger, which would look up its caller's line each time.
		line := slog.NewRecord(r.start.Add(took), level, "request", 0)
		line.AddAttrs(attrs...)
		_ = h.Handle(r.http.Context(), line)
	}
}
