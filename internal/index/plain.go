package index

import (
	"math/bits"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
)

// plain is a set of users as a bit for each number, in memory that is used
// again: a query that combines sets of millions makes no garbage.
type plain struct{ words []uint64 }

// members is a set that most users are in and that changes with every other
// request: a bit for each number. In a Roaring bitmap containers that were full
// are lists of runs, which every user who goes and comes makes longer.
type members struct{ words []uint64 }

func (m *members) add(n uint32) {
	for int(n/64) >= len(m.words) {
		m.words = append(m.words, 0)
	}
	m.words[n/64] |= 1 << (n % 64)
}

func (m *members) remove(n uint32) { m.words[n/64] &^= 1 << (n % 64) }

// plain copies the set, of numbers below limit.
func (m *members) plain(limit uint32) *plain {
	p := newPlain(limit)
	copy(p.words, m.words)
	return p
}

// containerWords are the words of one container of a Roaring bitmap, which
// WriteDenseTo writes whole.
const containerWords = 1 << 16 / 64

var plains = sync.Pool{New: func() any { return new(plain) }}

// newPlain makes an empty set for numbers below limit.
func newPlain(limit uint32) *plain {
	p := plains.Get().(*plain)
	n := (int(limit) + 1<<16 - 1) / (1 << 16) * containerWords
	if cap(p.words) < n {
		p.words = make([]uint64, n)
		return p
	}
	p.words = p.words[:n]
	clear(p.words)
	return p
}

// drop gives the memory to others.
func (p *plain) drop() { plains.Put(p) }

// and, or and andNot combine with words of the same length.

func (p *plain) and(words []uint64) {
	a := p.words
	words = words[:len(a)]
	for i := range a {
		a[i] &= words[i]
	}
}

func (p *plain) or(words []uint64) {
	a := p.words
	words = words[:len(a)]
	for i := range a {
		a[i] |= words[i]
	}
}

func (p *plain) andNot(words []uint64) {
	a := p.words
	words = words[:len(a)]
	for i := range a {
		a[i] &^= words[i]
	}
}

func (p *plain) count() (n uint64) {
	for _, w := range p.words {
		n += uint64(bits.OnesCount64(w))
	}
	return n
}

// filter is what of a bitmap is in p, or is not.
func (p *plain) filter(b *roaring.Bitmap, in bool) *roaring.Bitmap {
	var kept []uint32
	var buf [256]uint32
	it := b.ManyIterator()
	for n := it.NextMany(buf[:]); n > 0; n = it.NextMany(buf[:]) {
		for _, u := range buf[:n] {
			if p.words[u/64]>>(u%64)&1 == 1 == in {
				kept = append(kept, u)
			}
		}
	}
	return roaring.BitmapOf(kept...)
}
