package index

import (
	"math/bits"
	"sync"
)

// An evaluator answers a question for one chunk of numbers after the other, so that what
// it combines stays in the cache of the processor, and a question about millions of
// users takes little memory.
//
// The users of a chunk are few, a sorted list, or words. What eval returns is valid
// until reset.
type evaluator struct {
	words  []*words // some are in use, from the first on
	lists  [][]uint16
	nWords int
	nLists int
	empty  words // between two uses
	known  []result
	scans  []scanned // nScans are of this chunk
	nScans int
	yield  func() // if not nil, called in between
	steps  int    // since the last time
}

// scanned are the users of the comparisons of a scan.
type scanned struct {
	scan  *scan
	words []*words
}

// A result is the users of a node in the chunk that is being looked at.
type result struct {
	n    *node
	list []uint16
	w    *words
}

var evaluators = sync.Pool{New: func() any { return new(evaluator) }}

func newEvaluator() *evaluator { return evaluators.Get().(*evaluator) }

func (ev *evaluator) end() {
	ev.reset()
	ev.yield = nil
	clear(ev.known[:cap(ev.known)]) // or they would keep a view
	for i := range ev.scans {
		ev.scans[i].scan = nil
	}
	evaluators.Put(ev)
}

// reset takes back everything that was returned.
func (ev *evaluator) reset() {
	ev.nWords, ev.nLists, ev.nScans, ev.known = 0, 0, 0, ev.known[:0]
}

// step counts what was done, and lets others have their turn after some of it.
func (ev *evaluator) step(n int) {
	if ev.steps += n; ev.steps >= yieldSteps && ev.yield != nil {
		ev.steps = 0
		ev.yield()
	}
}

// yieldSteps is how many parts of sets in a chunk are put together, some tens of
// microseconds, before others have their turn.
const yieldSteps = 128

// newWords returns words for a result. They are not empty.
func (ev *evaluator) newWords() *words {
	if ev.nWords == len(ev.words) {
		ev.words = append(ev.words, new(words))
	}
	ev.nWords++
	return ev.words[ev.nWords-1]
}

// newList returns an empty list with room for any.
func (ev *evaluator) newList() []uint16 {
	if ev.nLists == len(ev.lists) {
		ev.lists = append(ev.lists, make([]uint16, 0, toWords))
	}
	ev.nLists++
	return ev.lists[ev.nLists-1]
}

// scratch calls f and takes back what it made.
func (ev *evaluator) scratch(f func()) {
	nWords, nLists := ev.nWords, ev.nLists
	f()
	ev.nWords, ev.nLists = nWords, nLists
}

// part returns the users of a set in a chunk.
func (ev *evaluator) part(s *set, k uint32) ([]uint16, *words) {
	if !s.isList() {
		c := s.chunk(k)
		return c.list, c.words
	}
	some := s.within(k)
	if len(some) == 0 {
		return nil, nil
	}
	if len(some) > toWords { // a list is short, but for an app of very many
		w := ev.newWords()
		clear(w[:])
		for _, user := range some {
			w[uint16(user)/64] |= 1 << (user % 64)
		}
		return nil, w
	}
	list := ev.newList()
	for _, user := range some {
		list = append(list, uint16(user))
	}
	return list, nil
}

// count returns how many users a node has in a chunk, which are known until reset.
func (ev *evaluator) count(n *node, k uint32) int {
	list, w := ev.eval(n, k)
	ev.known = append(ev.known, result{n, list, w})
	if w != nil {
		return w.count()
	}
	return len(list)
}

// total returns how many users all of some nodes have in a chunk. It counts who the
// last node has without making that set.
func (ev *evaluator) total(nodes []*node, k uint32) int {
	last := nodes[len(nodes)-1]
	if len(nodes) == 1 {
		return ev.count(last, k)
	}
	list, w := ev.some(nodes[:len(nodes)-1], k)
	if w == nil && last.op == opScan {
		return len(ev.filter(list, last, k))
	}
	taken := last.op == opLeaf && last.not // what is in the leaf is to be taken away
	if taken {
		leaf := *last
		leaf.not = false
		last = &leaf
	}
	also, x := ev.eval(last, k)
	both, all := 0, len(list)
	switch {
	case w == nil && x == nil:
		both = ev.common(list, also)
	case w == nil:
		both = x.countOf(list)
	case x == nil:
		both = w.countOf(also)
	default:
		for i := range w {
			both += bits.OnesCount64(w[i] & x[i])
		}
	}
	if !taken {
		return both
	}
	if w != nil {
		all = w.count()
	}
	return all - both
}

