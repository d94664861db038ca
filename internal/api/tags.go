package api

import (
	"context"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

type addTagRequest struct {
	Replace  int64
	UserTags []userTagsEntry
}

type userTagsEntry struct {
	Account userID `json:"To_Account"`
	Tags    []text
}

// tagChanges are the changes that entries ask for, if they are well formed.
func tagChanges(entries []userTagsEntry, op audience.TagOp) ([]audience.Change, error) {
	for i, entry := range entries {
		if err := entry.Account.require("UserTags", i); err != nil {
			return nil, err
		}
		if entry.Tags == nil {
			return nil, apierr.BadJSON.Errorf("UserTags[%d].Tags is missing", i)
		}
		for j, tag := range entry.Tags {
			if !tag.set {
				return nil, apierr.BadJSON.Errorf("UserTags[%d].Tags[%d]: want a string, got null", i, j)
			}
		}
	}
	if err := countUsers("UserTags", len(entries)); err != nil {
		return nil, err
	}
	changes := make([]audience.Change, len(entries))
	for i, entry := range entries {
		tags := make([]string, len(entry.Tags))
		for j, tag := range entry.Tags {
			tags[j] = tag.value
		}
		changes[i] = audience.Change{Account: entry.Account.value, Tags: audience.TagEdit{Op: op, Tags: tags}}
	}
	return changes, nil
}

// addTag adds tags to at most 100 users, or replaces their tags. A tag that is
// empty or too long, or too many in one entry, refuses the whole request; a user
// or an app that would have too many is reported. Contract:
// spec/timpush-api.md, 5.1.
func (s *Server) addTag(ctx context.Context, c *caller, in *addTagRequest) (out accountErrors, err error) {
	op, most := audience.AddTags, audience.MaxAddTags
	if in.Replace != 0 && in.Replace != 1 {
		return out, apierr.BadJSON.Errorf("Replace: %d is neither 0 (add) nor 1 (replace)", in.Replace)
	}
	if in.Replace == 1 && !c.Legacy {
		op, most = audience.ReplaceTags, audience.MaxTags
	}
	changes, err := tagChanges(in.UserTags, op)
	if err != nil {
		return out, err
	}
	for i := range changes {
		change := &changes[i]
		change.Create = c.App.Settings.CreateAccounts && c.App.Settings.UserIDs.Check(change.Account) == nil
		if !c.Legacy {
			change.Tags.AppMax = c.App.Settings.AppTags()
		}
		if n := len(change.Tags.Tags); n > most {
			return out, apierr.TooManyTags.Errorf("UserTags[%d].Tags has %d tags, at most %d are allowed", i, n, most)
		}
		for j, tag := range change.Tags.Tags {
			if err := audience.CheckTag(tag); err != nil {
				return out, err.Kind.Errorf("UserTags[%d].Tags[%d]: %s", i, j, err.Info())
			}
		}
	}
	return s.change(ctx, c, changes)
}

type removeTagRequest struct{ UserTags []userTagsEntry }

// removeTag takes tags away from at most 100 users. A tag that a user lacks is
// no error, nor is one that no user can have. Contract: spec/timpush-api.md, 5.3.
func (s *Server) removeTag(ctx context.Context, c *caller, in *removeTagRequest) (out accountErrors, err error) {
	changes, err := tagChanges(in.UserTags, audience.RemoveTags)
	if err != nil {
		return out, err
	}
	return s.change(ctx, c, changes)
}

// clearAllTags takes all tags away from at most 100 users. Contract:
// spec/timpush-api.md, 5.4.
func (s *Server) clearAllTags(ctx context.Context, c *caller, in *accountsRequest) (out accountErrors, err error) {
	accounts, err := in.names()
	if err != nil {
		return out, err
	}
	changes := make([]audience.Change, len(accounts))
	for i, account := range accounts {
		changes[i] = audience.Change{Account: account, Tags: audience.TagEdit{Op: audience.ClearTags}}
	}
	return s.change(ctx, c, changes)
}

type getTagResponse struct {
	UserTags []userTags
	accountErrors
}

type userTags struct {
	Account string `json:"To_Account"`
	Tags    []string
}

// getTag reads the tags of at most 100 users, in the order asked; the tags of a
// user are in alphabetical order. Accounts that do not exist are in ErrorList
// instead. Contract: spec/timpush-api.md, 5.2.
func (s *Server) getTag(ctx context.Context, c *caller, in *accountsRequest) (out getTagResponse, err error) {
	out.UserTags = make([]userTags, 0, min(len(in.Accounts), audience.MaxUsers))
	out.accountErrors, err = s.eachUser(ctx, c, in, func(account string, u *audience.User) {
		out.UserTags = append(out.UserTags, userTags{account, u.Tags})
	})
	return out, err
}

// eachUser reads users and calls each for those that exist for the caller, in the
// order asked; it reports the others.
func (s *Server) eachUser(ctx context.Context, c *caller, in *accountsRequest, each func(account string, u *audience.User)) (accountErrors, error) {
	accounts, err := in.names()
	if err != nil {
		return accountErrors{}, err
	}
	users, err := s.users.Users(ctx, c.App.ID, accounts)
	if err != nil {
		return accountErrors{}, err
	}
	var failures []audience.Failure
	for i := range users {
		if u := &users[i]; u.Exists && (!c.Legacy || u.Kind == audience.UserID) {
			each(accounts[i], u)
		} else {
			failures = append(failures, audience.Failure{Account: accounts[i], Err: apierr.UnknownAccount.Errorf("account does not exist")})
		}
	}
	return c.errorList(failures), nil
}
