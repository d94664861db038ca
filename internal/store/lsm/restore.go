package lsm

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tidings/internal/store"
	"tidings/internal/store/journal"
)

// RestoreOptions tunes a restore.
type RestoreOptions struct {
	Until       time.Time // the last second whose changes are wanted; zero: all there are
	Logs        []string  // directories with the log since the backup
	KeepTickets bool      // those that were issued up to now stay as they were
	Progress    func(done, total int64)

	// Compare is a data directory from after the backup; empty: none. Returned is
	// called with what was taken away in it since the moment that is restored.
	Compare  string
	Returned func(store.Returned)
}

// Restore makes a data directory, which does not exist or is empty, of a backup. It
// begins a new history, and all tickets that were issued up to now are invalid, unless
// they are to stay. If it fails nothing is left of the directory.
func Restore(ctx context.Context, from, dir string, opts Options, r RestoreOptions) (store.Restored, error) {
	result := store.Restored{Dir: dir}
	m := &memory{tenants: newTenants()}
	restored, err := journal.Restore(ctx, from, dir, opts.journal(), journal.RestoreOptions{
		Until: r.Until, Logs: r.Logs, Progress: r.Progress,
		Finish: func(v *journal.View, add func(uint32, func(*journal.Batch))) error {
			if r.Compare != "" {
				if err := compareWith(ctx, opts, m.tenants, v, &r); err != nil {
					return err
				}
			}
			now := time.Now()
			for _, x := range m.all() {
				result.Apps++
				result.Users += x.users.Len()
				if !r.KeepTickets {
					add(x.id, func(b *journal.Batch) { b.Raise(tableEnded, nil, uint64(now.Unix())) })
				}
				paused, err := pauseTasks(ctx, v, x.id, add)
				if err != nil {
					return err
				}
				result.PausedTasks += paused
			}
			if !r.KeepTickets {
				result.TicketsEnded = now.UTC().Truncate(time.Second)
			}
			return nil
		},
	}, m, tables...)
	result.Certificates = m.certificates()
	m.stop()
	if err != nil {
		return store.Restored{}, err
	}
	result.Position, result.Time, result.LogEnds = uint64(restored.End), time.Unix(restored.Second, 0).UTC(), restored.Ended
	return result, nil
}

// pauseTasks pauses the tasks of an app that have not ended, and returns how many. What they had
// left may have been sent since the backup, and whoever only tries a backup out does not
// want to push.
func pauseTasks(ctx context.Context, v *journal.View, app uint32, add func(uint32, func(*journal.Batch))) (paused int, err error) {
	err = v.Each(ctx, tableActive, app, func(key, value []byte) error {
		var p progress
		if err := json.Unmarshal(value, &p); err != nil {
			return fmt.Errorf("%s of app %d: %w", tableActive.Name, app, err)
		}
		p.Paused = true
		record, err := json.Marshal(&p)
		if err != nil {
			return err
		}
		key = slices.Clone(key)
		add(app, func(b *journal.Batch) { b.Set(tableActive, key, record) })
		paused++
		return nil
	})
	return paused, err
}
