package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
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

// TestViewIsSmall: a view takes as little memory of many users as of few.
func TestViewIsSmall(t *testing.T) {
	for _, users := range []int{10, 100_000} {
		u := viewed(users)
		const views = 100
		var keep *View
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range views {
			keep = u.TakeView()
		}
		runtime.ReadMemStats(&after)
		if keep.Len() != users {
			t.Fatalf("the view has %d users, want %d", keep.Len(), users)
		}
		if bytes := (after.TotalAlloc - before.TotalAlloc) / views; bytes > 64<<10 {
			t.Errorf("a view of %d users takes %d bytes, at most 64 KiB are allowed", users, bytes)
		}
	}
}

// viewed returns users with values in all slots, and tags.
func viewed(users int) *Users {
	u := NewUsers()
	for i := range users {
		n := add(u, fmt.Sprint("user", i), audience.UserID, 1)
		for slot := range audience.Slots {
			u.set(n, slot, fmt.Sprint(i%(10*slot+1)))
		}
		u.setTags(n, []uint16{uint16(u.addTag(fmt.Sprint("tag", i%500), audience.UserID))})
	}
	return u
}

// BenchmarkTakeView takes views of few users and of many.
func BenchmarkTakeView(b *testing.B) {
	for _, users := range []int{10_000, 1_000_000} {
		u := viewed(users)
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				u.TakeView()
			}
		})
	}
}
