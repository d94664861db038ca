package index

import (
	"math/rand/v2"

	"github.com/zeebo/xxh3"
)

// strtab gives short strings dense numbers and finds both ways. Strings,
// numbers and hashes lie in a few arrays without pointers, so ten million of
// them cost the garbage collector nothing and the heap about 18 bytes each
// besides their own.
//
//	hash of the string ─ top bits ─→ dir ─→ part.slots ─→ number ─→ at ─→ slab
//
// dir is an extendible hash table: a part that is full is split in two, so no
// single insertion ever rehashes more than one part. The number of a removed
// string is given out again, and so is its place in the slab to a string of
// the same length.
type strtab struct {
	seed  uint64  // of the hash, so that nobody can aim for collisions
	dir   []*part // by the top depth bits of the hash; a part may stand at several neighbouring places
	depth uint8

	at    column // number to 1 + offset in slab; 0: the number is free
	next  uint32 // all numbers from here on were never given out
	holes []uint32
	n     int // strings in the table

	slab slab
}

// A part is an open-addressing hash table with linear probing. A slot is the
// low half of the hash and 1 + the number; zero is an empty slot.
type part struct {
	slots []uint64 // a power of two, at most three quarters used
	n     int
	depth uint8
}

const (
	firstSlots = 8
	maxSlots   = 1 << 14 // a full part is split instead of grown beyond
)

func newStrtab() *strtab {
	return &strtab{
		seed: rand.Uint64(),
		dir:  []*part{{slots: make([]uint64, firstSlots)}},
	}
}

func (t *strtab) partOf(h uint64) *part {
	return t.dir[h>>(64-t.depth)&(1<<t.depth-1)]
}

// find gives the number of s.
func (t *strtab) find(s string) (uint32, bool) {
	h := xxh3.HashStringSeed(s, t.seed)
	p := t.partOf(h)
	mask := uint32(len(p.slots) - 1)
	for i := uint32(h) & mask; p.slots[i] != 0; i = (i + 1) & mask {
		if e := p.slots[i]; uint32(e>>32) == uint32(h) {
			if n := uint32(e) - 1; string(t.bytes(n)) == s {
				return n, true
			}
		}
	}
	return 0, false
}

// bytes gives the string with number n. They are valid until it is removed.
func (t *strtab) bytes(n uint32) []byte { return t.slab.bytes(t.at.get(n) - 1) }

// has tells whether the number is in use.
func (t *strtab) has(n uint32) bool { return t.at.get(n) != 0 }

// add puts in s, which must not be there, and gives it a number: one that was
// freed before, else the next.
func (t *strtab) add(s string) uint32 {
	n := t.next
	if last := len(t.holes) - 1; last >= 0 {
		n, t.holes = t.holes[last], t.holes[:last]
	}
	t.addAt(n, s)
	return n
}

// addAt puts in s, which must not be there, under number n, which must be
// free. Numbers that are skipped are given out only after findHoles.
func (t *strtab) addAt(n uint32, s string) {
	if n >= t.next {
		t.next = n + 1
	}
	t.at.set(n, t.slab.place(s)+1)
	t.insert(xxh3.HashStringSeed(s, t.seed), n)
	t.n++
}

// findHoles makes every number below the highest that is not in use available
// again, after a load with addAt.
func (t *strtab) findHoles() {
	t.holes = t.holes[:0]
	for n := t.next; n > 0; n-- {
		if !t.has(n - 1) {
			t.holes = append(t.holes, n-1)
		}
	}
}

// insert adds number n under hash h.
func (t *strtab) insert(h uint64, n uint32) {
	p := t.partOf(h)
	for (p.n+1)*4 > len(p.slots)*3 {
		if len(p.slots) < maxSlots {
			p.grow()
		} else {
			t.split(p)
			p = t.partOf(h)
		}
	}
	p.put(uint64(uint32(h))<<32 | uint64(n+1))
	p.n++
}

func (p *part) put(e uint64) {
	mask := uint32(len(p.slots) - 1)
	i := uint32(e>>32) & mask
	for p.slots[i] != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = e
}

func (p *part) grow() {
	old := p.slots
	p.slots = make([]uint64, 2*len(old))
	for _, e := range old {
		if e != 0 {
			p.put(e)
		}
	}
}

// split divides p by the next bit of its strings' hashes.
func (t *strtab) split(p *part) {
	if p.depth == t.depth {
		dir := make([]*part, 2*len(t.dir))
		for i, q := range t.dir {
			dir[2*i], dir[2*i+1] = q, q
		}
		t.dir = dir
		t.depth++
	}
	depth := p.depth + 1
	halves := [2]*part{
		{slots: make([]uint64, maxSlots), depth: depth},
		{slots: make([]uint64, maxSlots), depth: depth},
	}
	for _, e := range p.slots {
		if e == 0 {
			continue
		}
		h := xxh3.HashSeed(t.bytes(uint32(e)-1), t.seed)
		half := halves[h>>(64-depth)&1]
		half.put(e)
		half.n++
	}
	for i, q := range t.dir {
		if q == p {
			t.dir[i] = halves[i>>(t.depth-depth)&1]
		}
	}
}

// remove takes out the string with number n, which is not given out again
// before reuse.
func (t *strtab) remove(n uint32) {
	s := t.bytes(n)
	h := xxh3.HashSeed(s, t.seed)
	t.partOf(h).remove(uint64(uint32(h))<<32 | uint64(n+1))
	t.slab.free(t.at.get(n) - 1)
	t.at.set(n, 0)
	t.n--
}

// reuse makes the number of a removed string available.
func (t *strtab) reuse(n uint32) { t.holes = append(t.holes, n) }

// drop takes out the string with number n and makes the number available.
func (t *strtab) drop(n uint32) {
	t.remove(n)
	t.reuse(n)
}

// remove takes out entry e and moves later entries of its run back, so that no
// probe meets a gap.
func (p *part) remove(e uint64) {
	mask := uint32(len(p.slots) - 1)
	i := uint32(e>>32) & mask
	for p.slots[i] != e {
		if p.slots[i] == 0 {
			panic("index: entry to remove is not in its part")
		}
		i = (i + 1) & mask
	}
	for j := i; ; {
		j = (j + 1) & mask
		next := p.slots[j]
		if next == 0 {
			break
		}
		// next may move to i unless its home lies cyclically in (i, j].
		if home := uint32(next>>32) & mask; (j-home)&mask >= (j-i)&mask {
			p.slots[i] = next
			i = j
		}
	}
	p.slots[i] = 0
	p.n--
}

// bytesHeld is the memory of the table, roughly.
func (t *strtab) bytesHeld() int64 {
	n := int64(len(t.dir))*8 + t.at.bytesHeld() + int64(cap(t.holes))*4
	for i, p := range t.dir {
		if i == 0 || t.dir[i-1] != p {
			n += int64(len(p.slots)) * 8
		}
	}
	return n + t.slab.bytesHeld()
}
