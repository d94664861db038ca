package lsm

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// record returns what a task is; task.ErrUnknown if it is kept no more.
func (t *Tasks) record(ctx context.Context, x *tenant, number uint64) (*taskRecord, error) {
	record, known := t.records.get(taskOf{x, number})
	if !known {
		var value []byte
		err := t.journal.Read(func(v *journal.View) (err error) {
			value, err = v.Get(tableTask, x.id, taskKey(number))
			return err
		})
		if err == nil && value == nil {
			err = task.ErrUnknown
		}
		if err != nil {
			return nil, err
		}
		record = t.records.put(taskOf{x, number}, value)
	}
	rec, err := record()
	return rec, cmp.Or(err, ctx.Err())
}

// get returns a task as it is in memory, once that is durable.
func (t *Tasks) get(ctx context.Context, r *running) (*task.Task, error) {
	p, pos := r.snapshot()
	if err := t.journal.Wait(ctx, pos); err != nil {
		return nil, err
	}
	rec, err := t.record(ctx, r.x, r.Number)
	if err != nil {
		return nil, err
	}
	return newTask(r.Ref, rec, &p), nil
}

// ended returns a task that has ended; task.ErrUnknown if there is none.
func (t *Tasks) ended(ctx context.Context, ref task.Ref) (*running, error) {
	x := t.find(ref.App)
	if x == nil {
		return nil, task.ErrUnknown
	}
	var p *progress
	err := t.journal.Read(func(v *journal.View) (err error) {
		p, err = readEnd(v, ref)
		return err
	})
	if err == nil && p == nil {
		err = task.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	rec, err := t.record(ctx, x, ref.Number)
	if err != nil {
		return nil, err
	}
	return newRunning(x, ref.Number, rec.ID, *p), nil
}

func readEnd(v *journal.View, ref task.Ref) (*progress, error) {
	value, err := v.Get(tableEndedTask, ref.App, taskKey(ref.Number))
	if err != nil || value == nil {
		return nil, err
	}
	p := new(progress)
	if err := json.Unmarshal(value, p); err != nil {
		return nil, fmt.Errorf("end of task %d of app %d: %w", ref.Number, ref.App, err)
	}
	return p, nil
}

// found returns a task that has ended or has not.
func (t *Tasks) found(ctx context.Context, ref task.Ref) (*running, error) {
	if r := t.running(ref); r != nil {
		return r, nil
	}
	r, err := t.ended(ctx, ref)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// byID returns a task by its TaskId.
func (t *Tasks) byID(ctx context.Context, app uint32, id string) (*running, error) {
	if x := t.find(app); x == nil {
		return nil, t.unknown(ctx, app, 0)
	}
	number, ok := taskNumber(id)
	if !ok {
		return nil, task.ErrUnknown
	}
	r, err := t.found(ctx, task.Ref{App: app, Number: number})
	if err == nil && r.id != id {
		err = task.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Task returns a task as it is.
func (t *Tasks) Task(ctx context.Context, app uint32, id string) (*task.Task, error) {
	r, err := t.byID(ctx, app, id)
	if err != nil {
		return nil, err
	}
	return t.get(ctx, r)
}

// Get returns a task by its Ref; nil if it is kept no more.
func (t *Tasks) Get(ctx context.Context, ref task.Ref) (*task.Task, error) {
	r, err := t.found(ctx, ref)
	if err == nil {
		var found *task.Task
		if found, err = t.get(ctx, r); err == nil {
			return found, nil
		}
	}
	if errors.Is(err, task.ErrUnknown) {
		return nil, nil
	}
	return nil, err
}

// Active returns the tasks that have not ended, the oldest first.
func (t *Tasks) Active(ctx context.Context, made func(task.Ref)) ([]*task.Task, error) {
	t.mu.Lock()
	t.made = made
	t.mu.Unlock()
	var list []*task.Task
	for _, x := range t.all() {
		for _, r := range x.tasks.all() {
			found, err := t.get(ctx, r)
			if errors.Is(err, task.ErrUnknown) {
				continue // its app is deleted
			}
			if err != nil {
				return nil, err
			}
			if !found.State.Ended() {
				list = append(list, found)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *task.Task) int { return a.Accepted.Compare(b.Accepted) })
	return list, nil
}

// listMost is how many tasks a page of a list looks at: with a filter that few pass it has
// fewer than asked for, and a token for the next.
const listMost = 10_000

// List returns a page of the tasks of an app, the latest first.
func (t *Tasks) List(ctx context.Context, app uint32, f task.Filter, limit int, after string) (list []*task.Task, next string, err error) {
	var x *tenant
	if err := t.read(ctx, app, func(now *tenant) error { x = now; return nil }); err != nil {
		return nil, "", err
	}
	before := []byte(nil)
	if after != "" {
		number, err := strconv.ParseUint(after, 16, 64)
		if err != nil {
			return nil, "", apierr.PageExpired.Errorf("Next: %q is no page token", clipText(after))
		}
		before = taskKey(number)
	}
	// A task that is made or ends meanwhile waits to be durable before it is seen: its
	// group is in the tables when its answer goes out.
	memory := map[uint64]*running{}
	var pos journal.Pos
	for _, r := range x.tasks.all() {
		memory[r.Number] = r
		r.mu.Lock()
		pos = max(pos, r.pos)
		r.mu.Unlock()
	}
	if err := t.journal.Wait(ctx, pos); err != nil {
		return nil, "", err
	}
	looked := 0
	err = t.journal.Read(func(v *journal.View) error {
		return v.WalkBack(ctx, tableTask, app, nil, before, func(key, value []byte) (bool, error) {
			ref := task.Ref{App: app, Number: binary.BigEndian.Uint64(key)}
			if looked++; len(list) == limit || looked > listMost {
				next = strconv.FormatUint(ref.Number+1, 16)
				return false, nil
			}
			rec := new(taskRecord)
			if err := json.Unmarshal(value, rec); err != nil {
				return false, fmt.Errorf("task %d of app %d: %w", ref.Number, app, err)
			}
			accepted := msTime(rec.Accepted)
			if !f.Since.IsZero() && accepted.Before(f.Since) {
				return false, nil // the earlier ones are older
			}
			if !f.Until.IsZero() && !accepted.Before(f.Until) || f.DataID != "" && rec.DataID != f.DataID {
				return true, nil
			}
			p, err := t.progressOf(v, ref, memory)
			if err == nil && p != nil && (len(f.States) == 0 || slices.Contains(f.States, p.State)) {
				list = append(list, newTask(ref, rec, p))
			}
			return true, cmp.Or(err, ctx.Err())
		})
	})
	return list, next, err
}

// progressOf returns how far a task is, which is in memory or has ended; nil if it was made
// after the memory was looked at.
func (t *Tasks) progressOf(v *journal.View, ref task.Ref, memory map[uint64]*running) (*progress, error) {
	if r := memory[ref.Number]; r != nil {
		p, _ := r.snapshot()
		return &p, nil
	}
	return readEnd(v, ref)
}

// Receivers returns a page of the frozen audience.
func (t *Tasks) Receivers(ctx context.Context, app uint32, id string, limit int, after string) (accounts []string, deleted int, next string, err error) {
	r, err := t.byID(ctx, app, id)
	if err != nil {
		return nil, 0, "", err
	}
	from := uint32(0)
	if after != "" {
		n, err := strconv.ParseUint(after, 16, 32)
		if err != nil {
			return nil, 0, "", apierr.PageExpired.Errorf("Next: %q is no page token", clipText(after))
		}
		from = uint32(n)
	}
	p, _ := r.snapshot()
	f, err := t.keptAudience(ctx, r, &p)
	if err != nil {
		return nil, 0, "", err
	}
	err = t.read(ctx, app, func(x *tenant) error {
		if f.n == 0 && p.Frozen > 0 || t.traceGone(x, &p) { // its time may have ended since
			return apierr.PageExpired.Errorf("the receivers of the task are kept no more: it ended at %s", msTime(p.Ended).Format(time.RFC3339))
		}
		u, looked := &x.users.View, 0
		f.each(from, func(n uint32) bool {
			if looked++; len(accounts) == limit || looked > listMost+limit {
				next = strconv.FormatUint(uint64(n), 16)
				return false
			}
			if u.Has(n) { // the number is nobody else's as long as the audience is kept
				accounts = append(accounts, string(u.Account(n)))
			} else {
				deleted++
			}
			return true
		})
		return nil
	})
	return accounts, deleted, next, err
}

// keptAudience returns the audience of a task; without anybody if it is kept no more.
func (t *Tasks) keptAudience(ctx context.Context, r *running, p *progress) (*frozen, error) {
	if t.traceGone(r.x, p) {
		return &frozen{}, nil
	}
	return t.audience(ctx, r.x, r.Number)
}

// traceGone reports whether what was kept of each device of a task is gone.
func (t *Tasks) traceGone(x *tenant, p *progress) bool {
	if !p.State.Ended() {
		return false
	}
	x.tasks.mu.Lock()
	defer x.tasks.mu.Unlock()
	return hourOf(p.Ended) < x.tasks.floor || time.Since(msTime(p.Ended)) > traceLife
}
