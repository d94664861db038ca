package index

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// MaxScannedValues is how many values all comparisons of an expression together
// look at; more, such as those of an attribute that is unique to each user, are
// refused, because that would keep writers waiting and take much memory.
const MaxScannedValues = 1 << 20

// KindOf is the account type an expression is about: that of the attributes
// and tags it names, else the one asked for. A tag that no user has counts for
// neither; mixing both is 90035.
func (u *Users) KindOf(e audience.Expr, attrs *audience.Attributes, asked audience.Kind) (audience.Kind, error) {
	kind, known, err := audience.KindOf(e, attrs)
	if err != nil {
		return 0, err
	}
	audience.Walk(e, func(term audience.Expr) {
		tag, ok := term.(audience.HasTag)
		if !ok {
			return
		}
		t, exists := u.FindTag(tag.Tag)
		if !exists {
			return
		}
		switch k := u.TagKind(t); {
		case !known:
			kind, known = k, true
		case k != kind && err == nil:
			err = apierr.WrongAccountKind.Errorf("tag %q is for another account type than what is named before it", tag.Tag)
		}
	})
	if !known {
		kind = asked
	}
	return kind, err
}

// Select returns the users of a kind that an expression is true of. The bitmap is
// the caller's.
func (u *Users) Select(e audience.Expr, kind audience.Kind) (*roaring.Bitmap, error) {
	q := u.query(kind)
	s, err := q.eval(e)
	if err != nil {
		return nil, err
	}
	defer q.drop(s)
	return q.bitmap(s), nil
}

// Count is how many users of a kind an expression is true of.
func (u *Users) Count(e audience.Expr, kind audience.Kind) (uint64, error) {
	q := u.query(kind)
	s, err := q.eval(e)
	if err != nil {
		return 0, err
	}
	defer q.drop(s)
	return q.count(s), nil
}

// Estimate counts the users of a kind that all clauses are true of, and those of
// each clause on its own.
func (u *Users) Estimate(clauses []audience.Expr, kind audience.Kind) (all uint64, each []uint64, err error) {
	q := u.query(kind)
	sets, err := q.evalAll(clauses)
	if err != nil {
		return 0, nil, err
	}
	each = make([]uint64, len(sets))
	q.each(len(sets), func(i int) { each[i] = q.count(sets[i]) })
	s := q.conjunction(split(sets))
	defer q.drop(s)
	return q.count(s), each, nil
}

// query evaluates an expression among the users of one kind.
//
// A set of few users is a Roaring bitmap. A set of many is a plain one, a bit
// for each number: combining two of those is a loop over words, where Roaring
// would merge lists of up to 4096 numbers element by element.
type query struct {
	u       *Users
	all     *roaring.Bitmap
	few     uint64        // most users of a set that is kept as a Roaring bitmap
	scanned atomic.Int64  // values that comparisons have looked at
	helpers chan struct{} // goroutines that help; one processor is the caller's
}

func (u *Users) query(kind audience.Kind) *query {
	return &query{u: u, all: u.byKind[kind], few: uint64(u.Limit()) / 256, helpers: make(chan struct{}, runtime.GOMAXPROCS(0)-1)}
}

// A set is users, or all users but those. They are in bits or in plain.
type set struct {
	bits   *roaring.Bitmap
	plain  *plain
	except bool
	shared bool // bits belong to the index and must not be changed
}

func (q *query) eval(e audience.Expr) (set, error) {
	switch e := e.(type) {
	case audience.Not:
		s, err := q.eval(e.Of)
		s.except = !s.except
		return s, err
	case audience.And:
		return q.and(e)
	case audience.Or:
		return q.or(e)
	case audience.HasTag:
		if t, ok := q.u.FindTag(e.Tag); ok {
			return set{bits: q.u.tags.users[t], shared: true}, nil
		}
	case audience.HasAttr:
		if s := q.u.slots[e.Attr.Slot]; s != nil {
			return set{plain: s.any.plain(q.u.Limit())}, nil
		}
	case audience.Equals:
		return q.equals(e), nil
	case audience.Compare:
		return q.compare(e)
	}
	return set{bits: roaring.New()}, nil
}