// common returns how many numbers two lists have in common.
func (ev *evaluator) common(a, b []uint16) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b) > 16*len(a) {
		return len(keep(ev.newList(), a, b, false))
	}
	ev.empty.add(b)
	n := ev.empty.countOf(a)
	ev.empty.remove(b)
	return n
}

// some returns the users that all of some nodes have.
func (ev *evaluator) some(nodes []*node, k uint32) ([]uint16, *words) {
	if len(nodes) == 1 {
		return ev.eval(nodes[0], k)
	}
	return ev.and(nodes, k)
}

// fewUsers are so few of a chunk that lists of them are united as lists.
const fewUsers = 512

// eval returns the users of a node in a chunk.
func (ev *evaluator) eval(n *node, k uint32) ([]uint16, *words) {
	for _, r := range ev.known {
		if r.n == n {
			return r.list, r.w
		}
	}
	if !n.not {
		switch {
		case n.op == opAnd && len(n.of) > 0:
			return ev.and(n.of, k)
		case n.op == opLeaf && n.plain == nil && len(n.sets) == 1:
			return ev.part(n.sets[0], k)
		case n.op == opScan:
			return nil, ev.scan(n.scan, k)[n.bit]
		}
		if list, ok := ev.unite(n, k); ok {
			return list, nil
		}
	}
	w := ev.newWords()
	clear(w[:])
	ev.scratch(func() { ev.or(n, k, w) })
	return nil, w
}

// scan returns the users of each comparison of a scan.
func (ev *evaluator) scan(s *scan, k uint32) []*words {
	for _, done := range ev.scans[:ev.nScans] {
		if done.scan == s {
			return done.words
		}
	}
	if ev.nScans == len(ev.scans) {
		ev.scans = append(ev.scans, scanned{})
	}
	done := &ev.scans[ev.nScans]
	ev.nScans++
	done.scan = s
	for len(done.words) < s.n {
		done.words = append(done.words, new(words))
	}
	s.chunk(k, done.words[:s.n])
	ev.step(yieldSteps)
	return done.words
}

// unite returns the users of a node if they are few lists of few.
func (ev *evaluator) unite(n *node, k uint32) (list []uint16, ok bool) {
	if n.few(k) > fewUsers {
		return nil, false
	}
	list, other := ev.newList(), ev.newList()
	ev.scratch(func() {
		n.eachSet(func(s *set) {
			part, _ := ev.part(s, k)
			switch {
			case len(part) == 0:
			case len(list) == 0:
				list = append(list, part...)
			default:
				other = merge(other[:0], list, part)
				list, other = other, list
			}
		})
	})
	return list, true
}

// few returns how many users the sets of a node have in a chunk if they are few lists,
// else too many.
func (n *node) few(k uint32) (users int) {
	const tooMany = fewUsers + 1
	switch {
	case n.not || n.op == opAnd || n.op == opScan || n.plain != nil || len(n.sets)+len(n.of) > fewSets:
		return tooMany
	case n.op == opOr:
		for _, m := range n.of {
			users += m.few(k)
		}
		return users
	}
	for _, s := range n.sets {
		if s.isList() {
			users += len(s.within(k))
		} else if c := s.chunk(k); c.words == nil {
			users += c.n
		} else {
			return tooMany
		}
	}
	return users
}

// eachSet calls f with the sets of a node without And and not.
func (n *node) eachSet(f func(*set)) {
	for _, m := range n.of {
		m.eachSet(f)
	}
	for _, s := range n.sets {
		f(s)
	}
}

