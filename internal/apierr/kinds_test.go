package apierr

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite doc/errors.md")

// declared lists the kinds that kinds.go declares, in order, and those that
// Kinds returns, by their names in the source.
func declared(t *testing.T) (declared, listed []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					declared = append(declared, v.Names[0].Name)
				}
			}
		case *ast.FuncDecl:
			ast.Inspect(decl.Body, func(n ast.Node) bool {
				if lit, ok := n.(*ast.CompositeLit); ok {
					for _, e := range lit.Elts {
						listed = append(listed, e.(*ast.Ident).Name)
					}
				}
				return true
			})
		}
	}
	return declared, listed
}

func TestKindsIsComplete(t *testing.T) {
	names, listed := declared(t)
	all := Kinds()
	if len(listed) != len(all) {
		t.Fatalf("found %d names in the source of Kinds, it returns %d", len(listed), len(all))
	}
	code := map[string]int{}
	for i, k := range all {
		code[listed[i]] = k.Code
		if i > 0 && all[i-1].Code >= k.Code {
			t.Errorf("Kinds: %d comes before %d", all[i-1].Code, k.Code)
		}
		if k.Text == "" {
			t.Errorf("%d has no text", k.Code)
		}
	}
	last := map[int]int{} // by range of codes
	for _, name := range names {
		c, ok := code[name]
		if !ok {
			t.Errorf("%s is not in Kinds", name)
			continue
		}
		if last[c/10000] >= c {
			t.Errorf("kinds.go: %s (%d) is declared after %d", name, c, last[c/10000])
		}
		last[c/10000] = c
	}
}

// A client that knows the hosted service must not take one failure for another.
func TestReservedIsFree(t *testing.T) {
	for i, r := range Reserved() {
		if slices.ContainsFunc(Kinds(), func(k *Kind) bool { return k.Code == r.Code }) {
			t.Errorf("%d is reserved and has a kind", r.Code)
		}
		if i > 0 && Reserved()[i-1].Code >= r.Code {
			t.Errorf("Reserved: %d comes before %d", Reserved()[i-1].Code, r.Code)
		}
	}
}

// retries is spec/conventions.md, 2.8: every code after which a client may send
// the same request again.
var retries = map[int]Retry{
	60007: SlowDown, 60011: SlowDown, 60018: SlowDown, 60019: SlowDown,
	60008: Later, 60014: Later,
	70169: Later, 70202: Later, 70500: Later,
	90992: Later, 90994: Later, 90995: Later, 91000: Later,
	40006: Later, 30006: Later, 30007: Later, 30008: Later,
	70050: AfterMinute,
	90024: SlowDown, // 3.3: the next push a second later
	95012: SlowDown, // ours: when a task has ended
	95022: SlowDown, // ours: the address has made enough devices for now
}

func TestRetryIsTheContracts(t *testing.T) {
	for _, k := range Kinds() {
		if want := retries[k.Code]; k.Retry != want {
			t.Errorf("%d: Retry is %q, want %q", k.Code, k.Retry, want)
		}
	}
}

const errorsHead = `# Error codes

Generated from internal/apierr; ` + "`go test ./internal/apierr -update`" + ` writes it.

Every answer of the API has HTTP status 200, but for those under ` + "`/v1`" + ` ([devices.md](devices.md)). ` + "`ErrorCode`" + ` is 0 when the call succeeded and one of the codes
below when it failed. ` + "`ErrorInfo`" + ` says what was wrong with this call; where there is nothing to add, it holds
the text below. Programs should look at the code: the texts may change.

*Again* says whether the same request may be sent again:

| Again | Meaning |
| --- | --- |
| no | The request, or something at the server, must be changed first. |
| yes | After a pause that doubles each time and has a random part. |
| slower | As for yes, and with fewer calls per second from then on. |
| after 1 min | After at least one minute. |

For connection errors and HTTP 5xx, which come from proxies, do as for yes. Account, attribute and tag calls can be
repeated safely. A push is not safe to repeat after a lost answer: it may have been accepted.

The codes up to 94999 are those of the hosted service. Those from 95000 are for the commands under ` + "`/v4/tidings`" + `, which
only Tidings has.
`

// sections are the ranges of codes by first two digits, named in the document.
var sections = []struct {
	first, last int
	title       string
}{
	{0, 59999, "Accounts: profile values"},
	{60000, 69999, "Requests"},
	{70000, 79999, "Tickets and accounts"},
	{80000, 94999, "Push, attributes and tags"},
	{95000, 95019, "Audiences and tasks"},
	{95020, 95029, "Devices"},
}

func TestErrorsDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString(errorsHead)
	written := 0
	for _, s := range sections {
		kinds := slices.DeleteFunc(Kinds(), func(k *Kind) bool { return k.Code < s.first || k.Code > s.last })
		if len(kinds) == 0 {
			continue
		}
		written += len(kinds)
		fmt.Fprintf(&b, "\n## %s\n\n| Code | Text | Again |\n| --- | --- | --- |\n", s.title)
		for _, k := range kinds {
			fmt.Fprintf(&b, "| %d | %s | %s |\n", k.Code, strings.ReplaceAll(k.Text, "|", `\|`), k.Retry)
		}
	}
	if written != len(Kinds()) {
		t.Errorf("%d of %d kinds are in a section", written, len(Kinds()))
	}
	b.WriteString("\n## Reserved\n\nThe hosted service has these codes too. They are never sent.\n\n| Code | Text | Why not |\n| --- | --- | --- |\n")
	for _, r := range Reserved() {
		fmt.Fprintf(&b, "| %d | %s | %s |\n", r.Code, r.Text, r.Reason)
	}
	const name = "../../doc/errors.md"
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(name); err != nil || string(have) != b.String() {
		t.Errorf("%s is not what internal/apierr says (%v); run go test ./internal/apierr -update", name, err)
	}
}
