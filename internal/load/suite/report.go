package suite

import (
	"fmt"
	"io"
	"strings"
)

// A Report is the outcome of a run.
type Report struct {
	Machine string
	Rows    []Row
	Notes   []string
}

// A Row is one aim.
type Row struct {
	Case     string
	Ours     string
	Baseline string
	Ratio    string // median of the turns, with their range
	Aim      string
	Met      bool
}

// Met reports whether every aim is met.
func (r Report) Met() bool {
	for _, row := range r.Rows {
		if !row.Met {
			return false
		}
	}
	return len(r.Rows) > 0
}

// WriteMarkdown writes the report as a table.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n| case | ours | baseline | ratio | aim | met |\n|---|---|---|---|---|---|\n", r.Machine)
	for _, row := range r.Rows {
		met := "no"
		if row.Met {
			met = "yes"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.Case, row.Ours, row.Baseline, row.Ratio, row.Aim, met)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
