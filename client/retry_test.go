package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/client"
	"tidings/internal/usersig"
)

// TestRetries holds which failures are repeated and how long that takes. The
// list of codes is the contract's (spec/conventions.md, 2.8).
func TestRetries(t *testing.T) {
	const kick, push = "im_open_login_svc/kick", "timpush/push"
	type row struct {
		name, command string
		answers       []string
		calls         int
		least, most   time.Duration
		err           error // nil: success
	}
	rows := []row{
		{"status then ok", kick, []string{"502", ok}, 2, 50 * time.Millisecond, 100 * time.Millisecond, nil},
		{"cut then ok", kick, []string{"cut", ok}, 2, 50 * time.Millisecond, 100 * time.Millisecond, nil},
		{"three times", kick, []string{"502", "cut", fail("91000"), ok}, 4, 350 * time.Millisecond, 700 * time.Millisecond, nil},
		{"never ok", kick, []string{fail("91000")}, 4, 350 * time.Millisecond, 700 * time.Millisecond, client.ErrInternal},
		{"status 404", kick, []string{"404", ok}, 1, 0, 0, &client.StatusError{}},
		{"status 307", kick, []string{"307", ok}, 1, 0, 0, &client.StatusError{}},
		{"no envelope", kick, []string{"{}", ok}, 1, 0, 0, errAny},
		{"too often", kick, []string{fail("60007"), ok}, 2, time.Second, 1500 * time.Millisecond, nil},
		{"too often twice", kick, []string{fail("60018"), fail("60018"), ok}, 3, 3 * time.Second, 4500 * time.Millisecond, nil},
		{"throttled ticket", kick, []string{fail("70050"), ok}, 1, 0, 0, client.ErrTicketThrottled},
		{"push, status", push, []string{"502", ok}, 1, 0, 0, &client.StatusError{}},
		{"push, cut", push, []string{"cut", ok}, 1, 0, 0, errAny},
		{"push, internal", push, []string{fail("91000"), ok}, 1, 0, 0, client.ErrInternal},
		{"push, too often", push, []string{fail("60007"), ok}, 2, time.Second, 1500 * time.Millisecond, nil},
		{"unknown service, cut", "other/thing", []string{"cut", ok}, 1, 0, 0, errAny},
		{"unknown command, cut", "tidings/launch_campaign", []string{"cut", ok}, 1, 0, 0, errAny},
		{"unknown command, status", "timpush/add_something", []string{"502", ok}, 1, 0, 0, &client.StatusError{}},
		{"unknown command, internal", "im_open_login_svc/charge", []string{fail("91000"), ok}, 1, 0, 0, client.ErrInternal},
		{"unknown command, too often", "tidings/launch_campaign", []string{fail("60007"), ok}, 2, time.Second, 1500 * time.Millisecond, nil},
		{"read, cut", "tidings/estimate_audience", []string{"cut", ok}, 2, 50 * time.Millisecond, 100 * time.Millisecond, nil},
		{"set, status", "timpush/set_attr", []string{"502", ok}, 2, 50 * time.Millisecond, 100 * time.Millisecond, nil},
		{"older name, internal", "all_member_push/im_add_tag", []string{fail("91000"), ok}, 2, 50 * time.Millisecond, 100 * time.Millisecond, nil},
		{"ErrorList", "timpush/set_attr", []string{`{"ActionStatus":"OK","ErrorCode":0,"ErrorList":[{"To_Account":"a","ErrorCode":91000}]}`, ok}, 1, 0, 0, client.ErrInternal},
	}
	for _, code := range []string{"60008", "60014", "70169", "70202", "70500", "90992", "90994", "90995", "91000", "40006", "30006", "30007", "30008"} {
		rows = append(rows, row{code, kick, []string{fail(code), ok}, 2, 50 * time.Millisecond, 100 * time.Millisecond, nil})
	}
	for _, code := range []string{"60007", "60011", "60018", "60019"} {
		rows = append(rows, row{code, kick, []string{fail(code), ok}, 2, time.Second, 1500 * time.Millisecond, nil})
	}
	for _, code := range []int{60002, 60009, 60012, 60016, 60025, 70003, 70009, 70013, 70020, 70107, 70402, 90001, 90009, 90018, 90033, 90047, 93000} {
		rows = append(rows, row{strconv.Itoa(code), kick, []string{fail(strconv.Itoa(code)), ok}, 1, 0, 0, client.Code(code)})
	}
	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{answers: tc.answers}
				c, stop := newBubbleClient(t, s)
				defer stop()
				start := time.Now()
				err := c.Call(t.Context(), tc.command, nil, nil)
				took := time.Since(start)
				if len(s.seen()) != tc.calls || took < tc.least || took > tc.most {
					t.Errorf("%d requests in %v, want %d in %v to %v", len(s.seen()), took, tc.calls, tc.least, tc.most)
				}
				if !matches(err, tc.err) {
					t.Errorf("Call = %v, want %v", err, tc.err)
				}
			})
		})
	}
}

