package apierr

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestInfoIsBounded: whatever an error quotes, its ErrorInfo is short and UTF-8.
func TestInfoIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 1<<20), strings.Repeat("é", 1<<10), "x" + strings.Repeat("日", 1<<10), strings.Repeat("\x80", 5000)} {
		info := BadJSON.Errorf("%s", text).Info()
		if len(info) > MaxInfoBytes || len(info) < MaxInfoBytes-7 && utf8.ValidString(text) || !strings.HasSuffix(info, "...") || !utf8.ValidString(info) {
			t.Errorf("of %d bytes: %d bytes, ending in %q", len(text), len(info), info[max(0, len(info)-8):])
		}
	}
	if short := strings.Repeat("x", MaxInfoBytes); BadJSON.Errorf("%s", short).Info() != short {
		t.Error("a text of the length allowed is cut")
	}
}
