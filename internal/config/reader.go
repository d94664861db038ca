package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"tidings/internal/wording"
)

// maxFileBytes is the largest configuration file: room for ten thousand apps,
// the size an installation is made for, with 1600 bytes each.
const maxFileBytes = 16 << 20

// A spot is where something is written, for the text of a mistake.
type spot struct {
	source string // file, variable or flag
	line   int    // in a file, counted from 1; else 0
	path   string // inside the source: "apps[0].limits.default"; may be empty
}

func (s spot) String() string {
	switch {
	case s.line == 0:
		return s.source + s.path
	case s.path == "":
		return fmt.Sprintf("%s:%d", s.source, s.line)
	}
	return fmt.Sprintf("%s:%d: %s", s.source, s.line, s.path)
}

// A reader walks YAML nodes and collects what is wrong with them. Texts of
// variables and flags are made nodes too, so that a key has one way to be read.
//
// Aliases are refused, so the walk takes no longer than the file is.
type reader struct {
	mistakes []mistake
	lines    map[string]int  // of the paths in the file
	bad      map[string]bool // paths with a mistake
}

type mistake struct {
	spot
	text string
}

func newReader() *reader {
	return &reader{lines: map[string]int{}, bad: map[string]bool{}}
}

func (r *reader) wrong(at spot, format string, args ...any) {
	r.bad[at.path] = true
	r.mistakes = append(r.mistakes, mistake{at, fmt.Sprintf(format, args...)})
}

// err is nil or *Errors: the mistakes in the file by line, then the others.
func (r *reader) err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b mistake) int {
		return cmp.Compare(uint(a.line)-1, uint(b.line)-1) // 0 comes last
	})
	e := &Errors{Mistakes: make([]string, len(r.mistakes))}
	for i, m := range r.mistakes {
		e.Mistakes[i] = oneLine(m.String() + ": " + m.text)
	}
	return e
}

// file reads a file and tells which keys it sets, and where.
func (r *reader) file(name string, keys []key) map[string]spot {
	at := spot{source: name}
	set := map[string]spot{}
	data, err := readFile(name, maxFileBytes)
	if err != nil {
		r.wrong(at, "%v", err)
		return set
	}
	if !utf8.Valid(data) {
		r.wrong(at, "is not UTF-8 text")
		return set
	}
	if i := bytes.IndexFunc(data, isControl); i >= 0 {
		at.line = lineAt(data, i)
		r.wrong(at, "holds a control character")
		return set
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return set
	case err != nil:
		r.syntax(at, data, err)
		return set
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		at.line = second.Line
		r.wrong(at, "a second document begins here, there can be only one")
		return set
	case !errors.Is(err, io.EOF):
		r.syntax(at, data, err)
		return set
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return set
	}
	at.line = root.Line
	return r.fields(at, root, keys)
}

var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports an error of the YAML parser. Its texts are fixed ones, but
// for that of an unknown anchor, whose name may be a secret that begins with "*".
func (r *reader) syntax(at spot, data []byte, err error) {
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		r.wrong(at, "is not YAML")
		return
	}
	text := m[2]
	if name, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		at.line = lineAt(data, bytes.Index(data, []byte("*"+name)))
		r.wrong(at, "is an alias (*name) of nothing; a text that begins with * needs quotes")
		return
	}
	at.line, _ = strconv.Atoi(m[1]) // the first line is left out
	if at.line == 0 || strings.HasPrefix(text, "did not find expected") {
		at.line++ // the parser counts from 0, its scanner from 1
	}
	if text == "found character that cannot start any token" {
		text = "found a tab, or another character that cannot begin a value"
	}
	r.wrong(at, "is not YAML: %s", text)
}

func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:max(offset, 0)], []byte("\n"))
}

// isControl reports whether a YAML file may not have a character.
func isControl(c rune) bool {
	return unicode.IsControl(c) && c != '\t' && c != '\n' && c != '\r' && c != 0x85
}

// is reports whether a node has the kind that is needed. If not it adds a mistake.
func (r *reader) is(kind yaml.Kind, at spot, n *yaml.Node) bool {
	names := map[yaml.Kind]string{yaml.ScalarNode: "one value", yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}
	switch {
	case n.Kind == yaml.AliasNode:
		r.wrong(at, "is an alias (*name), write the value itself; a text that begins with * needs quotes")
	case n.Style&yaml.TaggedStyle != 0:
		r.wrong(at, "has a YAML tag, leave it out; a text that begins with ! needs quotes")
	case n.Tag == "!!null":
		r.wrong(at, "has no value")
	case n.Kind != kind:
		r.wrong(at, "is %s, must be %s", names[n.Kind], names[kind])
	default:
		return true
	}
	return false
}