// and returns the users that all nodes have.
func (ev *evaluator) and(nodes []*node, k uint32) ([]uint16, *words) {
	for _, n := range nodes {
		if n.op == opLeaf && !n.not && n.emptyIn(k) {
			return nil, nil
		}
	}
	list, first := ev.eval(nodes[0], k)
	if first == nil && len(list) <= toWords/4 {
		for _, n := range nodes[1:] {
			if len(list) == 0 {
				break
			}
			list = ev.filter(list, n, k)
		}
		return list, nil
	}
	w := ev.newWords()
	if first != nil {
		*w = *first
	} else {
		clear(w[:])
		w.add(list)
	}
	for _, n := range nodes[1:] {
		some := false
		ev.scratch(func() { some = ev.intersect(w, n, k) })
		if !some {
			return nil, nil
		}
	}
	return nil, w
}

// emptyIn reports whether a leaf has nobody in a chunk.
func (n *node) emptyIn(k uint32) bool {
	if n.plain != nil || len(n.sets) > fewSets {
		return false
	}
	for _, s := range n.sets {
		if s.isList() && len(s.within(k)) > 0 || s.chunk(k).n > 0 {
			return false
		}
	}
	return true
}

// filter returns who of a list is in a node.
func (ev *evaluator) filter(list []uint16, n *node, k uint32) (kept []uint16) {
	kept = ev.newList()
	if n.op == opScan {
		flip := uint64(0)
		if n.not {
			flip = 1
		}
		for _, low := range list {
			if n.scan.of(k<<16|uint32(low))>>n.bit&1 != flip {
				kept = append(kept, low)
			}
		}
		return kept
	}
	ev.scratch(func() {
		not := false
		var other []uint16
		var w *words
		if n.op == opLeaf && n.plain == nil && len(n.sets) == 1 {
			other, w = ev.part(n.sets[0], k)
			not = n.not
		} else {
			other, w = ev.eval(n, k)
		}
		sparse := w == nil
		if sparse && len(other) > 16*len(list) {
			kept = keep(kept, list, other, not)
			return
		}
		if sparse {
			w = &ev.empty
			w.add(other)
		}
		flip := uint64(0)
		if not {
			flip = 1
		}
		kept = kept[:len(list)]
		n := 0
		for _, low := range list {
			kept[n] = low // and overwritten, if it is not to be kept
			n += int(w[low/64]>>(low%64)&1 ^ flip)
		}
		kept = kept[:n]
		if sparse {
			w.remove(other)
		}
	})
	return kept
}

// or puts the users of a node into w.
func (ev *evaluator) or(n *node, k uint32, w *words) {
	switch {
	case n.not:
		others := *n
		others.not = false
		list, x := ev.eval(&others, k)
		if x == nil {
			x = ev.newWords()
			clear(x[:])
			x.add(list)
		}
		for i := range w {
			w[i] |= ^x[i]
		}
	case n.op == opOr:
		for _, m := range n.of {
			ev.scratch(func() { ev.or(m, k, w) })
		}
	case n.op == opAnd && len(n.of) == 0:
		for i := range w {
			w[i] = ^uint64(0)
		}
	case n.op == opAnd || n.op == opScan:
		list, x := ev.eval(n, k)
		w.add(list)
		w.or(x)
	default:
		if n.plain != nil {
			w.or(&n.plain[k])
		}
		for _, s := range n.sets {
			nLists := ev.nLists
			list, x := ev.part(s, k)
			w.add(list)
			w.or(x)
			ev.nLists = nLists
			ev.step(1)
		}
	}
}

// intersect takes those out of w that are not in a node, and reports whether anybody is
// left.
func (ev *evaluator) intersect(w *words, n *node, k uint32) bool {
	if n.op == opLeaf && n.not {
		ev.without(w, n, k)
		return true // or nobody: it does no harm
	}
	list, x := ev.eval(n, k)
	if x == nil {
		x = ev.newWords()
		clear(x[:])
		x.add(list)
	}
	left := uint64(0)
	for i := range w {
		w[i] &= x[i]
		left |= w[i]
	}
	return left != 0
}

// without takes the users of a leaf out of w.
func (ev *evaluator) without(w *words, n *node, k uint32) {
	remove := func(list []uint16, x *words) {
		w.remove(list)
		if x != nil {
			for i := range w {
				w[i] &^= x[i]
			}
		}
	}
	if n.plain != nil {
		remove(nil, &n.plain[k])
	}
	for _, s := range n.sets {
		remove(ev.part(s, k))
	}
}
