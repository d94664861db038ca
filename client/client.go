package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MaxUsers is the most users that one request of the attribute and account
// commands may name. Longer lists are sent in several requests.
const MaxUsers = 100

// MaxAnswerBytes is the longest answer that is read; a longer one is an error.
const MaxAnswerBytes = 8 << 20

// DefaultIdentifier is the admin that calls unless [WithIdentifier] names another one.
// Every app has it.
const DefaultIdentifier = "administrator"

// DefaultTimeout is how long one attempt may take, unless [WithHTTPClient] sets
// something else. The server answers within 3 seconds or with a timeout code.
const DefaultTimeout = 10 * time.Second

// A Client calls the API for one app. It is safe for concurrent use.
type Client struct {
	base       url.URL
	sdkappid   uint32
	identifier string
	userAgent  string
	http       *http.Client
	tickets    ticketSource
	retry      Retry
	pace       pace
}

// settings holds what the options change.
type settings struct {
	identifier string
	userAgent  string
	http       *http.Client
	life       time.Duration
	retry      Retry
	source     func(context.Context) (string, error)
}

// An Option changes a default of [New].
type Option func(*settings)

// WithIdentifier sets the account that calls. It must be an admin of the app;
// the default is [DefaultIdentifier].
func WithIdentifier(account string) Option {
	return func(s *settings) { s.identifier = account }
}

// WithHTTPClient sets the HTTP client, for instance to share it, to trace calls or to
// trust certificates. Its Timeout holds for each attempt. Redirects are not followed,
// whatever its CheckRedirect says: a redirect would carry the ticket to another
// server. The HTTP client itself is not changed.
func WithHTTPClient(c *http.Client) Option {
	return func(s *settings) { s.http = c }
}

// WithTicketLife sets how long the tickets are good that are made with the secret key:
// at least a minute, and 24 hours by default. A ticket is renewed when a tenth of its
// life is left.
func WithTicketLife(life time.Duration) Option {
	return func(s *settings) { s.life = life }
}

// WithTicketSource sets where tickets (UserSigs) come from, for programs that are not
// trusted with the secret key. The key must then be empty in [New]. source is called
// before every attempt, from many goroutines at once, and should keep a ticket as long
// as the ticket is good. An error of source ends the call and is returned.
func WithTicketSource(source func(ctx context.Context) (ticket string, err error)) Option {
	return func(s *settings) { s.source = source }
}

// WithRetry sets when and how often calls are repeated. Fields that are zero
// keep their default.
func WithRetry(r Retry) Option {
	return func(s *settings) { s.retry = r }
}

// WithUserAgent sets the User-Agent header; the default is "tidings-client".
func WithUserAgent(name string) Option {
	return func(s *settings) { s.userAgent = name }
}

// New returns a Client for the app sdkappid of the server at baseURL, such as
// "https://push.example.com". The base URL may have a path, which comes before /v4/.
// secretKey is the key as the console shows it. New sends nothing: the first call
// finds out whether the key is right.
func New(baseURL string, sdkappid uint32, secretKey string, opts ...Option) (*Client, error) {
	s := settings{
		identifier: DefaultIdentifier,
		userAgent:  "tidings-client",
		life:       24 * time.Hour,
	}
	for _, o := range opts {
		o(&s)
	}
	base, err := url.Parse(baseURL)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http":
		return nil, errors.New("client: the base URL is not an http or https URL with a host")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("client: the base URL has a user, a query or a fragment")
	case sdkappid == 0:
		return nil, errors.New("client: sdkappid is 0")
	case s.identifier == "":
		return nil, errors.New("client: the identifier is empty")
	case (secretKey == "") == (s.source == nil):
		return nil, errors.New("client: give either a secret key or a ticket source")
	case s.source == nil && s.life < time.Minute:
		return nil, fmt.Errorf("client: tickets that are good for %v are too short, the least is a minute", s.life)
	}
	retry, err := s.retry.check()
	if err != nil {
		return nil, err
	}
	c := &Client{
		base:       *base,
		sdkappid:   sdkappid,
		identifier: s.identifier,
		userAgent:  s.userAgent,
		http:       httpClient(s.http),
		retry:      retry,
	}
	if s.source != nil {
		c.tickets = sourced(s.source)
	} else {
		c.tickets = &signer{secret: secretKey, sdkappid: sdkappid, identifier: s.identifier, life: s.life}
	}
	return c, nil
}

