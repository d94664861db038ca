package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// A Report is the outcome of a run.
type Report struct {
	Machine string   `json:"machine"`
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes"`
}

// A Row is one aim.
type Row struct {
	Case     string `json:"case"`
	Ours     string `json:"ours"`
	Baseline string `json:"baseline"`
	Ratio    string `json:"ratio"` // median of the turns, with their range
	Aim      string `json:"aim"`
	Met      bool   `json:"met"`
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

// WriteJSON writes the report for programs.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Report
		Met bool `json:"met"`
	}{r, r.Met()})
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
