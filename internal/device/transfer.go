package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

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
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	m := new(Moved)
	if err := d.Decode(m); err != nil {
		if _, is := errors.AsType[*time.ParseError](err); is {
			return nil, invalid("a time is not as RFC 3339 has it")
		}
		return nil, invalid("it is no device in JSON: %s", wording.Clip(err.Error(), 200)) // which quotes names and no values
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("there is something after the device")
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
	_, err := m.Secret()
	return m, err
}

// Secret returns what is kept of the secret.
func (m *Moved) Secret() ([]byte, error) {
	b, err := hex.DecodeString(m.SecretHash)
	if err != nil || len(b) != 0 && len(b) != SecretBytes {
		return nil, invalid("secret_hash has %d hexadecimal digits, or is not there", 2*SecretBytes)
	}
	return b, nil
}
