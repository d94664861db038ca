package lsm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"tidings/internal/report"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// check counts what the records of each device say of the tasks of an app, and compares it
// with what the tasks say: all as they are at one moment.
func (t *Tasks) check(ctx context.Context, x *tenant, wrong func(where, format string, args ...any)) error {
	var tables func(context.Context) (*journal.View, error)
	x.mu.RLock()
	gone, floor := x.gone, uint64(0)
	if !gone {
		tables = t.journal.ViewAt(x.pos)
	}
	x.tasks.mu.Lock()
	floor = x.tasks.floor
	x.tasks.mu.Unlock()
	x.mu.RUnlock()
	if gone {
		return nil
	}
	v, err := tables(ctx)
	if err != nil {
		return err
	}
	for _, table := range []*journal.Table{tableActive, tableEndedTask} {
		err = errors.Join(err, v.Each(ctx, table, x.id, func(key, value []byte) error {
			if len(key) != 8 {
				return ctx.Err() // the check of the table says so
			}
			number := binary.BigEndian.Uint64(key)
			var p progress
			if json.Unmarshal(value, &p) != nil {
				return ctx.Err()
			}
			where := fmt.Sprintf("task %d of app %d", number, x.id)
			if rec, err := readTaskRecord(v, x.id, number); err != nil || rec == nil {
				wrong(where, "has no record")
				return err
			}
			if p.State.Ended() != (table == tableEndedTask) {
				wrong(where, "is %s in the table %q", p.State, table.Name)
			}
			if p.State.Ended() && (p.Pin == 0 || hourOf(p.Ended) < floor) {
				return nil
			}
			return checkTask(ctx, v, task.Ref{App: x.id, Number: number}, &p, func(format string, args ...any) { wrong(where, format, args...) })
		}))
	}
	for _, table := range traceTables {
		last := uint64(0) // that was looked for; none is 0
		err = errors.Join(err, v.Each(ctx, table, x.id, func(key, _ []byte) error {
			if len(key) < 8 || binary.BigEndian.Uint64(key) == last {
				return ctx.Err()
			}
			last = binary.BigEndian.Uint64(key)
			rec, err := v.Get(tableTask, x.id, key[:8])
			if err == nil && rec == nil {
				wrong(fmt.Sprintf("%s %x of app %d", table.Name, key, x.id), "task %d does not exist", last)
			}
			return err
		}))
	}
	return errors.Join(err, v.Close())
}

// A laneSum is what the records of each device come to in a lane.
type laneSum struct {
	counts  report.Counts
	waiting int // units
	retries int // their places in the order of time
}

// checkTask compares a task with the records of each device.
func checkTask(ctx context.Context, v *journal.View, ref task.Ref, p *progress, wrong func(format string, args ...any)) error {
	sums := map[int]*laneSum{}
	sum := func(certificate int) *laneSum {
		if sums[certificate] == nil {
			sums[certificate] = &laneSum{}
		}
		return sums[certificate]
	}
	each := func(table *journal.Table, keyBytes int, f func(key, value []byte) error) error {
		return v.Walk(ctx, table, ref.App, taskKey(ref.Number), nil, func(key, value []byte) (bool, error) {
			if len(key) != keyBytes {
				return true, ctx.Err() // the check of the table says so
			}
			if err := f(key, value); err != nil {
				wrong("%s %x: %v", table.Name, key, err)
			}
			return true, ctx.Err()
		})
	}
	frozen := uint64(0)
	err := errors.Join(
		each(tableAudience, 10, func(_, value []byte) error {
			s, err := parseNumbers(value)
			if err == nil {
				frozen += uint64(s.n)
			}
			return err
		}),
		each(tableBlock, 17, func(key, value []byte) error {
			b, err := report.ParseBlock(value)
			l := sum(int(binary.BigEndian.Uint32(key[8:])))
			for i := range b.Deliveries {
				if o := b.Deliveries[i].Outcome; o != report.Waiting {
					l.counts[o]++
				}
			}
			return err
		}),
		each(tableLate, 12, func(key, value []byte) error {
			late, err := parseLate(key, value)
			switch {
			case err != nil:
			case late.due != 0:
				sum(late.certificate).waiting++
			default:
				sum(late.certificate).counts[late.Outcome]++
			}
			return err
		}),
		each(tableRetry, 24, func(key, _ []byte) error {
			sum(int(binary.BigEndian.Uint32(key[8:]))).retries++
			return nil
		}),
	)
	if p.State.Ended() && frozen == 0 {
		return err // what is kept of each device is dropped, the audience first
	}
	if p.State != task.Accepted && p.State != task.Resolving && p.Frozen != 0 && frozen != p.Frozen {
		wrong("is for %d accounts, and its audience has %d", p.Frozen, frozen)
	}
	for _, l := range p.Lanes {
		got := sum(l.Certificate)
		for o, n := range l.Counts {
			if records := got.counts[o] + l.Rest[o]; records != n {
				wrong("has %d units of certificate %d that are %q, and records of %d", n, l.Certificate, report.Outcome(o), records)
			}
		}
		if !p.State.Ended() && (got.waiting != l.Retries || got.retries != l.Retries) {
			wrong("has %d units of certificate %d that wait for another try, and records of %d with %d retries", l.Retries, l.Certificate, got.waiting, got.retries)
		}
		delete(sums, l.Certificate)
	}
	for certificate := range sums {
		wrong("has records of certificate %d, and no lane for it", certificate)
	}
	return err
}
