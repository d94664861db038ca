// Package usersig makes and verifies UserSig tickets, version 2: the bearer
// credential of one account in one app.
//
// A ticket is an identity, an issue time and a lifetime with an HMAC-SHA256
// over them, wrapped three times:
//
//	ticket = alphabet(base64(zlib(JSON)))   alphabet: + is *, / is -, = is _
//
// Member order, white space and compression level differ between generators,
// so tickets are never compared as text. Version 1 (ECDSA) is refused as
// malformed. Contract: spec/conventions.md, 1.
package usersig

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
)

// DefaultLife is the lifetime that the official generators give a ticket
// (spec/conventions.md, 1.4).
const DefaultLife = 180 * 24 * time.Hour

// MaxSkew is how far ahead of the verifier's clock the issue time of a ticket
// may be. Without a bound, a ticket dated in the future would outlive an
// invalidation of its account (spec/conventions.md, 1.5 step 10).
const MaxSkew = 600 * time.Second

// Claims holds what a ticket says. Until [Verify] has accepted the ticket, its
// claims are no more than what its sender asserts. The signature is not part of
// Claims, so Claims may be logged.
type Claims struct {
	Identifier string // account the ticket speaks for
	SDKAppID   int64  // as sent: may be no app id at all
	Issued     int64  // TLS.time, Unix seconds
	Life       int64  // TLS.expire, seconds from Issued; may be negative
	Userbuf    string // base64 text; covered by the signature, no meaning here
	HasUserbuf bool   // TLS.userbuf is present, though it may be empty
}

// expires returns the last Unix second in which the ticket is good. ok is false if
// that second does not fit 64 bits.
func (c Claims) expires() (second int64, ok bool) {
	second = c.Issued + c.Life
	return second, (second > c.Issued) == (c.Life > 0)
}

// Expires returns the last second in which the ticket is good, in UTC. A time before
// the year 1 or after the year 9999 becomes the first second of the one or the last of
// the other, so that the result can always be formatted as RFC 3339.
func (c Claims) Expires() time.Time {
	second, ok := c.expires()
	switch {
	case !ok && c.Life > 0:
		second = math.MaxInt64
	case !ok:
		second = math.MinInt64
	}
	const first, last = -62135596800, 253402300799 // 0001-01-01T00:00:00Z, 9999-12-31T23:59:59Z
	return time.Unix(min(max(second, first), last), 0).UTC()
}

// Invalidated returns an error of kind apierr.TicketInvalidated if the ticket was
// issued no later than the Unix second upTo, up to which all tickets of its account
// are invalid. upTo is 0 if no ticket of the account was ever invalidated. The check
// follows [Verify] (spec/conventions.md, 1.5 step 13 and 5.5).
func (c Claims) Invalidated(upTo int64) error {
	if upTo == 0 || c.Issued > upTo {
		return nil
	}
	return apierr.TicketInvalidated.Errorf("usersig was issued at %s, and all usersigs of the account up to %s were invalidated; issue a new one",
		clock(c.Issued), clock(upTo))
}

// appendSigned appends the text that the signature covers. Its lines have a fixed
// order, which is not that of the JSON members (spec/conventions.md, 1.2).
func (c Claims) appendSigned(b []byte) []byte {
	b = append(b, "TLS.identifier:"...)
	b = append(b, c.Identifier...)
	b = append(b, "\nTLS.sdkappid:"...)
	b = strconv.AppendInt(b, c.SDKAppID, 10)
	b = append(b, "\nTLS.time:"...)
	b = strconv.AppendInt(b, c.Issued, 10)
	b = append(b, "\nTLS.expire:"...)
	b = strconv.AppendInt(b, c.Life, 10)
	b = append(b, '\n')
	if c.HasUserbuf {
		b = append(b, "TLS.userbuf:"...)
		b = append(b, c.Userbuf...)
		b = append(b, '\n')
	}
	return b
}

// sign returns the signature of a text. The secret key is used as the console shows
// it and is not decoded from hexadecimal (spec/conventions.md, 1.2).
func sign(secret string, signed []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(signed)
	return mac.Sum(nil)
}

// Make creates a ticket that is good from issued to issued+life, inclusive. Fractions
// of a second are dropped. An empty userbuf is left out. Make does not check the
// identifier: a ticket for one that is not UTF-8, or holds control characters, never
// verifies.
func Make(secret string, sdkappid uint32, identifier string, issued time.Time, life time.Duration, userbuf []byte) string {
	c := Claims{
		Identifier: identifier,
		SDKAppID:   int64(sdkappid),
		Issued:     issued.Unix(),
		Life:       int64(life / time.Second),
		Userbuf:    base64.StdEncoding.EncodeToString(userbuf),
		HasUserbuf: len(userbuf) > 0,
	}
	return c.wrap(base64.StdEncoding.EncodeToString(sign(secret, c.appendSigned(nil))))
}

