package api_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode"

	"tidings/internal/api"
	"tidings/internal/gate"
)

// TestReference keeps reference.json as the comments of the source are; with -update it
// writes it (make generate).
func TestReference(t *testing.T) {
	words := readComments(t)
	commands, fields := map[string]string{}, map[string]map[string]string{}
	for _, c := range api.Table() {
		name := functionName(c.Run.Func)
		if words.functions[name] == "" {
			t.Errorf("%s, which is %s, has no comment", name, c.Name)
		}
		commands[c.Name] = summary(words.functions[name], name)
		for _, run := range []gate.Run{c.Run, c.Older.Run} {
			if run.In != nil {
				words.collect(t, fields, run.In)
				words.collect(t, fields, run.Out)
			}
		}
	}
	for _, r := range api.Routes() {
		name := functionName(r.Run.Func)
		if words.functions[name] == "" {
			t.Errorf("%s, which is %s, has no comment", name, r.Name)
		}
		commands[r.Name] = summary(words.functions[name], name)
		words.collect(t, fields, r.Run.In)
		words.collect(t, fields, r.Run.Out)
	}
	text, err := json.MarshalIndent(map[string]any{"commands": commands, "fields": fields}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile("reference.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile("reference.json"); err != nil || string(old) != string(text) {
		t.Errorf("reference.json is not what the comments say (%v); make generate writes it", err)
	}
}

// comments are what the source says of functions, and of fields by their type.
type comments struct {
	functions map[string]string
	fields    map[string]map[string]string
}

func readComments(t *testing.T) comments {
	t.Helper()
	words := comments{map[string]string{}, map[string]map[string]string{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				words.functions[decl.Name.Name] = oneLine(decl.Doc.Text())
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						words.readFields(spec)
					}
				}
			}
		}
	}
	return words
}

func (w comments) readFields(spec *ast.TypeSpec) {
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	w.fields[spec.Name.Name] = map[string]string{}
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			w.fields[spec.Name.Name][name.Name] = oneLine(f.Doc.Text() + f.Comment.Text())
		}
	}
}

// collect adds what is said of the fields of a type, and of the types of them. A field
// of which nothing is said is a mistake.
func (w comments) collect(tt *testing.T, into map[string]map[string]string, t reflect.Type) {
	tt.Helper()
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || into[t.Name()] != nil || t == reflect.TypeFor[gate.Member]() {
		return
	}
	said := map[string]string{}
	for f := range t.Fields() {
		if f.Type == reflect.TypeFor[gate.Kept]() {
			continue
		}
		if f.IsExported() && !f.Anonymous {
			if said[f.Name] = w.fields[t.Name()][f.Name]; said[f.Name] == "" {
				tt.Errorf("%s.%s has no comment", t.Name(), f.Name)
			}
		}
		if f.Anonymous || f.IsExported() {
			w.collect(tt, into, f.Type)
		}
	}
	if t.Name() != "" && len(said) > 0 {
		into[t.Name()] = said
	}
}

// functionName returns the name of a method value.
func functionName(f any) string {
	name := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
	name = strings.TrimSuffix(name, "-fm")
	return name[strings.LastIndex(name, ".")+1:]
}

var contract = regexp.MustCompile(` ?Contract: .*$`)

// summary returns the comment of a function as a sentence about its command.
func summary(comment, name string) string {
	text := []rune(contract.ReplaceAllString(strings.TrimPrefix(comment, name+" "), ""))
	if len(text) > 0 {
		text[0] = unicode.ToUpper(text[0])
	}
	return string(text)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
