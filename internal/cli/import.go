package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/control"
	"tidings/internal/transfer"
)

// shownFailures is how many bad lines are shown; --errors takes all.
const shownFailures = 100

// A cargo is what the lines of a file are about.
type cargo struct {
	one, many string // "user", "users"
	devices   bool
	in, try   admin.StreamOp[transfer.Chunk]
}

var (
	cargoOfUsers   = cargo{"user", "users", false, admin.ImportUsers, admin.TryImport}
	cargoOfDevices = cargo{"device", "devices", true, admin.ImportDevices, admin.TryDevices}
)

type importFlags struct {
	app                       appID
	format, errors            string
	replace, dryRun, noResume bool
	maxBad                    int
	json                      *bool
}

func (e *env) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import --app SDKAPPID FILE",
		Short: "Import users from a file",
		Long: `Import users with attributes, tags and profile from a file of NDJSON or CSV, which
may be compressed with gzip; - is standard input. It works on a running server
and, with none, on the data directory.

Accounts that do not exist are made. What a line says is added to what an account
has; with --replace it takes its place. Lines are applied in their order. Bad
lines are reported with their number and the others are in. An import can be
repeated, and one that was interrupted goes on where it was if it is started
again: FILE` + transfer.NoteSuffix + ` tells where.

Exit codes: 0 all lines are in; 1 some are bad, or it failed.`,
		Example: `  tidings import --app 1400000001 users.ndjson.gz
  tidings import --app 1400000001 users.csv --dry-run
  zcat users.gz | tidings import --app 1400000001 - --format csv --errors bad.ndjson`,
		Args: takes("FILE"),
	}
	var flags importFlags
	flags.add(cmd)
	f := cmd.Flags()
	formatFlag(cmd, &flags.format)
	f.BoolVar(&flags.replace, "replace", false, "take attributes, tags and profile away that a line does not name")
	dataFlag(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		format, err := fileFormat(args[0], flags.format)
		if err != nil {
			return err
		}
		return e.runImport(cmd, cargoOfUsers, args[0], format, &flags)
	}
	return cmd
}

// add adds the flags of all imports.
func (flags *importFlags) add(cmd *cobra.Command) {
	appFlag(cmd, &flags.app)
	f := cmd.Flags()
	f.BoolVar(&flags.dryRun, "dry-run", false, "change nothing, tell which lines are bad")
	f.StringVar(&flags.errors, "errors", "", "`FILE` for all bad lines, as NDJSON")
	f.BoolVar(&flags.noResume, "no-resume", false, "begin anew, and note no progress")
	f.IntVar(&flags.maxBad, "max-bad", 0, "stop after more than `N` bad lines, at the end of the lines under way; 0 is never")
	flags.json = jsonFlag(cmd)
}

// importSummary is what an import came to, in this run.
type importSummary struct {
	Lines int `json:"lines"`
	transfer.Counts
	Bad     int     `json:"bad"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"users_per_second"`
	Resumed int     `json:"resumed_after_line,omitempty"`
	DryRun  bool    `json:"dry_run,omitempty"`
}

// An importJob is one run of tidings import or tidings device import.
type importJob struct {
	*importFlags
	*transfer.Import
	cargo    cargo
	env      *env
	name     string
	progress *progress
	shown    int
	errors   *bufio.Writer // --errors; nil: none
}

