package gate

import (
	"context"
	"reflect"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
)

// A Command is one row of the API. What there is to know of a command besides its
// code is here, or on the fields of its request and answer: routing, limits,
// metrics, documents, the console's forms and the tests are made from it.
type Command struct {
	Name    string         // path after /v4/: "timpush/push"
	Doc     string         // first sentence: summary; the rest: what it promises
	Spec    string         // where the contract describes it: "timpush-api.md 6"
	Family  *Family        // codes of the checks that all commands share
	Rate    Rate           // unless the app says otherwise
	Body    Limit          // of the request body; zero is the server's limit and the family's code
	Effect  Effect         // what becomes of a request that is sent twice
	Codes   []*apierr.Kind // that it may answer besides the common ones, in the order of the checks
	Refused string         // members that an answer has besides the envelope if the command failed: `"TaskId":""`
	Older   Older          // the name in the older family, if it has one
	Example string         // a body that works on the demo data
	Run     Run
}

// Names returns all names of a command: its own, and that of the older family.
func (c *Command) Names() []string {
	if c.Older.Name == "" {
		return []string{c.Name}
	}
	return []string{c.Name, c.Older.Name}
}

// An Older describes a command of the older family v4/all_member_push, which
// knows UserIDs only and no ErrorList (spec/timpush-api.md, 14).
type Older struct {
	Name  string // "all_member_push/im_push"
	Lacks string // what that edition does not have, for its documentation
	Run   Run    // zero: that of the command
}

// A Rate is how often an app may call a command.
type Rate struct{ PerSecond int }

// A Limit bounds a request body.
type Limit struct {
	Bytes int64
	Over  *apierr.Kind // nil: the family's code
}

// An Effect says what a command does to stored data. It decides what a client
// repeats after a lost answer, and what the console asks about before.
type Effect int

// The effects.
const (
	Reads      Effect = iota // changes nothing
	Repeatable               // done twice is done once
	Once                     // done twice is done twice
)

// String returns the word for an effect in documents.
func (e Effect) String() string { return [...]string{"reads", "repeatable", "once"}[e] }

// A Family holds what the commands of a service share.
type Family struct {
	NotAdmin *apierr.Kind // the caller is no admin: spec/conventions.md, 3.4
	BadJSON  *apierr.Kind // the body is no JSON object: 2.3
	BadField *apierr.Kind // a member is missing or of the wrong type: 2.3
	// BadAccount is for a member that names an account and is not a string: 2.3.
	BadAccount *apierr.Kind
	TooLarge   *apierr.Kind // 2.6
	Timeout    *apierr.Kind // 2.2
	Internal   *apierr.Kind
	// Replies are the HTTP statuses of failures, where that of a kind is not 400; nil: failures
	// have status 200, as success has (2.4).
	Replies map[*apierr.Kind]Reply
	// Strict refuses members that no request has. The other families ignore them.
	Strict bool
	// Secret says that texts of its requests may be secrets, such as the token of a device:
	// an error does not show one that stands in the wrong place.
	Secret bool
}

// Common returns the codes that every command of a family may answer, in the order of
// the checks (spec/conventions.md, 2.5).
func (f *Family) Common() []*apierr.Kind {
	return []*apierr.Kind{
		apierr.Overloaded, apierr.BadHTTP, apierr.NoSDKAppID, apierr.BadQuery, apierr.UnknownApp,
		apierr.AppDisabled, apierr.AppSuspended, apierr.AddressRefused, apierr.WrongSite,
		apierr.TicketEmpty, apierr.TicketMalformed, apierr.TicketSDKAppID, apierr.TicketIdentifier,
		apierr.TicketExpired, apierr.NoKey, apierr.TicketForged, apierr.TicketThrottled, apierr.TicketInvalidated,
		apierr.AccountBlocked, f.NotAdmin, apierr.CommandDisabled, apierr.RateLimited, apierr.AppRateLimited,
		f.TooLarge, apierr.Timeout, f.BadJSON, f.BadField, f.BadAccount, f.Timeout, f.Internal,
	}
}

// A Caller is who makes a request, after all checks.
type Caller struct {
	App   *app.App
	Name  string
	Older bool      // through the older family
	Now   time.Time // by the clock of tickets
	Body  [32]byte  // SHA-256 of the request body, if the command is done once

	// Of a request of a client app: the RegistrationID in its path, and what it showed, the
	// secret of a device, which nobody has looked at, or a good ticket of a user.
	Device, Secret, User string

	check func(account, ticket string) error
}

// CheckUser verifies the ticket of a user that is in the body of a request of a client
// app.
func (c *Caller) CheckUser(account, ticket string) error { return c.check(account, ticket) }

// A Run is the function of a command, over the types of its request and answer.
type Run struct {
	In, Out reflect.Type // structs
	Func    any          // the function itself, for its documentation
	decode  func(body []byte, f *Family) (in any, err error)
	call    func(ctx context.Context, c *Caller, in any) (out any, err error)
}

// Func creates a Run of a function.
func Func[In, Out any](f func(context.Context, *Caller, *In) (Out, error)) Run {
	plan := planOf(reflect.TypeFor[In]())
	return Run{
		In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out](), Func: f,
		decode: func(body []byte, fam *Family) (any, error) {
			in := new(In)
			return in, decode(body, in, plan, fam)
		},
		call: func(ctx context.Context, c *Caller, in any) (any, error) { return f(ctx, c, in.(*In)) },
	}
}
