package index

import (
	"cmp"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// MaxScannedValues is how many different values of an attribute a comparison
// looks at; an attribute with more, such as one that is unique to each user, is
// refused there, because it would keep writers waiting.
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

// Select gives the users of a kind that an expression is true of. The bitmap is
// the caller's.
func (u *Users) Select(e audience.Expr, kind audience.Kind) (*roaring.Bitmap, error) {
	q := query{u, u.byKind[kind]}
	s, err := q.eval(e)
	if err != nil {
		return nil, err
	}
	return q.owned(s), nil
}

// Count is how many users of a kind an expression is true of.
func (u *Users) Count(e audience.Expr, kind audience.Kind) (uint64, error) {
	q := query{u, u.byKind[kind]}
	return q.count(e)
}

// query evaluates an expression among the users of one kind.
type query struct {
	u   *Users
	all *roaring.Bitmap
}

// A set is a bitmap, or all users but those in it. A shared bitmap belongs to
// the index and must not be changed.
type set struct {
	bits   *roaring.Bitmap
	except bool
	shared bool
}

// owned is the set as a bitmap of the caller's.
func (q *query) owned(s set) *roaring.Bitmap {
	switch {
	case s.except:
		return roaring.AndNot(q.all, s.bits)
	case s.shared:
		return s.bits.Clone()
	}
	return s.bits
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
			return set{bits: s.any, shared: true}, nil
		}
	case audience.Equals:
		return q.equals(e), nil
	case audience.Compare:
		return q.compare(e)
	}
	return set{bits: roaring.New()}, nil
}

