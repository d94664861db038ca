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
	MaxCertificates = 100 // of an app
	maxLabelBytes   = 100
)

// announcements are how long before its end the end of a certificate is announced
// (push.md 4).
var announcements = [...]time.Duration{60 * 24 * time.Hour, 14 * 24 * time.Hour, 24 * time.Hour}

// Ended is the last stage of the end of a certificate.
const Ended = len(announcements) + 1

// EndStage returns how near the end of the certificate is: 0 not near or never, then
// one more at 60, at 14 and at 1 days before, and then Ended.
func (c *Certificate) EndStage(now time.Time) int {
	if c.Ends.IsZero() {
		return 0
	}
	left, stage := c.Ends.Sub(now), 0
	for _, before := range announcements {
		if left <= before {
			stage++
		}
	}
	if left <= 0 {
		stage++
	}
	return stage
}

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

// MayAdd returns why the app cannot have one more certificate with a name.
func (a *App) MayAdd(name string) error {
	if len(a.Certificates) >= MaxCertificates {
		return errorf("app %d has %d certificates, remove one first", a.ID, len(a.Certificates))
	}
	return a.checkCertificateName(name)
}

// checkCertificateName returns why no other certificate of the app can have a name.
func (a *App) checkCertificateName(name string) error {
	if err := checkLabel(name); err != nil {
		return err
	}
	if name != "" && slices.ContainsFunc(a.Certificates, func(c Certificate) bool { return c.Name == name }) {
		return errorf("app %d has a certificate %q already", a.ID, name)
	}
	return nil
}

// checkLabel returns why a certificate or an AppKey cannot have a name. It may have none.
func checkLabel(name string) error {
	switch {
	case len(name) > maxLabelBytes:
		return errorf("the name has %d bytes, it may have %d", len(name), maxLabelBytes)
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
	_, err := r.update(ctx, id, func(a *App) (err error) {
		if err := a.MayAdd(c.Name); err != nil {
			return err
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

// SetCertificate changes name and options of a certificate, those that are not nil.
func (r *Registry) SetCertificate(ctx context.Context, id uint32, certificate int, name *string, o *channel.Options) (Certificate, error) {
	var changed Certificate
	_, err := r.update(ctx, id, func(a *App) error {
		c, err := a.certificate(certificate)
		if err != nil {
			return err
		}
		if name != nil && *name != c.Name {
			if err := a.checkCertificateName(*name); err != nil {
				return err
			}
			c.Name = *name
		}
		if o != nil {
			c.Options = *o
		}
		changed = *c
		return nil
	})
	return changed, err
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
