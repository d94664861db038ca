package cli

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/transfer"
)

func (e *env) deviceImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import --app SDKAPPID FILE",
		Short: "Import devices with their tokens from a file",
		Long: `Import devices with their tokens from a file of NDJSON, which may be compressed with
gzip; - is standard input. It works on a running server and, with none, on the data
directory. What a line holds, and how to make lines from the files of other services,
is in doc/device-files.md.

A device that exists becomes as its line says, but keeps its secret and its badge. The
user of a device is made if there is none of this name. Certificates must be there
before. Lines are applied in their order. Bad lines are reported with their number and
the others are in. An import can be repeated, and one that was interrupted goes on
where it was if it is started again: FILE` + transfer.NoteSuffix + ` tells where.

Exit codes: 0 all lines are in; 1 some are bad, or it failed.`,
		Example: `  tidings device import --app 1400000001 devices.ndjson.gz --dry-run
  tidings device import --app 1400000001 devices.ndjson.gz --errors bad.ndjson
  jq -c -f pinpoint.jq endpoints.json | tidings device import --app 1400000001 -`,
		Args: takes("FILE"),
	}
	var flags importFlags
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return e.runImport(cmd, cargoOfDevices, args[0], transfer.NDJSON, &flags)
	}
	return cmd
}

// A deviceSummary is an importSummary of devices.
type deviceSummary struct {
	Lines     int     `json:"lines"`
	Devices   int     `json:"devices"`
	Created   int     `json:"created"`
	Changed   int     `json:"changed"`
	Unchanged int     `json:"unchanged"`
	Bad       int     `json:"bad"`
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"devices_per_second"`
	Resumed   int     `json:"resumed_after_line,omitempty"`
	DryRun    bool    `json:"dry_run,omitempty"`
}

// ofDevices returns the summary with its numbers under the names that they have for
// devices.
func (s *importSummary) ofDevices() deviceSummary {
	return deviceSummary{s.Lines, s.Users, s.Created, s.Changed, s.Unchanged, s.Bad, s.Seconds, s.Rate, s.Resumed, s.DryRun}
}

func (e *env) deviceExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export --app SDKAPPID",
		Short: "Export the devices of an app with their tokens",
		Long: `Export the devices of an app as NDJSON, with their tokens and what is kept of their
secrets, in the order in which they were made, as they are at one moment. It works on a
running server, holding up nobody, and with none on the data directory. tidings device
import reads what it writes.

Whoever has the file and the credentials of the app reaches these people: keep it like a
credential. A file is written under another name, readable by its owner alone, and
renamed when it is whole.`,
		Example: `  tidings device export --app 1400000001 --output devices.ndjson.gz`,
		Args:    takes(),
	}
	var id appID
	appFlag(cmd, &id)
	output := cmd.Flags().String("output", "-", "`FILE` to write; - is standard output")
	zip := cmd.Flags().Bool("gzip", false, "compress; default if the name of FILE ends in .gz")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		ctx, stop := untilTold(cmd.Context())
		defer stop()
		c, err := e.reach(ctx, e.data(cmd), accessOf(admin.ExportDevices.Effect()))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		request := admin.AppRequest{ID: uint32(id)}
		if _, err := admin.ShowApp.Do(ctx, c, request); err != nil {
			return err // before a file is made
		}
		x := &transfer.Export{
			Format: transfer.NDJSON, Zip: *zip,
			Fetch: func(ctx context.Context) (io.ReadCloser, error) {
				return admin.ExportDevices.Open(ctx, c, request, nil)
			},
		}
		return e.writeExport(ctx, x, cargoOfDevices, 0, *output)
	}
	return cmd
}
