package simulate

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
)

// reading returns a connection in the middle of HTTP/2 that reads these bytes.
func reading(input []byte, b Behaviour) *conn {
	st := newState(1)
	st.plan.Store(&plan{Behaviour: b})
	c := &conn{Conn: nobody{}, state: st, in: bufio.NewReader(bytes.NewReader(input)), spoken: true}
	c.http2.Store(true)
	return c
}

// nobody is a connection whose other end listens and does not speak.
type nobody struct{ net.Conn }

func (nobody) Write(p []byte) (int, error) { return len(p), nil }

// TestRefusedFrame shows what becomes of the HEADERS of a refused stream: they depend on
// their own stream, whatever else they carry.
func TestRefusedFrame(t *testing.T) {
	for name, x := range map[string]struct{ in, want string }{
		"plain":       {"\x00\x00\x03\x01\x05\x00\x00\x00\x01abc", "\x00\x00\x08\x01\x25\x00\x00\x00\x01\x00\x00\x00\x01\x00abc"},
		"padded":      {"\x00\x00\x05\x01\x0d\x00\x00\x00\x03\x01abc\x00", "\x00\x00\x0a\x01\x2d\x00\x00\x00\x03\x01\x00\x00\x00\x03\x00abc\x00"},
		"prioritized": {"\x00\x00\x08\x01\x25\x00\x00\x00\x05\x80\x00\x00\x00\x07abc", "\x00\x00\x08\x01\x25\x00\x00\x00\x05\x00\x00\x00\x05\x07abc"},
		"both":        {"\x00\x00\x09\x01\x2d\x00\x00\x00\x07\x00\x00\x00\x00\x00\x07abc", "\x00\x00\x09\x01\x2d\x00\x00\x00\x07\x00\x00\x00\x00\x07\x07abc"},
	} {
		const ping = "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
		got, err := io.ReadAll(reading([]byte(ping+x.in+ping), Behaviour{Refuse: 1}))
		if want := ping + x.want + ping; err != nil || string(got) != want {
			t.Errorf("%s: %v\n got  %x\n want %x", name, err, got, want)
		}
	}
}

// TestLaterFrames shows that after GOAWAY only frames of earlier streams are passed on.
func TestLaterFrames(t *testing.T) {
	const (
		first  = "\x00\x00\x01\x01\x04\x00\x00\x00\x01a"
		second = "\x00\x00\x01\x01\x04\x00\x00\x00\x03b"
		more   = "\x00\x00\x01\x00\x01\x00\x00\x00\x01c" // DATA
		window = "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x09"
	)
	later := "\x00\x00\x01\x00\x01\x00\x00\x00\x03d"
	got, err := io.ReadAll(reading([]byte(first+second+later+window+more+second), Behaviour{GoAway: 1}))
	if want := first + window + more; err != nil || string(got) != want {
		t.Errorf("%v\n got  %x\n want %x", err, got, want)
	}
}

// TestWrittenFrames writes resets in pieces of every size. Only that of a refused stream
// has its code replaced, and the bytes of the caller stay as they are.
func TestWrittenFrames(t *testing.T) {
	const (
		settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
		five     = "\x00\x00\x04\x03\x00\x00\x00\x00\x05\x00\x00\x00\x01"
		seven    = "\x00\x00\x04\x03\x00\x00\x00\x00\x07\x00\x00\x00\x01"
		data     = "\x00\x00\x02\x00\x01\x00\x00\x00\x05ok"
	)
	input := []byte(settings + seven + five + data + five)
	want := settings + seven + five[:len(five)-1] + "\x07" + data + five
	for size := 1; size <= len(input); size++ {
		out := new(heard)
		c := &conn{Conn: out, refused: map[uint32]bool{5: true}}
		c.http2.Store(true)
		before := bytes.Clone(input)
		for i := 0; i < len(input); i += size {
			piece := input[i:min(i+size, len(input))]
			if n, err := c.Write(piece); err != nil || n != len(piece) {
				t.Fatalf("%d %v", n, err)
			}
		}
		if out.String() != want || !bytes.Equal(before, input) {
			t.Errorf("in pieces of %d:\n got  %x\n want %x", size, out.String(), want)
		}
	}
}

// heard is a connection that keeps what is written to it.
type heard struct {
	net.Conn
	bytes.Buffer
}

func (h *heard) Read(p []byte) (int, error)  { return h.Buffer.Read(p) }
func (h *heard) Write(p []byte) (int, error) { return h.Buffer.Write(p) }

// FuzzFrames reads anything as HTTP/2. What is not to be refused is passed on as it is.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x01\x04\x00\x00\x00\x01a\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x09"), 1)
	f.Add([]byte("\x00\x00\x08\x01\x2d\x00\x00\x00\x01abcdefgh"), 2)
	f.Add([]byte("\xff\xff\xff\x00\x00\x00\x00\x00\x00"), 0)
	f.Fuzz(func(t *testing.T, input []byte, n int) {
		got, _ := io.ReadAll(reading(input, Behaviour{}))
		if !bytes.HasPrefix(input, got) || len(input)-len(got) >= frameHead {
			t.Errorf("passed on %x of %x", got, input)
		}
		n = max(0, n%5)
		got, _ = io.ReadAll(reading(input, Behaviour{GoAway: n, Refuse: n}))
		if len(got) > len(input)+5*(len(input)/frameHead) {
			t.Errorf("%d bytes became %d", len(input), len(got))
		}
	})
}
