package client

import (
	"context"
)

// An Account is a UserID and its profile.
type Account struct {
	UserID  string  // 1 to 32 bytes
	Nick    *string `json:",omitempty"` // nickname, at most 500 bytes; nil leaves it as it is
	FaceURL *string `json:"FaceUrl,omitempty"`
}

// check returns an error for text that is not UTF-8.
func (a Account) check(command string) error {
	for _, s := range []*string{&a.UserID, a.Nick, a.FaceURL} {
		if s != nil {
			if err := checkText(command, *s); err != nil {
				return err
			}
		}
	}
	return nil
}

// ImportAccount creates an account. If the account exists, only the profile fields that
// are not nil change. An app may have a limit of accounts ([ErrAccountLimit]), and a
// wait before a deleted account can be created again ([ErrReimportTooSoon]).
//
// Limit: 200 calls per second. Command: im_open_login_svc/account_import.
func (c *Client) ImportAccount(ctx context.Context, account Account) error {
	const command = "im_open_login_svc/account_import"
	if err := account.check(command); err != nil {
		return err
	}
	return c.Call(ctx, command, account, nil)
}

// ImportAccounts creates accounts as [Client.ImportAccount] does. Accounts that were not
// created are reported in [*AccountErrors], with code 0: the command does not say why.
// The error is [ErrAccountLimit] if the app has no room for any account of a request.
//
// Limit: 100 requests per second, of [MaxUsers] accounts each. Command:
// im_open_login_svc/multiaccount_import.
func (c *Client) ImportAccounts(ctx context.Context, accounts []Account) error {
	const command = "im_open_login_svc/multiaccount_import"
	type request struct{ AccountList []Account }
	for _, a := range accounts {
		if err := a.check(command); err != nil {
			return err
		}
	}
	return inChunks(accounts, func(chunk []Account) error {
		var out struct{ FailAccounts []string }
		if err := c.Call(ctx, command, request{chunk}, &out); err != nil {
			return err
		}
		var failed []AccountError
		for _, id := range out.FailAccounts {
			failed = append(failed, AccountError{Account: id, Info: "not imported"})
		}
		return accountErrors(command, failed)
	})
}

// A userID is an element of a list of accounts.
type userID struct{ UserID string }

// userIDs returns the list of accounts for a request.
func userIDs(ids []string) []userID {
	list := make([]userID, len(ids))
	for i, id := range ids {
		list[i].UserID = id
	}
	return list
}

// results is the answer of account_check and account_delete.
type results struct {
	ResultItem []struct {
		UserID        string
		ResultCode    Code
		ResultInfo    string
		AccountStatus string
	}
}

// failed returns the error for the accounts whose result is not success.
func (r results) failed(command string) error {
	var list []AccountError
	for _, item := range r.ResultItem {
		if item.ResultCode != 0 {
			list = append(list, AccountError{Account: item.UserID, Code: item.ResultCode, Info: item.ResultInfo})
		}
	}
	return accountErrors(command, list)
}

// accountErrors returns the error for a list of failures; nil if it is empty.
func accountErrors(command string, list []AccountError) error {
	if len(list) == 0 {
		return nil
	}
	return &AccountErrors{Command: command, List: list}
}

// CheckAccounts reports which accounts exist. The map has every account that could be
// looked up, and true for those that exist. The others are reported in
// [*AccountErrors].
//
// Limit: 100 requests per second, of [MaxUsers] accounts each. Command:
// im_open_login_svc/account_check.
func (c *Client) CheckAccounts(ctx context.Context, ids []string) (map[string]bool, error) {
	const command = "im_open_login_svc/account_check"
	type request struct{ CheckItem []userID }
	if err := checkText(command, ids...); err != nil {
		return nil, err
	}
	exist := make(map[string]bool, len(ids))
	err := inChunks(ids, func(chunk []string) error {
		var out results
		if err := c.Call(ctx, command, request{userIDs(chunk)}, &out); err != nil {
			return err
		}
		for _, item := range out.ResultItem {
			if item.ResultCode == 0 {
				exist[item.UserID] = item.AccountStatus == "Imported"
			}
		}
		return out.failed(command)
	})
	return exist, err
}

// DeleteAccounts deletes accounts for good, with their attributes and tags, and
// invalidates their tickets. Accounts that do not exist ([ErrUnknownAccount]) and admins
// ([ErrBadAccountField]) are reported in [*AccountErrors]. A request that is repeated
// after a lost answer may therefore report accounts as unknown that it deleted itself.
//
// Limit: 100 requests per second, of [MaxUsers] accounts each. Command:
// im_open_login_svc/account_delete.
func (c *Client) DeleteAccounts(ctx context.Context, ids []string) error {
	const command = "im_open_login_svc/account_delete"
	type request struct{ DeleteItem []userID }
	if err := checkText(command, ids...); err != nil {
		return err
	}
	return inChunks(ids, func(chunk []string) error {
		var out results
		if err := c.Call(ctx, command, request{userIDs(chunk)}, &out); err != nil {
			return err
		}
		return out.failed(command)
	})
}

// Kick invalidates all tickets of an account that were issued up to now. A ticket issued
// in the next second or later is good. An account that does not exist is
// [ErrUnknownAccount].
//
// A Client whose own admin is kicked makes a new ticket.
//
// Limit: 200 calls per second. Command: im_open_login_svc/kick.
func (c *Client) Kick(ctx context.Context, id string) error {
	const command = "im_open_login_svc/kick"
	if err := checkText(command, id); err != nil {
		return err
	}
	return c.Call(ctx, command, userID{id}, nil)
}
