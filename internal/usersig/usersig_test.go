package usersig

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/internal/apierr"
)

const (
	secret = "5ec2e70123456789abcdef0123456789abcdef0123456789abcdef0123456789"
	appID  = 1400000001
	user   = "administrator"
)

var issued = time.Unix(1_700_000_000, 0)

// request is one that Verify accepts for tickets of these claims.
func request(ticket string) Request {
	return Request{Ticket: ticket, Identifier: user, SDKAppID: appID, Keys: []string{secret}, Now: issued.Add(time.Minute)}
}

// signed are the members of a good ticket but for the closing brace, so that
// tests can add to them.
func signed(t testing.TB) string {
	t.Helper()
	c := Claims{Identifier: user, SDKAppID: appID, Issued: issued.Unix(), Life: 3600}
	sig := base64.StdEncoding.EncodeToString(sign(secret, c.appendSigned(nil)))
	return `{"TLS.ver":"2.0","TLS.identifier":"administrator","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":3600,"TLS.sig":"` + sig + `"`
}

// TestHostileJSON changes the JSON inside a ticket whose signature is good.
func TestHostileJSON(t *testing.T) {
	good := signed(t)
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in %s", old, good)
		}
		return strings.Replace(good, old, new, 1) + "}"
	}
	for _, tc := range []struct {
		name, json string
		want       *apierr.Kind // nil: accepted
	}{
		{"unchanged", good + "}", nil},
		{"white space", " \r\n\t" + good + " } \n", nil},
		{"unknown members", good + `,"a":[1,{"b":null}],"":1e9}`, nil},
		{"escaped member name", edit(`"TLS.ver"`, `"TLS\u002ever"`), nil},
		{"escaped identifier", edit(`"administrator"`, `"\u0061dministrator"`), nil},
		{"4096 bytes", good + `,"pad":"` + strings.Repeat("x", 4096-len(good)-10) + `"}`, nil},

		{"4097 bytes", good + `,"pad":"` + strings.Repeat("x", 4097-len(good)-10) + `"}`, apierr.TicketMalformed},
		{"nothing", "", apierr.TicketMalformed},
		{"white space only", "  \n", apierr.TicketMalformed},
		{"not closed", good, apierr.TicketMalformed},
		{"trailing comma", good + ",}", apierr.TicketMalformed},
		{"two objects", good + "}{}", apierr.TicketMalformed},
		{"text after", good + "}x", apierr.TicketMalformed},
		{"NUL after", good + "}\x00", apierr.TicketMalformed},
		{"byte order mark", "\ufeff" + good + "}", apierr.TicketMalformed},
		{"object in an array", "[" + good + "}]", apierr.TicketMalformed},
		{"comment", good + "/**/}", apierr.TicketMalformed},
		{"deep nesting", good + `,"a":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + "}", nil},
		{"deep nesting not closed", good + `,"a":` + strings.Repeat("[", 3500), apierr.TicketMalformed},
		{"member twice", good + `,"TLS.expire":3600}`, apierr.TicketMalformed},
		{"identifier twice", good + `,"TLS.identifier":"root"}`, apierr.TicketMalformed},
		{"escaped member twice", good + `,"TLS\u002eidentifier":"root"}`, apierr.TicketMalformed},
		{"unknown member twice", good + `,"a":1,"a":1}`, apierr.TicketMalformed},
		{"member name in another case", edit(`"TLS.sig"`, `"tls.sig"`), apierr.TicketMalformed},
		{"version as number", edit(`"2.0"`, `2.0`), apierr.TicketMalformed},
		{"version 2", edit(`"2.0"`, `"2"`), apierr.TicketMalformed},
		{"identifier null", edit(`"administrator"`, `null`), apierr.TicketMalformed},
		{"identifier array", edit(`"administrator"`, `["administrator"]`), apierr.TicketMalformed},
		{"identifier with NUL", edit(`"administrator"`, `"administrator\u0000"`), apierr.TicketMalformed},
		{"identifier with DEL", edit(`"administrator"`, `"administrator\u007f"`), apierr.TicketMalformed},
		{"identifier with C1 control", edit(`"administrator"`, `"administrator\u0085"`), apierr.TicketMalformed},
		{"identifier with raw line feed", edit(`"administrator"`, "\"administrator\n\""), apierr.TicketMalformed},
		{"lone high surrogate", edit(`"administrator"`, `"administrator\ud83d"`), apierr.TicketMalformed},
		{"lone low surrogate", edit(`"administrator"`, `"\ude00administrator"`), apierr.TicketMalformed},
		{"bad UTF-8", edit(`"administrator"`, "\"administrator\xff\""), apierr.TicketMalformed},
		{"overlong UTF-8", edit(`"administrator"`, "\"\xc1\xa1dministrator\""), apierr.TicketMalformed},
		{"bad escape", edit(`"administrator"`, `"\x61dministrator"`), apierr.TicketMalformed},
		{"integer with exponent", edit(`1700000000`, `17e8`), apierr.TicketMalformed},
		{"integer with zero exponent", edit(`1700000000`, `1700000000e0`), apierr.TicketMalformed},
		{"integer with zero fraction", edit(`1400000001`, `1400000001.0`), apierr.TicketMalformed},
		{"integer with leading zero", edit(`1400000001`, `01400000001`), apierr.TicketMalformed},
		{"integer with plus", edit(`3600`, `+3600`), apierr.TicketMalformed},
		{"integer in hexadecimal", edit(`3600`, `0xe10`), apierr.TicketMalformed},
		{"integer of 65 bits", edit(`3600`, `9223372036854775808`), apierr.TicketMalformed},
		{"integer below 64 bits", edit(`3600`, `-9223372036854775809`), apierr.TicketMalformed},
		{"integer of 1000 digits", edit(`3600`, strings.Repeat("9", 1000)), apierr.TicketMalformed},
		{"integer huge by exponent", edit(`3600`, `1e999999999`), apierr.TicketMalformed},
		{"integer NaN", edit(`3600`, `NaN`), apierr.TicketMalformed},
		{"integer as string", edit(`1400000001`, `"1400000001"`), apierr.TicketMalformed},
		{"integer true", edit(`3600`, `true`), apierr.TicketMalformed},
		{"integer null", edit(`3600`, `null`), apierr.TicketMalformed},
		{"sdkappid plus 2^32", edit(`1400000001`, `5694967297`), apierr.TicketSDKAppID},
		{"sdkappid negative", edit(`1400000001`, `-2894967295`), apierr.TicketSDKAppID},
		{"expire negative", edit(`3600`, `-1`), apierr.TicketExpired},
		{"expire most negative", edit(`3600`, `-9223372036854775808`), apierr.TicketExpired},
		{"expire largest", edit(`3600`, `9223372036854775807`), apierr.TicketMalformed},
		{"end overflows downwards", strings.Replace(edit(`3600`, `-9223372036854775808`), `1700000000`, `-1`, 1), apierr.TicketMalformed},
		{"time largest, expire 0", strings.Replace(edit(`3600`, `0`), `1700000000`, `9223372036854775807`, 1), apierr.TicketMalformed},
		{"time smallest, expire largest", strings.Replace(edit(`3600`, `9223372036854775807`), `1700000000`, `-9223372036854775808`, 1), apierr.TicketExpired},
		{"expire raised", edit(`3600`, `3601`), apierr.TicketForged},
		{"signature with line break", edit(`=`, `=\n`), apierr.TicketMalformed},
		{"signature without padding", edit(`="`, `"`), apierr.TicketMalformed},
		{"signature in base64url", edit(`"TLS.sig":"`, `"TLS.sig":"_-_-`), apierr.TicketMalformed},
		{"signature longer", edit(`"TLS.sig":"`, `"TLS.sig":"AAAA`), apierr.TicketForged},
		{"signature null", good[:strings.Index(good, `"TLS.sig":`)] + `"TLS.sig":null}`, apierr.TicketMalformed},
		{"userbuf null", good + `,"TLS.userbuf":null}`, apierr.TicketMalformed},
		{"userbuf not base64", good + `,"TLS.userbuf":"!"}`, apierr.TicketMalformed},
		{"userbuf with line break", good + `,"TLS.userbuf":"BQ\n=="}`, apierr.TicketMalformed},
		{"userbuf empty, not signed", good + `,"TLS.userbuf":""}`, apierr.TicketForged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ticket := encode(deflate([]byte(tc.json)))
			r := request(ticket)
			r.Strict = true
			_, _, err := Verify(r)
			checkKind(t, err, tc.want)
			checkSecrets(t, err, secret, ticket, good[strings.Index(good, `"TLS.sig":"`)+11:])
		})
	}
}

