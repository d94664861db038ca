package audience

import (
	"context"
	"errors"
	"iter"
	"time"

	"tidings/internal/apierr"
)

// ErrStale is the error of changes that were made from an app which is another one by
// now: a slot that they set has another name or account type, a slot that they empty has
// another name, or who asked for them may not have them made any more (WithAuthority).
// Nothing was changed. The caller checks and maps names to slots again, with the app as
// it is.
var ErrStale = errors.New("the app has changed")

// A Store keeps the users of apps. Each method returns when what it changed, and
// what it tells, is durable: no answer shows what a crash could take back, and
// whoever asks after a change was answered sees it. An app that does not exist is
// apierr.UnknownApp.
//
// If ctx ends while a call waits for the disk, its changes are made all or none,
// and the error is the cause of ctx.
type Store interface {
	// Change makes changes to accounts, in order, each whole or not at all.
	// Those that cannot be made come back as failures and the others are made.
	// ErrStale refuses all.
	Change(ctx context.Context, app uint32, changes []Change) ([]Failure, error)
	// Users reads accounts, one answer for each in the same order, all as they
	// are at one moment.
	Users(ctx context.Context, app uint32, accounts []string) ([]User, error)
	// Delete takes accounts of a kind away with all their data, and makes the
	// tickets that were issued for them up to now invalid. The answer has an
	// element for each account in the same order: nil for one that was deleted,
	// 70107 for one that does not exist, 70402 for an admin of the app.
	Delete(ctx context.Context, app uint32, kind Kind, accounts []string) ([]*apierr.Error, error)
	// Revoke makes the tickets of a UserID issued up to a second invalid; a
	// second before one that was given earlier changes nothing. An account that
	// does not exist, or is a RegistrationID, is 70107.
	Revoke(ctx context.Context, app uint32, account string, upTo time.Time) error
	// RevokedUpTo returns the Unix second up to which the tickets of an account
	// are invalid; 0 if none are, or if there is no such app.
	RevokedUpTo(ctx context.Context, app uint32, account string) (int64, error)

	// Estimate counts an audience and each of its clauses, and picks sample
	// accounts evenly spread over it.
	Estimate(ctx context.Context, app uint32, q Query, sample int) (Estimate, error)
	// Explain returns which clauses are true of an account, and what it has;
	// 70107 if there is no such account.
	Explain(ctx context.Context, app uint32, q Query, account string) (Explanation, error)
	// List lists the accounts of an audience in the order in which they were
	// made (one may have the place of an account deleted before), from the
	// beginning or after a page. The audience is fixed with the
	// first page; accounts deleted since are left out. A token that is unknown or
	// too old is 95003.
	List(ctx context.Context, app uint32, q Query, limit int, after string) (Page, error)
	// AttrValues lists the values of a slot that begin with a prefix, those of
	// most users first, and returns how many there are.
	AttrValues(ctx context.Context, app uint32, slot int, prefix string, limit int) ([]ValueCount, int, error)
	// Tags lists the tags that begin with a prefix, those of most users first,
	// and returns how many there are.
	Tags(ctx context.Context, app uint32, prefix string, limit int) ([]ValueCount, int, error)

	// Import makes changes in batches, in order, each change whole or not at all.
	// Between two batches other requests get their turn. It calls failed with
	// what could not be changed, by its position over all batches, and returns
	// when the others are durable. With dryRun it changes nothing and fails what
	// could not be changed as things are: it does not add up what the changes
	// before would have done.
	//
	// If ctx ends or the disk fails, the changes made are those of the batches
	// before some moment.
	Import(ctx context.Context, app uint32, batches iter.Seq[[]Change], dryRun bool, failed func(i int, err *apierr.Error)) error
	// Export calls begin with the attributes of an app and then each with its
	// users in the order in which they were made (as in List), all as they are at one moment after
	// every change that was answered before. What each is given is valid during
	// the call.
	Export(ctx context.Context, app uint32, begin func(*Attributes) error, each func(*Exported) error) error
	// Count returns how many accounts an app has; 0 if there is no such app.
	Count(ctx context.Context, app uint32) (int, error)
}

// WithAuthority returns a context for a change that is to be made only as long as valid
// returns true: a Store asks it under the lock of the app, before it changes anything, and
// refuses with ErrStale if it is not. So whoever may make a change may do so when it is
// made, not only when it was asked for. Valid must be quick and take no lock.
func WithAuthority(ctx context.Context, valid func() bool) context.Context {
	return context.WithValue(ctx, authorityKey{}, valid)
}

type authorityKey struct{}

// Authorized reports whether a change may still be made; it may if nothing was said about
// it.
func Authorized(ctx context.Context) bool {
	valid, ok := ctx.Value(authorityKey{}).(func() bool)
	return !ok || valid()
}