// wrap returns the ticket for the claims and their signature, which is in base64.
func (c Claims) wrap(sig string) string {
	b := []byte(`{"TLS.ver":"2.0","TLS.identifier":`)
	b, _ = jsontext.AppendQuote(b, c.Identifier) // bad UTF-8 is replaced; then the signature does not match
	b = fmt.Appendf(b, `,"TLS.sdkappid":%d,"TLS.time":%d,"TLS.expire":%d`, c.SDKAppID, c.Issued, c.Life)
	if c.HasUserbuf {
		b = fmt.Appendf(b, `,"TLS.userbuf":%q`, c.Userbuf)
	}
	b = fmt.Appendf(b, `,"TLS.sig":%q}`, sig)
	return encode(deflate(b))
}

// deflate returns b as a zlib stream.
func deflate(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(b) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// encode returns b in base64 with the alphabet of tickets.
func encode(b []byte) string {
	text := base64.StdEncoding.AppendEncode(nil, b)
	for i, ch := range text {
		switch ch {
		case '+':
			text[i] = '*'
		case '/':
			text[i] = '-'
		case '=':
			text[i] = '_'
		}
	}
	return string(text)
}

// A Request is a ticket and what the ticket is checked against.
type Request struct {
	Ticket     string    // usersig in the URL, percent-decoded
	Identifier string    // identifier in the URL
	SDKAppID   uint32    // sdkappid in the URL
	Keys       []string  // secret keys the app accepts now; an empty one is skipped
	Now        time.Time // the verifier's clock
	Strict     bool      // refuses what [Parse] is patient with
}

// Verify checks a ticket in the order of the contract and returns the first failure
// (spec/conventions.md, 1.5 steps 1-12). It does not look for invalidations, as
// [Claims.Invalidated] does. key is the index in r.Keys of the key that signed the
// ticket.
//
// An error is an *apierr.Error of kind TicketEmpty, TicketMalformed,
// TicketSDKAppID, TicketIdentifier, TicketExpired, NoKey or TicketForged. Its text
// quotes only what the caller has sent, and nothing of a key or a signature.
// Verify is safe for concurrent use.
func Verify(r Request) (c Claims, key int, err error) {
	c, sig, err := parse(r.Ticket, r.Strict)
	if err != nil {
		return Claims{}, 0, err
	}
	if c.SDKAppID != int64(r.SDKAppID) {
		return Claims{}, 0, apierr.TicketSDKAppID.Errorf("usersig is for sdkappid %d, the request says %d", c.SDKAppID, r.SDKAppID)
	}
	if c.Identifier != r.Identifier {
		return Claims{}, 0, apierr.TicketIdentifier.Errorf("usersig is for identifier %s, the request says %s", quote(c.Identifier), quote(r.Identifier))
	}
	now := r.Now.Unix()
	switch end, ok := c.expires(); {
	case !ok:
		return Claims{}, 0, malformed("usersig: TLS.time %d and TLS.expire %d are out of range", c.Issued, c.Life)
	case now > end:
		return Claims{}, 0, apierr.TicketExpired.Errorf("usersig expired at %s", clock(end))
	case c.Issued > now+int64(MaxSkew/time.Second):
		return Claims{}, 0, malformed("usersig: TLS.time %s is in the future, it is %s now", clock(c.Issued), clock(now))
	}
	var buf [256]byte
	signed := c.appendSigned(buf[:0])
	noKeys := true
	for i, k := range r.Keys {
		if k == "" {
			continue // everyone can sign with an empty key
		}
		noKeys = false
		if hmac.Equal(sig, sign(k, signed)) {
			return c, i, nil
		}
	}
	if noKeys {
		return Claims{}, 0, &apierr.Error{Kind: apierr.NoKey}
	}
	return Claims{}, 0, &apierr.Error{Kind: apierr.TicketForged}
}

// malformed returns the error for a ticket that cannot be read.
func malformed(format string, args ...any) error {
	return apierr.TicketMalformed.Errorf(format, args...)
}

// quote returns an identifier in quotes for an error. It cuts a long one, because an
// identifier in a URL may have thousands of bytes.
func quote(s string) string {
	const limit = 64
	if len(s) <= limit {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:limit]) + "..."
}

// clock returns a Unix second as a date, or as a number if its year has more than four
// digits.
func clock(second int64) string {
	c := Claims{Issued: second}
	if t := c.Expires(); t.Unix() == second {
		return t.Format(time.RFC3339)
	}
	return strconv.FormatInt(second, 10)
}
