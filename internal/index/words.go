package index

import (
	"math/bits"
	"slices"
)

// words have a bit for each number of a chunk.
type words [1 << 16 / 64]uint64

// add puts numbers in.
func (w *words) add(list []uint16) {
	for _, low := range list {
		w[low/64] |= 1 << (low % 64)
	}
}

// remove takes numbers out.
func (w *words) remove(list []uint16) {
	for _, low := range list {
		w[low/64] &^= 1 << (low % 64)
	}
}

// append appends the numbers to list.
func (w *words) append(list []uint16) []uint16 {
	for i, word := range w {
		for ; word != 0; word &= word - 1 {
			list = append(list, uint16(i*64+bits.TrailingZeros64(word)))
		}
	}
	return list
}

func (w *words) count() (n int) {
	for _, word := range w {
		n += bits.OnesCount64(word)
	}
	return n
}

// some appends to list the numbers in as many words from i on as have toWords.
func (w *words) some(i int, list []uint16) []uint16 {
	for j, word := range w[i : i+toWords/64] {
		for ; word != 0; word &= word - 1 {
			list = append(list, uint16((i+j)*64+bits.TrailingZeros64(word)))
		}
	}
	return list
}

// countOf returns how many of a list are in.
func (w *words) countOf(list []uint16) (n int) {
	for _, low := range list {
		n += int(w[low/64] >> (low % 64) & 1)
	}
	return n
}

// or puts the numbers of x in, if it is not nil.
func (w *words) or(x *words) {
	if x == nil {
		return
	}
	for i := range w {
		w[i] |= x[i]
	}
}

// merge appends to list who is in one of two lists.
func merge(list, a, b []uint16) []uint16 {
	for len(a) > 0 && len(b) > 0 {
		x, y := a[0], b[0]
		list = append(list, min(x, y))
		if x <= y {
			a = a[1:]
		}
		if y <= x {
			b = b[1:]
		}
	}
	return append(append(list, a...), b...)
}

// keep appends to kept who of a list is in another, or is not.
func keep(kept, list, other []uint16, not bool) []uint16 {
	for _, low := range list {
		// From where the search ended last it goes on in growing steps.
		step := 1
		for step < len(other) && other[step-1] < low {
			step *= 2
		}
		i, found := slices.BinarySearch(other[min(step/2, len(other)):min(step, len(other))], low)
		other = other[min(step/2, len(other))+i:]
		if found != not {
			kept = append(kept, low)
		}
	}
	return kept
}
