package lsm_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// The number of a deleted user is given to somebody else only when no list is left
// that was made before, so a list never shows a stranger.

// vips is the audience of the lists of these tests.
var vips = audience.Query{Expr: audience.HasTag{Tag: "vip"}, Attributes: storetest.Attributes}

func vip(n int) string { return fmt.Sprintf("vip%02d", n) }

// stranger is somebody who has nothing that a list asks for.
func stranger(n int) audience.Change {
	return audience.Change{Account: fmt.Sprintf("stranger%02d", n), Create: true}
}

// listed is an app with users who have a tag, so many.
func listed(t *testing.T, fs vfs.FS, users int) *opened {
	t.Helper()
	s, err := tryOpen(fs, lsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	for n := range users {
		mustChange(t, s, audience.Change{Account: vip(n), Create: true, Tags: audience.TagEdit{Op: audience.AddTags, Tags: []string{"vip"}}})
	}
	return s
}

func mustChange(t *testing.T, s *opened, changes ...audience.Change) {
	t.Helper()
	if failures, err := s.Change(t.Context(), id, changes); err != nil || len(failures) > 0 {
		t.Fatalf("Change: %v, %v", failures, err)
	}
}

func mustDelete(t *testing.T, s *opened, accounts ...string) {
	t.Helper()
	answers, err := s.Delete(t.Context(), id, audience.UserID, accounts)
	if err != nil || slices.ContainsFunc(answers, func(e *apierr.Error) bool { return e != nil }) {
		t.Fatalf("Delete(%q): %v, %v", accounts, answers, err)
	}
}

// nextPage returns a page of one account at most.
func nextPage(t *testing.T, s *opened, token string) audience.Page {
	t.Helper()
	p, err := s.List(t.Context(), id, vips, 1, token)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	return p
}

// TestSlowListShowsNoStranger: a list is read a page each four minutes, for hours,
// while the users of pages to come are deleted and others are made, by every way
// there is to make one.
func TestSlowListShowsNoStranger(t *testing.T) {
	const users = 40
	for _, way := range []struct {
		name string
		make func(t *testing.T, s *opened, n int) error
	}{
		{"Change", func(t *testing.T, s *opened, n int) error {
			_, err := s.Change(t.Context(), id, []audience.Change{stranger(n)})
			return err
		}},
		{"Import", func(t *testing.T, s *opened, n int) error {
			return s.Import(t.Context(), id, slices.Values([][]audience.Change{{stranger(n)}}), false, nil)
		}},
		{"SaveApp", func(t *testing.T, s *opened, n int) error { // which makes admins
			a := storetest.NewApp(id)
			a.Admins = append(a.Admins, stranger(n).Account)
			return s.SaveApp(t.Context(), a)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := listed(t, faulty.NewDisk(t, dir), users)
				defer s.Close()
				p := nextPage(t, s, "")
				for n := 1; p.Next != ""; n++ {
					if n%2 == 0 {
						mustDelete(t, s, vip(n))
					}
					if err := way.make(t, s, n); err != nil {
						t.Fatal(err)
					}
					time.Sleep(4 * time.Minute)
					p = nextPage(t, s, p.Next)
					for _, account := range p.Accounts {
						if len(account) != len(vip(0)) {
							t.Fatalf("after %d pages the list shows %q, who never had the tag", n, account)
						}
					}
				}
				// Once the list has ended the numbers are given out: they do not rest for ever.
				time.Sleep(6 * time.Minute)
				before := s.lsm.NextNumber(id)
				for n := range users / 4 {
					if err := way.make(t, s, users+n); err != nil {
						t.Fatal(err)
					}
				}
				if after := s.lsm.NextNumber(id); after != before {
					t.Errorf("new users got numbers up to %d, though there are free ones below %d", after, before)
				}
			})
		})
	}
}

// TestListsAndRestarts: the numbers of deleted users rest in the same order after a
// restart and after a crash, lists made before a restart have ended, and one made
// after keeps strangers out as before.
func TestListsAndRestarts(t *testing.T) {
	for _, restart := range []string{"close", "crash", "checkpoint and crash"} {
		t.Run(restart, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testListsAndRestarts(t, restart) })
		})
	}
}

func testListsAndRestarts(t *testing.T, restart string) {
	fs := faulty.NewDisk(t, dir)
	s := listed(t, fs, 30)
	old := nextPage(t, s, "")
	mustDelete(t, s, vip(1), vip(2))
	mustChange(t, s, stranger(0))
	for round := range 6 {
		before := s.lsm.Digests(t)
		switch restart {
		case "checkpoint and crash":
			if _, err := s.lsm.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			fallthrough
		case "crash":
			crashed := faulty.Crash(fs)
			s.Close()
			fs = crashed
		default:
			s.Close()
		}
		s = open(t, fs)
		if after := s.lsm.Digests(t); after != before {
			t.Fatalf("the state is %s, was %s", after, before)
		}
		if p, err := s.List(t.Context(), id, vips, 1, old.Next); !errors.Is(err, apierr.PageExpired) {
			t.Fatalf("a page of before the restart: %+v, %v; want 95003", p, err)
		}
		// This list is older than the next deletions and younger than those before.
		list := nextPage(t, s, "")
		old = list
		first := 3 + 3*round
		mustDelete(t, s, vip(first), vip(first+1))
		mustChange(t, s, stranger(1+3*round), stranger(2+3*round), stranger(3+3*round))
		for list.Next != "" {
			time.Sleep(4 * time.Minute)
			list = nextPage(t, s, list.Next)
			for _, account := range list.Accounts {
				if len(account) != len(vip(0)) {
					t.Fatalf("round %d: the list shows %q, who never had the tag", round, account)
				}
			}
		}
	}
	sound(t, s)
	s.Close()
}

// TestTooManyNumbersWait: a list that is kept does not make the numbers of deleted users
// wait without end; it ends.
func TestTooManyNumbersWait(t *testing.T) {
	s := listed(t, faulty.NewDisk(t, dir), 5)
	defer s.Close()
	p := nextPage(t, s, "")
	ended := 0
	for n := range 60 {
		var changes []audience.Change
		var accounts []string
		for i := range 100 {
			changes = append(changes, stranger(n*100+i))
			accounts = append(accounts, changes[i].Account)
		}
		mustChange(t, s, changes...)
		mustDelete(t, s, accounts...)
		if _, err := s.List(t.Context(), id, vips, 1, p.Next); errors.Is(err, apierr.PageExpired) {
			ended = n
			break
		}
	}
	if ended < 35 || ended > 45 {
		t.Errorf("the list ended after %d00 numbers had to wait, want about 4096", ended)
	}
	if limit := s.lsm.NextNumber(id); limit > 5000 {
		t.Errorf("numbers up to %d were given out", limit)
	}
	sound(t, s)
}

// TestListEnds: the next page can be asked for during pageLife after the one before.
func TestListEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listed(t, faulty.NewDisk(t, dir), 5)
		defer s.Close()
		p := nextPage(t, s, "")
		time.Sleep(5 * time.Minute)
		p = nextPage(t, s, p.Next)
		time.Sleep(5*time.Minute + time.Second)
		if p, err := s.List(t.Context(), id, vips, 1, p.Next); !errors.Is(err, apierr.PageExpired) {
			t.Errorf("a page after more than five minutes: %+v, %v; want 95003", p, err)
		}
	})
}
