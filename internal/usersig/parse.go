package usersig

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
)

// Limits of a ticket (spec/conventions.md, 1.5 steps 2 and 5). Real ones have 180
// to 290 characters.
const (
	MaxTicketChars   = 4096
	MaxInflatedBytes = 4096
)

// Parse returns what a ticket says and verifies nothing (spec/conventions.md,
// 1.5 steps 1-6). An error is an *apierr.Error of kind TicketEmpty or
// TicketMalformed.
//
// Unless strict, what live clients send is accepted: a TLS.ver other than "2.0",
// numbers written as decimal text, and a blank where a "+" of standard base64 was not
// percent-encoded. None of it is covered by the signature (spec/conventions.md, 9.14).
func Parse(ticket string, strict bool) (Claims, error) {
	c, _, err := parse(ticket, strict)
	return c, err
}

// parse is [Parse] and also returns the signature.
func parse(ticket string, strict bool) (Claims, []byte, error) {
	if ticket == "" {
		return Claims{}, nil, &apierr.Error{Kind: apierr.TicketEmpty}
	}
	if len(ticket) > MaxTicketChars {
		return Claims{}, nil, malformed("usersig has %d characters, more than %d", len(ticket), MaxTicketChars)
	}
	u := unwrappers.Get().(*unwrapper)
	defer unwrappers.Put(u)
	text, err := u.unwrap(ticket, strict)
	if err != nil {
		return Claims{}, nil, err
	}
	return u.decode(text, strict)
}

// An unwrapper holds the buffers for reading one ticket. The inflater alone takes 40
// KiB.
type unwrapper struct {
	std      [MaxTicketChars]byte       // ticket in the standard alphabet
	deflated [MaxTicketChars]byte       // decoded
	inflated [MaxInflatedBytes + 1]byte // one byte more than a ticket may have
	src      bytes.Reader               // over deflated
	zlib     io.ReadCloser              // over src; nil until the first use
	text     bytes.Buffer               // over inflated
	json     jsontext.Decoder           // over text
}

// unwrappers saves each verification the allocation of an unwrapper.
var unwrappers = sync.Pool{New: func() any { return new(unwrapper) }}

// standard maps a character of a ticket to that of standard base64, and a character
// that has no place in a ticket to 0. Line breaks are among these, though
// encoding/base64 would skip them.
var standard = func() (m [256]byte) {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	for i := range len(chars) {
		m[chars[i]] = chars[i]
	}
	m['*'], m['-'], m['_'] = '+', '/', '='
	return m
}()

// unwrap returns the JSON text inside a ticket, which is in base64 and zlib. The text is
// valid until the next call.
func (u *unwrapper) unwrap(ticket string, strict bool) ([]byte, error) {
	for i := range len(ticket) {
		ch := standard[ticket[i]]
		if ticket[i] == ' ' && !strict {
			ch = '+'
		}
		if ch == 0 {
			return nil, malformed("usersig has a wrong character, %q, at position %d", ticket[i:i+1], i)
		}
		u.std[i] = ch
	}
	n, err := base64.StdEncoding.Decode(u.deflated[:], u.std[:len(ticket)])
	if err != nil {
		return nil, malformed("usersig is not base64; is it cut off?")
	}
	z := u.deflated[:n]

	// A stream with a preset dictionary is refused here because compress/zlib accepts
	// one that names the checksum of the empty dictionary.
	if len(z) >= 2 && z[1]&0x20 != 0 {
		return nil, malformed("usersig: the zlib stream needs a dictionary")
	}
	u.src.Reset(z)
	if u.zlib == nil {
		u.zlib, err = zlib.NewReader(&u.src)
	} else {
		err = u.zlib.(zlib.Resetter).Reset(&u.src, nil)
	}
	if err != nil {
		return nil, malformed("usersig has no zlib stream inside")
	}
	for n = 0; n < len(u.inflated) && err == nil; {
		var m int
		m, err = u.zlib.Read(u.inflated[n:])
		n += m
	}
	switch {
	case n > MaxInflatedBytes:
		return nil, malformed("usersig has more than %d bytes inside", MaxInflatedBytes)
	case errors.Is(err, zlib.ErrChecksum):
		return nil, malformed("usersig: the zlib checksum is wrong")
	case !errors.Is(err, io.EOF):
		return nil, malformed("usersig: the zlib stream is broken; is it cut off?")
	}
	if u.src.Len() > 0 {
		return nil, malformed("usersig has %d bytes after its zlib stream", u.src.Len())
	}
	return u.inflated[:n], nil
}

// The members that a ticket must have, as bits of a set. memberNames has the same
// order.
const (
	hasVer = 1 << iota
	hasIdentifier
	hasSDKAppID
	hasTime
	hasExpire
	hasSig
)

