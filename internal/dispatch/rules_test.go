package dispatch

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// in runs a test on a clock of its own.
func in(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestVerdicts(t *testing.T) {
	now := time.Unix(1e9, 0)
	j := judge{now: now, ends: now.Add(time.Hour), limits: channel.Limits{MinRetry: 10 * time.Second, MaxRetry: 30 * time.Second}}
	for _, c := range []struct {
		name        string
		tries       int
		result      channel.Result
		refused     bool
		want        report.Outcome
		least, most time.Duration
		unsent      bool
	}{
		{name: "accepted", result: channel.Result{Outcome: channel.Accepted}, want: report.Accepted},
		{name: "gone", result: channel.Result{Outcome: channel.Gone}, want: report.Gone},
		{name: "rejected", result: channel.Result{Outcome: channel.Rejected}, want: report.Rejected},
		{name: "a first failure", result: channel.Result{Outcome: channel.Retry}, least: 10 * time.Second, most: 11 * time.Second},
		{name: "a later failure", tries: 3, result: channel.Result{Outcome: channel.Retry}, least: 10 * time.Second, most: 18 * time.Second},
		{name: "a late failure", tries: 1000, result: channel.Result{Outcome: channel.Retry}, least: 10 * time.Second, most: 40 * time.Second},
		{name: "a time that is said", tries: 9, result: channel.Result{Outcome: channel.Throttled, After: 25 * time.Second}, least: 25 * time.Second, most: 25 * time.Second},
		{name: "a time that is too short", result: channel.Result{Outcome: channel.Throttled, After: time.Second}, least: 10 * time.Second, most: 10 * time.Second},
		{name: "a time after the end", result: channel.Result{Outcome: channel.Throttled, After: 2 * time.Hour}, want: report.Expired},
		{name: "unknown", result: channel.Result{Outcome: channel.Unknown}, want: report.Unknown},
		{name: "unknown and harmless", result: channel.Result{Outcome: channel.Unknown, Replaces: true}, least: 10 * time.Second, most: 11 * time.Second},
		{name: "unknown again", tries: 1, result: channel.Result{Outcome: channel.Unknown, Replaces: true}, want: report.Unknown},
		{name: "unknown at the end", result: channel.Result{Outcome: channel.Unknown, Replaces: true, After: 2 * time.Hour}, want: report.Unknown},
		{name: "refused with all", tries: 5, result: channel.Result{Outcome: channel.Unauthorized}, refused: true, unsent: true},
		{name: "refused alone", result: channel.Result{Outcome: channel.Unauthorized}, least: 10 * time.Second, most: 11 * time.Second},
	} {
		for range 50 { // waits are random
			j.refused = c.refused
			c.result.Code, c.result.Words, c.result.Status = "CODE", "its words", 418
			got := j.verdict(c.tries, &c.result)
			if got.Outcome != c.want || got.Unsent != c.unsent || got.Code != "CODE" || got.Words != "its words" || got.Status != 418 {
				t.Fatalf("%s: got %+v, want outcome %d", c.name, got, c.want)
			}
			if wait := got.Again.Sub(now); c.want == 0 && (wait < c.least || wait > c.most) {
				t.Fatalf("%s: tried again after %s, want %s to %s", c.name, wait, c.least, c.most)
			}
		}
	}
}

func TestRetriesUntilTheEnd(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.answer = func(_ string, target *channel.Target, try int) channel.Result {
			switch {
			case strings.HasSuffix(target.SendID, "/0"):
				return channel.Result{Outcome: channel.Throttled, Status: 429, Words: "this device has too many"}
			case strings.HasSuffix(target.SendID, "/1") && try < 3:
				return channel.Result{Outcome: channel.Retry, Status: 503}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 10}, life: 10 * time.Minute})
		got := w.wait(r)
		if got.State != task.Done {
			t.Errorf("the task is %s, want done: each unit has its outcome", got.State)
		}
		w.has(r, map[report.Outcome]int{report.Accepted: 9, report.Expired: 1})
		if took := got.Ended.Sub(got.Accepted); took < 8*time.Minute || took > 10*time.Minute+time.Second {
			t.Errorf("the task took %s, want nearly its life", took)
		}
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		if v := w.store.tasks[r].units[0].verdict; v.Status != 429 || v.Words != "this device has too many" {
			t.Errorf("an expired unit does not say why: %+v", v)
		}
	})
}

func TestAMessageWithoutLifeIsTriedOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.answer = func(_ string, target *channel.Target, _ int) channel.Result {
			if strings.HasSuffix(target.SendID, "/0") {
				return channel.Result{Outcome: channel.Retry}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 3}})
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 2, report.Expired: 1})
		if n := w.provider.sends.Load(); n != 3 {
			t.Errorf("%d messages were sent, want 3", n)
		}
	})
}

func TestAProjectsQuotaIsNotADevices(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.limits = channel.Limits{Rate: 1000}
		var full atomic.Bool
		w.provider.answer = func(_ string, target *channel.Target, try int) channel.Result {
			switch {
			case full.Load():
				return channel.Result{Outcome: channel.Throttled, Status: 429, Words: "quota of the project", After: 40 * time.Second, Lane: true}
			case try == 0 && strings.HasSuffix(target.SendID, "7"):
				return channel.Result{Outcome: channel.Throttled, Status: 429, Words: "quota of the device", After: 5 * time.Minute}
			}
			return channel.Result{Outcome: channel.Accepted}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 5000}, life: time.Hour})
		time.Sleep(2 * time.Second)
		if s := w.Lanes(1)[0]; s.State != LaneOK {
			t.Errorf("with the quota of devices used up the lane is %s", s.State)
		}
		full.Store(true)
		time.Sleep(time.Second)
		sent := w.provider.sends.Load()
		if s := w.Lanes(1)[0]; s.State != LaneThrottled || !strings.Contains(s.Reason, "quota of the project") || s.Pages != 0 {
			t.Errorf("with the quota of the project used up: got %+v", s)
		}
		time.Sleep(35 * time.Second)
		if n := w.provider.sends.Load() - sent; n > 0 {
			t.Errorf("%d messages were sent while the lane was held", n)
		}
		full.Store(false)
		got := w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 5000})
		if took := got.Ended.Sub(got.Accepted); took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("the task took %s, want a little more than the five minutes of its devices", took)
		}
	})
}

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
		if s := w.Lanes(1)[0]; s.Reason != "the provider refuses the credentials: who are you now" {
			t.Errorf("the lane, after it was tried again: got %+v", s)
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

// What a credential has shown is known after a restart, and until it is replaced. Else a push
// to a stranger alone, the first after a start, would block the pushes to all others.
func TestAStrangersTokenBlocksNobodyAfterARestart(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
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

func TestPauseAndGoOn(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.took, w.provider.limits = 50*time.Millisecond, channel.Limits{Rate: 1000}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 20000}, life: time.Hour})
		other := w.store.add(spec{app: 1, units: map[int]int{1: 20000}, life: time.Hour})
		time.Sleep(5 * time.Second)
		w.store.pause(r, true)
		w.Changed(r)
		time.Sleep(100 * time.Millisecond)
		count := func() int { return w.store.outcomes(r)[report.Accepted] }
		paused := count()
		time.Sleep(time.Minute)
		if n := count(); n != paused || n == 0 {
			t.Errorf("%d units when paused, %d a minute later", paused, n)
		}
		if n := w.store.outcomes(other)[report.Accepted]; n < 18000 {
			t.Errorf("another task has %d units of 20000: a paused one holds it up", n)
		}
		w.store.pause(r, false)
		w.Changed(r)
		w.wait(r)
		w.has(r, map[report.Outcome]int{report.Accepted: 20000})
		if n := w.provider.sends.Load(); n != 40000 {
			t.Errorf("%d messages were sent, want 40000", n)
		}
	})
}

func TestStop(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.took, w.provider.limits = 50*time.Millisecond, channel.Limits{Rate: 1000}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 20000, 0: 10}, life: time.Hour})
		time.Sleep(5 * time.Second)
		begin := time.Now()
		if err := w.Stop(t.Context(), r, "by jane"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 200*time.Millisecond {
			t.Errorf("stopping took %s", took)
		}
		if got := w.store.get(r); got.State != task.Stopped || got.Reason != "by jane" {
			t.Errorf("the task is %s, %q", got.State, got.Reason)
		}
		got := w.store.outcomes(r)
		if n := w.provider.sends.Load(); int(n) != got[report.Accepted] || got[report.Accepted]+got[report.Stopped] != 20000 {
			t.Errorf("%d were sent, outcomes %v", n, got)
		}
		if err := w.Stop(t.Context(), r, "again"); !errors.Is(err, task.ErrEnded) {
			t.Errorf("a second stop: got %v, want ErrEnded", err)
		}
		time.Sleep(time.Minute)
		if n := w.provider.sends.Load(); int(n) != got[report.Accepted] {
			t.Errorf("%d more were sent after the stop", int(n)-got[report.Accepted])
		}
	})
}

