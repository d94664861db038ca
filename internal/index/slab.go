package index

// slab keeps short byte strings in chunks without pointers. An entry is a
// length byte and the bytes; it never crosses a chunk. The place of a freed
// entry goes to the next one of the same length.
type slab struct {
	chunks [][]byte
	freed  map[byte][]uint32 // offsets by length
}

// maxString is the longest entry, in bytes: its length is stored in one.
const maxString = 255

const (
	slabBits  = 12
	slabChunk = 1 << slabBits
	slabMost  = 1<<(32-slabBits) - 16 // chunks; some are left for what was checked before
)

// full reports whether no chunk should be added.
func (l *slab) full() bool { return len(l.chunks) >= slabMost }

// place copies s in and gives its offset.
func (l *slab) place(s string) uint32 {
	if len(s) > maxString {
		panic("index: string longer than maxString")
	}
	size := byte(len(s))
	if offs := l.freed[size]; len(offs) > 0 {
		off := offs[len(offs)-1]
		l.freed[size] = offs[:len(offs)-1]
		copy(l.chunks[off>>slabBits][off&(slabChunk-1)+1:], s)
		return off
	}
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last])+len(s)+1 > slabChunk {
		room := slabChunk
		if last < 0 {
			room = 64 // most slabs stay small: the first chunk grows with what it holds
		}
		l.chunks = append(l.chunks, make([]byte, 0, room))
		if last++; last >= 1<<(32-slabBits) {
			panic("index: slab is full, and full was not asked")
		}
	}
	off := uint32(last)<<slabBits | uint32(len(l.chunks[last]))
	l.chunks[last] = append(append(l.chunks[last], size), s...)
	return off
}

// bytes gives an entry. They are valid until it is freed.
func (l *slab) bytes(off uint32) []byte {
	chunk := l.chunks[off>>slabBits]
	off &= slabChunk - 1
	length := uint32(chunk[off])
	return chunk[off+1 : off+1+length : off+1+length]
}

// free gives an entry's place to others.
func (l *slab) free(off uint32) {
	if l.freed == nil {
		l.freed = make(map[byte][]uint32)
	}
	size := l.chunks[off>>slabBits][off&(slabChunk-1)]
	clear(l.bytes(off)) // what is erased must not get into a checkpoint
	l.freed[size] = append(l.freed[size], off)
}

func (l *slab) bytesHeld() int64 {
	var n int64
	for _, c := range l.chunks {
		n += int64(cap(c)) + 24
	}
	for _, offs := range l.freed {
		n += int64(cap(offs)) * 4
	}
	return n
}
