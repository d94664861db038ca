package channel_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"tidings/internal/channel"
)

// TestSecretIsHidden: a credential shows its secret in no print, log or JSON.
func TestSecretIsHidden(t *testing.T) {
	const marked = "MARKED-SECRET"
	c := channel.Credential{App: 7, Secret: channel.Secret(marked)}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %x %q", c, c, c, c.Secret, c.Secret, c.Secret)
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("opened", "credential", c, "secret", c.Secret)
	}
	if err := json.NewEncoder(&out).Encode([]any{c, &c, c.Secret}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{marked, fmt.Sprintf("%x", marked), fmt.Sprintf("%X", marked), "TUFSS0VE", fmt.Sprint([]byte(marked))[1:20]} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret shows as %s in %s", form, &out)
		}
	}
}
