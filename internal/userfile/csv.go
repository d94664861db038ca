package userfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tidings/internal/audience"
)

// columns lists the columns that do not hold an attribute.
var columns = []string{"To_Account", "AccountType", "Tags", "Nick", "FaceUrl", "Created"}

// A CSV reads the records of one file. It must not be used by several goroutines at once.
type CSV struct {
	names  []string // the columns' names
	source bytes.Reader
	cells  *csv.Reader
}

// NewCSV returns a CSV for a file that begins with header, a row that names the columns:
// any of those in columns, and attributes.
func NewCSV(header []byte) (*CSV, error) {
	c := new(CSV)
	names, err := c.record(header)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		switch {
		case name == "":
			return nil, fmt.Errorf("column %d has no name", i+1)
		case slices.Contains(names[:i], name):
			return nil, fmt.Errorf("there are two columns %q", clip(name))
		}
	}
	if !slices.Contains(names, "To_Account") {
		return nil, errors.New("there is no column To_Account; the first row names the columns")
	}
	c.names = slices.Clone(names)
	return c, nil
}

// Attributes returns the names of the columns that hold attributes.
func (c *CSV) Attributes() []string {
	return slices.DeleteFunc(slices.Clone(c.names), func(name string) bool { return slices.Contains(columns, name) })
}

// record returns the cells of one record. They are valid until the next call.
func (c *CSV) record(text []byte) ([]string, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	c.source.Reset(text)
	if c.cells == nil {
		c.cells = csv.NewReader(&c.source)
		c.cells.FieldsPerRecord, c.cells.ReuseRecord = -1, true
	}
	before := c.cells.InputOffset()
	cells, err := c.cells.Read()
	if err == nil && c.cells.InputOffset()-before == int64(len(text)) {
		return cells, nil
	}
	c.cells = nil // the reader may hold the rest of the record
	if err == nil || errors.Is(err, io.EOF) {
		return nil, errors.New("it is no record of CSV")
	}
	if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, fmt.Errorf("column %d: %w", syntax.Column, syntax.Err)
	}
	return nil, err
}

// Line reads a record into l. An empty cell stands for an absent value.
func (c *CSV) Line(text []byte, l *Line) error {
	*l = Line{Attrs: l.Attrs[:0], Tags: l.Tags[:0]}
	cells, err := c.record(text)
	if err != nil {
		return err
	}
	if len(cells) != len(c.names) {
		return fmt.Errorf("it has %d cells, the first row has %d", len(cells), len(c.names))
	}
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		switch name := c.names[i]; name {
		case "To_Account":
			l.Account = cell
		case "Tags":
			l.Tags = appendTags(l.Tags, cell)
		case "Nick":
			l.Nick = &cell
		case "FaceUrl":
			l.FaceURL = &cell
		case "AccountType":
			if cell != "0" && cell != "1" {
				return fmt.Errorf("AccountType: %q is neither 0 nor 1", clip(cell))
			}
			l.Kind = audience.Kind(cell[0] - '0')
		case "Created":
			n, err := strconv.ParseUint(cell, 10, 32)
			if err != nil || n == 0 {
				return fmt.Errorf("%s: %q is not a whole number from 1 to 4294967295", name, clip(cell))
			}
			l.Created = uint32(n)
		default:
			l.Attrs = append(l.Attrs, audience.NamedValue{Name: name, Value: cell})
		}
	}
	if l.Account == "" {
		return errors.New("To_Account is empty")
	}
	return nil
}

// appendTags appends the tags in a cell, which are separated by bars. A backslash makes
// the character after it part of a tag.
func appendTags(tags []string, cell string) []string {
	if !strings.Contains(cell, `\`) {
		return append(tags, strings.Split(cell, "|")...)
	}
	var tag strings.Builder
	for i := 0; i < len(cell); i++ {
		switch {
		case cell[i] == '|':
			tags = append(tags, tag.String())
			tag.Reset()
			continue
		case cell[i] == '\\' && i+1 < len(cell):
			i++
		}
		tag.WriteByte(cell[i])
	}
	return append(tags, tag.String())
}

var escapeTag = strings.NewReplacer(`\`, `\\`, `|`, `\|`)

// A CSVWriter writes users as CSV.
type CSVWriter struct {
	out   *csv.Writer
	attrs []string
	cells []string
}

// NewCSVWriter writes the first row of a file, the names of its columns, and returns a
// CSVWriter for the other rows. It fails if an attribute has the name of another column.
func NewCSVWriter(w io.Writer, attrs *audience.Attributes) (*CSVWriter, error) {
	c := &CSVWriter{out: csv.NewWriter(w)}
	for _, a := range attrs {
		if slices.Contains(columns, a.Name) {
			return nil, fmt.Errorf("attribute %q has the name of another column, so there is no CSV of this app", a.Name)
		}
		if a.Name != "" {
			c.attrs = append(c.attrs, a.Name)
		}
	}
	return c, c.out.Write(append(slices.Clone(columns), c.attrs...))
}

// Write writes the record of a user.
func (c *CSVWriter) Write(l *Line) error {
	kind, created, nick, face := "", "", "", ""
	if l.Kind != audience.UserID {
		kind = strconv.Itoa(int(l.Kind))
	}
	if l.Created != 0 {
		created = strconv.FormatUint(uint64(l.Created), 10)
	}
	if l.Nick != nil {
		nick = *l.Nick
	}
	if l.FaceURL != nil {
		face = *l.FaceURL
	}
	var tags strings.Builder
	for i, tag := range l.Tags {
		if i > 0 {
			tags.WriteByte('|')
		}
		_, _ = escapeTag.WriteString(&tags, tag) // never fails
	}
	c.cells = append(c.cells[:0], l.Account, kind, tags.String(), nick, face, created)
	for _, name := range c.attrs {
		value := ""
		for _, a := range l.Attrs {
			if a.Name == name {
				value = a.Value
			}
		}
		c.cells = append(c.cells, value)
	}
	return c.out.Write(c.cells)
}

// Flush writes what is buffered, and returns the first error of all writes.
func (c *CSVWriter) Flush() error {
	c.out.Flush()
	return c.out.Error()
}
