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

// A Store keeps the users of apps.
//
// Each method returns when everything that it changed or that it returns is durable. So
// no answer shows what a crash could take back, and a call that begins after a change
// was answered sees the change. An app that does not exist is apierr.UnknownApp.
//
// If ctx ends while a call waits for the disk, all of its changes are made or none is,
// and the error is the cause of ctx.
type Store interface {
	// Change makes changes to accounts, in order, each whole or not at all. It returns a
	// failure for each change that cannot be made, and makes the others. With ErrStale it
	// makes none.
	Change(ctx context.Context, app uint32, changes []Change) ([]Failure, error)
	// Users returns the accounts as they are at one moment, in the same order.
	Users(ctx context.Context, app uint32, accounts []string) ([]User, error)
	// User returns everything that is stored of one account. An account that does not exist
	// is 70107.
	User(ctx context.Context, app uint32, account string) (*Exported, error)
	// Delete deletes accounts of a kind with all their data, and makes the tickets invalid
	// that were issued for them up to now. It returns an error for each account, in the
	// same order: nil for one that was deleted, 70107 for one that does not exist, 70402
	// for an admin of the app.
	Delete(ctx context.Context, app uint32, kind Kind, accounts []string) ([]*apierr.Error, error)
	// Revoke makes the tickets of a UserID invalid that were issued up to a second. A
	// second before that of an earlier call changes nothing. An account that does not
	// exist, or is a RegistrationID, is 70107.
	Revoke(ctx context.Context, app uint32, account string, upTo time.Time) error
	// RevokedUpTo returns the Unix second up to which the tickets of an account
	// are invalid; 0 if none are, or if there is no such app.
	RevokedUpTo(ctx context.Context, app uint32, account string) (int64, error)

	// Estimate counts an audience and each of its clauses. It also returns up to sample
	// accounts, evenly spread over the audience.
	Estimate(ctx context.Context, app uint32, q Query, sample int) (Estimate, error)
	// Explain returns which clauses are true of an account, and the account's traits. An
	// account that does not exist is 70107.
	Explain(ctx context.Context, app uint32, q Query, account string) (Explanation, error)
	// List returns a page of the accounts of an audience, in the order in which they were
	// created, but for accounts that have the place of a deleted one. It returns the first
	// page if after is empty, else the page of that token. The audience is fixed with its
	// first page; accounts deleted since are left out. A token that is unknown or too old
	// is 95003.
	List(ctx context.Context, app uint32, q Query, limit int, after string) (Page, error)
	// AttrValues returns up to limit values of a slot that begin with a prefix, those that
	// most users have first, and how many there are.
	AttrValues(ctx context.Context, app uint32, slot int, prefix string, limit int) ([]ValueCount, int, error)
	// Tags returns up to limit tags that begin with a prefix, those that most users have
	// first, and how many there are.
	Tags(ctx context.Context, app uint32, prefix string, limit int) ([]ValueCount, int, error)

	// Import makes changes in batches, in order, each change whole or not at all. Other
	// requests get their turn between two batches. Import calls done for each change with
	// its position over all batches: with what became of the account, or with why the
	// change cannot be made. It returns when all that were made are durable. With dryRun it
	// makes no changes, and calls done with what each would come to for the users as they
	// are, without the changes before. Done may be nil.
	//
	// If ctx ends or the disk fails, the batches before some moment are made, and none
	// after it.
	Import(ctx context.Context, app uint32, batches iter.Seq[[]Change], dryRun bool, done func(i int, o Outcome, err *apierr.Error)) error
	// Export calls begin with the attributes of an app, and then each for its users, in the
	// order of List. All are as they are at one moment, which is after every change that
	// was answered before the call. The argument of each is valid until each returns.
	//
	// If query is not nil, only the users of the audience are exported that it returns for
	// the attributes of that moment. An error of query, or of the audience, comes before
	// begin is called.
	Export(ctx context.Context, app uint32, query func(*Attributes) (Query, error), begin func(*Attributes) error, each func(*Exported) error) error
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
