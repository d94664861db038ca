package client

import (
	"context"
)

// An Account is a UserID with what can be stored about it.
type Account struct {
	UserID  string  // 1 to 32 bytes
	Nick    *string `json:",omitempty"` // nickname, at most 500 bytes; nil leaves it as it is
	FaceURL *string `json:"FaceUrl,omitempty"`
}

// check refuses text that is not UTF-8.
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

// ImportAccount makes an account. If it exists already, only the profile fields
// that are not nil change. An app may have a limit of accounts
// ([ErrAccountLimit]) and a wait before a deleted account can be made again
// ([ErrReimportTooSoon]).
//
// Limit: 200 calls per second. Command: im_open_login_svc/account_import.
func (c *Client) ImportAccount(ctx context.Context, account Account) error {
	const command = "im_open_login_svc/account_import"
	if err := account.check(command); err != nil {
		return err
	}
	return c.Call(ctx, command, account, nil)
}

// ImportAccounts makes accounts as [Client.ImportAccount] does. Those that were
// not made are reported in [*AccountErrors], with code 0: this command does not
// tell why. The error is [ErrAccountLimit] if the app had no room for any of a
// request.
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

// A userID is an account in a list of them.
type userID struct{ UserID string }

// userIDs makes the list of accounts that a request carries.
func userIDs(ids []string) []userID {
	list := make([]userID, len(ids))
	for i, id := range ids {
		list[i].UserID = id
	}
	return list
}

// results are the answers for single accounts of account_check and
// account_delete.
type results struct {
	ResultItem []struct {
		UserID        string
		ResultCode    Code
		ResultInfo    string
		AccountStatus string
	}
}

// failed are the accounts whose result is not success.
func (r results) failed(command string) error {
	var list []AccountError
	for _, item := range r.ResultItem {
		if item.ResultCode != 0 {
			list = append(list, AccountError{Account: item.UserID, Code: item.ResultCode, Info: item.ResultInfo})
		}
	}
	return accountErrors(command, list)
}

// accountErrors is the error for a list of failures; nil for none.
func accountErrors(command string, list []AccountError) error {
	if len(list) == 0 {
		return nil
	}
	return &AccountErrors{Command: command, List: list}
}

// CheckAccounts tells which accounts exist. Every account that could be looked
// up is in the map, true if it exists; one that could not is reported in
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

// DeleteAccounts deletes accounts for good, with all that belongs to them:
// attributes, tags, devices, pending pushes. Accounts that do not exist
// ([ErrUnknownAccount]) and admins ([ErrBadAccountField]) are reported in
// [*AccountErrors]. A repeated request after a lost answer may therefore report
// accounts as unknown that it has deleted itself.
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

// Kick invalidates all tickets of an account issued up to now and ends its
// sessions. A ticket issued in the next second or later works again. Devices
// stay bound. An account that does not exist is [ErrUnknownAccount].
//
// A Client whose own admin is kicked makes itself a new ticket.
//
// Limit: 200 calls per second. Command: im_open_login_svc/kick.
func (c *Client) Kick(ctx context.Context, id string) error {
	const command = "im_open_login_svc/kick"
	if err := checkText(command, id); err != nil {
		return err
	}
	return c.Call(ctx, command, userID{id}, nil)
}
