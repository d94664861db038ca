package transfer

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

	"tidings/internal/audience"
	"tidings/internal/userfile"
)

// Write writes the users of an app as NDJSON: a header, and a line for each. With a query
// it writes only those of the audience that it returns. Nothing is written if the query
// is wrong.
func Write(ctx context.Context, users audience.Store, app uint32, query func(*audience.Attributes) (audience.Query, error), out io.Writer) error {
	var attrs audience.Attributes
	var line userfile.Line
	var b []byte
	write := func(err error) error {
		if err == nil {
			_, err = out.Write(b)
		}
		return err
	}
	return users.Export(ctx, app, query, func(a *audience.Attributes) (err error) {
		attrs = *a
		b, err = userfile.AppendHeader(b[:0], a)
		return write(err)
	}, func(u *audience.Exported) (err error) {
		line = userfile.Line{Account: u.Account, Kind: u.Kind, Created: u.Created, Attrs: line.Attrs[:0], Tags: u.Tags}
		for i, v := range u.Values {
			if v != "" {
				line.Attrs = append(line.Attrs, audience.NamedValue{Name: attrs[i].Name, Value: v})
			}
		}
		if u.Nick != "" {
			line.Nick = &u.Nick
		}
		if u.FaceURL != "" {
			line.FaceURL = &u.FaceURL
		}
		b, err = userfile.AppendLine(b[:0], &line)
		return write(err)
	})
}

// An Export is one run of an export into a file.
type Export struct {
	Format Format
	Zip    bool
	// Fetch begins to carry what Write or WriteDevices writes.
	Fetch func(context.Context) (io.ReadCloser, error)
	// Watch is told now and then how many users or devices are written.
	Watch   func(n int)
	Devices bool // there is no header before them
	Count   int  // of users or devices
}

// File writes a file that is there whole or not at all.
func (x *Export) File(ctx context.Context, name string) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: failed.Op, Path: name, Err: failed.Err} // nobody asked for the other name
	}
	if err != nil {
		return err
	}
	err = x.To(ctx, f)
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

// To writes the users or devices in the format wanted.
func (x *Export) To(ctx context.Context, w io.Writer) error {
	in, err := x.Fetch(ctx)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, exportBuffer)
	if x.Zip {
		z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
		if err != nil {
			return errors.Join(err, in.Close())
		}
		err = x.format(z, in)
		if err = errors.Join(err, z.Close()); err != nil {
			return errors.Join(err, in.Close())
		}
	} else if err := x.format(out, in); err != nil {
		return errors.Join(err, in.Close())
	}
	return errors.Join(out.Flush(), in.Close())
}

const exportBuffer = 256 << 10

func (x *Export) format(w io.Writer, in io.Reader) error {
	if x.Format == CSV {
		return x.asCSV(w, in)
	}
	buf := make([]byte, exportBuffer)
	lines := -1 // the header is no user
	if x.Devices {
		lines = 0
	}
	for {
		n, err := in.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		lines += bytes.Count(buf[:n], []byte("\n"))
		x.wrote(max(lines, 0))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (x *Export) wrote(n int) {
	x.Count = n
	x.Watch(n)
}

func (x *Export) asCSV(w io.Writer, answer io.Reader) error {
	in := bufio.NewReaderSize(answer, exportBuffer)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	attrs, err := userfile.ParseHeader(line)
	if err != nil {
		return err
	}
	out, err := userfile.NewCSVWriter(w, attrs)
	if err != nil {
		return err
	}
	var parser userfile.Parser
	var user userfile.Line
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			x.Count = n - 1
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
			x.wrote(n)
		}
	}
}
