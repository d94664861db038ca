package index

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// strtab gives short strings dense numbers and finds both ways. Strings,
// numbers and hashes lie in a few arrays without pointers, so ten million of
// them cost the garbage collector nothing and the heap about 13 bytes each
// besides their own.
//
//	hash of the string ─ top bits ─→ dir ─→ part.slots ─→ number ─→ at ─→ slab
//
// dir is an extendible hash table: a part that is full is split in two, so no
// single insertion ever rehashes more than one part. The number of a removed
// string is given out again, and so is its place in the slab to a string of
// the same length. Views share dir, its parts, the column and the slab.
type strtab struct {
	seed  uint64  // of the hash, so that nobody can aim for collisions
	dir   []*part // by the top depth bits of the hash; a part may stand at several neighbouring places
	depth uint8
	made  uint64 // the epoch in which dir was
	epoch uint64 // how often a view was taken

	at    column   // number to 1 + offset in slab; 0: the number is free
	next  uint32   // all numbers from here on were never given out
	holes []uint32 // numbers to give out first; not in a view
	n     int      // strings in the table

	slab slab
}

// A part is an open-addressing hash table with linear probing. A slot takes
// slotBytes: 1 + the number, 0 if it is empty, and eight bits of the hash, so
// that hardly any other string is looked at.
type part struct {
	slots []byte
	size  uint32 // how many slots there are
	n     int    // strings; at most seven eighths of the slots
	depth uint8
	made  uint64 // the epoch in which the part was
}

const (
	slotBytes  = 5
	slotPad    = 3 // behind the last, so that each can be read as eight bytes
	firstSlots = 8
	maxSlots   = 1 << 14 // a full part is split instead of grown beyond
)

// newPart returns an empty part of some slots, but at most maxSlots.
func newPart(slots uint32, depth uint8, epoch uint64) *part {
	slots = min(slots, maxSlots)
	return &part{slots: make([]byte, slotBytes*slots+slotPad), size: slots, depth: depth, made: epoch}
}

// get is slot i: 1 + a number, and above it eight bits of the hash.
func (p *part) get(i uint32) uint64 {
	return binary.LittleEndian.Uint64(p.slots[slotBytes*i:]) & (1<<(8*slotBytes) - 1)
}

func (p *part) set(i uint32, e uint64) {
	b := p.slots[slotBytes*i:][:slotBytes]
	binary.LittleEndian.PutUint32(b, uint32(e))
	b[4] = byte(e >> 32)
}

// Of a hash, the highest bits say which part, the upper ones of the lower half
// where in it, and the lowest eight are in the slot.

// home is the slot where a string with hash h is looked for first.
func (p *part) home(h uint64) uint32 { return uint32(uint64(uint32(h)) * uint64(p.size) >> 32) }

// after is the slot after slot i.
func (p *part) after(i uint32) uint32 {
	if i++; i == p.size {
		return 0
	}
	return i
}

// distance is how many slots after slot i slot j is.
func (p *part) distance(i, j uint32) uint32 {
	if j < i {
		j += p.size
	}
	return j - i
}

// entry is the slot of number n with hash h.
func entry(h uint64, n uint32) uint64 { return h&0xff<<32 | uint64(n+1) }

func newStrtab() *strtab {
	return &strtab{seed: rand.Uint64(), dir: []*part{newPart(firstSlots, 0, 0)}}
}

func (t *strtab) partOf(h uint64) *part {
	return t.dir[h>>(64-t.depth)&(1<<t.depth-1)]
}

// edit returns the part of a hash, to be changed.
func (t *strtab) edit(h uint64) *part {
	p := t.partOf(h)
	if p.made == t.epoch {
		return p
	}
	own := *p
	own.slots, own.made = slices.Clone(p.slots), t.epoch
	if t.made != t.epoch {
		t.dir, t.made = slices.Clone(t.dir), t.epoch
	}
	places := t.places(h, p.depth)
	for i := range places {
		places[i] = &own
	}
	return &own
}

// places returns where in dir the part of a hash stands, which has a depth.
func (t *strtab) places(h uint64, depth uint8) []*part {
	first, n := h>>(64-depth)<<(t.depth-depth), uint64(1)<<(t.depth-depth)
	return t.dir[first:][:n]
}

// view returns the table as it is, for reading.
func (t *strtab) view() *strtab {
	t.epoch++
	v := *t
	v.at, v.slab, v.holes = t.at.view(), t.slab.view(), nil
	return &v
}

