// Package fcm sends messages through Firebase Cloud Messaging, HTTP v1 (spec/channels.md, 5).
//
// Where it connects to, through what proxy, and whom it trusts come from Options alone,
// which are those of the server's operator. A credential, which an app's administrator
// uploads, decides none of that: its token_uri has to be one that Options allow.
package fcm

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tidings/internal/channel"
)

// Google's addresses.
const (
	GoogleURL      = "https://fcm.googleapis.com"
	GoogleTokenURL = "https://oauth2.googleapis.com/token"
)

// What FCM can take by default (spec/channels.md, 5): 600 000 messages a minute and
// project, and requests that are given up after no less than ten seconds.
const (
	defaultRate        = 10000
	defaultConnections = 16
	defaultTimeout     = 15 * time.Second
	minTimeout         = 10 * time.Second
	ramp               = time.Minute
	minRetry           = 10 * time.Second
	maxRetry           = time.Minute
	streams            = 100 // that a connection takes at once, as long as FCM has not said
)

// Options configure a Driver. The zero value is for Google's service.
type Options struct {
	BaseURL     string                                // default GoogleURL; http only for a loopback address
	TokenURL    string                                // default GoogleTokenURL; http only for a loopback address
	Roots       *x509.CertPool                        // default: those of the system
	Proxy       func(*http.Request) (*url.URL, error) // default: none
	Connections int                                   // at once, at most; default 16
	Timeout     time.Duration                         // of a request; at least 10 s, default 15 s
	Rate        int                                   // messages a second and credential; default 10 000, below 0: no limit
	NoRamp      bool                                  // go to Rate at once, and not within a minute
}

// A Driver opens Senders for FCM.
type Driver struct {
	opts  Options
	base  *url.URL
	token *url.URL
}

// New creates a Driver.
func New(o Options) (*Driver, error) {
	d := &Driver{opts: o}
	d.opts.Connections = cmp.Or(o.Connections, defaultConnections)
	d.opts.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	d.opts.Rate = max(cmp.Or(o.Rate, defaultRate), 0)
	if d.opts.Connections < 1 {
		return nil, fmt.Errorf("fcm: %d connections, want 1 or more", o.Connections)
	}
	if d.opts.Timeout < minTimeout {
		return nil, fmt.Errorf("fcm: timeout %s, want %s or more", o.Timeout, minTimeout)
	}
	var err error
	if d.base, err = address("base URL", cmp.Or(o.BaseURL, GoogleURL)); err != nil {
		return nil, err
	}
	d.base.Path = "/" + strings.TrimPrefix(d.base.Path, "/") // JoinPath keeps a path relative
	if d.token, err = address("token URL", cmp.Or(o.TokenURL, GoogleTokenURL)); err != nil {
		return nil, err
	}
	return d, nil
}

// address parses a URL that credentials are sent to.
func address(name, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("fcm: %s: %w", name, err)
	}
	switch {
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("fcm: %s %q, want scheme, host and perhaps a path", name, u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("fcm: %s %q, want https, or http with a loopback address", name, text)
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Kinds returns the kinds of tokens that FCM takes.
func (d *Driver) Kinds() []channel.TokenKind {
	return []channel.TokenKind{channel.Alert, channel.FID}
}

// Check returns why the JSON file of a service account, or the options that go with it,
// cannot work. Errors name the member and never its value.
func (d *Driver) Check(secret channel.Secret, o channel.Options) (channel.Facts, error) {
	a, err := d.account(secret)
	if err != nil {
		return channel.Facts{}, err
	}
	if err := checkOptions(o); err != nil {
		return channel.Facts{}, err
	}
	key := a.KeyID
	if len(key) > 8 {
		key = key[:8] + "…"
	}
	return channel.Facts{Hint: fmt.Sprintf("project %s, key %s", a.ProjectID, key)}, nil
}

// Limits returns what FCM can take, whatever the options.
func (d *Driver) Limits(channel.Options) channel.Limits {
	l := channel.Limits{
		Rate:     d.opts.Rate,
		Ramp:     ramp,
		MinRetry: minRetry,
		MaxRetry: maxRetry,
		InFlight: d.opts.Connections * streams,
	}
	if d.opts.NoRamp {
		l.Ramp = 0
	}
	return l
}

// Open returns a Sender for a credential.
func (d *Driver) Open(c channel.Credential, p *channel.Pace) (channel.Sender, error) {
	a, err := d.account(c.Secret)
	if err != nil {
		return nil, err
	}
	if err := checkOptions(c.Options); err != nil {
		return nil, err
	}
	if p == nil {
		p = channel.NewPace(d.Limits(c.Options), nil)
	}
	s := newSender(d, a, c.Options, p)
	s.proven.Store(c.Proven)
	return s, nil
}

func (d *Driver) tls() *tls.Config { return &tls.Config{RootCAs: d.opts.Roots} }
