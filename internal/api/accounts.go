package api

import (
	"context"
	"slices"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/gate"
)

// The texts of ResultInfo that public samples show (spec/conventions.md, 2.4).
const infoNoAccount = "Err_TLS_PT_Open_Login_Account_Not_Exist"

type accountImportRequest struct {
	UserID     *string `account:"yes" note:"1 to 32 bytes"`      // The account. It is needed, under this name or the older one.
	Identifier *string `account:"yes"`                           // The older name of UserID, read if UserID is absent.
	Nick       *string `note:"at most 500 bytes"`                // The nickname.
	FaceURL    *string `json:"FaceUrl" note:"at most 500 bytes"` // The address of a picture.
}

// accountImport creates an account. If the account exists, the fields that are present
// replace the stored ones. An app may have rules about the accounts that it takes: 70398
// and 70399.
// Contract: spec/conventions.md, 5.1.
func (s *Server) accountImport(ctx context.Context, c *gate.Caller, in *accountImportRequest) (out struct{}, err error) {
	id, err := oneUserID(in.UserID, in.Identifier)
	if err != nil {
		return out, err
	}
	change, err := importChange(c.App, id, in.Nick, in.FaceURL)
	if err != nil {
		return out, err
	}
	failures, err := s.users.Change(ctx, c.App.ID, []audience.Change{change})
	if err == nil && len(failures) > 0 {
		err = importFailure(failures[0])
	}
	return out, err
}

// importFailure returns why an account was not imported. To these commands a
// RegistrationID does not exist, and its name is none for a UserID.
func importFailure(f audience.Failure) error {
	if f.Err.Kind == apierr.WrongAccountKind {
		return apierr.BadAccountField.Errorf("UserID %s is a RegistrationID", gate.Quote(f.Account))
	}
	return f.Err
}

// oneUserID is the account of a request that has one, under its newer or its
// older name.
func oneUserID(newer, older *string) (string, error) {
	if newer == nil {
		newer = older
	}
	if newer == nil {
		return "", apierr.BadAccountField.Errorf("UserID is missing")
	}
	return *newer, nil
}

// importChange checks one account to import.
func importChange(a *app.App, id string, nick, face *string) (audience.Change, error) {
	change := audience.Change{Account: id, Create: true, Kind: audience.UserID, OfKind: true}
	if err := a.Settings.UserIDs.Check(id); err != nil {
		return change, apierr.BadAccountField.Errorf("UserID %v", err)
	}
	change.Profile = audience.Profile{Nick: nick, FaceURL: face}
	for _, field := range []struct {
		name  string
		value *string
	}{{"Nick", nick}, {"FaceUrl", face}} {
		if field.value != nil && len(*field.value) > audience.MaxProfileBytes {
			return change, apierr.ProfileTooLong.Errorf("%s has %d bytes, it may have %d", field.name, len(*field.value), audience.MaxProfileBytes)
		}
	}
	return change, nil
}

type multiAccountImportRequest struct {
	// The accounts to create. They are needed, in this form or the older one.
	AccountList []importItem `items:"0-100" over:"70402"`
	// The older form of AccountList: names only. It is read if AccountList is absent.
	Accounts []string `items:"0-100" account:"yes"`
}

type importItem struct {
	UserID  string  `need:"yes" account:"yes" note:"1 to 32 bytes"` // The account.
	Nick    *string `note:"at most 500 bytes"`                      // The nickname.
	FaceURL *string `json:"FaceUrl" note:"at most 500 bytes"`       // The address of a picture.
}

type multiAccountImportResponse struct {
	// The accounts that were not created: the name may not be a UserID or is a
	// RegistrationID, a profile value is too long, or the app's max_accounts or
	// reimport_wait forbids it.
	FailAccounts []string
}

// multiAccountImport creates at most 100 accounts. The accounts that cannot be created
// are listed, the others are done. If the app has no room for any account of the
// request, the whole request is answered 70398. Contract: spec/conventions.md, 5.2.
func (s *Server) multiAccountImport(ctx context.Context, c *gate.Caller, in *multiAccountImportRequest) (out multiAccountImportResponse, err error) {
	out.FailAccounts = []string{}
	items := in.AccountList
	if items == nil && in.Accounts != nil {
		items = make([]importItem, len(in.Accounts))
		for i, id := range in.Accounts {
			items[i].UserID = id
		}
	}
	switch {
	case len(items) == 0:
		return out, apierr.BadAccountField.Errorf("AccountList is missing or empty")
	case len(items) > audience.MaxUsers:
		return out, apierr.BadAccountField.Errorf("Accounts has more than %d entries", audience.MaxUsers)
	}
	failed := make([]bool, len(items))
	changes := make([]audience.Change, 0, len(items))
	for i, item := range items {
		change, err := importChange(c.App, item.UserID, item.Nick, item.FaceURL)
		if err != nil {
			failed[i] = true
			continue
		}
		changes = append(changes, change)
	}
	failures, err := s.users.Change(ctx, c.App.ID, changes)
	if err != nil {
		return out, err
	}
	if len(changes) > 0 && len(failures) == len(changes) && !slices.ContainsFunc(failures, otherThanLimit) {
		return out, failures[0].Err
	}
	for i, item := range items {
		id := item.UserID
		if !failed[i] && len(failures) > 0 && failures[0].Account == id { // they come in the order of the changes
			failed[i], failures = true, failures[1:]
		}
		if failed[i] {
			out.FailAccounts = append(out.FailAccounts, id)
		}
	}
	return out, nil
}

