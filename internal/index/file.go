package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"
)

// A Writer writes users so that a Reader reads them. Numbers are little-endian;
// doc/storage-format.md describes them.
type Writer struct {
	w   io.Writer
	buf []byte
	err error
}

// NewWriter writes to w in large pieces.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

const writePiece = 1 << 20

func (w *Writer) flush() {
	if w.err == nil {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// Flush writes what is buffered and returns the first error of the Writer.
func (w *Writer) Flush() error {
	w.flush()
	return w.err
}

// Uint writes a number.
func (w *Writer) Uint(n uint64) {
	w.buf = binary.LittleEndian.AppendUint64(w.buf, n)
	if len(w.buf) >= writePiece {
		w.flush()
	}
}

// Bytes writes a length and bytes.
func (w *Writer) Bytes(b []byte) {
	w.Uint(uint64(len(b)))
	w.buf = append(w.buf, b...)
	if len(w.buf) >= writePiece {
		w.flush()
	}
}

// A Reader reads what a Writer wrote.
type Reader struct {
	r    io.Reader
	left uint64
	err  error
	word [8]byte
}

// NewReader reads size bytes in small pieces. Whether they make sense is asked while
// they are read where something is made of them at once, and by Verify for the rest.
func NewReader(r io.Reader, size int64) *Reader { return &Reader{r: r, left: uint64(size)} }

// Err returns the first error of the Reader.
func (r *Reader) Err() error { return r.err }

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.left = 0
}

// read fills b.
func (r *Reader) read(b []byte) bool {
	if uint64(len(b)) > r.left {
		r.fail(errors.New("index: file ends too early"))
		return false
	}
	r.left -= uint64(len(b))
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.fail(err)
		return false
	}
	return true
}

// Uint reads a number.
func (r *Reader) Uint() uint64 {
	if !r.read(r.word[:]) {
		return 0
	}
	return binary.LittleEndian.Uint64(r.word[:])
}

// Bytes reads a length and bytes.
func (r *Reader) Bytes() []byte {
	b := make([]byte, r.length(1))
	if !r.read(b) {
		return nil
	}
	return b
}

// length reads how many elements of at least size bytes follow.
func (r *Reader) length(size uint64) int {
	n := r.Uint()
	if n > r.left/size {
		r.fail(errors.New("index: file ends too early"))
		return 0
	}
	return int(n)
}

func (c *column) write(w *Writer) {
	w.Uint(uint64(c.chunks.len()))
	for i := range c.chunks.len() {
		h := c.chunks.at(uint32(i))
		w.Uint(uint64(h.width) | uint64(h.base)<<8)
		w.Bytes(h.data)
	}
}

func (c *column) read(r *Reader) {
	for i := range r.length(16) {
		form := r.Uint()
		*c.chunks.edit(uint32(i)) = chunk{data: r.Bytes(), base: uint32(form >> 8), width: uint8(form)}
	}
	if err := c.verify(); err != nil {
		r.fail(fmt.Errorf("index: file has a broken column: %w", err))
		c.chunks = array[chunk]{}
	}
}

func (l *slab) write(w *Writer) {
	w.Uint(uint64(l.chunks.len()))
	for i := range l.chunks.len() {
		w.Bytes(l.chunks.at(uint32(i)).data)
	}
}

// read reads a slab. Used has one more than each place that is in use, and zeros.
func (l *slab) read(r *Reader, used *column, limit uint32) {
	for i := range r.length(8) {
		l.chunks.edit(uint32(i)).data = r.Bytes()
	}
	if r.err == nil {
		if err := l.findFree(used, limit); err != nil {
			r.fail(fmt.Errorf("index: file has broken strings: %w", err))
			return
		}
		l.compact(used, limit)
	}
}

