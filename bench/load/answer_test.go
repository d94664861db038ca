package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadAnswer(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5000)
	for name, c := range map[string]struct {
		in     string
		status int
		body   string
		last   bool
	}{
		"length":     {"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 5\r\n\r\nhello", 200, "hello", false},
		"empty":      {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 502, "", true},
		"chunks":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, you ther\r\n1\r\ne\r\n0\r\n\r\n", 200, "hello, you there", false},
		"trailer":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n", 200, "x", false},
		"long":       {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), 200, long, false},
		"long chunk": {fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n3\r\nend\r\n0\r\n\r\n", len(long), long), 200, long + "end", false},
	} {
		for how, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.in), "by byte": iotest.OneByteReader(strings.NewReader(c.in)), "halves": iotest.HalfReader(strings.NewReader(c.in)),
		} {
			var buf []byte
			a, err := readAnswer(r, &buf)
			if err != nil || a.status != c.status || string(a.body) != c.body || a.last != c.last {
				t.Errorf("%s, %s: status %d, %d bytes, last %v, %v", name, how, a.status, len(a.body), a.last, err)
			}
		}
	}
}

func TestReadAnswerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   io.Reader
		want error
	}{
		"nothing":       {strings.NewReader(""), io.ErrUnexpectedEOF},
		"cut off":       {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"), io.ErrUnexpectedEOF},
		"not HTTP":      {strings.NewReader("SSH-2.0-OpenSSH_9.9\r\n\r\n"), errBadAnswer},
		"no length":     {strings.NewReader("HTTP/1.1 200 OK\r\n\r\nhello"), errBadAnswer},
		"bad length":    {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"), errBadAnswer},
		"two answers":   {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhello"), errBadAnswer},
		"too long":      {strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"), errAnswerTooLarge},
		"endless head":  {io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\n"), endless("X: y\r\n")), errAnswerTooLarge},
		"long chunk":    {strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"), errAnswerTooLarge},
		"endless chunk": {io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), endless("1\r\nx\r\n")), errAnswerTooLarge},
		"bad chunk":     {strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), errBadAnswer},
	} {
		var buf []byte
		if _, err := readAnswer(c.in, &buf); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// endless repeats a text past every limit.
func endless(s string) io.Reader { return strings.NewReader(strings.Repeat(s, maxAnswerBytes)) }

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var whole, split []byte
		a, err := readAnswer(bytes.NewReader(in), &whole)
		b, err2 := readAnswer(iotest.OneByteReader(bytes.NewReader(in)), &split)
		// Bytes after the answer are only noticed when they come with it.
		if err == nil && (err2 != nil || !bytes.Equal(a.body, b.body) || a.status != b.status) {
			t.Fatalf("whole %q, %v; by byte %q, %v", a.body, err, b.body, err2)
		}
	})
}

func TestCode(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		partial bool
		want    int
	}{
		{200, ok, false, 0},
		{200, `{"ErrorCode" : 0 }`, false, 0},
		{200, `{"ActionStatus":"FAIL","ErrorInfo":"invalid attribute","ErrorCode":90033}`, true, 90033},
		{200, `{"ErrorCode":0,"ErrorList":[{"To_Account":"x","ErrorCode":70107,"ErrorInfo":""}]}`, false, 70107},
		{200, `{"ErrorCode":0,"ErrorList":[{"To_Account":"x","ErrorCode":70107,"ErrorInfo":""}]}`, true, 0},
		{200, `{"ErrorCode":0,"ErrorList":[]}`, false, 0},
		{200, `{"ErrorCode":0,"FailAccounts":["x"]}`, false, Broken},
		{200, `{"ErrorCode":0,"UserAttrs":[{"To_Account":"\"ErrorList\":[1]"}]}`, false, 0},
		{200, `<html>`, false, Broken},
		{502, `<html>`, false, 502},
	} {
		if got := (answer{status: c.status, body: []byte(c.body)}).code(c.partial); got != c.want {
			t.Errorf("code of %d %s, partial %v: %d, want %d", c.status, c.body, c.partial, got, c.want)
		}
	}
}
