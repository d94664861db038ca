package simulate

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// start starts a simulator for a test.
func start(t testing.TB, o Options) *Simulator {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// protocols are the ways to speak to a simulator.
var protocols = []string{"h2c", "h2", "http/1.1", "http/1.1 TLS"}

// A sender is a client of a simulator, written without regard to our own.
type sender struct {
	t      testing.TB
	url    string
	client *http.Client
	access string
}

// dial returns a sender that speaks a protocol and has an access token.
func dial(t testing.TB, s *Simulator, protocol string) *sender {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	from := &sender{t: t, url: s.URL(), client: &http.Client{Transport: tr, Timeout: time.Minute}}
	switch protocol {
	case "h2c":
		tr.Protocols.SetUnencryptedHTTP2(true)
	case "http/1.1":
		tr.Protocols.SetHTTP1(true)
	default:
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(s.CA()) {
			t.Fatal("the authority is no certificate")
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool}
		tr.Protocols.SetHTTP1(protocol != "h2")
		tr.Protocols.SetHTTP2(protocol == "h2")
		from.url = s.TLSURL()
	}
	t.Cleanup(tr.CloseIdleConnections)
	from.access = from.login(s.ServiceAccount())
	return from
}

// keyOf returns the parts of a service account.
func keyOf(t testing.TB, text []byte) (serviceAccount, *rsa.PrivateKey) {
	t.Helper()
	var account serviceAccount
	if err := json.Unmarshal(text, &account); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(account.PrivateKey))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return account, key.(*rsa.PrivateKey)
}

// claimsOf returns the claims and the header that a good assertion has.
func claimsOf(account serviceAccount, now time.Time) (head, claims map[string]any) {
	return map[string]any{"alg": "RS256", "typ": "JWT", "kid": account.PrivateKeyID}, map[string]any{
		"iss": account.ClientEmail, "scope": scopeMessaging, "aud": account.TokenURI,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// sign returns an assertion.
func sign(t testing.TB, key *rsa.PrivateKey, head, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(head) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// login returns an access token for a service account.
func (c *sender) login(account []byte) string {
	c.t.Helper()
	parts, key := keyOf(c.t, account)
	head, claims := claimsOf(parts, time.Now())
	r := c.ask(sign(c.t, key, head, claims))
	if r.status != 200 {
		c.t.Fatalf("the token endpoint answers %d %s", r.status, r.body)
	}
	var got struct {
		Access string `json:"access_token"`
		Type   string `json:"token_type"`
		In     int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || got.Access == "" || got.Type != "Bearer" || got.In < 1 {
		c.t.Fatalf("the token endpoint answers %s", r.body)
	}
	return got.Access
}

// A reply is what a simulator answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends an assertion to the token endpoint.
func (c *sender) ask(assertion string) reply {
	c.t.Helper()
	form := url.Values{"grant_type": {grantType}, "assertion": {assertion}}
	return c.must(c.do("POST", tokenPath, "application/x-www-form-urlencoded", form.Encode()))
}

func (c *sender) must(r reply, err error) reply {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// do sends a request.
func (c *sender) do(method, path, kind, body string) (reply, error) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	return c.doContext(ctx, method, path, kind, body)
}

func (c *sender) doContext(ctx context.Context, method, path, kind, body string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if c.access != "" {
		req.Header.Set("Authorization", "Bearer "+c.access)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(text)}, err
}

// post sends a body to messages:send.
func (c *sender) post(body string) (reply, error) {
	return c.do("POST", fcmPath+defaultProject+fcmSend, "application/json", body)
}

// send sends a small message to a token.
func (c *sender) send(token, id string) (reply, error) { return c.post(messageTo(token, id)) }

func messageTo(token, id string) string {
	return fmt.Sprintf(`{"message":{"token":%q,"notification":{"title":"T","body":"B"},"data":{"tidings":%q}}}`, token, id)
}

// control sends a request to the control API and decodes the answer.
func (c *sender) control(method, path, body string, into any) reply {
	c.t.Helper()
	r := c.must(c.do(method, controlPath+path, "application/json", body))
	if into != nil && r.status == 200 {
		if err := json.Unmarshal([]byte(r.body), into); err != nil {
			c.t.Fatalf("%s %s answers %s", method, path, r.body)
		}
	}
	return r
}
