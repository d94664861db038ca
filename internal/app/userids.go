package app

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"tidings/internal/audience"
)

// Check returns why a text may not be a UserID. Lengths are bytes; letters are
// compared byte for byte, so nothing is folded, trimmed or normalised.
// Contract: spec/conventions.md, 2.9.
func (u UserIDs) Check(id string) error {
	if id == "" {
		return fmt.Errorf("is empty")
	}
	if len(id) > audience.MaxUserIDBytes {
		return fmt.Errorf("%.40q has %d bytes, a UserID has at most %d", id, len(id), audience.MaxUserIDBytes)
	}
	if u == UTF8 {
		return checkText(id)
	}
	for i := range len(id) {
		if id[i] < 0x20 || id[i] > 0x7e {
			return fmt.Errorf("%q holds a character that is not printable ASCII", id)
		}
	}
	if id[0] == ' ' || id[len(id)-1] == ' ' {
		return fmt.Errorf("%q begins or ends with a space", id)
	}
	return nil
}

// CheckRegistrationID returns why a text may not be a RegistrationID: it is UTF-8
// of at most audience.MaxAccountBytes without control characters. Contract:
// spec/conventions.md, 2.9.
func CheckRegistrationID(id string) error {
	if len(id) > audience.MaxAccountBytes {
		return fmt.Errorf("%.40q has %d bytes, an account has at most %d", id, len(id), audience.MaxAccountBytes)
	}
	if id == "" {
		return fmt.Errorf("is empty")
	}
	return checkText(id)
}

// checkText returns why a text is not UTF-8 without control characters.
func checkText(id string) error {
	if !utf8.ValidString(id) {
		return fmt.Errorf("%q is not UTF-8", id)
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return fmt.Errorf("%q holds a control character", id)
		}
	}
	return nil
}
