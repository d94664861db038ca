package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tidings/internal/api"
	"tidings/internal/config"
	"tidings/internal/server"
)

func (e *env) serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until it is interrupted.

Every key of the configuration file is also a flag and a TIDINGS_ variable; a flag
wins over a variable, a variable over the file. When the server is ready it prints
one line with its address to standard output; it logs to standard error.

Exit codes: 0 it was told to stop; 1 it could not start or go on; 64 the command
line is wrong; 70 the store failed: the disk refused a write, or a change could not
be carried through; 78 the configuration is wrong, and every mistake has been
listed. Starting it again after 64 or 78 cannot help.`,
		Example: `  tidings serve --demo
  tidings serve --config tidings.yaml
  tidings serve --listen 127.0.0.1:0 --data /var/lib/tidings`,
		Args: takes(),
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE` (YAML)")
	config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, unknown := range config.UnknownVariables(os.Environ()) { // lookup finds no name that is not asked for
			fmt.Fprintf(e.stderr, "tidings: warning: the variable %s\n", unknown)
		}
		cfg, err := config.Load(cmd.Flags(), e.lookup, file, api.Commands())
		if err != nil {
			return configError(err)
		}
		return e.serve(cmd.Context(), cfg)
	}
	return cmd
}

// configError lists what is wrong with a configuration, a line each.
func configError(err error) error {
	mistakes, ok := errors.AsType[*config.Errors](err)
	if !ok || len(mistakes.Mistakes) == 1 {
		return configf("%w", err)
	}
	return configf("the configuration has %d mistakes:\n  %s", len(mistakes.Mistakes), strings.ReplaceAll(err.Error(), "\n", "\n  "))
}

// untilTold ends when the process is told to stop. A second signal then ends the
// process at once.
func untilTold(ctx context.Context) (_ context.Context, stop func()) {
	ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// serve runs a server until ctx ends or the process is told to stop.
func (e *env) serve(ctx context.Context, cfg *config.Config) error {
	ctx, stop := untilTold(ctx)
	defer stop()

	if cfg.Demo {
		if err := prepareDemo(cfg); err != nil {
			return err
		}
	}
	log, flush := server.NewLogger(e.stderr, cfg)
	defer flush()
	s, err := server.Start(ctx, cfg, currentVersion().Version, log)
	if err != nil {
		return err
	}
	demo := ""
	if cfg.Demo {
		if demo, err = fillDemo(ctx, s); err != nil {
			ended, end := context.WithCancel(ctx)
			end()
			return errors.Join(fmt.Errorf("demo data: %w", err), s.Run(ended)) // closes it
		}
	}
	ready := fmt.Sprintf("tidings: ready on %s (data %s", s.URL(), cfg.Data)
	if m := s.MetricsURL(); m != "" {
		ready += ", metrics " + m
	}
	fmt.Fprintf(e.stdout, "%s)\n%s", ready, demo)
	return s.Run(ctx)
}
