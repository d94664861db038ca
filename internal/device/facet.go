package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"tidings/internal/channel"
)

// platforms and kinds have their numbers on disk.
var (
	platforms = []string{"", "android", "ios", "harmony", "web"}
	kinds     = []channel.TokenKind{"", channel.Alert, channel.FID, channel.VoIP, channel.LiveActivity, channel.LiveActivityStart, channel.Subscription}
	allowed   = []Permission{PermissionUnknown, Denied, Allowed}
)

// PlatformNumber returns the number of a platform; -1 if there is no such platform.
func PlatformNumber(platform string) int { return slices.Index(platforms, platform) }

// Platform returns the platform with a number; it is empty if there is none.
func Platform(n int) string { return at(platforms, n) }

// KindNumber returns the number of a kind of tokens; -1 if there is no such kind.
func KindNumber(k channel.TokenKind) int { return slices.Index(kinds, k) }

// Kind returns the kind of tokens with a number; it is empty if there is none.
func Kind(n int) channel.TokenKind { return at(kinds, n) }

// PermissionNumber returns the number of a permission; -1 if there is no such permission.
func PermissionNumber(p Permission) int { return slices.Index(allowed, p) }

// PermissionOf returns the permission with a number.
func PermissionOf(n int) Permission { return at(allowed, n) }

func at[T ~string](list []T, n int) T {
	if n < 0 || n >= len(list) {
		return ""
	}
	return list[n]
}

// Facet returns the facet of a device.
func (d *Device) Facet() Facet {
	f := Facet{Platform: d.Platform, Language: d.Language, Permission: d.Permission, Test: d.Test}
	for i := range d.Tokens {
		f.Ways = append(f.Ways, Way{d.Tokens[i].Certificate, d.Tokens[i].Kind})
	}
	return f
}

// Encode appends a facet to b in at most 255 bytes:
//
//	byte     platform, and 8 times the permission, and 32 for a test device
//	byte     length, language
//	for each way: byte kind, uvarint certificate
//
// The device has passed Check.
func (f *Facet) Encode(b []byte) []byte {
	first := PlatformNumber(f.Platform) | PermissionNumber(f.Permission)<<3
	if f.Test {
		first |= 32
	}
	b = append(b, byte(first), byte(len(f.Language)))
	b = append(b, f.Language...)
	for _, w := range f.Ways {
		b = binary.AppendUvarint(append(b, byte(KindNumber(w.Kind))), uint64(w.Certificate))
	}
	return b
}

var errFacet = errors.New("the facet of a device is broken")

// ParseFacet reads what Encode appended.
func ParseFacet(b []byte) (Facet, error) {
	if len(b) < 2 || len(b) < 2+int(b[1]) || b[0] >= 64 {
		return Facet{}, errFacet
	}
	f := Facet{Platform: Platform(int(b[0] & 7)), Permission: PermissionOf(int(b[0] >> 3 & 3)), Test: b[0]&32 != 0, Language: string(b[2 : 2+b[1]])}
	if f.Platform == "" && b[0]&7 != 0 || f.Permission == "" && b[0]>>3&3 != 0 {
		return Facet{}, errFacet
	}
	for b = b[2+b[1]:]; len(b) > 0; {
		k := Kind(int(b[0]))
		c, n := binary.Uvarint(b[1:])
		if k == "" || n <= 0 || c > MaxCertificate || len(f.Ways) == MaxTokens {
			return Facet{}, fmt.Errorf("%w: way %d", errFacet, len(f.Ways))
		}
		f.Ways = append(f.Ways, Way{int(c), k})
		b = b[1+n:]
	}
	return f, nil
}

// Uses reports whether a device with this facet has a token of a certificate.
func (f *Facet) Uses(certificate int) bool {
	return slices.ContainsFunc(f.Ways, func(w Way) bool { return w.Certificate == certificate })
}
