package lsm_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// TestQuestionHoldsNobodyUp: while a question takes long, users of the app change, and
// the answer is of the moment at which it was asked. The numbers of those who are deleted
// meanwhile are given to nobody, or the list would show strangers on its next page.
func TestQuestionHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, resume := make(chan struct{}, 1), make(chan struct{})
		pace := func() {
			select {
			case asked <- struct{}{}:
				<-resume
			default:
			}
		}
		s, err := tryOpen(faulty.NewDisk(t, dir), *lsm.WithViews(&lsm.Options{}, pace))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx := t.Context()
		if err := s.SaveApp(ctx, storetest.NewApp(id)); err != nil {
			t.Fatal(err)
		}
		for n := range 4 {
			mustChange(t, s, audience.Change{Account: vip(n), Create: true, Tags: audience.TagEdit{Op: audience.AddTags, Tags: []string{"vip"}}})
		}
		c := &calls{t: t}
		var first audience.Page
		c.start("list", func() (err error) {
			first, err = s.List(ctx, id, vips, 1, "")
			return err
		})
		synctest.Wait()

		mustDelete(t, s, vip(0), vip(2), vip(3))
		mustChange(t, s, stranger(1), stranger(2), stranger(3))
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := s.Estimate(soon, id, vips, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Estimate while another question has its turn: %v, want %v", err, context.DeadlineExceeded)
		}
		close(resume)
		c.wg.Wait()

		shown := first.Accounts
		for next := first.Next; next != ""; {
			p, err := s.List(ctx, id, vips, 1, next)
			if err != nil {
				t.Fatal(err)
			}
			shown, next = append(shown, p.Accounts...), p.Next
		}
		// The first page is of the moment of the question; later ones leave out who is gone.
		if want := []string{vip(0), vip(1)}; !slices.Equal(shown, want) {
			t.Errorf("the list shows %q, want %q", shown, want)
		}
		sound(t, s)
	})
}
