package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (make build).
var version string

// build is which program this is.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from changed files
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func currentVersion() build {
	b := build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version // of go install tidings@v1.2.3
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

func (e *env) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: takes()}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := currentVersion()
		if *asJSON {
			return e.printJSON(b)
		}
		s := fmt.Sprintf("tidings %s (%s, %s/%s", b.Version, b.Go, b.OS, b.Arch)
		if b.Commit != "" {
			s += ", commit " + b.Commit[:min(len(b.Commit), 12)]
			if b.Modified {
				s += " with changes"
			}
		}
		_, err := fmt.Fprintln(e.stdout, s+")")
		return err
	}
	return cmd
}
