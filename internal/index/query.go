package index

import (
	"context"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// MaxScannedValues is how many values all comparisons of an expression together
// look at; more, such as those of an attribute that is unique to each user, are
// refused, because that would take long and much memory.
const MaxScannedValues = 1 << 20

// KindOf returns the account type an expression is about: that of the attributes
// and tags it names, else the one asked for. A tag that no user has counts for
// neither; mixing both is 90035.
func (u *View) KindOf(e audience.Expr, attrs *audience.Attributes, asked audience.Kind) (audience.Kind, error) {
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

// Count returns how many users of a kind an expression is true of.
func (u *View) Count(ctx context.Context, e audience.Expr, kind audience.Kind) (uint64, error) {
	a, err := u.Audience(ctx, []audience.Expr{e}, kind, nil)
	if err != nil {
		return 0, err
	}
	all, _, err := a.Count(ctx)
	return all, err
}

// An Audience is the users of a kind that some clauses are true of, as they are in a
// view.
type Audience struct {
	u       *View
	yield   func() // or nil
	cost    int    // as Cost estimates it
	clauses []*node
	known   map[int]int // how many users clauses have of which that is known
	all     *node
	counts  []int // by chunk, once counted
}

// Audience prepares a question: it looks up what the clauses name, once, and scans the
// values of attributes that are compared. An error is 95002, or the context's. With
// yield, which is called every some tens of microseconds, all is done by one goroutine:
// it is for a caller who holds no lock and leaves time to others.
func (u *View) Audience(ctx context.Context, clauses []audience.Expr, kind audience.Kind, yield func()) (*Audience, error) {
	p := planner{ctx: ctx, u: u, everybody: u.byKind[kind], yield: yield}
	if err := p.compare(clauses); err != nil {
		return nil, err
	}
	p.chooseScans(clauses)
	// Nobody else than the users of the kind is in a set of theirs, but whoever is not
	// in a set may be of another one.
	a := &Audience{u: u, yield: yield, cost: u.Cost(clauses), all: &node{op: opAnd}, known: map[int]int{}}
	for _, c := range clauses {
		n := p.plan(c)
		if !n.isKnown() && !n.positive() {
			n = &node{op: opAnd, of: []*node{n, p.everyone()}}
		}
		a.clauses = append(a.clauses, n)
		a.all.of = append(a.all.of, n)
	}
	if !slices.ContainsFunc(a.clauses, (*node).positive) {
		a.all.of = append(a.all.of, p.everyone())
	}
	everybody := p.everybody.n
	for i, n := range a.clauses {
		if users := n.order(everybody); n.isKnown() {
			a.known[i] = users
		}
	}
	a.all.order(everybody)
	return a, nil
}

// Cost estimates how long a question takes on one processor, in nanoseconds.
func (u *View) Cost(clauses []audience.Expr) (cost int) {
	const (
		perUser  = 1 // in a list
		perChunk = 500
		perValue = 150 // that is compared
		perScan  = 4   // to look at the value of a user
	)
	chunks := int(u.Limit()>>16) + 1
	gather := func(users int) int {
		if users > chunks*toWords { // words, mostly
			users = 0
		}
		return min(users, chunks)*perChunk/4 + users*perUser
	}
	var perSlot [audience.Slots]int
	for _, c := range clauses {
		audience.Walk(c, func(term audience.Expr) {
			cost += chunks * perChunk
			if tag, ok := term.(audience.HasTag); ok {
				if t, ok := u.FindTag(tag.Tag); ok {
					cost += gather(int(u.TagUsers(t)))
				}
				return
			}
			ref, _ := audience.AttrOf(term)
			s := u.slots[ref.Slot]
			if s == nil {
				return
			}
			switch e := term.(type) {
			case audience.Equals:
				for _, value := range e.Values {
					if v, ok := s.values.find(value); ok {
						perSlot[ref.Slot] += gather(int(s.users.count.get(v)))
					}
				}
			case audience.Compare:
				cost += s.values.n * perValue
				perSlot[ref.Slot] += s.any.n*perUser + min(s.values.n*chunks, s.any.n)*perChunk/4
			}
		})
	}
	for _, gathered := range perSlot { // or the slot is scanned
		cost += min(gathered, int(u.Limit())*perScan)
	}
	return cost
}

// Count returns how many users the audience has, and how many each of its clauses is
// true of.
func (a *Audience) Count(ctx context.Context) (all uint64, each []uint64, err error) {
	if n, known := a.known[0]; known && len(a.clauses) == 1 {
		return uint64(n), []uint64{uint64(n)}, nil
	}
	each = make([]uint64, len(a.clauses))
	var counted []int // clauses that are not known without looking
	for i := range a.clauses {
		if n, known := a.known[i]; known {
			each[i] = uint64(n)
		} else {
			counted = append(counted, i)
		}
	}
	a.counts = make([]int, a.chunks())
	perChunk := make([][]int, len(a.counts))
	err = a.each(ctx, func(ev *evaluator, k uint32) {
		if len(counted) > 0 && len(a.clauses) > 1 {
			perChunk[k] = make([]int, len(counted))
			for j, i := range counted {
				perChunk[k][j] = ev.count(a.clauses[i], k)
			}
		}
		a.counts[k] = ev.total(a.all.of, k)
		ev.reset()
	})
	if err != nil {
		return 0, nil, err
	}
	for k, n := range a.counts {
		all += uint64(n)
		for j, n := range perChunk[k] {
			each[counted[j]] += uint64(n)
		}
	}
	if len(counted) == 1 && len(a.clauses) == 1 {
		each[0] = all
	}
	return all, each, nil
}

// Sample returns some users of an audience, evenly spread over it.
func (a *Audience) Sample(ctx context.Context, limit int) (users []uint32, err error) {
	if a.counts == nil && limit > 0 {
		a.counts = make([]int, a.chunks())
		if err := a.each(ctx, func(ev *evaluator, k uint32) {
			a.counts[k] = ev.total(a.all.of, k)
			ev.reset()
		}); err != nil {
			return nil, err
		}
	}
	total := 0
	for _, n := range a.counts {
		total += n
	}
	limit = min(limit, total)
	ev := newEvaluator()
	defer ev.end()
	before := 0
	for k, n := range a.counts {
		var low []uint16
		for len(users) < limit {
			rank := len(users) * total / limit
			if rank >= before+n {
				break
			}
			if low == nil {
				list, w := ev.eval(a.all, uint32(k))
				if low = list; w != nil {
					low = w.append(nil)
				}
			}
			users = append(users, uint32(k)<<16|uint32(low[rank-before]))
		}
		ev.reset()
		before += n
	}
	return users, nil
}

// Select returns the users of an audience.
func (a *Audience) Select(ctx context.Context) (*Selection, error) {
	chunks := make([]setChunk, a.chunks())
	err := a.each(ctx, func(ev *evaluator, k uint32) {
		chunks[k] = ownChunk(ev.eval(a.all, k))
		ev.reset()
	})
	return selection(chunks), err
}

// ownChunk returns a chunk that is a copy of what an evaluator found.
func ownChunk(list []uint16, w *words) setChunk {
	if w == nil {
		return setChunk{n: len(list), list: slices.Clone(list)}
	}
	n := w.count()
	if n <= toWords {
		return setChunk{n: n, list: w.append(make([]uint16, 0, n))}
	}
	own := *w
	return setChunk{n: n, words: &own}
}

func selection(chunks []setChunk) *Selection {
	s := &Selection{}
	for k, c := range chunks {
		s.users.n += c.n
		*s.users.chunks.edit(uint32(k)) = c
	}
	return s
}

// Everyone returns the accounts of all kinds. Yield is that of Audience.
func (u *View) Everyone(ctx context.Context, yield func()) (*Selection, error) {
	chunks := make([]setChunk, chunksOf(u.Limit()))
	err := parallel(ctx, 0, len(chunks), yield, func(ev *evaluator, k uint32) {
		all := ev.newWords()
		clear(all[:])
		for _, users := range u.byKind {
			if list, w := ev.part(users, k); w != nil {
				all.or(w)
			} else {
				all.add(list)
			}
		}
		chunks[k] = ownChunk(nil, all)
		ev.reset()
	})
	return selection(chunks), err
}

// chunks returns how many chunks the numbers of all users have.
func (a *Audience) chunks() int { return chunksOf(a.u.Limit()) }

func chunksOf(limit uint32) int { return int((uint64(limit) + 1<<16 - 1) >> 16) }

// longCost is the cost in nanoseconds from which a question is worth goroutines. Tests make
// it less.
var longCost = 500_000

// asked is how many questions are being answered in this process.
var asked atomic.Int32

// each calls f for each chunk, on all processors if it takes long, no time is to be left
// to others and no other question is being answered: else goroutines only wait for each
// other.
func (a *Audience) each(ctx context.Context, f func(ev *evaluator, k uint32)) error {
	if a.yield != nil {
		return parallel(ctx, 0, a.chunks(), a.yield, f)
	}
	helpers := 0
	defer asked.Add(-1)
	if asked.Add(1) == 1 && a.cost >= longCost {
		helpers = min(runtime.GOMAXPROCS(0), a.chunks()) - 1
	}
	return parallel(ctx, helpers, a.chunks(), nil, f)
}

// A Selection is users by number.
type Selection struct{ users set }

// Len returns how many users there are.
func (s *Selection) Len() int { return s.users.n }

// Bytes returns the memory of the selection.
func (s *Selection) Bytes() int64 { return s.users.bytesHeld() }

// From returns the users from a number on, in order.
func (s *Selection) From(user uint32) iter.Seq[uint32] { return s.users.from(user) }

// Chunk returns the users whose numbers have an upper half: the lower halves, sorted, or a
// bit for each of them. Neither may be changed.
func (s *Selection) Chunk(upper uint32) (lower []uint16, bits *[1 << 16 / 64]uint64) {
	c := s.users.chunk(upper)
	return c.list, (*[1 << 16 / 64]uint64)(c.words)
}

// Chunks is one above the highest upper half that a number of the selection may have.
func (s *Selection) Chunks() uint32 { return uint32(s.users.chunks.len()) }

// Traits returns what expressions ask about user n.
func (u *View) Traits(n uint32) *audience.Traits {
	t := &audience.Traits{Kind: u.Kind(n)}
	for i := range t.Values {
		t.Values[i] = string(u.Value(n, i))
	}
	t.Tags = u.TagsOf(n)
	return t
}

// TagsOf returns the tags of user n, in order; nil if there are none.
func (u *View) TagsOf(n uint32) (tags []string) {
	var buf [audience.MaxTags]uint16
	for _, tag := range u.TagList(n, buf[:0]) {
		tags = append(tags, string(u.TagName(uint32(tag))))
	}
	slices.Sort(tags)
	return tags
}
