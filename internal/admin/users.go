package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/transfer"
)

// MaxDeleted is how many users one request may delete.
const MaxDeleted = 1000

// deleteBatch is how many users are deleted under the lock of their app at a time, as
// many as a request of the API may delete.
const deleteBatch = 100

type (
	// UsersRequest names users of an app.
	UsersRequest struct {
		ID       uint32   `json:"sdkappid"`
		Accounts []string `json:"accounts"`
	}
	// Deletion says what became of a list of users.
	Deletion struct {
		Deleted  int                `json:"deleted"`
		Failures []transfer.Failure `json:"failures"` // their lines are places in the list, from 0
	}
	// User holds what is known of an account, in the words of the API.
	User struct {
		Account        string            `json:"To_Account"`
		Exists         bool              `json:"Exists"`
		Kind           audience.Kind     `json:"AccountType"`
		Admin          bool              `json:"Admin"`
		Attrs          map[string]string `json:"Attrs"`
		Tags           []string          `json:"Tags"`
		Nick           string            `json:"Nick,omitempty"`
		FaceURL        string            `json:"FaceUrl,omitempty"`
		Created        time.Time         `json:"Created,omitzero"`
		TicketsInvalid time.Time         `json:"TicketsInvalidUpTo,omitzero"` // those issued up to then
	}
)

// showUser also answers about an account that does not exist: its tickets may have been
// made invalid when it was deleted.
func (s *Service) showUser(ctx context.Context, in AccountRequest) (User, error) {
	a, err := s.find(in.ID)
	if err != nil {
		return User{}, err
	}
	u := User{Account: in.Account, Admin: a.IsAdmin(in.Account), Attrs: map[string]string{}, Tags: []string{}}
	found, err := s.Users.User(ctx, in.ID, in.Account)
	if err != nil && !errors.Is(err, apierr.UnknownAccount) {
		return User{}, err
	}
	if found != nil {
		u.Exists, u.Kind, u.Nick, u.FaceURL, u.Created = true, found.Kind, found.Nick, found.FaceURL, time.Unix(int64(found.Created), 0).UTC()
		u.Tags = append(u.Tags, found.Tags...)
		for slot, value := range found.Values {
			if value != "" {
				u.Attrs[a.Attributes[slot].Name] = value
			}
		}
	}
	upTo, err := s.Users.RevokedUpTo(ctx, in.ID, in.Account)
	if err != nil {
		return User{}, err
	}
	if upTo != 0 {
		u.TicketsInvalid = time.Unix(upTo, 0).UTC()
	}
	return u, nil
}

// deleteUsers deletes users of both account types. It does so whatever delete_accounts
// says, which is about the API.
func (s *Service) deleteUsers(ctx context.Context, in UsersRequest) (Deletion, error) {
	d := Deletion{Failures: []transfer.Failure{}}
	if _, err := s.find(in.ID); err != nil {
		return d, err
	}
	if n := len(in.Accounts); n > MaxDeleted {
		return d, &app.Error{Msg: fmt.Sprintf("accounts has %d names, a request may have %d", n, MaxDeleted)}
	}
	first := 0
	for accounts := range slices.Chunk(in.Accounts, deleteBatch) {
		found, err := s.Users.Users(ctx, in.ID, accounts)
		if err != nil {
			return d, err
		}
		outcomes := make([]*apierr.Error, len(accounts))
		for _, kind := range []audience.Kind{audience.UserID, audience.RegistrationID} {
			var names []string
			var places []int
			for i, account := range accounts {
				if found[i].Kind == kind { // of one that does not exist it is UserID
					names, places = append(names, account), append(places, i)
				}
			}
			if len(names) == 0 {
				continue
			}
			answers, err := s.Users.Delete(ctx, in.ID, kind, names)
			if err != nil {
				return d, err
			}
			for i, answer := range answers {
				outcomes[places[i]] = answer
			}
		}
		for i, outcome := range outcomes {
			if outcome == nil {
				d.Deleted++
				continue
			}
			d.Failures = append(d.Failures, transfer.Failure{Line: first + i, Account: accounts[i], Reason: outcome.Info()})
		}
		first += len(accounts)
	}
	return d, nil
}

func (s *Service) importUsers(ctx context.Context, in transfer.Chunk, lines io.Reader, out *Answer) error {
	return s.applyChunk(ctx, in, false, lines, out)
}

func (s *Service) tryImport(ctx context.Context, in transfer.Chunk, lines io.Reader, out *Answer) error {
	return s.applyChunk(ctx, in, true, lines, out)
}

func (s *Service) applyChunk(ctx context.Context, in transfer.Chunk, dryRun bool, lines io.Reader, out *Answer) error {
	if _, err := s.find(in.App); err != nil {
		return err
	}
	result, err := transfer.Apply(ctx, s.Apps, s.Users, in, dryRun, lines)
	if err != nil {
		return err
	}
	return out.result("users", result)
}

// result answers what became of a chunk, of users or devices, and logs its numbers.
func (out *Answer) result(what string, r *transfer.Result) error {
	out.facts = []slog.Attr{slog.Int(what, r.Users), slog.Int("created", r.Created), slog.Int("changed", r.Changed), slog.Int("bad", len(r.Failures))}
	return json.NewEncoder(out).Encode(r)
}
