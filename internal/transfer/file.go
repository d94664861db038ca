package transfer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"tidings/internal/userfile"
)

// A Position is between two lines of a file, in what it holds uncompressed.
type Position struct {
	Bytes int64 `json:"bytes"`
	Lines int   `json:"lines"`
}

// A chunk is some lines of a file as the server takes them: JSON, good or bad,
// but of no more than the longest line.
type chunk struct {
	data    []byte
	numbers []int     // of the lines of data, in the file
	bad     []Failure // lines that are not in data
	begins  bool      // the first of the file
	header  []byte    // the header that it begins with
	end     Position
	read    int64 // bytes of the file, as it is stored, that were read by then
}

// users returns how many lines the chunk has that are or should be about users.
func (c *chunk) users() int {
	n := len(c.numbers) + len(c.bad)
	if c.header != nil {
		n--
	}
	return n
}

// A File is a file that is read line by line in bounded memory.
type File struct {
	name  string
	file  *os.File // nil: standard input of a test
	size  int64    // as it is stored; 0: not known
	raw   counter
	buf   *bufio.Reader // of what is stored
	zip   *gzip.Reader  // nil: it is not compressed
	lines *bufio.Reader // of what it holds

	at      Position
	pending []physical    // lines that were read and put back, before at
	csv     *userfile.CSV // nil: NDJSON
	line    userfile.Line
	scratch []byte // of record
}

// A physical line as it was read, without its line break.
type physical struct {
	text  []byte
	size  int64 // with the line break
	long  bool  // text is left out
	ended bool  // with a line break
}

// counter counts what is read of a file.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// lineBuffer holds the longest line and more.
const lineBuffer = 2 * userfile.MaxLineBytes

// tooLong is the reason for a line beyond the limit.
var tooLong = fmt.Sprintf("it is longer than %d bytes", userfile.MaxLineBytes)

// Open opens a file; - is standard input.
func Open(name string, stdin io.Reader) (*File, error) {
	in := &File{name: name}
	in.raw.Reader = stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in.file, in.raw.Reader = f, f
		info, err := f.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a directory", name)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if info.Mode().IsRegular() {
			in.size = info.Size()
		}
	}
	in.buf = bufio.NewReaderSize(&in.raw, lineBuffer)
	in.lines = in.buf
	magic, err := in.buf.Peek(2)
	if err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if in.zip, err = gzip.NewReader(in.buf); err != nil {
			return nil, errors.Join(in.explain(err), in.Close())
		}
		in.lines = bufio.NewReaderSize(in.zip, lineBuffer)
	}
	if bom, err := in.lines.Peek(3); err == nil && string(bom) == "\ufeff" {
		_, _ = in.lines.Discard(3) // they are there
		in.at.Bytes = 3
	}
	return in, nil
}

// Close closes the file.
func (in *File) Close() error {
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// explain returns a reading error with what it means.
func (in *File) explain(err error) error {
	switch {
	case in.zip != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the compressed data is cut off")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return fmt.Errorf("the compressed data is damaged: %w", err)
	}
	return err
}

// skip goes on at a position.
func (in *File) skip(to Position) error {
	if in.zip == nil && in.size > 0 {
		if _, err := in.file.Seek(to.Bytes, io.SeekStart); err != nil {
			return err
		}
		in.raw.n.Store(to.Bytes)
		in.buf.Reset(&in.raw)
	} else if _, err := io.CopyN(io.Discard, in.lines, to.Bytes-in.at.Bytes); err != nil {
		return in.explain(err)
	}
	in.at = to
	return nil
}

// next reads a line; io.EOF after the last. The text is valid until the next.
func (in *File) next() (l physical, err error) {
	if len(in.pending) > 0 {
		l, in.pending = in.pending[0], in.pending[1:]
	} else if l, err = in.fetch(); err != nil {
		return l, err
	}
	in.at.Bytes += l.size
	in.at.Lines++
	return l, nil
}

func (in *File) fetch() (l physical, err error) {
	text, err := in.lines.ReadSlice('\n')
	l.size = int64(len(text))
	for errors.Is(err, bufio.ErrBufferFull) {
		l.long = true
		text, err = in.lines.ReadSlice('\n')
		l.size += int64(len(text))
	}
	if errors.Is(err, io.EOF) && l.size > 0 {
		err = nil // the last line needs no line break
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = in.explain(err)
		}
		return l, err // a line that is cut off is none
	}
	l.text, l.ended = bytes.CutSuffix(text, []byte("\n"))
	l.text = bytes.TrimSuffix(l.text, []byte("\r"))
	if l.long = l.long || len(l.text) > userfile.MaxLineBytes; l.long {
		l.text = nil
	}
	return l, nil
}

// unread puts lines back, the last that were read.
func (in *File) unread(lines []physical) {
	in.pending = append(lines, in.pending...)
	for _, l := range lines {
		in.at.Bytes -= l.size
		in.at.Lines--
	}
}

// Size returns the size of the file as it is stored; 0 if that is not known.
func (in *File) Size() int64 { return in.size }

