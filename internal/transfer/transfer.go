// Package transfer takes the users and the devices of an app in from files and out into
// them: Apply, ApplyDevices, Write and WriteDevices where they are, Import and Export
// where the files are. What is between the two carries requests and bytes, and is none
// of its business.
package transfer

import (
	"fmt"
	"strings"
)

// Limits of one chunk of an import. They bound the memory of a request and the
// work that an interruption repeats.
const (
	MaxChunkBytes = 16 << 20
	MaxChunkLines = 100_000
)

// A Chunk says what some lines of JSON are a part of. Empty lines mean nothing.
type Chunk struct {
	App     uint32 `json:"sdkappid"`
	Replace bool   `json:"replace,omitempty"` // users have what the lines say and no more
	Begins  bool   `json:"begins,omitempty"`  // it begins the file, so its first line may be a header
}

// A Result is what became of a chunk.
type Result struct {
	Counts
	Failures []Failure `json:"failures"` // of lines of the chunk, which are counted from 0
}

// Counts are how many lines are in, and what they came to. If an account is there twice,
// each line counts.
type Counts struct {
	Users     int `json:"users"`     // all of them, or devices
	Created   int `json:"created"`   // of accounts that are new
	Changed   int `json:"changed"`   // that changed an account, or name parts of a profile
	Unchanged int `json:"unchanged"` // of accounts that had all of it before
}

// plus returns the sums of two Counts, minus their differences.
func (c Counts) plus(d Counts) Counts {
	return Counts{c.Users + d.Users, c.Created + d.Created, c.Changed + d.Changed, c.Unchanged + d.Unchanged}
}

func (c Counts) minus(d Counts) Counts {
	return c.plus(Counts{-d.Users, -d.Created, -d.Changed, -d.Unchanged})
}

// A Failure is a line that is not in, and why.
type Failure struct {
	Line    int    `json:"line"`
	Account string `json:"account,omitempty"`
	Reason  string `json:"reason"`
}

// A Format is how a file holds users.
type Format string

// The formats.
const (
	NDJSON Format = "ndjson"
	CSV    Format = "csv"
)

// Formats lists the formats, for who chooses one.
func Formats() []string { return []string{string(NDJSON), string(CSV)} }

// FormatOf returns the format that the name of a file tells, or one that was chosen. The
// name - is NDJSON.
func FormatOf(name, chosen string) (Format, error) {
	switch Format(chosen) {
	case NDJSON, CSV:
		return Format(chosen), nil
	case "":
	default:
		return "", fmt.Errorf("--format %q is neither ndjson nor csv", chosen)
	}
	base := strings.TrimSuffix(strings.ToLower(name), ".gz")
	switch {
	case strings.HasSuffix(base, ".csv"):
		return CSV, nil
	case name == "-", strings.HasSuffix(base, ".ndjson"), strings.HasSuffix(base, ".jsonl"):
		return NDJSON, nil
	}
	return "", fmt.Errorf("the name %q does not tell the format; give --format ndjson or --format csv", name)
}
