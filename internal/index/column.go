package index

import "encoding/binary"

// column is an array of uint32 that grows in chunks, so that neither growing
// nor an app with three users costs more than it must. Elements not set are 0.
//
// The elements of a chunk are often close to each other: numbers given out one
// after the other, places in memory, times of creation. So a chunk stores by how
// much they exceed its base, in as few bytes each as the largest needs.
type column struct{ chunks []chunk }

type chunk struct {
	data  []byte // 0: not set; else the element less base
	base  uint32
	width uint8 // log2 of the bytes an element takes
}

const (
	chunkBits = 9
	chunkSize = 1 << chunkBits
)

func (c *column) get(i uint32) uint32 {
	k := i >> chunkBits
	if k >= uint32(len(c.chunks)) {
		return 0
	}
	return c.chunks[k].get(i & (chunkSize - 1))
}

func (h *chunk) get(j uint32) uint32 {
	j <<= h.width
	if j >= uint32(len(h.data)) {
		return 0
	}
	var v uint32
	switch h.width {
	case 0:
		v = uint32(h.data[j])
	case 1:
		v = uint32(binary.LittleEndian.Uint16(h.data[j:]))
	default:
		v = binary.LittleEndian.Uint32(h.data[j:])
	}
	if v == 0 {
		return 0
	}
	return v + h.base
}

func (c *column) set(i, v uint32) {
	k := i >> chunkBits
	if v == 0 && (k >= uint32(len(c.chunks)) || c.chunks[k].get(i&(chunkSize-1)) == 0) {
		return
	}
	for k >= uint32(len(c.chunks)) {
		c.chunks = append(c.chunks, chunk{})
	}
	// The first chunk grows with its elements, later ones are made whole.
	room := uint32(chunkSize)
	if j := i & (chunkSize - 1); k == 0 {
		room = min(chunkSize, max(8, 2*j))
	}
	c.chunks[k].set(i&(chunkSize-1), v, room)
}

func (h *chunk) set(j, v, room uint32) {
	if len(h.data) == 0 {
		*h = chunk{data: make([]byte, room)}
		if v > 0xff {
			h.base = v - 0x80
		}
	}
	if v != 0 && !h.holds(v) || j<<h.width >= uint32(len(h.data)) {
		h.adapt(v, room)
	}
	h.put(j, v)
}

// holds reports whether a chunk can store v, which is not 0, as it is.
func (h *chunk) holds(v uint32) bool {
	return v > h.base && uint64(v-h.base) < 1<<(8<<h.width)
}

// adapt makes a chunk of room for v too. It takes two bytes for each element if
// they are close enough, with as much space below as above, else four: so it
// does not happen often.
func (h *chunk) adapt(v, room uint32) {
	n := uint32(len(h.data)) >> h.width
	was := *h
	*h = chunk{base: was.base, width: was.width}
	if v != 0 && !was.holds(v) {
		least, most := v, v
		for i := range n {
			if x := was.get(i); x != 0 {
				least, most = min(least, x), max(most, x)
			}
		}
		*h = chunk{width: 2}
		if spread := most - least; spread < 0xffff && was.width < 1 {
			h.width = 1
			h.base = least - min(least, 1+(0xfffe-spread)/2)
		}
	}
	h.data = make([]byte, max(room, n)<<h.width)
	for i := range n {
		h.put(i, was.get(i))
	}
}

func (h *chunk) put(j, v uint32) {
	j <<= h.width
	if v != 0 {
		v -= h.base
	}
	switch h.width {
	case 0:
		h.data[j] = byte(v)
	case 1:
		binary.LittleEndian.PutUint16(h.data[j:], uint16(v))
	default:
		binary.LittleEndian.PutUint32(h.data[j:], v)
	}
}

func (c *column) bytesHeld() int64 {
	n := int64(cap(c.chunks)) * 32
	for _, h := range c.chunks {
		n += int64(cap(h.data))
	}
	return n
}
