package index

import (
	"encoding/binary"
	"io"
	"maps"
	"slices"

	"tidings/internal/audience"
)

// Canonical writes what the users are, so that the bytes are equal if and only if
// the users are: whatever way they came to be so, and wherever their strings lie.
// It asks every part of the index for what it knows, users for their values and
// values for their users, so parts that disagree differ from any other index.
func (u *View) Canonical(w io.Writer) error {
	c := &canonical{Writer: NewWriter(w), u: u}
	c.Uint(uint64(u.accounts.next))
	c.Uint(uint64(u.Len()))
	for n := range u.accounts.next {
		if u.Has(n) {
			c.user(n)
		}
	}
	for i := range u.freed.n {
		f := u.freed.at(i)
		c.Uint(uint64(f.user))
		c.Uint(f.pos)
	}
	for _, users := range u.byKind {
		c.numbers(slices.Collect(users.from(0)))
	}
	for i, s := range u.slots {
		if s != nil && s.values.n > 0 {
			c.Uint(uint64(i))
			c.slot(s)
		}
	}
	c.tags()
	c.devices()
	return c.Flush()
}

type canonical struct {
	*Writer
	u *View
}

func (c *canonical) user(n uint32) {
	c.Uint(uint64(n))
	c.Bytes(c.u.Account(n))
	if found, ok := c.u.Find(string(c.u.Account(n))); !ok || found != n {
		c.Bytes([]byte("is not found"))
	}
	c.Uint(uint64(c.u.Kind(n)))
	c.Uint(uint64(c.u.Created(n)))
	t := c.u.Traits(n)
	for _, v := range t.Values {
		c.Bytes([]byte(v))
	}
	for _, tag := range t.Tags {
		c.Bytes([]byte(tag))
	}
}

func (c *canonical) numbers(list []uint32) {
	var b []byte
	for _, n := range list {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	c.Bytes(b)
}

func (c *canonical) slot(s *slot) {
	for _, v := range sortedStrings(s.values) {
		c.Bytes(s.values.bytes(v))
		c.Uint(uint64(s.users.count.get(v)))
		c.numbers(s.users.users(v))
	}
	c.numbers(slices.Collect(s.any.from(0)))
}

func (c *canonical) tags() {
	for _, t := range sortedStrings(c.u.tags.names) {
		c.Bytes(c.u.TagName(t))
		c.Uint(uint64(c.u.TagKind(t)))
		c.Uint(uint64(c.u.tags.count.get(t)))
		c.numbers(slices.Collect(c.u.tags.users.get(t).from(0)))
	}
}

// sortedStrings returns the numbers of the strings of a table in the order of the
// strings.
func sortedStrings(t *strtab) []uint32 {
	all := make(map[string]uint32, t.n)
	for n := range t.next {
		if t.has(n) {
			all[string(t.bytes(n))] = n
		}
	}
	var numbers []uint32
	for _, s := range slices.Sorted(maps.Keys(all)) {
		numbers = append(numbers, all[s])
	}
	return numbers
}

var _ audience.State = (*Users)(nil)
