package lsm_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/testenv"
)

// A crash test has several writers. Each has its own users and changes all of
// them in one request, every slot to the stamp of the request, so that what a
// crash leaves says which requests it kept: of each writer a first part, whole
// requests only, and at least all that were acknowledged.
const (
	crashWriters = 4
	crashUsers   = 3 // of a writer
	stampSlots   = 9 // slot 9 is for RegistrationIDs
)

// crashed is what a power loss left, and what had been acknowledged before.
type crashed struct {
	fs    *vfs.MemFS
	acked [crashWriters]int64
	app   int64 // the app change that was acknowledged
	at    string
}

// crasher takes clones of a file system at the moments when something about to
// reach the disk has not.
type crasher struct {
	fs    *vfs.MemFS
	limit int

	mu     sync.Mutex
	r      *rand.Rand
	acked  [crashWriters]int64
	app    int64
	clones []crashed
	seen   int
}

func (c *crasher) before(op, name string) error {
	if op == "write" && c.rare() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was acknowledged by now is what the clone must hold. A sample of the
	// moments, all of them equally likely.
	c.seen++
	place := len(c.clones)
	if place >= c.limit {
		if place = c.r.IntN(c.seen); place >= c.limit {
			return nil
		}
	} else {
		c.clones = append(c.clones, crashed{})
	}
	percent := []int{0, 0, 20, 80}[c.r.IntN(4)]
	clone := faulty.CrashKeeping(c.fs, dir, percent, c.r)
	c.clones[place] = crashed{acked: c.acked, app: c.app, fs: clone, at: fmt.Sprintf("%s %s, %d%% of what was not synced", op, name, percent)}
	return nil
}

// rare leaves out most writes, of which there are many.
func (c *crasher) rare() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(4) != 0
}

func TestCrash(t *testing.T) {
	for range testenv.Rounds(2) {
		seed := testenv.Seed(t)
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 3))
		c := &crasher{fs: faulty.NewDisk(t, dir), r: r, limit: 60}
		fs := &faulty.FS{FS: c.fs, Before: c.before}
		for range 2 { // the second time on what the first left
			s, err := tryOpen(fs, lsm.Options{MemtableSize: 48 << 10})
			if err != nil {
				t.Fatal(err)
			}
			crashLoad(t, s, c)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d moments, %d clones", c.seen, len(c.clones))
		for _, clone := range c.clones {
			checkCrashed(t, clone)
			if t.Failed() {
				t.Fatalf("after a crash at: %s", clone.at)
			}
		}
	}
}

const crashApp = 1400000001

