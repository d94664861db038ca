package index

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tidings/internal/audience"
)

// model is the naive version of Users.
type model struct {
	number map[string]uint32
	values map[string]audience.Values
	kind   map[string]audience.Kind
}

func TestUsersAgreeWithModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	u := NewUsers()
	m := model{map[string]uint32{}, map[string]audience.Values{}, map[string]audience.Kind{}}
	const accounts = 3000
	name := func(i int) string { return fmt.Sprintf("%0*d", 1+i%31, i) }
	value := func() string {
		if r.IntN(3) == 0 {
			return fmt.Sprintf("unique %d", r.Uint32())
		}
		return fmt.Sprintf("v%d", r.IntN(20))
	}
	for range 200_000 {
		a := name(r.IntN(accounts))
		n, ok := u.Find(a)
		if want, exists := m.number[a]; ok != exists || ok && n != want {
			t.Fatalf("Find(%q) = %d, %t; want %d, %t", a, n, ok, want, exists)
		}
		switch op := r.IntN(10); {
		case !ok:
			kind := audience.Kind(r.IntN(2))
			n = add(u, a, kind, 7)
			m.number[a], m.values[a], m.kind[a] = n, audience.Values{}, kind
		case op == 0:
			u.remove(n, 0)
			delete(m.number, a)
			delete(m.values, a)
			delete(m.kind, a)
		default:
			slot, v := r.IntN(audience.Slots), ""
			if op > 3 {
				v = value()
			}
			values := m.values[a]
			if got, want := u.set(n, slot, v), values[slot] != v; got != want {
				t.Fatalf("Set(%q, %d, %q) = %t, want %t", a, slot, v, got, want)
			}
			values[slot] = v
			m.values[a] = values
		}
	}
	check := func(u *Users) {
		t.Helper()
		if u.Len() != len(m.number) {
			t.Fatalf("Len() = %d, want %d", u.Len(), len(m.number))
		}
		used := map[uint32]bool{}
		users := [audience.Slots]map[string]uint32{}
		for a, want := range m.number {
			n, ok := u.Find(a)
			if !ok || n != want || string(u.Account(n)) != a || u.Kind(n) != m.kind[a] || u.Created(n) != 7 || used[n] {
				t.Fatalf("user %q: number %d %t, want %d; account %q, kind %d, want %d", a, n, ok, want, u.Account(n), u.Kind(n), m.kind[a])
			}
			used[n] = true
			for i, v := range m.values[a] {
				if got := string(u.Value(n, i)); got != v {
					t.Fatalf("Value(%q, %d) = %q, want %q", a, i, got, v)
				}
				if users[i] == nil {
					users[i] = map[string]uint32{}
				}
				if v != "" {
					users[i][v]++
				}
			}
		}
		for i, s := range u.slots {
			if s.values.n != len(users[i]) {
				t.Fatalf("slot %d has %d values, want %d", i, s.values.n, len(users[i]))
			}
			for v, want := range users[i] {
				n, ok := s.values.find(v)
				if !ok || s.users.count.get(n) != want || len(s.users.users(n)) != int(want) {
					t.Fatalf("slot %d, value %q: %d users, want %d", i, v, s.users.count.get(n), want)
				}
			}
		}
	}
	check(u)

	// The numbers of those who were removed are given out again, oldest first.
	for u.freed.n > 0 {
		want := u.freed.at(0).user
		if n := add(u, fmt.Sprint("new ", u.Len()), 0, 7); n != want {
			t.Fatalf("a new user has number %d, want %d, which has rested longest", n, want)
		}
	}
}

// add makes a user with the next number.
func add(u *Users, account string, kind audience.Kind, created uint32) uint32 {
	e := audience.Effect{Op: audience.Make, User: u.NextNumber(), Account: account, Kind: kind, Created: created}
	if err := u.Apply(&e, 0); err != nil {
		panic(err)
	}
	return e.User
}

// TestStrtabSplits fills a table far enough that parts split, and empties it.
func TestStrtabSplits(t *testing.T) {
	tab := newStrtab()
	const n = 100_000
	for i := range n {
		tab.add(fmt.Sprint("user", i))
	}
	if tab.depth == 0 {
		t.Fatal("no part was split")
	}
	for i := range n {
		s := fmt.Sprint("user", i)
		got, ok := tab.find(s)
		if !ok || got != uint32(i) {
			t.Fatalf("find(%q) = %d, %t; want %d", s, got, ok, i)
		}
		if i%2 == 0 {
			tab.drop(got)
		}
	}
	for i := range n {
		if _, ok := tab.find(fmt.Sprint("user", i)); ok != (i%2 == 1) {
			t.Fatalf("after removals find(user%d) = %t", i, ok)
		}
	}
	held := tab.bytesHeld()
	for i := range n / 2 {
		tab.add(fmt.Sprint("user", 2*i))
	}
	if now := tab.bytesHeld(); now > held+held/10 { // columns become wider
		t.Errorf("strings of the same lengths put back grew the table from %d to %d bytes", held, now)
	}
}

func BenchmarkUsers(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		u := NewUsers()
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("user%08d", i)
			k := add(u, names[i], 0, 0)
			u.set(k, 0, []string{"male", "female"}[i%2])
			u.set(k, 1, fmt.Sprint("city", i%300))
			u.set(k, 2, fmt.Sprint("country", i%50))
		}
		b.Run(fmt.Sprintf("change/%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				k, _ := u.Find(names[r.IntN(n)])
				u.set(k, 1, "")
				u.set(k, 1, "city1")
			}
			m := u.Memory()
			b.ReportMetric(float64(m.Accounts+m.Values+m.Tags)/float64(n), "B/user")
		})
	}
}

// TestFull fills slabs in name only.
func TestFull(t *testing.T) {
	u := NewUsers()
	n := add(u, "a", audience.UserID, 1)
	u.set(n, 3, "value")
	u.setTags(n, []uint16{uint16(u.addTag("tag", audience.UserID))})
	for name, l := range map[string]*slab{"accounts": &u.accounts.slab, "values": &u.slots[3].values.slab, "tags": &u.tags.names.slab, "lists": &u.tags.lists} {
		if u.Full() {
			t.Fatal("full with one user")
		}
		was := l.chunks
		l.chunks = array[piece]{blocks: make([]block[piece], slabMost/blockSize+2)}
		if !u.Full() {
			t.Errorf("not full with as many %s as there is room for", name)
		}
		l.chunks = was
	}
}
