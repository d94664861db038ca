package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tidings/internal/audience"
)

// canonicalOf returns what u is.
func canonicalOf(t *testing.T, u *View) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := u.Canonical(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAgain writes u and reads what was written.
func readAgain(t *testing.T, u *Users) *Users {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	u.Write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&b, int64(b.Len()))
	again := ReadUsers(r)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return again
}

// A pair is users that live through changes, and others that get only the effects
// of those.
type pair struct {
	r            *rand.Rand
	live, replay *Users
	pos          uint64
	effect       audience.Effect
}

// step changes the live users and applies the effect to the others.
func (p *pair) step(t *testing.T) {
	t.Helper()
	d := audience.Decider{State: p.live, Now: 7}
	p.pos += uint64(p.r.IntN(2))
	p.live.Pin(Unsettled)
	if p.r.IntN(3) == 0 { // somebody has a list
		p.live.Pin(p.pos - uint64(p.r.IntN(int(min(p.pos, 50))+1)))
	}
	kind := audience.Kind(p.r.IntN(2))
	account := fmt.Sprintf("%d-%0*d", kind, 1+p.r.IntN(2), p.r.IntN(60))
	if n, exists := p.live.Find(account); exists && kind == audience.RegistrationID && p.r.IntN(2) == 0 {
		p.device(t, n)
		return
	}
	changed := false
	if p.r.IntN(5) == 0 {
		changed = d.Delete(account, kind, &p.effect) == nil
	} else {
		c := audience.Change{Account: account, Create: true, Kind: kind, Created: uint32(p.r.IntN(3))}
		for slot := range 3 {
			if p.r.IntN(2) == 0 {
				c.Set[slot] = fmt.Sprint("v", p.r.IntN(40))
			}
			if p.r.IntN(3) == 0 {
				c.Remove.Add(slot)
			}
		}
		c.Tags.Op, c.Tags.AppMax = audience.TagOp(p.r.IntN(5)), 60
		for range p.r.IntN(6) {
			c.Tags.Tags = append(c.Tags.Tags, fmt.Sprint("t", p.r.IntN(70))) // of both kinds
		}
		some, refused := d.Change(&c, &p.effect)
		if some && refused != nil {
			t.Fatalf("Change(%+v) has an effect and fails: %v", c, refused)
		}
		changed = some
	}
	if !changed {
		return
	}
	if err := p.live.Apply(&p.effect, Unsettled); err != nil {
		t.Fatalf("live: %+v: %v", p.effect, err)
	}
	p.live.Settle(p.pos)
	if err := p.replay.Apply(&p.effect, p.pos); err != nil {
		t.Fatalf("replay: %+v: %v", p.effect, err)
	}
}

// device makes account n a device, or changes it.
func (p *pair) device(t *testing.T, n uint32) {
	t.Helper()
	d := Device{Number: n, Facet: fmt.Sprint("facet", p.r.IntN(15))}
	if owner, exists := p.live.Find(fmt.Sprintf("0-%d", p.r.IntN(10))); exists && p.r.IntN(4) > 0 {
		d.Owner, d.Bound = owner, true
	}
	for _, u := range []*Users{p.live, p.replay} {
		if err := u.ApplyDevice(&d); err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
	}
}

// TestReplayEqualsLive: users that get the effects of changes are equal to those
// that the changes were made to, also when one or the other was written to a file,
// and read meanwhile.
func TestReplayEqualsLive(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := &pair{r: rand.New(rand.NewPCG(seed, 0)), live: NewUsers(), replay: NewUsers(), pos: 1}
	for i := range 20_000 {
		p.step(t)
		if i%500 != 0 {
			continue
		}
		live, view := canonicalOf(t, &p.live.View), p.live.TakeView()
		if got := canonicalOf(t, &p.replay.View); !bytes.Equal(got, live) {
			t.Fatalf("after %d steps replay differs from live", i)
		}
		p.step(t)
		p.step(t)
		if got := canonicalOf(t, view); !bytes.Equal(got, live) {
			t.Fatalf("after %d steps the view has changed with the users", i)
		}
		switch p.r.IntN(2) {
		case 0:
			p.live = readAgain(t, p.live)
		case 1:
			p.replay = readAgain(t, p.replay)
		}
	}
	if p.live.Resting() == 0 || p.live.TagCount() < 10 {
		t.Errorf("%d resting numbers, %d tags: the test shows little", p.live.Resting(), p.live.TagCount())
	}
}

