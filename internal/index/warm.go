package index

import (
	"github.com/zeebo/xxh3"

	"tidings/internal/audience"
)

// warmBatch is how many users are looked up side by side.
const warmBatch = 128

// Warm reads what changes of some users will read and write, all users together and
// one step after the other. With millions of users nothing of it is in a cache of the
// processor, and a change asks for one thing after another, each found by the one
// before: it would spend most of its time waiting for memory. Step by step the
// processor waits for many users at once. What Warm reads is of no consequence.
func (u *Users) Warm(changes []audience.Change) {
	for len(changes) > 0 {
		n := min(len(changes), warmBatch)
		u.warm(changes[:n])
		changes = changes[n:]
	}
}

func (u *Users) warm(changes []audience.Change) {
	var hashes [warmBatch]uint64
	var numbers, places [warmBatch]uint32 // 1 + number, 0: not found; 1 + place of the name
	t := u.accounts
	sum := uint32(0)
	for i := range changes {
		hashes[i] = xxh3.HashStringSeed(changes[i].Account, t.seed)
	}
	for i := range changes {
		p := t.partOf(hashes[i])
		sum += uint32(p.slots[slotBytes*p.home(hashes[i])])
	}
	for i := range changes {
		numbers[i] = t.candidate(hashes[i])
	}
	for i := range changes {
		if numbers[i] != 0 {
			places[i] = t.at.get(numbers[i] - 1)
		}
	}
	for i := range changes {
		if at := places[i]; at != 0 {
			sum += uint32(t.slab.chunks[(at-1)>>slabBits][(at-1)&(slabChunk-1)])
		}
	}
	for slot, s := range u.slots {
		if s == nil {
			continue
		}
		for i := range changes {
			if c := &changes[i]; numbers[i] != 0 && (c.Set[slot] != "" || c.Remove.Has(slot)) {
				n := numbers[i] - 1
				sum += s.value.get(n)
				if int(n/64) < len(s.any.words) {
					sum += uint32(s.any.words[n/64])
				}
			}
		}
	}
	u.warmed += sum
}

// candidate returns 1 + the number of a string that may have hash h; 0 if none has.
func (t *strtab) candidate(h uint64) uint32 {
	p := t.partOf(h)
	for i := p.home(h); ; i = p.after(i) {
		e := p.get(i)
		if e == 0 || e>>32 == h&0xff {
			return uint32(e)
		}
	}
}
