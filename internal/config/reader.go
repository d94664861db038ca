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

// A spot says where something is written, for the text of a mistake.
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

// A reader walks YAML nodes and collects the mistakes in them. The texts of variables
// and flags become nodes too, so that there is one way to read a key.
//
// Aliases are refused, so the time of a walk is bounded by the size of the file.
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

func (r *reader) wrong(pos spot, format string, args ...any) {
	r.bad[pos.path] = true
	r.mistakes = append(r.mistakes, mistake{pos, fmt.Sprintf(format, args...)})
}

// err returns *Errors, the mistakes in the file by line and then the others; nil if there
// are none.
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

// file reads a file. It returns where the file sets each of its keys.
func (r *reader) file(name string, keys []key) map[string]spot {
	pos := spot{source: name}
	set := map[string]spot{}
	data, err := readFile(name, maxFileBytes)
	if err != nil {
		r.wrong(pos, "%v", err)
		return set
	}
	if !utf8.Valid(data) {
		r.wrong(pos, "is not UTF-8 text")
		return set
	}
	if i := bytes.IndexFunc(data, isControl); i >= 0 {
		pos.line = lineAt(data, i)
		r.wrong(pos, "holds a control character")
		return set
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return set
	case err != nil:
		r.syntax(pos, data, err)
		return set
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		pos.line = second.Line
		r.wrong(pos, "a second document begins here, there can be only one")
		return set
	case !errors.Is(err, io.EOF):
		r.syntax(pos, data, err)
		return set
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return set
	}
	pos.line = root.Line
	return r.fields(pos, root, keys)
}

var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports an error of the YAML parser. Its texts are fixed ones, but
// for that of an unknown anchor, whose name may be a secret that begins with "*".
func (r *reader) syntax(pos spot, data []byte, err error) {
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		r.wrong(pos, "is not YAML")
		return
	}
	text := m[2]
	if name, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		pos.line = lineAt(data, bytes.Index(data, []byte("*"+name)))
		r.wrong(pos, "is an alias (*name) of nothing; a text that begins with * needs quotes")
		return
	}
	pos.line, _ = strconv.Atoi(m[1]) // the first line is left out
	if pos.line == 0 || strings.HasPrefix(text, "did not find expected") {
		pos.line++ // the parser counts from 0, its scanner from 1
	}
	if text == "found character that cannot start any token" {
		text = "found a tab, or another character that cannot begin a value"
	}
	r.wrong(pos, "is not YAML: %s", text)
}

func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:max(offset, 0)], []byte("\n"))
}

// isControl reports whether a YAML file may not have a character.
func isControl(c rune) bool {
	return unicode.IsControl(c) && c != '\t' && c != '\n' && c != '\r' && c != 0x85
}

// is reports whether a node has the kind that is needed. If not it adds a mistake.
func (r *reader) is(kind yaml.Kind, pos spot, n *yaml.Node) bool {
	names := map[yaml.Kind]string{yaml.ScalarNode: "one value", yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}
	switch {
	case n.Kind == yaml.AliasNode:
		r.wrong(pos, "is an alias (*name), write the value itself; a text that begins with * needs quotes")
	case n.Style&yaml.TaggedStyle != 0:
		r.wrong(pos, "has a YAML tag, leave it out; a text that begins with ! needs quotes")
	case n.Tag == "!!null":
		r.wrong(pos, "has no value")
	case n.Kind != kind:
		r.wrong(pos, "is %s, must be %s", names[n.Kind], names[kind])
	default:
		return true
	}
	return false
}

// item returns the spot of an element of a list.
func (r *reader) item(pos spot, i int, n *yaml.Node) spot {
	pos.path += "[" + itoa(i) + "]"
	if pos.line > 0 {
		pos.line = n.Line
		r.lines[pos.path] = n.Line
	}
	return pos
}

// entries calls f for each entry of a mapping, and reports keys that are
// written twice or are no text.
func (r *reader) entries(pos spot, n *yaml.Node, f func(pos spot, name string, n *yaml.Node)) {
	if !r.is(yaml.MappingNode, pos, n) {
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		in := spot{pos.source, k.Line, pos.path}
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

// fields reads a mapping whose keys are known. It returns where the mapping sets each of
// them. A mistake names an unknown key only if that looks like a key: the text could be
// "secret_key:..." with the space missing.
func (r *reader) fields(pos spot, n *yaml.Node, keys []key) map[string]spot {
	set := map[string]spot{}
	r.entries(pos, n, func(in spot, name string, n *yaml.Node) {
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
		in.path = pos.path
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

// locate returns the spot of a member of the mapping at base. A member that was left out
// has the line of the mapping that should hold it.
func (r *reader) locate(base spot, member string) spot {
	pos := spot{base.source, base.line, base.path + "." + member}
	if _, ok := r.lines[pos.path]; !ok {
		if line, ok := r.lines[pos.path+fileSuffix]; ok {
			pos.path += fileSuffix
			pos.line = line
			return pos
		}
	}
	for path := pos.path; len(path) > len(base.path); path = path[:strings.LastIndexAny(path, ".[")] {
		if line, ok := r.lines[path]; ok {
			pos.line = line
			break
		}
	}
	return pos
}

// nearest returns the key that a misspelt name most likely means; empty if no key is near.
func nearest(name string, keys []key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return wording.Nearest(name, names)
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,40}$`)

func keyName(name string) string {
	if plainKey.MatchString(name) {
		return name
	}
	return "(not shown, it has other characters than a key)"
}

// oneLine makes a text fit for a line of the list of mistakes.
func oneLine(text string) string {
	const limit = 500
	var b strings.Builder
	for _, c := range text {
		if b.Len() > limit {
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

// readFile returns the content of a file, which has at most limit bytes. Its errors do not
// hold the name of the file.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("is larger than %d bytes", limit)
	}
	return data, nil
}

// reason returns an error of a file operation without the name of the file.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func itoa(n int) string { return strconv.Itoa(n) }
