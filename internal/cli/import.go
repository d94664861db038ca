package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/control"
	"tidings/internal/userfile"
)

// shownFailures is how many bad lines are shown; --errors takes all.
const shownFailures = 100

type importFlags struct {
	app                       appID
	format, errors            string
	replace, dryRun, noResume bool
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
again: FILE` + progressSuffix + ` tells where.

Exit codes: 0 all lines are in; 1 some are bad, or it failed.`,
		Example: `  tidings import --app 1400000001 users.ndjson.gz
  tidings import --app 1400000001 users.csv --dry-run
  zcat users.gz | tidings import --app 1400000001 - --format csv --errors bad.ndjson`,
		Args: takes("FILE"),
	}
	var flags importFlags
	appFlag(cmd, &flags.app)
	f := cmd.Flags()
	f.StringVar(&flags.format, "format", "", "`ndjson|csv`; default what the name of FILE says")
	f.BoolVar(&flags.replace, "replace", false, "take attributes, tags and profile away that a line does not name")
	f.BoolVar(&flags.dryRun, "dry-run", false, "change nothing, tell which lines are bad")
	f.StringVar(&flags.errors, "errors", "", "`FILE` for all bad lines, as NDJSON")
	f.BoolVar(&flags.noResume, "no-resume", false, "begin anew, and note no progress")
	flags.json = jsonFlag(cmd)
	dataFlag(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return e.runImport(cmd, args[0], &flags) }
	return cmd
}

// An importJob is one run of tidings import.
type importJob struct {
	*importFlags
	env      *env
	caller   admin.Caller
	op       admin.StreamOp[admin.ImportRequest]
	in       *input
	note     *importNote // nil: there is no resuming
	progress *progress
	header   []byte // of NDJSON, for the chunks of a dry run

	begun      time.Time
	from       position // where this run began
	at         position // all lines before it are done
	sent       bool     // a chunk was sent, done or not
	users, bad int
	shown      int
	failures   *bufio.Writer // --errors; nil: none
}

// importSummary is what an import came to, in this run.
type importSummary struct {
	Lines   int     `json:"lines"`
	Users   int     `json:"users"`
	Bad     int     `json:"bad"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"users_per_second"`
	Resumed int     `json:"resumed_after_line,omitempty"`
	DryRun  bool    `json:"dry_run,omitempty"`
}

func (e *env) runImport(cmd *cobra.Command, name string, flags *importFlags) (err error) {
	format, err := fileFormat(name, flags.format)
	if err != nil {
		return err
	}
	ctx, stop := untilTold(cmd.Context())
	defer stop()
	op := admin.ImportUsers
	if flags.dryRun {
		op = admin.TryImport
	}
	in, err := e.openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	c, err := e.reach(ctx, e.data(cmd), accessOf(op.Effect()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	app, err := admin.ShowApp.Do(ctx, c, admin.AppRequest{ID: uint32(flags.app)})
	if err != nil {
		return err
	}
	j := &importJob{importFlags: flags, env: e, caller: c, op: op, in: in, begun: time.Now()}
	if format == formatCSV {
		if err := in.beginCSV(app.AttrNames); err != nil {
			return fmt.Errorf("%s: %w", shownName(name), err)
		}
	}
	if in.name != "-" && !flags.dryRun {
		if err := j.resume(newNote(e.data(cmd), &app, in, format, flags.replace)); err != nil {
			return err
		}
	}
	if flags.errors != "" {
		mode := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if j.from.Lines > 0 {
			mode = os.O_CREATE | os.O_WRONLY | os.O_APPEND
		}
		f, err := os.OpenFile(flags.errors, mode, 0o600)
		if err != nil {
			return fmt.Errorf("--errors: %w", err)
		}
		j.failures = bufio.NewWriter(f)
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	return j.run(ctx)
}

// resume goes on where an interrupted import of the same file was.
func (j *importJob) resume(note *importNote) error {
	if note == nil || j.noResume {
		if note != nil {
			note.remove()
		}
		return nil
	}
	j.note = note
	before, why := note.read()
	switch {
	case why != "":
		fmt.Fprintf(j.env.stderr, "tidings: %s, beginning anew\n", why)
	case before != nil:
		if err := j.in.skip(before.position); err != nil {
			return fmt.Errorf("%s: going on after line %d: %w", j.in.name, before.Lines, err)
		}
		j.from, j.at = before.position, before.position
		j.users, j.bad = before.Users, before.Bad
		fmt.Fprintf(j.env.stderr, "tidings: going on after line %s of %s, where the last import was interrupted\n", number(before.Lines), j.in.name)
	}
	return nil
}

// run reads chunks, one ahead, while those before are applied, and tells what
// came of it.
func (j *importJob) run(ctx context.Context) error {
	j.progress = newProgress(j.env.stderr, j.in.size, "users")
	usersBefore, badBefore := j.users, j.bad
	reading, stop := context.WithCancel(ctx)
	chunks := make(chan *chunk, 1)
	var readErr error
	go func() {
		defer close(chunks)
		readErr = j.in.chunks(reading, j.from.Lines == 0, chunks)
	}()
	var err error
	for c := range chunks {
		if ctx.Err() != nil {
			break
		}
		// What was begun is finished, whatever interrupts it.
		if err = j.apply(context.WithoutCancel(ctx), c); err != nil {
			break
		}
	}
	stop()
	for range chunks { // so that the reader ends
	}
	j.progress.clear()
	if err == nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	} else if err == nil {
		err = readErr
	}
	if err != nil {
		return j.stopped(err)
	}
	if j.note != nil {
		j.note.remove()
	}
	s := importSummary{Lines: j.at.Lines - j.from.Lines, Users: j.users - usersBefore, Bad: j.bad - badBefore, Resumed: j.from.Lines, DryRun: j.dryRun}
	s.Seconds = time.Since(j.begun).Seconds()
	s.Rate = float64(s.Users) / s.Seconds
	return j.report(s)
}

// stopped notes how far the import got and says how to go on.
func (j *importJob) stopped(err error) error {
	how := fmt.Sprintf("all lines up to %s are done", number(j.at.Lines))
	switch {
	case j.dryRun:
		how = fmt.Sprintf("lines up to %s were looked at", number(j.at.Lines))
	case j.at.Lines == 0 && j.sent:
		how = "it is not known which lines are done"
	case j.at.Lines == 0:
		how = "no line is done"
	}
	ended := errors.Is(err, control.ErrStopped)
	if ended {
		how += "; start it, then the same import again"
	}
	if !j.dryRun && j.note != nil && j.at.Lines > 0 && j.note.save(j) == nil {
		if !ended {
			how += "; start the same import again"
		}
		how += " to go on from there"
	}
	return fmt.Errorf("%s: %w; %s", shownName(j.in.name), err, how)
}

func (j *importJob) report(s importSummary) error {
	if *j.json {
		if err := j.env.printJSON(s); err != nil {
			return err
		}
	} else {
		did := "imported"
		if j.dryRun {
			did = "would be imported"
		}
		_, err := fmt.Fprintf(j.env.stdout, "%s %s in %s, %s a second; %s, %s bad.\n", counted(s.Users, "user", "users"), did, seconds(s.Seconds), number(int(s.Rate)),
			counted(s.Lines, "line", "lines"), number(s.Bad))
		if err != nil {
			return err
		}
	}
	if more := s.Bad - j.shown; more > 0 && j.errors == "" {
		fmt.Fprintf(j.env.stderr, "tidings: %s not shown; --errors FILE takes all\n", counted(more, "more bad line is", "more bad lines are"))
	}
	if j.bad > 0 {
		return errNo
	}
	return nil
}

// apply sends a chunk and takes in what became of it.
func (j *importJob) apply(ctx context.Context, c *chunk) error {
	failures := c.bad
	if len(c.data) > 0 {
		out, err := j.send(ctx, c)
		if err != nil {
			return err
		}
		j.users += out.Users
		for _, f := range out.Failures {
			if n := c.numbers[f.Line]; n > 0 {
				failures = append(failures, lineFailure{n, f.Account, f.Reason})
			}
		}
	}
	if c.begins && j.in.name == "-" && j.format == "" && len(failures) > 0 && !bytes.HasPrefix(bytes.TrimSpace(c.data), []byte("{")) {
		j.progress.clear()
		fmt.Fprintln(j.env.stderr, "tidings: standard input is read as NDJSON; CSV needs --format csv")
	}
	slices.SortStableFunc(failures, func(a, b lineFailure) int { return cmp.Compare(a.Line, b.Line) })
	if err := j.tell(failures); err != nil {
		return err
	}
	j.bad += len(failures)
	j.at = c.end
	j.progress.update(c.read, j.users, func() string {
		if j.bad == 0 {
			return ""
		}
		return ", " + counted(j.bad, "bad line", "bad lines")
	})
	if j.note != nil {
		return j.note.saveSometimes(j)
	}
	return nil
}

func (j *importJob) send(ctx context.Context, c *chunk) (out admin.ImportResult, err error) {
	request := admin.ImportRequest{ID: uint32(j.app), Replace: j.replace, Begins: c.begins}
	if j.dryRun && c.begins && len(c.header) > 0 {
		j.header = c.header
	}
	if j.dryRun && !c.begins && j.header != nil {
		// No chunk before it named the attributes for good.
		c.data, c.numbers, request.Begins = append(slices.Clone(j.header), c.data...), append([]int{0}, c.numbers...), true
	}
	j.sent = true
	answer, err := j.op.Open(ctx, j.caller, request, c.data)
	if err != nil {
		return out, err
	}
	defer answer.Close()
	text, err := io.ReadAll(answer)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(text, &out)
}

// A lineFailure is a line of the file that is not in, and why.
type lineFailure struct {
	Line    int    `json:"line"`
	Account string `json:"account,omitempty"`
	Reason  string `json:"reason"`
}

// tell reports bad lines: all in the file for them, the first on the screen.
func (j *importJob) tell(failures []lineFailure) error {
	if j.failures != nil {
		enc := json.NewEncoder(j.failures)
		enc.SetEscapeHTML(false)
		for _, f := range failures {
			if err := enc.Encode(f); err != nil {
				return fmt.Errorf("--errors: %w", err)
			}
		}
		if err := j.failures.Flush(); err != nil { // before the note says that they are told
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

// The formats of files of users.
const (
	formatNDJSON = "ndjson"
	formatCSV    = "csv"
)

// fileFormat is the format that a flag or else a file's name says.
func fileFormat(name, flag string) (string, error) {
	switch flag {
	case formatNDJSON, formatCSV:
		return flag, nil
	case "":
	default:
		return "", usagef("--format %q is neither ndjson nor csv", flag)
	}
	base := strings.TrimSuffix(strings.ToLower(name), ".gz")
	switch {
	case strings.HasSuffix(base, ".csv"):
		return formatCSV, nil
	case name == "-", strings.HasSuffix(base, ".ndjson"), strings.HasSuffix(base, ".jsonl"):
		return formatNDJSON, nil
	}
	return "", usagef("the name %q does not tell the format; give --format ndjson or --format csv", name)
}

// seconds writes a time that something took.
func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}

// tooLong is the reason for a line beyond the limit.
var tooLong = fmt.Sprintf("it is longer than %d bytes", userfile.MaxLineBytes)
