package index

import "encoding/binary"

// column is an array of uint32 that grows in chunks, so that neither growing
// nor an app with three users costs more than it must. A chunk takes as many
// bytes an element as its largest needs: values that are few have small
// numbers, and cost one. Elements not set are 0.
type column struct{ chunks []chunk }

type chunk struct {
	data  []byte
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
	switch h.width {
	case 0:
		return uint32(h.data[j])
	case 1:
		return uint32(binary.LittleEndian.Uint16(h.data[j:]))
	}
	return binary.LittleEndian.Uint32(h.data[j:])
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
	width := h.width
	switch {
	case v > 0xffff:
		width = 2
	case v > 0xff:
		width = max(width, 1)
	}
	if width != h.width || j<<h.width >= uint32(len(h.data)) {
		was := *h
		n := max(room, uint32(len(was.data))>>was.width)
		*h = chunk{make([]byte, n<<width), width}
		for i := range uint32(len(was.data)) >> was.width {
			h.put(i, was.get(i))
		}
	}
	h.put(j, v)
}

func (h *chunk) put(j, v uint32) {
	j <<= h.width
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
