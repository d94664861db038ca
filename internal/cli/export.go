package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/control"
	"tidings/internal/transfer"
)

type exportFlags struct {
	app            appID
	output, format string
	gzip           bool
	selectionFlags
}

func (e *env) exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export --app SDKAPPID",
		Short: "Export the users of an app",
		Long: `Export the users of an app with attributes, tags and profile, in the order in which
they were made, as they are at one moment. It works on a running server, holding up
nobody, and with none on the data directory. tidings import reads what it writes.

All users are exported, or those that --where selects in words, such as
plan == "gold" && !tag("muted"), or --condition as push takes it. --account-type
alone selects everyone of a type.

A file is written under another name and renamed when it is whole.`,
		Example: `  tidings export --app 1400000001 --output users.ndjson.gz
  tidings export --app 1400000001 --format csv > users.csv
  tidings export --app 1400000001 --where 'tag("beta") && has("city")' --output beta.ndjson`,
		Args: takes(),
	}
	var flags exportFlags
	appFlag(cmd, &flags.app)
	f := cmd.Flags()
	f.StringVar(&flags.output, "output", "-", "`FILE` to write; - is standard output")
	formatFlag(cmd, &flags.format)
	f.BoolVar(&flags.gzip, "gzip", false, "compress; default if the name of FILE ends in .gz")
	flags.selectionFlags.add(cmd)
	dataFlag(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return e.runExport(cmd, &flags) }
	return cmd
}

func (e *env) runExport(cmd *cobra.Command, flags *exportFlags) (err error) {
	format, err := fileFormat(flags.output, flags.format)
	if err != nil {
		return err
	}
	request := admin.ExportRequest{ID: uint32(flags.app)}
	if request.Selection, err = flags.selection(cmd); err != nil {
		return err
	}
	ctx, stop := untilTold(cmd.Context())
	defer stop()
	c, err := e.reach(ctx, e.data(cmd), accessOf(admin.ExportUsers.Effect()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	app, err := admin.ShowApp.Do(ctx, c, admin.AppRequest{ID: uint32(flags.app)})
	if err != nil {
		return err
	}
	total := int64(app.Users)
	if !request.Everybody() {
		total = 0 // how many are selected is not known
	}
	x := &transfer.Export{
		Format: format, Zip: flags.gzip,
		Fetch: func(ctx context.Context) (io.ReadCloser, error) {
			return admin.ExportUsers.Open(ctx, c, request, nil)
		},
	}
	return e.writeExport(ctx, x, cargoOfUsers, total, flags.output)
}

// writeExport writes an export into a file, or to standard output, with its progress. A
// total of 0 is not known.
func (e *env) writeExport(ctx context.Context, x *transfer.Export, cargo cargo, total int64, output string) (err error) {
	p := newProgress(e.stderr, total, cargo.many)
	x.Watch = func(n int) { p.update(int64(n), n, nil) }
	x.Zip = x.Zip || strings.HasSuffix(output, ".gz")
	x.Devices = cargo.devices
	begun := time.Now()
	if output == "-" {
		err = x.To(ctx, e.stdout)
	} else {
		err = x.File(ctx, output)
	}
	p.clear()
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		} else if errors.Is(err, control.ErrStopped) {
			err = fmt.Errorf("%w; start it, then the export again", err)
		}
		return fmt.Errorf("the export is not complete: %w", err)
	}
	took := time.Since(begun).Seconds()
	fmt.Fprintf(e.stderr, "tidings: %s exported in %s, %s a second\n", counted(x.Count, cargo.one, cargo.many), seconds(took), number(int(float64(x.Count)/took)))
	return nil
}
