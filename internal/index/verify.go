package index

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tidings/internal/audience"
)

// Verify returns why users that ReadUsers read cannot be used: a place that lies outside
// of what it is in, a value that is not there, a list without an end, a free number that
// is in use. A checksum says that
// a file is as it was written, not that what was written makes sense. It looks at every
// user, and does not look anybody up.
func (u *View) Verify() error {
	if err := u.accounts.verify(); err != nil {
		return fmt.Errorf("index: accounts: %w", err)
	}
	if err := u.created.verify(); err != nil {
		return fmt.Errorf("index: creation: %w", err)
	}
	for i, s := range u.slots {
		if s == nil {
			continue
		}
		if err := s.verify(u.accounts.next); err != nil {
			return fmt.Errorf("index: slot %d: %w", i, err)
		}
	}
	if err := u.verifyTags(); err != nil {
		return fmt.Errorf("index: tags: %w", err)
	}
	if err := u.devices.verify(); err != nil {
		return fmt.Errorf("index: devices: %w", err)
	}
	freed := make(map[uint32]bool, u.freed.n)
	for i := range u.freed.n {
		n := u.freed.at(i).user
		if n >= u.accounts.next || u.accounts.has(n) || freed[n] {
			return fmt.Errorf("index: number %d waits for a user, and is in use, was never given or waits twice", n)
		}
		freed[n] = true
	}
	return nil
}

func (c *column) verify() error {
	for i := range c.chunks.len() {
		if h := c.chunks.at(uint32(i)); h.width > 2 || len(h.data) > chunkSize<<h.width || len(h.data)&(1<<h.width-1) != 0 {
			return fmt.Errorf("a chunk of %d bytes has width %d", len(h.data), h.width)
		}
	}
	return nil
}

func (t *strtab) verify() error {
	n := 0
	for i := range t.next {
		if t.has(i) {
			n++
		}
	}
	listed := 0
	for i, p := range t.dir {
		if i > 0 && t.dir[i-1] == p {
			continue
		}
		in := 0
		for j := range p.size {
			e := p.get(j)
			if e == 0 {
				continue
			}
			if in++; uint32(e) == 0 || !t.has(uint32(e)-1) || uint32(e) > t.next {
				return fmt.Errorf("the hash table names string %d, which is not there", uint32(e)-1)
			}
		}
		if in != p.n {
			return fmt.Errorf("a part of the hash table has %d strings, and says %d", in, p.n)
		}
		listed += in
	}
	if n != t.n || listed != n {
		return fmt.Errorf("there are %d strings, %d in the hash table, and %d are said to be", n, listed, t.n)
	}
	return nil
}

func (p *postings) verify(values *strtab) error {
	if err := errors.Join(p.count.verify(), p.first.verify(), p.next.verify()); err != nil {
		return err
	}
	for v := range values.next {
		if !values.has(v) || p.large.get(v) != nil {
			continue
		}
		steps := 0
		for user := p.first.get(v); user != 0; user = p.next.get(user - 1) {
			if steps++; steps > listMax {
				return fmt.Errorf("the list of value %d has no end", v)
			}
		}
	}
	return nil
}

func (s *slot) verify(users uint32) error {
	if err := errors.Join(s.values.verify(), s.value.verify()); err != nil {
		return err
	}
	if err := s.users.verify(s.values); err != nil {
		return err
	}
	for n := range users {
		if v := s.value.get(n); v != 0 && (v > s.values.next || !s.values.has(v-1)) {
			return fmt.Errorf("user %d has value %d, which is not there", n, v-1)
		}
	}
	return nil
}

func (u *View) verifyTags() error {
	t := &u.tags
	if err := errors.Join(t.names.verify(), t.kinds.verify(), t.of.verify()); err != nil {
		return err
	}
	for i := range t.names.next {
		if t.names.has(i) && t.users.get(i) == nil {
			return fmt.Errorf("tag %d has no users", i)
		}
	}
	for n := range u.accounts.next {
		off := t.of.get(n)
		if off == 0 {
			continue
		}
		tag, count := uint64(0), 0
		for b := t.lists.bytes(off - 1); len(b) > 0; count++ {
			more, size := binary.Uvarint(b)
			if tag += more; size <= 0 || tag >= min(uint64(t.names.next), 1<<16) || !t.names.has(uint32(tag)) || more == 0 && count > 0 || count == audience.MaxTags {
				return fmt.Errorf("the tags of user %d are broken", n)
			}
			b = b[size:]
		}
	}
	return nil
}
