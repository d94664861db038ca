package index

import (
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// Clone returns a copy of the users as they are. It takes about a third of a
// second for ten million users, and as much memory again as they have.
func (u *Users) Clone() *Users {
	c := &Users{accounts: u.accounts.clone(), freed: u.freed, created: u.created.clone(), changes: u.changes}
	c.freed.queue = slices.Clone(u.freed.queue[u.freed.head:])
	c.freed.head = 0
	c.changes.tags = slices.Clone(u.changes.tags)
	for i, set := range u.byKind {
		c.byKind[i] = set.Clone()
	}
	for i, s := range u.slots {
		if s != nil {
			c.slots[i] = &slot{s.values.clone(), s.users.clone(), s.value.clone(), members{slices.Clone(s.any.words)}}
		}
	}
	t := &u.tags
	c.tags = tags{t.names.clone(), t.kinds.clone(), make([]*roaring.Bitmap, len(t.users)), slices.Clone(t.count), t.of.clone(), t.lists.clone()}
	for i, set := range t.users {
		if set != nil {
			c.tags.users[i] = set.Clone()
		}
	}
	return c
}

func (t *strtab) clone() *strtab {
	c := *t
	c.dir = make([]*part, len(t.dir))
	for i, p := range t.dir {
		if i > 0 && t.dir[i-1] == p { // the neighbours of a part point to it too
			c.dir[i] = c.dir[i-1]
			continue
		}
		q := *p
		q.slots = slices.Clone(p.slots)
		c.dir[i] = &q
	}
	c.at, c.holes, c.slab = t.at.clone(), slices.Clone(t.holes), t.slab.clone()
	return &c
}

func (c *column) clone() column {
	chunks := slices.Clone(c.chunks)
	for i := range chunks {
		chunks[i].data = slices.Clone(chunks[i].data)
	}
	return column{chunks}
}

func (l *slab) clone() slab {
	c := slab{chunks: make([][]byte, len(l.chunks)), freed: maps.Clone(l.freed)}
	for i, chunk := range l.chunks {
		c.chunks[i] = append(make([]byte, 0, cap(chunk)), chunk...)
	}
	for size, offs := range c.freed {
		c.freed[size] = slices.Clone(offs)
	}
	return c
}

func (p *postings) clone() postings {
	c := postings{p.count.clone(), p.first.clone(), p.next.clone(), make(map[uint32]*roaring.Bitmap, len(p.many))}
	for v, set := range p.many {
		c.many[v] = set.Clone()
	}
	return c
}
