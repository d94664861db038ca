package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"tidings/internal/server"
)

// version is set by the linker (make build).
var version string

func currentVersion() server.Build { return server.ThisBuild(version) }

// versionLine returns what tidings version prints.
func versionLine(b server.Build) string {
	s := fmt.Sprintf("tidings %s (%s, %s/%s", b.Version, b.Go, b.OS, b.Arch)
	if b.Commit != "" {
		s += ", commit " + b.Commit[:min(len(b.Commit), 12)]
		if b.Modified {
			s += " with changes"
		}
	}
	return s + ")"
}

func (e *env) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: takes()}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := currentVersion()
		if *asJSON {
			return e.printJSON(b)
		}
		_, err := fmt.Fprintln(e.stdout, versionLine(b))
		return err
	}
	return cmd
}
