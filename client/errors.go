package client

import (
	"fmt"
	"strconv"
	"strings"
)

// A Code is an ErrorCode of the API. It is an error itself, for errors.Is.
type Code int

// The codes that programs may want to handle. The server's doc/errors.md has all codes.
const (
	ErrRateLimited       Code = 60007 // this command is called too often
	ErrAppRateLimited    Code = 60011 // the app calls too often
	ErrAppDisabled       Code = 60016 // the operator has disabled the app
	ErrCommandDisabled   Code = 60017 // this command is switched off for the app
	ErrOverloaded        Code = 60018 // the server has too many requests
	ErrBadQuery          Code = 60025 // a parameter in the URL is wrong
	ErrTicketExpired     Code = 70001 // a ticket from a ticket source is too old
	ErrTicketMalformed   Code = 70003 // a ticket from a ticket source is broken, or the clock is far ahead
	ErrTicketForged      Code = 70009 // the secret key is not one of the app
	ErrNoKey             Code = 70016 // the app has no key
	ErrUnknownApp        Code = 70020 // there is no such app
	ErrTicketThrottled   Code = 70050 // too many wrong tickets; try again after a minute
	ErrTicketInvalidated Code = 70052 // the tickets of the admin were invalidated
	ErrUnknownAccount    Code = 70107 // there is no such account
	ErrAccountLimit      Code = 70398 // the app has as many accounts as it may have
	ErrReimportTooSoon   Code = 70399 // the account was deleted and may not be made again yet
	ErrBadAccountField   Code = 70402 // a field of an account command is wrong
	ErrNotAdminAccounts  Code = 70403 // the identifier is no admin: account commands
	ErrDeletionDisabled  Code = 71000 // account deletion is switched off for the app
	ErrBadBody           Code = 90001 // the body lacks a field or has one of the wrong type
	ErrUnknownSender     Code = 90008 // the sender of a push does not exist
	ErrNotAdmin          Code = 90009 // the identifier is no admin: push commands
	ErrTooManyReceivers  Code = 90011 // more than MaxReceivers accounts in a batch
	ErrTooManyUsers      Code = 90018 // more than MaxUsers users
	ErrTagTooLong        Code = 90020 // a tag has more than 50 bytes
	ErrTagTwice          Code = 90022 // a tag is in TagsAnd and in TagsOr
	ErrPushTooSoon       Code = 90024 // pushes must be more than a second apart
	ErrTooManyTags       Code = 90032 // too many tags in a list, of a user or of the app
	ErrInvalidAttribute  Code = 90033 // an attribute is not defined, or its name or value is empty or too long
	ErrWrongAccountKind  Code = 90035 // an attribute or a tag is for the other kind of account
	ErrTagsAndAttributes Code = 90039 // a Condition has tags and attributes
	ErrEmptyTag          Code = 90040 // a tag is empty
	ErrBadNotification   Code = 90043 // a Notification is malformed
	ErrPushDisabled      Code = 90045 // the app has no certificate, or its pushes are switched off
	ErrPushQuota         Code = 90047 // the pushes of the day are used up
	ErrUnknownTask       Code = 90049 // there is no such task
	ErrPushTooLarge      Code = 90056 // a push has more than 10 KiB
	ErrDataIDTooLong     Code = 90057 // a DataID has more than 64 bytes
	ErrInternal          Code = 91000 // the server failed
	ErrBadWhere          Code = 95001 // a Where is no expression, or names an attribute that is not set
	ErrWhereTooLarge     Code = 95002 // a Where is too large
	ErrPageExpired       Code = 95003 // the next page was asked for too late
	ErrKeyReused         Code = 95010 // the key of a push was used for another push
	ErrPlanChanged       Code = 95011 // a push is not what was previewed
	ErrTooManyTasks      Code = 95012 // the app has as many unfinished tasks as it may have
	ErrTaskEnded         Code = 95013 // the task has ended
	ErrPreviewReplaced   Code = 95014 // a newer preview of the same caller has begun
	ErrBadAppKey         Code = 95020 // an AppKey is none of the app
	ErrNotYourDevice     Code = 95021 // a device belongs to somebody else, or its secret is lost

	ErrTooManyRegistrations Code = 95022 // too many devices are made from an address, or of the app
	ErrRegistrationIDTaken  Code = 95023 // a RegistrationID is a UserID
	ErrTooManyDevices       Code = 95024 // the app has as many devices as it may have
)

