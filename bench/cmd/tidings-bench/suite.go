package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/bench/suite"
)

// quickScale is the scale of --quick.
const quickScale = 0.05

func (p *program) suiteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Measure servers against the aims of the project",
		Long: `Start servers in a temporary directory, measure them against the aims of the
project and beside other databases, and print a table. It needs Linux. Redis and
PostgreSQL are measured if they are installed.`,
		Example: `  tidings-bench suite --quick
  tidings-bench suite --only changes --rounds 5 --dir /var/tmp
  tidings-bench suite --only requests --before ./tidings-v0.1`,
		Args: noArguments,
	}
	var o suite.Options
	var quick, asJSON bool
	groups := strings.Join(suite.Groups(), ", ")
	f := cmd.Flags()
	f.StringVar(&o.Program, "program", "", "the `PROGRAM` that is measured (default tidings beside this program)")
	f.StringVar(&o.Before, "before", "", "an older `PROGRAM` whose changes are compared with")
	f.BoolVar(&quick, "quick", false, fmt.Sprintf("a twentieth of the users and the time (--scale %g)", quickScale))
	f.Float64Var(&o.Scale, "scale", 1, "scale of users and time")
	f.DurationVar(&o.Round, "turn", 0, "measured time of one turn (default 5s times the scale, at least 1s)")
	f.IntVar(&o.Rounds, "rounds", 3, "turns of each comparison")
	f.StringVar(&o.Only, "only", "", fmt.Sprintf("one `GROUP` of cases: %s", groups))
	f.StringVar(&o.Dir, "dir", "", "`DIRECTORY` for the temporary one: the disk that is measured")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	connections := connectionsFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case quick && f.Changed("scale"):
			return usagef("--quick and --scale do not go together")
		case o.Scale <= 0 || o.Scale > 100:
			return usagef("--scale %g is not above 0 and at most 100", o.Scale)
		case o.Rounds < 1:
			return usagef("--rounds %d is less than 1", o.Rounds)
		case f.Changed("turn") && (o.Round < 10*time.Millisecond || o.Round > time.Hour):
			return usagef("--turn %v is not from 10ms to 1h", o.Round)
		case o.Only != "" && !slices.Contains(suite.Groups(), o.Only):
			return usagef("--only %q is none of %s", o.Only, groups)
		}
		if err := checkConnections(*connections); err != nil {
			return err
		}
		if quick {
			o.Scale = quickScale
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if o.Program == "" {
			o.Program = filepath.Join(filepath.Dir(self), "tidings")
		}
		for _, f := range []struct{ flag, program string }{{"program", o.Program}, {"before", o.Before}} {
			if _, err := exec.LookPath(f.program); err != nil && f.program != "" {
				return usagef("--%s: %w", f.flag, err)
			}
		}
		o.Baseline, o.Post = []string{self, "baseline"}, []string{self, "post"}
		o.Connections, o.Log = *connections, p.stderr
		report, err := suite.Run(cmd.Context(), o)
		if len(report.Rows)+len(report.Notes) == 0 {
			return err
		}
		write := report.WriteMarkdown
		if asJSON {
			write = report.WriteJSON
		}
		if writeErr := write(p.stdout); err == nil {
			err = writeErr
		}
		return err
	}
	return cmd
}
