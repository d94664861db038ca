package channel

import "testing"

// The values are those of sha256sum, base64 and Python.
func TestReplaceKeys(t *testing.T) {
	for task, want := range map[string]struct {
		text   string
		number int
	}{
		"":    {"47DEQpj8HBSa-_TImW-5JCeu", 1672528965},
		"abc": {"ungWv48Bz-pBQUDeXa4iI7AD", 980948674},
	} {
		if got := ReplaceText(task); got != want.text {
			t.Errorf("text of %q: got %q, want %q", task, got, want.text)
		}
		if got := ReplaceNumber(task); got != want.number {
			t.Errorf("number of %q: got %d, want %d", task, got, want.number)
		}
	}
}
