package simulate

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// tokenPath is that of the token endpoint (spec/channels.md, 5, "Auth").
const tokenPath = "/token"

const (
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

	scopeMessaging = "https://www.googleapis.com/auth/firebase.messaging"
	scopeCloud     = "https://www.googleapis.com/auth/cloud-platform" // includes the other
)

// maxForm bounds a request for an access token, and clockSkew is how far the clocks of
// client and provider may be apart.
const (
	maxForm   = 16 << 10
	clockSkew = 5 * time.Minute
	maxLife   = time.Hour
)

// A denial is why no access token is issued, in the words of RFC 6749, 5.2.
type denial struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func badGrant(description string) *denial {
	return &denial{http.StatusBadRequest, "invalid_grant", description}
}

// token answers a request for an access token.
func (s *Simulator) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		page(w, http.StatusMethodNotAllowed)
		return
	}
	var reply any
	acc, scoped, no := s.assertion(r)
	status := http.StatusOK
	if no != nil {
		s.ledger.denied.Add(1)
		reply, status = no, no.status
	} else {
		s.ledger.issued.Add(1)
		reply = s.issued(s.accounts.issue(acc, scoped, s.state.now(), s.options.TokenLife))
	}
	w.Header()["Content-Type"] = jsonType
	w.Header()["Cache-Control"] = []string{"no-cache, no-store, max-age=0, must-revalidate"}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(reply) // the client went away
}

// An accessToken is how the token endpoint answers.
type accessToken struct {
	Access string `json:"access_token"`
	In     int    `json:"expires_in"` // seconds
	Type   string `json:"token_type"`
}

func (s *Simulator) issued(token string) accessToken {
	return accessToken{token, int(s.options.TokenLife / time.Second), "Bearer"}
}

// assertion checks a request for an access token and returns whose it is, and whether
// the token may send messages.
func (s *Simulator) assertion(r *http.Request) (*account, bool, *denial) {
	form, no := readForm(r)
	if no != nil {
		return nil, false, no
	}
	if g := form["grant_type"]; len(g) != 1 || g[0] != grantType {
		return nil, false, &denial{http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: " + strings.Join(g, ", ")}
	}
	if len(form["assertion"]) != 1 {
		return nil, false, &denial{http.StatusBadRequest, "invalid_request", "Missing required parameter: assertion"}
	}
	head, claims, no := s.verify(form["assertion"][0])
	if no != nil {
		return nil, false, no
	}
	acc, no := s.account(head, claims)
	if no != nil {
		return nil, false, no
	}
	now := s.state.now()
	issued, ends := time.Unix(claims.Issued, 0), time.Unix(claims.Ends, 0)
	if issued.After(now.Add(clockSkew)) || ends.Before(now.Add(-clockSkew)) || ends.Sub(issued) > maxLife || !ends.After(issued) {
		return nil, false, badGrant("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")
	}
	if s.revoked(acc) {
		return nil, false, badGrant("Invalid JWT Signature.") // as for a key that was deleted
	}
	scopes := strings.Fields(claims.Scope)
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return !strings.HasPrefix(s, "https://www.googleapis.com/auth/") }) {
		return nil, false, &denial{http.StatusBadRequest, "invalid_scope", "Invalid OAuth scope or ID token audience provided."}
	}
	return acc, slices.Contains(scopes, scopeMessaging) || slices.Contains(scopes, scopeCloud), nil
}

func readForm(r *http.Request) (url.Values, *denial) {
	bad := func(text string) *denial { return &denial{http.StatusBadRequest, "invalid_request", text} }
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, bad("The content type must be application/x-www-form-urlencoded.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil || len(body) > maxForm {
		return nil, bad("The request is too large.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, bad("Bad form encoding.")
	}
	return form, nil
}

// The parts of an assertion (RFC 7515, 7523).
type joseHeader struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

type claimSet struct {
	Issuer   string `json:"iss"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Ends     int64  `json:"exp"`

	signed    string
	signature []byte
}

// verify takes an assertion apart.
func (s *Simulator) verify(assertion string) (head joseHeader, claims claimSet, no *denial) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return head, claims, badGrant("Bad JWT: it needs three parts.")
	}
	for i, into := range []any{&head, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return head, claims, badGrant("Bad JWT: a part is not JSON in base64url.")
		}
	}
	var err error
	if claims.signature, err = base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return head, claims, badGrant("Invalid JWT Signature.")
	}
	claims.signed = parts[0] + "." + parts[1]
	if head.Algorithm != "RS256" || head.Type != "" && head.Type != "JWT" {
		return head, claims, badGrant("Invalid JWT: only RS256 is supported.")
	}
	return head, claims, nil
}

// account returns the account that signed an assertion.
func (s *Simulator) account(head joseHeader, claims claimSet) (*account, *denial) {
	s.accounts.mu.RLock()
	acc := s.accounts.byEmail[claims.Issuer]
	s.accounts.mu.RUnlock()
	if acc == nil {
		return nil, badGrant("Invalid grant: account not found")
	}
	sum := sha256.Sum256([]byte(claims.signed))
	if head.KeyID != acc.keyID || rsa.VerifyPKCS1v15(acc.key, crypto.SHA256, sum[:], claims.signature) != nil {
		return nil, badGrant("Invalid JWT Signature.")
	}
	if claims.Audience != s.URL()+tokenPath && claims.Audience != s.TLSURL()+tokenPath {
		return nil, badGrant("Invalid JWT: Failed audience check. The right audience is " + s.URL() + tokenPath)
	}
	return acc, nil
}

// revoked reports whether the credentials of an account have stopped working.
func (s *Simulator) revoked(acc *account) bool {
	if acc != s.accounts.first {
		return false
	}
	p := s.state.plan.Load()
	return p.Revoked || p.RevokeAfter > 0 && s.ledger.delivered() >= int64(p.RevokeAfter)
}

// forbidden reports whether an account may not send any more.
func (s *Simulator) forbidden(acc *account) bool {
	if acc != s.accounts.first {
		return false
	}
	p := s.state.plan.Load()
	return p.Forbidden || p.ForbidAfter > 0 && s.ledger.delivered() >= int64(p.ForbidAfter)
}