func (t *strtab) write(w *Writer) {
	w.Uint(t.seed)
	w.Uint(uint64(t.depth))
	for i, p := range t.dir {
		if i > 0 && t.dir[i-1] == p {
			continue // the neighbours of a part point to it too
		}
		w.Uint(uint64(p.depth))
		w.Uint(uint64(p.n))
		w.Bytes(p.slots)
	}
	t.at.write(w)
	w.Uint(uint64(t.next))
	w.Uint(uint64(t.n))
	t.slab.write(w)
}

func readStrtab(r *Reader) *strtab {
	t := &strtab{seed: r.Uint(), depth: uint8(r.Uint())}
	// Most parts have maxSlots slots once there is more than one.
	if t.depth > 31 || t.depth > 0 && 1<<t.depth > r.left/(maxSlots/16) {
		r.fail(fmt.Errorf("index: file has a hash table of depth %d", t.depth))
		return newStrtab()
	}
	t.dir = make([]*part, 0, 1<<t.depth)
	for len(t.dir) < 1<<t.depth {
		p := &part{depth: uint8(r.Uint()), n: int(r.Uint())}
		p.slots = r.Bytes()
		size := (len(p.slots) - slotPad) / slotBytes
		if r.err != nil || p.depth > t.depth || size <= p.n || len(p.slots) != slotBytes*size+slotPad {
			r.fail(errors.New("index: file has a broken hash table"))
			return newStrtab()
		}
		p.size = uint32(size)
		for range 1 << (t.depth - p.depth) {
			t.dir = append(t.dir, p)
		}
	}
	t.at.read(r)
	t.next = uint32(r.Uint())
	if room := t.at.chunks.len() * chunkSize; int(t.next) > room {
		r.fail(fmt.Errorf("index: file gives out %d numbers and has room for %d", t.next, room))
		return newStrtab()
	}
	t.n = int(r.Uint())
	t.slab.read(r, &t.at, t.next)
	return t
}

// A set in a file: 0 and the numbers of a list, four bytes each; or how many chunks
// follow, and for each its number, then the lower halves, two bytes each, or if there
// are more than toWords the words.

func (s *set) write(w *Writer) {
	if s.isList() {
		w.Uint(0)
		w.Uint(uint64(4 * len(s.list)))
		for _, user := range s.list {
			w.buf = binary.LittleEndian.AppendUint32(w.buf, user)
		}
		return
	}
	w.Uint(uint64(s.chunks.len()))
	for k := range s.chunks.len() {
		c := s.chunk(uint32(k))
		if c.n > toWords {
			w.Uint(uint64(len(c.words) * 8))
			for _, word := range c.words {
				w.Uint(word)
			}
			continue
		}
		list := c.list
		if c.words != nil {
			list = c.words.append(nil)
		}
		w.Uint(uint64(2 * len(list)))
		for _, low := range list {
			w.buf = binary.LittleEndian.AppendUint16(w.buf, low)
		}
	}
}

// readSet reads a set of users whose numbers are below limit.
func readSet(r *Reader, limit uint32) *set {
	s := newSet()
	n := r.length(8)
	if n == 0 {
		b := r.Bytes()
		s.list = make([]uint32, len(b)/4)
		for i := range s.list {
			s.list[i] = binary.LittleEndian.Uint32(b[4*i:])
		}
		s.n = len(s.list)
		if len(b)%4 != 0 || !ascends(s.list) || s.n > 0 && s.list[s.n-1] >= limit {
			r.fail(errors.New("index: file has a broken list of users"))
		}
		return s
	}
	for k := range uint32(n) {
		c, b := s.chunks.edit(k), r.Bytes()
		if len(b) == int(unsafe.Sizeof(words{})) {
			c.words = new(words)
			for i := range c.words {
				c.words[i] = binary.LittleEndian.Uint64(b[8*i:])
			}
			c.n = c.words.count()
		} else {
			c.list = make([]uint16, len(b)/2)
			for i := range c.list {
				c.list[i] = binary.LittleEndian.Uint16(b[2*i:])
			}
			c.n = len(c.list)
			if len(b)%2 != 0 || !ascends(c.list) {
				r.fail(errors.New("index: file has a broken chunk of users"))
			}
		}
		s.n += c.n
	}
	for last := range s.from(uint32(n-1) << 16) {
		if last >= limit {
			r.fail(fmt.Errorf("index: file has user %d in a set, of %d", last, limit))
			break
		}
	}
	return s
}