// item is the spot of an element of a list.
func (r *reader) item(at spot, i int, n *yaml.Node) spot {
	at.path += "[" + itoa(i) + "]"
	if at.line > 0 {
		at.line = n.Line
		r.lines[at.path] = n.Line
	}
	return at
}

// entries calls f for each entry of a mapping, and reports keys that are
// written twice or are no text.
func (r *reader) entries(at spot, n *yaml.Node, f func(at spot, name string, n *yaml.Node)) {
	if !r.is(yaml.MappingNode, at, n) {
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		in := spot{at.source, k.Line, at.path}
		if k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 {
			r.wrong(in, "has a key that is not a plain text")
			continue
		}
		if first, twice := seen[k.Value]; twice {
			r.wrong(in, "%s is already set in line %d", keyName(k.Value), first)
			continue
		}
		seen[k.Value] = k.Line
		if in.path != "" {
			in.path += "."
		}
		in.path += k.Value
		r.lines[in.path] = k.Line
		f(in, k.Value, n.Content[i+1])
	}
}

// fields reads a mapping whose keys are known, and tells which it has, and
// where. A key that is not known is named only if it looks like one: it could
// be "secret_key:..." with the space missing.
func (r *reader) fields(at spot, n *yaml.Node, keys []key) map[string]spot {
	set := map[string]spot{}
	r.entries(at, n, func(in spot, name string, n *yaml.Node) {
		for _, k := range keys {
			if k.name == name {
				set[name] = in
				k.read(r, in, n)
				return
			}
		}
		hint := ""
		if near := nearest(name, keys); near != "" {
			hint = ", did you mean " + near + "?"
		}
		in.path = at.path
		r.wrong(in, "unknown key %s%s", keyName(name), hint)
	})
	return set
}

// hasSecret reports whether the file holds the text of a secret.
func (r *reader) hasSecret() bool {
	for path := range r.lines {
		if strings.HasSuffix(path, ".secret_key") {
			return true
		}
	}
	return false
}

// locate finds the spot of a member of the mapping at base. What was left out
// has the line of what should hold it.
func (r *reader) locate(base spot, member string) spot {
	at := spot{base.source, base.line, base.path + "." + member}
	if _, ok := r.lines[at.path]; !ok {
		if line, ok := r.lines[at.path+fileSuffix]; ok {
			at.path += fileSuffix
			at.line = line
			return at
		}
	}
	for path := at.path; len(path) > len(base.path); path = path[:strings.LastIndexAny(path, ".[")] {
		if line, ok := r.lines[path]; ok {
			at.line = line
			break
		}
	}
	return at
}

// nearest is the key that a misspelt name most likely means, or empty.
func nearest(name string, keys []key) string {
	best, near := 3, "" // up to two letters may be wrong
	for _, k := range keys {
		if d := wording.Distance(name, k.name); d < best && d < len(k.name)/2 {
			best, near = d, k.name
		}
	}
	return near
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,40}$`)

func keyName(name string) string {
	if plainKey.MatchString(name) {
		return name
	}
	return "(not shown, it has other characters than a key)"
}

// shown quotes a text for a mistake, and cuts it: where a quotation mark is
// missing, it may go on for pages.
func shown(text string) string {
	const most = 60
	if len(text) <= most {
		return strconv.Quote(text)
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strconv.Quote(text[:cut]) + "..."
}

// oneLine makes a text fit for a line of the list of mistakes.
func oneLine(text string) string {
	const most = 500
	var b strings.Builder
	for _, c := range text {
		if b.Len() > most {
			b.WriteString("...")
			break
		}
		if unicode.IsPrint(c) {
			b.WriteRune(c)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(c), "'"))
		}
	}
	return b.String()
}

// readFile reads a file of at most so many bytes. Its errors do not hold the
// name.
func readFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("is larger than %d bytes", most)
	}
	return data, nil
}

// reason is an error of a file operation without the name of the file.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func itoa(n int) string { return strconv.Itoa(n) }
