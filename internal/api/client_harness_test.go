package api_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/gate"
)

// appKey is that of the test app with devices.
const appKey = "app key that ships in the app"

// A kindsDriver is a provider that takes some kinds of tokens.
type kindsDriver struct {
	channel.Driver
	kinds []channel.TokenKind
}

func (d kindsDriver) Kinds() []channel.TokenKind { return d.kinds }

var drivers = channel.Drivers{
	channel.FCM:  kindsDriver{kinds: []channel.TokenKind{channel.Alert, channel.FID}},
	channel.APNs: kindsDriver{kinds: []channel.TokenKind{channel.Alert, channel.VoIP, channel.LiveActivity, channel.LiveActivityStart}},
}

// startPhones starts a node whose app has an AppKey and the certificates 1 of FCM, 2 of APNs
// and 3 of a provider that cannot be reached.
func startPhones(t testing.TB, opts gate.Options, edits ...func(*app.Declaration)) *node {
	t.Helper()
	n := start(t, opts, append([]func(*app.Declaration){func(d *app.Declaration) {
		d.AppKeys = []string{appKey}
		d.RegistrationRate, d.RegistrationSourceRate = new(0), new(0)
	}}, edits...)...)
	for _, p := range []channel.Provider{channel.APNs, channel.Vivo} {
		_, err := n.apps.AddCertificate(t.Context(), appID, app.Certificate{Provider: p}, func(_, _ int) ([]byte, error) { return []byte("sealed"), nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// A reply is an answer to a client app.
type reply struct {
	answer
	status int
}

// bearer and userSig are what a header Authorization shows.
func bearer(text string) string  { return "Bearer " + text }
func userSig(text string) string { return "UserSig " + text }

// v1 calls a route as a client app does; edits change the request.
func (n *node) v1(method, path, authorization, body string, edits ...func(*http.Request)) reply {
	n.t.Helper()
	what := method + " " + path + " " + shorten(body)
	r, err := http.NewRequest(method, "http://"+n.addr+"/v1/devices"+path+"?sdkappid="+strconv.Itoa(appID), strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for _, edit := range edits {
		edit(r)
	}
	resp, err := n.client.Do(r)
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
	a := reply{parseEnvelope(n.t, what, resp.Header, b), resp.StatusCode}
	if (a.status < 300) != (a.ErrorCode == 0) {
		n.t.Errorf("%s: status %d with %s", what, a.status, a.raw)
	}
	if later := resp.Header.Get("Retry-After"); (later != "") != (a.status == 429 || a.status == 503) {
		n.t.Errorf("%s: status %d with Retry-After %q", what, a.status, later)
	}
	if challenge := resp.Header.Get("WWW-Authenticate"); (challenge != "") != (a.status == 401) {
		n.t.Errorf("%s: status %d with WWW-Authenticate %q", what, a.status, challenge)
	}
	return a
}

// is fails the test unless a reply has a status, a code, and a text with all of parts.
func (r reply) is(t testing.TB, status, code int, parts ...string) reply {
	t.Helper()
	if r.status != status {
		t.Errorf("got status %d and %s, want status %d", r.status, r.raw, status)
	}
	r.code(t, code, parts...)
	return r
}

// A phone is a device that was made.
type phone struct {
	n          *node
	id, secret string
}

const android = `{"Platform":"android","Model":"Pixel 9","Language":"fr-FR","Tokens":[{"Certificate":1,"Token":"token-of-a-phone-1"}]}`

// newPhone makes a device.
func (n *node) newPhone(body string) phone {
	n.t.Helper()
	a := n.v1("POST", "", bearer(appKey), body).is(n.t, 201, 0)
	id, _ := a.members["RegistrationID"].(string)
	secret, _ := a.members["DeviceSecret"].(string)
	if id == "" || secret == "" {
		n.t.Fatalf("got %s, want a RegistrationID and a DeviceSecret", a.raw)
	}
	return phone{n, id, secret}
}

// call calls a route for the phone with its secret.
func (p phone) call(method, what, body string) reply {
	p.n.t.Helper()
	return p.n.v1(method, "/"+p.id+what, bearer(p.secret), body)
}

// bind logs a user in.
func (p phone) bind(user string) reply {
	p.n.t.Helper()
	return p.call("PUT", "/user", `{"UserID":"`+user+`","UserSig":"`+p.n.ticket(user)+`"}`)
}
