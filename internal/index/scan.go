package index

// A scan answers several comparisons of one attribute by one look at the value of each
// user: comparisons are true of half of the values more often than not, and their users
// would have to be gathered from thousands of sets.
type scan struct {
	slot  *slot
	masks []uint64 // by value: a bit for each comparison that is true of it
	n     int      // comparisons
}

const (
	maxScans     = 64      // comparisons of a scan
	maxScanTable = 1 << 20 // values of a slot that is scanned
)

// add adds a comparison that is true of some values and returns its number.
func (s *scan) add(values []uint32) int {
	for _, v := range values {
		s.masks[v] |= 1 << s.n
	}
	s.n++
	return s.n - 1
}

// of returns the comparisons that are true of a user.
func (s *scan) of(user uint32) uint64 {
	if v := s.slot.value.get(user); v != 0 {
		return s.masks[v-1]
	}
	return 0
}

// chunk sets the users of each comparison in a chunk.
func (s *scan) chunk(k uint32, results []*words) {
	var values [chunkSize]uint32
	var rows [64]uint64
	for from := 0; from < 1<<16; from += chunkSize {
		s.slot.value.decode(k<<16|uint32(from), &values)
		for i := 0; i < chunkSize; i += 64 {
			for j, v := range values[i : i+64] {
				if rows[j] = 0; v != 0 {
					rows[j] = s.masks[v-1]
				}
			}
			if s.n > 4 {
				transpose(&rows)
				for b, w := range results {
					w[(from+i)/64] = rows[b]
				}
				continue
			}
			for b, w := range results {
				word := uint64(0)
				for j, row := range rows {
					word |= row >> b & 1 << j
				}
				w[(from+i)/64] = word
			}
		}
	}
}

// transpose exchanges bit j of row i with bit i of row j.
func transpose(rows *[64]uint64) {
	mask := uint64(1)<<32 - 1
	for width := 32; width != 0; {
		for i := 0; i < 64; i = (i + width + 1) &^ width {
			t := (rows[i]>>width ^ rows[i+width]) & mask
			rows[i] ^= t << width
			rows[i+width] ^= t
		}
		width >>= 1
		mask ^= mask << width
	}
}
