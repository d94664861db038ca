package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// Import makes changes to accounts, in order, each whole or not at all. Between
// two batches other requests get their turn, so one of some hundred changes
// holds nobody up for longer than a large request does. It calls failed with
// what could not be changed, by its position over all batches, and returns when
// the others are durable. With dryRun it changes nothing and fails what could
// not be changed as things are: it does not add up what the changes before
// would have done.
//
// If ctx ends or the disk fails, the changes made are those of the batches
// before some moment.
func (s *Store) Import(ctx context.Context, app uint32, batches iter.Seq[[]audience.Change], dryRun bool, failed func(i int, err *apierr.Error)) error {
	first, seq := 0, uint64(0)
	for changes := range batches {
		for i := range changes {
			if err := storable(&changes[i]); err != nil {
				return err
			}
		}
		var err error
		if dryRun {
			err = s.tryBatch(ctx, app, changes, func(i int, err *apierr.Error) { failed(first+i, err) })
		} else {
			err = s.importBatch(ctx, app, changes, &seq, func(i int, err *apierr.Error) { failed(first+i, err) })
		}
		if err != nil {
			return err
		}
		first += len(changes)
	}
	return s.commit.waitFor(ctx, seq)
}

func (s *Store) importBatch(ctx context.Context, app uint32, changes []audience.Change, seq *uint64, failed func(int, *apierr.Error)) error {
	u, err := s.lockApp(ctx, app)
	if err != nil {
		return err
	}
	defer u.mu.Unlock()
	g, err := s.commit.add(func(b *pebble.Batch) {
		for i := range changes {
			if err := s.change(b, app, u, &changes[i]); err != nil {
				failed(i, err)
			}
		}
	})
	if err != nil {
		return err
	}
	for i := range changes {
		s.touch(u, g, changes[i].Account, seq)
	}
	return nil
}

// tryBatch fails the changes that could not be made.
func (s *Store) tryBatch(ctx context.Context, app uint32, changes []audience.Change, failed func(int, *apierr.Error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.read(ctx, app, func(u *users) error {
		for i := range changes {
			c := &changes[i]
			n, exists, kind, err := u.subject(c)
			if err == nil {
				err = u.index.CheckTags(n, exists, kind, &c.Tags)
			}
			if err != nil {
				failed(i, err)
			}
		}
		return nil
	})
}

// exportCheck is how many users are exported between two looks at the context.
const exportCheck = 1000

// Export calls begin with the attributes of an app and then each with its users
// in the order of their accounts, all as they are at one moment after every
// change that was answered before. What each is given is valid during the call.
// It holds up nobody, and begins when what it shows is durable.
func (s *Store) Export(ctx context.Context, id uint32, begin func(*audience.Attributes) error, each func(*audience.Exported) error) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	snapshot := s.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	if err := s.commit.waitFor(ctx, s.commit.newest()); err != nil { // the snapshot holds no later group
		return err
	}
	key := appendKey(nil, tableApp, id, "")
	value, closer, err := snapshot.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return apierr.UnknownApp.Errorf("app %d does not exist", id)
	}
	if err != nil {
		return err
	}
	a, err := parseApp(key, value)
	if err := errors.Join(err, closer.Close()); err != nil {
		return err
	}
	if err := begin(&a.Attributes); err != nil {
		return err
	}
	x := exporter{app: id}
	defer func() { err = errors.Join(err, x.close()) }()
	for i, table := range []byte{tableUser, tableNick, tableFace} {
		if x.tables[i], err = snapshot.NewIter(&pebble.IterOptions{LowerBound: appendKey(nil, table, id, ""), UpperBound: tableEnd(table, id)}); err != nil {
			return err
		}
		x.tables[i].First()
	}
	return x.run(ctx, each)
}

// exporter walks the tables of an app side by side.
type exporter struct {
	app    uint32
	tables [3]*pebble.Iterator // users, nicknames, pictures
}

func (x *exporter) run(ctx context.Context, each func(*audience.Exported) error) error {
	var out audience.Exported
	users := x.tables[0]
	for n := 0; users.Valid(); n++ {
		if n%exportCheck == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		value, err := users.ValueAndErr()
		if err != nil {
			return err
		}
		account := users.Key()[keyHeader:]
		r, err := parseUser(value)
		if err != nil {
			return fmt.Errorf("user %q of app %d: %w (tidings check lists everything that is wrong)", account, x.app, err)
		}
		slices.Sort(r.tags)
		out = audience.Exported{Account: string(account), Kind: r.kind, Created: r.created, Values: r.values, Tags: r.tags}
		if out.Nick, err = valueOf(x.tables[1], account); err != nil {
			return err
		}
		if out.FaceURL, err = valueOf(x.tables[2], account); err != nil {
			return err
		}
		if err := each(&out); err != nil {
			return err
		}
		users.Next()
	}
	for _, t := range x.tables {
		if err := t.Error(); err != nil {
			return err
		}
	}
	return nil
}

// valueOf moves an iterator on to an account and gives what it has there; empty
// if nothing.
func valueOf(it *pebble.Iterator, account []byte) (string, error) {
	for it.Valid() && bytes.Compare(it.Key()[keyHeader:], account) < 0 {
		it.Next()
	}
	if !it.Valid() || !bytes.Equal(it.Key()[keyHeader:], account) {
		return "", nil // or it.Error, which the end of the export looks at
	}
	value, err := it.ValueAndErr()
	return string(value), err
}

func (x *exporter) close() error {
	var errs []error
	for _, t := range x.tables {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	return errors.Join(errs...)
}
