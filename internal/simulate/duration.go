package simulate

import (
	"fmt"
	"strings"
	"time"
)

// A Duration is a time.Duration that JSON has as "250ms".
type Duration time.Duration

// MarshalText writes a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 250ms", text)
	}
	*d = Duration(v)
	return nil
}

// ParseLatency reads "50ms", or "20ms-80ms" for a range.
func ParseLatency(text string) (least, most Duration, err error) {
	low, high, isRange := strings.Cut(text, "-")
	if err := least.UnmarshalText([]byte(low)); err != nil {
		return 0, 0, err
	}
	if isRange {
		if err := most.UnmarshalText([]byte(high)); err != nil {
			return 0, 0, err
		}
	}
	return least, most, nil
}
