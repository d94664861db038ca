package dispatch

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

func TestRefusedCredentialsBlockTheLane(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		refuse := func(version string) bool { return version == "1/1" }
		w.provider.answer = func(version string, _ *channel.Target, _ int) channel.Result {
			if refuse(version) {
				return channel.Result{Outcome: channel.Unauthorized, Status: 401, Code: "UNAUTHENTICATED", Words: "who are you"}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		w.provider.test = func(version string) (channel.Health, error) {
			return channel.Health{OK: !refuse(version), Words: "who are you now"}, nil
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 3000, 2: 700}, life: 10 * time.Hour})
		time.Sleep(10 * time.Second)
		sent := w.provider.sends.Load()
		if sent > 700+newUnits {
			t.Errorf("%d messages were sent, of them at most %d with credentials that are refused", sent, newUnits)
		}
		lanes := w.Lanes(1)
		if s := lanes[0]; s.State != LaneBlocked || !strings.Contains(s.Reason, "401 UNAUTHENTICATED who are you") || s.Waiting != 1 || s.Pages != 0 {
			t.Errorf("the lane: got %+v", s)
		}
		if s := lanes[1]; s.State != LaneOK || w.store.outcomes(r)[report.Accepted] != 700 {
			t.Errorf("another lane: got %+v", s)
		}
		if s, _ := w.Task(r); !s.Blocked || len(s.Lanes) != 1 || !strings.Contains(s.Reason, "who are you") {
			t.Errorf("the task: got %+v", s)
		}
		time.Sleep(2 * time.Hour)
		if n := w.provider.sends.Load(); n != sent {
			t.Errorf("%d messages were sent while the lane was blocked", n-sent)
		}
		// 1, 2, 4, 8 and then 15 minutes.
		if n := w.provider.tests.Load(); n < 8 || n > 13 {
			t.Errorf("%d probes in two hours, want about 11", n)
		}
		if n := w.log.count("a push channel is blocked\""); n != 1 {
			t.Errorf("%d warnings of a block, want 1", n)
		}
		replace(t, w.apps, 1, 1)
		replaced := time.Now()
		got := w.wait(r)
		if took := got.Ended.Sub(replaced); took > 5*time.Second {
			t.Errorf("with the new certificate it took %s more", took)
		}
		w.has(r, map[report.Outcome]int{report.Accepted: 3700})
		if n := w.log.count("blocked no more"); n != 1 {
			t.Errorf("%d lines of an end of a block, want 1", n)
		}
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		for _, u := range w.store.tasks[r].units {
			if u.Tries != 1 {
				t.Fatalf("unit %s: %d tries, want 1: what was refused with all others counts for nothing", u.Account, u.Tries)
			}
		}
		if len(w.store.retired) > 0 {
			t.Errorf("%d tokens were retired", len(w.store.retired))
		}
	})
}

func TestAProviderThatTakesCredentialsAgainEndsTheBlock(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		begin := time.Now()
		bad := func() bool { return time.Since(begin) < 100*time.Second }
		w.provider.answer = func(string, *channel.Target, int) channel.Result {
			if bad() {
				return channel.Result{Outcome: channel.Unauthorized, Status: 403}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		w.provider.test = func(string) (channel.Health, error) {
			if bad() {
				return channel.Health{}, errors.New("no connection")
			}
			return channel.Health{OK: true}, nil
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 2000}, life: time.Hour})
		got := w.wait(r)
		if took := got.Ended.Sub(got.Accepted); took < 100*time.Second || took > 200*time.Second {
			t.Errorf("it took %s, want until the second probe", took)
		}
		w.has(r, map[report.Outcome]int{report.Accepted: 2000})
	})
}

// What the provider says about the credentials, and not about a token, blocks the lane at
// once, although they have worked before.
func TestRevokedCredentialsBlockAtOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		var revoked atomic.Bool
		w.provider.answer = func(string, *channel.Target, int) channel.Result {
			if revoked.Load() {
				return channel.Result{Outcome: channel.Unauthorized, Status: 400, Code: "invalid_grant", Lane: true}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		push := func() task.Ref { return w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour}) }
		w.wait(push())
		revoked.Store(true)
		push()
		time.Sleep(time.Second)
		if s := w.Lanes(1)[0]; s.State != LaneBlocked || !strings.Contains(s.Reason, "400 invalid_grant") {
			t.Errorf("after one refusal the lane is %+v", s)
		}
	})
}

func TestAStrangersTokenBlocksNobody(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.answer = func(_ string, target *channel.Target, _ int) channel.Result {
			if strings.HasSuffix(target.SendID, "/13") || strings.HasSuffix(target.SendID, "50") {
				return channel.Result{Outcome: channel.Unauthorized, Status: 403, Code: "SENDER_ID_MISMATCH"}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 1000}, life: time.Hour})
		got := w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 989, report.Expired: 11})
		_ = got
		if len(w.store.retired) > 0 {
			t.Errorf("retired: %v", w.store.retired)
		}
	})
}

