package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxAnswerBytes is the largest answer that is read, head and body. The
// largest real one, get_attr of 100 users, has about 120 KB.
const maxAnswerBytes = 1 << 20

var (
	errAnswerTooLarge = fmt.Errorf("answer has more than %d bytes", maxAnswerBytes)
	errBadAnswer      = errors.New("answer is not HTTP/1.1 with a length or in chunks")
)

// An answer is an HTTP response. Its body is part of the buffer it was read
// into.
type answer struct {
	status int
	body   []byte
	last   bool // the server closes the connection
}

// readAnswer reads one response from r. It uses the whole capacity of buf,
// which it replaces with a larger one if need be.
func readAnswer(r io.Reader, buf *[]byte) (answer, error) {
	in := input{r: r, buf: (*buf)[:0]}
	a, err := in.answer()
	*buf = in.buf
	return a, err
}

// input is what has been read of one response.
type input struct {
	r   io.Reader
	buf []byte
}

// read reads at least one further byte.
func (in *input) read() error {
	if len(in.buf) == cap(in.buf) {
		if len(in.buf) >= maxAnswerBytes {
			return errAnswerTooLarge
		}
		larger := make([]byte, len(in.buf), min(max(2*cap(in.buf), 16<<10), maxAnswerBytes))
		copy(larger, in.buf)
		in.buf = larger
	}
	n, err := in.r.Read(in.buf[len(in.buf):cap(in.buf)])
	in.buf = in.buf[:len(in.buf)+n]
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// need reads until n bytes are there.
func (in *input) need(n int) error {
	if n > maxAnswerBytes {
		return errAnswerTooLarge
	}
	for len(in.buf) < n {
		if err := in.read(); err != nil {
			return err
		}
	}
	return nil
}

// line returns the end of the line that begins at start, and the start of the next line.
func (in *input) line(start int) (end, next int, err error) {
	for searched := start; ; {
		if i := bytes.IndexByte(in.buf[searched:], '\n'); i >= 0 {
			next = searched + i + 1
			end = next - 1
			if end > start && in.buf[end-1] == '\r' {
				end--
			}
			return end, next, nil
		}
		searched = len(in.buf)
		if err := in.read(); err != nil {
			return 0, 0, err
		}
	}
}

func (in *input) answer() (a answer, err error) {
	end, pos, err := in.line(0)
	if err != nil {
		return a, err
	}
	status := in.buf[:end]
	if len(status) < len("HTTP/1.1 200") || string(status[:7]) != "HTTP/1." {
		return a, errBadAnswer
	}
	if a.status = number(status[9:12], 10); a.status < http.StatusOK {
		return a, errBadAnswer // 1xx is never asked for
	}
	length, chunked := -1, false
	for {
		from := pos
		if end, pos, err = in.line(pos); err != nil {
			return a, err
		}
		if end == from {
			break
		}
		name, value, _ := bytes.Cut(in.buf[from:end], []byte{':'})
		value = bytes.TrimSpace(value)
		switch {
		case field(name, "Content-Length"):
			if length = number(value, 10); length < 0 {
				return a, errBadAnswer
			}
		case field(name, "Transfer-Encoding"):
			chunked = field(value, "chunked")
		case field(name, "Connection"):
			a.last = field(value, "close")
		}
	}
	switch {
	case chunked:
		a.body, err = in.chunks(pos)
	case length >= 0:
		if err = in.need(pos + length); err != nil {
			return a, err
		}
		if len(in.buf) != pos+length {
			return a, errBadAnswer // more than was asked for
		}
		a.body = in.buf[pos:]
	default:
		err = errBadAnswer
	}
	return a, err
}

// chunks reads a chunked body that begins at pos, and joins its parts in the buffer.
func (in *input) chunks(pos int) ([]byte, error) {
	begin, done := pos, pos // the body so far is in.buf[begin:done]
	for {
		end, next, err := in.line(pos)
		if err != nil {
			return nil, err
		}
		digits, _, _ := bytes.Cut(in.buf[pos:end], []byte{';'})
		size := number(bytes.TrimSpace(digits), 16)
		if size < 0 {
			return nil, errBadAnswer
		}
		if size == 0 {
			pos = next
			break
		}
		if err := in.need(next + size + len("\r\n")); err != nil {
			return nil, err
		}
		copy(in.buf[done:], in.buf[next:next+size])
		done += size
		if pos = next + size + len("\r\n"); in.buf[pos-1] != '\n' {
			return nil, errBadAnswer
		}
	}
	for { // trailer
		end, next, err := in.line(pos)
		if err != nil {
			return nil, err
		}
		if end == pos {
			return in.buf[begin:done], nil
		}
		pos = next
	}
}

// field reports whether a header name or value is the given ASCII text.
func field(b []byte, s string) bool {
	return len(b) == len(s) && bytes.EqualFold(b, []byte(s))
}

// number returns the unsigned number that b is; -1 if b is no number or above 2^30.
func number(b []byte, base int) int {
	if len(b) == 0 || len(b) > 10 {
		return -1
	}
	n := 0
	for _, c := range b {
		d := base
		switch {
		case '0' <= c && c <= '9':
			d = int(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			d = int(c|0x20-'a') + 10
		}
		if d >= base {
			return -1
		}
		if n = n*base + d; n > 1<<30 {
			return -1
		}
	}
	return n
}

// Members of an answer's body. A quotation mark inside a string is escaped, so
// that these are not found in values.
var (
	errorCode    = []byte(`"ErrorCode"`)
	errorList    = []byte(`"ErrorList"`)
	failAccounts = []byte(`"FailAccounts"`)
)

// code returns 0 for an answer without error: its ErrorCode is 0 and, unless partial
// success is allowed, no account failed. For an answer in error code returns the HTTP
// status if that is neither 200 nor 201, else the ErrorCode, else the ErrorCode of the first account.
func (a answer) code(allowPartial bool) int {
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		return a.status
	}
	code, ok := codeIn(a.body)
	if !ok {
		return Broken
	}
	if code != 0 || allowPartial {
		return code
	}
	if list := member(a.body, errorList); listed(list) {
		if code, ok := codeIn(list); ok {
			return code
		}
		return Broken
	}
	if listed(member(a.body, failAccounts)) {
		return Broken
	}
	return 0
}

// codeIn returns the first ErrorCode in b, and whether there is one.
func codeIn(b []byte) (code int, ok bool) {
	b = member(b, errorCode)
	n := 0
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	code = number(b[:n], 10)
	return code, code >= 0
}

// member returns what follows a member's name and colon in b; nil if b has no such
// member.
func member(b, name []byte) []byte {
	i := bytes.Index(b, name)
	if i < 0 {
		return nil
	}
	b = bytes.TrimLeft(b[i+len(name):], " \t\r\n")
	if len(b) == 0 || b[0] != ':' {
		return nil
	}
	return bytes.TrimLeft(b[1:], " \t\r\n")
}

// listed reports whether b begins with an array that is not empty.
func listed(b []byte) bool {
	if len(b) == 0 || b[0] != '[' {
		return false
	}
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	return len(b) == 0 || b[0] != ']'
}