// evalAll evaluates the members of a list.
func (q *query) evalAll(list []audience.Expr) (sets []set, err error) {
	sets = make([]set, len(list))
	for i, e := range list {
		if sets[i], err = q.eval(e); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// and intersects, the smallest first, and then takes the exceptions away: a and
// not b is a without b, never a complement.
func (q *query) and(list []audience.Expr) (set, error) {
	plain, except, err := q.split(list)
	if err != nil {
		return set{}, err
	}
	if len(plain) == 0 {
		if len(except) == 0 {
			return set{bits: q.all, shared: true}, nil
		}
		s := union(except)
		s.except = true
		return s, nil
	}
	s := plain[0]
	for _, x := range plain[1:] {
		s = s.with(x.bits, (*roaring.Bitmap).And, roaring.And)
	}
	for _, x := range except {
		s = s.with(x.bits, (*roaring.Bitmap).AndNot, roaring.AndNot)
	}
	return s, nil
}

// split evaluates the members of a conjunction: plain sets, smallest first, and
// the exceptions as the sets to take away.
func (q *query) split(list []audience.Expr) (plain, except []set, err error) {
	sets, err := q.evalAll(list)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range sets {
		if s.except {
			except = append(except, s)
		} else {
			plain = append(plain, s)
		}
	}
	if len(plain) > 1 {
		size := make(map[*roaring.Bitmap]uint64, len(plain))
		for _, s := range plain {
			size[s.bits] = s.bits.GetCardinality()
		}
		slices.SortStableFunc(plain, func(a, b set) int { return cmp.Compare(size[a.bits], size[b.bits]) })
	}
	return plain, except, nil
}

// with combines in place if the bitmap is ours, else into a new one.
func (s set) with(x *roaring.Bitmap, inPlace func(*roaring.Bitmap, *roaring.Bitmap), fresh func(a, b *roaring.Bitmap) *roaring.Bitmap) set {
	if s.shared {
		return set{bits: fresh(s.bits, x)}
	}
	inPlace(s.bits, x)
	return s
}

// or unites. With exceptions among the members, by De Morgan, it is all but
// what every exception excludes and no plain member holds.
func (q *query) or(list []audience.Expr) (set, error) {
	plain, except, err := q.split(list)
	if err != nil {
		return set{}, err
	}
	if len(except) == 0 {
		return union(plain), nil
	}
	s := set{bits: except[0].bits, shared: except[0].shared}
	for _, x := range except[1:] {
		s = s.with(x.bits, (*roaring.Bitmap).And, roaring.And)
	}
	for _, x := range plain {
		s = s.with(x.bits, (*roaring.Bitmap).AndNot, roaring.AndNot)
	}
	s.except = true
	return s, nil
}

// union unites bitmaps.
func union(sets []set) set {
	switch len(sets) {
	case 0:
		return set{bits: roaring.New()}
	case 1:
		return set{bits: sets[0].bits, shared: sets[0].shared}
	case 2:
		return set{bits: roaring.Or(sets[0].bits, sets[1].bits)}
	}
	bits := make([]*roaring.Bitmap, len(sets))
	for i, s := range sets {
		bits[i] = s.bits
	}
	return set{bits: roaring.FastOr(bits...)}
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
	return s.usersOf(numbers)
}

// usersOf unites the users of values by number.
func (s *slot) usersOf(values []uint32) set {
	var many []set
	var few []uint32
	for _, v := range values {
		if bits := s.users.many[v]; bits != nil {
			many = append(many, set{bits: bits, shared: true})
		} else {
			s.users.each(v, func(n uint32) { few = append(few, n) })
		}
	}
	if len(few) > 0 {
		slices.Sort(few)
		many = append(many, set{bits: roaring.BitmapOf(few...)})
	}
	return union(many)
}

// compare unites the users of all values that compare.
func (q *query) compare(e audience.Compare) (set, error) {
	s := q.u.slots[e.Attr.Slot]
	if s == nil {
		return set{bits: roaring.New()}, nil
	}
	if s.values.n > MaxScannedValues {
		return set{}, apierr.WhereTooLarge.Errorf("attribute %s has %d different values, too many to compare with %s (at most %d)", e.Attr.Name, s.values.n, e.Op, MaxScannedValues)
	}
	var values []uint32
	for v := range s.values.next {
		if s.values.has(v) && e.Compares(string(s.values.bytes(v))) {
			values = append(values, v)
		}
	}
	return s.usersOf(values), nil
}

// count counts without making the last bitmap.
func (q *query) count(e audience.Expr) (uint64, error) {
	and, ok := e.(audience.And)
	if !ok || len(and) < 2 {
		s, err := q.eval(e)
		if err != nil {
			return 0, err
		}
		return q.size(s), nil
	}
	plain, except, err := q.split(and)
	if err != nil {
		return 0, err
	}
	if len(plain) == 0 {
		return q.size(set{bits: union(except).bits, except: true}), nil
	}
	s := plain[0]
	for i, x := range plain[1:] {
		if i == len(plain)-2 && len(except) == 0 {
			return s.bits.AndCardinality(x.bits), nil
		}
		s = s.with(x.bits, (*roaring.Bitmap).And, roaring.And)
	}
	for i, x := range except {
		if i == len(except)-1 {
			return s.bits.GetCardinality() - s.bits.AndCardinality(x.bits), nil
		}
		s = s.with(x.bits, (*roaring.Bitmap).AndNot, roaring.AndNot)
	}
	return s.bits.GetCardinality(), nil
}

func (q *query) size(s set) uint64 {
	if !s.except {
		return s.bits.GetCardinality()
	}
	return q.all.GetCardinality() - q.all.AndCardinality(s.bits)
}

// Traits are what expressions ask about user n.
func (u *Users) Traits(n uint32) *audience.Traits {
	t := &audience.Traits{Kind: u.Kind(n)}
	for i := range t.Values {
		t.Values[i] = string(u.Value(n, i))
	}
	var buf [audience.MaxTags]uint16
	for _, tag := range u.TagList(n, buf[:0]) {
		t.Tags = append(t.Tags, string(u.TagName(uint32(tag))))
	}
	slices.Sort(t.Tags)
	return t
}

// Values lists the values of a slot that begin with a prefix, those of most
// users first, at most limit; total is how many there are.
func (u *Users) Values(i int, prefix string, limit int) (top []audience.ValueCount, total int) {
	s := u.slots[i]
	if s == nil {
		return nil, 0
	}
	return topOf(s.values, prefix, limit, func(v uint32) uint64 { return uint64(s.users.count.get(v)) })
}

// Tags lists the tags that begin with a prefix, those of most users first, at
// most limit; total is how many there are.
func (u *Users) Tags(prefix string, limit int) (top []audience.ValueCount, total int) {
	top, total = topOf(u.tags.names, prefix, limit, func(t uint32) uint64 { return u.tags.users[t].GetCardinality() })
	for i := range top {
		t, _ := u.FindTag(top[i].Value)
		top[i].Kind = u.TagKind(t)
	}
	return top, total
}

// topOf keeps the best limit entries in a sorted slice.
func topOf(names *strtab, prefix string, limit int, count func(uint32) uint64) (top []audience.ValueCount, total int) {
	order := func(a, b audience.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	}
	for v := range names.next {
		if !names.has(v) {
			continue
		}
		b := names.bytes(v)
		if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
			continue
		}
		total++
		c := count(v)
		if len(top) == limit && (limit == 0 || c < top[limit-1].Count) {
			continue
		}
		e := audience.ValueCount{Value: string(b), Count: c}
		at, _ := slices.BinarySearchFunc(top, e, order)
		if at == limit {
			continue
		}
		top = slices.Insert(top, at, e)
		top = top[:min(len(top), limit)]
	}
	return top, total
}
