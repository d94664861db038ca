package cli

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/server"
	"tidings/internal/store"
)

type restoreFlags struct {
	until       string
	logs        []string
	compare     string
	keepTickets bool
}

// A restoreReport holds what tidings restore prints as JSON.
type restoreReport struct {
	store.Restored
	Compared bool             `json:"compared"`
	Returned []store.Returned `json:"returned"`
	More     int              `json:"more"` // things that come back, left out of Returned
}

func (e *env) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Make a data directory of a backup",
		Long: `Make the data directory, which must not exist or be empty, of a backup that tidings
backup made. All files of the backup are verified first; it is not changed.

What was changed after the backup is lost, and so is what took something away: keys and
admins that were removed, users and apps that were deleted, and apps that were disabled
since are back. With --compare, and the data directory from before, each is listed. All
tickets that were issued up to now become invalid, because some may have been invalid
before: make new ones, or use --keep-tickets.

With --log the changes after the backup are restored too, as far as their log is there:
in kept-log/ and log/ of the data directory from before, or in copies of these. --until
leaves out those after a second.

Files of the restored directory and of the one before do not fit each other.`,
		Example: `  tidings restore /backup/tidings-2026-11-25 --data /var/lib/tidings
  tidings restore /backup/tidings-2026-11-25 --data /var/lib/tidings \
      --log /var/lib/tidings.old --until 2026-11-25T14:59:00Z --compare /var/lib/tidings.old`,
		Args: takes("BACKUP"),
	}
	var flags restoreFlags
	f := cmd.Flags()
	dataFlag(f)
	f.StringVar(&flags.until, "until", "", "last second of the changes to restore, a `TIME` such as 2026-11-25T14:59:00Z")
	f.StringArrayVar(&flags.logs, "log", nil, "`DIR` with the log since the backup: a data directory, or one with segments of its log; may be repeated")
	f.StringVar(&flags.compare, "compare", "", "data `DIRECTORY` from before, to list what comes back that was taken away in it")
	f.BoolVar(&flags.keepTickets, "keep-tickets", false, "leave tickets as they were")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return e.runRestore(cmd, args[0], &flags, *asJSON) }
	return cmd
}

func (e *env) runRestore(cmd *cobra.Command, backup string, flags *restoreFlags, asJSON bool) error {
	options := server.RestoreOptions{Logs: flags.logs, KeepTickets: flags.keepTickets, Compare: flags.compare}
	if flags.until != "" {
		var err error
		if options.Until, err = time.Parse(time.RFC3339, flags.until); err != nil {
			return usagef("--until %q is not a time such as 2026-11-25T14:59:00Z", flags.until)
		}
	}
	ctx, stop := untilTold(cmd.Context())
	defer stop()
	report := restoreReport{Compared: flags.compare != "", Returned: []store.Returned{}}
	p := newProgress(e.stderr, 0, "MB read")
	options.Progress = p.bytes
	options.Returned = func(r store.Returned) {
		switch {
		case !asJSON:
			p.clear()
			fmt.Fprintf(e.stdout, "app %d: %s\n", r.App, r.What)
			report.More++
		case len(report.Returned) < maxReturned:
			report.Returned = append(report.Returned, r)
		default:
			report.More++
		}
	}
	begun := time.Now()
	var err error
	report.Restored, err = server.Restore(ctx, backup, e.data(cmd), e.warnings(), options)
	p.clear()
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", interrupted(ctx, err))
	}
	if asJSON {
		return e.printJSON(report)
	}
	e.printRestored(&report, options.Until, time.Since(begun))
	return nil
}

// maxReturned bounds the list of things that come back, as JSON.
const maxReturned = 100_000

func (e *env) printRestored(r *restoreReport, until time.Time, took time.Duration) {
	end := r.Time.Format(time.RFC3339)
	if r.Compared {
		fmt.Fprintf(e.stdout, "%s back that had been taken away.\n", counted(r.More, "thing is", "things are"))
	}
	fmt.Fprintf(e.stdout, "Restored %s as of %s, position %d: %s, %s, in %s.\n", plain(r.Dir), end, r.Position,
		counted(r.Apps, "app", "apps"), counted(r.Users, "user", "users"), seconds(took.Seconds()))
	if r.LogEnds && until.After(r.Time.Add(time.Second)) {
		fmt.Fprintf(e.stdout, "The log that is there ends at %s: changes between then and %s, if there were any, are not restored.\n", end, until.UTC().Format(time.RFC3339))
	}
	if !r.Compared {
		fmt.Fprintf(e.stdout, `Changes after %s are lost. What was taken away after it is back, if there was anything:
  users and apps that were deleted, attributes and tags that were removed
  keys that were removed or had been given an end, AppKeys and admins that were removed
  certificates that were removed, credentials that were replaced
  apps that were disabled or suspended, accounts that were blocked
`, end)
	}
	if r.PausedTasks > 0 {
		fmt.Fprintf(e.stdout, "%s paused that had not ended; tidings task resume sends what is left, some of which may have been sent since.\n", counted(r.PausedTasks, "push is", "pushes are"))
	}
	if r.Certificates > 0 && !r.Key {
		fmt.Fprintf(e.stdout, "The key of credentials is not in the backup: put it at %s, or name it in credentials_key_file, or the credentials of %s have to be entered again.\n",
			plain(filepath.Join(r.Dir, server.KeyFile)), counted(r.Certificates, "certificate", "certificates"))
	}
	if r.TicketsEnded.IsZero() {
		fmt.Fprintf(e.stdout, "Tickets are as they were: those that were made invalid after %s are good again.\n", end)
	} else {
		fmt.Fprintf(e.stdout, "All tickets issued up to %s are invalid: make new ones.\n", r.TicketsEnded.Format(time.RFC3339))
	}
}
