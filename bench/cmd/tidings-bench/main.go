// Command tidings-bench measures Tidings servers: run puts load on an app of a server,
// suite starts servers and measures them against the aims of the project and beside
// Redis and PostgreSQL.
//
// Exit codes: 0 done; 1 it failed; 2 the command line is wrong. Results go to standard
// output; errors, warnings and progress go to standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tidings/bench/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// A program holds what the commands use of the process they run in.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// execute runs a command line, prints its error and returns the exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin, stdout, stderr}
	root := &cobra.Command{
		Use: "tidings-bench", Short: "Measure Tidings servers",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(p.runCommand(), p.suiteCommand(), p.baselineCommand(), p.postCommand())
	root.SetArgs(append([]string{}, args...)) // nil would be os.Args
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if !parsed {
		err = usagef("%w; see %s --help", err, cmd.CommandPath())
	}
	code := 1
	if _, ok := errors.AsType[*usageError](err); ok {
		code = 2
	} else if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(stderr, "tidings-bench: %v\n", err)
	return code
}

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// noArguments refuses the first argument of a command that takes none.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

const maxConnections = 10_000

// connectionsFlag adds --connections to a command.
func connectionsFlag(cmd *cobra.Command) *int {
	return cmd.Flags().Int("connections", load.DefaultConnections, "connections that requests are sent on")
}

func checkConnections(n int) error {
	if n < 1 || n > maxConnections {
		return usagef("--connections %d is not a number from 1 to %d", n, maxConnections)
	}
	return nil
}

// baselineCommand is the process of the bare handler, which the suite starts.
func (p *program) baselineCommand() *cobra.Command {
	return &cobra.Command{
		Use: "baseline", Short: "Answer every request with standard input, as the suite has servers compared with",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return load.BaselineProcess(cmd.Context(), p.stdin, p.stdout)
		},
	}
}

// postCommand is the process of the bare client of a push provider, which the suite starts.
func (p *program) postCommand() *cobra.Command {
	return &cobra.Command{
		Use: "post", Short: "Post messages as standard input says, as the suite has servers compared with",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return load.PostProcess(cmd.Context(), p.stdin, p.stdout)
		},
	}
}

func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
