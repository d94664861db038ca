package usersig

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"tidings/internal/apierr"
)

// FuzzVerify sends any text as a ticket. What Parse reads can be made again,
// and without the key nobody gets in: every ticket the fuzzer finds that
// verifies says what the vectors say.
func FuzzVerify(f *testing.F) {
	file := readVectors(f)
	good := map[Claims]bool{}
	for _, v := range file.Positive {
		f.Add(v.Ticket, false)
		good[v.claims()] = true
	}
	for _, v := range file.Negative {
		f.Add(v.Ticket, true)
		if v.Expect.Valid || v.Expect.Code == apierr.TicketForged.Code {
			continue
		}
		if c, err := Parse(v.Ticket, false); err == nil {
			good[c] = true // signed, and refused for another reason
		}
	}
	const key = "c0ffee00c0ffee01c0ffee02c0ffee03c0ffee04c0ffee05c0ffee06c0ffee07"
	f.Fuzz(func(t *testing.T, ticket string, strict bool) {
		c, err := Parse(ticket, strict)
		if err != nil {
			if c != (Claims{}) || !errors.Is(err, apierr.TicketMalformed) && !errors.Is(err, apierr.TicketEmpty) {
				t.Fatalf("Parse(%q) = %+v, %v; want no claims and 70002 or 70003", ticket, c, err)
			}
			checkSecrets(t, err, ticket)
			return
		}
		fits := len(c.Identifier)+len(c.Userbuf) < 1500 // escapes may double it
		if again, err := Parse(c.wrap("AAAA"), true); err == nil && again != c || err != nil && fits {
			t.Fatalf("%+v does not survive a round trip: %+v, %v", c, again, err)
		}
		r := Request{Ticket: ticket, Identifier: c.Identifier, SDKAppID: uint32(c.SDKAppID), Keys: []string{"", key}, Now: time.Unix(c.Issued, 0), Strict: strict}
		got, _, err := Verify(r)
		if err == nil && !good[got] {
			t.Fatalf("%q was never signed and verifies as %+v", ticket, got)
		}
		checkSecrets(t, err, key, ticket)
	})
}

// FuzzMake makes tickets of all sorts and changes one character of each: a good
// ticket verifies as what it was made for, a changed one as nothing else.
func FuzzMake(f *testing.F) {
	f.Add("administrator", uint32(1400000001), int64(1_700_000_000), int64(3600), []byte(nil), uint16(0), byte('A'))
	f.Add("用户 \"😀\"\\", uint32(1), int64(0), int64(0), []byte{5}, uint16(40), byte('*'))
	f.Add("a\nTLS.sdkappid:1", uint32(4294967295), int64(1<<33), int64(-1), []byte("room"), uint16(90), byte('_'))
	f.Fuzz(func(t *testing.T, identifier string, sdkappid uint32, at, life int64, userbuf []byte, pos uint16, ch byte) {
		if len(identifier) > 200 || len(userbuf) > 200 {
			return
		}
		at %= 1 << 40
		life = max(life%(1<<33), -600) // a Duration has no more; before that it would be dated in the future
		ticket := Make(secret, sdkappid, identifier, time.Unix(at, 0), time.Duration(life)*time.Second, userbuf)
		r := Request{Ticket: ticket, Identifier: identifier, SDKAppID: sdkappid, Keys: []string{secret}, Now: time.Unix(at+life, 0), Strict: life%2 == 0}
		want, _, err := Verify(r)
		if proper := utf8.ValidString(identifier) && !strings.ContainsFunc(identifier, unicode.IsControl); proper != (err == nil) {
			t.Fatalf("Verify(Make(%q)) = %v", identifier, err)
		}
		checkSecrets(t, err, secret, ticket)
		if err != nil {
			return
		}
		if want.Identifier != identifier || want.SDKAppID != int64(sdkappid) || want.Issued != at || want.Life != life || want.HasUserbuf != (len(userbuf) > 0) {
			t.Fatalf("Verify(Make) = %+v, made for %q, %d, %d, %d", want, identifier, sdkappid, at, life)
		}

		changed := []byte(ticket)
		changed[int(pos)%len(changed)] = ch
		r.Ticket, r.Strict = string(changed), false
		c, err := Parse(r.Ticket, false)
		if err != nil {
			return
		}
		r.Identifier, r.SDKAppID, r.Now = c.Identifier, uint32(c.SDKAppID), time.Unix(c.Issued, 0)
		if got, _, err := Verify(r); err == nil && got != want {
			t.Fatalf("one changed character made %+v of %+v", got, want)
		}
	})
}
