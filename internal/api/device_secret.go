package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"tidings/internal/app"
)

// The secret of a device goes out with a mark behind it: a MAC over app, RegistrationID and
// secret. Only the Store knows whether a secret is right, and of a device that is gone the
// Store knows nothing. The mark shows that a secret was once that of this device: so its
// owner is told that the device is gone (404), and to everybody else a device that is gone
// looks like one that is not theirs (401).
//
// The key is one of those of tickets. When it is removed, its marks show nothing any more:
// then the owner of a device that is gone gets 401 too, and does the same.

// markSeparator is in no secret.
const markSeparator = "."

// marked returns the secret of a device with its mark.
func marked(a *app.App, now time.Time, id, secret string) string {
	keys := a.GoodKeys(now)
	if len(keys) == 0 {
		return secret
	}
	return secret + markSeparator + mark(keys[0], a.ID, id, secret)
}

// unmarked returns the secret in what a caller shows.
func unmarked(shown string) string {
	secret, _, _ := strings.Cut(shown, markSeparator)
	return secret
}

// isMarked reports whether what a caller shows was once the secret of a device.
func isMarked(a *app.App, now time.Time, id, shown string) bool {
	secret, tail, _ := strings.Cut(shown, markSeparator)
	found := false
	for _, k := range a.GoodKeys(now) {
		found = hmac.Equal([]byte(mark(k, a.ID, id, secret)), []byte(tail)) || found
	}
	return found
}

func mark(k app.Key, id uint32, device, secret string) string {
	h := hmac.New(sha256.New, []byte(k.Secret))
	b := binary.BigEndian.AppendUint32([]byte("tidings device secret\x00"), id)
	b = append(append(b, device...), 0) // a RegistrationID holds no 0
	h.Write(append(b, secret...))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}
