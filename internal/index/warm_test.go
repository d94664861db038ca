package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"tidings/internal/audience"
)

// TestWarm: reading ahead for changes, of users who exist and who do not, changes
// nothing.
func TestWarm(t *testing.T) {
	u := NewUsers()
	u.Warm([]audience.Change{{Account: "nobody", Set: audience.Values{"v"}}})
	for i := range 3000 {
		n := add(u, fmt.Sprint("user", i), 0, 1)
		u.set(n, 0, fmt.Sprint("v", i%50))
	}
	u.remove(7, 1)
	before := canonicalOf(t, &u.View)
	var changes []audience.Change
	for i := range 2*WarmBatch + 1 {
		c := audience.Change{Account: fmt.Sprint("user", i*17), Set: audience.Values{"v1", "v2"}}
		c.Remove.Add(2 + i%8)
		changes = append(changes, c)
	}
	u.Warm(changes)
	u.Warm(nil)
	var accounts []string
	for _, c := range changes {
		accounts = append(accounts, c.Account)
	}
	u.WarmUsers(accounts)
	u.WarmEffects([]audience.Effect{{Op: audience.Edit, User: 5, Set: audience.Values{"v"}}, {Op: audience.Edit, User: 1 << 30}, {Op: audience.Make, User: 9}})
	if !bytes.Equal(canonicalOf(t, &u.View), before) {
		t.Error("Warm changed something")
	}
}

// BenchmarkChange changes two attributes of 100 users of a million, chosen at random,
// with and without reading ahead.
func BenchmarkChange(b *testing.B) {
	const users, batch = 1_000_000, 100
	u := NewUsers()
	for i := range users {
		n := add(u, fmt.Sprintf("user%08d", i), 0, 0)
		u.set(n, 0, []string{"male", "female"}[i%2])
		u.set(n, 1, fmt.Sprint("city", i%300))
	}
	for _, ahead := range []bool{false, true} {
		b.Run(fmt.Sprintf("ahead=%t", ahead), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			d := audience.Decider{State: u}
			changes := make([]audience.Change, batch)
			var e audience.Effect
			for b.Loop() {
				for i := range changes {
					k := r.IntN(users)
					changes[i] = audience.Change{Account: fmt.Sprintf("user%08d", k), Set: audience.Values{[]string{"male", "female"}[r.IntN(2)], fmt.Sprint("city", r.IntN(300))}}
				}
				if ahead {
					u.Warm(changes)
				}
				for i := range changes {
					if some, err := d.Change(&changes[i], &e); err != nil {
						b.Fatal(err)
					} else if some {
						if err := u.Apply(&e, 0); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/user")
		})
	}
}
