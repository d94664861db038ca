// Package wording holds what several packages need to read what people write, and to
// name what is wrong with it.
package wording

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// JSONKind names a kind of JSON value: "a string".
func JSONKind(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return "no JSON value"
}

// Clip shortens a text to at most some bytes and three dots.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// Distance is how many bytes must be put in, taken out or replaced to make b of a
// (Levenshtein), for guessing what a misspelt name was meant to be. Texts of
// which one is more than twice as long as the other are just far.
func Distance(a, b string) int {
	if len(a) > 2*len(b) || len(b) > 2*len(a) {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

// Nearest returns the one of some names that a misspelt name most likely means. At most
// two bytes may differ, and at most half of the name; empty if none is so near.
func Nearest(name string, names []string) string {
	best, near := 3, ""
	for _, n := range names {
		if d := Distance(name, n); d < best && 2*d <= len(n) {
			best, near = d, n
		}
	}
	return near
}

const day = 24 * time.Hour

// ParseDuration reads a duration that a person writes: whole days ("30d"), or
// what time.ParseDuration reads.
func ParseDuration(s string) (time.Duration, error) {
	digits, inDays := strings.CutSuffix(s, "d")
	if !inDays {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n > math.MaxInt64/uint64(day) {
		return 0, fmt.Errorf("%q is not a number of days", s)
	}
	return time.Duration(n) * day, nil
}

// Duration returns the text of a duration that ParseDuration reads back: whole
// days as days.
func Duration(d time.Duration) string {
	if d <= 0 || d%day != 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(d/day), 10) + "d"
}
