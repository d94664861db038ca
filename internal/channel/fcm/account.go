package fcm

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"tidings/internal/channel"
)

// An account is what matters of the JSON file of a service account.
type account struct {
	Type      string `json:"type"`
	ProjectID string `json:"project_id"`
	KeyID     string `json:"private_key_id"`
	Key       string `json:"private_key"`
	Email     string `json:"client_email"`
	TokenURI  string `json:"token_uri"`
}

// String hides the account.
func (account) String() string { return "******" }

// GoString hides the account from %#v.
func (account) GoString() string { return "******" }

// maxAccount bounds the file, in bytes; those of Google have 2400. minKeyBits is what
// Google signs with at least.
const (
	maxAccount = 64 << 10
	minKeyBits = 2048
)

// Google's rules for the names: ids of projects as its documents say, with the domain that
// the ids of some old ones begin with.
var (
	projectID = regexp.MustCompile(`^([a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	keyID     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
	email     = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,100}@[A-Za-z0-9.-]{1,200}$`)
)

// account reads and checks the JSON file of a service account.
func (d *Driver) account(secret channel.Secret) (*account, error) {
	if len(secret) > maxAccount {
		return nil, fmt.Errorf("the service account has %d bytes, want at most %d", len(secret), maxAccount)
	}
	var a account
	if err := json.Unmarshal(secret, &a); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
			return nil, fmt.Errorf("%s of the service account is no string", wrong.Field)
		}
		return nil, errors.New("the service account is no JSON object")
	}
	for _, m := range []struct {
		name, value string
		ok          bool
		want        string
	}{
		{"type", a.Type, a.Type == "service_account", `want "service_account"`},
		{"project_id", a.ProjectID, projectID.MatchString(a.ProjectID), "want the id of a project"},
		{"private_key_id", a.KeyID, keyID.MatchString(a.KeyID), "want the id of a key"},
		{"client_email", a.Email, email.MatchString(a.Email), "want an address"},
		{"token_uri", a.TokenURI, a.TokenURI == GoogleTokenURL || a.TokenURI == d.token.String(), "want " + GoogleTokenURL + " or what the server's configuration names"},
		{"private_key", a.Key, true, ""},
	} {
		if m.value == "" {
			return nil, fmt.Errorf("%s of the service account is missing", m.name)
		}
		if !m.ok {
			return nil, fmt.Errorf("%s of the service account is wrong: %s", m.name, m.want)
		}
	}
	if err := checkKey(a.Key); err != nil {
		return nil, fmt.Errorf("private_key of the service account: %w", err)
	}
	return &a, nil
}

// checkKey returns why a PEM text is no key that Google takes.
func checkKey(text string) error {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return errors.New("is no PEM block")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return errors.New("has more than one PEM block")
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return err
	}
	if bits := key.N.BitLen(); bits < minKeyBits {
		return fmt.Errorf("has %d bits, want %d or more", bits, minKeyBits)
	}
	return key.Validate()
}

func parseKey(der []byte) (*rsa.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("is no key in PKCS #8") // the cause might quote it
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("is no RSA key")
	}
	return private, nil
}

// The most that options may hold; FCM has no limits of its own for them.
const (
	maxPackage   = 255
	maxChannelID = 255
	maxClick     = 2048
)

// checkOptions returns why options of a certificate are no good for FCM.
func checkOptions(o channel.Options) error {
	if len(o.Package) > maxPackage {
		return fmt.Errorf("package has %d bytes, want at most %d", len(o.Package), maxPackage)
	}
	if len(o.ChannelID) > maxChannelID {
		return fmt.Errorf("channel_id has %d bytes, want at most %d", len(o.ChannelID), maxChannelID)
	}
	if len(o.Click.Target) > maxClick {
		return fmt.Errorf("click.target has %d bytes, want at most %d", len(o.Click.Target), maxClick)
	}
	switch o.Click.Action {
	case "", channel.ClickApp:
	case channel.ClickPage:
		if o.Click.Target == "" {
			return errors.New("click.target is empty, want the intent action of the page")
		}
	case channel.ClickURL:
		if u, err := url.Parse(o.Click.Target); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("click.target %q is no URL of a web page", o.Click.Target)
		}
	default:
		return fmt.Errorf("click.action %q, want app, url or page", o.Click.Action)
	}
	return nil
}
