package admin

import (
	"context"
	"fmt"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/usersig"
)

type (
	// SigRequest asks for a ticket; of the built-in admin and for the usual time if
	// it says no more.
	SigRequest struct {
		ID         uint32        `json:"sdkappid"`
		Identifier string        `json:"identifier,omitempty"`
		Life       time.Duration `json:"life,omitempty"`
	}
	// TicketRequest asks what is wrong with a ticket, that it is not for Identifier
	// among it if one is named.
	TicketRequest struct {
		ID         uint32 `json:"sdkappid"`
		Identifier string `json:"identifier,omitempty"`
		Ticket     string `json:"usersig"`
	}
	// Sig is a ticket, or what one says.
	Sig struct {
		Ticket     string    `json:"usersig,omitempty"`
		SDKAppID   int64     `json:"sdkappid"`
		Identifier string    `json:"identifier"`
		Issued     time.Time `json:"issued"`
		Expires    time.Time `json:"expires"`
		Admin      bool      `json:"admin"` // the account may call the API
		Code       int       `json:"code"`  // 0: good
		Error      string    `json:"error,omitempty"`
	}
)

func (s *Service) makeSig(_ context.Context, in SigRequest) (Sig, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return Sig{}, err
	}
	now := time.Now()
	keys := a.GoodKeys(now)
	if len(keys) == 0 {
		return Sig{}, &app.Error{Msg: fmt.Sprintf("app %d has no key to make a usersig with; add one with tidings key add", in.ID)}
	}
	if in.Identifier == "" {
		in.Identifier = app.BuiltInAdmin
	}
	if in.Life == 0 {
		in.Life = usersig.DefaultLife
	}
	return Sig{
		Ticket:     usersig.Make(string(keys[0].Secret), a.ID, in.Identifier, now, in.Life, nil),
		SDKAppID:   int64(a.ID),
		Identifier: in.Identifier,
		Issued:     now.UTC().Truncate(time.Second),
		Expires:    now.UTC().Truncate(time.Second).Add(in.Life),
		Admin:      a.IsAdmin(in.Identifier),
	}, nil
}

// checkSig verifies a ticket as the API would, and returns what it says even if
// it is not good. Without an identifier, the ticket's own is taken.
func (s *Service) checkSig(ctx context.Context, in TicketRequest) (Sig, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return Sig{}, err
	}
	now := time.Now()
	request := usersig.Request{Ticket: in.Ticket, Identifier: in.Identifier, SDKAppID: a.ID, Now: now, Strict: s.Strict}
	for _, k := range a.GoodKeys(now) {
		request.Keys = append(request.Keys, string(k.Secret))
	}
	claims, err := usersig.Parse(in.Ticket, s.Strict)
	if err == nil {
		if request.Identifier == "" {
			request.Identifier = claims.Identifier
		}
		_, _, err = usersig.Verify(request)
	}
	out := Sig{
		SDKAppID: claims.SDKAppID, Identifier: claims.Identifier,
		Issued: time.Unix(claims.Issued, 0).UTC(), Expires: claims.Expires(), Admin: a.IsAdmin(claims.Identifier),
	}
	if err == nil {
		revoked, readErr := s.Users.RevokedUpTo(ctx, a.ID, claims.Identifier)
		if readErr != nil {
			return Sig{}, readErr
		}
		err = claims.Invalidated(revoked)
	}
	if err != nil {
		e := apierr.From(err)
		out.Code, out.Error = e.Kind.Code, e.Info()
	}
	return out, nil
}
