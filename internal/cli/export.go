package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/audience"
	"tidings/internal/control"
	"tidings/internal/userfile"
)

type exportFlags struct {
	app            appID
	output, format string
	gzip           bool
}

func (e *env) exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export --app SDKAPPID",
		Short: "Export all users of an app",
		Long: `Export all users of an app with attributes, tags and profile, in the order in which
they were made, as they are at one moment. It works on a running server, holding up
nobody, and with none on the data directory. tidings import reads what it writes.

A file is written under another name and renamed when it is whole.`,
		Example: `  tidings export --app 1400000001 --output users.ndjson.gz
  tidings export --app 1400000001 --format csv > users.csv`,
		Args: takes(),
	}
	var flags exportFlags
	appFlag(cmd, &flags.app)
	f := cmd.Flags()
	f.StringVar(&flags.output, "output", "-", "`FILE` to write; - is standard output")
	f.StringVar(&flags.format, "format", "", "`ndjson|csv`; default what the name of FILE says")
	f.BoolVar(&flags.gzip, "gzip", false, "compress; default if the name of FILE ends in .gz")
	dataFlag(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return e.runExport(cmd, &flags) }
	return cmd
}

func (e *env) runExport(cmd *cobra.Command, flags *exportFlags) (err error) {
	format, err := fileFormat(flags.output, flags.format)
	if err != nil {
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
	x := &exportJob{caller: c, app: app.ID, csv: format == formatCSV, progress: newProgress(e.stderr, int64(app.Users), "users")}
	begun := time.Now()
	if flags.output == "-" {
		err = x.write(ctx, e.stdout, flags.gzip)
	} else {
		err = x.file(ctx, flags.output, flags.gzip || strings.HasSuffix(flags.output, ".gz"))
	}
	x.progress.clear()
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		} else if errors.Is(err, control.ErrStopped) {
			err = fmt.Errorf("%w; start it, then the export again", err)
		}
		return fmt.Errorf("the export is not complete: %w", err)
	}
	took := time.Since(begun).Seconds()
	fmt.Fprintf(e.stderr, "tidings: %s exported in %s, %s a second\n", counted(x.users, "user", "users"), seconds(took), number(int(float64(x.users)/took)))
	return nil
}

// An exportJob is one run of tidings export.
type exportJob struct {
	caller   admin.Caller
	app      uint32
	csv      bool
	progress *progress
	users    int
}

// file writes a file that is there whole or not at all.
func (x *exportJob) file(ctx context.Context, name string, zip bool) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: failed.Op, Path: name, Err: failed.Err} // nobody asked for the other name
	}
	if err != nil {
		return err
	}
	err = x.write(ctx, f, zip)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// write writes the users in the format wanted.
func (x *exportJob) write(ctx context.Context, w io.Writer, zip bool) error {
	answer, err := admin.ExportUsers.Open(ctx, x.caller, admin.AppRequest{ID: x.app}, nil)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, exportBuffer)
	if zip {
		z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
		if err != nil {
			return errors.Join(err, answer.Close())
		}
		err = x.format(z, answer)
		if err = errors.Join(err, z.Close()); err != nil {
			return errors.Join(err, answer.Close())
		}
	} else if err := x.format(out, answer); err != nil {
		return errors.Join(err, answer.Close())
	}
	return errors.Join(out.Flush(), answer.Close())
}

const exportBuffer = 256 << 10

func (x *exportJob) format(w io.Writer, answer io.Reader) error {
	if x.csv {
		return x.asCSV(w, answer)
	}
	buf := make([]byte, exportBuffer)
	lines := -1 // the header is no user
	for {
		n, err := answer.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		lines += bytes.Count(buf[:n], []byte("\n"))
		x.told(max(lines, 0))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// told notes how many users were written.
func (x *exportJob) told(users int) {
	x.users = users
	x.progress.update(int64(users), users, nil)
}

func (x *exportJob) asCSV(w io.Writer, answer io.Reader) error {
	in := bufio.NewReaderSize(answer, exportBuffer)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	attrs, err := userfile.ParseHeader(line)
	if err != nil {
		return err
	}
	return x.rows(w, in, attrs)
}

func (x *exportJob) rows(w io.Writer, in *bufio.Reader, attrs *audience.Attributes) error {
	out, err := userfile.NewCSVWriter(w, attrs)
	if err != nil {
		return err
	}
	var parser userfile.Parser
	var user userfile.Line
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			x.users = n - 1
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if err := parser.Line(line, &user); err != nil {
			return fmt.Errorf("user %d: %w", n, err)
		}
		if err := out.Write(&user); err != nil {
			return err
		}
		if n%1000 == 0 {
			x.told(n)
		}
	}
}
