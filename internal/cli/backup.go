package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/server"
	"tidings/internal/store"
)

// A backupReport holds what tidings backup prints as JSON.
type backupReport struct {
	store.Backup
	Verified *store.Summary `json:"verified,omitempty"` // what the backup holds; nil: not verified
}

func (e *env) backupCommand() *cobra.Command {
	var noVerify, key bool
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Back up the data directory, also while the server runs",
		Long: `Copy the data directory as it is at one moment to DIR, which must not exist or be
empty. It works while the server runs, which makes the copy and goes on answering, and
with no server on the data directory itself.

Then this command reads the whole copy and makes the apps and users from it as a start
would, which takes as much memory as a server. If that cannot be done beside the server,
use --no-verify, and tidings check --data DIR on another machine.

A backup holds the secret keys: keep it as safe as they are. It holds the credentials of
providers only sealed, and not the key they are sealed with, unless --credentials-key
says so: keep a copy of that key apart. It is complete when it has a
manifest.json, which is written last. tidings restore makes a data directory of it.`,
		Example: `  tidings backup /backup/tidings-2026-11-25
  tidings check --data /backup/tidings-2026-11-25`,
		Args: takes("DIR"),
	}
	dataFlag(cmd.Flags())
	cmd.Flags().BoolVar(&noVerify, "no-verify", false, "do not read the copy again")
	cmd.Flags().BoolVar(&key, "credentials-key", false, "put the key of credentials into the backup too")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := untilTold(cmd.Context())
		defer stop()
		report, err := e.backup(ctx, e.data(cmd), args[0], key, !noVerify)
		if err != nil {
			return interrupted(ctx, err)
		}
		if *asJSON {
			return e.printJSON(report)
		}
		e.printBackup(report)
		return nil
	}
	return cmd
}

// interrupted returns the error of a command that was ended by a signal, if it was.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return err
}

func (e *env) backup(ctx context.Context, data, dir string, key, verify bool) (*backupReport, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := e.copyData(ctx, data, dir, key)
	if err != nil {
		return nil, fmt.Errorf("no backup was made: %w", err)
	}
	report := &backupReport{Backup: *b}
	if !verify {
		return report, nil
	}
	p := newProgress(e.stderr, b.Bytes, "MB verified")
	_, sum, err := server.VerifyBackup(ctx, dir, e.warnings(), p.bytes)
	p.clear()
	if err != nil {
		return nil, fmt.Errorf("the backup %s was made and cannot be verified: %w", dir, err)
	}
	report.Verified = &sum
	return report, nil
}

// copyData copies the data directory. The directory is closed after that, so that its users
// are not in memory twice while the copy is verified.
func (e *env) copyData(ctx context.Context, data, dir string, key bool) (b *store.Backup, err error) {
	c, err := e.reach(ctx, data, accessOf(admin.BackUp.Effect()))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	answer, err := admin.BackUp.Open(ctx, c, admin.BackupRequest{Dir: dir, Key: key}, nil)
	if err != nil {
		return nil, err
	}
	p := newProgress(e.stderr, 0, "MB copied")
	b, err = readBackup(answer, p)
	p.clear()
	return b, errors.Join(err, answer.Close())
}

func readBackup(answer io.Reader, p *progress) (*store.Backup, error) {
	in := json.NewDecoder(answer)
	for {
		var line admin.BackupLine
		if err := in.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("control socket: the answer ends without a backup")
			}
			return nil, err
		}
		if line.Backup != nil {
			// The answer is complete only if it ends here.
			if _, err := in.Token(); !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("control socket: after the backup: %w", err)
			}
			return line.Backup, nil
		}
		p.bytes(line.Done, line.Total)
	}
}

// bytes shows how many bytes of a total are done.
func (p *progress) bytes(done, total int64) {
	p.total = total
	p.update(done, int(done/1_000_000), nil)
}

// warnings returns the log of a command that works in its own process.
func (e *env) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (e *env) printBackup(r *backupReport) {
	fmt.Fprintf(e.stdout, "Backup %s: %s, position %d of %s, in %s.\n", plain(r.Dir), size(r.Bytes), r.Position, r.Time.Format(time.RFC3339), seconds(r.Seconds))
	if v := r.Verified; v != nil {
		fmt.Fprintf(e.stdout, "Verified: %s, %s, %s.\n", counted(v.Apps, "app", "apps"), counted(v.Users, "user", "users"), counted(v.Other, "other record", "other records"))
	} else {
		fmt.Fprintf(e.stdout, "Not verified: tidings check --data %s does that.\n", plain(r.Dir))
	}
	switch credentials := counted(r.Certificates, "certificate", "certificates"); {
	case r.Key:
		fmt.Fprintf(e.stdout, "The key of credentials is in it, so whoever has it can use the credentials of %s.\n", credentials)
	case r.Certificates > 0:
		fmt.Fprintf(e.stdout, "The key of credentials is not in it: without a copy of the key, the credentials of %s have to be entered again.\n", credentials)
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if n >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return counted(int(n), "byte", "bytes")
}
