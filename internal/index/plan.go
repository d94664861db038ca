package index

import (
	"cmp"
	"context"
	"slices"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// A node is a part of a prepared question. A leaf is users: those in sets, and those in
// plain. No user is in two of them, so a leaf knows how many it has.
type node struct {
	op    op
	not   bool // all others
	of    []*node
	sets  []*set
	plain []words // by chunk, if there are any: users of many small sets
	scan  *scan
	bit   int // the comparison of the scan
	users int // of a leaf or scan without not; of others roughly
}

type op uint8

const (
	opLeaf op = iota
	opScan
	opAnd
	opOr
)

// positive reports whether everybody in the node is in a set that it names. It may
// say no although it is so.
func (n *node) positive() bool {
	switch {
	case n.not:
		return false
	case n.op == opAnd:
		return slices.ContainsFunc(n.of, (*node).positive)
	case n.op == opOr:
		return !slices.ContainsFunc(n.of, func(m *node) bool { return !m.positive() })
	}
	return true
}

// isKnown reports whether the number of users is known.
func (n *node) isKnown() bool { return n.op == opLeaf || n.op == opScan }

// A planner prepares a question.
type planner struct {
	ctx       context.Context
	u         *View
	everybody *set                          // of the kind that is asked for
	compared  map[audience.Compare][]uint32 // the values that compare
	scans     [audience.Slots]*scan
	yield     func() // or nil
}

// compare looks at the values of each slot that is compared, once for all comparisons.
func (p *planner) compare(clauses []audience.Expr) error {
	var bySlot [audience.Slots][]audience.Compare
	scanned := 0
	var refused error
	for _, c := range clauses {
		audience.Walk(c, func(term audience.Expr) {
			e, ok := term.(audience.Compare)
			if !ok || p.u.slots[e.Attr.Slot] == nil {
				return
			}
			n := p.u.slots[e.Attr.Slot].values.n
			if scanned += n; scanned > MaxScannedValues && refused == nil {
				refused = apierr.WhereTooLarge.Errorf("attribute %s has %d different values, too many to compare with %s (all comparisons together look at no more than %d)", e.Attr.Name, n, e.Op, MaxScannedValues)
			}
			if !slices.Contains(bySlot[e.Attr.Slot], e) {
				bySlot[e.Attr.Slot] = append(bySlot[e.Attr.Slot], e)
			}
		})
	}
	if refused != nil || scanned == 0 {
		return refused
	}
	p.compared = map[audience.Compare][]uint32{}
	for i, terms := range bySlot {
		if len(terms) == 0 {
			continue
		}
		found := make([][]uint32, len(terms))
		values := p.u.slots[i].values
		for v := range values.next {
			if v%64 == 0 {
				if p.ctx.Err() != nil {
					return context.Cause(p.ctx)
				}
				if p.yield != nil {
					p.yield()
				}
			}
			if !values.has(v) {
				continue
			}
			read := audience.Reading{Value: string(values.bytes(v))}
			for j := range terms {
				if terms[j].Compares(&read) {
					found[j] = append(found[j], v)
				}
			}
		}
		for j, e := range terms {
			p.compared[e] = found[j]
		}
	}
	return nil
}

// chooseScans decides which slots are scanned: those of whose users so many have to be
// gathered that it is quicker to look at every user once.
func (p *planner) chooseScans(clauses []audience.Expr) {
	const (
		perUser  = 1 // nanoseconds to gather one
		perChunk = 40
		perValue = 3 // to look at one user
	)
	var cost [audience.Slots]int
	chunks := int(p.u.Limit()>>16) + 1
	count := func(e audience.Expr, slot int) {
		values := p.valuesOf(e, slot)
		for _, v := range values {
			cost[slot] += int(p.u.slots[slot].users.count.get(v)) * perUser
		}
		cost[slot] += len(values) * min(chunks, 1+cost[slot]) * perChunk
	}
	for _, c := range clauses {
		audience.Walk(c, func(term audience.Expr) {
			if ref, ok := audience.AttrOf(term); ok && p.u.slots[ref.Slot] != nil {
				count(term, ref.Slot)
			}
		})
	}
	for slot, cost := range cost {
		if s := p.u.slots[slot]; s != nil && cost > int(p.u.Limit())*perValue && s.values.next <= maxScanTable {
			p.scans[slot] = &scan{slot: s, masks: make([]uint64, s.values.next)}
		}
	}
}

// valuesOf returns the values that a term is about, each once.
func (p *planner) valuesOf(term audience.Expr, slot int) (values []uint32) {
	switch e := term.(type) {
	case audience.Equals:
		for _, value := range e.Values {
			if v, ok := p.u.slots[slot].values.find(value); ok {
				values = append(values, v)
			}
		}
		slices.Sort(values)
		return slices.Compact(values)
	case audience.Compare:
		return p.compared[e]
	}
	return nil
}

// everyone returns a leaf of all users of the kind.
func (p *planner) everyone() *node { return leaf(p.everybody) }

// leaf returns a leaf of some sets, no two of which have a user in common.
func leaf(sets ...*set) *node {
	n := &node{sets: sets}
	for _, s := range sets {
		n.users += s.n
	}
	return n
}

func (p *planner) plan(e audience.Expr) *node {
	switch e := e.(type) {
	case audience.Not:
		n := *p.plan(e.Of)
		n.not = !n.not
		return &n
	case audience.And:
		return p.list(opAnd, e)
	case audience.Or:
		return p.list(opOr, e)
	case audience.HasTag:
		if t, ok := p.u.FindTag(e.Tag); ok {
			return leaf(p.u.tags.users.get(t))
		}
	case audience.HasAttr:
		if s := p.u.slots[e.Attr.Slot]; s != nil {
			return leaf(s.any)
		}
	case audience.Equals:
		return p.ofValues(e, e.Attr.Slot)
	case audience.Compare:
		return p.ofValues(e, e.Attr.Slot)
	}
	return leaf()
}

func (p *planner) list(op op, members []audience.Expr) *node {
	n := &node{op: op}
	for _, e := range members {
		n.of = append(n.of, p.plan(e))
	}
	return n
}

// fewSets is how many lists are asked one after the other rather than united before.
const fewSets = 8

// ofValues returns the users of the values that a term is about.
func (p *planner) ofValues(term audience.Expr, slot int) *node {
	s := p.u.slots[slot]
	if s == nil {
		return leaf()
	}
	values := p.valuesOf(term, slot)
	scan := p.scans[slot]
	if scan == nil || scan.n == maxScans {
		return p.gather(s, values)
	}
	n := &node{op: opScan, scan: scan, bit: scan.add(values)}
	for _, v := range values {
		n.users += int(s.users.count.get(v))
	}
	return n
}

// gather returns a leaf of the users of some values of a slot.
func (p *planner) gather(s *slot, values []uint32) *node {
	n := &node{}
	var lists []*set
	var single []uint32 // values whose users are threaded through a column
	listed := 0
	for _, v := range values {
		count := int(s.users.count.get(v))
		n.users += count
		switch users := s.users.large.get(v); {
		case users == nil:
			single = append(single, v)
			listed += count
		case users.isList():
			lists = append(lists, users)
			listed += count
		default:
			n.sets = append(n.sets, users)
		}
	}
	if len(single) == 0 && len(lists) <= fewSets {
		n.sets = append(n.sets, lists...)
		return n
	}
	// Sorting costs about as much as a bit for everybody once it is one in so many.
	if listed <= 256+int(p.u.Limit()/8192) {
		all := make([]uint32, 0, listed)
		for _, users := range lists {
			all = append(all, users.list...)
		}
		for _, v := range single {
			s.users.each(v, func(user uint32) { all = append(all, user) })
		}
		slices.Sort(all)
		n.sets = append(n.sets, newSet(all...))
		return n
	}
	n.plain = make([]words, p.u.Limit()>>16+1)
	put := func(user uint32) { n.plain[user>>16][user/64%uint32(len(words{}))] |= 1 << (user % 64) }
	for _, users := range lists {
		for _, user := range users.list {
			put(user)
		}
	}
	for _, v := range single {
		s.users.each(v, put)
	}
	return n
}

// order estimates how many users each part has, of everybody, and puts those that all
// must be true in the order in which it is best to ask them: the fewest first, and what
// only takes users away last.
func (n *node) order(everybody int) (users int) {
	if n.op == opAnd || n.op == opOr {
		n.users = 0
		for i, m := range n.of {
			switch users := m.order(everybody); {
			case n.op == opOr:
				n.users = min(n.users+users, everybody)
			case i == 0 || users < n.users:
				n.users = users
			}
		}
		if n.op == opAnd {
			if len(n.of) == 0 {
				n.users = everybody
			}
			slices.SortStableFunc(n.of, func(a, b *node) int {
				switch {
				case a.not == b.not:
					return cmp.Compare(a.users, b.users)
				case a.not:
					return 1
				}
				return -1
			})
		}
	}
	if n.not {
		return everybody - n.users
	}
	return n.users
}
