package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/store"
)

func (e *env) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that a data directory is sound",
		Long: `Look at what is in a data directory and list what is wrong, one finding per line.
It changes nothing, and works while the server runs: then it looks at the apps in
the server's memory and at the tables. With no server it reads every file, and
makes the apps a second time from the older checkpoint and the log.

Exit codes: 0 nothing is wrong; 1 there are findings; 2 it could not be checked.`,
		Args: takes(),
	}
	dataFlag(cmd.Flags())
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := ask(e, cmd, admin.CheckStore, admin.None{})
		if err != nil {
			return &exitError{exitUncheckable, fmt.Errorf("could not check: %w", err)}
		}
		if *asJSON {
			err = e.printJSON(r)
		} else {
			e.printFindings(r)
		}
		if err == nil && len(r.Findings) > 0 {
			err = errNo
		}
		return err
	}
	return cmd
}

const exitUncheckable = 2

func (e *env) printFindings(r admin.CheckReport) {
	for _, f := range r.Findings {
		if strings.HasPrefix(f.What, f.Where+" ") { // it names the place itself
			fmt.Fprintln(e.stdout, plain(f.What))
			continue
		}
		fmt.Fprintf(e.stdout, "%s: %s\n", plain(f.Where), plain(f.What))
	}
	if r.More > 0 {
		fmt.Fprintf(e.stdout, "and %s\n", counted(r.More, "further finding", "further findings"))
	}
	findings := len(r.Findings) + r.More
	if findings > 0 && r.Summary == (store.Summary{}) {
		// A directory that opens has at least the record that its first opening makes.
		fmt.Fprintf(e.stdout, "Nothing could be counted: %s%s.\n", counted(findings, "finding", "findings"), damageHint)
		return
	}
	fmt.Fprintf(e.stdout, "%s, %s, %s: ", counted(r.Apps, "app", "apps"), counted(r.Users, "user", "users"), counted(r.Other, "other record", "other records"))
	if findings > 0 {
		fmt.Fprintf(e.stdout, "%s.\n", counted(findings, "finding", "findings"))
	} else {
		fmt.Fprintln(e.stdout, "nothing is wrong.")
	}
}
