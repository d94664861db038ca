package gate

import (
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"tidings/internal/apierr"
	"tidings/internal/usersig"
)

// The checks of requests of client apps, in their order. Addresses and hosts of an app are
// about its back end: a phone calls from anywhere.
var (
	clientChecks = []check{
		(*Gate).checkApp,
		(*Gate).checkStatus,
		(*Gate).checkAuthorization,
	}
	clientRates = []check{
		(*Gate).checkMaking,
		(*Gate).checkShare,
	}
)

// clients is what the gate keeps for the requests of client apps.
type clients struct {
	family   *Family
	routes   routes
	rooms    rooms
	failures *failureLog // of their own: phones behind one address lock no back end out
	sources  *buckets[appSource]
	apps     *buckets[uint32]
}

// appSource is a network that makes devices of an app.
type appSource struct {
	app     uint32
	network netip.Addr
}

func (g *Gate) newClients(c Clients, opts Options) *clients {
	body := int64(0)
	for _, r := range c.Routes {
		body = max(body, r.Body.Bytes)
	}
	places := max(int64(opts.MaxInFlight)/2, 1)
	oneBody := body*(1+decodingFactor) + 2*bodyStep
	return &clients{
		family: c.Family, routes: g.routesOf(c),
		rooms:    rooms{newRoom(places, minSlotShare), newRoom(max(opts.MaxBodyMemory/4, oneBody), oneBody)},
		failures: newFailureLog(), sources: newBuckets[appSource](), apps: newBuckets[uint32](),
	}
}

// Clients returns the handler of requests of client apps, those with a path below /v1/. It
// answers all others with 400: 404 is for a device that does not exist.
func (g *Gate) Clients() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		r := g.newRequest(w, hr, &g.clients.rooms)
		r.family = g.clients.family
		if g.crossOrigin(w, hr, g.clientOrigins(hr), "POST, PUT, DELETE", "Authorization, Content-Type", "X-Request-Id, Retry-After") {
			return
		}
		g.serve(w, r, clientRequestChecks)
	})
}

var clientRequestChecks = []check{(*Gate).checkLoad, (*Gate).checkClientRoute}

// clientOrigins returns the origins whose pages may call for the app of a request. A
// browser asks for them without headers and body, so the app is in the URL.
func (g *Gate) clientOrigins(hr *http.Request) []string {
	if hr.Header["Origin"] == nil {
		return nil
	}
	q := parseQuery(hr.URL.RawQuery)
	id, err := q.sdkAppID()
	if err != nil {
		return nil
	}
	if a := g.apps.App(id); a != nil {
		return a.Settings.Devices.Origins
	}
	return nil
}

// checkClientRoute finds the route.
func (g *Gate) checkClientRoute(r *request) error {
	hr := r.http
	if err := checkURL(hr); err != nil {
		return err
	}
	path := oneSlash(hr.URL.Path)
	c, id, known := g.clients.routes.find(hr.Method, path)
	switch {
	case c != nil:
		r.command, r.device = c, id
		return checkEncoding(hr)
	case known:
		return apierr.BadHTTP.Errorf("%s has no method %s", Quote(path), Quote(hr.Method))
	}
	return apierr.UnknownCommand.Errorf("there is nothing at %s", Quote(path))
}

// maxAuthorization bounds what is read of the header: a ticket, and the word before it.
const maxAuthorization = usersig.MaxTicketChars + 32

// checkAuthorization reads what the caller shows: an AppKey where a device is made; else
// the secret of a device, which whoever keeps devices looks at, or the ticket of a user,
// which is verified here.
func (g *Gate) checkAuthorization(r *request) error {
	text := r.http.Header.Get("Authorization")
	scheme, credentials, _ := strings.Cut(text, " ")
	bearer := strings.EqualFold(scheme, "Bearer") && credentials != ""
	r.secret, r.user, r.expires = "", "", math.MaxInt64
	switch {
	case len(text) > maxAuthorization:
		return apierr.BadQuery.Errorf("the header Authorization has %d bytes, at most %d are read", len(text), maxAuthorization)
	case r.command.makes && !bearer:
		return apierr.BadAppKey.Errorf("the header Authorization has no AppKey: want Bearer and the AppKey")
	case r.command.makes:
		if !r.app.HasAppKey(credentials) {
			return apierr.BadAppKey.Errorf("the AppKey in the header Authorization is none of app %d", r.app.ID)
		}
		return nil
	case bearer:
		r.secret = credentials
		return nil
	case !strings.EqualFold(scheme, "UserSig"):
		return apierr.NotYourDevice.Errorf("the header Authorization has neither Bearer and the secret of the device, nor UserSig and a ticket of its user")
	}
	claims, err := usersig.Parse(credentials, g.opts.StrictUserSig)
	if err != nil {
		claims.Identifier = "" // all that cannot be read are one attempt
	}
	r.user = claims.Identifier
	r.expires, err = g.checkUser(r, claims.Identifier, credentials)
	return err
}

// checkUser verifies the ticket of a user, and returns the last Unix second in which it is
// good.
func (g *Gate) checkUser(r *request, account, ticket string) (last int64, err error) {
	if err := g.throttled(r, g.clients.failures, account); err != nil {
		return 0, err
	}
	claims, last, err := g.verify(r, g.clients.failures, account, ticket)
	if err != nil {
		return 0, err
	}
	if err := g.checkInvalidation(r, claims); err != nil {
		return 0, err
	}
	if slices.Contains(r.app.Settings.BlockedAccounts, account) {
		return 0, apierr.AccountBlocked.Errorf("account %q is block-listed", account)
	}
	return last, nil
}

// checkMaking takes a token of the network that a device is made from, and one of the app.
// What is refused here has cost nothing yet.
func (g *Gate) checkMaking(r *request) error {
	if !r.command.makes {
		return nil
	}
	s, now := &r.app.Settings, g.now()
	if n := s.RegistrationSourceRate(); n > 0 {
		key := appSource{r.app.ID, Network(r.source)}
		if r.later = g.clients.sources.take(key, rate.Limit(n)/60, n, now); r.later > 0 {
			return apierr.TooManyRegistrations.Errorf("from %s come more than %d registrations a minute", r.source, n)
		}
	}
	if n := s.RegistrationRate(); n > 0 {
		if r.later = g.clients.apps.take(r.app.ID, rate.Limit(n), n, now); r.later > 0 {
			return apierr.TooManyRegistrations.Errorf("app %d registers more than %d devices a second", r.app.ID, n)
		}
	}
	return nil
}
