package lsm

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
)

// A numbers is a set of account numbers with the same upper half, as a task keeps it: the
// lower halves, sorted, or a bit for each.
type numbers struct {
	n    int
	list []uint16
	bits *numberBits
}

type numberBits [1 << 16 / 64]uint64

// mostListed is how many numbers are a list at most. More take less memory as bits.
const mostListed = 1 << 12

func (s *numbers) has(low uint16) bool {
	if s.bits != nil {
		return s.bits[low/64]>>(low%64)&1 != 0
	}
	if len(s.list) == 0 {
		return false
	}
	_, found := slices.BinarySearch(s.list, low)
	return found
}

// add puts in a number, which may be there.
func (s *numbers) add(low uint16) {
	if s.bits != nil {
		if bit := uint64(1) << (low % 64); s.bits[low/64]&bit == 0 {
			s.bits[low/64] |= bit
			s.n++
		}
		return
	}
	i, found := slices.BinarySearch(s.list, low)
	if found {
		return
	}
	s.n++
	if len(s.list) < mostListed {
		s.list = slices.Insert(s.list, i, low)
		return
	}
	s.bits = new(numberBits)
	for _, old := range append(s.list, low) {
		s.bits[old/64] |= 1 << (old % 64)
	}
	s.list = nil
}

// remove takes out a number, which may not be there.
func (s *numbers) remove(low uint16) {
	if s.bits != nil {
		if bit := uint64(1) << (low % 64); s.bits[low/64]&bit != 0 {
			s.bits[low/64] &^= bit
			s.n--
		}
		return
	}
	if i, found := slices.BinarySearch(s.list, low); found {
		s.list = slices.Delete(s.list, i, i+1)
		s.n--
	}
}

// each calls f with the numbers from one on, in order, until f returns false.
func (s *numbers) each(from uint16, f func(low uint16) bool) bool {
	if s.bits == nil {
		i, _ := slices.BinarySearch(s.list, from)
		for _, low := range s.list[i:] {
			if !f(low) {
				return false
			}
		}
		return true
	}
	for i := int(from / 64); i < len(s.bits); i++ {
		word := s.bits[i]
		if i == int(from/64) {
			word &^= 1<<(from%64) - 1
		}
		for ; word != 0; word &= word - 1 {
			if !f(uint16(i*64 + bits.TrailingZeros64(word))) {
				return false
			}
		}
	}
	return true
}

// bytes returns the memory of the set.
func (s *numbers) bytes() int {
	if s.bits != nil {
		return 1 << 13
	}
	return 2 * cap(s.list)
}

// The stored form of a set is the shortest of three, after a byte that says which:
//
//	1  list   for each number a uvarint: the number, less one more than that before
//	2  bits   8192 bytes: for each number a bit, the lowest of a byte first
//	3  runs   for each run two uvarints: how many numbers are left out before it,
//	          and how many it has, less one
const (
	numbersListed = 1
	numbersBits   = 2
	numbersRuns   = 3
)

// encode returns the stored form.
func (s *numbers) encode() []byte {
	listed, runs := []byte{numbersListed}, []byte{numbersRuns}
	next, begin := 0, -1 // the number after the last one; where its run begins
	gap := 0
	endRun := func() {
		if begin >= 0 {
			runs = binary.AppendUvarint(binary.AppendUvarint(runs, uint64(gap)), uint64(next-begin-1))
		}
	}
	short := s.each(0, func(low uint16) bool {
		listed = binary.AppendUvarint(listed, uint64(int(low)-next))
		if int(low) != next || begin < 0 {
			endRun()
			gap, begin = int(low)-next, int(low)
		}
		next = int(low) + 1
		return len(listed) < 1<<13 || len(runs) < 1<<13
	})
	endRun()
	switch most := 1 + 1<<13; {
	case short && len(listed) <= most && len(listed) <= len(runs):
		return listed
	case short && len(runs) <= most:
		return runs
	}
	b := make([]byte, 1, 1+1<<13)
	b[0] = numbersBits
	for _, word := range s.bits {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	return b
}

var errNumbers = errors.New("the set of numbers is broken")

// parseNumbers reads the stored form of a set.
func parseNumbers(b []byte) (*numbers, error) {
	if len(b) == 0 {
		return nil, errNumbers
	}
	s, kind := &numbers{}, b[0]
	b = b[1:]
	if kind == numbersBits {
		if len(b) != 1<<13 {
			return nil, errNumbers
		}
		s.bits = new(numberBits)
		for i := range s.bits {
			s.bits[i] = binary.LittleEndian.Uint64(b[8*i:])
			s.n += bits.OnesCount64(s.bits[i])
		}
		return s, nil
	}
	if kind != numbersListed && kind != numbersRuns {
		return nil, errNumbers
	}
	next := uint64(0)
	for len(b) > 0 {
		gap, size := binary.Uvarint(b)
		if size <= 0 || gap > 1<<16 {
			return nil, errNumbers
		}
		b = b[size:]
		more := uint64(0)
		if kind == numbersRuns {
			if more, size = binary.Uvarint(b); size <= 0 || more > 1<<16 {
				return nil, errNumbers
			}
			b = b[size:]
		}
		next += gap
		if next+more >= 1<<16 {
			return nil, errNumbers
		}
		s.addRun(uint16(next), int(more)+1)
		next += more + 1
	}
	return s, nil
}

// addRun adds numbers that follow each other, all larger than those that are there.
func (s *numbers) addRun(from uint16, n int) {
	if s.bits == nil && len(s.list)+n <= mostListed {
		for i := range n {
			s.list = append(s.list, from+uint16(i))
		}
		s.n += n
		return
	}
	for i := range n {
		low := from + uint16(i)
		if s.bits == nil {
			s.add(low)
			continue
		}
		s.bits[low/64] |= 1 << (low % 64)
		s.n++
	}
}

// countedBits returns a set of the bits, which it shares.
func countedBits(b *numberBits) *numbers {
	s := &numbers{bits: b}
	for _, word := range b {
		s.n += bits.OnesCount64(word)
	}
	return s
}