// Error returns the number. [Error.Info] has a text for people.
func (c Code) Error() string { return "code " + strconv.Itoa(int(c)) }

// An Error is the answer of the API to a command it refused.
type Error struct {
	Command   string // "timpush/set_attr"
	Code      Code
	Info      string // ErrorInfo, for people; its wording may change
	RequestID string // X-Request-Id, for the operator's logs; may be empty
}

// Error returns command, code, info and request id.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %d %s", e.Command, int(e.Code), e.Info)
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// Unwrap returns the code, for errors.Is.
func (e *Error) Unwrap() error { return e.Code }

// Retryable reports whether the same request may succeed later. If so, the Client has
// repeated the request as often as its [Retry] allows.
func (e *Error) Retryable() bool { return e.Code.retry() != never }

// A StatusError is an HTTP status other than 200. The API always answers 200, so
// this comes from a proxy, or from a server of another kind.
type StatusError struct {
	Command   string
	Status    int
	RequestID string // X-Request-Id; may be empty
}

// Error returns command and status.
func (e *StatusError) Error() string { return fmt.Sprintf("%s: HTTP status %d", e.Command, e.Status) }

// AccountErrors lists the accounts of a request that failed. All other accounts of the
// request were processed. errors.Is looks at the code of each account.
type AccountErrors struct {
	Command   string
	RequestID string         // X-Request-Id of the last request with a failure; may be empty
	List      []AccountError // never empty; request order
}

// An AccountError says which account failed, and why.
type AccountError struct {
	Account string `json:"To_Account"`
	Code    Code   `json:"ErrorCode"` // 0 if the command does not say why
	Info    string `json:"ErrorInfo"` // for people; may be empty
}

// Error returns the command, the number of failures, and the first three of them.
func (e *AccountErrors) Error() string {
	var b strings.Builder
	accounts := "accounts"
	if len(e.List) == 1 {
		accounts = "account"
	}
	fmt.Fprintf(&b, "%s: %d %s failed", e.Command, len(e.List), accounts)
	for i, a := range e.List {
		if i == 3 {
			b.WriteString("; ...")
			break
		}
		b.WriteString("; ")
		b.WriteString(a.Error())
	}
	return b.String()
}

// Unwrap returns the failures, for errors.Is and errors.As.
func (e *AccountErrors) Unwrap() []error {
	list := make([]error, len(e.List))
	for i, a := range e.List {
		list[i] = a
	}
	return list
}

// Error returns account, code and info.
func (e AccountError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%q: %d %s", e.Account, int(e.Code), e.Info))
}

// Unwrap returns the code, for errors.Is.
func (e AccountError) Unwrap() error { return e.Code }

// A ChunkError is the error of a call for more than MaxUsers users, some of whose
// requests were processed before another failed.
type ChunkError struct {
	Done  int            // users from the start of the list that were processed
	Total int            // users in the list
	Err   error          // why the next request failed; its users may have been processed if the answer was lost
	Users *AccountErrors // the failures among the first Done users; nil if there are none
}

// Error returns how far the call got and why it ended.
func (e *ChunkError) Error() string {
	s := fmt.Sprintf("after %d of %d users: %v", e.Done, e.Total, e.Err)
	if e.Users != nil {
		s += "; before that " + e.Users.Error()
	}
	return s
}

// Unwrap returns the cause and the accounts that failed before it.
func (e *ChunkError) Unwrap() []error {
	if e.Users == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Users}
}

// A transportError is a request without an answer.
type transportError struct {
	command string
	cause   error // without the URL
}

func (e *transportError) Error() string { return e.command + ": " + e.cause.Error() }
func (e *transportError) Unwrap() error { return e.cause }