func TestTheLifeOfATaskEndsInEveryState(t *testing.T) {
	for name, prepare := range map[string]func(w *world, r task.Ref){
		"paused":    func(w *world, r task.Ref) { w.store.pause(r, true); w.Changed(r) },
		"blocked":   func(w *world, _ task.Ref) {},
		"held":      func(w *world, _ task.Ref) {},
		"resolving": func(w *world, r task.Ref) {},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, func(w *world) {
					if name == "resolving" {
						w.store.fails = func() bool {
							return w.store.last > 0 && w.store.tasks[task.Ref{App: 1, Number: 1}].State == task.Accepted
						}
					}
				})
				w.provider.answer = func(string, *channel.Target, int) channel.Result {
					switch name {
					case "blocked":
						return channel.Result{Outcome: channel.Unauthorized, Words: "the words"}
					case "held":
						return channel.Result{Outcome: channel.Throttled, Lane: true, After: 50 * time.Minute}
					}
					return channel.Result{Outcome: channel.Retry, Status: 500}
				}
				w.provider.test = func(string) (channel.Health, error) { return channel.Health{Words: "the words"}, nil }
				if name == "resolving" {
					time.AfterFunc(90*time.Minute, func() {
						w.store.mu.Lock()
						defer w.store.mu.Unlock()
						w.store.fails = nil
					})
				}
				r := w.store.add(spec{app: 1, units: map[int]int{1: 600}, life: time.Hour})
				time.Sleep(time.Second)
				prepare(w, r)
				got := w.wait(r)
				if took := got.Ended.Sub(got.Accepted); name != "resolving" && (took < time.Hour-30*time.Minute || took > time.Hour+time.Second) {
					t.Errorf("it took %s, want an hour", took)
				}
				w.has(r, map[report.Outcome]int{report.Expired: 600})
				if name == "blocked" && !strings.Contains(got.Reason, "the words") {
					t.Errorf("the reason is %q, want the words of the provider", got.Reason)
				}
			})
		})
	}
}

func TestAClockThatJumps(t *testing.T) {
	in(t, func(t *testing.T) {
		var ahead atomic.Int64
		w := newWorld(t, func(w *world) {
			w.opts.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		w.provider.answer = func(string, *channel.Target, int) channel.Result {
			return channel.Result{Outcome: channel.Throttled, Lane: true, After: 30 * time.Minute}
		}
		r := w.store.add(spec{app: 1, units: map[int]int{1: 600}, life: 10 * time.Hour})
		time.Sleep(time.Minute)
		ahead.Store(int64(-2 * time.Hour)) // pauses go on by the monotonic clock
		sent := w.provider.sends.Load()
		time.Sleep(30 * time.Minute)
		if n := w.provider.sends.Load(); n == sent {
			t.Error("nothing is sent after the pause, since the wall clock was set back")
		}
		ahead.Store(int64(11 * time.Hour)) // the end of the task comes at once
		begin := time.Now()
		w.wait(r)
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("the task ended %s after the clock was past its end", took)
		}
		w.has(r, map[report.Outcome]int{report.Expired: 600})
	})
}

func TestTheStoreFails(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) {
			w.store.fails = func() bool { return rand.IntN(3) > 0 }
		})
		r := w.store.add(spec{app: 1, units: map[int]int{1: 3000, 2: 5}, life: time.Hour})
		if got := w.wait(r); got.State != task.Done {
			t.Errorf("the task is %s, want done", got.State)
		}
		w.has(r, map[report.Outcome]int{report.Accepted: 3005})
	})
}

func TestPaceOfAppAndTask(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.apps.Declare(t.Context(), app.Declaration{ID: 1, PushPace: new(100), TaskPace: new(60)}); err != nil {
			t.Fatal(err)
		}
		a := w.store.add(spec{app: 1, units: map[int]int{1: 1000, 2: 1000}, life: time.Hour})
		b := w.store.add(spec{app: 1, units: map[int]int{1: 1000, 2: 1000}, life: time.Hour})
		time.Sleep(10 * time.Second)
		if n := w.provider.sends.Load(); n < 900 || n > 1020 {
			t.Errorf("two tasks sent %d messages in 10 seconds, want 1000", n)
		}
		if err := w.Stop(t.Context(), b, ""); err != nil {
			t.Fatal(err)
		}
		before := w.provider.sends.Load()
		time.Sleep(10 * time.Second)
		if n := w.provider.sends.Load() - before; n < 570 || n > 615 {
			t.Errorf("one task sent %d messages in 10 seconds, want 600", n)
		}
		w.wait(a)
		w.has(a, map[report.Outcome]int{report.Accepted: 2000})
	})
}

