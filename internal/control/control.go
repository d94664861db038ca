// Package control is how the command line acts on a data directory: through the
// unix socket of the server that has it open, or, with no server running, on the
// directory itself. Operations are the same either way.
//
// The socket is guarded by file permissions: who can open it may do everything.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/usersig"
)

// Check reads everything that is stored and reports what is wrong. An err means
// that it was not finished.
type Check func(ctx context.Context, report func(store.Finding)) (store.Summary, error)

// A Service carries operations out.
type Service struct {
	Apps  *app.Registry
	Users audience.Store
	Check Check
	// Checkpoint writes a checkpoint and returns when it is complete.
	Checkpoint func(context.Context) (store.Checkpoint, error)
	Backup     Backup
	Status     func(context.Context) (Status, error)
	Info       Info
	Log        *slog.Logger // nil: operations are not logged
}

// Info is about the server that answers.
type Info struct {
	Version string `json:"version"`
	URL     string `json:"url,omitempty"` // of the API; empty without a server
	Metrics string `json:"metrics,omitempty"`
	Data    string `json:"data"`
	PID     int    `json:"pid,omitempty"`
}

// Caller carries operations out somewhere.
type Caller interface {
	// Call does op with in and puts the result into out, which may be nil. An
	// operator's mistake is an *app.Error.
	Call(ctx context.Context, op string, in, out any) error
	// Stream does op with in and the bytes of body and gives the bytes of its
	// answer, which the caller closes. An error that comes after the first of
	// them is that of a later Read.
	Stream(ctx context.Context, op string, in any, body []byte) (io.ReadCloser, error)
	Close() error
}

// The requests of the operations. Those that name an app have the first member
// only where it says no more.
type (
	// AppRequest names an app.
	AppRequest struct {
		ID uint32 `json:"sdkappid"`
	}
	// StatusRequest sets the status of an app.
	StatusRequest struct {
		ID     uint32     `json:"sdkappid"`
		Status app.Status `json:"status"`
	}
	// KeyRequest is about one key of an app; which members count is the
	// operation's.
	KeyRequest struct {
		ID      uint32    `json:"sdkappid"`
		Key     int       `json:"key,omitempty"`
		Secret  string    `json:"secret,omitempty"`
		Primary bool      `json:"primary,omitempty"`
		Ends    time.Time `json:"ends,omitzero"`
		Reveal  bool      `json:"reveal,omitempty"`
	}
	// AdminRequest is about one account of an app.
	AdminRequest struct {
		ID      uint32 `json:"sdkappid"`
		Account string `json:"account"`
	}
	// SigRequest asks for a ticket, or for what is wrong with one.
	SigRequest struct {
		ID         uint32        `json:"sdkappid"`
		Identifier string        `json:"identifier"`
		Life       time.Duration `json:"life,omitempty"`
		Ticket     string        `json:"usersig,omitempty"`
	}
)

// The results of the operations.
type (
	// App is an app as the operator sees it.
	App struct {
		*app.App
		Keys  []Key `json:"keys"` // shadows app.App.Keys, which shows secrets
		Users int   `json:"users"`
	}
	// Key is a key as the operator sees it: masked unless revealed.
	Key struct {
		ID      int       `json:"id"`
		Secret  string    `json:"secret"`
		Primary bool      `json:"primary"`
		Created time.Time `json:"created"`
		Ends    time.Time `json:"ends,omitzero"`
		Ended   bool      `json:"ended"`
	}
	// Sig is a ticket, or what one says.
	Sig struct {
		Ticket     string    `json:"usersig,omitempty"`
		SDKAppID   int64     `json:"sdkappid"`
		Identifier string    `json:"identifier"`
		Issued     time.Time `json:"issued"`
		Expires    time.Time `json:"expires"`
		Admin      bool      `json:"admin"` // the account may call the API
		Code       int       `json:"code"`  // 0: good
		Error      string    `json:"error,omitempty"`
	}
	// CheckReport is what is wrong with a data directory.
	CheckReport struct {
		store.Summary
		Findings []store.Finding `json:"findings"`
		More     int             `json:"more"` // findings left out
	}
)

// maxFindings is how many findings a report lists; a directory that is broken
// all over has as many as it has users.
const maxFindings = 10_000

// OpCheck is the operation that needs nothing but a Check.
const OpCheck = "check"

// OpCheckpoint answers a store.Checkpoint.
const OpCheckpoint = "store/checkpoint"

// operation is one thing an operator can ask for.
type operation func(s *Service, ctx context.Context, body []byte) (any, error)

func op[In any](f func(*Service, context.Context, In) (any, error)) operation {
	return func(s *Service, ctx context.Context, body []byte) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, &app.Error{Msg: "request: " + err.Error()}
		}
		return f(s, ctx, in)
	}
}

