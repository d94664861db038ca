package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
	"tidings/internal/wording"
)

// The requests of the operations on certificates.
type (
	// NewCertificateRequest adds a certificate.
	NewCertificateRequest struct {
		ID       uint32           `json:"sdkappid"`
		Provider channel.Provider `json:"provider"`
		Name     string           `json:"name,omitempty"`
		Options  channel.Options  `json:"options,omitzero"`
		Secret   []byte           `json:"secret"`            // the content of the file that the provider gave
		Offline  bool             `json:"offline,omitempty"` // the provider is not asked
	}
	// ReplaceRequest gives a certificate another credential.
	ReplaceRequest struct {
		ID          uint32           `json:"sdkappid"`
		Certificate int              `json:"certificate"`
		Options     *channel.Options `json:"options,omitempty"` // nil: they stay
		Secret      []byte           `json:"secret"`
		Offline     bool             `json:"offline,omitempty"`
	}
	// SetCertificateRequest changes what it says of a certificate, and not the credential.
	SetCertificateRequest struct {
		ID          uint32           `json:"sdkappid"`
		Certificate int              `json:"certificate"`
		Name        *string          `json:"name,omitempty"`
		Options     *channel.Options `json:"options,omitempty"`
	}
	// CertificateRequest names a certificate.
	CertificateRequest struct {
		ID          uint32 `json:"sdkappid"`
		Certificate int    `json:"certificate"`
	}
	// RemoveCertificateRequest removes a certificate; one that devices name only if Used is
	// set.
	RemoveCertificateRequest struct {
		ID          uint32 `json:"sdkappid"`
		Certificate int    `json:"certificate"`
		Used        bool   `json:"used,omitempty"`
	}
)

// The results.
type (
	// Certificate is a certificate as the operator sees it, without its credential.
	Certificate struct {
		ID       int              `json:"id"`
		Provider channel.Provider `json:"provider"`
		Name     string           `json:"name,omitempty"`
		Options  channel.Options  `json:"options,omitzero"`
		Hint     string           `json:"hint,omitempty"`
		State    CertificateState `json:"state"`
		Reason   string           `json:"reason,omitempty"` // why it is unusable
		Version  int              `json:"version"`
		Created  time.Time        `json:"created"`
		Replaced time.Time        `json:"replaced,omitzero"`
		Ends     time.Time        `json:"ends,omitzero"`
		Devices  *int             `json:"devices,omitempty"` // that name it, where that was counted
		Health   *channel.Health  `json:"health,omitempty"`  // what the provider said just now
	}
	// CertificateTest is what a provider said about a credential.
	CertificateTest struct {
		channel.Health
		Clock time.Duration `json:"clock,omitempty"` // by how much the provider's clock is ahead, in nanoseconds
	}
)

// A CertificateState says in a word what a certificate is good for.
type CertificateState string

// The states.
const (
	Usable   CertificateState = "usable"
	Ending   CertificateState = "ending"   // within 60 days
	Ended    CertificateState = "ended"    // the provider takes it no more
	Blocked  CertificateState = "blocked"  // nothing is sent with it until somebody acts
	Unusable CertificateState = "unusable" // its credential cannot be opened
)

// testTimeout bounds the test of a credential.
const testTimeout = 30 * time.Second

func (s *Service) viewCertificate(id uint32, c *app.Certificate) Certificate {
	v := Certificate{
		ID: c.ID, Provider: c.Provider, Name: c.Name, Options: c.Options, Hint: c.Hint, State: Usable,
		Version: c.Version, Created: c.Created, Replaced: c.Replaced, Ends: c.Ends,
	}
	switch stage := c.EndStage(time.Now()); {
	case stage == app.Ended:
		v.State = Ended
	case stage > 0:
		v.State = Ending
	}
	if s.Blocked != nil {
		if reason, blocked := s.Blocked(id, c.ID); blocked {
			v.State, v.Reason = Blocked, reason
		}
	}
	if _, err := s.Key.Open(id, c); err != nil {
		v.State, v.Reason = Unusable, err.Error()
	}
	return v
}

// findCertificate returns a certificate of an app.
func (s *Service) findCertificate(id uint32, certificate int) (*app.Certificate, error) {
	a, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if c := a.Certificate(certificate); c != nil {
		return c, nil
	}
	return nil, &app.Error{Msg: fmt.Sprintf("app %d has no certificate %d; tidings channel list --app %d shows them", id, certificate, id)}
}

