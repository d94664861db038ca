package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tidings/internal/api"
	"tidings/internal/gate"
)

// callHelp makes the help of tidings call that of a command of the API, if one is named.
// A name that does not exist ends the program as it does without --help.
func (e *env) callHelp(cmd *cobra.Command) {
	general := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, words []string) {
		args := cmd.Flags().Args()
		if len(args) == 0 {
			general(cmd, words)
			return
		}
		name, err := e.command(args[0], false)
		if err != nil {
			e.helpFailed = err
			return
		}
		row, _ := api.Find(name)
		printCommand(e.stdout, row, name)
	})
}

// printCommand prints what the row of a command says.
func printCommand(w io.Writer, c gate.Command, name string) {
	older := name != c.Name
	if older {
		fmt.Fprintf(w, "POST /v4/%s, the older name of %s for UserIDs only. It lacks %s.\n\n", name, c.Name, strings.ReplaceAll(c.Older.Lacks, "`", ""))
	} else {
		fmt.Fprintf(w, "POST /v4/%s\n\n", name)
	}
	fmt.Fprintf(w, "%s\n\n%s\n", strings.Join(wrap(c.Doc, 90), "\n"), api.Limits(c))
	printFields(w, "Fields", "none", api.Request(c, older).Lines(), true)
	printFields(w, "Answer", "", api.Answer(c, older).Lines(), false)
	fmt.Fprint(w, "\nCodes\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range api.BodyCodes(c) {
		fmt.Fprintf(table, "  %d\t%s\n", k.Code, k.Text)
	}
	_ = table.Flush() // fails only if w does, which the caller prints to
	fmt.Fprintf(w, "\nAnd those of query, ticket and limits, which all commands share: doc/api.md.\n\nExample, on the data of tidings serve --demo\n\n  tidings call --app %d %s %s\n", demoID, name, shellQuote(c.Example))
}

// printFields prints a table of fields.
func printFields(w io.Writer, title, none string, lines []api.Line, request bool) {
	if len(lines) == 0 {
		if none != "" {
			fmt.Fprintf(w, "\n%s: %s\n", title, none)
		}
		return
	}
	fmt.Fprintf(w, "\n%s\n\n", title)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		need := ""
		if request && l.Need {
			need = "Required. "
		}
		for i, text := range wrap(need+l.Text(), 70) {
			if i > 0 {
				l.Path, l.Type = "", ""
			}
			fmt.Fprintf(table, "  %s\t%s\t%s\n", l.Path, l.Type, text)
		}
	}
	_ = table.Flush()
}

// wrap breaks a text into lines of at most so many bytes, if no word is longer.
func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len(*last)+1+len(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

// listCommands prints the commands of the API and what each does.
func (e *env) listCommands() error {
	table := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, c := range api.Table() {
		fmt.Fprintf(table, "%s\t%s\n", c.Name, api.Summary(c))
	}
	for _, c := range api.Table() {
		if c.Older.Name != "" {
			fmt.Fprintf(table, "%s\tThe older name of %s\n", c.Older.Name, c.Name)
		}
	}
	return table.Flush()
}
