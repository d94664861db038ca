package channel

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// sent counts how many messages a Pace lets go in a time.
func sent(t *testing.T, p *Pace, during time.Duration) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	for p.Wait(ctx) == nil {
		n++
	}
	return n
}

// near reports whether a count is within a twentieth of another, or within two.
func near(got, want int) bool {
	return max(got-want, want-got) <= max(want/20, 2)
}

func TestPaceRamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(Limits{Rate: 600, Ramp: time.Minute}, nil)
		if n := sent(t, p, time.Second); !near(n, 10+5) {
			t.Errorf("%d in the first second, want about 15", n)
		}
		sent(t, p, 59*time.Second)
		for range 3 {
			if n := sent(t, p, time.Second); !near(n, 600) {
				t.Errorf("%d a second after the ramp, want 600", n)
			}
		}
		time.Sleep(50 * time.Second)
		if n := sent(t, p, time.Second); !near(n, 600) {
			t.Errorf("%d a second after 50 seconds without any, want 600", n)
		}
		time.Sleep(61 * time.Second)
		if n := sent(t, p, time.Second); !near(n, 15) {
			t.Errorf("%d in the first second after a minute without any, want about 15", n)
		}
	})
}

func TestPaceWithoutRampOrRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(Limits{Rate: 1000}, nil)
		if n := sent(t, p, time.Second); !near(n, 1000) {
			t.Errorf("%d in the first second, want 1000", n)
		}
		p = NewPace(Limits{}, nil)
		begin := time.Now()
		for range 100000 {
			if err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("without a rate: waited %s", took)
		}
	})
}

func TestPaceSlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(Limits{Rate: 800}, nil)
		sent(t, p, time.Second)
		for range 50 { // a storm of refusals halves once
			p.Slow(0)
		}
		if n := sent(t, p, time.Second); !near(n, 400+20) {
			t.Errorf("%d in the second after a refusal, want about 420", n)
		}
		if n := sent(t, p, 9*time.Second); !near(n, 9*(400+40+180)) {
			t.Errorf("%d in the next nine seconds, want about %d", n, 9*(400+40+180))
		}
		for range 20 { // never slower than one a second
			p.Slow(0)
			time.Sleep(time.Second)
		}
		if rate, _ := p.Rate(); rate < 1 {
			t.Errorf("rate %g, want at least 1", rate)
		}
	})
}

func TestPaceHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(Limits{Rate: 100}, nil)
		p.Slow(30 * time.Second)
		p.Slow(10 * time.Second) // a shorter hold does not end a longer one
		begin := time.Now()
		if _, held := p.Rate(); !held.Equal(begin.Add(30 * time.Second)) {
			t.Errorf("held until %s, want 30 s from %s", held, begin)
		}
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != 30*time.Second {
			t.Errorf("waited %s, want 30 s", waited)
		}
	})
}

func TestPaceEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(Limits{Rate: 100}, nil)
		p.Slow(time.Hour)
		why := errors.New("told to stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if err := p.Wait(ctx); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
		if err := p.Wait(ctx); !errors.Is(err, why) {
			t.Errorf("the second time: got %v, want %v", err, why)
		}
	})
}
