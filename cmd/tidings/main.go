// Command tidings is the push and audience server and the tool of its operator.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv)
	stop()
	if err != nil {
		os.Exit(exitCode(err))
	}
}

// env is what a command uses of the process it runs in; tests bring their own.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)
}

// run is the whole program: it prints its own error and returns it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookup func(string) (string, bool)) error {
	e := &env{stdin, stdout, stderr, lookup}
	root := &cobra.Command{
		Use:           "tidings",
		Short:         "A push and audience server that you run yourself",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(e.serveCommand())
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "tidings: %v\n", err)
	}
	return err
}

// exitCode is 1 for every failure.
func exitCode(error) int { return 1 }