// TestPinnedNumbers: the number of a user is not given to another as long as
// something that was made before its deletion is kept.
func TestPinnedNumbers(t *testing.T) {
	u := NewUsers()
	for i := range 3 {
		add(u, fmt.Sprint(i), 0, 1)
	}
	u.remove(1, 10)
	u.remove(0, Unsettled)
	for _, c := range []struct {
		pin  uint64
		want uint32
	}{{10, 3}, {9, 3}, {11, 1}, {Unsettled, 1}} {
		u.Pin(c.pin)
		if got := u.NextNumber(); got != c.want {
			t.Errorf("pinned at %d, the next number is %d, want %d", c.pin, got, c.want)
		}
	}
	if n := add(u, "new", 0, 1); n != 1 {
		t.Errorf("the new user has number %d, want 1", n)
	}
	if got := u.NextNumber(); got != 3 {
		t.Errorf("the number of a deletion that is in no group yet is given out: %d", got)
	}
	u.Settle(12)
	if got := u.NextNumber(); got != 0 {
		t.Errorf("the next number is %d, want 0", got)
	}
	if again := readAgain(t, u); again.NextNumber() != 0 || again.Resting() != 1 {
		t.Errorf("read again, the next number is %d, %d rest", again.NextNumber(), again.Resting())
	}
}

// TestApplyRefuses: effects that do not fit are errors and change nothing.
func TestApplyRefuses(t *testing.T) {
	u := NewUsers()
	a := add(u, "a", audience.UserID, 1)
	d := add(u, "d", audience.RegistrationID, 1)
	gone := add(u, "gone", audience.UserID, 1)
	u.remove(gone, 1)
	apply := func(e audience.Effect) error { return u.Apply(&e, 2) }
	if err := apply(audience.Effect{Op: audience.Edit, User: a, Tagged: []string{"t"}, Set: audience.Values{"v"}}); err != nil {
		t.Fatal(err)
	}
	many := make([]string, audience.MaxTags+1)
	for i := range many {
		many[i] = fmt.Sprint("many", i)
	}
	before := canonicalOf(t, &u.View)
	for _, e := range []audience.Effect{
		{},
		{Op: 9, User: a},
		{Op: audience.Make, User: 3, Account: "a"},
		{Op: audience.Make, User: 4, Account: "new"},
		{Op: audience.Make, User: a, Account: "new"},
		{Op: audience.Make, User: 3, Account: "new", Untagged: []string{"t"}},
		{Op: audience.Make, User: 3, Account: "new", Kind: audience.RegistrationID, Tagged: []string{"t"}},
		{Op: audience.Edit, User: gone, Set: audience.Values{"v"}},
		{Op: audience.Remove, User: gone},
		{Op: audience.Remove, User: 1 << 30},
		{Op: audience.Edit, User: a, Set: audience.Values{"w"}, Tagged: []string{"t"}},
		{Op: audience.Edit, User: a, Set: audience.Values{"w"}, Tagged: []string{"u", "u"}},
		{Op: audience.Edit, User: a, Set: audience.Values{"w"}, Tagged: many},
		{Op: audience.Edit, User: a, Set: audience.Values{"w"}, Untagged: []string{"u"}},
		{Op: audience.Edit, User: d, Set: audience.Values{"w"}, Tagged: []string{"t"}},
	} {
		if apply(e) == nil {
			t.Errorf("Apply(%+v) succeeded", e)
		}
		if !bytes.Equal(canonicalOf(t, &u.View), before) {
			t.Fatalf("Apply(%+v) changed something", e)
		}
	}
}

// TestCanonicalSeesParts: parts of the index that disagree show.
func TestCanonicalSeesParts(t *testing.T) {
	fill := func() *Users {
		u := NewUsers()
		for i := range 40 {
			n := add(u, fmt.Sprint("user", i), 0, 1)
			u.set(n, 0, fmt.Sprint("v", i%3))
			u.setTags(n, []uint16{uint16(u.addTag("t", 0))})
		}
		return u
	}
	want := canonicalOf(t, &fill().View)
	for i, spoil := range []func(u *Users){
		func(u *Users) { u.slots[0].users.remove(0, 0) },
		func(u *Users) { u.slots[0].any.remove(3) },
		func(u *Users) { u.slots[0].value.set(0, 2) },
		func(u *Users) { u.tags.users.own(0).remove(5) },
		func(u *Users) { u.tags.of.set(5, 0) },
		func(u *Users) { u.tags.kinds.set(0, 1) },
		func(u *Users) { u.byKind[0].remove(7) },
		func(u *Users) { u.created.set(7, 9) },
		func(u *Users) { u.freed.push(freedNumber{99, 1}) },
		func(u *Users) { u.accounts.unlist(u.accounts.hash(4), 4) },
	} {
		u := fill()
		spoil(u)
		if slices.Equal(canonicalOf(t, &u.View), want) {
			t.Errorf("spoiled in way %d, it is written as if it were whole", i)
		}
	}
}
