package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/load"
	"tidings/internal/load/suite"
)

// benchBaseline is the command that bench --suite runs in a process of its own.
const benchBaseline = "bench-baseline"

// quickScale is the scale of --quick.
const quickScale = 0.05

// benchSuite adds the flags of bench --suite, and returns what runs it and the
// names of the flags.
func (e *env) benchSuite(cmd *cobra.Command) (run func(*cobra.Command, int, bool) error, names []string) {
	var quick bool
	var o suite.Options
	f := cmd.Flags()
	f.BoolVar(&quick, "quick", false, fmt.Sprintf("with --suite: a twentieth of the users and the time (--scale %g)", quickScale))
	f.Float64Var(&o.Scale, "scale", 1, "with --suite: scale of users and time")
	f.DurationVar(&o.Round, "turn", 0, "with --suite: measured time of one turn (default 5s times the scale, at least 1s)")
	f.IntVar(&o.Rounds, "rounds", 3, "with --suite: turns of each comparison")
	f.StringVar(&o.Only, "only", "", fmt.Sprintf("with --suite: one `GROUP` of cases, %s", strings.Join(suite.Groups(), ", ")))
	f.StringVar(&o.Before, "before", "", "with --suite: an older `PROGRAM` whose changes are compared with")
	f.StringVar(&o.Dir, "dir", "", "with --suite: `DIRECTORY` for its temporary one: the disk that is measured")
	names = []string{"quick", "scale", "turn", "rounds", "only", "before", "dir"}
	return func(cmd *cobra.Command, connections int, asJSON bool) error {
		if o.Scale <= 0 || o.Scale > 100 || o.Rounds < 1 {
			return usagef("--scale must be above 0 and at most 100, and --rounds at least 1")
		}
		if f.Changed("turn") && (o.Round < 10*time.Millisecond || o.Round > time.Hour) {
			return usagef("--turn %v is not from 10ms to 1h", o.Round)
		}
		if quick {
			if f.Changed("scale") {
				return usagef("--quick and --scale do not go together")
			}
			o.Scale = quickScale
		}
		program, err := os.Executable()
		if err != nil {
			return err
		}
		if o.Only != "" && !slices.Contains(suite.Groups(), o.Only) {
			return usagef("--only %q is none of %s", o.Only, strings.Join(suite.Groups(), ", "))
		}
		o.Program, o.Baseline = program, []string{program, benchBaseline}
		o.Connections, o.Log = connections, e.stderr
		report, err := suite.Run(cmd.Context(), o)
		if len(report.Rows)+len(report.Notes) > 0 {
			var printErr error
			if asJSON {
				printErr = e.printJSON(newSuiteReport(report))
			} else {
				printErr = report.WriteMarkdown(e.stdout)
			}
			if err == nil {
				err = printErr
			}
		}
		return err
	}, names
}

// suiteReport is a suite.Report for programs.
type suiteReport struct {
	Machine string     `json:"machine"`
	Rows    []suiteRow `json:"rows"`
	Notes   []string   `json:"notes"`
	Met     bool       `json:"met"`
}

type suiteRow struct {
	Case     string `json:"case"`
	Ours     string `json:"ours"`
	Baseline string `json:"baseline"`
	Ratio    string `json:"ratio"`
	Aim      string `json:"aim"`
	Met      bool   `json:"met"`
}

func newSuiteReport(r suite.Report) suiteReport {
	out := suiteReport{Machine: r.Machine, Rows: []suiteRow{}, Notes: r.Notes, Met: r.Met()}
	for _, row := range r.Rows {
		out.Rows = append(out.Rows, suiteRow(row))
	}
	return out
}

func (e *env) benchBaselineCommand() *cobra.Command {
	return &cobra.Command{
		Use: benchBaseline, Hidden: true, Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return load.BaselineProcess(cmd.Context(), e.stdin, e.stdout)
		},
	}
}
