package control

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"

	"tidings/internal/app"
	"tidings/internal/store"
)

// OpBackup copies the data directory. It answers BackupLines.
const OpBackup = "store/backup"

// Backup copies the data directory as it is at one moment to another directory.
type Backup func(ctx context.Context, dir string, progress func(done, total int64)) (store.Backup, error)

// BackupRequest names the directory that a backup makes.
type BackupRequest struct {
	Dir string `json:"dir"` // absolute: the server has another working directory
}

// BackupLine is a line of the answer: how many bytes are done, or the last one, with the
// backup.
type BackupLine struct {
	Done   int64         `json:"done"`
	Total  int64         `json:"total"`
	Backup *store.Backup `json:"backup,omitempty"`
}

func (s *Service) backup(ctx context.Context, in BackupRequest, _ io.Reader, out io.Writer) error {
	if !filepath.IsAbs(in.Dir) {
		return &app.Error{Msg: "dir: " + in.Dir + " is no absolute path"}
	}
	enc := json.NewEncoder(out)
	last := BackupLine{Done: -1}
	// A caller that is gone has ended ctx, so what the writing comes to is not looked at.
	b, err := s.Backup(ctx, in.Dir, func(done, total int64) {
		if 100*done/max(total, 1) == 100*last.Done/max(total, 1) && last.Done >= 0 {
			return // a line for each percent will do
		}
		last = BackupLine{Done: done, Total: total}
		_ = enc.Encode(last)
		if f, ok := out.(interface{ push() }); ok {
			f.push()
		}
	})
	if err != nil {
		return err
	}
	return enc.Encode(BackupLine{Done: b.Bytes, Total: b.Bytes, Backup: &b})
}
