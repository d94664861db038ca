package fcm

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/channel/channeltest"
)

// TestTokenRequest looks at the request that Google gets (spec/channels.md, 5, "Auth").
func TestTokenRequest(t *testing.T) {
	g := newGoogle(t, true)
	results(t, g.sender(t, channel.Options{}, nil), job(), targets(1))
	for _, r := range g.Requests() {
		if r.Path != "/token" {
			continue
		}
		form, err := url.ParseQuery(r.Body)
		if err != nil || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			t.Fatalf("%v, %v", form, err)
		}
		parts := strings.Split(form.Get("assertion"), ".")
		if len(parts) != 3 {
			t.Fatalf("%d parts of an assertion", len(parts))
		}
		var decoded [3][]byte
		for i := range parts {
			if decoded[i], err = base64.RawURLEncoding.DecodeString(parts[i]); err != nil {
				t.Fatal(err)
			}
		}
		var head struct{ Alg, Kid, Typ string }
		var claims struct {
			Iss, Scope, Aud string
			Iat, Exp        int64
		}
		if json.Unmarshal(decoded[0], &head) != nil || json.Unmarshal(decoded[1], &claims) != nil {
			t.Fatal("no JSON")
		}
		if head.Alg != "RS256" || head.Kid != "3f0c5d7e9a" {
			t.Errorf("%+v", head)
		}
		if claims.Iss != "sender@chat-prod.iam.gserviceaccount.com" || claims.Scope != scope || claims.Aud != GoogleTokenURL || claims.Exp-claims.Iat > 3600 {
			t.Errorf("%+v", claims)
		}
		block, _ := pem.Decode([]byte(testKey()))
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err := rsa.VerifyPKCS1v15(&key.(*rsa.PrivateKey).PublicKey, crypto.SHA256, sum[:], decoded[2]); err != nil {
			t.Error(err)
		}
	}
}

// TestTokenIsRenewed moves the clock to five minutes before the end and lets Google think:
// the old token stays in use, and one request is made.
func TestTokenIsRenewed(t *testing.T) {
	g := newGoogle(t, true)
	think := make(chan struct{})
	g.issue = func(n int) channeltest.Answer {
		a := issued(n)
		if n > 1 {
			a.Before = func() { <-think }
		}
		return a
	}
	s := g.sender(t, channel.Options{}, nil)
	var ahead atomic.Int64
	s.tokens.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	token := func() string {
		b, err := s.tokens.token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return b.value
	}
	first := token()
	ahead.Store(int64(54 * time.Minute))
	if token() != first {
		t.Error("the token was renewed too soon")
	}
	ahead.Store(int64(56 * time.Minute))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got := token(); got != first {
				t.Errorf("got %q, want the old token meanwhile", got)
			}
		})
	}
	wg.Wait()
	s.tokens.mu.Lock()
	fetched := s.tokens.fetching
	s.tokens.mu.Unlock()
	close(think)
	<-fetched
	if got := token(); got != "access-token-2" {
		t.Errorf("got %q, want access-token-2", got)
	}
	if g.tokens != 2 {
		t.Errorf("%d requests for tokens, want 2", g.tokens)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	g := newGoogle(t, true)
	refused := refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
	g.Fake.Requests()
	var all atomic.Bool
	g.sendTo = func(r *http.Request) *channeltest.Answer {
		if all.Load() || r.Header.Get("Authorization") == "Bearer access-token-1" {
			return &refused
		}
		return nil
	}
	s := g.sender(t, channel.Options{}, nil)
	for i, r := range results(t, s, job(), targets(200)) {
		if r.Outcome != channel.Accepted {
			t.Fatalf("target %d: %+v, want accepted with the second token", i, r)
		}
	}
	if g.tokens != 2 {
		t.Errorf("%d access tokens, want 2", g.tokens)
	}
	all.Store(true)
	for i, r := range results(t, s, job(), targets(200)) {
		if r.Outcome != channel.Unauthorized || r.Words != "Request had invalid authentication credentials." {
			t.Fatalf("target %d: %+v, want unauthorized", i, r)
		}
	}
	if g.tokens > 3 {
		t.Errorf("%d access tokens after refusals in a row, want no storm", g.tokens)
	}
}

