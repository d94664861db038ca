package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// controlPath is what the paths of the control API begin with (doc/simulator.md).
const controlPath = "/simulate/"

// maxControl bounds the body of a request to the control API.
const maxControl = 64 << 20

// maxWait bounds how long a request may wait.
const maxWait = 10 * time.Minute

// A mistake is an error of whoever asks the control API.
type mistake struct {
	status int
	text   string
}

func (m *mistake) Error() string { return m.text }

func mistakef(format string, args ...any) error {
	return &mistake{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// A raw answer is sent as it is.
type raw struct {
	kind string
	text []byte
}

// controls are the operations of the control API by method and path.
var controls = map[string]func(*Simulator, *http.Request) (any, error){
	"GET behaviour":   func(s *Simulator, _ *http.Request) (any, error) { return s.Behaviour(), nil },
	"PUT behaviour":   (*Simulator).putBehaviour,
	"PATCH behaviour": (*Simulator).patchBehaviour,
	"GET fates":       func(*Simulator, *http.Request) (any, error) { return FateNames(), nil },
	"POST kill":       func(s *Simulator, r *http.Request) (any, error) { return s.mark(r, s.Kill) },
	"POST revive":     func(s *Simulator, r *http.Request) (any, error) { return s.mark(r, s.Revive) },
	"POST expire":     func(s *Simulator, _ *http.Request) (any, error) { s.ExpireTokens(); return nil, nil },
	"POST reset":      func(s *Simulator, _ *http.Request) (any, error) { s.Reset(); return nil, nil },
	"GET totals":      func(s *Simulator, _ *http.Request) (any, error) { return s.Totals(), nil },
	"GET repeated":    func(s *Simulator, _ *http.Request) (any, error) { return s.Repeated(), nil },
	"GET token":       (*Simulator).getToken,
	"GET id":          (*Simulator).getID,
	"POST counts":     (*Simulator).postCounts,
	"GET wait":        (*Simulator).getWait,
	"GET service-account": func(s *Simulator, _ *http.Request) (any, error) {
		return raw{"application/json", s.ServiceAccount()}, nil
	},
	"POST service-account": (*Simulator).postAccount,
	"POST access-token":    func(s *Simulator, _ *http.Request) (any, error) { return s.issued(s.AccessToken()), nil },
	"GET ca.pem":           func(s *Simulator, _ *http.Request) (any, error) { return raw{"application/x-pem-file", s.CA()}, nil },
}

// control answers a request to the control API.
func (s *Simulator) control(w http.ResponseWriter, r *http.Request, path string) {
	reply, err := s.operate(r, path)
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadRequest
		if m, ok := errors.AsType[*mistake](err); ok {
			status = m.status
		}
		reply = map[string]string{"error": err.Error()}
	}
	if text, ok := reply.(raw); ok {
		w.Header().Set("Content-Type", text.kind)
		w.Write(text.text)
		return
	}
	if reply == nil {
		reply = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	text, err := json.Marshal(reply, json.Deterministic(true))
	if err != nil {
		panic("simulate: an answer of the control API is no JSON: " + err.Error())
	}
	w.Write(append(text, '\n'))
}

func (s *Simulator) operate(r *http.Request, path string) (any, error) {
	// A page in a browser on this machine reaches loopback too, also by a name of its own.
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) || r.Header.Get("Origin") != "" {
		return nil, &mistake{http.StatusForbidden, "only programs on this machine may control the simulator"}
	}
	do, ok := controls[r.Method+" "+path]
	if !ok {
		return nil, &mistake{http.StatusNotFound, fmt.Sprintf("there is no %s %s%s, but %s", r.Method, controlPath, path,
			strings.Join(slices.Sorted(maps.Keys(controls)), ", "))}
	}
	return do(s, r)
}

// decode reads the body of a request.
func decode(r *http.Request, into any) error {
	body := io.LimitReader(r.Body, maxControl)
	if err := json.UnmarshalRead(body, into, json.RejectUnknownMembers(true)); err != nil {
		return mistakef("the body is not what is wanted: %v", err)
	}
	return nil
}

func (s *Simulator) putBehaviour(r *http.Request) (any, error) {
	var b Behaviour
	if err := decode(r, &b); err != nil {
		return nil, err
	}
	if err := s.SetBehaviour(b); err != nil {
		return nil, err
	}
	return s.Behaviour(), nil
}

func (s *Simulator) patchBehaviour(r *http.Request) (any, error) {
	err := s.ChangeBehaviour(func(b *Behaviour) error {
		shares := b.Share
		b.Share = nil
		if err := decode(r, b); err != nil {
			return err
		}
		if b.Share == nil {
			b.Share = shares
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.Behaviour(), nil
}

func (s *Simulator) mark(r *http.Request, do func(...string) error) (any, error) {
	var in struct {
		Tokens []string `json:"tokens"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return nil, do(in.Tokens...)
}

// A tokenReply says what became of a token.
type tokenReply struct {
	Delivered int     `json:"delivered"`
	History   []Entry `json:"history"`
}

func (s *Simulator) getToken(r *http.Request) (any, error) {
	token, err := query(r, "token")
	if err != nil {
		return nil, err
	}
	return tokenReply{s.TokenCount(token), s.History(token)}, nil
}

func (s *Simulator) getID(r *http.Request) (any, error) {
	id, err := query(r, "id")
	if err != nil {
		return nil, err
	}
	return map[string]int{"delivered": s.IDCount(id)}, nil
}

func query(r *http.Request, name string) (string, error) {
	if v := r.URL.Query().Get(name); v != "" {
		return v, nil
	}
	return "", mistakef("the query has no %s", name)
}

// Counts are how many messages were delivered to tokens and with report ids, each in the
// order that was asked for.
type Counts struct {
	Tokens []int `json:"tokens"`
	IDs    []int `json:"ids"`
}

func (s *Simulator) postCounts(r *http.Request) (any, error) {
	var in struct {
		Tokens []string `json:"tokens"`
		IDs    []string `json:"ids"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	out := Counts{Tokens: make([]int, len(in.Tokens)), IDs: make([]int, len(in.IDs))}
	for i, t := range in.Tokens {
		out.Tokens[i] = s.TokenCount(t)
	}
	for i, id := range in.IDs {
		out.IDs[i] = s.IDCount(id)
	}
	return out, nil
}

func (s *Simulator) getWait(r *http.Request) (any, error) {
	text, err := query(r, "delivered")
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return nil, mistakef("delivered is %q, want a number", text)
	}
	timeout := 30 * time.Second
	if text := r.URL.Query().Get("timeout"); text != "" {
		if timeout, err = time.ParseDuration(text); err != nil || timeout < 0 || timeout > maxWait {
			return nil, mistakef("timeout is %q, want 0s to %v", text, maxWait)
		}
	}
	ctx, stop := context.WithTimeout(r.Context(), timeout)
	defer stop()
	if err := s.Wait(ctx, n); err != nil {
		return nil, &mistake{http.StatusRequestTimeout, fmt.Sprintf("%d messages were delivered within %v, not %d", s.Delivered(), timeout, n)}
	}
	return map[string]int64{"delivered": s.Delivered()}, nil
}

func (s *Simulator) postAccount(r *http.Request) (any, error) {
	project := r.URL.Query().Get("project")
	if project == "" {
		project = s.options.Project
	}
	account, err := s.AddServiceAccount(project)
	return raw{"application/json", account}, err
}
