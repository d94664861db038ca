// Package cli is the program: its verbs and flags, what it prints and how it exits.
//
// Exit codes, those above 2 as in sysexits.h:
//
//	0   done
//	1   it failed, or the answer is no (an ErrorCode, a ticket that is not good, findings)
//	2   left to the Go runtime, which ends a program with it after a panic or without
//	    memory; tidings check also ends with it when it could not check
//	64  a mistake on the command line
//	70  the store failed
//	78  a mistake in the configuration
//
// Repeating a command that ended with 64 or 78 cannot help. Results go to standard
// output; errors, warnings and progress go to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/server"
)

// Main runs a command line and returns the exit code of the process.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookup func(string) (string, bool)) int {
	return exitCode(run(ctx, args, stdin, stdout, stderr, lookup))
}

// env holds what a command uses of its process; tests bring their own.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)
	helpFailed     error // why help could not be printed; Cobra has no place for it
}

// run is the whole program: it prints its own error and returns it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookup func(string) (string, bool)) error {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, lookup: lookup}
	root := group("tidings", "A push and audience server that you run yourself",
		e.serveCommand(), e.pushCommand(), e.taskCommand(), e.traceCommand(), e.audienceCommand(),
		e.appCommand(), e.keyCommand(), e.adminCommand(), e.appKeyCommand(), e.channelCommand(), e.sigCommand(),
		e.userCommand(), e.deviceCommand(), e.importCommand(), e.exportCommand(), e.callCommand(), e.openAPICommand(), e.checkCommand(), e.checkpointCommand(),
		e.backupCommand(), e.restoreCommand(), e.statusCommand(), e.simulateCommand(), e.versionCommand())
	root.Version = versionLine(currentVersion())
	root.SetVersionTemplate("{{.Version}}\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.SetArgs(append([]string{}, args...)) // nil would be os.Args
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	begun := false
	noteStart(root, &begun)
	plainSwitches(root)
	e.completeAppNumbers(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = e.helpFailed
	}
	if err == nil {
		return nil
	}
	if _, coded := errors.AsType[*exitError](err); !begun && !coded {
		// Cobra refused the arguments.
		err = usagef("%w; see %s --help", err, cmd.CommandPath())
	}
	if text := err.Error(); text != "" {
		if server.IsDamage(err) {
			text += damageHint
		}
		fmt.Fprintf(stderr, "tidings: %s\n", text)
	}
	return err
}

// damageHint follows an error about damaged files: its words decide what to do.
const damageHint = "; see Damage in doc/operating.md"

// group returns a command that only has further commands.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: name, Short: short, SuggestionsMinimumDistance: 2}
	g.AddCommand(commands...)
	g.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), didYouMean(cmd.SuggestionsFor(args[0])))
	}
	g.SetFlagErrorFunc(flagError)
	g.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.HasParent() {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		return usagef("%s needs a command: %s", cmd.Name(), enumerate(names, "or"))
	}
	return g
}

// noteStart makes a command set begun when it starts to work. An error before that is
// about its arguments.
func noteStart(cmd *cobra.Command, begun *bool) {
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*begun = true
			return work(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		noteStart(c, begun)
	}
}

// An exitError ends the program with a code of its own.
type exitError struct {
	code int
	err  error // nil: the output says all
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// errNo ends a command whose output says that the answer is no.
var errNo error = &exitError{code: exitFailure}

const (
	exitFailure = 1
	exitUsage   = 64 // EX_USAGE
	exitConfig  = 78 // EX_CONFIG
)

// usagef returns the error of a command line that is wrong.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// configf returns the error of a configuration that is wrong.
func configf(format string, args ...any) error {
	return &exitError{exitConfig, fmt.Errorf(format, args...)}
}

// exitCode returns the exit code of the process for the error of its command.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailure
}
