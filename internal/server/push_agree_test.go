package server_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tidings/client"
	"tidings/internal/simulate"
	"tidings/internal/testenv"
)

// A previewed is what preview_push says, as far as it is compared.
type previewed struct {
	Accounts, Devices, NoDevice uint64
	Groups                      []struct{ Devices uint64 }
	LeftOut                     []struct {
		Reason  string
		Devices uint64
	}
}

// counts returns how many units the preview expects by outcome, where sendable devices are
// accepted.
func (p *previewed) counts() map[string]uint64 {
	all := map[string]uint64{}
	add := func(outcome string, n uint64) {
		if n > 0 {
			all[outcome] += n
		}
	}
	for _, g := range p.Groups {
		add("accepted", g.Devices)
	}
	for _, l := range p.LeftOut {
		add(l.Reason, l.Devices)
	}
	add("no device", p.NoDevice)
	return all
}

// TestPreviewAndTraceAgree: for random tasks over users and phones of every sort, what the
// preview expects, what the task counts, what the trace says of each account, and what the
// simulator took are the same.
func TestPreviewAndTraceAgree(t *testing.T) {
	t.Parallel()
	seed := testenv.Seed(t)
	t.Logf("TIDINGS_TEST_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := newStage(t, simulate.Options{Seed: seed})
	var users []string
	var accounts []client.Account
	var attrs []client.UserAttrs
	for i := range 60 {
		u := fmt.Sprintf("user-%02d", i)
		users, accounts = append(users, u), append(accounts, client.Account{UserID: u})
		if r.IntN(2) == 0 {
			attrs = append(attrs, client.UserAttrs{Account: u, Attrs: map[string]string{"plan": "gold"}})
		}
	}
	if err := s.ImportAccounts(t.Context(), accounts); err != nil {
		t.Fatal(err)
	}
	if err := s.SetAttrs(t.Context(), attrs); err != nil {
		t.Fatal(err)
	}
	everybody := append([]string{"administrator"}, users...)
	of := map[string][]*phone{} // the phones of each account
	dead := map[*phone]bool{}
	for i := range 150 {
		token := fmt.Sprintf("phone-token-%03d", i)
		more := fields{"Language": []string{"en", "fr", "zh-Hans", ""}[r.IntN(4)], "Platform": []string{"android", "ios"}[r.IntN(2)]}
		isDead := false
		switch r.IntN(8) {
		case 0:
			token = ""
		case 1:
			more["Permission"] = "denied"
		case 2:
			more["Permission"] = ""
		case 3:
			token, isDead = "gone-token-"+token, true
		}
		p := s.install(token, more)
		dead[p] = isDead
		if i := r.IntN(len(users) + 30); i < len(users) {
			p.login(users[i])
			of[users[i]] = append(of[users[i]], p)
		}
		everybody, of[p.id] = append(everybody, p.id), append(of[p.id], p)
	}
	for i := range testenv.Rounds(8) {
		title := fmt.Sprint("task ", i)
		body, command := message(title), "timpush/push"
		switch n := r.IntN(3); {
		case i == 0: // to everyone
		case n == 0:
			body["Where"] = `plan == "gold"`
		case n == 1:
			var list []string
			for _, i := range r.Perm(len(everybody))[:1+r.IntN(100)] {
				if i > 0 { // an admin is no receiver of a batch
					list = append(list, everybody[i])
				}
			}
			if len(list) == 0 {
				continue
			}
			body["To_Account"], command = list, "timpush/batch"
		}
		s.agree(command, title, body, everybody, of, dead)
		if t.Failed() {
			t.Fatalf("%s %v", command, body)
		}
	}
}

// agree previews a push, pushes, and compares.
func (s *stage) agree(command, title string, body fields, everybody []string, of map[string][]*phone, dead map[*phone]bool) {
	t := s.t
	t.Helper()
	var want previewed
	s.must("tidings/preview_push", body, &want)
	var dry struct{ Preview previewed }
	s.must(command, body.with(fields{"DryRun": 1}), &dry)
	if fmt.Sprint(dry.Preview) != fmt.Sprint(want) {
		t.Errorf("preview_push says %+v, DryRun %+v", want, dry.Preview)
	}
	s.sim.Reset()
	tokens := s.registered()
	id := s.send(command, body)
	p := s.awaitEnd(id)
	got := p.counts()
	gone := got["gone"]
	if got["accepted"] += gone; got["accepted"] == 0 {
		delete(got, "accepted")
	}
	delete(got, "gone") // the preview asks no provider
	if p.State != "done" || fmt.Sprint(got) != fmt.Sprint(want.counts()) || p.Receivers != want.Accounts || p.Total-p.counts()["no device"] > p.Units {
		t.Errorf("the preview expects %v for %d accounts, and the push has %v for %d, %d of them gone", want.counts(), want.Accounts, got, p.Receivers, gone)
	}
	// What the traces say adds up to the same.
	traced := map[string]uint64{}
	seen := map[string]bool{}
	for _, account := range everybody {
		e := s.trace(id, account)
		if !e.Matched {
			for _, d := range e.Devices {
				if d.Outcome != "" && len(of[account]) == 1 && of[account][0].id == account {
					t.Errorf("%s was not matched, and its trace has %+v", account, d)
				}
			}
			continue
		}
		if len(of[account]) == 0 {
			traced["no device"]++
		}
		for _, d := range e.Devices {
			if seen[d.RegistrationID] || d.RegistrationID == "" || len(of[d.RegistrationID]) == 0 {
				continue
			}
			seen[d.RegistrationID] = true
			traced[d.Outcome]++
			phone := of[d.RegistrationID][0]
			rung := s.sim.TokenCount(phone.token)
			if phone.token == "" {
				rung = 0
			}
			if (d.Outcome == "accepted") != (rung == 1) || rung > 1 || d.Outcome == "gone" && !dead[phone] || d.Outcome == "accepted" && dead[phone] {
				t.Errorf("the phone %s with token %q was rung %d times, and its trace is %+v", phone.id, phone.token, rung, d)
			}
		}
	}
	if fmt.Sprint(traced) != fmt.Sprint(p.counts()) {
		t.Errorf("%q: the traces add up to %v, the push has %v", title, traced, p.counts())
	}
	s.await(id, "followed by the end of its dead tokens", func(*pushTask) bool { return s.registered() == tokens-int(gone) })
	if n := s.sim.Delivered(); uint64(n) != p.counts()["accepted"] {
		t.Errorf("the simulator took %d messages, the push has %v", n, p.counts())
	}
}
