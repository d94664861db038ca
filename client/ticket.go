package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"tidings/internal/usersig"
)

// A ticketSource returns the ticket for an attempt.
type ticketSource interface {
	ticket(ctx context.Context) (string, error)
	// refused is called when the server found a ticket expired or invalidated.
	refused(ticket string)
}

// A sourced ticket comes from the caller, who has no secret key.
type sourced func(context.Context) (string, error)

func (s sourced) ticket(ctx context.Context) (string, error) {
	ticket, err := s(ctx)
	if err == nil && ticket == "" {
		err = errors.New("client: the ticket source gave an empty ticket")
	}
	return ticket, err
}

func (s sourced) refused(string) {}

// A signer makes tickets. It returns the same ticket until a tenth of that ticket's life
// is left.
type signer struct {
	secret     string
	sdkappid   uint32
	identifier string
	life       time.Duration

	mu     sync.Mutex
	last   string
	issued time.Time
}

func (s *signer) ticket(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Round(0) makes the wall clock count, not the time that this machine was awake.
	if now := time.Now().Round(0); s.last == "" || now.Sub(s.issued) >= s.life-s.life/10 || now.Before(s.issued) {
		s.last = usersig.Make(s.secret, s.sdkappid, s.identifier, now, s.life, nil)
		s.issued = now
	}
	return s.last, nil
}

func (s *signer) refused(ticket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == ticket {
		s.last = ""
	}
}