// driver returns what reaches a provider.
func (s *Service) driver(p channel.Provider) (channel.Driver, error) {
	if s.Drivers == nil {
		return nil, &app.Error{Msg: "this needs a server that runs on the data directory: the server has the key of credentials and the addresses of providers"}
	}
	if d := s.Drivers[p]; d != nil {
		return d, nil
	}
	var known []string
	for _, p := range channel.Providers() {
		if s.Drivers[p] != nil {
			known = append(known, string(p))
		}
	}
	return nil, &app.Error{Msg: fmt.Sprintf("provider %.50q is none that this program reaches: %s", p, strings.Join(known, ", "))}
}

// checkCredential returns what a credential says about itself, if it can be used, and asks
// the provider unless offline.
func (s *Service) checkCredential(ctx context.Context, p channel.Provider, c channel.Credential, offline bool) (facts channel.Facts, health *channel.Health, err error) {
	d, err := s.driver(p)
	if err != nil {
		return facts, nil, err
	}
	if err := s.Key.Err(); err != nil {
		return facts, nil, &app.Error{Msg: fmt.Sprintf("no credential can be stored: %v", err)}
	}
	if n := len(c.Secret); n == 0 || n > credential.MaxBytes {
		return facts, nil, &app.Error{Msg: fmt.Sprintf("a credential has 1 to %d bytes, this one has %d", credential.MaxBytes, n)}
	}
	if err := c.Options.Check(); err != nil {
		return facts, nil, &app.Error{Msg: fmt.Sprintf("options: %v", err)}
	}
	if facts, err = d.Check(c.Secret, c.Options); err != nil {
		return facts, nil, &app.Error{Msg: fmt.Sprintf("the credential cannot be used: %v", err)}
	}
	if !facts.Ends.IsZero() && !facts.Ends.After(time.Now()) {
		return facts, nil, &app.Error{Msg: fmt.Sprintf("the credential ended at %s", facts.Ends.UTC().Format(time.RFC3339))}
	}
	if offline {
		return facts, nil, nil
	}
	t, err := test(ctx, d, c)
	if err != nil {
		return facts, nil, &app.Error{Msg: fmt.Sprintf("the credential could not be tried out, and nothing has changed (--offline does without the test): %v", err)}
	}
	if !t.OK {
		return facts, nil, &app.Error{Msg: fmt.Sprintf("%s refuses the credential: %s", p, t.Words)}
	}
	return facts, &t.Health, nil
}

// test asks a provider about a credential, over connections of its own, so that nothing
// that is being sent notices.
func test(ctx context.Context, d channel.Driver, c channel.Credential) (t CertificateTest, err error) {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	sender, err := d.Open(c, nil)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, sender.Close()) }()
	if t.Health, err = sender.Test(ctx); err != nil {
		return t, err
	}
	t.Words, t.Clock = wording.Clip(t.Words, channel.MaxWords), sender.Clock()
	return t, nil
}

// seal returns what encrypts a credential for its place.
func (s *Service) seal(id uint32, p channel.Provider, secret channel.Secret) app.Seal {
	return func(certificate, version int) ([]byte, error) {
		return s.Key.Seal(credential.Place{App: id, Certificate: certificate, Provider: p, Version: version}, secret)
	}
}

// maxHint bounds what is shown of a credential.
const maxHint = 200

func (s *Service) addCertificate(ctx context.Context, in NewCertificateRequest) (Certificate, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return Certificate{}, err
	}
	if err := a.MayAdd(in.Name); err != nil {
		return Certificate{}, err // before the provider is asked
	}
	facts, health, err := s.checkCredential(ctx, in.Provider, channel.Credential{App: in.ID, Options: in.Options, Secret: in.Secret}, in.Offline)
	if err != nil {
		return Certificate{}, err
	}
	c, err := s.Apps.AddCertificate(ctx, in.ID, app.Certificate{
		Provider: in.Provider, Name: in.Name, Options: in.Options, Hint: wording.Clip(facts.Hint, maxHint), Ends: facts.Ends.UTC(),
	}, s.seal(in.ID, in.Provider, in.Secret))
	if err != nil {
		return Certificate{}, err
	}
	v := s.viewCertificate(in.ID, &c)
	v.Health = health
	return v, nil
}

