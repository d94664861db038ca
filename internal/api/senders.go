package api

import (
	"fmt"

	"tidings/internal/app"
	"tidings/internal/channel"
)

// senders are Senders that a preview asks what they would send. They are opened when they are
// needed first, and make no connection.
type senders struct {
	server *Server
	app    *app.App
	open   map[int]channel.Sender // by certificate
	failed map[int]error
}

// of returns the Sender of a certificate, or why there is none.
func (s *senders) of(certificate int) (channel.Sender, error) {
	if sender := s.open[certificate]; sender != nil {
		return sender, nil
	}
	if err := s.failed[certificate]; err != nil {
		return nil, err
	}
	sender, err := s.begin(certificate)
	if err != nil {
		s.failed[certificate] = err
		return nil, err
	}
	s.open[certificate] = sender
	return sender, nil
}

func (s *senders) begin(certificate int) (channel.Sender, error) {
	c := s.app.Certificate(certificate)
	if c == nil {
		return nil, fmt.Errorf("certificate %d was removed", certificate)
	}
	driver := s.server.drivers[c.Provider]
	if driver == nil {
		return nil, fmt.Errorf("this server cannot send through %s", c.Provider)
	}
	secret, err := s.server.unseal(s.app.ID, c)
	if err != nil {
		return nil, fmt.Errorf("the credential of certificate %d cannot be unsealed: %w", certificate, err)
	}
	return driver.Open(channel.Credential{App: s.app.ID, Certificate: certificate, Options: c.Options, Secret: secret}, nil)
}

// limits returns what the provider of a certificate can take that has a Sender.
func (s *senders) limits(certificate int) channel.Limits {
	c := s.app.Certificate(certificate)
	return s.server.drivers[c.Provider].Limits(c.Options)
}

func (s *senders) close() {
	for _, sender := range s.open {
		_ = sender.Close() // nothing was sent
	}
}
