package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"tidings/internal/admin"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
)

// backup returns the operation that backs a store up.
func backup(s *lsm.Store, paced bool) admin.Backup {
	return func(ctx context.Context, dir string, progress func(done, total int64)) (store.Backup, error) {
		return s.Backup(ctx, dir, paced, progress)
	}
}

// VerifyBackup checks that a backup can be restored, by reading it as a restore does.
func VerifyBackup(ctx context.Context, dir string, log *slog.Logger, progress func(done, total int64)) (store.Backup, store.Summary, error) {
	return lsm.VerifyBackup(ctx, dir, lsm.Options{Logger: log}, progress)
}

// RestoreOptions are the options of Restore.
type RestoreOptions = lsm.RestoreOptions

// Restore creates a data directory from a backup. The data directory does not exist, or is
// empty. A key of credentials that is in the backup is put into it.
func Restore(ctx context.Context, from, dir string, log *slog.Logger, o RestoreOptions) (store.Restored, error) {
	keepPrivate()
	if err := checkOwner(dir, os.Geteuid()); err != nil {
		return store.Restored{}, err
	}
	there := filepath.Join(from, KeyFile)
	key := readKey(there)
	if err := key.Err(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return store.Restored{}, err
	}
	r, err := lsm.Restore(ctx, from, dir, lsm.Options{Logger: log}, o)
	if err != nil || key.Err() != nil {
		return r, err
	}
	if err := copyKey(there)(dir); err != nil {
		log.Warn("the key of credentials is not restored; copy it", "from", there, "to", filepath.Join(dir, KeyFile), "error", err)
		return r, nil
	}
	r.Key = true
	return r, nil
}