var errAny = errors.New("any error")

// matches compares an error with the one expected: nil, any, a status, a code.
func matches(err, want error) bool {
	if _, isStatus := errors.AsType[*client.StatusError](want); isStatus {
		_, ok := errors.AsType[*client.StatusError](err)
		return ok
	}
	return errors.Is(want, errAny) && err != nil || errors.Is(err, want)
}

func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answers: []string{"502"}}
		c, stop := newBubbleClient(t, s, client.WithRetry(client.Retry{Attempts: 10, Base: time.Second, Max: 4 * time.Second}))
		defer stop()
		if err := c.Kick(t.Context(), "a"); err == nil {
			t.Error("Kick succeeded")
		}
		if len(s.seen()) != 10 {
			t.Fatalf("%d requests, want 10", len(s.seen()))
		}
		for i := range 9 {
			most := []time.Duration{1, 2, 4, 4, 4, 4, 4, 4, 4}[i] * time.Second
			if gap := s.seen()[i+1].at.Sub(s.seen()[i].at); gap < most/2 || gap > most {
				t.Errorf("wait %d is %v, want %v to %v", i+1, gap, most/2, most)
			}
		}
	})
}

// TestDeadline holds that a wait that the context does not allow is not begun.
func TestDeadline(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		allowed      time.Duration
		calls        int
		most         time.Duration
	}{
		{"too short for a second", fail("60007"), 500 * time.Millisecond, 1, 0},
		{"too short for a minute", fail("70050"), time.Minute, 1, 0},
		{"long enough for a minute", fail("70050"), 2 * time.Minute, 2, 66 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{answers: []string{tc.answer, ok}}
				c, stop := newBubbleClient(t, s)
				defer stop()
				ctx, cancel := context.WithTimeout(t.Context(), tc.allowed)
				defer cancel()
				start := time.Now()
				err := c.Kick(ctx, "a")
				if took := time.Since(start); len(s.seen()) != tc.calls || took > tc.most || (err == nil) != (tc.calls == 2) {
					t.Errorf("Kick = %v after %d requests and %v, want %d and at most %v", err, len(s.seen()), took, tc.calls, tc.most)
				}
			})
		})
	}
}

func TestCancelDuringWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := newBubbleClient(t, &server{answers: []string{fail("60007")}})
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		start := time.Now()
		err := c.Kick(ctx, "a")
		if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrRateLimited) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("Kick = %v after %v, want it canceled and 60007 after 300ms", err, time.Since(start))
		}
	})
}

// TestSlowDownHoldsOthers holds that 60007 slows down every caller of the command
// and no other command, and 60018 all of them.
func TestSlowDownHoldsOthers(t *testing.T) {
	for _, tc := range []struct {
		code    string
		command string
		held    bool
	}{
		{"60007", "im_open_login_svc/kick", true},
		{"60007", "timpush/get_attr", false},
		{"60018", "timpush/get_attr", true},
	} {
		t.Run(tc.code+" "+tc.command, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{answers: []string{fail(tc.code), ok}}
				c, stop := newBubbleClient(t, s)
				defer stop()
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := c.Kick(t.Context(), "a"); err != nil {
						t.Errorf("Kick = %v", err)
					}
				})
				synctest.Wait()
				short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := c.Call(short, tc.command, nil, nil); (err != nil) != tc.held {
					t.Errorf("Call with little time = %v, want held: %v", err, tc.held)
				}
				start := time.Now()
				if err := c.Call(t.Context(), tc.command, nil, nil); err != nil {
					t.Errorf("Call = %v", err)
				}
				if took := time.Since(start); (took >= time.Second) != tc.held || took > 1250*time.Millisecond {
					t.Errorf("Call took %v, want held: %v", took, tc.held)
				}
				wg.Wait()
			})
		})
	}
}

