package index

import "github.com/RoaringBitmap/roaring/v2"

// postings are sets of users by value. A set of few users is a list threaded
// through a column, four bytes a user; a set of many is a bitmap. A value that
// only one user has thus costs no allocation.
type postings struct {
	count column // by value: how many users
	first column // by value, while a list: 1 + the first user
	next  column // by user: 1 + the next user of the same list
	many  map[uint32]*roaring.Bitmap
}

// A list becomes a bitmap beyond listMax users, and a bitmap a list again below
// a quarter of it, so that one user coming and going does not convert it each
// time.
const listMax = 16

// trimAt reports whether a set that has grown to so many users is to be copied into
// memory that is not larger than it must be: containers grow ahead of need, and
// those of lower numbers are often done growing. It is at every doubling, so for a
// set that grows the copies cost a constant time for each user.
func trimAt(users uint32) bool { return users >= 1<<12 && users&(users-1) == 0 }

// add puts user n, who must not be there, into the set of value v.
func (p *postings) add(v, n uint32) {
	c := p.count.get(v)
	p.count.set(v, c+1)
	if set := p.many[v]; set != nil {
		set.Add(n)
		if trimAt(c + 1) {
			p.many[v] = set.Clone()
		}
		return
	}
	if c < listMax {
		p.next.set(n, p.first.get(v))
		p.first.set(v, n+1)
		return
	}
	set := roaring.New()
	for u := p.first.get(v); u != 0; {
		set.Add(u - 1)
		following := p.next.get(u - 1)
		p.next.set(u-1, 0)
		u = following
	}
	set.Add(n)
	p.first.set(v, 0)
	if p.many == nil {
		p.many = map[uint32]*roaring.Bitmap{}
	}
	p.many[v] = set
}

// remove takes user n, who must be there, out of the set of value v and tells
// how many are left.
func (p *postings) remove(v, n uint32) (left uint32) {
	left = p.count.get(v) - 1
	p.count.set(v, left)
	set := p.many[v]
	if set == nil {
		before := uint32(0)
		for u := p.first.get(v); u != n+1; u = p.next.get(u - 1) {
			before = u
		}
		following := p.next.get(n)
		p.next.set(n, 0)
		if before == 0 {
			p.first.set(v, following)
		} else {
			p.next.set(before-1, following)
		}
		return left
	}
	set.Remove(n)
	if left < listMax/4 {
		delete(p.many, v)
		for it := set.Iterator(); it.HasNext(); {
			u := it.Next()
			p.next.set(u, p.first.get(v))
			p.first.set(v, u+1)
		}
	}
	return left
}

// users returns the set of value v; the caller must not change it.
func (p *postings) users(v uint32) *roaring.Bitmap {
	if set := p.many[v]; set != nil {
		return set
	}
	set := roaring.New()
	p.each(v, func(n uint32) { set.Add(n) })
	return set
}

// each calls f for the users of a list.
func (p *postings) each(v uint32, f func(n uint32)) {
	for u := p.first.get(v); u != 0; u = p.next.get(u - 1) {
		f(u - 1)
	}
}
