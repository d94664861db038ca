package channel

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// ReplaceText returns the key by which the messages of a task replace each other, for
// providers whose key is a text: 24 characters of A-Z a-z 0-9 - _ (spec/channels.md, 2.6).
func ReplaceText(task string) string {
	sum := sha256.Sum256([]byte(task))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// ReplaceNumber returns that key for providers whose key is a number: 1 to 2147483646.
func ReplaceNumber(task string) int {
	sum := sha256.Sum256([]byte(task))
	return 1 + int(binary.BigEndian.Uint32(sum[:4])%2147483646)
}
