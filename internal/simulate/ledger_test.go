package simulate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCounter compares a counter with a map.
func TestCounter(t *testing.T) {
	c, want := newCounter(1<<20), map[uint64]int{}
	random := rand.New(rand.NewPCG(1, 2))
	hashes := []uint64{0, 1, 1 << 55, 1<<56 - 1, ^uint64(0)} // 0 and 1 have one tag
	for range 50_000 {
		hashes = append(hashes, random.Uint64())
	}
	for range 200_000 {
		h := hashes[random.IntN(len(hashes))]
		if h == 0 {
			h = 1
		}
		want[h]++
		if n := c.add(h); n != want[h] {
			t.Fatalf("%x: %d, want %d", h, n, want[h])
		}
	}
	repeated := int64(0)
	for h, n := range want {
		if got := c.count(h); got != n {
			t.Fatalf("%x: %d, want %d", h, got, n)
		}
		if n > 1 {
			repeated++
		}
	}
	if d, r, o := c.sums(); d != int64(len(want)) || r != repeated || o != 0 {
		t.Errorf("%d different, %d repeated, %d over; want %d and %d", d, r, o, len(want), repeated)
	}
	if n := c.count(random.Uint64()); n != 0 {
		t.Errorf("one that was never added: %d", n)
	}
	c.reset()
	if d, r, o := c.sums(); d != 0 || r != 0 || o != 0 || c.count(hashes[3]) != 0 {
		t.Error("not empty after reset")
	}
}

func TestCounterLimits(t *testing.T) {
	c := newCounter(10)
	for i := range 25 {
		c.add(uint64(i) * 0x9e3779b97f4a7c15)
	}
	if d, _, o := c.sums(); d != 10 || o != 15 {
		t.Errorf("%d different and %d over the limit of 10", d, o)
	}
	for range 70_000 {
		c.add(0)
	}
	if n := c.count(0); n != 65535 {
		t.Errorf("a count of 70001 is %d", n)
	}
}

// TestCounterConcurrently is for the race detector, and for what is lost between two.
func TestCounterConcurrently(t *testing.T) {
	c := newCounter(1 << 20)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 10_000 {
				c.add(hashOf(fmt.Append(nil, i)))
			}
		})
	}
	wg.Wait()
	if d, r, _ := c.sums(); d != 10_000 || r != 10_000 || c.count(hashOf([]byte("77"))) != 4 {
		t.Errorf("%d different, %d repeated", d, r)
	}
}

func TestLedger(t *testing.T) {
	s := start(t, Options{History: 8})
	c := dial(t, s, "h2c")
	for _, x := range [][2]string{{"a", "1"}, {"b", "2"}, {"gone2-c", "3"}, {"a", "1"}, {"a", "1"}, {"gone2-c", "3"}, {"gone2-c", "3"}, {"b", ""}} {
		c.must(c.send(x[0], x[1]))
	}
	got := s.Totals()
	got.Connections, got.Requests = 0, 0
	want := Totals{Delivered: 6, Tokens: 3, IDs: 3, RepeatedIDs: 1, Unnamed: 1, Fates: map[string]int64{"accepted": 6, "gone": 2}, Issued: 1}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("totals\n got  %+v\n want %+v", got, want)
	}
	if got := s.Repeated(); !maps.Equal(got, map[string]int{"1": 3}) {
		t.Errorf("repeated: %v", got)
	}
	if s.TokenCount("a") != 3 || s.TokenCount("gone2-c") != 1 || s.TokenCount("x") != 0 || s.IDCount("1") != 3 || s.IDCount("3") != 1 {
		t.Error("counts")
	}
	history := func(token string) (line string) {
		for _, e := range s.History(token) {
			if time.Since(e.Time) > time.Minute || time.Since(e.Time) < 0 {
				t.Errorf("time %v", e.Time)
			}
			line += fmt.Sprintf("%d %s %s;", e.Order, e.Fate, e.ID)
		}
		return line
	}
	if got, want := history("gone2-c"), "3 gone 3;6 gone 3;7 accepted 3;"; got != want {
		t.Errorf("history %q, want %q", got, want)
	}
	c.must(c.send("a", "9")) // pushes out the first one
	if got, want := history("a"), "4 accepted 1;5 accepted 1;9 accepted 9;"; got != want {
		t.Errorf("history %q, want %q", got, want)
	}
	c.must(c.send("long", strings.Repeat("i", 50)))
	if got, want := history("long"), "10 accepted "+strings.Repeat("i", 40)+";"; got != want || s.IDCount(strings.Repeat("i", 50)) != 1 {
		t.Errorf("history %q, want %q", got, want)
	}
	s.Reset()
	if got := s.Totals(); got.Delivered != 0 || got.Tokens != 0 || got.IDs != 0 || len(got.Fates) != 0 || len(s.Repeated()) != 0 || history("a") != "" || s.TokenCount("a") != 0 {
		t.Errorf("after a reset: %+v", got)
	}
	if got := c.meet("gone2-c", ""); got != fateAnswers[Gone] {
		t.Errorf("the tries of a token after a reset: %q", got)
	}
}