// ascends reports whether each number is more than the one before.
func ascends[T uint16 | uint32](list []T) bool {
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			return false
		}
	}
	return true
}

func (p *postings) write(w *Writer, values uint32) {
	p.count.write(w)
	p.first.write(w)
	p.next.write(w)
	if p.large == nil {
		w.Uint(0)
		return
	}
	w.Uint(uint64(p.large.n))
	for v := range values {
		if users := p.large.get(v); users != nil {
			w.Uint(uint64(v))
			users.write(w)
		}
	}
}

func (p *postings) read(r *Reader, values, users uint32) {
	p.count.read(r)
	p.first.read(r)
	p.next.read(r)
	for range r.length(16) {
		v, set := uint32(r.Uint()), readSet(r, users)
		if r.err != nil {
			return
		}
		if p.large == nil {
			p.large = &valueSets{}
		}
		if v >= values || p.large.get(v) != nil {
			r.fail(fmt.Errorf("index: file has users of value %d twice, or too many values", v))
			return
		}
		p.large.put(v, set)
	}
}

// Write writes all users. Every deletion is settled.
func (u *View) Write(w *Writer) {
	u.accounts.write(w)
	w.Uint(uint64(u.freed.n))
	for i := range u.freed.n {
		f := u.freed.at(i)
		w.Uint(uint64(f.user))
		w.Uint(f.pos)
	}
	u.created.write(w)
	for _, users := range u.byKind {
		users.write(w)
	}
	for _, s := range u.slots {
		if s == nil {
			w.Uint(0)
			continue
		}
		w.Uint(1)
		s.values.write(w)
		s.users.write(w, s.values.next)
		s.value.write(w)
		s.any.write(w)
	}
	u.tags.names.write(w)
	u.tags.kinds.write(w)
	u.tags.of.write(w)
	u.tags.lists.write(w)
	w.Uint(uint64(u.tags.names.n))
	for t := range u.tags.names.next {
		if users := u.tags.users.get(t); users != nil {
			w.Uint(uint64(t))
			users.write(w)
		}
	}
	u.devices.write(w)
}

// ReadUsers reads what Write wrote.
func ReadUsers(r *Reader) *Users {
	u := &Users{View{accounts: readStrtab(r), changes: changes{n: 1}, freed: freed{pinned: Unsettled}}}
	for range r.length(16) {
		u.freed.push(freedNumber{uint32(r.Uint()), r.Uint()})
	}
	u.created.read(r)
	for kind := range u.byKind {
		u.byKind[kind] = readSet(r, u.accounts.next)
	}
	for i := range u.slots {
		if r.Uint() == 0 {
			continue
		}
		s := &slot{values: readStrtab(r)}
		s.values.findHoles()
		s.users.read(r, s.values.next, u.accounts.next)
		s.value.read(r)
		s.any = readSet(r, u.accounts.next)
		u.slots[i] = s
	}
	u.tags.names = readStrtab(r)
	u.tags.names.findHoles()
	u.tags.kinds.read(r)
	u.tags.of.read(r)
	u.tags.lists.read(r, &u.tags.of, u.accounts.next)
	for range r.length(16) {
		t, users := uint32(r.Uint()), readSet(r, u.accounts.next)
		if t >= u.tags.names.next {
			r.fail(fmt.Errorf("index: file has users of tag %d, and %d tags", t, u.tags.names.next))
		}
		if r.err != nil {
			break
		}
		u.tags.users.put(t, users)
		u.tags.count.set(t, uint32(users.n))
	}
	for t := range u.tags.names.next {
		u.changes.tag(t)
	}
	u.readDevices(r)
	return u
}
