package channeltest

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"tidings/internal/channel"
)

// Bounded returns what is wrong with a result whatever the provider said: it has one
// outcome, its words are short and UTF-8, and it shows no secret.
func Bounded(r channel.Result, secrets ...string) error {
	switch {
	case r.Outcome < channel.Accepted || r.Outcome > channel.Unknown:
		return fmt.Errorf("outcome %d is none", r.Outcome)
	case len(r.Words) > channel.MaxWords:
		return fmt.Errorf("%d bytes of words, want at most %d", len(r.Words), channel.MaxWords)
	case len(r.Code) > 64:
		return fmt.Errorf("a code of %d bytes", len(r.Code))
	case !utf8.ValidString(r.Words + r.Code):
		return errors.New("words or code are no UTF-8")
	case r.After < 0:
		return fmt.Errorf("after %s", r.After)
	}
	for _, s := range secrets {
		if Shows(fmt.Sprintf("%+v %#v", r, r), s) {
			return errors.New("it shows a secret")
		}
	}
	return nil
}

// shown is how many bytes of a secret show it. The last six of a token may be seen.
const shown = 12

// Shows reports whether a text holds a part of a secret.
func Shows(text, secret string) bool {
	for i := 0; i+shown <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+shown]) {
			return true
		}
	}
	return false
}
