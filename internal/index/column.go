package index

import (
	"encoding/binary"
	"slices"
)

// A column is an array of uint32 that grows in chunks, so that neither growing
// nor an app with three users costs more than it must. Elements not set are 0. Views
// share it as they share any array.
//
// The elements of a chunk are often close to each other: numbers given out one
// after the other, places in memory, times of creation. So a chunk stores by how
// much they exceed its base, in as few bytes each as the largest needs.
type column struct{ chunks array[chunk] }

type chunk struct {
	data  []byte // 0: not set; else the element less base
	made  uint64 // the epoch in which data was
	base  uint32
	width uint8 // log2 of the bytes an element takes
}

const (
	chunkBits = 9
	chunkSize = 1 << chunkBits
)

func (c *column) get(i uint32) uint32 {
	k := i >> (chunkBits + blockBits)
	if k >= uint32(len(c.chunks.blocks)) {
		return 0
	}
	items := c.chunks.blocks[k].items
	if k = i >> chunkBits & (blockSize - 1); k >= uint32(len(items)) {
		return 0
	}
	return items[k].get(i & (chunkSize - 1))
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

// decode copies the elements of a chunk, of which the first is element i.
func (c *column) decode(i uint32, values *[chunkSize]uint32) {
	k := i >> chunkBits
	if int(k) >= c.chunks.len() {
		*values = [chunkSize]uint32{}
		return
	}
	h := c.chunks.at(k)
	n := 0
	switch h.width {
	case 0:
		for _, v := range h.data {
			values[n] = uint32(v)
			n++
		}
	case 1:
		for data := h.data; len(data) >= 2; data = data[2:] {
			values[n] = uint32(binary.LittleEndian.Uint16(data))
			n++
		}
	default:
		for data := h.data; len(data) >= 4; data = data[4:] {
			values[n] = binary.LittleEndian.Uint32(data)
			n++
		}
	}
	clear(values[n:])
	if h.base != 0 {
		for j, v := range values[:n] {
			if v != 0 {
				values[j] = v + h.base
			}
		}
	}
}

func (c *column) set(i, v uint32) {
	if v == 0 && c.get(i) == 0 {
		return
	}
	// The first chunk grows with its elements, later ones are made whole.
	k, j := i>>chunkBits, i&(chunkSize-1)
	room := uint32(chunkSize)
	if k == 0 {
		room = min(chunkSize, max(8, 2*j))
	}
	h := c.chunks.edit(k)
	if h.made != c.chunks.epoch {
		h.data, h.made = slices.Clone(h.data), c.chunks.epoch
	}
	h.set(j, v, room)
}

func (c *column) view() column { return column{c.chunks.view()} }

func (h *chunk) set(j, v, room uint32) {
	if len(h.data) == 0 {
		*h = chunk{data: make([]byte, room), made: h.made}
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
	*h = chunk{made: was.made, base: was.base, width: was.width}
	if v != 0 && !was.holds(v) {
		least, most := v, v
		for i := range n {
			if x := was.get(i); x != 0 {
				least, most = min(least, x), max(most, x)
			}
		}
		*h = chunk{made: was.made, width: 2}
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
	return c.chunks.bytesHeld(func(h *chunk) int64 { return int64(cap(h.data)) })
}
