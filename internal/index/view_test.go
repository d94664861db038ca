package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"tidings/internal/audience"
)

// TestViewsStay: a view stays as it was while the users go on changing, however many
// views there are, and the newest has every change made before it. Views are read while
// the users change.
func TestViewsStay(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := &pair{r: rand.New(rand.NewPCG(seed, 0)), live: NewUsers(), replay: NewUsers(), pos: 1}
	type taken struct {
		step int
		view *View
		want []byte
	}
	var views []taken
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 6000 {
		p.step(t)
		if p.r.IntN(40) != 0 {
			continue
		}
		v := taken{i, p.live.TakeView(), canonicalOf(t, &p.live.View)}
		views = append(views, v)
		old := views[p.r.IntN(len(views))]
		wg.Go(func() {
			var b bytes.Buffer
			if err := old.view.Canonical(&b); err != nil || !bytes.Equal(b.Bytes(), old.want) {
				t.Errorf("the view of step %d is not as it was in step %d, %v", old.step, i, err)
			}
		})
	}
	if again := readAgain(t, p.live); !bytes.Equal(canonicalOf(t, &again.View), canonicalOf(t, &p.live.View)) {
		t.Error("users that were shared with views are written otherwise than they are")
	}
}

// TestViewsOfManyUsers: the same with so many users that each part of the index has
// several chunks, hash tables are split, and sets are bitmaps.
func TestViewsOfManyUsers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	u := NewUsers()
	var views []*View
	var want [][]byte
	const users = 40_000
	for i := range users {
		n := add(u, fmt.Sprintf("user%d", i), audience.Kind(i%5/4), 7)
		u.set(n, 0, fmt.Sprint(i)) // unique
		u.set(n, 1, fmt.Sprint("v", r.IntN(users/17)))
		u.set(n, 2, fmt.Sprint("v", r.IntN(3)))
		u.setTags(n, []uint16{uint16(u.addTag(fmt.Sprint("t", i%5/4, r.IntN(50)), audience.Kind(i%5/4)))})
	}
	for range 8 {
		views, want = append(views, u.TakeView()), append(want, canonicalOf(t, &u.View))
		for range 2000 {
			switch n := uint32(r.IntN(users)); {
			case r.IntN(10) == 0 && u.Has(n):
				u.remove(n, 1)
			case !u.Has(n):
				add(u, fmt.Sprintf("new%d", r.Uint64()), audience.UserID, 8)
			default:
				u.set(n, 0, fmt.Sprint(r.Uint64()))
				u.set(n, 1, fmt.Sprint("v", r.IntN(users/17)))
				u.set(n, 2, "")
				u.setTags(n, nil)
			}
		}
	}
	for i, v := range views {
		if !bytes.Equal(canonicalOf(t, v), want[i]) {
			t.Errorf("view %d of %d has changed", i, len(views))
		}
	}
}
