// Package wording helps packages to read what people write, and to tell people what is
// wrong with it.
package wording

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// JSONKind returns the name of a kind of JSON value, such as "a string".
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

// Clip returns a text of at most limit bytes as it is, and of a longer one the first
// limit bytes and three dots.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

// Distance returns how many bytes must be inserted, deleted or replaced to turn a into
// b (Levenshtein). It serves to guess which name a misspelt one means. If one text is
// more than twice as long as the other, the distance is the length of the longer one.
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

// Nearest returns the one of some names that a misspelt name most likely means: that
// with the least distance, which may be two bytes and half of the name, whatever the case
// of the letters. It returns an empty text if no name is so near.
func Nearest(name string, names []string) string {
	best, near := 3, ""
	for _, n := range names {
		if d := Distance(strings.ToLower(name), strings.ToLower(n)); d < best && 2*d <= len(n) {
			best, near = d, n
		}
	}
	return near
}

const day = 24 * time.Hour

// ParseDuration reads a duration that a person wrote: whole days ("30d"), or what
// time.ParseDuration reads.
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

// Duration returns a text that ParseDuration reads back as d. Whole days are written as
// days.
func Duration(d time.Duration) string {
	if d <= 0 || d%day != 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(d/day), 10) + "d"
}