func TestOverflow(t *testing.T) {
	s := start(t, Options{Counted: 3})
	c := dial(t, s, "h2c")
	for i := range 5 {
		c.must(c.send(fmt.Sprintf("t%d", i), fmt.Sprint(i)))
	}
	if got := s.Totals(); got.Delivered != 5 || got.Tokens != 3 || got.IDs != 3 || got.Overflow != 2 {
		t.Errorf("%+v", got)
	}
}

func TestIDKey(t *testing.T) {
	s := start(t, Options{IDKey: "id"})
	c := dial(t, s, "h2c")
	c.must(c.post(`{"message":{"token":"t","data":{"tidings":"a","id":"b"}}}`))
	if s.IDCount("b") != 1 || s.IDCount("a") != 0 {
		t.Error("the id is not where it was said to be")
	}
}

func TestWait(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, "h2c")
	done := make(chan error)
	go func() { done <- s.Wait(t.Context(), 3) }()
	for range 3 {
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		c.must(c.send("t", ""))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	stop(enough)
	if err := s.Wait(ctx, 4); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

// TestHooks shows that what is delivered and refused is heard, and that a hook that does
// not return stops nobody.
func TestHooks(t *testing.T) {
	heard := make(chan Delivery, 10)
	refused := make(chan Refusal, 10)
	s := start(t, Options{Delivered: func(d Delivery) { heard <- d }, Refused: func(r Refusal) { refused <- r }})
	c := dial(t, s, "h2c")
	c.must(c.post(`{"message":{"token":"0123456789abcdef","notification":{"title":"T","body":"B"},"data":{"tidings":"id"},"android":{"notification":{"channel_id":"ch","body":"Ä\n"}}}}`))
	d := <-heard
	d.Time = time.Time{}
	if want := (Delivery{Provider: "fcm", Token: "0123456789abcdef", ID: "id", Title: "T", Text: "Ä\n", ChannelID: "ch", Size: len("titleTbodyBtidingsidchannel_idchbodyÄ\n")}); d != want {
		t.Errorf("heard %+v\nwant %+v", d, want)
	}
	c.must(c.post(`{"message":{"topic":"news","data":{"title":"T","body":"B"}}}`))
	if d := <-heard; d.Token != "news" || d.Title != "T" || d.Text != "B" {
		t.Errorf("heard %+v", d)
	}
	c.must(c.send("gone-0123456789abcdef", "id"))
	if r := <-refused; r.Token != "gone-0123456789abcdef" || r.ID != "id" || r.Fate != Gone || r.Words != "404 UNREGISTERED" {
		t.Errorf("heard %+v", r)
	}
	c.must(c.post(`{"message":{"token":"t","foo":1}}`))
	if r := <-refused; r.Fate != Invalid || !strings.Contains(r.Words, `"foo"`) {
		t.Errorf("heard %+v", r)
	}
	for token, want := range map[string]string{"": "…", "short": "…", "0123456789abcdef": "…abcdef"} {
		if got := Last6(token); got != want {
			t.Errorf("%q is shown as %q", token, got)
		}
	}
}

func TestSlowHook(t *testing.T) {
	release := make(chan struct{})
	s := start(t, Options{Delivered: func(Delivery) { <-release }})
	defer close(release)
	c := dial(t, s, "h2c")
	const messages = maxUnheard + 50
	for range messages {
		c.must(c.send("t", ""))
	}
	// One is being heard, if the goroutine has got that far.
	if got := s.Totals(); got.Delivered != messages || got.Unheard < 49 || got.Unheard > 50 {
		t.Errorf("%d delivered, %d unheard", got.Delivered, got.Unheard)
	}
}
