package lsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store"
	"tidings/internal/store/journal"
)

// Backup copies the directory as it is at one moment to another, which does not exist or
// is empty. It makes no change wait. Paced says that requests are served meanwhile.
func (s *Store) Backup(ctx context.Context, dir string, paced bool, progress func(done, total int64)) (store.Backup, error) {
	start := time.Now()
	m, err := s.journal.Backup(ctx, dir, journal.BackupOptions{Paced: paced, Progress: progress})
	if err != nil {
		return store.Backup{}, err
	}
	b := describeBackup(dir, &m)
	b.Certificates = s.tenants.certificates()
	b.Seconds = time.Since(start).Seconds()
	return b, nil
}

// certificates returns how many certificates the apps have.
func (t *tenants) certificates() (n int) {
	for _, x := range t.all() {
		x.mu.RLock()
		if x.app != nil {
			n += len(x.app.Certificates)
		}
		x.mu.RUnlock()
	}
	return n
}

func describeBackup(dir string, m *journal.Manifest) store.Backup {
	return store.Backup{Dir: dir, Position: uint64(m.End), Time: time.Unix(m.Second, 0).UTC(), Files: len(m.Files), Bytes: m.Size()}
}

// VerifyBackup proves that a backup can be restored: its files are those that were
// written, the log in it can be replayed to its end, and every record of its tables can
// be read. It changes nothing, and needs the memory of a start.
func VerifyBackup(ctx context.Context, dir string, opts Options, progress func(done, total int64)) (b store.Backup, sum store.Summary, err error) {
	m, err := journal.ReadBackup(ctx, opts.FS, dir, progress)
	if err != nil {
		return b, sum, err
	}
	opts.ReadOnly = true
	s, err := Open(dir, opts)
	if err != nil {
		return b, sum, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if end := s.journal.Applied(); end != m.End {
		return b, sum, fmt.Errorf("the log of the backup %s ends with group %d, its manifest says %d", dir, end, m.End)
	}
	for _, x := range s.tenants.all() {
		sum.Apps++
		sum.Users += x.users.Len()
	}
	var wrong error // the first
	err = s.journal.Check(ctx, func(where, what string) {
		wrong = cmp.Or(wrong, fmt.Errorf("%s: %s", where, what))
	}, func(*journal.Table, uint32, []byte, []byte) { sum.Other++ })
	b = describeBackup(dir, &m)
	b.Certificates = s.tenants.certificates()
	return b, sum, cmp.Or(err, wrong)
}

// checkKind reports what is wrong with a directory as a whole: it is a backup whose files
// are not those that were written, or a copy that was made while a server ran. It returns
// false if there is no use in looking further.
func checkKind(ctx context.Context, dir string, opts Options, report func(store.Finding)) (sound bool, err error) {
	fsys := cmp.Or[vfs.FS](opts.FS, vfs.Default)
	backup, err := journal.IsBackup(fsys, dir)
	if err != nil {
		return false, err
	}
	if backup {
		sound = true
		_, err := journal.VerifyBackup(ctx, fsys, dir, func(file, what string) {
			sound = false
			report(store.Finding{Where: file, What: what})
		}, nil)
		if damage, ok := errors.AsType[*journal.Damage](err); ok {
			report(store.Finding{Where: damage.File, What: damage.Error()})
			return false, nil
		}
		return sound, err
	}
	err = journal.CheckCopied(fsys, dir)
	if copied, ok := errors.AsType[*journal.Copied](err); ok {
		report(store.Finding{Where: copied.Marker, What: copied.Error()})
		err = nil
	}
	return true, err
}
