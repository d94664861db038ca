package app

import (
	"context"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"tidings/internal/channel"
)

// A Certificate is what an app is known by at a provider. Devices name the certificate
// that their token belongs to by its ID, which a client app has built in: so the ID stays
// when the credential is replaced.
type Certificate struct {
	ID       int              `json:"id"` // counts from 1 in the app, never reused
	Provider channel.Provider `json:"provider"`
	Name     string           `json:"name,omitempty"` // different from the others of the app
	Options  channel.Options  `json:"options,omitzero"`
	Hint     string           `json:"hint,omitempty"` // what its credential says of itself and everybody may see
	Sealed   []byte           `json:"sealed"`         // the credential, encrypted (package credential)
	Version  int              `json:"version"`        // of the credential, from 1
	Created  time.Time        `json:"created"`
	Replaced time.Time        `json:"replaced,omitzero"` // when the credential was replaced last; zero: never
	Ends     time.Time        `json:"ends,omitzero"`     // when the credential stops to work; zero: never
}

// Limits of certificates (push.md 1).
const (
	MaxCertificates         = 100 // of an app
	maxCertificateNameBytes = 100
)

// Certificate returns a certificate of the app; nil if there is none with this ID.
func (a *App) Certificate(id int) *Certificate {
	if i, found := a.findCertificate(id); found {
		return &a.Certificates[i]
	}
	return nil
}

func (a *App) findCertificate(id int) (int, bool) {
	return slices.BinarySearchFunc(a.Certificates, id, func(c Certificate, id int) int { return c.ID - id })
}

// CheckCertificateName returns why a certificate cannot have a name. It may have none.
func CheckCertificateName(name string) error {
	switch {
	case len(name) > maxCertificateNameBytes:
		return errorf("the name of a certificate has at most %d bytes, this one has %d", maxCertificateNameBytes, len(name))
	case !utf8.ValidString(name):
		return errorf("the name %q is not UTF-8", name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return errorf("the name %q has a character that cannot be printed", name)
		}
	}
	return nil
}

// A Seal encrypts the credential of a certificate, whose ID and Version are part of what
// it protects.
type Seal func(certificate, version int) ([]byte, error)

// AddCertificate adds a certificate to an app and returns it with its ID. Of c count
// provider, name, options, hint and end.
func (r *Registry) AddCertificate(ctx context.Context, id uint32, c Certificate, seal Seal) (Certificate, error) {
	if err := CheckCertificateName(c.Name); err != nil {
		return Certificate{}, err
	}
	_, err := r.update(ctx, id, func(a *App) (err error) {
		if len(a.Certificates) >= MaxCertificates {
			return errorf("app %d has %d certificates, remove one first", id, len(a.Certificates))
		}
		if c.Name != "" && slices.ContainsFunc(a.Certificates, func(other Certificate) bool { return other.Name == c.Name }) {
			return errorf("app %d has a certificate %q already", id, c.Name)
		}
		a.NextCertificate++
		c.ID, c.Version, c.Created, c.Replaced = a.NextCertificate, 1, now(), time.Time{}
		if c.Sealed, err = seal(c.ID, c.Version); err != nil {
			return err
		}
		a.Certificates = append(a.Certificates, c)
		return nil
	})
	return c, err
}

// ReplaceCertificate gives a certificate another credential, of the same provider, with its
// hint, its end and its options.
func (r *Registry) ReplaceCertificate(ctx context.Context, id uint32, c Certificate, seal Seal) (Certificate, error) {
	var replaced Certificate
	_, err := r.update(ctx, id, func(a *App) (err error) {
		old, err := a.certificate(c.ID)
		if err != nil {
			return err
		}
		if old.Provider != c.Provider {
			return errorf("certificate %d of app %d is for %s and not for %s", c.ID, id, old.Provider, c.Provider)
		}
		old.Version++
		old.Options, old.Hint, old.Ends, old.Replaced = c.Options, c.Hint, c.Ends, now()
		if old.Sealed, err = seal(old.ID, old.Version); err != nil {
			return err
		}
		replaced = *old
		return nil
	})
	return replaced, err
}

// RemoveCertificate removes a certificate. Its ID is not given again.
func (r *Registry) RemoveCertificate(ctx context.Context, id uint32, certificate int) error {
	_, err := r.update(ctx, id, func(a *App) error {
		if _, err := a.certificate(certificate); err != nil {
			return err
		}
		a.Certificates = slices.DeleteFunc(a.Certificates, func(c Certificate) bool { return c.ID == certificate })
		return nil
	})
	return err
}

// certificate is Certificate with an error where there is none.
func (a *App) certificate(id int) (*Certificate, error) {
	c := a.Certificate(id)
	if c == nil {
		return nil, errorf("app %d has no certificate %d", a.ID, id)
	}
	return c, nil
}

// now is the moment that is noted of a change.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