// find returns the number of s.
func (t *strtab) find(s string) (uint32, bool) {
	h := xxh3.HashStringSeed(s, t.seed)
	p := t.partOf(h)
	for i := p.home(h); ; i = p.after(i) {
		e := p.get(i)
		n := uint32(e) - 1
		switch {
		case e == 0:
			return 0, false
		case e == entry(h, n) && string(t.bytes(n)) == s:
			return n, true
		}
	}
}

// bytes returns the string with number n. They are valid until it is removed.
func (t *strtab) bytes(n uint32) []byte { return t.slab.bytes(t.at.get(n) - 1) }

// has reports whether the number is in use.
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

// addAt puts in s, which must not be there, under number n, which must be free.
func (t *strtab) addAt(n uint32, s string) {
	if n >= t.next {
		t.next = n + 1
	}
	t.at.set(n, t.slab.place(s)+1)
	t.insert(xxh3.HashStringSeed(s, t.seed), n)
	t.n++
}

// full reports whether no string should be added.
func (t *strtab) full() bool { return t.slab.full() || t.next >= 1<<32-1<<16 }

// findHoles makes every number below the highest that is not in use available
// again, after a table was read.
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
	p := t.edit(h)
	for (p.n+1)*8 > int(p.size)*7 {
		if p.size < maxSlots {
			t.grow(p)
		} else {
			t.split(h, p)
			p = t.partOf(h)
		}
	}
	p.put(h, n)
}

func (p *part) put(h uint64, n uint32) {
	i := p.home(h)
	for p.get(i) != 0 {
		i = p.after(i)
	}
	p.set(i, entry(h, n))
	p.n++
}

// hash is that of the string with number n.
func (t *strtab) hash(n uint32) uint64 { return xxh3.HashSeed(t.bytes(n), t.seed) }

// hashes calls f with the numbers in a part and the hashes of their strings.
// Each step goes over all of them, so that the processor need not wait for one
// string, which is in no cache, before it asks for the next.
func (t *strtab) hashes(p *part, f func(h uint64, n uint32)) {
	numbers := make([]uint32, 0, p.n)
	for i := range p.size {
		if e := p.get(i); e != 0 {
			numbers = append(numbers, uint32(e)-1)
		}
	}
	strings := make([][]byte, len(numbers))
	for i, n := range numbers {
		strings[i] = t.bytes(n)
	}
	for i, s := range strings {
		f(xxh3.HashSeed(s, t.seed), numbers[i])
	}
}

func (t *strtab) grow(p *part) {
	larger := newPart(p.size+p.size/2, p.depth, t.epoch)
	t.hashes(p, larger.put)
	*p = *larger
}

// split divides p, the part of hash h, by the next bit of its strings' hashes.
func (t *strtab) split(h uint64, p *part) {
	if p.depth == t.depth {
		dir := make([]*part, 2*len(t.dir))
		for i, q := range t.dir {
			dir[2*i], dir[2*i+1] = q, q
		}
		t.dir, t.made = dir, t.epoch
		t.depth++
	}
	depth := p.depth + 1
	const room = maxSlots / 4 * 3 // for half as many, and half more of them
	halves := [2]*part{newPart(room, depth, t.epoch), newPart(room, depth, t.epoch)}
	t.hashes(p, func(h uint64, n uint32) { halves[h>>(64-depth)&1].put(h, n) })
	places := t.places(h, p.depth)
	for i := range places {
		places[i] = halves[i/(len(places)/2)]
	}
}

// remove takes out the string with number n, which is not given out again
// before reuse.
func (t *strtab) remove(n uint32) {
	t.unlist(t.hash(n), n)
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

// unlist empties the slot of number n, which has hash h, and moves later ones of
// its run back, so that no probe meets a gap.
func (t *strtab) unlist(h uint64, n uint32) {
	p := t.edit(h)
	i := p.home(h)
	for e := entry(h, n); p.get(i) != e; i = p.after(i) {
		if p.get(i) == 0 {
			panic("index: number to remove is not in its part")
		}
	}
	for j := i; ; {
		j = p.after(j)
		next := p.get(j)
		if next == 0 {
			break
		}
		// next may move to i unless its home lies cyclically in (i, j].
		if home := p.home(t.hash(uint32(next) - 1)); p.distance(home, j) >= p.distance(i, j) {
			p.set(i, next)
			i = j
		}
	}
	p.set(i, 0)
	p.n--
}

// bytesHeld is the memory of the table, roughly.
func (t *strtab) bytesHeld() int64 {
	n := int64(unsafe.Sizeof(*t)) + int64(len(t.dir))*8 + t.at.bytesHeld() + int64(cap(t.holes))*4
	for i, p := range t.dir {
		if i == 0 || t.dir[i-1] != p {
			n += int64(unsafe.Sizeof(*p)) + int64(len(p.slots))
		}
	}
	return n + t.slab.bytesHeld()
}