// Pages of what cannot be sent are not paced, so they give nothing back to those that are.
func TestWhatCannotBeSentHastensNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.store.took = time.Millisecond })
		if _, err := w.apps.Declare(t.Context(), app.Declaration{ID: 1, PushPace: new(100)}); err != nil {
			t.Fatal(err)
		}
		w.store.add(spec{app: 1, units: map[int]int{1: 10_000}, life: time.Hour})
		for range 500 {
			w.store.add(spec{app: 1, units: map[int]int{0: 1}, life: time.Hour})
			time.Sleep(20 * time.Millisecond)
		}
		if n := w.provider.sends.Load(); n > 1020 {
			t.Errorf("%d messages were sent in 10 seconds, want 1000", n)
		}
	})
}

func TestClockOfTheProvider(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.provider.clock = -90 * time.Second })
		w.wait(w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour}))
		w.wait(w.store.add(spec{app: 1, units: map[int]int{1: 1}, life: time.Hour}))
		if s := w.Lanes(1)[0]; s.ClockAhead != -90*time.Second || !strings.Contains(s.Reason, "1m30s behind this server's") {
			t.Errorf("got %+v", s)
		}
		if n := w.log.count("clock of a push provider"); n != 1 {
			t.Errorf("%d warnings, want 1", n)
		}
	})
}

func TestGoneTokens(t *testing.T) {
	accepted, gone := channel.Result{Outcome: channel.Accepted}, channel.Result{Outcome: channel.Gone, Status: 410}
	every := func(n int) func(i int) channel.Result { // the n-th is dead
		return func(i int) channel.Result {
			if i%n == n-1 {
				return gone
			}
			return accepted
		}
	}
	for name, c := range map[string]struct {
		units   int
		answer  func(i int) channel.Result
		since   time.Duration // registered, before now
		retired int
		blocked bool
		warns   string
	}{
		"a tenth":                   {units: 3000, answer: every(10), since: time.Hour, retired: 300},
		"half":                      {units: 3000, answer: every(2), since: time.Hour, retired: 1500},
		"a few tokens, most dead":   {units: 90, answer: func(i int) channel.Result { return []channel.Result{gone, accepted}[min(i/89, 1)] }, since: time.Hour, retired: 89},
		"more than half":            {units: 3000, answer: func(i int) channel.Result { return []channel.Result{accepted, gone, gone}[i%3] }, since: time.Hour, warns: "too many tokens of a push are dead"},
		"all, with new credentials": {units: 100_000, answer: func(int) channel.Result { return gone }, since: time.Hour, blocked: true, warns: "a push channel is blocked"},
		"one, with new credentials": {units: 1, answer: func(int) channel.Result { return gone }, since: time.Hour},
		"a bad message as well": {units: 300, answer: func(i int) channel.Result {
			return []channel.Result{{Outcome: channel.Rejected}, {Outcome: channel.Rejected}, gone}[i%3]
		}, since: time.Hour, blocked: true},
		"registered after that":      {units: 3000, answer: every(10), since: -time.Hour},
		"dead before they came back": {units: 3000, answer: func(i int) channel.Result { r := every(10)(i); r.Since = time.Now().Add(-2 * time.Hour); return r }, since: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t)
				w.provider.took = time.Millisecond
				w.provider.answer = func(_ string, target *channel.Target, _ int) channel.Result {
					var number, certificate, i int
					if _, err := sscan(target.SendID, &number, &certificate, &i); err != nil {
						t.Error(err)
					}
					return c.answer(i)
				}
				r := w.store.add(spec{app: 1, units: map[int]int{1: c.units}, life: time.Hour, since: time.Now().Add(-c.since)})
				time.Sleep(30 * time.Second)
				if got := w.Lanes(1)[0].State == LaneBlocked; got != c.blocked {
					t.Errorf("blocked: %t, want %t", got, c.blocked)
				}
				if n := int(w.provider.sends.Load()); c.blocked && n > 2*newUnits {
					t.Errorf("%d messages were sent before the lane was blocked", n)
				}
				w.wait(r)
				synctest.Wait()
				w.store.mu.Lock()
				defer w.store.mu.Unlock()
				if len(w.store.retired) != c.retired {
					t.Errorf("%d tokens were retired, want %d", len(w.store.retired), c.retired)
				}
				slices.Sort(w.store.retired)
				if len(slices.Compact(w.store.retired)) != c.retired {
					t.Error("a token was retired twice")
				}
				if c.warns != "" && w.log.count(c.warns) == 0 {
					t.Errorf("no warning %q", c.warns)
				}
			})
		})
	}
}
