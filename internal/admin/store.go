package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"tidings/internal/app"
	"tidings/internal/store"
)

// CheckReport lists what is wrong with a data directory.
type CheckReport struct {
	store.Summary
	Findings []store.Finding `json:"findings"`
	More     int             `json:"more"` // findings left out
}

// maxFindings is how many findings a report lists; a directory that is broken
// all over has as many as it has users.
const maxFindings = 10_000

func (s *Service) check(ctx context.Context, _ None) (CheckReport, error) {
	report := CheckReport{Findings: []store.Finding{}}
	var err error
	report.Summary, err = s.Check(ctx, func(f store.Finding) {
		if len(report.Findings) < maxFindings {
			report.Findings = append(report.Findings, f)
		} else {
			report.More++
		}
	})
	return report, err
}

func (s *Service) checkpoint(ctx context.Context, _ None) (store.Checkpoint, error) {
	return s.Checkpoint(ctx)
}

// Backup copies the data directory as it is at one moment to another directory.
type Backup func(ctx context.Context, dir string, progress func(done, total int64)) (store.Backup, error)

// BackupRequest names the directory that a backup makes.
type BackupRequest struct {
	Dir string `json:"dir"` // absolute: the server has another working directory
	// Key says that the key of credentials is put into the backup. Without it, whoever has
	// the backup cannot use the credentials in it.
	Key bool `json:"credentials_key,omitempty"`
}

// BackupLine is a line of the answer: how many bytes are done, or the last one, with the
// backup.
type BackupLine struct {
	Done   int64         `json:"done"`
	Total  int64         `json:"total"`
	Backup *store.Backup `json:"backup,omitempty"`
}

// backUp answers a line for each percent, and one with the backup.
func (s *Service) backUp(ctx context.Context, in BackupRequest, _ io.Reader, out *Answer) error {
	if !filepath.IsAbs(in.Dir) {
		return &app.Error{Msg: "dir: " + in.Dir + " is no absolute path"}
	}
	if err := s.Key.Err(); in.Key && err != nil {
		return &app.Error{Msg: err.Error()}
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
		out.push()
	})
	if err != nil {
		return err
	}
	if in.Key {
		if err := s.CopyKey(in.Dir); err != nil {
			return fmt.Errorf("the backup is complete but for the key of credentials: %w", err)
		}
		b.Key = true
	}
	return enc.Encode(BackupLine{Done: b.Bytes, Total: b.Bytes, Backup: &b})
}