// httpClient returns a copy of an HTTP client, or of the default one for nil, that
// follows no redirects.
func httpClient(given *http.Client) *http.Client {
	var c http.Client
	if given != nil {
		c = *given
	} else {
		c.Timeout = DefaultTimeout
		if t, ok := http.DefaultTransport.(*http.Transport); ok {
			t = t.Clone()
			t.MaxIdleConnsPerHost = 64 // and not 2: a busy back end talks to one host
			c.Transport = t
		}
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// commandForm is the form of the command in [Client.Call].
var commandForm = regexp.MustCompile(`^[a-z0-9_]+/[a-z0-9_]+$`)

// Call calls any command, named by service and name: "timpush/get_tag". The body of the
// request is in, encoded by encoding/json as a JSON object; nil stands for an empty one.
// The answer is decoded into out, unless out is nil.
//
// The package comment describes the errors. If the answer has an ErrorList, out is
// filled and the error is an [*AccountErrors].
func (c *Client) Call(ctx context.Context, command string, in, out any) error {
	return c.call(ctx, command, repeatable[command], in, out)
}

// call is Call of a command that may be repeated after it has perhaps been processed, or may
// not.
func (c *Client) call(ctx context.Context, command string, again bool, in, out any) error {
	if !commandForm.MatchString(command) {
		return fmt.Errorf("client: command %q is not of the form service/name", command)
	}
	body := []byte("{}")
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("%s: request: %w", command, err)
		}
	}
	return c.repeat(ctx, command, again, func(ctx context.Context, ticket string) error {
		return c.send(ctx, command, ticket, body, out)
	})
}

// envelope holds the members that every answer has.
type envelope struct {
	ActionStatus string
	ErrorCode    *Code
	ErrorInfo    string
	ErrorList    []AccountError
}

// send makes one attempt.
func (c *Client) send(ctx context.Context, command, ticket string, body []byte, out any) error {
	u := *c.base.JoinPath("v4", command)
	u.RawQuery = url.Values{
		"sdkappid":    {strconv.FormatUint(uint64(c.sdkappid), 10)},
		"identifier":  {c.identifier},
		"usersig":     {ticket},
		"random":      {strconv.FormatUint(uint64(rand.Uint32()), 10)},
		"contenttype": {"json"},
	}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", command, hide(err, ticket))
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return &transportError{command, hide(err, ticket)}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	requestID := hideText(cut(resp.Header.Get("X-Request-Id"), 128), ticket)
	switch {
	case resp.StatusCode != http.StatusOK:
		return &StatusError{Command: command, Status: resp.StatusCode, RequestID: requestID}
	case err != nil:
		return &transportError{command, hide(err, ticket)}
	case len(answer) > MaxAnswerBytes:
		return fmt.Errorf("%s: the answer is longer than %d bytes", command, MaxAnswerBytes)
	}
	var e envelope
	if err := json.Unmarshal(answer, &e); err != nil || e.ErrorCode == nil {
		return fmt.Errorf("%s: the answer is not one of the API", command)
	}
	if *e.ErrorCode != 0 || e.ActionStatus == "FAIL" {
		return &Error{Command: command, Code: *e.ErrorCode, Info: hideText(e.ErrorInfo, ticket), RequestID: requestID}
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("%s: answer: %w", command, err)
		}
	}
	for i := range e.ErrorList {
		e.ErrorList[i].Info = hideText(e.ErrorList[i].Info, ticket)
	}
	if len(e.ErrorList) > 0 {
		return &AccountErrors{Command: command, RequestID: requestID, List: e.ErrorList}
	}
	return nil
}

// hide returns an error of net/http without the URL, which holds the ticket.
func hide(err error, ticket string) error {
	for {
		u, ok := errors.AsType[*url.Error](err)
		if !ok {
			break
		}
		err = u.Err
	}
	if text := err.Error(); hideText(text, ticket) != text {
		return errors.New(hideText(text, ticket)) // err must not be wrapped: its text shows the ticket
	}
	return err
}

// hideText returns a text without the ticket, as it is or as it is in a URL.
func hideText(s, ticket string) string {
	if ticket == "" {
		return s
	}
	return strings.NewReplacer(ticket, "[usersig]", url.QueryEscape(ticket), "[usersig]").Replace(s)
}

// cut returns the first n bytes of s.
func cut(s string, n int) string { return s[:min(len(s), n)] }