// crashLoad runs the writers. Stamps go on where the run before ended.
func crashLoad(t *testing.T, s *opened, c *crasher) {
	stamped := func(n int64) {
		a := storetest.NewApp(crashApp)
		a.Description = strconv.FormatInt(n, 10)
		if err := s.SaveApp(t.Context(), a); err != nil {
			t.Error(err)
			return
		}
		c.mu.Lock()
		c.app = n
		c.mu.Unlock()
	}
	c.mu.Lock()
	app := c.app
	c.mu.Unlock()
	stamped(app + 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := app + 2; n < app+12; n++ {
			stamped(n)
		}
	})
	for w := range crashWriters {
		wg.Go(func() {
			c.mu.Lock()
			first := c.acked[w] + 1
			c.mu.Unlock()
			for stamp := first; stamp < first+100; stamp++ {
				if err := crashRequest(t, s, w, stamp); err != nil {
					t.Error(err)
					return
				}
				c.mu.Lock()
				c.acked[w] = stamp
				c.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func crashNames(w int) []string {
	names := make([]string, crashUsers)
	for i := range names {
		names[i] = fmt.Sprintf("writer%d-%d", w, i)
	}
	return names
}

// crashRequest makes the request of a writer with a stamp: most set, some
// remove, some delete all of its users.
func crashRequest(t *testing.T, s *opened, w int, stamp int64) error {
	if stamp%10 == 9 {
		_, err := s.Delete(t.Context(), crashApp, audience.UserID, crashNames(w))
		return err
	}
	var changes []audience.Change
	for _, name := range crashNames(w) {
		c := audience.Change{Account: name, Create: true, Attributes: storetest.Attributes}
		c.Tags = audience.TagEdit{Op: audience.ClearTags}
		if tags := stampTags(stamp); tags != nil {
			c.Tags = audience.TagEdit{Op: audience.ReplaceTags, Tags: tags}
		}
		for slot := range stampSlots {
			if stamp%10 == 7 {
				c.Remove.Add(slot)
			} else {
				c.Set[slot] = stampText(stamp, slot)
			}
		}
		changes = append(changes, c)
	}
	failures, err := s.Change(t.Context(), crashApp, changes)
	if err == nil && len(failures) > 0 {
		err = failures[0].Err
	}
	return err
}

// stampText has a length that differs by slot.
func stampText(stamp int64, slot int) string { return fmt.Sprintf("%d%0*d", stamp, 4*slot+1, 0) }

// stampTags are some that last and some that go with the next stamp.
func stampTags(stamp int64) []string {
	if stamp%10 == 7 {
		return nil
	}
	return []string{"always", fmt.Sprint("stamp", stamp), fmt.Sprint("tens", stamp/10)}
}

// stateAfter is how a user of a writer is after its request with a stamp.
func stateAfter(stamp int64) (u audience.User) {
	u.Exists = stamp > 0 && stamp%10 != 9
	if u.Exists && stamp%10 != 7 {
		for slot := range stampSlots {
			u.Values[slot] = stampText(stamp, slot)
		}
		u.Tags = stampTags(stamp)
	}
	return u
}

// checkCrashed looks at what a crash left: once, and again after another crash
// as soon as it was opened, which may not take back what could be seen.
func checkCrashed(t *testing.T, c crashed) {
	t.Helper()
	first := stateOf(t, c.fs)
	if t.Failed() {
		return
	}
	if again := stateOf(t, faulty.Crash(c.fs)); !reflect.DeepEqual(again, first) {
		t.Errorf("was %+v when it was opened first, is %+v after another crash", first, again)
	}
	if first.app < c.app || first.app > c.app+1 {
		t.Errorf("the app has stamp %d, acknowledged was %d", first.app, c.app)
	}
	for w, acked := range c.acked {
		// Either the last request that was acknowledged, or the one after it.
		users := first.users[w]
		if !all(users, stateAfter(acked)) && !all(users, stateAfter(acked+1)) {
			t.Errorf("users of writer %d, acknowledged up to %d, are %v", w, acked, users)
		}
	}
}

// state is what a store holds.
type state struct {
	app   int64
	users [crashWriters][crashUsers]audience.User
}

// stateOf opens the store of a file system, checks and reads it.
func stateOf(t *testing.T, fs vfs.FS) (st state) {
	t.Helper()
	s, err := tryOpen(fs, lsm.Options{MemtableSize: 48 << 10})
	if err != nil {
		t.Errorf("Open: %v", err)
		return st
	}
	sound(t, s)
	apps, err := s.Apps(t.Context())
	if err != nil {
		t.Errorf("Apps: %v", err)
	}
	for _, a := range apps {
		st.app, _ = strconv.ParseInt(a.Description, 10, 64)
		for w := range st.users {
			users, err := s.Users(t.Context(), a.ID, crashNames(w))
			if err != nil {
				t.Errorf("Users: %v", err)
			}
			copy(st.users[w][:], users)
		}
		indexAgrees(t, s, a.ID)
	}
	// Not closed in an orderly way: that would sync.
	t.Cleanup(func() { s.Close() })
	return st
}

// indexAgrees compares what the index says of each user, and who it says has a
// tag or a value, with the records.
func indexAgrees(t *testing.T, s *opened, app uint32) {
	t.Helper()
	type term struct{ tag, value string }
	who := map[term]uint64{}
	users := uint64(0)
	err := s.Export(t.Context(), app, nil, func(*audience.Attributes) error { return nil }, func(e *audience.Exported) error {
		users++
		got, err := s.Users(t.Context(), app, []string{e.Account})
		if err != nil {
			return err
		}
		if !got[0].Exists || got[0].Kind != e.Kind || got[0].Values != e.Values || !slices.Equal(got[0].Tags, e.Tags) {
			t.Errorf("user %s: the index has %+v, the record %+v", e.Account, got[0], *e)
		}
		for _, tag := range e.Tags {
			who[term{tag: tag}]++
		}
		who[term{value: e.Values[0]}]++
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	ask := func(e audience.Expr, want uint64) {
		q := audience.Query{Expr: e, Attributes: storetest.Attributes}
		if got, err := s.Estimate(t.Context(), app, q, 0); err != nil || got.Count != want {
			t.Errorf("the index selects %d users by %s (%v), of the records %d", got.Count, e, err, want)
		}
	}
	ask(audience.And{}, users)
	for x, n := range who {
		switch {
		case x.tag != "":
			ask(audience.HasTag{Tag: x.tag}, n)
		case x.value != "":
			ask(audience.Equals{Attr: audience.Ref{Name: "a"}, Values: []string{x.value}}, n)
		}
	}
}

func all(users [crashUsers]audience.User, want audience.User) bool {
	for _, u := range users {
		if !reflect.DeepEqual(u, want) {
			return false
		}
	}
	return true
}

// TestTagNumbersRunOut: an app that had as many tags as there are numbers for,
// and has others now, starts from a checkpoint and the log after it.
func TestTagNumbersRunOut(t *testing.T) {
	const users, each = 1024, 64
	fs := faulty.NewDisk(t, dir)
	s := open(t, fs)
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	edit := func(account string, op audience.TagOp, tags ...string) {
		t.Helper()
		failures, err := s.Change(t.Context(), id, []audience.Change{{Account: account, Create: true, Tags: audience.TagEdit{Op: op, Tags: tags}}})
		if err != nil || len(failures) > 0 {
			t.Fatalf("%s: %v, %v", account, failures, err)
		}
	}
	tag := func(n int) string { return fmt.Sprintf("t%05d", n) }
	for u := range users {
		var tags []string
		for i := range each {
			tags = append(tags, tag(u*each+i))
		}
		edit(fmt.Sprintf("m%04d", u), audience.AddTags, tags...)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs)
	edit("m1023", audience.RemoveTags, tag(users*each-1))
	edit("a", audience.AddTags, "fresh") // before the other by name
	crashed := faulty.Crash(fs)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, crashed)
	defer s.Close()
	got, err := s.Users(t.Context(), id, []string{"a", "m0000"})
	if err != nil || !slices.Equal(got[0].Tags, []string{"fresh"}) || got[1].Tags[0] != tag(0) || len(got[1].Tags) != each {
		t.Errorf("after a crash: %+v, %v", got, err)
	}
	sound(t, s)
}