var operations = map[string]operation{
	"info":         op((*Service).info),
	"app/create":   op((*Service).appCreate),
	"app/set":      op((*Service).appSet),
	"app/list":     op((*Service).appList),
	"app/show":     op((*Service).appShow),
	"app/status":   op((*Service).appStatus),
	"app/delete":   op((*Service).appDelete),
	"key/add":      op((*Service).keyAdd),
	"key/list":     op((*Service).keyList),
	"key/retire":   op((*Service).keyRetire),
	"key/remove":   op((*Service).keyRemove),
	"admin/add":    op((*Service).adminAdd),
	"admin/remove": op((*Service).adminRemove),
	"sig/make":     op((*Service).sigMake),
	"sig/check":    op((*Service).sigCheck),
	OpCheck:        op((*Service).check),
	OpCheckpoint:   op((*Service).checkpoint),
	OpStatus:       op((*Service).status),
	OpChanges:      op((*Service).appChanges),
}

func (s *Service) info(context.Context, struct{}) (any, error) { return s.Info, nil }

func (s *Service) checkpoint(ctx context.Context, _ struct{}) (any, error) { return s.Checkpoint(ctx) }

func (s *Service) view(ctx context.Context, a *app.App, reveal bool) (any, error) {
	n, err := s.Users.Count(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	v := App{App: a, Users: n}
	for _, k := range a.Keys {
		v.Keys = append(v.Keys, viewKey(k, reveal))
	}
	return v, nil
}

func viewKey(k app.Key, reveal bool) Key {
	v := Key{k.ID, string(k.Secret), k.Primary, k.Created, k.Ends, !k.Good(time.Now())}
	if !reveal {
		v.Secret = "******"
	}
	return v
}

// appCreate shows the keys: it is the moment to note them.
func (s *Service) appCreate(ctx context.Context, d app.Declaration) (any, error) {
	a, err := s.Apps.Create(ctx, d)
	if err != nil {
		return nil, err
	}
	return s.view(ctx, a, true)
}

func (s *Service) appSet(ctx context.Context, d app.Declaration) (any, error) {
	if _, err := s.find(d.ID); err != nil {
		return nil, err
	}
	a, err := s.Apps.Declare(ctx, d)
	if err != nil {
		return nil, err
	}
	return s.view(ctx, a, false)
}

func (s *Service) appList(ctx context.Context, _ struct{}) (any, error) {
	list := []any{}
	for _, a := range s.Apps.All() {
		v, err := s.view(ctx, a, false)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (s *Service) find(id uint32) (*app.App, error) {
	if a := s.Apps.App(id); a != nil {
		return a, nil
	}
	return nil, &app.Error{Msg: fmt.Sprintf("app %d does not exist", id)}
}

func (s *Service) appShow(ctx context.Context, in AppRequest) (any, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	return s.view(ctx, a, false)
}

func (s *Service) appStatus(ctx context.Context, in StatusRequest) (any, error) {
	if !slices.Contains([]app.Status{app.Enabled, app.Disabled, app.Suspended}, in.Status) {
		return nil, &app.Error{Msg: fmt.Sprintf("status %q is none of enabled, disabled, suspended", in.Status)}
	}
	a, err := s.Apps.SetStatus(ctx, in.ID, in.Status)
	if err != nil {
		return nil, err
	}
	return s.view(ctx, a, false)
}

func (s *Service) appDelete(ctx context.Context, in AppRequest) (any, error) {
	return struct{}{}, s.Apps.Delete(ctx, in.ID)
}

// keyAdd shows the key: it is the moment to note it.
func (s *Service) keyAdd(ctx context.Context, in KeyRequest) (any, error) {
	k, err := s.Apps.AddKey(ctx, in.ID, app.Secret(in.Secret), in.Primary)
	if err != nil {
		return nil, err
	}
	return viewKey(k, true), nil
}

func (s *Service) keyList(_ context.Context, in KeyRequest) (any, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	list := []Key{}
	for _, k := range a.Keys {
		list = append(list, viewKey(k, in.Reveal))
	}
	return list, nil
}

func (s *Service) keyRetire(ctx context.Context, in KeyRequest) (any, error) {
	k, err := s.Apps.RetireKey(ctx, in.ID, in.Key, in.Ends)
	if err != nil {
		return nil, err
	}
	return viewKey(k, false), nil
}

func (s *Service) keyRemove(ctx context.Context, in KeyRequest) (any, error) {
	return struct{}{}, s.Apps.RemoveKey(ctx, in.ID, in.Key)
}

func (s *Service) adminAdd(ctx context.Context, in AdminRequest) (any, error) {
	a, err := s.Apps.AddAdmin(ctx, in.ID, in.Account)
	if err != nil {
		return nil, err
	}
	return a.Admins, nil
}

func (s *Service) adminRemove(ctx context.Context, in AdminRequest) (any, error) {
	a, err := s.Apps.RemoveAdmin(ctx, in.ID, in.Account)
	if err != nil {
		return nil, err
	}
	return a.Admins, nil
}

func (s *Service) sigMake(_ context.Context, in SigRequest) (any, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	keys := a.GoodKeys(now)
	if len(keys) == 0 {
		return nil, &app.Error{Msg: fmt.Sprintf("app %d has no key to make a usersig with; add one with tidings key add", in.ID)}
	}
	if in.Identifier == "" {
		in.Identifier = app.BuiltInAdmin
	}
	if in.Life == 0 {
		in.Life = usersig.DefaultLife
	}
	return Sig{
		Ticket:     usersig.Make(string(keys[0].Secret), a.ID, in.Identifier, now, in.Life, nil),
		SDKAppID:   int64(a.ID),
		Identifier: in.Identifier,
		Issued:     now.UTC().Truncate(time.Second),
		Expires:    now.UTC().Truncate(time.Second).Add(in.Life),
		Admin:      a.IsAdmin(in.Identifier),
	}, nil
}

// sigCheck verifies a ticket as the API would, and tells what it says even if
// it is not good. Without an identifier, the ticket's own is taken.
func (s *Service) sigCheck(ctx context.Context, in SigRequest) (any, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	request := usersig.Request{Ticket: in.Ticket, Identifier: in.Identifier, SDKAppID: a.ID, Now: now}
	for _, k := range a.GoodKeys(now) {
		request.Keys = append(request.Keys, string(k.Secret))
	}
	claims, err := usersig.Parse(in.Ticket, false)
	if err == nil {
		if request.Identifier == "" {
			request.Identifier = claims.Identifier
		}
		_, _, err = usersig.Verify(request)
	}
	out := Sig{
		SDKAppID: claims.SDKAppID, Identifier: claims.Identifier,
		Issued: time.Unix(claims.Issued, 0).UTC(), Expires: claims.Expires(), Admin: a.IsAdmin(claims.Identifier),
	}
	if err == nil {
		revoked, readErr := s.Users.RevokedUpTo(ctx, a.ID, claims.Identifier)
		if readErr != nil {
			return nil, readErr
		}
		err = claims.Invalidated(revoked)
	}
	if err != nil {
		e := apierr.From(err)
		out.Code, out.Error = e.Kind.Code, e.Info()
	}
	return out, nil
}

func (s *Service) check(ctx context.Context, _ struct{}) (any, error) {
	report := CheckReport{Findings: []store.Finding{}}
	var err error
	report.Summary, err = s.Check(ctx, func(f store.Finding) {
		if len(report.Findings) < maxFindings {
			report.Findings = append(report.Findings, f)
		} else {
			report.More++
		}
	})
	return report, err
}

// do carries an operation out on encoded values.
func (s *Service) do(ctx context.Context, name string, body []byte) ([]byte, error) {
	f := operations[name]
	if f == nil {
		return nil, &app.Error{Msg: fmt.Sprintf("this server knows no operation %q; is it an older version?", name)}
	}
	out, err := f(s, ctx, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// failure is the answer to an operation that failed.
type failure struct {
	Error   string `json:"error"`
	Mistake bool   `json:"mistake"` // the operator's, not the server's
}

func asFailure(err error) failure {
	f := failure{Error: err.Error()}
	if e, ok := errors.AsType[*app.Error](err); ok {
		f = failure{e.Msg, true}
	} else if e, ok := errors.AsType[*apierr.Error](err); ok && e.Cause == nil {
		f = failure{e.Info(), true}
	}
	return f
}

// logOperation writes a line for an operation that may have changed something.
func (s *Service) logOperation(name string, body []byte, err error) {
	if s.Log == nil || reads[name] {
		return
	}
	var in struct {
		ID      uint32 `json:"sdkappid"`
		Account string `json:"account"`
		Key     int    `json:"key"`
	}
	_ = json.Unmarshal(body, &in)
	var attrs []slog.Attr
	if in.Account != "" {
		attrs = append(attrs, slog.String("account", in.Account))
	}
	if in.Key != 0 {
		attrs = append(attrs, slog.Int("key", in.Key))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	s.logLine(name, in.ID, attrs...)
}

// logLine writes the line of an operation on an app; 0 is none.
func (s *Service) logLine(name string, id uint32, attrs ...slog.Attr) {
	if s.Log == nil {
		return
	}
	first := []slog.Attr{slog.String("operation", name)}
	if id != 0 {
		first = append(first, slog.Uint64("app", uint64(id)))
	}
	s.Log.LogAttrs(context.Background(), slog.LevelInfo, "operation", append(first, attrs...)...)
}

// reads are the operations that change nothing.
var reads = map[string]bool{
	"info": true, "app/list": true, "app/show": true, "key/list": true, "sig/make": true, "sig/check": true, OpCheck: true, OpExport: true, OpStatus: true, OpChanges: true,
}

// ServeHTTP answers operations: POST /app/create with its request as the body.
// Those of streams have their request in the URL.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if streams[r.URL.Path[1:]] != nil {
		s.serveStream(w, r)
		return
	}
	body, err := readAll(r.Body)
	var out []byte
	if err == nil {
		out, err = s.do(r.Context(), r.URL.Path[1:], body)
	}
	s.logOperation(r.URL.Path[1:], body, err)
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadRequest
		out, _ = json.Marshal(asFailure(err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(out)
}
