package device

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tidings/internal/channel"
	"tidings/internal/wording"
)

// ErrInvalid is the error of a device that cannot be: a field has a value that it may not
// have.
var ErrInvalid = errors.New("the device is not valid")

// Further limits of a device.
const (
	MaxCertificate = 1<<31 - 1
	MaxTopic       = 255 // bytes of a topic or bundle
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// CheckID returns why a text cannot be a RegistrationID.
func CheckID(id string) error {
	if len(id) < MinIDBytes || len(id) > MaxIDBytes {
		return invalid("a RegistrationID has %d to %d bytes, %q has %d", MinIDBytes, MaxIDBytes, wording.Clip(id, MaxIDBytes), len(id))
	}
	if i := strings.IndexFunc(id, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}); i >= 0 {
		return invalid("a RegistrationID is of A-Z a-z 0-9 _ -, %q is not", id)
	}
	return nil
}

// Check returns why a device cannot be stored as it is; the error names field and value,
// and no token. An empty ID passes.
func (d *Device) Check() error {
	if d.ID != "" {
		if err := CheckID(d.ID); err != nil {
			return err
		}
	}
	if PlatformNumber(d.Platform) < 0 {
		return invalid("platform is android, ios, harmony or web, and not %q", wording.Clip(d.Platform, MaxText))
	}
	if PermissionNumber(d.Permission) < 0 {
		return invalid("permission is allowed or denied, and not %q", wording.Clip(string(d.Permission), MaxText))
	}
	if d.Badge < 0 || d.Badge > MaxBadge {
		return invalid("badge is 0 to %d, and not %d", MaxBadge, d.Badge)
	}
	for _, f := range d.texts() {
		if err := checkText(f.name, *f.text); err != nil {
			return err
		}
	}
	if i := strings.IndexFunc(d.Language, func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
		return invalid("language is a tag of BCP 47, and not %q", d.Language)
	}
	if len(d.Tokens) > MaxTokens {
		return invalid("a device has at most %d tokens, and not %d", MaxTokens, len(d.Tokens))
	}
	for i := range d.Tokens {
		if err := d.Tokens[i].check(); err != nil {
			return fmt.Errorf("tokens[%d]: %w", i, err)
		}
		for j := range i {
			if d.Tokens[i].SamePlace(&d.Tokens[j]) {
				return invalid("tokens[%d] and tokens[%d] have the same certificate, kind and la_id", j, i)
			}
		}
	}
	return nil
}

type namedText struct {
	name string
	text *string
}

// texts are the texts of a device that are only shown, in the order in which they are on disk.
func (d *Device) texts() [8]namedText {
	return [8]namedText{
		{"model", &d.Model},
		{"system", &d.System},
		{"system_version", &d.SystemVersion},
		{"sdk_version", &d.SDKVersion},
		{"push_version", &d.PushVersion},
		{"app_version", &d.AppVersion},
		{"language", &d.Language},
		{"time_zone", &d.TimeZone},
	}
}

// Texts returns the texts of a device, which a store keeps in this order.
func (d *Device) Texts() (list [8]*string) {
	for i, f := range d.texts() {
		list[i] = f.text
	}
	return list
}

func checkText(name, text string) error {
	switch {
	case len(text) > MaxText:
		return invalid("%s has at most %d bytes, this one has %d", name, MaxText, len(text))
	case !utf8.ValidString(text):
		return invalid("%s is not UTF-8: %q", name, text)
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("%s has a character that cannot be printed: %q", name, text)
	}
	return nil
}

// SamePlace reports whether two tokens have the same place in a device, where only one of
// them can be.
func (t *Token) SamePlace(other *Token) bool {
	return t.Certificate == other.Certificate && t.Kind == other.Kind && t.LaID == other.LaID
}

func (t *Token) check() error {
	switch {
	case t.Certificate < 1 || t.Certificate > MaxCertificate:
		return invalid("certificate is the ID of one, and not %d", t.Certificate)
	case KindNumber(t.Kind) <= 0:
		return invalid("kind is one of %q, and not %q", kinds[1:], wording.Clip(string(t.Kind), MaxText))
	case t.Address == "" || len(t.Address) > MaxAddress:
		return invalid("address has 1 to %d bytes, this one has %d", MaxAddress, len(t.Address))
	case strings.ContainsFunc(string(t.Address), func(r rune) bool { return r <= ' ' || r > '~' }):
		return invalid("address has a character that no token has")
	case !slices.Contains([]channel.Environment{"", channel.Production, channel.Sandbox}, t.Environment):
		return invalid("environment is production or sandbox, and not %q", wording.Clip(string(t.Environment), MaxText))
	case len(t.Topic) > MaxTopic:
		return invalid("topic has at most %d bytes, this one has %d", MaxTopic, len(t.Topic))
	case !t.Expires.IsZero() && (t.Expires.Unix() < 0 || t.Expires.After(time.Unix(1<<32-1, 0))):
		return invalid("expires is no time that can be: %s", t.Expires)
	}
	if err := checkText("la_id", t.LaID); err != nil {
		return err
	}
	if t.Topic == "" {
		return nil
	}
	if !utf8.ValidString(t.Topic) || strings.ContainsFunc(t.Topic, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return invalid("topic has a character that cannot be printed: %q", t.Topic)
	}
	return nil
}
