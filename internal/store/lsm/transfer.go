package lsm

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// Import makes changes to accounts, in order, each whole or not at all.
func (s *Users) Import(ctx context.Context, id uint32, batches iter.Seq[[]audience.Change], dryRun bool, done func(i int, o audience.Outcome, err *apierr.Error)) error {
	first, pos := 0, journal.Pos(0)
	var outcomes []audience.Outcome
	for changes := range batches {
		if err := storable(changes); err != nil {
			return err
		}
		outcomes = slices.Grow(outcomes[:0], len(changes))[:len(changes)]
		var refused []refusal
		var err error
		if dryRun {
			refused, err = s.try(ctx, id, changes, outcomes)
		} else {
			err = s.write(ctx, id, true, func(x *tenant) (err error) {
				refused, err = s.change(x, changes, true, outcomes, &pos)
				return err
			})
		}
		if errors.Is(err, audience.ErrStale) {
			return cmp.Or(s.journal.Wait(ctx, pos), err)
		}
		if err != nil {
			return err
		}
		reportOutcomes(outcomes, refused, first, done)
		first += len(changes)
	}
	return s.journal.Wait(ctx, pos)
}

// reportOutcomes calls done, if it is not nil, for each change of a batch whose first one has a
// position.
func reportOutcomes(outcomes []audience.Outcome, refused []refusal, first int, done func(i int, o audience.Outcome, err *apierr.Error)) {
	if done == nil {
		return
	}
	for i, o := range outcomes {
		if len(refused) > 0 && refused[0].i == i {
			done(first+i, 0, refused[0].err)
			refused = refused[1:]
		} else {
			done(first+i, o, nil)
		}
	}
}

// try returns the changes that could not be made, and sets the outcomes of the others.
func (s *Users) try(ctx context.Context, id uint32, changes []audience.Change, outcomes []audience.Outcome) (refused []refusal, err error) {
	err = s.read(ctx, id, func(x *tenant) error {
		d := s.decider(x)
		var e audience.Effect
		for i := range changes {
			c := &changes[i]
			if x.stale(c) {
				return audience.ErrStale
			}
			some, err := d.Change(c, &e)
			if err != nil {
				refused = append(refused, refusal{i, err})
				continue
			}
			outcomes[i] = c.Outcome(&e, some)
		}
		return nil
	})
	return refused, err
}

// exportCheck is how many users are exported between two looks at the context.
const exportCheck = 1000

// Export calls begin with the attributes of an app and then each with its users
// in the order of their numbers, all as they are at one moment after every
// change that was answered before. It begins when what it shows is durable.
func (s *Users) Export(ctx context.Context, id uint32, query func(*audience.Attributes) (audience.Query, error), begin func(*audience.Attributes) error, each func(*audience.Exported) error) (err error) {
	var wait func(context.Context) (*journal.View, error)
	var now *tenant
	v, err := s.view(ctx, id, func(x *tenant, _ *view) { now, wait = x, s.journal.ViewAt(x.pos) })
	if err != nil {
		return err
	}
	view, err := wait(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	users, attributes := v.users, v.app.Attributes
	numbers := everybody(users)
	if query != nil {
		q, err := query(&attributes)
		if err != nil {
			return err
		}
		if numbers, err = s.selected(ctx, now, users, q); err != nil {
			return err
		}
	}
	if err := begin(&attributes); err != nil {
		return err
	}
	nicks, err := view.Cursor(ctx, tableNick, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nicks.Close()) }()
	faces, err := view.Cursor(ctx, tableFace, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, faces.Close()) }()
	done := 0
	for n := range numbers {
		if done++; done%exportCheck == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		out := exported(users, n)
		for _, f := range []struct {
			cursor *journal.Cursor
			text   *string
		}{{nicks, &out.Nick}, {faces, &out.FaceURL}} {
			value, err := f.cursor.Seek(numberKey(n))
			if err != nil {
				return err
			}
			*f.text = string(value)
		}
		if err := each(&out); err != nil {
			return err
		}
	}
	return nil
}

// exported returns what the index holds of a user.
func exported(users *index.View, n uint32) audience.Exported {
	t := users.Traits(n)
	return audience.Exported{Account: string(users.Account(n)), Kind: t.Kind, Created: users.Created(n), Values: t.Values, Tags: t.Tags}
}

// everybody returns the numbers of all users, ascending.
func everybody(users *index.View) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for n := range users.Limit() {
			if users.Has(n) && !yield(n) {
				return
			}
		}
	}
}

// selected returns the numbers of the users in an audience, ascending. It waits for its
// turn to look for them.
func (s *Users) selected(ctx context.Context, x *tenant, users *index.View, q audience.Query) (iter.Seq[uint32], error) {
	kind, err := users.KindOf(q.Expr, q.Attributes, q.Kind)
	if err != nil {
		return nil, err
	}
	end, err := s.turn(ctx, x)
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := users.Audience(ctx, audience.Clauses(q.Expr), kind, s.pacer())
	if err != nil {
		return nil, err
	}
	selection, err := a.Select(ctx)
	if err != nil {
		return nil, err
	}
	return selection.From(0), nil
}