func checkKind(t *testing.T, err error, want *apierr.Kind) {
	t.Helper()
	switch {
	case want == nil && err != nil:
		t.Errorf("got %v, want success", err)
	case want != nil && !errors.Is(err, want):
		t.Errorf("got %v, want %d", err, want.Code)
	}
}

// TestHostileWrapping changes the base64 and the zlib stream around good JSON.
func TestHostileWrapping(t *testing.T) {
	json := []byte(signed(t) + "}")
	z := deflate(json)
	ticket := encode(z)
	std := base64.StdEncoding.EncodeToString(z)
	for len(z)%3 == 0 || !strings.ContainsAny(std, "+/") { // make sure that every character takes part
		json = append(json, ' ')
		z = deflate(json)
		ticket, std = encode(z), base64.StdEncoding.EncodeToString(z)
	}
	unpadded := strings.TrimRight(ticket, "_")

	// A stream that asks for the empty dictionary: compress/zlib would take it.
	dict := append([]byte{0x78, 0x20 | 0x80, 0, 0, 0, 1}, z[2:]...)
	dict[1] += byte(31 - (uint(dict[0])<<8+uint(dict[1]))%31)
	if r, err := zlib.NewReader(bytes.NewReader(dict)); err != nil {
		t.Errorf("zlib refuses the stream with an empty dictionary by itself: %v", err)
	} else {
		_ = r.Close()
	}
	// Blocks without end, and one that says it is longer than what there is.
	stored := []byte{0x78, 0x01, 0x01, 0xff, 0xff, 0x00, 0x00}
	empty := append([]byte{0x78, 0x01}, bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 600)...)
	stop := binary.BigEndian.AppendUint32([]byte{0x78, 0x01, 0x01, 0, 0, 0xff, 0xff}, adler32.Checksum(nil))

	for _, tc := range []struct {
		name, ticket string
		want         *apierr.Kind
	}{
		{"unchanged", ticket, nil},
		{"standard alphabet", std, nil},
		{"mixed alphabets", strings.Replace(ticket, "_", "=", 1), nil},
		{"empty", "", apierr.TicketEmpty},
		{"no padding", unpadded, apierr.TicketMalformed},
		{"too much padding", ticket + "_", apierr.TicketMalformed},
		{"padding group more", ticket + "____", apierr.TicketMalformed},
		{"padding only", "____", apierr.TicketMalformed},
		{"padding in the middle", ticket[:4] + "AA__" + ticket[4:], apierr.TicketMalformed},
		{"text after padding", ticket + "AAAA", apierr.TicketMalformed},
		{"line feed inside", ticket[:8] + "\n" + ticket[8:], apierr.TicketMalformed},
		{"CR LF after", ticket + "\r\n", apierr.TicketMalformed},
		{"space before", " " + ticket, apierr.TicketMalformed},
		{"tab after", ticket + "\t", apierr.TicketMalformed},
		{"NUL after", ticket + "\x00", apierr.TicketMalformed},
		{"percent-encoded twice", strings.Replace(ticket, "_", "%5F", 1), apierr.TicketMalformed},
		{"not ASCII", ticket[:8] + "é" + ticket[8:], apierr.TicketMalformed},
		{"one character", "e", apierr.TicketMalformed},
		{"one byte", encode(z[:1]), apierr.TicketMalformed},
		{"zlib header only", encode(z[:2]), apierr.TicketMalformed},
		{"checksum cut", encode(z[:len(z)-1]), apierr.TicketMalformed},
		{"one byte more", encode(append(bytes.Clone(z), 0)), apierr.TicketMalformed},
		{"second stream", encode(append(bytes.Clone(z), z...)), apierr.TicketMalformed},
		{"empty dictionary", encode(dict), apierr.TicketMalformed},
		{"stored block too long", encode(stored), apierr.TicketMalformed},
		{"empty blocks without end", encode(empty), apierr.TicketMalformed},
		{"empty stream", encode(stop), apierr.TicketMalformed},
		{"4096 characters of nothing", strings.Repeat("A", 4096), apierr.TicketMalformed},
		{"4097 characters", strings.Repeat("A", 4097), apierr.TicketMalformed},
		{"1 MiB", strings.Repeat("A", 1<<20), apierr.TicketMalformed},
		{"bomb of 2 MiB", encode(deflate(make([]byte, 2<<20))), apierr.TicketMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Verify(request(tc.ticket))
			checkKind(t, err, tc.want)
			checkSecrets(t, err, secret, ticket, std, unpadded)
		})
	}
	if _, _, err := Verify(Request{Ticket: encode(dict)}); !errors.Is(err, apierr.TicketMalformed) {
		t.Errorf("Verify with a dictionary: %v, want 70003", err)
	}
}

