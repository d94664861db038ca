package gate

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidings/internal/apierr"
)

// Clients are what client apps call, under /v1. Their requests have checks of their own
// (clientChecks), and take places and memory of their own: a flood of them keeps no
// command out. Unlike commands they are answered with the HTTP status that fits.
type Clients struct {
	Family *Family // what the routes share
	Routes []Route
}

// A Route is one row of what client apps call. What there is to know of a route besides
// its code is here, or on the fields of its request and answer.
type Route struct {
	Name    string // in logs, metrics and documents: "v1/bind"
	Method  string // "PUT"
	Path    string // "/v1/devices/{id}/user"; {id} is the only part that is not literal
	Doc     string // first sentence: summary; the rest: what it promises
	Makes   bool   // it makes a device: an AppKey permits it, and nothing else
	Body    Limit
	Effect  Effect
	Codes   []*apierr.Kind // that it may answer besides the common ones
	Example string         // a body
	Run     Run
}

// A Reply is how HTTP says that a request failed.
type Reply struct {
	Status int
	Later  time.Duration // Retry-After, unless the failure knows it better; 0: none
}

// Reply returns how a failure is said: with status 200, unless the family has statuses.
func (f *Family) Reply(k *apierr.Kind) Reply {
	if f.Replies == nil {
		return Reply{Status: http.StatusOK}
	}
	if r, ok := f.Replies[k]; ok {
		return r
	}
	return Reply{Status: http.StatusBadRequest}
}

// Created is embedded in an answer that may say that something was made, with status 201.
type Created struct{ made bool }

// Creating returns the Created of an answer about something that was made just now.
func Creating() Created { return Created{true} }

func (c Created) created() bool { return c.made }

// answerHeader writes the headers that go with the status of an answer, and returns the
// status. R is nil if the request reached no family.
func answerHeader(h http.Header, r *request, out any, e *apierr.Error) int {
	if r.family == nil {
		return http.StatusOK
	}
	if e == nil {
		if c, ok := out.(interface{ created() bool }); ok && c.created() {
			return http.StatusCreated
		}
		return http.StatusOK
	}
	reply := r.family.Reply(e.Kind)
	if r.later > 0 {
		reply.Later = r.later
	}
	if reply.Later > 0 && reply.Status != http.StatusOK {
		h["Retry-After"] = []string{strconv.FormatInt(int64((reply.Later+time.Second-1)/time.Second), 10)}
	}
	if reply.Status == http.StatusUnauthorized {
		h["Www-Authenticate"] = []string{"Bearer"}
	}
	return reply.Status
}

// routes finds routes by "METHOD /v1/devices/{id}".
type routes map[string]*command

func (g *Gate) routesOf(clients Clients) routes {
	all := make(routes, len(clients.Routes))
	for i := range clients.Routes {
		row := &clients.Routes[i]
		all[row.Method+" "+row.Path] = &command{
			Command: &Command{Name: row.Name, Family: clients.Family, Body: row.Body, Effect: row.Effect, Run: row.Run},
			name:    row.Name, run: row.Run, makes: row.Makes, caller: clientChecks, rates: clientRates,
			ok: g.metrics.requests.WithLabelValues(row.Name, "0"), took: g.metrics.duration.WithLabelValues(row.Name),
		}
	}
	return all
}

// find returns the route of a request, and the RegistrationID in its path; nil if no route
// has the method and the path. Known reports whether one has the path.
func (all routes) find(method, path string) (c *command, id string, known bool) {
	const prefix = "/v1/devices/"
	if rest, ok := strings.CutPrefix(path, prefix); ok {
		var tail string
		id, tail, ok = strings.Cut(rest, "/")
		path = prefix + "{id}"
		if ok {
			path += "/" + tail
		}
	}
	if c := all[method+" "+path]; c != nil {
		return c, id, true
	}
	for key := range all {
		if strings.HasSuffix(key, " "+path) {
			return nil, id, true
		}
	}
	return nil, id, false
}
