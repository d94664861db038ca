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
// processor waits for many users at once. What Warm reads is of no consequence, and
// what it returns is only there so that nothing is left out.
func (u *View) Warm(changes []audience.Change) (sum uint32) {
	for len(changes) > 0 {
		var w warming
		w.n = min(len(changes), WarmBatch)
		for i := range w.n {
			c := &changes[i]
			w.hashes[i], w.slots[i] = u.accounts.hashOf(c.Account), slotsOf(&c.Set)|c.Remove
		}
		u.warmAccounts(&w)
		u.warmSlots(&w)
		sum += w.sum
		changes = changes[w.n:]
	}
	return sum
}

// WarmUsers is Warm for reading all that accounts have.
func (u *View) WarmUsers(accounts []string) (sum uint32) {
	for len(accounts) > 0 {
		var w warming
		w.n = min(len(accounts), WarmBatch)
		for i := range w.n {
			w.hashes[i], w.slots[i] = u.accounts.hashOf(accounts[i]), 1<<audience.Slots-1
		}
		u.warmAccounts(&w)
		u.warmSlots(&w)
		sum += w.sum
		accounts = accounts[w.n:]
	}
	return sum
}

// WarmEffects is Warm for effects, at most WarmBatch.
func (u *View) WarmEffects(effects []audience.Effect) (sum uint32) {
	w := warming{n: len(effects)}
	for i := range effects {
		e := &effects[i]
		if e.Op != audience.Edit || e.User >= u.accounts.next {
			continue
		}
		w.sum += u.accounts.at.get(e.User)
		w.users[i], w.slots[i] = e.User+1, slotsOf(&e.Set)|e.Cleared
	}
	u.warmSlots(&w)
	return w.sum
}

// warming is the state of reading ahead for some users.
type warming struct {
	n      int
	hashes [WarmBatch]uint64           // of accounts
	users  [WarmBatch]uint32           // 1 + number; 0: nobody
	slots  [WarmBatch]audience.SlotSet // that are asked for
	sum    uint32                      // of what was read
}

func slotsOf(values *audience.Values) (slots audience.SlotSet) {
	for i, v := range values {
		if v != "" {
			slots.Add(i)
		}
	}
	return slots
}

// warmAccounts finds users by the hashes of their accounts and reads their names.
func (u *View) warmAccounts(w *warming) {
	var places [WarmBatch]uint32 // 1 + place of the name
	t := u.accounts
	for i := range w.n {
		p := t.partOf(w.hashes[i])
		w.sum += uint32(p.slots[slotBytes*p.home(w.hashes[i])])
	}
	for i := range w.n {
		w.users[i] = t.candidate(w.hashes[i])
	}
	for i := range w.n {
		if w.users[i] != 0 {
			places[i] = t.at.get(w.users[i] - 1)
		}
	}
	for i := range w.n {
		if at := places[i]; at != 0 {
			w.sum += uint32(t.slab.chunks.at((at - 1) >> slabBits).data[(at-1)&(slabChunk-1)])
		}
	}
}

// warmSlots reads the values of users, whether they have one, and where they are among
// the users of the value.
func (u *View) warmSlots(w *warming) {
	var sets [WarmBatch]*set
	for slot, s := range u.slots {
		if s == nil {
			continue
		}
		for i := range w.n {
			sets[i] = nil
			if n := w.users[i]; n != 0 && w.slots[i].Has(slot) {
				v := s.value.get(n - 1)
				if w.sum += v; v != 0 {
					sets[i] = s.users.large.get(v - 1)
				}
			}
		}
		for i := range w.n {
			if n := w.users[i]; n != 0 && w.slots[i].Has(slot) {
				w.sum += s.any.warm(n - 1)
				if sets[i] != nil {
					w.sum += sets[i].warm(n - 1)
				}
			}
		}
	}
}

// warm reads where a user is in a set, or would be.
func (s *set) warm(user uint32) uint32 {
	c := s.chunk(user >> 16)
	switch {
	case c.words != nil:
		return uint32(c.words[uint16(user)/64])
	case len(c.list) > 0:
		return uint32(c.list[len(c.list)*int(uint16(user))>>16])
	}
	return 0
}

// hashOf returns the hash of a string.
func (t *strtab) hashOf(s string) uint64 { return xxh3.HashStringSeed(s, t.seed) }

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