// MayBeNDJSON reports whether the file may hold JSON, as far as its beginning has been
// read.
func (in *File) MayBeNDJSON() bool {
	begin, _ := in.lines.Peek(in.lines.Buffered()) // they are there
	begin = bytes.TrimSpace(begin)
	return len(begin) == 0 || begin[0] == '{'
}

// BeginCSV reads the row of column names, which must be names of attributes.
func (in *File) BeginCSV(names map[string]string) error {
	for {
		first := in.at.Lines + 1
		record, _, err := in.record()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("there is no row with the names of the columns")
		case err != nil:
			return err
		case len(record) == 0:
			return fmt.Errorf("line %d: %s", first, tooLong)
		case len(bytes.TrimSpace(record)) == 0:
			continue
		}
		if in.csv, err = userfile.NewCSV(record); err != nil {
			return fmt.Errorf("line %d: %w", first, err)
		}
		break
	}
	known := slices.Sorted(maps.Values(names))
	for _, name := range in.csv.Attributes() {
		if !slices.Contains(known, name) {
			return fmt.Errorf("column %q is no attribute of the app; its attributes are %s (tidings app set SDKAPPID --attr SLOT=NAME adds one)", name, quoted(known))
		}
	}
	return nil
}

// quoted lists names.
func quoted(names []string) string {
	for i, name := range names {
		names[i] = strconv.Quote(name)
	}
	return strings.Join(names, ", ")
}

// record reads a record of CSV: a line, or several if quotes are open at the
// ends of the others. It is empty for a line that is too long. Lines are those it
// is made of.
func (in *File) record() (text []byte, lines []physical, err error) {
	l, err := in.next()
	if err != nil || l.long {
		return nil, []physical{l}, err
	}
	text = append(in.scratch[:0], l.text...)
	if l.ended {
		text = append(text, '\n')
	}
	in.scratch = text
	if bytes.Count(l.text, []byte(`"`))%2 == 0 {
		return text, nil, nil
	}
	lines = []physical{{bytes.Clone(l.text), l.size, false, l.ended}}
	for {
		l, err := in.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		over := err != nil || l.long || len(text)+len(l.text) > userfile.MaxLineBytes
		if err == nil {
			lines = append(lines, physical{bytes.Clone(l.text), l.size, l.long, l.ended})
		}
		if over {
			return text, lines, nil // whoever reads it finds the quote that is not closed
		}
		text = append(append(text, l.text...), '\n')
		if bytes.Count(l.text, []byte(`"`))%2 == 1 {
			return text, lines, nil
		}
	}
}

// chunks reads the file to its end, or until ctx ends.
func (in *File) chunks(ctx context.Context, begins bool, out chan<- *chunk) error {
	for {
		c := &chunk{data: make([]byte, 0, MaxChunkBytes/4), begins: begins}
		var err error
		first := in.at.Lines
		for err == nil && len(c.data) < chunkBytes && c.users() < chunkLines {
			err = in.append(c)
		}
		c.end, c.read = in.at, in.raw.n.Load()
		if in.at.Lines > first {
			select {
			case out <- c:
			case <-ctx.Done():
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		begins = false
	}
}

// A chunk is full when it has so much: the server takes somewhat more, and half
// as much keeps an interruption short.
const (
	chunkBytes = MaxChunkBytes/2 - 4*lineBuffer
	chunkLines = MaxChunkLines / 2
)

// append puts the next line into a chunk.
func (in *File) append(c *chunk) error {
	n := in.at.Lines + 1
	if in.csv != nil {
		return in.appendCSV(c, n)
	}
	l, err := in.next()
	switch {
	case err != nil:
		return err
	case l.long:
		c.bad = append(c.bad, Failure{Line: n, Reason: tooLong})
		return nil
	case c.begins && c.header == nil && userfile.IsHeader(l.text) && len(bytes.TrimSpace(c.data)) == 0:
		c.header = append(bytes.Clone(l.text), '\n')
	}
	c.data = append(append(c.data, l.text...), '\n')
	c.numbers = append(c.numbers, n)
	return nil
}

func (in *File) appendCSV(c *chunk, n int) error {
	record, lines, err := in.record()
	if err != nil {
		return err
	}
	reason := tooLong
	if record != nil {
		if len(bytes.TrimSpace(record)) == 0 {
			return nil
		}
		err := in.csv.Line(record, &in.line)
		var data []byte
		if err == nil {
			data, err = userfile.AppendLine(c.data, &in.line)
		}
		if err == nil {
			c.data = data
			c.numbers = append(c.numbers, n)
			return nil
		}
		reason = err.Error()
	}
	c.bad = append(c.bad, Failure{Line: n, Reason: reason})
	if len(lines) > 1 {
		// Perhaps only the first is bad, and its quote took the others along.
		if strings.Contains(reason, `"`) {
			c.bad[len(c.bad)-1].Reason = reason + " (a quote that is not closed?)"
		}
		in.unread(lines[1:])
	}
	return nil
}