func (e *env) runImport(cmd *cobra.Command, cargo cargo, name string, format transfer.Format, flags *importFlags) (err error) {
	if flags.maxBad < 0 {
		return usagef("--max-bad %d is less than 0", flags.maxBad)
	}
	ctx, stop := untilTold(cmd.Context())
	defer stop()
	in, err := transfer.Open(name, e.stdin)
	if err != nil {
		return err
	}
	defer in.Close()
	op := cargo.in
	if flags.dryRun {
		op = cargo.try
	}
	c, err := e.reach(ctx, e.data(cmd), accessOf(op.Effect()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	app, err := admin.ShowApp.Do(ctx, c, admin.AppRequest{ID: uint32(flags.app)})
	if err != nil {
		return err
	}
	j := &importJob{importFlags: flags, cargo: cargo, env: e, name: name, progress: newProgress(e.stderr, in.Size(), cargo.many)}
	j.Import = &transfer.Import{
		File: in, App: app.ID, Devices: cargo.devices, Replace: flags.replace, DryRun: flags.dryRun, MaxBad: flags.maxBad,
		Failed: j.failed, Watch: j.watch,
		Send: func(ctx context.Context, chunk transfer.Chunk, lines []byte) (*transfer.Result, error) {
			return sendChunk(ctx, c, op, chunk, lines)
		},
	}
	if format == transfer.CSV {
		if err := in.BeginCSV(app.AttrNames); err != nil {
			return fmt.Errorf("%s: %w", shownName(name), err)
		}
	} else if name == "-" && !cargo.devices && flags.format == "" && !in.MayBeNDJSON() {
		fmt.Fprintln(e.stderr, "tidings: standard input is read as NDJSON; CSV needs --format csv")
	}
	if name != "-" && !flags.dryRun {
		if err := j.resume(transfer.NewNote(e.data(cmd), app.Created, j.Import, format)); err != nil {
			return err
		}
	}
	if flags.errors != "" {
		mode := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if j.Begin.Lines > 0 {
			mode = os.O_CREATE | os.O_WRONLY | os.O_APPEND
		}
		f, err := os.OpenFile(flags.errors, mode, 0o600)
		if err != nil {
			return fmt.Errorf("--errors: %w", err)
		}
		j.errors = bufio.NewWriter(f)
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	return j.run(ctx)
}

// sendChunk carries a chunk to the data directory.
func sendChunk(ctx context.Context, c admin.Caller, op admin.StreamOp[transfer.Chunk], chunk transfer.Chunk, lines []byte) (*transfer.Result, error) {
	answer, err := op.Open(ctx, c, chunk, lines)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	text, err := io.ReadAll(answer)
	if err != nil {
		return nil, err
	}
	result := new(transfer.Result)
	return result, json.Unmarshal(text, result)
}

// resume goes on where an interrupted import of the same file was.
func (j *importJob) resume(note *transfer.Note) error {
	if note == nil || j.noResume {
		if note != nil {
			note.Remove()
		}
		return nil
	}
	j.Note = note
	before, why := note.Before()
	if why != "" {
		fmt.Fprintf(j.env.stderr, "tidings: %s, beginning anew\n", why)
	}
	if before == nil {
		return nil
	}
	if err := j.Resume(*before); err != nil {
		return err
	}
	fmt.Fprintf(j.env.stderr, "tidings: going on after line %s of %s, where the last import was interrupted\n", number(before.Lines), j.name)
	return nil
}

func (j *importJob) run(ctx context.Context) error {
	begun := time.Now()
	noted, err := j.Run(ctx)
	j.progress.clear()
	if err != nil {
		return j.stopped(err, noted)
	}
	s := importSummary{
		Lines: j.Done.Lines - j.Begin.Lines, Counts: j.Counts(), Bad: j.Done.Bad - j.Begin.Bad,
		Resumed: j.Begin.Lines, DryRun: j.dryRun, Seconds: time.Since(begun).Seconds(),
	}
	s.Rate = float64(s.Users) / s.Seconds
	return j.report(s)
}

// stopped says how far the import got and how to go on.
func (j *importJob) stopped(err error, noted bool) error {
	how := fmt.Sprintf("all lines up to %s are done", number(j.Done.Lines))
	switch {
	case j.dryRun:
		how = fmt.Sprintf("lines up to %s were looked at", number(j.Done.Lines))
	case j.Done.Lines == 0 && j.Sent:
		how = "it is not known which lines are done"
	case j.Done.Lines == 0:
		how = "no line is done"
	}
	ended := errors.Is(err, control.ErrStopped)
	if ended {
		how += "; start it, then the same import again"
	}
	if noted {
		if !ended {
			how += "; start the same import again"
		}
		how += " to go on from there"
	}
	return fmt.Errorf("%s: %w; %s", shownName(j.name), err, how)
}

func (j *importJob) report(s importSummary) error {
	if *j.json {
		var value any = s
		if j.cargo.devices {
			value = s.ofDevices()
		}
		if err := j.env.printJSON(value); err != nil {
			return err
		}
	} else {
		did := "imported"
		if j.dryRun {
			did = "would be imported"
		}
		_, err := fmt.Fprintf(j.env.stdout, "%s %s in %s, %s a second: %s new, %s changed, %s unchanged; %s, %s bad.\n", counted(s.Users, j.cargo.one, j.cargo.many), did, seconds(s.Seconds), number(int(s.Rate)),
			number(s.Created), number(s.Changed), number(s.Unchanged), counted(s.Lines, "line", "lines"), number(s.Bad))
		if err != nil {
			return err
		}
	}
	if more := s.Bad - j.shown; more > 0 && j.errors == nil {
		fmt.Fprintf(j.env.stderr, "tidings: %s not shown; --errors FILE takes all\n", counted(more, "more bad line is", "more bad lines are"))
	}
	if j.Done.Bad > 0 {
		return errNo
	}
	return nil
}

func (j *importJob) watch(read int64, p transfer.Progress) {
	j.progress.update(read, p.Users, func() string {
		if p.Bad == 0 {
			return ""
		}
		return ", " + counted(p.Bad, "bad line", "bad lines")
	})
}

// failed reports bad lines: all in the file for them, the first on the screen.
func (j *importJob) failed(failures []transfer.Failure) error {
	if j.errors != nil {
		enc := json.NewEncoder(j.errors)
		enc.SetEscapeHTML(false)
		for _, f := range failures {
			if err := enc.Encode(f); err != nil {
				return fmt.Errorf("--errors: %w", err)
			}
		}
		if err := j.errors.Flush(); err != nil { // before the note says that they are told
			return fmt.Errorf("--errors: %w", err)
		}
	}
	if n := min(len(failures), shownFailures-j.shown); n > 0 {
		j.progress.clear()
		for _, f := range failures[:n] {
			who := ""
			if f.Account != "" {
				who = ", " + plain(f.Account)
			}
			fmt.Fprintf(j.env.stderr, "tidings: line %d%s: %s\n", f.Line, who, plain(f.Reason))
		}
		j.shown += n
	}
	return nil
}

// fileFormat returns the format that a flag or else the name of a file says.
func fileFormat(name, chosen string) (transfer.Format, error) {
	format, err := transfer.FormatOf(name, chosen)
	if err != nil {
		err = usagef("%w", err)
	}
	return format, err
}

// formatFlag adds --format.
func formatFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "format", "", "`ndjson|csv`; default what the name of FILE says")
	complete(cmd, "format", cobra.FixedCompletions(transfer.Formats(), cobra.ShellCompDirectiveNoFileComp))
}

// seconds writes a time that something took.
func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}
