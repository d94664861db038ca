// Package transfer takes all users of an app in from files and out into them: Apply and
// Write where the users are, Import and Export where the files are. What is between the
// two carries requests and bytes, and is none of its business.
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
	Users    int       `json:"users"`    // lines that are in
	Failures []Failure `json:"failures"` // of lines of the chunk, which are counted from 0
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