func TestNoToken(t *testing.T) {
	for name, c := range map[string]struct {
		answer channeltest.Answer
		want   channel.Result
	}{
		"the key was deleted": {
			channeltest.Answer{Status: 400, Body: `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`},
			channel.Result{Outcome: channel.Unauthorized, Status: 400, Code: "invalid_grant", Words: "Invalid JWT Signature.", Lane: true},
		},
		"out of order": {
			channeltest.Answer{Status: 503, Body: "later"},
			channel.Result{Outcome: channel.Retry, Status: 503, Words: "later", Lane: true},
		},
		"too much": {
			channeltest.Answer{Status: 429, Body: "slowly"},
			channel.Result{Outcome: channel.Retry, Status: 429, Words: "slowly", Lane: true},
		},
		"redirect": {
			channeltest.Answer{Status: 302, Header: map[string]string{"Location": "/elsewhere"}},
			channel.Result{Outcome: channel.Retry, Status: 302, Words: "302 Found", Lane: true},
		},
		"no token in it": {
			channeltest.Answer{Status: 200, Body: `{"expires_in":3599}`},
			channel.Result{Outcome: channel.Retry, Status: 200, Words: "the answer of the token server holds no access token", Lane: true},
		},
		"a token that is no header": {
			channeltest.Answer{Status: 200, Body: `{"access_token":"a\nb: c"}`},
			channel.Result{Outcome: channel.Retry, Status: 200, Words: "the answer of the token server holds no access token", Lane: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGoogle(t, true)
			g.issue = func(int) channeltest.Answer { return c.answer }
			s := g.sender(t, channel.Options{}, nil)
			for i, r := range results(t, s, job(), targets(20)) {
				if r != c.want {
					t.Fatalf("target %d:\ngot  %+v\nwant %+v", i, r, c.want)
				}
			}
			if g.tokens != 1 {
				t.Errorf("%d requests for a token, want 1", g.tokens)
			}
			h, err := s.Test(t.Context())
			if err != nil || h.OK || h.Words != c.want.Words {
				t.Errorf("test: %+v, %v, want these words", h, err)
			}
		})
	}
}

// TestTokenServerEchoes has the token server say the assertion, which is a credential for
// an hour.
func TestTokenServerEchoes(t *testing.T) {
	g := &google{}
	var said atomic.Value
	g.Fake = channeltest.NewFake(t, true, func(_ *http.Request, body string) channeltest.Answer {
		said.Store(body)
		return channeltest.Answer{Status: 400, Body: fmt.Sprintf(`{"error":"invalid_request","error_description":%q}`, body)}
	})
	r := results(t, g.sender(t, channel.Options{}, nil), job(), targets(1))[0]
	form, err := url.ParseQuery(said.Load().(string))
	if err != nil {
		t.Fatal(err)
	}
	if channeltest.Shows(r.Words, form.Get("assertion")) {
		t.Errorf("the words show the assertion: %s", r.Words)
	}
}

// TestTokensAreNotDroppedInARow keeps a server that refuses every token from being asked
// for more of them.
func TestTokensAreNotDroppedInARow(t *testing.T) {
	s := newGoogle(t, true).sender(t, channel.Options{}, nil).tokens
	var ahead atomic.Int64
	s.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	token := func() *bearer {
		b, err := s.token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := token()
	for range 2 { // two requests were refused with it
		if !s.drop(first) {
			t.Error("the first token that is refused cannot be replaced")
		}
	}
	second := token()
	if second == first {
		t.Error("a token that was refused is used again")
	}
	if s.drop(second) {
		t.Error("the second token is dropped right after the first")
	}
	ahead.Store(int64(fetchAgain + time.Second))
	if !s.drop(second) {
		t.Error("the second token is never dropped")
	}
}
