package api_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/config"
	"tidings/internal/gate"
	"tidings/internal/server"
)

// startReal starts what `tidings serve` runs, in a temporary directory.
func startReal(t *testing.T) *node {
	t.Helper()
	cfg, err := config.Load(nil, func(string) (string, bool) { return "", false }, "", api.Commands())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.MetricsListen, cfg.Data = "127.0.0.1:0", "", t.TempDir()
	cfg.MemtableSize, cfg.CacheSize = 1<<20, 1<<20
	cfg.Apps = []app.Declaration{declaration()}
	s, err := server.Start(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	n := &node{t: t, clock: &clock{}, addr: strings.TrimPrefix(s.URL(), "http://"), client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
	n.clock.set(time.Now())
	n.post("im_open_login_svc/multiaccount_import", `{"Accounts":["Mary","xiaoming","ada"]}`).ok(t)
	n.post("timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"female","city":"Paris","country":"France"}},{"To_Account":"xiaoming","Attrs":{"sex":"male"}}]}`).ok(t)
	return n
}

// seen is what a client sees of the state.
func (n *node) seen() string {
	n.t.Helper()
	return n.post("timpush/get_attr_name", "{}").ok(n.t).raw +
		n.post("timpush/get_attr", `{"To_Account":["Mary","xiaoming","ada","ghost","new","administrator"]}`).ok(n.t).raw
}

// bomb is a ticket in whose zlib stream is a MiB.
func bomb() string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(bytes.Repeat([]byte(`{"TLS.ver":"2.0",`), 1<<16))
	_ = z.Close()
	return strings.NewReplacer("+", "*", "/", "-", "=", "_").Replace(base64.StdEncoding.EncodeToString(b.Bytes()))
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func chunked(s string, size int) string {
	var b strings.Builder
	for chunk := range slices.Chunk([]byte(s), size) {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return b.String() + "0\r\n\r\n"
}

// remove is a request that would take all of Mary's attributes, were it not
// for what is wrong with it; get one that changes nothing.
const (
	remove = `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city","country"]}]}`
	get    = `{"To_Account":["Mary"]}`
)

// hostile is bytes on a socket, and the codes of the API's answers to it; a
// number below 1000 is an HTTP status of net/http, before the API is reached.
// "URL" stands for the query of a good request.
type hostile struct {
	name, raw string
	want      []int
}

// body is a whole request with a body.
func body(name, command, text string, want int, headers ...string) hostile {
	return hostile{name, fmt.Sprintf("POST /v4/%s?URL HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n%s",
		command, len(text), strings.Join(append(headers, ""), "\r\n"), text), []int{want}}
}

// line is a whole request with another request line.
func line(name, requestLine string, want ...int) hostile {
	return hostile{name, fmt.Sprintf("%s\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", requestLine, len(remove), remove), want}
}

func hostiles() []hostile {
	const removeAttr, getAttr, setAttr, setName, kick, push = "timpush/remove_attr", "timpush/get_attr", "timpush/set_attr", "timpush/set_attr_name", "im_open_login_svc/kick", "timpush/push"
	to := func(account, attrs string) string {
		return `{"UserAttrs":[{"To_Account":` + account + `,"Attrs":` + attrs + `}]}`
	}
	utf16le := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	all := []hostile{
		// The request line.
		line("GET", "GET /v4/timpush/remove_attr?URL HTTP/1.1", 60002),
		line("PUT", "PUT /v4/timpush/remove_attr?URL HTTP/1.1", 60002),
		line("DELETE", "DELETE /v4/timpush/remove_attr?URL HTTP/1.1", 60002),
		line("OPTIONS", "OPTIONS /v4/timpush/remove_attr?URL HTTP/1.1", 60002),
		line("CONNECT", "CONNECT h:443 HTTP/1.1", 60002),
		line("lower-case method", "post /v4/timpush/remove_attr?URL HTTP/1.1", 60002),
		line("no method", "/v4/timpush/remove_attr?URL HTTP/1.1", 400),
		line("HTTP/0.9", "POST /v4/timpush/remove_attr?URL", 400),
		line("HTTP/3.0", "POST /v4/timpush/remove_attr?URL HTTP/3.0", 505),
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", []int{60002}},
		{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("x", 200) + "\r\n\r\n", []int{400}},
		{"nothing", "", nil},
		{"newlines", "\r\n\r\n\r\n", []int{400}},
		{"a line without end", strings.Repeat("A", 20000), []int{400}},
		{"a line of 100 KiB", strings.Repeat("A", 100<<10), []int{431}},
		line("space in the URL", "POST /v4/timpush/remove attr?URL HTTP/1.1", 400),
		line("control character in the URL", "POST /v4/timpush/remove_attr?a=\x01&URL HTTP/1.1", 400),
		line("NUL in the path", "POST /v4/timpush/remove_attr%00?URL HTTP/1.1", 60009),
		line("%zz in the path", "POST /v4/timpush/%zz?URL HTTP/1.1", 400),
		line("empty command", "POST /v4/timpush/?URL HTTP/1.1", 60002),
		line("empty service", "POST /v4//remove_attr?URL HTTP/1.1", 60002),
		line("three parts", "POST /v4/timpush/remove_attr/x?URL HTTP/1.1", 60002),
		line("slash behind", "POST /v4/timpush/remove_attr/?URL HTTP/1.1", 60002),
		line("another version", "POST /v5/timpush/remove_attr?URL HTTP/1.1", 60002),
		line("dots", "POST /v4/timpush/../timpush/remove_attr?URL HTTP/1.1", 60002),
		line("upper case", "POST /v4/timpush/Remove_Attr?URL HTTP/1.1", 60009),
		line("no leading slash", "POST v4/timpush/remove_attr?URL HTTP/1.1", 400),
		line("star", "POST * HTTP/1.1", 60002),
		line("9 KiB URL", "POST /v4/timpush/remove_attr?URL&x="+strings.Repeat("x", 9<<10)+" HTTP/1.1", 60002),
		line("60 KiB URL", "POST /v4/timpush/remove_attr?URL&x="+strings.Repeat("x", 60<<10)+" HTTP/1.1", 431),

		// The query.
		line("no query", "POST /v4/timpush/remove_attr HTTP/1.1", 60012),
		line("only &", "POST /v4/timpush/remove_attr?&&&== HTTP/1.1", 60012),
		line("names in capitals", "POST /v4/timpush/remove_attr?SDKAPPID=1400000001&IDENTIFIER=administrator&USERSIG=x HTTP/1.1", 60012),
		line("SdkAppid", "POST /v4/timpush/remove_attr?SdkAppid=1400000001&URL2 HTTP/1.1", 60012),
		line("duplicate, the first counts", "POST /v4/timpush/remove_attr?sdkappid=7&URL HTTP/1.1", 70020),
		line("empty duplicate", "POST /v4/timpush/remove_attr?sdkappid=&URL HTTP/1.1", 60025),
		line("duplicate without value", "POST /v4/timpush/remove_attr?sdkappid&URL HTTP/1.1", 60025),
		line("escaped name of a duplicate", "POST /v4/timpush/remove_attr?%73dkappid=7&URL HTTP/1.1", 70020),
		line("sdkappid with a sign", "POST /v4/timpush/remove_attr?sdkappid=%2B1400000001&URL HTTP/1.1", 60025),
		line("sdkappid with a space", "POST /v4/timpush/remove_attr?sdkappid=+1400000001&URL HTTP/1.1", 60025),
		line("sdkappid in hex", "POST /v4/timpush/remove_attr?sdkappid=0x5372_4e01&URL HTTP/1.1", 60025),
		line("sdkappid of zero", "POST /v4/timpush/remove_attr?sdkappid=0&URL HTTP/1.1", 60025),
		line("sdkappid negative", "POST /v4/timpush/remove_attr?sdkappid=-1&URL HTTP/1.1", 60025),
		line("sdkappid of 2^32+1400000001", "POST /v4/timpush/remove_attr?sdkappid=5694967297&URL HTTP/1.1", 60025),
		line("sdkappid in other digits", "POST /v4/timpush/remove_attr?sdkappid=%D9%A1%D9%A4&URL HTTP/1.1", 60025),
		line("sdkappid broken", "POST /v4/timpush/remove_attr?sdkappid=14%&URL HTTP/1.1", 60025),
		line("identifier broken", "POST /v4/timpush/remove_attr?identifier=%zz&URL HTTP/1.1", 60025),
		line("identifier not UTF-8", "POST /v4/timpush/remove_attr?identifier=%ff&URL HTTP/1.1", 70013),
		line("identifier with raw bytes", "POST /v4/timpush/remove_attr?identifier=\xff\xfe&URL HTTP/1.1", 70013),
		line("identifier with NUL", "POST /v4/timpush/remove_attr?identifier=administrator%00&URL HTTP/1.1", 70013),
		line("identifier of 4 KiB", "POST /v4/timpush/remove_attr?identifier="+strings.Repeat("x", 4<<10)+"&URL HTTP/1.1", 70013),
		line("contenttype with NUL", "POST /v4/timpush/remove_attr?contenttype=json%00&URL HTTP/1.1", 60025),
		line("contenttype empty", "POST /v4/timpush/remove_attr?contenttype=&URL HTTP/1.1", 60025),
		line("bomb", "POST /v4/timpush/remove_attr?identifier=b1&usersig="+bomb()+"&URL HTTP/1.1", 70003),
		line("ticket of 4097", "POST /v4/timpush/remove_attr?identifier=b2&usersig="+strings.Repeat("e", 4097)+"&URL HTTP/1.1", 70003),
		line("ticket of spaces", "POST /v4/timpush/remove_attr?identifier=b3&usersig=+++&URL HTTP/1.1", 70003),
		line("ticket with a line break", "POST /v4/timpush/remove_attr?identifier=b4&usersig=%0A&URL HTTP/1.1", 70003),

		// Framing and headers.
		{"no Host", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"two Hosts", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"HTTP/1.0 without length", "POST /v4/timpush/remove_attr?URL HTTP/1.0\r\n\r\n" + remove, []int{90001}},
		{"no length", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + remove, []int{90001}},
		{"length too short", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n" + remove, []int{90001, 400}},
		{"length too long", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: 200\r\n\r\n" + remove, []int{60002}},
		{"length negative", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n" + remove, []int{400}},
		{"length no number", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: ten\r\n\r\n" + remove, []int{400}},
		{"two lengths", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n" + remove, []int{400}},
		{"a length of terabytes", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000000000\r\n\r\n" + remove, []int{93000}},
		{"chunk size no number", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", []int{60002}},
		{"chunk cut off", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + remove, []int{60002}},
		{"last chunk missing", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunked(remove, 10), "0\r\n\r\n"), []int{60002}},
		{"chunks of more than a MiB", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(strings.Repeat(" ", 1<<20)+remove, 64<<10), []int{93000}},
		{"other transfer encoding", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n" + remove, []int{501}},
		{"other expectation", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", []int{417}},
		{"header without colon", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nx\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"NUL in a header", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nX: \x00\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"40 KiB of headers", "POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X-Flood: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 1000) + "Content-Length: 2\r\n\r\n{}", []int{431}},
		{"pipelined", strings.Repeat("POST /v4/timpush/remove_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 3) + "GET / HTTP/1.1\r\nHost: h\r\n\r\n", []int{90001, 90001, 90001, 60002}},
		{"refused, then good", "POST /v4/timpush/remove_attr?sdkappid=7 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}" + "POST /v4/timpush/get_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: 23\r\n\r\n" + get, []int{70020, 0}},
		body("gzip", removeAttr, gzipped(remove), 60002, "Content-Encoding: gzip"),
		body("gzip in capitals", removeAttr, gzipped(remove), 60002, "Content-Encoding: GZIP"),
		body("gzip second", removeAttr, gzipped(remove), 60002, "Content-Encoding: identity", "Content-Encoding: gzip"),
		body("gzip in a list", removeAttr, gzipped(remove), 60002, "Content-Encoding: identity, gzip"),
		body("gzip not told", removeAttr, gzipped(remove), 90001),

		// Not JSON.
		body("no body", removeAttr, "", 90001),
		body("white space", removeAttr, " \t\r\n ", 90001),
		body("BOM alone", removeAttr, "\ufeff", 90001),
		body("two BOMs", removeAttr, "\ufeff\ufeff"+remove, 90001),
		body("UTF-16", removeAttr, utf16le(remove), 90001),
		body("invalid UTF-8", removeAttr, to("\"Mar\xff\"", `["sex"]`), 90001),
		body("invalid UTF-8 in what is ignored", removeAttr, remove[:len(remove)-1]+",\"x\":\"\xc0\xaf\"}", 90001),
		body("surrogate in UTF-8", removeAttr, to("\"\xed\xa0\x80\"", `["sex"]`), 90001),
		body("lone surrogate", removeAttr, to(`"\ud83d"`, `["sex"]`), 90001),
		body("NUL byte", removeAttr, remove+"\x00", 90001),
		body("control character in a string", removeAttr, to("\"Ma\nry\"", `["sex"]`), 90001),
		body("trailing garbage", removeAttr, remove+"x", 90001),
		body("two objects", removeAttr, remove+remove, 90001),
		body("trailing comma", removeAttr, `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex",]}]}`, 90001),
		body("single quotes", removeAttr, strings.ReplaceAll(remove, `"`, `'`), 90001),
		body("comment", removeAttr, "/**/"+remove, 90001),
		body("form", removeAttr, "UserAttrs=Mary", 90001, "Content-Type: application/x-www-form-urlencoded"),
		body("NaN", removeAttr, `{"x":NaN}`, 90001),
		body("Infinity", removeAttr, `{"x":-Infinity}`, 90001),
		body("leading zero", removeAttr, remove[:len(remove)-1]+`,"x":01}`, 90001),
		body("capital escape", removeAttr, to(`"\U0041"`, `["sex"]`), 90001),
		body("100k arrays", removeAttr, strings.Repeat("[", 100_000), 90001),
		body("100k arrays closed", removeAttr, strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000), 90001),
		body("100k objects in what is ignored", removeAttr, strings.Repeat(`{"x":`, 100_000)+"1"+strings.Repeat("}", 100_000), 90001),
		body("100k arrays of users", removeAttr, `{"UserAttrs":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}", 90001),
		body("null", removeAttr, "null", 90001),
		body("true", removeAttr, "true", 90001),
		body("number", removeAttr, "1e400", 90001),
		body("string", removeAttr, `"UserAttrs"`, 90001),
		body("array", removeAttr, "["+remove+"]", 90001),
		body("not JSON, accounts", kick, `{"UserID":1,`, 60003),
		body("null, accounts", kick, `null`, 60003),
		body("not JSON after a type", kick, `{"UserID":1}}`, 60003),
		body("a MiB and a byte", removeAttr, remove+strings.Repeat(" ", 1<<20-len(remove)+1), 93000),
		body("a MiB and a byte, accounts", kick, strings.Repeat(" ", 1<<20+1), 60008),

		// Members.
		body("no members", removeAttr, "{}", 90001),
		body("names in lower case", removeAttr, strings.ToLower(remove), 90001),
		body("name of an account in lower case", removeAttr, strings.ReplaceAll(remove, "To_Account", "to_account"), 90001),
		body("the names of another library", removeAttr, strings.ReplaceAll(remove, "UserAttrs", "Attrs"), 90001),
		body("duplicate member", removeAttr, `{"UserAttrs":[],`+remove[1:], 90001),
		body("duplicate account", removeAttr, `{"UserAttrs":[{"To_Account":"ada","To_Account":"Mary","Attrs":["sex"]}]}`, 90001),
		body("duplicate, escaped", removeAttr, `{"UserAttr\u0073":[],`+remove[1:], 90001),
		body("duplicate attribute", setAttr, to(`"Mary"`, `{"sex":"a","sex":"b"}`), 90001),
		body("duplicate slot", setName, `{"AttrNames":{"3":"a","3":"b"}}`, 90001),
		body("null users", removeAttr, `{"UserAttrs":null}`, 90001),
		body("null user", removeAttr, `{"UserAttrs":[null]}`, 90001),
		body("null account", removeAttr, to("null", `["sex"]`), 90001),
		body("null names", removeAttr, to(`"Mary"`, "null"), 90001),
		body("null name", removeAttr, to(`"Mary"`, `["sex",null]`), 90001),
		body("number for an account", removeAttr, to("10086", `["sex"]`), 90001),
		body("number for a name", removeAttr, to(`"Mary"`, `["sex",1]`), 90001),
		body("string for names", removeAttr, to(`"Mary"`, `"sex"`), 90001),
		body("object for users", removeAttr, `{"UserAttrs":{"To_Account":"Mary","Attrs":["sex"]}}`, 90001),
		body("pairs for names", removeAttr, to(`"Mary"`, `{"sex":"female"}`), 90001),
		body("names for pairs", setAttr, to(`"Mary"`, `["sex"]`), 90001),
		body("number for a value", setAttr, to(`"Mary"`, `{"sex":1}`), 90001),
		body("boolean for a value", setAttr, to(`"Mary"`, `{"sex":true}`), 90001),
		body("array for a value", setAttr, to(`"Mary"`, `{"sex":["f"]}`), 90001),
		body("a bad value behind a good user", setAttr, `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"x"}},{"To_Account":"ada","Attrs":{"sex":1}}]}`, 90001),
		body("101 users", removeAttr, strings.Replace(userList(101, `["sex"]`), `"u0"`, `"Mary"`, 1), 90018),
		body("101 users that are null", removeAttr, `{"UserAttrs":[`+strings.Repeat("null,", 100)+"null]}", 90001),
		body("101 users and an undefined name", removeAttr, userList(101, `["shoe_size"]`), 90018),
		body("101 accounts", getAttr, `{"To_Account":[`+strings.Repeat(`"Mary",`, 100)+`"Mary"]}`, 90018),
		body("100k users", removeAttr, `{"UserAttrs":[`+strings.Repeat(`{},`, 100_000)+`{}]}`, 90001),
		body("undefined name behind a good user", removeAttr, `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex"]},{"To_Account":"ada","Attrs":["shoe_size"]}]}`, 90033),
		body("name of 51 bytes", removeAttr, to(`"Mary"`, `["sex","`+strings.Repeat("x", 51)+`"]`), 90033),
		body("name of 1 MB", removeAttr, to(`"Mary"`, `["sex","`+strings.Repeat("x", 1_000_000)+`"]`), 90033),
		body("empty name", removeAttr, to(`"Mary"`, `["sex",""]`), 90033),
		body("name in other case", removeAttr, to(`"Mary"`, `["sex","Sex"]`), 90033),
		body("NUL in a name", removeAttr, to(`"Mary"`, `["sex\u0000"]`), 90033),
		body("space behind a name", removeAttr, to(`"Mary"`, `["sex "]`), 90033),
		body("undefined name of a user who is not there", removeAttr, to(`"ghost"`, `["shoe_size"]`), 90033),
		body("empty value", setAttr, to(`"Mary"`, `{"sex":""}`), 90033),
		body("value of 51 bytes", setAttr, to(`"Mary"`, `{"city":"x","sex":"`+strings.Repeat("x", 51)+`"}`), 90033),
		body("slot 10", setName, `{"AttrNames":{"3":"a","10":"b"}}`, 90033),
		body("slot -0", setName, `{"AttrNames":{"-0":"b"}}`, 90033),
		body("slot 00", setName, `{"AttrNames":{"00":"b"}}`, 90033),
		body("name of 51 bytes for a slot", setName, `{"AttrNames":{"3":"`+strings.Repeat("x", 51)+`"}}`, 90033),
		body("empty name for a slot", setName, `{"AttrNames":{"3":""}}`, 90033),
		body("the same name twice", setName, `{"AttrNames":{"3":"a","4":"a"}}`, 90033),
		body("a name that is taken", setName, `{"AttrNames":{"3":"a","4":"sex"}}`, 90033),
		body("a type without a name", setName, `{"AttrNames":{"3":"a"},"AttrTypes":{"4":1}}`, 90033),
		body("a type that is none", setName, `{"AttrNames":{"3":"a"},"AttrTypes":{"3":2}}`, 90033),
		body("a type in a string", setName, `{"AttrNames":{"3":"a"},"AttrTypes":{"3":"1"}}`, 90001),
		body("a type with a fraction", setName, `{"AttrNames":{"3":"a"},"AttrTypes":{"3":1.5}}`, 90001),
		body("a huge type", setName, `{"AttrNames":{"3":"a"},"AttrTypes":{"3":1e300}}`, 90001),
		body("eleven names in an array", setName, `{"AttrNames":["a","b","c","d","e","f","g","h","i","j","k"]}`, 90033),
		body("names in an array of numbers", setName, `{"AttrNames":["a",1]}`, 90001),
		body("kind of a slot changed", setName, `{"AttrNames":{"3":"a","0":"sex"},"AttrTypes":{"0":1}}`, 90033),
		body("UserID of an object", kick, `{"UserID":{}}`, 60015),
		body("UserID of 33 bytes", "im_open_login_svc/account_import", `{"UserID":"`+strings.Repeat("x", 33)+`"}`, 70402),
		body("UserID with NUL", "im_open_login_svc/account_import", `{"UserID":"new\u0000"}`, 70402),
		body("UserID with a line break", "im_open_login_svc/account_import", `{"UserID":"new\n"}`, 70402),
		body("kick of nobody", kick, `{"UserID":""}`, 70402),
		body("kick of 65 bytes", kick, `{"UserID":"`+strings.Repeat("x", 65)+`"}`, 70402),
		body("kick of a MB of DEL", kick, `{"UserID":"`+strings.Repeat("\x7f", 1_000_000)+`"}`, 70402),
		body("kick with a line break", kick, `{"UserID":"Mary\n"}`, 70402),
		body("101 to delete", "im_open_login_svc/account_delete", `{"DeleteItem":[`+strings.Repeat(`{"UserID":"Mary"},`, 100)+`{"UserID":"Mary"}]}`, 70402),
		body("one of 2 to delete is missing", "im_open_login_svc/account_delete", `{"DeleteItem":[{"UserID":"Mary"},{"userid":"ada"}]}`, 70402),
		body("a number to delete", "im_open_login_svc/account_delete", `{"DeleteItem":[{"UserID":"Mary"},{"UserID":1}]}`, 60015),

		// Pushes.
		body("push of nothing", push, "{}", 90005),
		body("push in lower case", push, strings.ToLower(bodies["timpush/push"]), 90001),
		body("push with a misspelt condition", push, `{"MsgRandom":1,"Conditon":{"TagsAnd":["a"]},"OfflinePushInfo":{}}`, 90001),
		body("push with a condition in an array", push, `{"MsgRandom":1,"Condition":[],"OfflinePushInfo":{}}`, 90001),
		body("push with an unknown member in a condition", push, `{"MsgRandom":1,"Condition":{"Tags":["a"]},"OfflinePushInfo":{}}`, 90001),
		body("push of 10241 bytes", push, `{"MsgRandom":1,"OfflinePushInfo":{"Ext":"`+strings.Repeat("x", 10<<10)+`"}}`, 90056),
		body("push of a MiB that is no JSON", push, strings.Repeat("[", 1<<20), 90056),
		body("push with a huge number", push, `{"MsgRandom":1e999,"OfflinePushInfo":{}}`, 90005),
		body("push with 5000 levels in AndroidInfo", push, `{"MsgRandom":1,"OfflinePushInfo":{"AndroidInfo":{"x":`+strings.Repeat("[", 4900)+strings.Repeat("]", 4900)+`}}}`, 90045),
		body("push with 10000 levels in AndroidInfo", push, `{"MsgRandom":1,"OfflinePushInfo":{"AndroidInfo":{"x":`+strings.Repeat("[", 10100), 90001),
		body("push with a member of a kept member twice", push, `{"MsgRandom":1,"OfflinePushInfo":{"ApnsInfo":{"x":{"a":1,"a":2}}}}`, 90001),
		body("push with a lone surrogate", push, `{"MsgRandom":1,"OfflinePushInfo":{"Title":"\ud83d"}}`, 90001),
		body("push with a NUL in its key", push, `{"MsgRandom":1,"IdempotencyKey":"\u0000","OfflinePushInfo":{}}`, 90045),
		body("push with headers in a header", push, `{"MsgRandom":1,"Overrides":{"Apns":{"Headers":{"a":"b\r\nc: d"}}},"OfflinePushInfo":{}}`, 90001),
		body("push with a token", push, `{"MsgRandom":1,"Overrides":{"Apns":{"Headers":{"AUTHORIZATION":"b"}}},"OfflinePushInfo":{}}`, 90001),
		body("batch with 100k receivers", "timpush/batch", `{"From_Account":"Mary","MsgRandom":1,"To_Account":[`+strings.Repeat(`"",`, 80_000)+`""],"OfflinePushInfo":{}}`, 90011),
		body("batch over its size", "timpush/batch", strings.Repeat(" ", 256<<10)+"{}", 93000),
		body("batch to an object", "timpush/batch", `{"From_Account":"Mary","MsgRandom":1,"To_Account":{"0":"Mary"},"OfflinePushInfo":{}}`, 90001),
		body("batch without an app that can push", "timpush/batch", `{"From_Account":"Mary","MsgRandom":1,"To_Account":["Mary"],"OfflinePushInfo":{}}`, 90045),

		// Odd and good.
		body("BOM", getAttr, "\ufeff"+get, 0),
		body("white space around", getAttr, "\r\n\t "+get+" \r\n", 0),
		body("identity", getAttr, get, 0, "Content-Encoding: identity"),
		body("another content type", getAttr, get, 0, "Content-Type: text/plain; charset=utf-16"),
		body("a MiB", getAttr, get+strings.Repeat(" ", 1<<20-len(get)), 0),
		body("escaped name", getAttr, strings.Replace(get, "To", `\u0054o`, 1), 0),
		body("the same name in other cases", getAttr, `{"to_account":5,"TO_ACCOUNT":[],`+get[1:], 0),
		body("huge numbers in what is ignored", getAttr, `{"x":1e999999,"y":-0,"z":`+strings.Repeat("9", 10_000)+`,`+get[1:], 0),
		body("5000 arrays in what is ignored", getAttr, `{"x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`,`+get[1:], 0),
		body("nulls", getAttr, `{"x":null,`+get[1:], 0),
		body("an account that cannot be", getAttr, `{"To_Account":["\u0000","`+strings.Repeat("x", 5000)+`","","Mary "]}`, 0),
		body("expect", getAttr, get, 0, "Expect: 100-continue"),
		{"chunked", "POST /v4/timpush/get_attr?URL HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(get, 1), []int{0}},
		{"chunked with expect", "POST /v4/timpush/get_attr?URL HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(get, 7), []int{0}},
		{"chunked with a trailer", "POST /v4/timpush/get_attr?URL HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" + strings.TrimSuffix(chunked(get, 7), "\r\n") + "X: y\r\n\r\n", []int{0}},
		{"HTTP/1.0", "POST /v4/timpush/get_attr?URL HTTP/1.0\r\nContent-Length: 23\r\n\r\n" + get, []int{0}},
		{"absolute URL", "POST http://other/v4/timpush/get_attr?URL HTTP/1.1\r\nHost: h\r\nContent-Length: 23\r\n\r\n" + get, []int{0}},
		{"20 KiB of headers", "POST /v4/timpush/get_attr?URL HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X-Flood: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 400) + "Content-Length: 23\r\n\r\n" + get, []int{0}},
		{"random of all kinds", "POST /v4/timpush/get_attr?random=-99999999999999999999%zz&apn=1&URL HTTP/1.1\r\nHost: h\r\nContent-Length: 23\r\n\r\n" + get, []int{0}},
		{"what is ignored, broken", "POST /v4/timpush/get_attr?x=%zz&%zz=1&;&URL HTTP/1.1\r\nHost: h\r\nContent-Length: 23\r\n\r\n" + get, []int{0}},
		{"good, then duplicates", "POST /v4/timpush/get_attr?URL&sdkappid=x&identifier=&usersig=&contenttype=xml HTTP/1.1\r\nHost: h\r\nContent-Length: 23\r\n\r\n" + get, []int{0}},
		{"sdkappid with zeros", "POST /v4/timpush/get_attr?sdkappid=001400000001&URL HTTP/1.1\r\nHost: h\r\nContent-Length: 23\r\n\r\n" + get, []int{0}},
	}
	return all
}

// TestHostileInput sends what no client should to the whole server. Once the
// API is reached the status is 200, the code is right, nothing changes, and the
// server lives.
func TestHostileInput(t *testing.T) {
	n := startReal(t)
	seen := n.seen()
	for _, h := range hostiles() {
		t.Run(h.name, func(t *testing.T) {
			q := n.query()
			raw := strings.ReplaceAll(h.raw, "URL2", "x")
			raw = strings.ReplaceAll(raw, "URL", q.Encode())
			bytes := exchange(t, n.addr, raw)
			all, statuses := answers(t, h.name, bytes)
			var got []int
			for _, s := range statuses {
				if s == http.StatusOK {
					s, all = all[0].ErrorCode, all[1:]
				}
				got = append(got, s)
			}
			if !slices.Equal(got, h.want) {
				t.Errorf("answers %v, want %v; %s", got, h.want, shorten(string(bytes)))
			}
			if ticket := q.Get("usersig"); strings.Contains(string(bytes), ticket) {
				t.Errorf("an answer shows the ticket")
			}
			if got := n.seen(); got != seen {
				t.Errorf("something changed: %s, was %s", got, seen)
			}
		})
	}
}

// TestSlowSenders: who does not send a whole request in time gets an answer if
// the API has been reached, and loses the connection; nothing changes.
func TestSlowSenders(t *testing.T) {
	n := open(t, gate.Options{}, withDevices(t))
	n.fill()
	n.timeout = 40 * time.Millisecond
	n.serve()
	q := n.query().Encode()
	head := "POST /v4/timpush/remove_attr?%s HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
	for _, c := range []struct {
		name, raw string
		want      []int
	}{
		{"nothing", "", nil},
		{"half a line", "POST /v4/tim", nil},
		{"half the headers", "POST /v4/timpush/remove_attr?" + q + " HTTP/1.1\r\nHost: h\r\n", nil},
		{"no body", fmt.Sprintf(head, q), []int{60008}},
		{"half a body", fmt.Sprintf(head, q) + remove, []int{60008}},
		{"half a chunk", strings.ReplaceAll(fmt.Sprintf(head, q), "Content-Length: 1000", "Transfer-Encoding: chunked") + "ff\r\n{", []int{60008}},
		{"half a body, refused", fmt.Sprintf(head, "sdkappid=7") + remove, []int{70020}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n.unchanged(c.name, func() {
				conn, err := net.Dial("tcp", n.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				io.WriteString(conn, c.raw)
				got, err := io.ReadAll(conn)
				if err != nil {
					t.Fatalf("the connection was not closed: %v", err)
				}
				all, _ := answers(t, c.name, got)
				var codes []int
				for _, a := range all {
					codes = append(codes, a.ErrorCode)
				}
				if !slices.Equal(codes, c.want) {
					t.Errorf("got %q, want %v", got, c.want)
				}
			})
		})
	}
}
