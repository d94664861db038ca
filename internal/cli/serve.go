package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"tidings/internal/api"
	"tidings/internal/config"
	"tidings/internal/server"
)

func (e *env) serveCommand() *cobra.Command {
	var file string
	var check bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until it is interrupted.

Every key of the configuration file is also a flag and a TIDINGS_ variable; a flag
wins over a variable, a variable over the file. When the server is ready it prints
one line with its address to standard output; it logs to standard error. A SIGHUP
makes it read the certificate again.

With --check-config it starts nothing and changes nothing: it checks the
configuration, the files that it names, and that its apps fit what is in the data
directory, and says what a start would change in them.

Exit codes: 0 it was told to stop; 1 it could not start or go on; 64 the command
line is wrong; 70 the store failed: the disk refused a write, or a change could not
be carried through; 78 the configuration is wrong, and every mistake has been
listed. Starting it again after 64 or 78 cannot help.`,
		Example: `  tidings serve --demo
  tidings serve --config tidings.yaml
  tidings serve --config tidings.yaml --check-config
  tidings serve --listen 127.0.0.1:0 --data /var/lib/tidings`,
		Args: takes(),
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE` (YAML)")
	cmd.Flags().BoolVar(&check, "check-config", false, "check the configuration and start nothing")
	config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, unknown := range config.UnknownVariables(os.Environ()) { // lookup cannot list the names
			fmt.Fprintf(e.stderr, "tidings: warning: the variable %s\n", unknown)
		}
		cfg, err := config.Load(cmd.Flags(), e.lookup, file, api.Commands())
		if err != nil {
			return configError(err)
		}
		if cfg.Demo {
			if err := prepareDemo(cfg); err != nil {
				return err
			}
		}
		if check {
			return e.checkConfig(cmd.Context(), cfg)
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

// untilTold returns a context that ends with a signal to stop. A second signal ends the
// process at once.
func untilTold(ctx context.Context) (_ context.Context, stop func()) {
	ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// serve runs a server until ctx ends or a signal to stop comes.
func (e *env) serve(ctx context.Context, cfg *config.Config) error {
	ctx, stop := untilTold(ctx)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // from now on none ends the process
	defer signal.Stop(hangups)

	log, done := server.NewLogger(e.stderr, cfg)
	defer done()
	var phones *demo
	if cfg.Demo {
		var err error
		if phones, err = startDemo(cfg, e.stdout); err != nil {
			return err
		}
		defer func() { _ = phones.Close() }() // it holds nothing that could be lost
	}
	s, err := server.Start(ctx, cfg, currentVersion().Version, log)
	switch {
	case err != nil && ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))):
		log.Info("stopped before it was ready")
		return nil
	case err != nil:
		if _, ok := errors.AsType[*server.Unfit](err); ok {
			return configf("%w", err)
		}
		return err
	}
	hints := ""
	if cfg.Demo {
		if hints, err = fillDemo(ctx, s, phones, cfg.Data); err != nil {
			ended, end := context.WithCancel(ctx)
			end()
			return errors.Join(fmt.Errorf("demo data: %w", err), s.Run(ended)) // closes it
		}
	}
	ready := fmt.Sprintf("tidings: ready on %s (data %s", s.URL(), cfg.Data)
	if m := s.MetricsURL(); m != "" {
		ready += ", metrics " + m
	}
	if where := s.Everywhere(); where != "" {
		ready += ", listening on " + where
	}
	fmt.Fprintf(e.stdout, "%s)\n%s", ready, hints)
	e.tellManager(log, "READY=1\nSTATUS=ready on "+s.URL())
	defer context.AfterFunc(ctx, func() { e.tellManager(log, "STOPPING=1") })()
	reloading, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { reload(reloading, hangups, s.Reload) })
	err = s.Run(ctx)
	end()
	wg.Wait()
	return err
}

// reload calls f for each signal, until ctx ends.
func reload(ctx context.Context, signals <-chan os.Signal, f func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			f()
		}
	}
}

// checkConfig compares the apps of a configuration, which is sound in itself, with those
// in the data directory, and prints what a start would change.
func (e *env) checkConfig(ctx context.Context, cfg *config.Config) error {
	changes, err := server.Check(ctx, cfg, currentVersion().Version, e.warnings())
	if _, ok := errors.AsType[*server.Unfit](err); ok {
		return configf("%w", err)
	}
	if err != nil {
		return fmt.Errorf("the configuration is sound in itself, but its data directory cannot be used: %w", err)
	}
	created := 0
	var lines strings.Builder
	for _, c := range changes {
		if c.New {
			created++
		} else {
			fmt.Fprintf(&lines, "  app %d: %s\n", c.ID, strings.Join(c.Settings, ", "))
		}
	}
	fmt.Fprintf(e.stdout, "tidings: the configuration is good: %s", counted(len(cfg.Apps), "app", "apps"))
	if len(changes) > 0 {
		fmt.Fprintf(e.stdout, ", of which a start makes %d and changes %d", created, len(changes)-created)
	}
	_, err = fmt.Fprintf(e.stdout, "\n%s", &lines)
	return err
}
