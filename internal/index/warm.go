package index

import (
	"github.com/zeebo/xxh3"

	"tidings/internal/audience"
)

// WarmBatch is how many users are read side by side, at most.
const WarmBatch = 128

// Warm reads what changes of some users will read and write, all users together and
// one step after the other. With millions of users nothing of it is in a cache of the
// processor, and a change asks for one thing after another, each found by the one
// before: it would spend most of its time waiting for memory. Step by step the
// processor waits for many users at once. What Warm reads is of no consequence.
func (u *Users) Warm(changes []audience.Change) {
	for len(changes) > 0 {
		n := min(len(changes), WarmBatch)
		u.warm(changes[:n])
		changes = changes[n:]
	}
}

func (u *Users) warm(changes []audience.Change) {
	var hashes [WarmBatch]uint64
	var places [WarmBatch]uint32 // 1 + place of the name
	var w warming
	t := u.accounts
	for i := range changes {
		hashes[i] = xxh3.HashStringSeed(changes[i].Account, t.seed)
	}
	for i := range changes {
		p := t.partOf(hashes[i])
		w.sum += uint32(p.slots[slotBytes*p.home(hashes[i])])
	}
	for i := range changes {
		w.users[i] = t.candidate(hashes[i])
	}
	for i := range changes {
		if w.users[i] != 0 {
			places[i] = t.at.get(w.users[i] - 1)
		}
	}
	for i := range changes {
		if at := places[i]; at != 0 {
			w.sum += uint32(t.slab.chunks[(at-1)>>slabBits][(at-1)&(slabChunk-1)])
		}
	}
	for i := range changes {
		c := &changes[i]
		w.slots[i] = slotsOf(&c.Set) | c.Remove
	}
	u.warmSlots(&w, len(changes))
}

// WarmEffects is Warm for effects, at most WarmBatch.
func (u *Users) WarmEffects(effects []audience.Effect) {
	var w warming
	for i := range effects {
		e := &effects[i]
		if e.Op != audience.Edit || e.User >= u.accounts.next {
			continue
		}
		w.sum += u.accounts.at.get(e.User)
		w.users[i], w.slots[i] = e.User+1, slotsOf(&e.Set)|e.Cleared
	}
	u.warmSlots(&w, len(effects))
}

// warming is what is read ahead for.
type warming struct {
	users [WarmBatch]uint32 // 1 + number; 0: nobody
	slots [WarmBatch]audience.SlotSet
	sum   uint32 // of what was read
}

func slotsOf(values *audience.Values) (slots audience.SlotSet) {
	for i, v := range values {
		if v != "" {
			slots.Add(i)
		}
	}
	return slots
}

// warmSlots reads the values of users, and whether they have one.
func (u *Users) warmSlots(w *warming, users int) {
	for slot, s := range u.slots {
		if s == nil {
			continue
		}
		for i := range users {
			if n := w.users[i]; n != 0 && w.slots[i].Has(slot) {
				w.sum += s.value.get(n - 1)
				if word := int((n - 1) / 64); word < len(s.any.words) {
					w.sum += uint32(s.any.words[word])
				}
			}
		}
	}
	u.warmed += w.sum
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