// evalAll evaluates the members of a list.
func (q *query) evalAll(list []audience.Expr) ([]set, error) {
	sets := make([]set, len(list))
	errs := make([]error, len(list))
	q.each(len(list), func(i int) { sets[i], errs[i] = q.eval(list[i]) })
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// manyUsers are so many that what is done for several sets of them is worth
// goroutines. Tests make it less.
var manyUsers uint32 = 1 << 20

// each calls f for the numbers below n, on all processors if there are many
// users. A panic of f is one of each.
func (q *query) each(n int, f func(i int)) {
	if n < 2 || q.u.Limit() < manyUsers {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Pointer[any]
	work := func() {
		defer func() {
			if r := recover(); r != nil {
				failed.Store(&r)
			}
		}()
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	for range n - 1 {
		select {
		case q.helpers <- struct{}{}:
			wg.Go(func() {
				work()
				<-q.helpers
			})
			continue
		default:
		}
		break // no other is free
	}
	work()
	wg.Wait()
	if r := failed.Load(); r != nil {
		panic(*r)
	}
}

// split divides sets into those that are, and those that are excepted.
func split(sets []set) (in, except []set) {
	for _, s := range sets {
		if s.except {
			s.except = false
			except = append(except, s)
		} else {
			in = append(in, s)
		}
	}
	return in, except
}

func (q *query) and(list []audience.Expr) (set, error) {
	sets, err := q.evalAll(list)
	if err != nil {
		return set{}, err
	}
	return q.conjunction(split(sets)), nil
}

// conjunction intersects, and then takes the exceptions away: a and not b is a
// without b, never a complement.
func (q *query) conjunction(in, except []set) set {
	if len(in) > 0 {
		return q.without(q.intersect(in), except)
	}
	s := set{bits: q.all, shared: true}
	if len(except) > 0 {
		s = q.unite(except)
		s.except = true
	}
	return s
}

// or unites. With exceptions among the members, by De Morgan, it is all but
// what every exception excludes and no plain member holds.
func (q *query) or(list []audience.Expr) (set, error) {
	sets, err := q.evalAll(list)
	if err != nil {
		return set{}, err
	}
	in, except := split(sets)
	if len(except) == 0 {
		return q.unite(in), nil
	}
	s := q.without(q.intersect(except), in)
	s.except = true
	return s, nil
}

// isFew reports whether a set is kept as a Roaring bitmap.
func (q *query) isFew(s set) bool { return s.plain == nil && s.bits.GetCardinality() <= q.few }

// intersect intersects one set or more: few with whatever else, or all of them
// plain.
func (q *query) intersect(sets []set) set {
	if len(sets) == 1 {
		return sets[0]
	}
	least := slices.IndexFunc(sets, q.isFew)
	if least < 0 {
		p := q.own(sets[0])
		q.fold(sets[1:], p.and)
		return set{plain: p}
	}
	for i, s := range sets {
		if q.isFew(s) && s.bits.GetCardinality() < sets[least].bits.GetCardinality() {
			least = i
		}
	}
	s := sets[least]
	for i, x := range sets {
		switch {
		case i == least:
		case x.plain != nil:
			s = set{bits: x.plain.filter(s.bits, true)}
			q.drop(x)
		case s.shared:
			s = set{bits: roaring.And(s.bits, x.bits)}
		default:
			s.bits.And(x.bits)
		}
	}
	return s
}

// without takes sets away from s.
func (q *query) without(s set, sets []set) set {
	if len(sets) == 0 {
		return s
	}
	if q.isFew(s) {
		for _, x := range sets {
			switch {
			case x.plain != nil:
				s = set{bits: x.plain.filter(s.bits, false)}
				q.drop(x)
			case s.shared:
				s = set{bits: roaring.AndNot(s.bits, x.bits)}
			default:
				s.bits.AndNot(x.bits)
			}
		}
		return s
	}
	p := q.own(s)
	q.fold(sets, p.andNot)
	return set{plain: p}
}

// fold calls f with the words of each of some sets, which are not needed after it.
// It has four sets plain at a time for each processor.
func (q *query) fold(sets []set, f func(words []uint64)) {
	for some := range slices.Chunk(sets, 4*(1+cap(q.helpers))) {
		plains := make([]*plain, len(some))
		q.each(len(some), func(i int) { plains[i] = q.own(some[i]) })
		for _, x := range plains {
			f(x.words)
			x.drop()
		}
	}
}

// unite unites sets, none of them too.
func (q *query) unite(sets []set) set {
	switch len(sets) {
	case 0:
		return set{bits: roaring.New()}
	case 1:
		return sets[0]
	}
	sum := uint64(0)
	var plains []set
	var bits, overwriting, adding []*roaring.Bitmap
	for _, s := range sets {
		if s.plain != nil {
			plains = append(plains, s)
			continue
		}
		sum += s.bits.GetCardinality()
		bits = append(bits, s.bits)
	}
	if len(plains) == 0 && sum <= q.few {
		return set{bits: roaring.FastOr(bits...)}
	}
	for _, b := range bits {
		if hasBitmapContainers(b) {
			overwriting = append(overwriting, b)
		} else {
			adding = append(adding, b)
		}
	}
	// Many with containers of bits are small and lie apart, or there would be more
	// users in them than there are.
	if len(overwriting) > 4 {
		overwriting = []*roaring.Bitmap{roaring.FastOr(overwriting...)}
	}
	for _, b := range overwriting {
		plains = append(plains, set{bits: b, shared: true})
	}
	var p *plain
	if len(plains) == 0 {
		p = newPlain(q.u.Limit())
	} else {
		p = q.own(plains[0])
		q.fold(plains[1:], p.or)
	}
	for _, b := range adding {
		b.WriteDenseTo(p.words)
	}
	return set{plain: p}
}

// hasBitmapContainers reports whether WriteDenseTo overwrites what is there; else it
// only adds.
func hasBitmapContainers(b *roaring.Bitmap) bool { return b.Stats().BitmapContainers > 0 }

// own is a set as a plain one that may be changed.
func (q *query) own(s set) *plain {
	if s.plain != nil {
		return s.plain
	}
	p := newPlain(q.u.Limit())
	s.bits.WriteDenseTo(p.words)
	return p
}

// drop gives back the memory of a set that is not needed any more.
func (q *query) drop(s set) {
	if s.plain != nil {
		s.plain.drop()
	}
}

// equals unites the users of some values.
func (q *query) equals(e audience.Equals) set {
	s := q.u.slots[e.Attr.Slot]
	if s == nil {
		return set{bits: roaring.New()}
	}
	var numbers []uint32
	for _, value := range e.Values {
		if v, ok := s.values.find(value); ok {
			numbers = append(numbers, v)
		}
	}
	return q.usersOf(s, numbers)
}

// usersOf unites the users of values by number.
func (q *query) usersOf(s *slot, values []uint32) set {
	var sets []set
	var listed []uint32
	for _, v := range values {
		if bits := s.users.many[v]; bits != nil {
			sets = append(sets, set{bits: bits, shared: true})
		} else {
			s.users.each(v, func(n uint32) { listed = append(listed, n) })
		}
	}
	if len(listed) > 0 {
		slices.Sort(listed)
		sets = append(sets, set{bits: roaring.BitmapOf(listed...)})
	}
	return q.unite(sets)
}

// compare unites the users of all values that compare.
func (q *query) compare(e audience.Compare) (set, error) {
	s := q.u.slots[e.Attr.Slot]
	if s == nil {
		return set{bits: roaring.New()}, nil
	}
	if q.scanned.Add(int64(s.values.n)) > MaxScannedValues {
		return set{}, apierr.WhereTooLarge.Errorf("attribute %s has %d different values, too many to compare with %s (all comparisons together look at no more than %d)", e.Attr.Name, s.values.n, e.Op, MaxScannedValues)
	}
	var values []uint32
	for v := range s.values.next {
		if s.values.has(v) && e.Compares(string(s.values.bytes(v))) {
			values = append(values, v)
		}
	}
	return q.usersOf(s, values), nil
}

// count is how many users a set has.
func (q *query) count(s set) uint64 {
	switch {
	case s.except && s.plain != nil:
		rest := q.rest(s.plain)
		defer rest.drop()
		return rest.count()
	case s.except:
		return q.all.GetCardinality() - q.all.AndCardinality(s.bits)
	case s.plain != nil:
		return s.plain.count()
	}
	return s.bits.GetCardinality()
}

// bitmap is a set as a bitmap of the caller's.
func (q *query) bitmap(s set) *roaring.Bitmap {
	switch {
	case s.except && s.plain != nil:
		rest := q.rest(s.plain)
		defer rest.drop()
		return roaring.FromDense(rest.words, true)
	case s.except:
		return roaring.AndNot(q.all, s.bits)
	case s.plain != nil:
		return roaring.FromDense(s.plain.words, true)
	case s.shared:
		return s.bits.Clone()
	}
	return s.bits
}

// rest is all users but some.
func (q *query) rest(p *plain) *plain {
	rest := q.own(set{bits: q.all})
	rest.andNot(p.words)
	return rest
}

// Traits are what expressions ask about user n.
func (u *Users) Traits(n uint32) *audience.Traits {
	t := &audience.Traits{Kind: u.Kind(n)}
	for i := range t.Values {
		t.Values[i] = string(u.Value(n, i))
	}
	t.Tags = u.TagsOf(n)
	return t
}

// TagsOf returns the tags of user n, in order; nil if there are none.
func (u *Users) TagsOf(n uint32) (tags []string) {
	var buf [audience.MaxTags]uint16
	for _, tag := range u.TagList(n, buf[:0]) {
		tags = append(tags, string(u.TagName(uint32(tag))))
	}
	slices.Sort(tags)
	return tags
}
