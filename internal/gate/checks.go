package gate

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"tidings/internal/apierr"
	"tidings/internal/app"
)

// A check is one of spec/conventions.md, 2.5, or several that belong together.
type check func(*Gate, *request) error

// The checks that come before the body, in their order.
var (
	requestChecks = []check{
		(*Gate).checkLoad,  // 1
		(*Gate).checkRoute, // 2 and 3
	}
	callerChecks = []check{
		(*Gate).checkApp,     // 4
		(*Gate).checkReach,   // 5 to 7
		(*Gate).checkQuery,   // 8
		(*Gate).checkTicket,  // 9
		(*Gate).checkCaller,  // 10 and 11
		(*Gate).checkCommand, // 12
	}
	rateChecks = []check{
		(*Gate).checkRate, // 13
		(*Gate).checkShare,
	}
)

// pass makes checks in their order. The first that fails ends them.
func (g *Gate) pass(r *request, checks []check) error {
	for _, c := range checks {
		if err := c(g, r); err != nil {
			return err
		}
	}
	return nil
}

// checkLoad refuses requests that the server has no room for, and those of a source
// address that sends too many.
func (g *Gate) checkLoad(r *request) error {
	r.peer = ParseAddr(r.http.RemoteAddr)
	r.source = g.sourceOf(r.peer, r.http.Header)
	if r.rooms.slots.full() {
		return r.rooms.full()
	}
	if !g.sources.allow(r.source, g.now()) {
		return apierr.Overloaded.Errorf("address %s sends more than %d requests a second", r.source, g.opts.SourceLimit)
	}
	return nil
}

// maxURLBytes bounds path and query (spec/conventions.md, 2.6).
const maxURLBytes = 8 << 10

// checkRoute finds the command: only POST to /v4/service/command is an API call.
func (g *Gate) checkRoute(r *request) error {
	hr := r.http
	if err := checkURL(hr); err != nil {
		return err
	}
	if hr.Method != http.MethodPost {
		return apierr.BadHTTP
	}
	path := oneSlash(hr.URL.Path)
	r.command = g.commands[path]
	if r.command == nil {
		rest, isAPI := strings.CutPrefix(path, "/v4/")
		service, name, ok := strings.Cut(rest, "/")
		if !isAPI || !ok || service == "" || name == "" || strings.Contains(name, "/") {
			return apierr.BadHTTP
		}
		return apierr.UnknownCommand.Errorf("no command %s", Quote(rest))
	}
	return checkEncoding(hr)
}

// checkURL refuses a URL that is too long.
func checkURL(hr *http.Request) error {
	if len(hr.RequestURI) > maxURLBytes {
		return apierr.BadHTTP.Errorf("the URL has %d bytes, at most %d are read", len(hr.RequestURI), maxURLBytes)
	}
	return nil
}

// checkEncoding refuses a body that is not as it is.
func checkEncoding(hr *http.Request) error {
	for _, enc := range hr.Header["Content-Encoding"] {
		if enc != "" && !strings.EqualFold(enc, "identity") {
			return apierr.BadHTTP.Errorf("Content-Encoding %s is not supported, send the body as it is", Quote(enc))
		}
	}
	return nil
}

// oneSlash makes one slash of several: clients put a base URL that ends with one
// before a path that begins with one (spec/README.md).
func oneSlash(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// checkApp finds the app.
func (g *Gate) checkApp(r *request) error {
	if r.app == nil {
		r.query = parseQuery(r.http.URL.RawQuery)
	}
	id, err := r.query.sdkAppID()
	if err != nil {
		return err
	}
	a := g.apps.App(id)
	if a == nil {
		return apierr.UnknownApp.Errorf("sdkappid %d does not exist", id)
	}
	r.app = a
	return nil
}

// checkStatus refuses requests of an app that is off.
func (g *Gate) checkStatus(r *request) error {
	switch r.app.Status {
	case app.Disabled:
		return apierr.AppDisabled.Errorf("app %d is disabled", r.app.ID)
	case app.Suspended:
		return apierr.AppSuspended.Errorf("app %d is suspended", r.app.ID)
	}
	return nil
}

// checkReach is about the app itself: is it on, may this address and this host reach
// it.
func (g *Gate) checkReach(r *request) error {
	if err := g.checkStatus(r); err != nil {
		return err
	}
	a := r.app
	if allowed := a.Settings.Addresses; len(allowed) > 0 &&
		!slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(r.source) }) {
		return apierr.AddressRefused.Errorf("source address %s is not permitted for app %d", r.source, a.ID)
	}
	if hosts := a.Settings.Hosts; len(hosts) > 0 {
		host := r.http.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			return apierr.WrongSite.Errorf("host %s does not belong to the site of app %d", Quote(host), a.ID)
		}
	}
	return nil
}

// checkQuery refuses a query without all parameters, or with one that is malformed.
func (g *Gate) checkQuery(r *request) error { return r.query.complete() }

// checkCaller is about the account that the ticket is of.
func (g *Gate) checkCaller(r *request) error {
	if slices.Contains(r.app.Settings.BlockedAccounts, r.query.identifier) {
		return apierr.AccountBlocked.Errorf("account %q is block-listed", r.query.identifier)
	}
	if !r.app.IsAdmin(r.query.identifier) {
		return r.command.Family.NotAdmin.Errorf("%s is not an admin of app %d", Quote(r.query.identifier), r.app.ID)
	}
	network := Network(r.peer)
	if _, ok := g.known.Get(network); !ok { // Get makes it the latest
		g.known.Add(network, r.app.ID)
	}
	return nil
}

// checkCommand refuses a command that is switched off for the app under the name that
// it is called by.
func (g *Gate) checkCommand(r *request) error {
	if slices.Contains(r.app.Settings.DisabledCommands, r.command.name) {
		return apierr.CommandDisabled.Errorf("%s is switched off for app %d", r.command.name, r.app.ID)
	}
	return nil
}

// checkShare takes the place of the request among those that are worked on. One app
// has a share of them, so that it cannot keep out the others.
func (g *Gate) checkShare(r *request) error {
	r.slot = r.rooms.slots.claim(r.app.ID)
	switch r.slot.take(1) {
	case appFull:
		return apierr.Overloaded.Errorf("the server works on %d requests of app %d, as many as it takes of one app; try again later", r.rooms.slots.share, r.app.ID)
	case roomFull:
		return r.rooms.full()
	}
	return nil
}