// TestOrder gives tickets with several faults: the first in the contract's
// order is reported.
func TestOrder(t *testing.T) {
	ticket := Make(secret, appID, user, issued, time.Hour, nil)
	future := Make(secret, appID, user, issued.Add(time.Hour), time.Hour, nil)
	late := issued.Add(2 * time.Hour)
	for _, tc := range []struct {
		name   string
		change func(*Request)
		want   *apierr.Kind
		text   string
	}{
		{"good", func(*Request) {}, nil, ""},
		{"everything wrong", func(r *Request) { *r = Request{Ticket: "!", Now: late} }, apierr.TicketMalformed, `usersig has a wrong character, "!", at position 0`},
		{"app", func(r *Request) { *r = Request{Ticket: ticket, SDKAppID: 7, Now: late} }, apierr.TicketSDKAppID, "usersig is for sdkappid 1400000001, the request says 7"},
		{"identifier", func(r *Request) { r.Identifier, r.Now, r.Keys = "mary", late, nil }, apierr.TicketIdentifier, `usersig is for identifier "administrator", the request says "mary"`},
		{"long identifier", func(r *Request) { r.Identifier = strings.Repeat("m", 8000) }, apierr.TicketIdentifier, `usersig is for identifier "administrator", the request says "` + strings.Repeat("m", 64) + `"...`},
		{"last second", func(r *Request) { r.Now = issued.Add(time.Hour + time.Second - 1) }, nil, ""},
		{"expired", func(r *Request) { r.Now, r.Keys = issued.Add(time.Hour+time.Second), nil }, apierr.TicketExpired, "usersig expired at 2023-11-14T23:13:20Z"},
		{"skew allowed", func(r *Request) { r.Ticket, r.Now = future, issued.Add(50*time.Minute) }, nil, ""},
		{"future", func(r *Request) { r.Ticket, r.Now, r.Keys = future, issued.Add(50*time.Minute-1), nil }, apierr.TicketMalformed, "usersig: TLS.time 2023-11-14T23:13:20Z is in the future, it is 2023-11-14T23:03:19Z now"},
		{"no key", func(r *Request) { r.Keys = nil }, apierr.NoKey, apierr.NoKey.Text},
		{"empty key", func(r *Request) { r.Ticket, r.Keys = Make("", appID, user, issued, time.Hour, nil), []string{""} }, apierr.NoKey, apierr.NoKey.Text},
		{"other key", func(r *Request) { r.Keys = []string{"a", "", "b"} }, apierr.TicketForged, apierr.TicketForged.Text},
		{"key in upper case", func(r *Request) { r.Keys = []string{strings.ToUpper(secret)} }, apierr.TicketForged, apierr.TicketForged.Text},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := request(ticket)
			tc.change(&r)
			_, _, err := Verify(r)
			checkKind(t, err, tc.want)
			if err != nil && apierr.From(err).Info() != tc.text {
				t.Errorf("text is %q, want %q", apierr.From(err).Info(), tc.text)
			}
			checkSecrets(t, err, secret, r.Ticket)
		})
	}
}