// TestRefusedConnection dials a port where nobody listens: not even a push was
// sent then, so it is repeated.
func TestRefusedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
		}}
		c, err := client.New("http://test", appID, secret, client.WithHTTPClient(&http.Client{Transport: transport}))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Call(t.Context(), "timpush/push", nil, nil); err == nil || dials.Load() != 4 {
			t.Errorf("push = %v after %d attempts, want an error after 4", err, dials.Load())
		}
	})
}

func TestTicketRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answers: []string{ok}}
		c, stop := newBubbleClient(t, s, client.WithTicketLife(10*time.Hour))
		defer stop()
		for range 24 {
			if err := c.Kick(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		issued := map[string]bool{}
		for _, call := range s.seen() {
			issued[call.ticket] = true
		}
		if len(issued) != 3 { // at 0, 9 and 18 hours
			t.Errorf("%d tickets in 24 hours, want 3", len(issued))
		}
	})
}

// TestKickedAdmin holds that a client whose tickets were invalidated comes back
// with one of a later second.
func TestKickedAdmin(t *testing.T) {
	for _, code := range []string{"70001", "70052"} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{answers: []string{fail(code), ok}}
			c, stop := newBubbleClient(t, s)
			defer stop()
			if err := c.Kick(t.Context(), "a"); err != nil || len(s.seen()) != 2 {
				t.Fatalf("Kick = %v after %d requests, want success after 2", err, len(s.seen()))
			}
			before, _ := usersig.Parse(s.seen()[0].ticket, false)
			after, _ := usersig.Parse(s.seen()[1].ticket, false)
			if after.Issued <= before.Issued {
				t.Errorf("tickets issued at %d and %d, want a later one", before.Issued, after.Issued)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &server{answers: []string{fail("70052")}}
		c, stop := newBubbleClient(t, s)
		defer stop()
		if err := c.Kick(t.Context(), "a"); !errors.Is(err, client.ErrTicketInvalidated) || len(s.seen()) != 2 {
			t.Errorf("Kick = %v after %d requests, want 70052 after 2", err, len(s.seen()))
		}
	})
}

func TestTicketSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		n := 0
		tickets := []string{usersig.Make(secret, appID, "administrator", start, time.Hour, nil), usersig.Make(secret, appID, "administrator", start, 2*time.Hour, nil)}
		source := func(context.Context) (string, error) {
			n++
			if n > 6 {
				return "", errors.New("vault is sealed")
			}
			return tickets[min(n-1, 1)], nil
		}
		s := &server{answers: []string{fail("70052"), ok, fail("70052"), ok}}
		c := newClientWith(t, s, client.WithTicketSource(source))
		if err := c.Kick(t.Context(), "a"); err != nil || len(s.seen()) != 2 {
			t.Errorf("Kick = %v after %d requests; want the second ticket to be tried", err, len(s.seen()))
		}
		if err := c.Kick(t.Context(), "a"); !errors.Is(err, client.ErrTicketInvalidated) || len(s.seen()) != 3 {
			t.Errorf("Kick = %v after %d requests; want the same ticket not to be tried again", err, len(s.seen()))
		}
		_ = c.Kick(t.Context(), "a")
		if err := c.Kick(t.Context(), "a"); err == nil || err.Error() != "im_open_login_svc/kick: ticket: vault is sealed" {
			t.Errorf("Kick = %v, want the error of the source", err)
		}
	})
}

// TestConcurrent shares one Client between goroutines while its ticket is renewed.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answers: []string{fail("70052"), ok, fail("91000"), ok}}
		c, stop := newBubbleClient(t, s)
		defer stop()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					if err := c.Kick(t.Context(), "a"); err != nil {
						t.Errorf("Kick = %v", err)
					}
				}
			})
		}
		wg.Wait()
		if n := len(s.seen()); n != 162 {
			t.Errorf("%d requests, want 160 and the two that failed", n)
		}
	})
}
