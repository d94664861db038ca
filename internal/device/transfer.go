package device

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/wording"
)

// SecretBytes is the length of what is kept of a secret.
const SecretBytes = 16

// A Moved is a device as a file holds it that carries devices from one server to another.
type Moved struct {
	Device
	// SecretHash is what is kept of its secret, in hexadecimal, so that the installation
	// need not register anew; empty: it has to, and takes its tokens along.
	SecretHash string `json:"secret_hash,omitempty"`
}

// ParseMoved reads a line of JSON. A device without an ID gets one that is always the same
// for its first token, so that a file can be imported again.
func ParseMoved(line []byte) (*Moved, error) {
	m := new(Moved)
	if err := json.Unmarshal(line, m, json.RejectUnknownMembers(true)); err != nil {
		return nil, mistake(err)
	}
	if m.ID == "" {
		if len(m.Tokens) == 0 {
			return nil, invalid("it has neither an id nor a token")
		}
		t := &m.Tokens[0]
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", t.Certificate, t.Kind, string(t.Address)))
		m.ID = base64.RawURLEncoding.EncodeToString(sum[:12])
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	var err error
	if m.Language, err = CanonicalLanguage(m.Language); err != nil {
		return nil, err
	}
	_, err = m.Secret()
	return m, err
}

// mistake returns a decoder's error in words that quote names and no values, since a value
// may be a token.
func mistake(err error) error {
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		where := clip(strings.ReplaceAll(strings.TrimPrefix(string(wrong.JSONPointer), "/"), "/", "."))
		switch _, isTime := errors.AsType[*time.ParseError](err); {
		case errors.Is(err, json.ErrUnknownName):
			return invalid("member %q is not known", where)
		case isTime:
			return invalid("%s is no time as RFC 3339 has it", where)
		case where == "":
			return invalid("a device is an object, and not %s", wording.JSONKind(wrong.JSONKind))
		}
		return invalid("%s: %s does not belong there", where, wording.JSONKind(wrong.JSONKind))
	}
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return invalid("the JSON ends too early")
	case errors.Is(err, jsontext.ErrDuplicateName) && ok:
		return invalid("member %q stands twice", clip(syntax.JSONPointer.LastToken()))
	case ok:
		return invalid("no JSON after %d bytes: %s", syntax.ByteOffset, strings.TrimPrefix(syntax.Err.Error(), "jsontext: "))
	}
	return invalid("no JSON")
}

func clip(name string) string { return wording.Clip(name, MaxText) }

// Secret returns what is kept of the secret.
func (m *Moved) Secret() ([]byte, error) {
	b, err := hex.DecodeString(m.SecretHash)
	if err != nil || len(b) != 0 && len(b) != SecretBytes {
		return nil, invalid("secret_hash has %d hexadecimal digits, or is not there", 2*SecretBytes)
	}
	return b, nil
}
