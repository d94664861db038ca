package lsm

import (
	"context"
	"errors"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// frozenPiece is how many parts of an audience are written at a time: half a megabyte.
const frozenPiece = 64

// Freeze fixes the audience of a task. Its parts are written first and then, in one commit,
// that they are whole: after a crash before that it is fixed anew.
func (t *Tasks) Freeze(ctx context.Context, ref task.Ref) error {
	r := t.running(ref)
	if r == nil {
		return task.ErrUnknown
	}
	r.work.Lock()
	defer r.work.Unlock()
	if r.p.State != task.Accepted && r.p.State != task.Resolving {
		return t.wait(r)
	}
	rec, err := t.record(ctx, r.x, r.Number)
	if err != nil {
		return err
	}
	r.change(func(p *progress) { p.State = task.Resolving })
	f, err := t.freeze(ctx, r, rec)
	if e, refused := errors.AsType[*apierr.Error](err); refused && e.Kind.Retry == apierr.Never && e.Kind != apierr.UnknownApp {
		return t.end(ctx, r, task.Failed, "the audience cannot be fixed: "+e.Info(), nil)
	}
	if err == nil {
		err = t.writeFrozen(ctx, r, f)
	}
	if err != nil {
		r.change(func(p *progress) { p.State, p.Pin = task.Accepted, 0 })
		r.x.tasks.refresh()
		return err
	}
	if f.n == 0 {
		return t.end(ctx, r, task.Done, "nobody is in the audience", nil)
	}
	return t.wait(r)
}

// freeze returns the audience as it is now. From before it is looked at, the numbers that
// it may hold are not given to others.
func (t *Tasks) freeze(ctx context.Context, r *running, rec *taskRecord) (*frozen, error) {
	expr := audience.Expr(audience.And{})
	if rec.Where != "" {
		var err error
		if expr, err = audience.ParseWhere(rec.Where, rec.Attributes); err != nil {
			return nil, err
		}
	}
	end, err := t.turn(ctx, r.x)
	if err != nil {
		return nil, err
	}
	defer end()
	v, err := t.view(ctx, r.App, func(x *tenant, _ *view) {
		pin := uint64(t.journal.Next())
		r.change(func(p *progress) { p.Pin = pin })
		x.tasks.refresh()
	})
	if err != nil {
		return nil, err
	}
	selection, err := selectAudience(ctx, v.users, expr, rec, t.pacer())
	if err != nil {
		return nil, err
	}
	return frozenOf(selection), t.journal.Wait(ctx, v.pos)
}

// frozenOf returns an audience that shares the memory of a selection.
func frozenOf(selection *index.Selection) *frozen {
	f := &frozen{}
	for upper := range selection.Chunks() {
		lower, bits := selection.Chunk(upper)
		s := &numbers{n: len(lower), list: lower}
		if bits != nil {
			s = countedBits((*numberBits)(bits))
		}
		if s.n > 0 {
			f.set(upper, s)
		}
	}
	return f
}

// selectAudience returns whom the audience of a task has, as a view shows it.
func selectAudience(ctx context.Context, u *index.View, expr audience.Expr, rec *taskRecord, yield func()) (*index.Selection, error) {
	if rec.Where == "" {
		return u.Everyone(ctx, yield)
	}
	kind, err := u.KindOf(expr, rec.Attributes, rec.Kind)
	if err != nil {
		return nil, err
	}
	a, err := u.Audience(ctx, audience.Clauses(expr), kind, yield)
	if err != nil {
		return nil, err
	}
	return a.Select(ctx)
}

// writeFrozen writes an audience.
func (t *Tasks) writeFrozen(ctx context.Context, r *running, f *frozen) error {
	for from := 0; from < len(f.parts); from += frozenPiece {
		if err := t.journal.Reserve(ctx, true); err != nil {
			return err
		}
		_, err := t.commit(ctx, r, nil, func(b *journal.Batch) {
			for upper := from; upper < min(from+frozenPiece, len(f.parts)); upper++ {
				if key := audienceKey(r.Number, uint32(upper)); f.parts[upper] != nil {
					b.Set(tableAudience, key, f.parts[upper].encode())
				} else {
					b.Delete(tableAudience, key) // of an attempt that a crash ended
				}
			}
		})
		if err != nil {
			return err
		}
	}
	if f.n == 0 {
		return nil
	}
	err := t.advance(ctx, r, func(p *progress) { p.State, p.Frozen = task.Sending, f.n })
	if err == nil {
		t.audiences.put(r.x, r.Number, f)
	}
	return err
}

// refresh finds the least pin again.
func (t *tenantTasks) refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recount()
}

// SetPaused pauses a task or lets it go on.
func (t *Tasks) SetPaused(ctx context.Context, app uint32, id string, paused bool) error {
	r, err := t.active(ctx, app, id)
	if err != nil {
		return err
	}
	r.work.Lock()
	defer r.work.Unlock()
	if r.p.State.Ended() {
		return task.ErrEnded
	}
	if r.p.Paused != paused {
		if err := t.advance(ctx, r, func(p *progress) { p.Paused = paused }); err != nil {
			return err
		}
	}
	return t.wait(r)
}

// active returns a task by its TaskId that has not ended; else it is ErrEnded or ErrUnknown.
func (t *Tasks) active(ctx context.Context, app uint32, id string) (*running, error) {
	if number, ok := taskNumber(id); ok {
		if r := t.running(task.Ref{App: app, Number: number}); r != nil && r.id == id {
			return r, nil
		}
	}
	if _, err := t.Task(ctx, app, id); err != nil {
		return nil, err
	}
	return nil, task.ErrEnded
}

// traceLife is how long after its end is kept what became of each device of a task, and
// taskLife how long the task itself (spec/timpush-api.md, 10).
const (
	traceLife = 7 * 24 * time.Hour
	taskLife  = 30 * 24 * time.Hour
)
