package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/config"
	"tidings/internal/control"
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
one line with its address to standard output; it logs to standard error.`,
		Example: `  tidings serve --demo
  tidings serve --config tidings.yaml
  tidings serve --listen 127.0.0.1:0 --data /var/lib/tidings`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(cmd.Flags(), e.lookup, file, api.Commands())
		if err != nil {
			return err
		}
		return e.serve(cmd.Context(), cfg)
	}
	return cmd
}

func (e *env) serve(ctx context.Context, cfg *config.Config) error {
	log := newLogger(e.stderr, cfg)
	if cfg.Demo {
		if err := checkDemo(cfg); err != nil {
			return err
		}
		cfg.Apps = append(cfg.Apps, demoApp())
	}
	s, err := server.Start(ctx, cfg, version(), log)
	if err != nil {
		return err
	}
	if cfg.Demo {
		if err := e.demo(ctx, s, cfg); err != nil {
			return err
		}
	}
	ready := fmt.Sprintf("tidings: ready on %s, data in %s", s.URL(), cfg.Data)
	if m := s.MetricsURL(); m != "" {
		ready += ", metrics on " + m
	}
	fmt.Fprintln(e.stdout, ready)
	return s.Run(ctx)
}

func newLogger(w io.Writer, cfg *config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// demoID is the SDKAppID of the app that --demo makes.
const demoID = 1400000001

const demoName = "demo"

func demoApp() app.Declaration {
	name := demoName
	return app.Declaration{
		ID: demoID, Name: &name,
		AttrNames: map[string]string{"0": "sex", "1": "city", "2": "country"},
	}
}

// checkDemo refuses to put demo data beside anything else.
func checkDemo(cfg *config.Config) error {
	if len(cfg.Apps) > 0 {
		return fmt.Errorf("--demo makes an app of its own and cannot be used with apps in the configuration")
	}
	marker := filepath.Join(cfg.Data, demoMarker)
	if _, err := os.Stat(marker); err == nil {
		return nil // made by an earlier --demo
	}
	entries, err := os.ReadDir(cfg.Data)
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("--demo needs an empty data directory, %s is not empty: choose another with --data", cfg.Data)
	}
	return nil
}

// demoMarker tells a later --demo that the data directory is one.
const demoMarker = "demo"

// demo fills the demo app and prints how to call it.
func (e *env) demo(ctx context.Context, s *server.Server, cfg *config.Config) error {
	if err := s.FillDemo(ctx, demoID); err != nil {
		return fmt.Errorf("demo data: %w", err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Data, demoMarker), []byte("made by tidings serve --demo\n"), 0o600); err != nil {
		return err
	}
	var sig control.Sig
	if err := s.Control().Call(ctx, "sig/make", control.SigRequest{ID: demoID}, &sig); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, `Demo app: SDKAppID %d, admin %s, users Mary and xiaoming with the attributes sex, city and country.
Take attributes away from them:

curl -s '%s/v4/timpush/remove_attr?usersig=%s&identifier=%s&sdkappid=%d&random=99999999&contenttype=json' -d '{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city"]},{"To_Account":"xiaoming","Attrs":["sex","city"]}]}'

`, demoID, sig.Identifier, s.URL(), sig.Ticket, sig.Identifier, demoID)
	return nil
}