// otherThanLimit reports whether a failure has another reason than the app's
// limit of accounts.
func otherThanLimit(f audience.Failure) bool { return f.Err.Kind != apierr.AccountLimit }

type accountItem struct {
	UserID string `need:"yes" account:"yes"` // The account.
}

// userIDs returns the accounts of a list of items.
func userIDs(items []accountItem) []string {
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.UserID
	}
	return ids
}

type accountDeleteRequest struct {
	DeleteItem []accountItem `need:"yes" items:"1-100" over:"70402"` // The accounts to delete.
}

type accountDeleteResponse struct {
	ResultItem []deleteResult // One entry for each of the request, in its order.
}

type deleteResult struct {
	ResultCode int    // 0 if the account was deleted, 70107 if it does not exist, 70402 if it is an admin of the app.
	ResultInfo string // Why the account was not deleted.
	UserID     string // The account.
}

// accountDelete deletes at most 100 accounts with all their data. It cannot be undone. An
// account that does not exist, and an admin of the app, is reported in its item. Contract:
// spec/conventions.md, 5.3 and 4.
func (s *Server) accountDelete(ctx context.Context, c *gate.Caller, in *accountDeleteRequest) (out accountDeleteResponse, err error) {
	if c.App.Settings.KeepAccounts {
		return out, apierr.DeletionNotEnabled
	}
	ids := userIDs(in.DeleteItem)
	out.ResultItem = make([]deleteResult, len(ids))
	answers, err := s.users.Delete(ctx, c.App.ID, audience.UserID, ids)
	if err != nil {
		return out, err
	}
	for i, e := range answers {
		out.ResultItem[i].UserID = ids[i]
		switch {
		case e == nil:
		case e.Kind == apierr.UnknownAccount:
			out.ResultItem[i].ResultCode = e.Kind.Code
			out.ResultItem[i].ResultInfo = infoNoAccount
		default:
			out.ResultItem[i].ResultCode = e.Kind.Code
			out.ResultItem[i].ResultInfo = e.Info()
		}
	}
	return out, nil
}

type accountCheckRequest struct {
	CheckItem []accountItem `need:"yes" items:"1-100" over:"70402"` // The accounts to check.
}

type accountCheckResponse struct {
	ResultItem []checkResult // One entry for each of the request, in its order.
}

type checkResult struct {
	UserID        string // The account.
	ResultCode    int    // Always 0.
	ResultInfo    string // Always empty.
	AccountStatus string // Imported or NotImported.
}

// accountCheck reports which of at most 100 accounts exist. Contract:
// spec/conventions.md, 5.4.
func (s *Server) accountCheck(ctx context.Context, c *gate.Caller, in *accountCheckRequest) (out accountCheckResponse, err error) {
	ids := userIDs(in.CheckItem)
	users, err := s.users.Users(ctx, c.App.ID, ids)
	if err != nil {
		return out, err
	}
	out.ResultItem = make([]checkResult, len(ids))
	for i, id := range ids {
		out.ResultItem[i] = checkResult{UserID: id, AccountStatus: "NotImported"}
		if users[i].Exists && users[i].Kind == audience.UserID {
			out.ResultItem[i].AccountStatus = "Imported"
		}
	}
	return out, nil
}

type kickRequest struct {
	UserID     *string `account:"yes"` // The account. It is needed, under this name or the older one.
	Identifier *string `account:"yes"` // The older name of UserID, read if UserID is absent.
}

// kick invalidates every ticket that was issued for an account so far, those of this
// second included. Calls with one of them are answered 70052. Contract: spec/conventions.md, 5.5.
func (s *Server) kick(ctx context.Context, c *gate.Caller, in *kickRequest) (out struct{}, err error) {
	id, err := oneUserID(in.UserID, in.Identifier)
	if err != nil {
		return out, err
	}
	if err := app.CheckRegistrationID(id); err != nil { // which may have every name that a UserID may have
		return out, apierr.BadAccountField.Errorf("UserID %v", err)
	}
	// Tickets that were verified before are verified again: those used while this
	// waits for the disk, and, whatever Revoke returns, those used later. If it
	// runs out of time the invalidation may come all the same.
	renewed := s.apps.Renew(c.App)
	if renewed == nil {
		return out, audience.ErrStale
	}
	defer s.apps.Forget(c.App.ID)
	ctx = audience.WithAuthority(ctx, func() bool { return s.apps.App(renewed.ID) == renewed })
	return out, s.users.Revoke(ctx, c.App.ID, id, c.Now)
}