func (s *Service) replaceCertificate(ctx context.Context, in ReplaceRequest) (Certificate, error) {
	old, err := s.findCertificate(in.ID, in.Certificate)
	if err != nil {
		return Certificate{}, err
	}
	options := old.Options
	if in.Options != nil {
		options = *in.Options
	}
	facts, health, err := s.checkCredential(ctx, old.Provider, channel.Credential{App: in.ID, Certificate: in.Certificate, Options: options, Secret: in.Secret}, in.Offline)
	if err != nil {
		return Certificate{}, err
	}
	c, err := s.Apps.ReplaceCertificate(ctx, in.ID, app.Certificate{
		ID: in.Certificate, Provider: old.Provider, Options: options, Hint: wording.Clip(facts.Hint, maxHint), Ends: facts.Ends.UTC(),
	}, s.seal(in.ID, old.Provider, in.Secret))
	if err != nil {
		return Certificate{}, err
	}
	v := s.viewCertificate(in.ID, &c)
	v.Health = health
	return v, nil
}

// setCertificate checks new options against the credential if that can be opened.
func (s *Service) setCertificate(ctx context.Context, in SetCertificateRequest) (Certificate, error) {
	old, err := s.findCertificate(in.ID, in.Certificate)
	if err != nil {
		return Certificate{}, err
	}
	if in.Options != nil {
		if err := in.Options.Check(); err != nil {
			return Certificate{}, &app.Error{Msg: fmt.Sprintf("options: %v", err)}
		}
		if c, err := s.Key.Open(in.ID, old); err == nil && s.Drivers[old.Provider] != nil {
			if _, err := s.Drivers[old.Provider].Check(c.Secret, *in.Options); err != nil {
				return Certificate{}, &app.Error{Msg: fmt.Sprintf("the credential cannot be used with these options: %v", err)}
			}
		}
	}
	c, err := s.Apps.SetCertificate(ctx, in.ID, in.Certificate, in.Name, in.Options)
	if err != nil {
		return Certificate{}, err
	}
	return s.viewCertificate(in.ID, &c), nil
}

func (s *Service) listCertificates(_ context.Context, in AppRequest) ([]Certificate, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return nil, err
	}
	list := []Certificate{}
	for i := range a.Certificates {
		list = append(list, s.viewCertificate(a.ID, &a.Certificates[i]))
	}
	return list, nil
}

// showCertificate counts the devices that name the certificate.
func (s *Service) showCertificate(ctx context.Context, in CertificateRequest) (Certificate, error) {
	c, err := s.findCertificate(in.ID, in.Certificate)
	if err != nil {
		return Certificate{}, err
	}
	v := s.viewCertificate(in.ID, c)
	v.Devices, err = s.certificateUse(ctx, in.ID, in.Certificate)
	return v, err
}

// certificateUse returns how many devices name a certificate; nil if nobody knows.
func (s *Service) certificateUse(ctx context.Context, id uint32, certificate int) (*int, error) {
	if s.CertificateUse == nil {
		return nil, nil
	}
	n, err := s.CertificateUse(ctx, id, certificate)
	if err != nil {
		return nil, err
	}
	return &n, nil
}

func (s *Service) testCertificate(ctx context.Context, in CertificateRequest) (CertificateTest, error) {
	c, err := s.findCertificate(in.ID, in.Certificate)
	if err != nil {
		return CertificateTest{}, err
	}
	d, err := s.driver(c.Provider)
	if err != nil {
		return CertificateTest{}, err
	}
	opened, err := s.Key.Open(in.ID, c)
	if err != nil {
		return CertificateTest{}, &app.Error{Msg: err.Error()}
	}
	t, err := test(ctx, d, opened)
	if err != nil {
		return CertificateTest{}, &app.Error{Msg: fmt.Sprintf("certificate %d of app %d could not be tried out: %v", in.Certificate, in.ID, err)}
	}
	return t, nil
}

func (s *Service) removeCertificate(ctx context.Context, in RemoveCertificateRequest) (None, error) {
	if _, err := s.findCertificate(in.ID, in.Certificate); err != nil {
		return None{}, err
	}
	if !in.Used {
		devices, err := s.certificateUse(ctx, in.ID, in.Certificate)
		if err != nil {
			return None{}, err
		}
		if devices != nil && *devices > 0 {
			return None{}, &app.Error{Msg: fmt.Sprintf("%d devices name certificate %d of app %d and could not be reached through it any more", *devices, in.Certificate, in.ID)}
		}
	}
	return None{}, s.Apps.RemoveCertificate(ctx, in.ID, in.Certificate)
}
