// Package credential seals the credentials of certificates: they are stored, logged by the
// journal and copied into backups only encrypted, with a key that lies elsewhere.
//
// The cipher is AES-256-GCM with a random nonce, of the standard library. Random nonces
// of 96 bits are safe for 2^32 credentials under one key, and an app has a hundred, so the
// longer nonces of XChaCha20-Poly1305 would be worth no dependency. What is sealed
// belongs to one place: app, certificate, provider and version are authenticated with it,
// so a record that is moved to another place, or is put back to an earlier version, does
// not open.
//
// A sealed credential is
//
//	1   format, 1
//	8   id of the key
//	12  nonce
//	    the credential, encrypted
//	16  tag
//
// The id is what a wrong key is told from damage by. It is a hash of the key, which has 256
// random bits, and tells nothing of it.
package credential

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"tidings/internal/app"
	"tidings/internal/channel"
)

const (
	format    = 1
	keyBytes  = 32
	idBytes   = 8
	idContext = "tidings key of credentials\x00" // what the hash of a key is for
)

// MaxBytes is the most that a credential may have. A service account has some 2400 bytes,
// a .p12 file with its chain 8000. The record of an app, which is written with each change
// of the app, holds all of them.
const MaxBytes = 16 << 10

// A Key seals and opens credentials. It prints as its id. It is safe for concurrent use.
type Key struct {
	id   [idBytes]byte
	aead cipher.AEAD
	none error // why there is no key; nil: there is one
}

// ErrDamaged is the error of a sealed credential that is not as it was sealed, or belongs
// to another certificate.
var ErrDamaged = errors.New("the stored credential is damaged")

// A WrongKey is the error of a credential that was sealed with another key.
type WrongKey struct{ Sealed, Have string }

func (e *WrongKey) Error() string {
	return fmt.Sprintf("the credential was sealed with key %s, and the key of credentials is %s", e.Sealed, e.Have)
}

// NewText returns the text of a new random key, as the file of a key holds it: 64 lower-case
// hexadecimal digits.
func NewText() string {
	var key [keyBytes]byte
	_, _ = rand.Read(key[:]) // never fails
	return hex.EncodeToString(key[:])
}

// MaxText is more than the text of a key has, with white space around it.
const MaxText = 1 << 10

// Parse returns the key of a text. Its errors show nothing of the text.
func Parse(text string) (*Key, error) {
	digits := strings.TrimSpace(text)
	key, err := hex.DecodeString(digits)
	switch {
	case digits == "":
		return nil, errors.New("it is empty")
	case err != nil || len(key) != keyBytes:
		return nil, fmt.Errorf("it does not hold %d hexadecimal digits, such as openssl rand -hex %d prints", 2*keyBytes, keyBytes)
	case bytes.Count(key, key[:1]) == keyBytes:
		return nil, errors.New("its digits are not random")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	k := new(Key)
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(idContext), key...))
	copy(k.id[:], sum[:])
	return k, nil
}

// Missing returns a Key in the place of one that cannot be had: it seals and opens nothing
// and answers why.
func Missing(why error) *Key { return &Key{none: why} }

// Err returns why there is no key; nil if there is one.
func (k *Key) Err() error {
	if k == nil {
		return errors.New("there is no key of credentials")
	}
	return k.none
}

// ID returns the id of the key: 16 hexadecimal digits, which everybody may see.
func (k *Key) ID() string {
	if k.Err() != nil {
		return "none"
	}
	return hex.EncodeToString(k.id[:])
}

// String returns the id, and nothing of the key.
func (k *Key) String() string { return k.ID() }

// GoString hides the key from %#v.
func (k *Key) GoString() string { return k.ID() }

// LogValue hides the key from logs.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.ID()) }

// Sealed reports whether this key has sealed a credential, as far as its head says.
func (k *Key) Sealed(sealed []byte) bool {
	return k.Err() == nil && len(sealed) > 1+idBytes && bytes.Equal(sealed[1:1+idBytes], k.id[:])
}

// A Place is what a sealed credential belongs to.
type Place struct {
	App         uint32
	Certificate int
	Provider    channel.Provider
	Version     int
}

// bytes returns what is authenticated with a credential: the head, and its place with
// fixed lengths before the provider.
func (p Place) bytes(head []byte) []byte {
	b := bytes.Clone(head)
	b = binary.BigEndian.AppendUint32(b, p.App)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Certificate))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Version))
	return append(b, p.Provider...)
}

// Seal returns a credential encrypted for a place.
func (k *Key) Seal(p Place, secret channel.Secret) ([]byte, error) {
	if err := k.Err(); err != nil {
		return nil, err
	}
	if len(secret) == 0 || len(secret) > MaxBytes {
		return nil, fmt.Errorf("a credential has 1 to %d bytes, this one has %d", MaxBytes, len(secret))
	}
	head := append([]byte{format}, k.id[:]...)
	return k.aead.Seal(bytes.Clone(head), nil, secret, p.bytes(head)), nil
}

// Open returns the credential of a certificate of an app, with its options. The error says
// whether the key is missing, wrong (*WrongKey), or the credential is not as it was sealed
// (ErrDamaged); it holds nothing of the credential.
func (k *Key) Open(id uint32, c *app.Certificate) (channel.Credential, error) {
	secret, err := k.open(Place{id, c.ID, c.Provider, c.Version}, c.Sealed)
	if err != nil {
		return channel.Credential{}, fmt.Errorf("certificate %d of app %d: %w", c.ID, id, err)
	}
	return channel.Credential{App: id, Certificate: c.ID, Options: c.Options, Secret: secret}, nil
}

func (k *Key) open(p Place, sealed []byte) (channel.Secret, error) {
	if err := k.Err(); err != nil {
		return nil, err
	}
	const headBytes = 1 + idBytes
	if len(sealed) < headBytes {
		return nil, ErrDamaged
	}
	head := sealed[:headBytes]
	if head[0] != format {
		return nil, fmt.Errorf("the stored credential has format %d, this program reads %d", head[0], format)
	}
	if !bytes.Equal(head[1:], k.id[:]) {
		return nil, &WrongKey{Sealed: hex.EncodeToString(head[1:]), Have: k.ID()}
	}
	secret, err := k.aead.Open(nil, nil, sealed[headBytes:], p.bytes(head))
	if err != nil {
		return nil, ErrDamaged
	}
	return secret, nil
}
