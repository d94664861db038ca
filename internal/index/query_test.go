package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

var testAttrs = audience.Attributes{{Name: "plan"}, {Name: "region"}, {Name: "app build"}, {Name: "since"}, {Name: "id"}}

// randomExpr makes an expression of some depth over testAttrs and tags t0 to t19.
func randomExpr(r *rand.Rand, depth int) audience.Expr {
	if depth > 0 {
		n := r.IntN(4)
		list := make([]audience.Expr, n)
		for i := range list {
			list[i] = randomExpr(r, depth-1)
		}
		switch r.IntN(4) {
		case 0:
			return audience.And(list)
		case 1:
			return audience.Or(list)
		case 2:
			return audience.Not{Of: randomExpr(r, depth-1)}
		}
	}
	slot := r.IntN(5)
	ref := audience.Ref{Slot: slot, Name: testAttrs[slot].Name}
	switch r.IntN(6) {
	case 0, 1:
		return audience.HasTag{Tag: fmt.Sprintf("t%d", r.IntN(20))}
	case 2:
		return audience.HasAttr{Attr: ref}
	case 3:
		op := []string{"<", "<=", ">", ">=", "=="}[r.IntN(5)]
		to := audience.Quantity{Number: float64(r.IntN(100))}
		if r.IntN(2) == 0 {
			to = audience.Quantity{Moment: time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), 0, 0, 0, 0, time.UTC)}
		}
		return audience.Compare{Attr: ref, Op: op, To: to}
	}
	e := audience.Equals{Attr: ref}
	for range 1 + r.IntN(3) {
		e.Values = append(e.Values, randomValue(r, slot))
	}
	return e
}

func randomValue(r *rand.Rand, slot int) string {
	switch slot {
	case 0:
		return []string{"gold", "silver"}[r.IntN(2)]
	case 1:
		return fmt.Sprintf("r%d", r.IntN(30))
	case 2:
		return fmt.Sprint(r.IntN(100))
	case 3:
		return fmt.Sprintf("2026-%02d-%02d", 1+r.IntN(12), 1+r.IntN(28))
	}
	return fmt.Sprintf("id%d", r.IntN(2000))
}

// TestQueriesAgreeWithUsers changes users at random and asks random
// expressions: counting, selecting and asking each user must agree.
func TestQueriesAgreeWithUsers(t *testing.T) {
	t.Run("few", func(t *testing.T) { queriesAgree(t, 0, 60) })
	t.Run("among many", func(t *testing.T) { // several containers of a bitmap, and goroutines
		defer func(cost int) { longCost = cost }(longCost)
		longCost = 0
		queriesAgree(t, 200_000, 2)
	})
}

// TestUnitesManyValues: those of a slot lie side by side, as dates of signing up
// do, so many sets have a container of bits.
func TestUnitesManyValues(t *testing.T) {
	const users, days = 300_000, 30
	u := NewUsers()
	for i := range users {
		u.set(add(u, fmt.Sprint("user", i), audience.UserID, 1), 3, fmt.Sprintf("2026-06-%02d", 1+i*days/users))
	}
	since := audience.Ref{Slot: 3, Name: "since"}
	for from := 1; from <= days; from++ {
		e := audience.Compare{Attr: since, Op: ">=", To: audience.Quantity{Moment: time.Date(2026, 6, from, 0, 0, 0, 0, time.UTC)}}
		if got, err := u.Count(t.Context(), e, audience.UserID); err != nil || got != uint64(users/days*(days+1-from)) {
			t.Fatalf("%s selects %d (%v), want %d", e, got, err, users/days*(days+1-from))
		}
	}
}

// TestScansAreBounded: all comparisons of an expression look at so many values
// together.
func TestScansAreBounded(t *testing.T) {
	u := NewUsers()
	for i := range MaxScannedValues/2 + 1 {
		u.set(add(u, fmt.Sprint("user", i), audience.UserID, 1), 2, fmt.Sprint(i))
	}
	build := audience.Compare{Attr: audience.Ref{Slot: 2, Name: "app build"}, Op: ">=", To: audience.Quantity{Number: 7}}
	if n, err := u.Count(t.Context(), build, audience.UserID); err != nil || n != MaxScannedValues/2+1-7 {
		t.Errorf("one comparison selects %d, %v", n, err)
	}
	_, err := u.Count(t.Context(), audience.And{build, audience.Or{build}}, audience.UserID)
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Kind != apierr.WhereTooLarge {
		t.Errorf("two comparisons: %v, want 95002", err)
	}
}

