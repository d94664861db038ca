package api

import (
	"context"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/gate"
)

type addTagRequest struct {
	// 0 adds the tags to those that a user has, 1 makes them all that the user has.
	Replace  int64       `range:"0-1"`
	UserTags []tagsToAdd `need:"yes" items:"1-100" over:"90018"` // The users and the tags for each.
}

type tagsToAdd struct {
	Account string   `json:"To_Account" need:"yes" account:"yes"`                             // The user.
	Tags    []string `need:"yes" items:"0-100" note:"10 without Replace, 1 to 50 bytes each"` // The tags. Tags that the user has already do no harm.
}

// addTag adds tags to at most 100 users, or replaces their tags. A tag that is empty or
// too long, or too many tags in one entry, refuses the whole request. Each user gets all
// tags of its entry, or none of them and an item in ErrorList. Contract:
// spec/timpush-api.md, 5.1.
func (s *Server) addTag(ctx context.Context, c *gate.Caller, in *addTagRequest) (out changeResponse, err error) {
	op, limit := audience.AddTags, audience.MaxAddTags
	if in.Replace == 1 {
		op, limit = audience.ReplaceTags, audience.MaxTags
	}
	changes := make([]audience.Change, len(in.UserTags))
	for i, entry := range in.UserTags {
		change := &changes[i]
		*change = audience.Change{Account: entry.Account, Tags: audience.TagEdit{Op: op, Tags: entry.Tags}}
		change.Create = c.App.Settings.CreateAccounts && c.App.Settings.UserIDs.Check(change.Account) == nil
		if !c.Older {
			change.Tags.AppMax = c.App.Settings.AppTags()
		}
		if len(entry.Tags) > limit {
			return out, apierr.TooManyTags.Errorf("UserTags[%d].Tags has more than %d tags", i, limit)
		}
		for j, tag := range entry.Tags {
			if err := audience.CheckTag(tag); err != nil {
				return out, err.Kind.Errorf("UserTags[%d].Tags[%d]: %s", i, j, err.Info())
			}
		}
	}
	return s.change(ctx, c, changes)
}

type imAddTagRequest struct {
	UserTags []tagsToAdd `need:"yes" items:"1-100" over:"90018"` // The users and the tags for each.
}

// imAddTag is addTag of the older family, which has no Replace.
func (s *Server) imAddTag(ctx context.Context, c *gate.Caller, in *imAddTagRequest) (changeResponse, error) {
	return s.addTag(ctx, c, &addTagRequest{UserTags: in.UserTags})
}

type removeTagRequest struct {
	UserTags []tagsToRemove `need:"yes" items:"1-100" over:"90018"` // The users and the tags to take away from each.
}

type tagsToRemove struct {
	Account string   `json:"To_Account" need:"yes" account:"yes"` // The user.
	Tags    []string `need:"yes"`                                 // The tags, any number of them.
}

// removeTag takes tags away from at most 100 users. A tag that a user lacks, or that no
// user can have, is no error. Contract: spec/timpush-api.md, 5.3.
func (s *Server) removeTag(ctx context.Context, c *gate.Caller, in *removeTagRequest) (out changeResponse, err error) {
	changes := make([]audience.Change, len(in.UserTags))
	for i, entry := range in.UserTags {
		changes[i] = audience.Change{Account: entry.Account, Tags: audience.TagEdit{Op: audience.RemoveTags, Tags: entry.Tags}}
	}
	return s.change(ctx, c, changes)
}

// clearAllTags takes all tags away from at most 100 users. Contract:
// spec/timpush-api.md, 5.4.
func (s *Server) clearAllTags(ctx context.Context, c *gate.Caller, in *accountsRequest) (out changeResponse, err error) {
	changes := make([]audience.Change, len(in.Accounts))
	for i, account := range in.Accounts {
		changes[i] = audience.Change{Account: account, Tags: audience.TagEdit{Op: audience.ClearTags}}
	}
	return s.change(ctx, c, changes)
}

type getTagResponse struct {
	UserTags []userTags // One entry for each account that exists, in the order asked.
	accountErrors
}

type userTags struct {
	Account string   `json:"To_Account"` // The account.
	Tags    []string // Its tags, in the order of their bytes.
}

// getTag reads the tags of at most 100 users. Accounts that do not exist are in ErrorList.
// Contract: spec/timpush-api.md, 5.2.
func (s *Server) getTag(ctx context.Context, c *gate.Caller, in *accountsRequest) (out getTagResponse, err error) {
	out.UserTags = make([]userTags, 0, min(len(in.Accounts), audience.MaxUsers))
	out.accountErrors, err = s.eachUser(ctx, c, in, func(account string, u *audience.User) {
		out.UserTags = append(out.UserTags, userTags{account, u.Tags})
	})
	return out, err
}

// eachUser reads users and calls each for those that exist for the caller, in the
// order asked; it reports the others.
func (s *Server) eachUser(ctx context.Context, c *gate.Caller, in *accountsRequest, each func(account string, u *audience.User)) (accountErrors, error) {
	users, err := s.users.Users(ctx, c.App.ID, in.Accounts)
	if err != nil {
		return accountErrors{}, err
	}
	var failures []audience.Failure
	for i := range users {
		if u := &users[i]; u.Exists && (!c.Older || u.Kind == audience.UserID) {
			each(in.Accounts[i], u)
		} else {
			failures = append(failures, audience.Failure{Account: in.Accounts[i], Err: apierr.UnknownAccount.Errorf("account does not exist")})
		}
	}
	return errorList(c, failures), nil
}