func TestALaneThatCannotBeOpenedSaysWhy(t *testing.T) {
	in(t, func(t *testing.T) {
		var wrong atomic.Bool
		wrong.Store(true)
		w := newWorld(t, func(w *world) {
			unseal := w.opts.Unseal
			w.opts.Unseal = func(a uint32, c *app.Certificate) (channel.Secret, error) {
				if wrong.Load() {
					return nil, errors.New("the key is another one")
				}
				return unseal(a, c)
			}
		})
		r := w.store.add(spec{app: 1, units: map[int]int{1: 10}, life: time.Hour})
		time.Sleep(time.Second)
		if s := w.Lanes(1)[0]; s.State != LaneBlocked || !strings.Contains(s.Reason, "cannot be unsealed: the key is another one") {
			t.Errorf("got %+v", s)
		}
		wrong.Store(false)
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 10})
	})
}

func TestARemovedCertificate(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.took = time.Second
		w.provider.answer = func(string, *channel.Target, int) channel.Result {
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 10000}, life: time.Hour})
		time.Sleep(2500 * time.Millisecond)
		if err := w.apps.RemoveCertificate(t.Context(), 1, 1); err != nil {
			t.Fatal(err)
		}
		w.wait(r)
		got := w.store.outcomes(r)
		if got[report.Accepted] < 100 || got[report.NoCertificate] < 1000 || got[report.Accepted]+got[report.NoCertificate] != 10000 {
			t.Errorf("got %v", got)
		}
		if n := w.provider.sends.Load(); n != int64(got[report.Accepted]) {
			t.Errorf("%d were sent and %d accepted", n, got[report.Accepted])
		}
		time.Sleep(2 * time.Minute)
		if lanes := w.Lanes(1); len(lanes) != 0 || w.provider.open.Load() != 0 {
			t.Errorf("lanes left: %+v, with %d Senders", lanes, w.provider.open.Load())
		}
	})
}

func TestReplacingACertificateLetsPagesEnd(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.took = 3 * time.Second
		var versions [3]atomic.Int64
		w.provider.answer = func(version string, _ *channel.Target, _ int) channel.Result {
			versions[version[2]-'0'].Add(1)
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 2000}, life: time.Hour})
		time.Sleep(4 * time.Second)
		replace(t, w.apps, 1, 1)
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 2000})
		if a, b := versions[1].Load(), versions[2].Load(); a < 200 || b < 200 || a+b != 2000 {
			t.Errorf("%d messages with the first version, %d with the second", a, b)
		}
		if n := w.provider.open.Load(); n != 1 {
			t.Errorf("%d Senders are open, want 1", n)
		}
	})
}

func TestAnIdleSenderIsClosed(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.wait(w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour}))
		time.Sleep(55 * time.Minute)
		if n := w.provider.open.Load(); n != 1 {
			t.Errorf("%d Senders are open after 55 minutes, want 1", n)
		}
		time.Sleep(10 * time.Minute)
		if n := w.provider.open.Load(); n != 0 {
			t.Errorf("%d Senders are open after an hour without work, want 0", n)
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour})
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 1})
		if n := w.provider.opened.Load(); n != 2 {
			t.Errorf("%d Senders were opened, want 2", n)
		}
	})
}

// What a credential has shown is known after a restart, and until it is replaced. Else a push
// to a stranger alone, the first after a start, would block the pushes to all others.
func TestAStrangersTokenBlocksNobodyAfterARestart(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		time.Sleep(2 * time.Second) // after the second of the credential
		var stranger atomic.Bool
		w.provider.answer = func(string, *channel.Target, int) channel.Result {
			switch {
			case !stranger.Load():
				return channel.Result{Outcome: channel.Accepted}
			case w.provider.proven.Load():
				return channel.Result{Outcome: channel.Gone, Status: 403, Code: "SENDER_ID_MISMATCH"}
			}
			return channel.Result{Outcome: channel.Unauthorized, Status: 403, Code: "SENDER_ID_MISMATCH"}
		}
		push := func() task.Ref { return w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour}) }
		w.wait(push())
		w.end()
		w.start()

		stranger.Store(true)
		r := push()
		time.Sleep(time.Second)
		w.has(r, map[report.Outcome]int{report.Gone: 1})
		if s := w.Lanes(1)[0]; s.State != LaneOK {
			t.Errorf("the lane is %+v", s)
		}

		time.Sleep(time.Second)
		replace(t, w.apps, 1, 1)
		push()
		time.Sleep(time.Second)
		if s := w.Lanes(1)[0]; s.State != LaneBlocked {
			t.Errorf("with another credential, of which nothing is known, the lane is %+v", s)
		}
	})
}
