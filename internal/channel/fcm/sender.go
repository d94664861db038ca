package fcm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings/internal/channel"
	"tidings/internal/channel/h2"
)

// maxBody bounds how much of an answer is read, in bytes (spec/channels.md, 2.2).
const maxBody = 64 << 10

// A sender is a channel.Sender for one service account.
type sender struct {
	opts    channel.Options
	rate    int // messages a second, at most; 0: no limit
	timeout time.Duration
	conns   int // at once, at most
	url     *url.URL
	pool    *h2.Pool
	pace    *channel.Pace
	tokens  *source
	now     func() time.Time // by which messages expire
	client  *http.Client     // for access tokens

	proven atomic.Bool // FCM took a message from these credentials
	clock  clock
}

func newSender(d *Driver, a *account, o channel.Options, p *channel.Pace) *sender {
	s := &sender{
		opts:    o,
		rate:    d.opts.Rate,
		timeout: d.opts.Timeout,
		conns:   d.opts.Connections,
		url:     d.base.JoinPath("v1", "projects", a.ProjectID, "messages:send"),
		pace:    p,
		now:     time.Now,
	}
	s.pool = h2.New(h2.Options{URL: d.base, TLS: d.tls(), Proxy: d.opts.Proxy, Connections: d.opts.Connections})
	s.client = &http.Client{
		Transport: observed{&http.Transport{
			Proxy:               d.opts.Proxy,
			TLSClientConfig:     d.tls(),
			TLSHandshakeTimeout: 5 * time.Second,
			IdleConnTimeout:     time.Minute,
			MaxConnsPerHost:     2,
		}, &s.clock},
		Timeout:       d.opts.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.tokens = newSource(a, d.token.String(), s.client)
	return s
}

// String describes the sender without its secrets.
func (s *sender) String() string { return "FCM" }

// GoString hides the secrets from %#v.
func (s *sender) GoString() string { return "FCM" }

// Clock returns by how much Google's clock is ahead of ours.
func (s *sender) Clock() time.Duration { return s.clock.ahead() }

// Close ends the connections.
func (s *sender) Close() error {
	s.client.CloseIdleConnections()
	return s.pool.Close()
}

// Payload returns what Send would send to a target.
func (s *sender) Payload(job *channel.Job, target *channel.Target) (channel.Payload, error) {
	title, desc := job.Message.Text(target.Language)
	t, err := newTemplate(job, s.opts, target.Kind, title, desc, target.Badge >= 0)
	if err != nil {
		return channel.Payload{}, err
	}
	shown := *target
	shown.Address = channel.Address(target.Address.Last6())
	return channel.Payload{
		Body:   t.fill(nil, &shown, ttl(job.Expires, s.now())),
		Bytes:  t.bytes(target),
		Limit:  maxPayload,
		Header: map[string]string{"Content-Type": "application/json"},
	}, nil
}

// bodies are for reading answers.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// post sends a body on a connection that it gives back, and returns the outcome and what
// the answer leaves open. Secret is the registration token.
func (s *sender) post(c *h2.Conn, b *bearer, body []byte, secret string) (channel.Result, doubt) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	begin := time.Now()
	r, d := s.exchange(ctx, c, b, body, secret)
	r.Took = time.Since(begin)
	return r, d
}

func (s *sender) exchange(ctx context.Context, c *h2.Conn, b *bearer, body []byte, secret string) (channel.Result, doubt) {
	request := (&http.Request{
		Method:        http.MethodPost,
		URL:           s.url,
		Header:        b.header,
		Host:          s.url.Host,
		ContentLength: int64(len(body)),
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	response, c, err := s.pool.RoundTrip(c, request)
	if err != nil {
		return lost(err, secret, b.value), settled
	}
	defer s.pool.Release(c)
	defer response.Body.Close()
	s.clock.hear(response.Header.Get("Date"))
	buffer := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buffer)
	buffer.Reset()
	_, err = buffer.ReadFrom(io.LimitReader(response.Body, maxBody))
	a := answer{status: response.StatusCode, header: response.Header, body: buffer.Bytes(), broken: err != nil}
	return classify(a, time.Now(), secret, b.value)
}

// lost returns the result of a request without an answer.
func lost(err error, secrets ...string) channel.Result {
	r := channel.Result{Words: clean(err.Error(), secrets...)}
	var dial *h2.DialError
	var refused *h2.RefusedError
	switch {
	case errors.As(err, &dial):
		r.Outcome, r.Code, r.Lane = channel.Retry, channel.CodeUnreachable, true
	case errors.As(err, &refused):
		r.Outcome, r.Code = channel.Retry, channel.CodeRefused
	case errors.Is(err, context.DeadlineExceeded):
		r.Outcome, r.Code = channel.Unknown, channel.CodeTimeout
	default:
		r.Outcome, r.Code = channel.Unknown, channel.CodeLost
	}
	return r
}

// A clock is what the dates of answers say about Google's clock.
type clock struct {
	last   atomic.Pointer[string]
	offset atomic.Int64
}

// hear notes the Date of an answer. Answers of one second have the same, which is read once.
func (c *clock) hear(date string) {
	if last := c.last.Load(); date == "" || last != nil && *last == date {
		return
	}
	kept := strings.Clone(date)
	c.last.Store(&kept)
	if at, err := http.ParseTime(date); err == nil {
		c.offset.Store(int64(time.Until(at).Round(time.Second)))
	}
}

func (c *clock) ahead() time.Duration { return time.Duration(c.offset.Load()) }

// observed is a transport whose answers a clock hears.
type observed struct {
	http.RoundTripper
	clock *clock
}

// RoundTrip sends a request.
func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := o.RoundTripper.RoundTrip(r)
	if err == nil {
		o.clock.hear(answer.Header.Get("Date"))
	}
	return answer, err
}

// CloseIdleConnections closes the connections of the transport below.
func (o observed) CloseIdleConnections() {
	if t, ok := o.RoundTripper.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
