package fcm

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tidings/internal/channel"
)

// FCM answers INVALID_ARGUMENT without saying of what, both for a registration token that
// is none and for a payload that it does not take. A token that is called dead for a bad
// payload costs the registry, a payload that is called bad for a dead token costs only
// words; so nothing is guessed:
//
//   - if FCM took the same payload for another token of the page, the token is bad;
//   - if FCM refused the payload with a token that it takes, the payload is bad;
//   - else the token alone is asked about, with an empty message and validate_only: if FCM
//     takes that or says UNREGISTERED, it knows the token.

// probe decides about a target whose answer leaves open what was wrong.
func (p *page) probe(s *shaped, t *channel.Target, r channel.Result) (channel.Result, doubt) {
	switch {
	case s.taken.Load():
		r.Outcome = channel.Gone
		return r, settled
	case s.bad.Load():
		r.Outcome = channel.Rejected
		return r, settled
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	asked, d := p.ask(ctx, t.Kind, string(t.Address))
	switch {
	case asked.Outcome == channel.Accepted:
		s.bad.Store(true)
		r.Outcome = channel.Rejected
	case asked.Outcome == channel.Gone: // UNREGISTERED, or INVALID_ARGUMENT again
		r.Outcome = channel.Gone
	case d == foreign:
		return asked, d
	case asked.Outcome == channel.Throttled:
		r.Outcome, r.After, r.Lane = channel.Throttled, asked.After, asked.Lane
	default: // not known: the next try tells
		r.Outcome, r.Lane = channel.Retry, asked.Lane
	}
	return r, settled
}

// ask asks whether a token is good, and disturbs nobody.
func (s *sender) ask(ctx context.Context, kind channel.TokenKind, token string) (channel.Result, doubt) {
	var m message
	if m.Token = token; kind == channel.FID {
		m.Token, m.FID = "", token
	}
	m.Android.TTL = "0s"
	text, err := encode(m)
	if err != nil {
		return lost(err, token), settled
	}
	body, err := encode(request{ValidateOnly: true, Message: text})
	if err != nil {
		return lost(err, token), settled
	}
	b, err := s.tokens.token(ctx)
	if err != nil {
		return lost(err, token), settled
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return lost(err, token), settled
	}
	return s.deliver(conn, b, body, token)
}

// testToken is no token of any device.
const testToken = "tidings-test-no-token"

// Test asks FCM, with validate_only, about a token that is none. If FCM finds fault with
// the token, the credentials are good.
func (s *sender) Test(ctx context.Context) (channel.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.timeout)
	defer cancel()
	if _, err := s.tokens.token(ctx); err != nil {
		if e := (*tokenError)(nil); errors.As(err, &e) {
			return channel.Health{Words: e.words}, nil
		}
		return channel.Health{}, err
	}
	r, d := s.ask(ctx, channel.Alert, testToken)
	if d == settled && r.Outcome == channel.Accepted || r.Outcome == channel.Gone {
		// The first answer has the time of the handshake in it.
		r, d = s.ask(ctx, channel.Alert, testToken)
	}
	h := channel.Health{
		OK:      r.Outcome == channel.Gone || r.Outcome == channel.Accepted || d == foreign || r.Outcome == channel.Rejected && r.Status == http.StatusBadRequest,
		Words:   r.Words,
		Took:    r.Took,
		PerConn: s.pool.PerConnection(),
	}
	if h.OK && h.Took > 0 {
		rate := float64(h.PerConn*s.conns) / max(h.Took, time.Microsecond).Seconds()
		h.Rate = int(rate)
		if s.rate > 0 {
			h.Rate = int(min(rate, float64(s.rate)))
		}
	}
	return h, nil
}