func TestKeyIndex(t *testing.T) {
	r := request(Make(secret, appID, user, issued, time.Hour, nil))
	r.Keys = []string{"", "new key", secret}
	if _, key, err := Verify(r); err != nil || key != 2 {
		t.Errorf("Verify = key %d, %v; want key 2, nil", key, err)
	}
}

func TestInvalidated(t *testing.T) {
	c := Claims{Issued: 1_700_000_000}
	for _, tc := range []struct {
		at   int64
		want *apierr.Kind
	}{
		{0, nil}, {1_699_999_999, nil}, {1_700_000_000, apierr.TicketInvalidated}, {1_700_000_001, apierr.TicketInvalidated},
	} {
		t.Run(strconv.FormatInt(tc.at, 10), func(t *testing.T) { checkKind(t, c.Invalidated(tc.at), tc.want) })
	}
	if err := (Claims{Issued: -5}).Invalidated(0); err != nil {
		t.Errorf("Invalidated(0) of a ticket from before 1970 = %v, want nil: nothing was invalidated", err)
	}
}

func TestExpires(t *testing.T) {
	for _, tc := range []struct {
		issued, life int64
		want         string
	}{
		{1_700_000_000, 3600, "2023-11-14T23:13:20Z"},
		{1_700_000_000, 0, "2023-11-14T22:13:20Z"},
		{0, -1, "1969-12-31T23:59:59Z"},
		{1_700_000_000, math.MaxInt64, "9999-12-31T23:59:59Z"},
		{math.MaxInt64, 0, "9999-12-31T23:59:59Z"},
		{math.MinInt64, 0, "0001-01-01T00:00:00Z"},
		{math.MinInt64, math.MinInt64, "0001-01-01T00:00:00Z"},
		{math.MinInt64, math.MaxInt64, "1969-12-31T23:59:59Z"},
	} {
		if got := (Claims{Issued: tc.issued, Life: tc.life}).Expires().Format(time.RFC3339); got != tc.want {
			t.Errorf("Expires of %d + %d = %s, want %s", tc.issued, tc.life, got, tc.want)
		}
	}
}

// TestConcurrent shares the pooled buffers between goroutines.
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			name := "user-" + strconv.Itoa(g)
			r := Request{Ticket: Make(secret, appID, name, issued, time.Hour, nil), Identifier: name, SDKAppID: appID, Keys: []string{secret}, Now: issued}
			for range 200 {
				if c, _, err := Verify(r); err != nil || c.Identifier != name {
					t.Errorf("Verify = %+v, %v; want identifier %s", c, err, name)
					return
				}
				if _, err := Parse(r.Ticket[:len(r.Ticket)-4], false); err == nil {
					t.Error("Parse of half a ticket succeeded")
				}
			}
		})
	}
	wg.Wait()
}
