package index

// column is an array of uint32 that grows in chunks, so that neither growing
// nor an app with three users costs more than it must. Elements not set are 0.
type column struct{ chunks [][]uint32 }

const (
	chunkBits = 9
	chunkSize = 1 << chunkBits
)

func (c *column) get(i uint32) uint32 {
	k := i >> chunkBits
	if k >= uint32(len(c.chunks)) {
		return 0
	}
	chunk := c.chunks[k]
	if j := i & (chunkSize - 1); j < uint32(len(chunk)) {
		return chunk[j]
	}
	return 0
}

func (c *column) set(i, v uint32) {
	k, j := i>>chunkBits, i&(chunkSize-1)
	if v == 0 && c.get(i) == 0 {
		return
	}
	for k >= uint32(len(c.chunks)) {
		c.chunks = append(c.chunks, nil)
	}
	if j >= uint32(len(c.chunks[k])) {
		// The first chunk grows with its elements, later ones are made whole.
		size := uint32(chunkSize)
		if k == 0 {
			size = min(chunkSize, max(8, 2*j))
		}
		c.chunks[k] = append(make([]uint32, 0, size), c.chunks[k]...)[:size]
	}
	c.chunks[k][j] = v
}

func (c *column) bytesHeld() int64 {
	n := int64(cap(c.chunks)) * 24
	for _, chunk := range c.chunks {
		n += int64(cap(chunk)) * 4
	}
	return n
}
