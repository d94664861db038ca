package index

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"tidings/internal/audience"
)

// TestSlabOfManyLengths: values that had every length once leave free places, and a start
// does without them.
func TestSlabOfManyLengths(t *testing.T) {
	const users = 2000
	u := NewUsers()
	for i := range users {
		add(u, fmt.Sprint("user", i), audience.UserID, 1)
	}
	for length := 5; length <= audience.MaxValueBytes; length++ {
		for n := range uint32(users) {
			u.set(n, 0, fmt.Sprintf("%d%s", n, strings.Repeat("x", length-len(fmt.Sprint(n)))))
		}
	}
	for n := range uint32(users) {
		if n%10 > 0 {
			u.set(n, 0, "")
		}
	}
	before := u.Memory().Values
	again := readAgain(t, u)
	if !bytes.Equal(canonicalOf(t, &again.View), canonicalOf(t, &u.View)) {
		t.Error("the users are others after they were read again")
	}
	if after := again.Memory().Values; after > before/5 {
		t.Errorf("values take %d bytes after they were read again, %d before", after, before)
	}
	if err := again.Verify(); err != nil {
		t.Error(err)
	}
	again.set(1, 0, "new")
	if v := again.Value(1, 0); string(v) != "new" {
		t.Errorf("a new value is %q", v)
	}
}
