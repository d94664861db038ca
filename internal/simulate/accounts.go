package simulate

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// accountFile is the service account in Options.Dir.
const accountFile = "service-account.json"

// keyBits is the size of Google's keys.
const keyBits = 2048

// A serviceAccount is the credential as Google hands it out.
type serviceAccount struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	ClientEmail  string `json:"client_email"`
	ClientID     string `json:"client_id"`
	AuthURI      string `json:"auth_uri"`
	TokenURI     string `json:"token_uri"`
	Universe     string `json:"universe_domain"`
}

// An account is what the Simulator knows of a service account.
type account struct {
	project, email, keyID string
	key                   *rsa.PublicKey
	json                  []byte
}

// A grant is an access token.
type grant struct {
	account *account
	scoped  bool // it may send messages
	ends    time.Time
}

// maxGrants bounds the access tokens that are good at a time.
const maxGrants = 4096

// accounts are the service accounts and the access tokens of a Simulator.
type accounts struct {
	url     string // of the Simulator, without TLS
	first   *account
	mu      sync.RWMutex
	byEmail map[string]*account
	grants  map[string]grant
}

// sharedKey is the key of all first accounts that are kept nowhere: to make one takes a
// tenth of a second, which tests should not pay each. An assertion for one Simulator is
// not good at another, since it names the token endpoint.
var sharedKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, keyBits) })

// openAccounts makes the first account, with the key in o.Dir if there is one.
func openAccounts(o Options, url string) (*accounts, error) {
	a := &accounts{url: url, byEmail: map[string]*account{}, grants: map[string]grant{}}
	key, err := readKey(o.Dir)
	if err != nil {
		return nil, err
	}
	if a.first, err = a.add(o.Project, "simulator@"+o.Project+".iam.gserviceaccount.com", key); err != nil {
		return nil, err
	}
	if o.Dir == "" {
		return a, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	return a, os.WriteFile(filepath.Join(o.Dir, accountFile), a.first.json, 0o600)
}

func readKey(dir string) (*rsa.PrivateKey, error) {
	if dir == "" {
		return sharedKey()
	}
	path := filepath.Join(dir, accountFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return rsa.GenerateKey(rand.Reader, keyBits)
	}
	if err != nil {
		return nil, err
	}
	var s serviceAccount
	wrong := fmt.Errorf("%s is no service account of the simulator: remove it", path)
	if json.Unmarshal(text, &s) != nil {
		return nil, wrong
	}
	block, _ := pem.Decode([]byte(s.PrivateKey))
	if block == nil {
		return nil, wrong
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if key, ok := parsed.(*rsa.PrivateKey); err == nil && ok {
		return key, nil
	}
	return nil, wrong
}

func (a *accounts) add(project, email string, key *rsa.PrivateKey) (*account, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(x509.MarshalPKCS1PublicKey(&key.PublicKey)) // a name, as Google's of 40 digits
	acc := &account{project: project, email: email, keyID: hex.EncodeToString(sum[:]), key: &key.PublicKey}
	acc.json, err = json.MarshalIndent(serviceAccount{
		Type:         "service_account",
		ProjectID:    project,
		PrivateKeyID: acc.keyID,
		PrivateKey:   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		ClientEmail:  email,
		ClientID:     "100000000000000000001",
		AuthURI:      a.url + "/o/oauth2/auth",
		TokenURI:     a.url + tokenPath,
		Universe:     "googleapis.com",
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	acc.json = append(acc.json, '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.byEmail) >= maxAccounts {
		return nil, fmt.Errorf("there are %d service accounts already", maxAccounts)
	}
	a.byEmail[email] = acc
	return acc, nil
}

// maxAccounts bounds the service accounts of a Simulator.
const maxAccounts = 1000

// ServiceAccount returns the credential to give to a sender: the JSON file of a service
// account, whose token_uri is the Simulator's.
func (s *Simulator) ServiceAccount() []byte { return append([]byte(nil), s.accounts.first.json...) }

// AddServiceAccount makes another service account with a key of its own, for the same or
// another project, and returns its JSON file.
func (s *Simulator) AddServiceAccount(project string) ([]byte, error) {
	if !isProject(project) {
		return nil, fmt.Errorf("the project %q is none, want 4 to 30 of a-z, 0-9 and -", project)
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	s.accounts.mu.RLock()
	n := len(s.accounts.byEmail)
	s.accounts.mu.RUnlock()
	acc, err := s.accounts.add(project, fmt.Sprintf("simulator-%d-%s@%s.iam.gserviceaccount.com", n, rand.Text()[:6], project), key)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), acc.json...), nil
}

// AccessToken returns an access token of the first service account, as the token endpoint
// issues them, for clients that are not to sign anything.
func (s *Simulator) AccessToken() string {
	s.ledger.issued.Add(1)
	return s.accounts.issue(s.accounts.first, true, s.state.now(), s.options.TokenLife)
}

// ExpireTokens ends all access tokens that were issued. New ones can be had.
func (s *Simulator) ExpireTokens() {
	s.accounts.mu.Lock()
	defer s.accounts.mu.Unlock()
	clear(s.accounts.grants)
}

// byToken returns the grant of an access token that is good.
func (a *accounts) byToken(token string, now time.Time) (grant, bool) {
	a.mu.RLock()
	g, ok := a.grants[token]
	a.mu.RUnlock()
	return g, ok && now.Before(g.ends)
}

// issue makes an access token.
func (a *accounts) issue(acc *account, scoped bool, now time.Time, life time.Duration) string {
	token := "ya29.simulator." + rand.Text() + rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.grants) >= maxGrants {
		for t, g := range a.grants {
			if !now.Before(g.ends) || len(a.grants) >= maxGrants {
				delete(a.grants, t)
			}
		}
	}
	a.grants[token] = grant{acc, scoped, now.Add(life)}
	return token
}

// hasProject reports whether any account belongs to a project.
func (a *accounts) hasProject(project string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, acc := range a.byEmail {
		if acc.project == project {
			return true
		}
	}
	return false
}
