package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
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
	w.Uint(uint64(len(c.chunks)))
	for _, h := range c.chunks {
		w.Uint(uint64(h.width) | uint64(h.base)<<8)
		w.Bytes(h.data)
	}
}

func (c *column) read(r *Reader) {
	c.chunks = make([]chunk, r.length(16))
	for i := range c.chunks {
		form := r.Uint()
		c.chunks[i] = chunk{r.Bytes(), uint32(form >> 8), uint8(form)}
	}
}

func (l *slab) write(w *Writer) {
	w.Uint(uint64(len(l.chunks)))
	for _, c := range l.chunks {
		w.Bytes(c)
	}
	w.Uint(uint64(len(l.freed)))
	for _, size := range slices.Sorted(maps.Keys(l.freed)) {
		w.Uint(uint64(size))
		w.Uint(uint64(len(l.freed[size])))
		for _, off := range l.freed[size] {
			w.Uint(uint64(off))
		}
	}
}

func (l *slab) read(r *Reader) {
	l.chunks = make([][]byte, r.length(8))
	for i := range l.chunks {
		l.chunks[i] = r.Bytes()
	}
	for range r.length(16) {
		size := byte(r.Uint())
		offs := make([]uint32, r.length(8))
		for i := range offs {
			offs[i] = uint32(r.Uint())
		}
		if l.freed == nil {
			l.freed = map[byte][]uint32{}
		}
		l.freed[size] = offs
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
	if int(t.next) > len(t.at.chunks)*chunkSize {
		r.fail(fmt.Errorf("index: file gives out %d numbers and has room for %d", t.next, len(t.at.chunks)*chunkSize))
		return newStrtab()
	}
	t.n = int(r.Uint())
	t.slab.read(r)
	return t
}

func writeBitmap(w *Writer, set *roaring.Bitmap) {
	b, err := set.ToBytes()
	if err != nil && w.err == nil {
		w.err = err
	}
	w.Bytes(b)
}

func readBitmap(r *Reader) *roaring.Bitmap {
	set := roaring.New()
	err := set.UnmarshalBinary(r.Bytes())
	if err == nil {
		err = set.Validate()
	}
	if err != nil {
		r.fail(fmt.Errorf("index: file has a broken bitmap: %w", err))
		return roaring.New()
	}
	return set
}

func (p *postings) write(w *Writer) {
	p.count.write(w)
	p.first.write(w)
	p.next.write(w)
	w.Uint(uint64(len(p.many)))
	for _, v := range slices.Sorted(maps.Keys(p.many)) {
		w.Uint(uint64(v))
		writeBitmap(w, p.many[v])
	}
}

func (p *postings) read(r *Reader) {
	p.count.read(r)
	p.first.read(r)
	p.next.read(r)
	for range r.length(16) {
		if p.many == nil {
			p.many = map[uint32]*roaring.Bitmap{}
		}
		v := uint32(r.Uint())
		p.many[v] = readBitmap(r)
	}
}

// Write writes all users. Every deletion is settled.
func (u *Users) Write(w *Writer) {
	u.accounts.write(w)
	w.Uint(uint64(u.freed.len()))
	for _, f := range u.freed.queue[u.freed.head:] {
		w.Uint(uint64(f.user))
		w.Uint(f.pos)
	}
	u.created.write(w)
	for _, set := range u.byKind {
		writeBitmap(w, set)
	}
	for _, s := range u.slots {
		if s == nil {
			w.Uint(0)
			continue
		}
		w.Uint(1)
		s.values.write(w)
		s.users.write(w)
		s.value.write(w)
		w.Uint(uint64(len(s.any.words)))
		for _, word := range s.any.words {
			w.Uint(word)
		}
	}
	u.tags.names.write(w)
	u.tags.kinds.write(w)
	u.tags.of.write(w)
	u.tags.lists.write(w)
	w.Uint(uint64(len(u.tags.users)))
	for _, set := range u.tags.users {
		if set == nil {
			set = roaring.New()
		}
		writeBitmap(w, set)
	}
}

// ReadUsers reads what Write wrote.
func ReadUsers(r *Reader) *Users {
	u := &Users{accounts: readStrtab(r), changes: changes{n: 1}, freed: freed{pinned: Unsettled}}
	u.freed.queue = make([]freedNumber, r.length(16))
	for i := range u.freed.queue {
		u.freed.queue[i] = freedNumber{uint32(r.Uint()), r.Uint()}
	}
	u.created.read(r)
	for i := range u.byKind {
		u.byKind[i] = readBitmap(r)
	}
	for i := range u.slots {
		if r.Uint() == 0 {
			continue
		}
		s := &slot{values: readStrtab(r)}
		s.values.findHoles()
		s.users.read(r)
		s.value.read(r)
		s.any.words = make([]uint64, r.length(8))
		for i := range s.any.words {
			s.any.words[i] = r.Uint()
		}
		u.slots[i] = s
	}
	u.tags.names = readStrtab(r)
	u.tags.names.findHoles()
	u.tags.kinds.read(r)
	u.tags.of.read(r)
	u.tags.lists.read(r)
	u.tags.users = make([]*roaring.Bitmap, r.length(8))
	u.tags.count = make([]uint32, len(u.tags.users))
	for t := range u.tags.users {
		set := readBitmap(r)
		if u.tags.names.has(uint32(t)) {
			u.tags.users[t] = set
			u.tags.count[t] = uint32(set.GetCardinality())
		}
		u.changes.seeTag(uint32(t))
	}
	return u
}
