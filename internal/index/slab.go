package index

import "fmt"

// A slab keeps short byte strings in chunks without pointers. An entry is a
// length byte and the bytes; it never crosses a chunk. The place of a freed
// entry goes to the next one of the same length: freed is not in a view, and is made
// from the rest when a slab is read.
type slab struct {
	chunks array[piece]
	freed  map[byte][]uint32 // offsets by length
}

type piece struct {
	data []byte
	made uint64 // the epoch in which data was
}

// maxString is the longest entry, in bytes: its length is stored in one.
const maxString = 255

const (
	slabBits  = 12
	slabChunk = 1 << slabBits
	slabMost  = 1<<(32-slabBits) - 16 // chunks; some are left for what was checked before
)

// full reports whether no chunk should be added.
func (l *slab) full() bool { return l.chunks.len() >= slabMost }

// edit returns a chunk, to be changed.
func (l *slab) edit(k uint32) *piece {
	c := l.chunks.edit(k)
	if c.made != l.chunks.epoch {
		c.data, c.made = append(make([]byte, 0, cap(c.data)), c.data...), l.chunks.epoch
	}
	return c
}

// place copies s in and gives its offset.
func (l *slab) place(s string) uint32 {
	if len(s) > maxString {
		panic("index: string longer than maxString")
	}
	size := byte(len(s))
	if offs := l.freed[size]; len(offs) > 0 {
		off := offs[len(offs)-1]
		l.freed[size] = offs[:len(offs)-1]
		copy(l.edit(off >> slabBits).data[off&(slabChunk-1)+1:], s)
		return off
	}
	last := l.chunks.len() - 1
	if last < 0 || len(l.chunks.at(uint32(last)).data)+len(s)+1 > slabChunk {
		room := slabChunk
		if last < 0 {
			room = 64 // most slabs stay small: the first chunk grows with what it holds
		}
		if last++; last >= 1<<(32-slabBits) {
			panic("index: slab is full, and full was not asked")
		}
		*l.chunks.edit(uint32(last)) = piece{make([]byte, 0, room), l.chunks.epoch}
	}
	c := l.edit(uint32(last))
	off := uint32(last)<<slabBits | uint32(len(c.data))
	c.data = append(append(c.data, size), s...)
	return off
}

// bytes returns an entry. The bytes are valid until it is freed.
func (l *slab) bytes(off uint32) []byte {
	chunk := l.chunks.at(off >> slabBits).data
	off &= slabChunk - 1
	length := uint32(chunk[off])
	return chunk[off+1 : off+1+length : off+1+length]
}

// free makes an entry's place available.
func (l *slab) free(off uint32) {
	if l.freed == nil {
		l.freed = make(map[byte][]uint32)
	}
	data := l.edit(off >> slabBits).data[off&(slabChunk-1):]
	size := data[0]
	clear(data[1 : 1+int(size)]) // what is erased must not get into a checkpoint
	l.freed[size] = append(l.freed[size], off)
}

func (l *slab) view() slab { return slab{chunks: l.chunks.view()} }

// findFree makes every place available that is not in use, after a slab was read. Used
// has one more than each place that is, and zeros. An error says why the places cannot
// be those of this slab.
func (l *slab) findFree(used *column, limit uint32) error {
	const words = slabChunk / 64
	starts := make([]uint64, l.chunks.len()*words) // where an entry begins
	entries := 0
	for i := range limit {
		off := used.get(i)
		if off == 0 {
			continue
		}
		word, bit := int((off-1)/64), uint64(1)<<((off-1)%64)
		if word >= len(starts) || starts[word]&bit != 0 {
			return fmt.Errorf("place %d is outside, or is used twice", off-1)
		}
		starts[word] |= bit
		entries++
	}
	l.freed = nil
	for k := range uint32(l.chunks.len()) {
		data := l.chunks.at(k).data
		for i := 0; i < len(data); i += 1 + int(data[i]) {
			if i+1+int(data[i]) > len(data) {
				return fmt.Errorf("an entry in chunk %d has no end", k)
			}
			if starts[int(k)*words+i/64]>>(i%64)&1 == 1 {
				entries--
				continue
			}
			if l.freed == nil {
				l.freed = make(map[byte][]uint32)
			}
			l.freed[data[i]] = append(l.freed[data[i]], k<<slabBits|uint32(i))
		}
	}
	if entries != 0 {
		return fmt.Errorf("%d places are not where an entry begins", entries)
	}
	return nil
}

// compact moves the entries together if most of the memory is free places: they only fit
// entries of their length, and a slab whose entries have had many lengths is full of them.
func (l *slab) compact(used *column, limit uint32) {
	free, all := 0, 0
	for size, offs := range l.freed {
		free += len(offs) * (1 + int(size))
	}
	for k := range l.chunks.len() {
		all += len(l.chunks.at(uint32(k)).data)
	}
	if 2*free <= all {
		return
	}
	var dense slab
	for i := range limit {
		if off := used.get(i); off != 0 {
			used.set(i, dense.place(string(l.bytes(off-1)))+1)
		}
	}
	*l = dense
}

func (l *slab) bytesHeld() int64 {
	n := l.chunks.bytesHeld(func(c *piece) int64 { return int64(cap(c.data)) })
	for _, offs := range l.freed {
		n += int64(cap(offs)) * 4
	}
	return n
}