var memberNames = [...]string{"TLS.ver", "TLS.identifier", "TLS.sdkappid", "TLS.time", "TLS.expire", "TLS.sig"}

// decode reads the one JSON object in a ticket. The decoder refuses bad UTF-8, lone
// surrogates and repeated members: two readers could understand such a ticket
// differently.
func (u *unwrapper) decode(text []byte, strict bool) (c Claims, sig []byte, err error) {
	u.text = *bytes.NewBuffer(text)
	u.json.Reset(&u.text)
	if tok, err := u.json.ReadToken(); err != nil || tok.Kind() != jsontext.KindBeginObject {
		return Claims{}, nil, malformed("usersig has no JSON object inside")
	}
	var seen uint
	for u.json.PeekKind() != jsontext.KindEndObject {
		name, err := u.json.ReadToken()
		if err != nil {
			return Claims{}, nil, syntax(err)
		}
		switch name.String() {
		case "TLS.ver":
			seen |= hasVer
			var ver string
			if ver, err = u.str("TLS.ver"); err == nil && ver != "2.0" && strict {
				err = malformed("usersig: TLS.ver is %s, and only version \"2.0\" is known", quote(ver))
			}
		case "TLS.identifier":
			seen |= hasIdentifier
			c.Identifier, err = u.str("TLS.identifier")
		case "TLS.sdkappid":
			seen |= hasSDKAppID
			c.SDKAppID, err = u.integer("TLS.sdkappid", strict)
		case "TLS.time":
			seen |= hasTime
			c.Issued, err = u.integer("TLS.time", strict)
		case "TLS.expire":
			seen |= hasExpire
			c.Life, err = u.integer("TLS.expire", strict)
		case "TLS.userbuf":
			c.HasUserbuf = true
			c.Userbuf, _, err = u.base64("TLS.userbuf")
		case "TLS.sig":
			seen |= hasSig
			_, sig, err = u.base64("TLS.sig")
		case "TLS.version":
			return Claims{}, nil, malformed("usersig is of version 1 (ECDSA), which was given up in 2019; make one of version 2 with the app's secret key")
		default:
			err = syntax(u.json.SkipValue())
		}
		if err != nil {
			return Claims{}, nil, err
		}
	}
	if err := u.finish(c, sig, seen); err != nil {
		return Claims{}, nil, err
	}
	return c, sig, nil
}

// finish reads what follows the last member and checks the ticket as a whole.
func (u *unwrapper) finish(c Claims, sig []byte, seen uint) error {
	if _, err := u.json.ReadToken(); err != nil {
		return syntax(err)
	}
	if _, err := u.json.ReadToken(); !errors.Is(err, io.EOF) {
		return malformed("usersig has text after its JSON object")
	}
	for i, name := range memberNames {
		if seen&(1<<i) == 0 {
			return malformed("usersig has no %s", name)
		}
	}
	if len(sig) == 0 {
		return malformed("usersig: TLS.sig is empty")
	}
	if strings.ContainsFunc(c.Identifier, unicode.IsControl) {
		// With a line feed, two tickets could have the same signed text.
		return malformed("usersig: TLS.identifier has a control character")
	}
	return nil
}

// str reads the string value of a member.
func (u *unwrapper) str(name string) (string, error) {
	tok, err := u.json.ReadToken()
	if err != nil {
		return "", syntax(err)
	}
	if tok.Kind() != jsontext.KindString {
		return "", malformed("usersig: %s is not a string", name)
	}
	return tok.String(), nil
}

// integer reads the integer value of a member: a number, or, unless strict, its
// decimal text.
func (u *unwrapper) integer(name string, strict bool) (int64, error) {
	tok, err := u.json.ReadToken()
	if err != nil {
		return 0, syntax(err)
	}
	text := tok.Kind() == jsontext.KindString
	if tok.Kind() != jsontext.KindNumber && (!text || strict) {
		return 0, malformed("usersig: %s is not an integer", name)
	}
	n, err := strconv.ParseInt(tok.String(), 10, 64)
	if err != nil || text && strconv.FormatInt(n, 10) != tok.String() {
		return 0, malformed("usersig: %s is not an integer of 64 bits", name)
	}
	return n, nil
}

// base64 reads the base64 value of a member and returns its text and its bytes.
func (u *unwrapper) base64(name string) (text string, b []byte, err error) {
	if text, err = u.str(name); err != nil {
		return "", nil, err
	}
	b, err = base64.StdEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return "", nil, malformed("usersig: %s is not base64", name)
	}
	return text, b, nil
}

// syntax returns the error for JSON that cannot be read, or nil for nil. The text of
// the decoder's error is dropped: it may quote the ticket.
func syntax(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName):
		return malformed("usersig has a JSON member twice")
	}
	return malformed("usersig: the JSON inside is broken")
}
