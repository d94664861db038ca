package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
)

const (
	scope       = "https://www.googleapis.com/auth/firebase.messaging"
	renewBefore = 5 * time.Minute  // the end of a token
	fetchAgain  = 10 * time.Second // after a fetch that failed, or a token that was refused
)

// A bearer is an access token, as the header of requests. It is not changed.
type bearer struct {
	header http.Header
	value  string
	renew  time.Time // when to fetch the next
	ends   time.Time
}

// GoString hides the token from %#v and so String from %v.
func (*bearer) GoString() string { return "******" }

// String hides the token.
func (*bearer) String() string { return "******" }

// A tokenError is why there is no access token.
type tokenError struct {
	status int    // 0: no answer
	code   string // of OAuth
	words  string // of the server, or what broke
}

func (e *tokenError) Error() string { return "no access token: " + e.words }

// refused reports whether the server will not give a token for these credentials.
func (e *tokenError) refused() bool {
	return e.status >= 400 && e.status < 500 && e.status != http.StatusRequestTimeout && e.status != http.StatusTooManyRequests
}

// A source has the access token of a credential. At most one is fetched at a time, and
// the last one stays in use meanwhile. x/oauth2 makes the request, but its own cache holds
// up everybody during a refresh and knows no token that was refused.
type source struct {
	config jwt.Config
	client *http.Client
	now    func() time.Time

	current atomic.Pointer[bearer]

	mu       sync.Mutex
	fetching chan struct{} // closed when the fetch has ended; nil: none is under way
	err      *tokenError   // of the last fetch
	again    time.Time     // no fetch before
	dropped  time.Time     // when a token was refused last
}

func newSource(a *account, tokenURL string, client *http.Client) *source {
	return &source{
		config: jwt.Config{
			Email:        a.Email,
			PrivateKey:   []byte(a.Key),
			PrivateKeyID: a.KeyID,
			Scopes:       []string{scope},
			TokenURL:     tokenURL,
			Audience:     a.TokenURI,
		},
		client: client,
		now:    time.Now,
	}
}

// token returns an access token: at once if there is one that is good, even if its
// successor is being fetched.
func (s *source) token(ctx context.Context) (*bearer, error) {
	b := s.current.Load()
	now := s.now()
	if b != nil && now.Before(b.renew) {
		return b, nil
	}
	fetched := s.fetch(now)
	if b != nil && now.Before(b.ends) {
		return b, nil
	}
	select {
	case <-fetched:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if b := s.current.Load(); b != nil && s.now().Before(b.ends) {
		return b, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil, &tokenError{words: "the access token has ended before it was used"}
	}
	return nil, s.err
}

// drop makes a token that was refused unusable, and reports whether another can be had.
func (s *source) drop(refused *bearer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != refused {
		return true
	}
	now := s.now()
	if !s.dropped.IsZero() && now.Sub(s.dropped) < fetchAgain {
		return false
	}
	s.dropped, s.again = now, time.Time{}
	s.current.Store(nil)
	return true
}

// ended is a fetch that has ended.
var ended = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// fetch begins to fetch a token unless that is under way or failed just now, and returns
// what is closed when it has ended.
func (s *source) fetch(now time.Time) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetching != nil {
		return s.fetching
	}
	if b := s.current.Load(); now.Before(s.again) || b != nil && now.Before(b.renew) {
		return ended
	}
	done := make(chan struct{})
	s.fetching = done
	go func() {
		defer close(done)
		b, err := s.request()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fetching, s.err = nil, err
		if err != nil {
			s.again = s.now().Add(fetchAgain)
			return
		}
		s.current.Store(b)
	}()
	return done
}

// request asks for a token. The client bounds how long that takes.
func (s *source) request() (*bearer, *tokenError) {
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, s.client)
	t, err := s.config.TokenSource(ctx).Token()
	if err != nil {
		return nil, s.failure(err)
	}
	if !headerValue(t.AccessToken) {
		return nil, &tokenError{status: http.StatusOK, words: "the answer of the token server holds no access token"}
	}
	now := s.now()
	life := time.Hour // if the server does not say
	if !t.Expiry.IsZero() {
		life = t.Expiry.Sub(now)
	}
	return &bearer{
		header: http.Header{
			"Authorization": {"Bearer " + t.AccessToken},
			"Content-Type":  {"application/json"},
			"User-Agent":    {"tidings"},
		},
		value: t.AccessToken,
		renew: now.Add(max(life-renewBefore, life/2)),
		ends:  now.Add(life),
	}, nil
}

// signed is what looks like the assertion that the token server was sent, or a part of it:
// a credential for an hour, which x/oauth2 makes and does not show.
var signed = regexp.MustCompile(`eyJ[\w.-]*|[\w-]{40,}`)

// failure returns what went wrong with a request for a token.
func (s *source) failure(err error) *tokenError {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		return &tokenError{words: clean(err.Error())}
	}
	e := &tokenError{status: answer.Response.StatusCode}
	var said struct {
		Code  string `json:"error"`
		Words string `json:"error_description"`
	}
	if json.Unmarshal(answer.Body, &said) == nil && said.Code != "" {
		e.code, e.words = code(signed.ReplaceAllString(said.Code, "…")), said.Words
	} else {
		e.words = string(answer.Body)
	}
	e.words = clean(signed.ReplaceAllString(e.words, "…"))
	if e.words == "" {
		e.words = answer.Response.Status
	}
	return e
}

// headerValue reports whether a text can be sent as a bearer token (RFC 6750, 2.1).
func headerValue(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return text != "" && len(text) <= 8<<10
}