// queriesAgree begins with some users who are in a few large sets and, by their
// numbers, spread the others.
func queriesAgree(t *testing.T, others, rounds int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	u := NewUsers()
	for i := range others {
		k := add(u, fmt.Sprint("other", i), audience.UserID, 1)
		u.set(k, 0, []string{"gold", "silver", ""}[r.IntN(3)])
		u.set(k, 1, fmt.Sprint("r", min(r.IntN(30), r.IntN(30))))
		if i%3 == 0 {
			u.setTags(k, []uint16{uint16(u.addTag(fmt.Sprintf("t%d", min(r.IntN(20), r.IntN(20))), audience.UserID))})
		}
		if i%160 == 0 {
			add(u, fmt.Sprint("user", i/160), audience.UserID, 1)
		}
	}
	// Questions whose version must tell of every change.
	watched := []struct {
		expr           audience.Expr
		version, count uint64
	}{
		{expr: audience.HasTag{Tag: "t1"}},
		{expr: audience.Not{Of: audience.HasTag{Tag: "t3"}}},
		{expr: audience.HasAttr{Attr: audience.Ref{Slot: 4, Name: "id"}}},
		{expr: audience.Or{audience.HasTag{Tag: "rare"}, audience.HasTag{Tag: "t19"}}},
		{expr: audience.And{}},
	}
	for step := range rounds {
		if step%6 == 0 || step%6 == 2 { // a tag that comes and goes with one user
			k, ok := u.Find("rare")
			if !ok {
				k = add(u, "rare", audience.UserID, 1)
			}
			if step%6 == 0 {
				u.setTags(k, []uint16{uint16(u.addTag("rare", audience.UserID))})
			} else {
				u.setTags(k, nil)
			}
		}
		for i, was := range watched {
			version := u.Version(was.expr)
			count, err := u.Count(t.Context(), was.expr, audience.UserID)
			if err != nil || version == was.version && count != was.count {
				t.Fatalf("%s selects %d (%v) and before %d, its version is %d all the time", was.expr, count, err, was.count, version)
			}
			watched[i].version, watched[i].count = version, count
		}
		for range (step + 1) % 2 * 300 {
			n := r.Uint32N(1200)
			a := fmt.Sprint("user", n)
			k, ok := u.Find(a)
			switch {
			case !ok:
				k = add(u, a, audience.UserID, 1)
			case r.IntN(20) == 0:
				u.remove(k, 0)
				continue
			}
			slot := r.IntN(5)
			v := ""
			if r.IntN(4) > 0 {
				v = randomValue(r, slot)
			}
			u.set(k, slot, v)
			var list []uint16
			for range r.IntN(6) {
				list = append(list, uint16(u.addTag(fmt.Sprintf("t%d", r.IntN(20)), audience.UserID)))
			}
			slices.Sort(list)
			u.setTags(k, slices.Compact(list))
		}
		traits := make([]*audience.Traits, u.Limit())
		for n := range u.Limit() {
			if u.Has(n) {
				traits[n] = u.Traits(n)
			}
		}
		for range 40 {
			e := randomExpr(r, 3)
			var want []uint32
			for n, has := range traits {
				if has != nil && e.Matches(has) {
					want = append(want, uint32(n))
				}
			}
			clauses := audience.Clauses(e)
			a, err := u.Audience(t.Context(), clauses, audience.UserID, []func(){nil, func() {}}[r.IntN(2)])
			if err != nil {
				t.Fatal(err)
			}
			selected, err := a.Select(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			from := uint32(0)
			if r.IntN(2) == 0 {
				from = r.Uint32N(u.Limit())
			}
			i, _ := slices.BinarySearch(want, from)
			if got := slices.Collect(selected.From(from)); !slices.Equal(got, want[i:]) || selected.Len() != len(want) {
				t.Fatalf("Select(%s) has %d users, from %d on %v; want %d, %v", e, selected.Len(), from, got, len(want), want[i:])
			}
			if c, err := u.Count(t.Context(), e, audience.UserID); err != nil || c != uint64(len(want)) {
				t.Fatalf("Count(%s) = %d, %v; want %d", e, c, err, len(want))
			}
			all, each, err := a.Count(t.Context())
			if err != nil || all != uint64(len(want)) {
				t.Fatalf("Estimate(%s) = %d, %v; want %d", e, all, err, len(want))
			}
			limit := r.IntN(20)
			sample, err := a.Sample(t.Context(), limit)
			if err != nil || len(sample) != min(limit, len(want)) {
				t.Fatalf("Sample(%s) has %d users, %v; want %d", e, len(sample), err, min(limit, len(want)))
			}
			for i, n := range sample {
				if n != want[i*len(want)/len(sample)] {
					t.Fatalf("Sample(%s) = %v", e, sample)
				}
			}
			for i, c := range clauses {
				if n, err := u.Count(t.Context(), c, audience.UserID); err != nil || n != each[i] {
					t.Fatalf("Estimate(%s): clause %s has %d, want %d (%v)", e, c, each[i], n, err)
				}
			}
			not, err := u.Count(t.Context(), audience.Not{Of: e}, audience.UserID)
			if err != nil || not+uint64(len(want)) != uint64(u.Len()) {
				t.Fatalf("Count(%s) and its negation add up to %d, there are %d users", e, not+uint64(len(want)), u.Len())
			}
			again, err := audience.ParseWhere(e.String(), &testAttrs)
			if err != nil {
				t.Fatalf("%s does not parse: %v", e, err)
			}
			if c, err := u.Count(t.Context(), again, audience.UserID); err != nil || c != uint64(len(want)) {
				t.Fatalf("Count(%s), parsed from its own text, = %d, %v; want %d", e, c, err, len(want))
			}
		}
	}
	for t2 := range u.tags.names.next {
		if set := u.tags.users.get(t2); set != nil && set.n == 0 {
			t.Errorf("tag %d has no user and is still there", t2)
		}
	}
}

// TestManyComparisons: as many comparisons of one attribute as an expression may have,
// among users of several chunks, agree with asking each user.
func TestManyComparisons(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const users = 150_000
	u := NewUsers()
	for i := range users {
		n := add(u, fmt.Sprint("user", i), audience.UserID, 1)
		if r.IntN(5) > 0 {
			u.set(n, 2, fmt.Sprint(r.IntN(1000)))
		}
		if i%1000 == 0 {
			u.setTags(n, []uint16{uint16(u.addTag("rare", audience.UserID))})
		}
	}
	u.remove(77, 1)
	build := audience.Ref{Slot: 2, Name: "app build"}
	for _, terms := range []int{1, 3, 5, audience.MaxTerms - 1} {
		var any audience.Or
		for len(any) < terms {
			var c audience.Expr = audience.Compare{Attr: build, Op: []string{"<", ">="}[r.IntN(2)], To: audience.Whole(int64(r.IntN(1000)))}
			if r.IntN(3) == 0 {
				c = audience.Not{Of: c}
			}
			any = append(any, c)
		}
		for i := range len(any) / 2 { // pairs, so that not everybody is selected
			any[i] = audience.And{any[i], any[len(any)-1]}
			any = any[:len(any)-1]
		}
		for _, e := range []audience.Expr{any, audience.And{any, audience.HasTag{Tag: "rare"}}, audience.And{audience.HasTag{Tag: "rare"}, audience.Not{Of: any}}} {
			want := uint64(0)
			for n := range u.Limit() {
				if u.Has(n) && e.Matches(u.Traits(n)) {
					want++
				}
			}
			if got, err := u.Count(t.Context(), e, audience.UserID); err != nil || got != want {
				t.Errorf("%d terms: %d users, %v; want %d: %s", terms, got, err, want, e)
			}
		}
	}
}

// TestQuestionsEnd: a question whose time is up ends with the cause, at whatever it is.
func TestQuestionsEnd(t *testing.T) {
	u := viewed(70_000)
	cause := errors.New("the time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	either := audience.Or{audience.HasTag{Tag: "tag1"}, audience.Compare{Attr: audience.Ref{Slot: 9, Name: "x"}, Op: ">", To: audience.Whole(40)}}
	a, err := u.Audience(ctx, []audience.Expr{either, audience.HasTag{Tag: "tag1"}}, audience.UserID, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if _, err := u.Audience(ctx, []audience.Expr{either}, audience.UserID, nil); !errors.Is(err, cause) {
		t.Errorf("Audience = %v, want %v", err, cause)
	}
	if _, _, err := a.Count(ctx); !errors.Is(err, cause) {
		t.Errorf("Count = %v, want %v", err, cause)
	}
	if _, err := a.Select(ctx); !errors.Is(err, cause) {
		t.Errorf("Select = %v, want %v", err, cause)
	}
}

// BenchmarkCount counts users of a million. What a question costs is in proportion to the
// users that it is about and to the values that it looks up or compares.
func BenchmarkCount(b *testing.B) {
	const users = 1_000_000
	u := NewUsers()
	for i := range users {
		n := add(u, fmt.Sprint("user", i), audience.UserID, 1)
		u.set(n, 0, fmt.Sprint(i*7919%users/17))   // 17 users a value
		u.set(n, 1, fmt.Sprint(i*7919%users/1000)) // 1000 users a value
		u.set(n, 2, []string{"gold", "silver"}[i*31%5/3])
		u.setTags(n, []uint16{uint16(u.addTag(fmt.Sprint("t", i*17%500), audience.UserID))})
	}
	first := func(slot, values int) audience.Expr {
		e := audience.Equals{Attr: audience.Ref{Slot: slot, Name: "x"}}
		for v := range values {
			e.Values = append(e.Values, fmt.Sprint(v))
		}
		return e
	}
	below := func(slot, value int) audience.Expr {
		return audience.Compare{Attr: audience.Ref{Slot: slot, Name: "x"}, Op: "<", To: audience.Whole(int64(value))}
	}
	gold := audience.Equals{Attr: audience.Ref{Slot: 2, Name: "plan"}, Values: []string{"gold"}}
	var most audience.Or
	for i := range audience.MaxTerms / 2 {
		most = append(most, audience.And{below(1, 20*i), below(1, 1000-i)})
	}
	for _, c := range []struct {
		name string
		expr audience.Expr
	}{
		{"value and tag", audience.And{gold, audience.HasTag{Tag: "t7"}}},
		{"value and not tag", audience.And{gold, audience.Not{Of: audience.HasTag{Tag: "t7"}}}},
		{"10000 users of values of 17", audience.And{gold, first(0, 10_000/17)}},
		{"10000 users of values of 1000", audience.And{gold, first(1, 10)}},
		{"values of 17 that compare", audience.And{gold, below(0, 10_000/17)}},
		{"64 comparisons", most},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := u.Count(b.Context(), c.expr, audience.UserID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemory asks what the users take, as every scrape does while changes wait.
func BenchmarkMemory(b *testing.B) {
	for _, users := range []int{10_000, 1_000_000} {
		u := viewed(users)
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			for b.Loop() {
				u.Memory()
			}
		})
	}
}

// TestEveryone: accounts of both kinds are selected, and those that were deleted are not.
func TestEveryone(t *testing.T) {
	u := NewUsers()
	const users = 200_000
	for n := range uint32(users) {
		kind := audience.Kind(n % 3 & 1)
		if err := u.Apply(&audience.Effect{Op: audience.Make, User: n, Account: fmt.Sprint("u", n), Kind: kind}, 1); err != nil {
			t.Fatal(err)
		}
	}
	want := make(map[uint32]bool, users)
	for n := range uint32(users) {
		if n%7 == 0 || n >= 3<<16 {
			if err := u.Apply(&audience.Effect{Op: audience.Remove, User: n}, 2); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want[n] = true
	}
	s, err := u.Everyone(t.Context(), nil)
	if err != nil || s.Len() != len(want) {
		t.Fatalf("Everyone has %d accounts, %v; want %d", s.Len(), err, len(want))
	}
	got := 0
	for k := range s.Chunks() {
		lower, bits := s.Chunk(k)
		for low := range uint32(1 << 16) {
			in := slices.Contains(lower, uint16(low)) || bits != nil && bits[low/64]>>(low%64)&1 != 0
			if in {
				got++
			}
			if in != want[k<<16|low] {
				t.Fatalf("account %d is in it: %v", k<<16|low, in)
			}
		}
	}
	if got != len(want) {
		t.Errorf("the chunks have %d accounts, want %d", got, len(want))
	}
}
