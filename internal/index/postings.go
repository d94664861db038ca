package index

import "slices"

// postings are sets of users by value. A set of few users is a list threaded
// through a column, four bytes a user. A value that only one user has thus costs no
// allocation.
type postings struct {
	count column     // by value: how many users
	first column     // by value, while a list: 1 + the first user
	next  column     // by user: 1 + the next user of the same list
	large *valueSets // of values that are no lists; nil: there never was one
}

// valueSets are the sets of some values.
type valueSets struct {
	place column // by value: 1 + the place of its set in sets; 0: it has none
	sets  sets
	holes []uint32 // places in sets to use first; not in a view
	n     int
}

// get returns the set of a value, which must not be changed; nil if it has none.
func (s *valueSets) get(v uint32) *set {
	if s != nil {
		if k := s.place.get(v); k != 0 {
			return s.sets.get(k - 1)
		}
	}
	return nil
}

// own returns the set of a value that has one, to be changed.
func (s *valueSets) own(v uint32) *set { return s.sets.own(s.place.get(v) - 1) }

// put makes a set that of a value, which has none.
func (s *valueSets) put(v uint32, users *set) {
	k := uint32(s.sets.len())
	if last := len(s.holes) - 1; last >= 0 {
		k, s.holes = s.holes[last], s.holes[:last]
	}
	s.sets.put(k, users)
	s.place.set(v, k+1)
	s.n++
}

// drop takes the set of a value away.
func (s *valueSets) drop(v uint32) {
	k := s.place.get(v) - 1
	s.sets.put(k, nil)
	s.place.set(v, 0)
	s.holes = append(s.holes, k)
	s.n--
}

func (s *valueSets) view() *valueSets {
	if s == nil {
		return nil
	}
	return &valueSets{place: s.place.view(), sets: s.sets.view(), n: s.n}
}

// A list becomes a set beyond listMax users, and a set a list again below
// a quarter of it, so that one user coming and going does not convert it each
// time.
const listMax = 16

// add puts user n, who must not be there, into the set of value v.
func (p *postings) add(v, n uint32) {
	c := p.count.get(v)
	p.count.set(v, c+1)
	if p.large.get(v) != nil {
		p.large.own(v).add(n)
		return
	}
	if c < listMax {
		p.next.set(n, p.first.get(v))
		p.first.set(v, n+1)
		return
	}
	users := newSet()
	for u := p.first.get(v); u != 0; {
		users.add(u - 1)
		following := p.next.get(u - 1)
		p.next.set(u-1, 0)
		u = following
	}
	users.add(n)
	p.first.set(v, 0)
	if p.large == nil {
		p.large = &valueSets{}
	}
	p.large.put(v, users)
}

// remove takes user n, who must be there, out of the set of value v and returns
// how many are left.
func (p *postings) remove(v, n uint32) (left uint32) {
	left = p.count.get(v) - 1
	p.count.set(v, left)
	set := p.large.get(v)
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
	if left >= listMax/4 {
		p.large.own(v).remove(n)
		return left
	}
	for u := range set.from(0) {
		if u != n {
			p.next.set(u, p.first.get(v))
			p.first.set(v, u+1)
		}
	}
	p.large.drop(v)
	return left
}

func (p *postings) view() postings {
	return postings{p.count.view(), p.first.view(), p.next.view(), p.large.view()}
}

// each calls f for the users of a list.
func (p *postings) each(v uint32, f func(n uint32)) {
	for u := p.first.get(v); u != 0; u = p.next.get(u - 1) {
		f(u - 1)
	}
}

// users returns the users of a value, in order.
func (p *postings) users(v uint32) (list []uint32) {
	if s := p.large.get(v); s != nil {
		return slices.Collect(s.from(0))
	}
	p.each(v, func(n uint32) { list = append(list, n) })
	slices.Sort(list)
	return list
}
