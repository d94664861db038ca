package server_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidings/client"
	"tidings/internal/simulate"
)

// only wants that of some phones the first n were rung once, and the others not at all.
func (s *stage) only(what string, n int, phones ...*phone) {
	s.t.Helper()
	for i, got := range s.rings(phones...) {
		want := 0
		if i < n {
			want = 1
		}
		if got != want {
			s.t.Errorf("%s: phone %d (of %q) was rung %d times, want %d", what, i, phones[i].user, got, want)
		}
	}
	s.sim.Reset()
}

// TestPhoneShared: A logs out without network, so nobody hears of it; B logs in. From then on
// a push to A reaches no phone, and one to B this one.
func TestPhoneShared(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	p := s.install("phone-token-shared-1", nil).login("alice")
	s.awaitEnd(s.batch("to A before", []string{"alice"}, nil)).is(t, "done", map[string]uint64{"accepted": 1})
	s.only("to A before", 1, p)

	p.login("bob")
	before := s.batch("to A after", []string{"alice"}, nil)
	s.awaitEnd(before).is(t, "done", map[string]uint64{"no device": 1})
	s.only("to A after", 0, p)
	if got := s.trace(before, "alice"); len(got.Devices) != 1 && len(got.Devices) != 0 || !strings.Contains(got.Sentence, "no device") {
		t.Errorf("the trace of alice is %+v", got)
	}
	s.awaitEnd(s.batch("to B", []string{"bob"}, nil)).is(t, "done", map[string]uint64{"accepted": 1})
	s.only("to B", 1, p)
	// With B's ticket and with the secret of the device it can be changed, with A's not.
	s.as("UserSig "+s.ticket("alice"), "PUT", "/"+p.id+"/badge", fields{"Badge": 1}, 401)
	s.as("UserSig "+s.ticket("bob"), "PUT", "/"+p.id+"/badge", fields{"Badge": 1}, 200)
}

// TestRungOnce: a phone that is meant as itself and through its user is rung once.
func TestRungOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	p, other := s.install("phone-token-once-1", nil).login("alice"), s.install("phone-token-once-2", nil).login("alice")
	s.awaitEnd(s.batch("both", []string{"alice", p.id, "alice", p.id}, nil)).is(t, "done", map[string]uint64{"accepted": 2})
	s.only("a batch that names both", 2, p, other)
	s.awaitEnd(s.batch("itself first", []string{other.id, p.id, "alice"}, nil)).is(t, "done", map[string]uint64{"accepted": 2})
	s.only("a batch that names the phones first", 2, p, other)
	s.awaitEnd(s.batch("itself", []string{p.id}, nil)).is(t, "done", map[string]uint64{"accepted": 1})
	s.only("a batch that names one phone", 1, p, other)
	s.awaitEnd(s.push("everyone", nil)).is(t, "done", map[string]uint64{"accepted": 2, "no device": 1}) // administrator
	s.only("everyone", 2, p, other)
	// A token that turns up under a new RegistrationID, after the app was installed again, has moved there.
	again := s.install(p.token, nil)
	s.awaitEnd(s.push("installed again", nil)).is(t, "done", map[string]uint64{"accepted": 2, "no device": 1, "no token": 1})
	s.only("installed again", 2, again, other)
}

// TestUnboundBeforeItsPage: a phone that its user left between the acceptance of a push and
// the page of it gets nothing; neither does one that went to somebody else.
func TestUnboundBeforeItsPage(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	unbound, moved, deleted, stays := s.install("phone-token-before-1", nil).login("alice"), s.install("phone-token-before-2", nil).login("alice"), s.install("phone-token-before-3", nil).login("alice"), s.install("phone-token-before-4", nil).login("alice")
	open := s.block()
	id := s.batch("to A", []string{"alice"}, nil)
	unbound.call("DELETE", "/user", nil, 200)
	moved.login("bob")
	deleted.call("DELETE", "", nil, 200)
	open()
	s.awaitEnd(id).is(t, "done", map[string]uint64{"accepted": 1})
	s.only("to A", 1, stays, unbound, moved, deleted)
}

// TestAccountsEnd: a deleted account and one that is kicked have no phones any more. The phones
// stay, and are pushed to as themselves.
func TestAccountsEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	kicked, removed := s.install("phone-token-kicked", nil).login("alice"), s.install("phone-token-removed", nil).login("bob")
	before := s.push("before", nil)
	s.awaitEnd(before).is(t, "done", map[string]uint64{"accepted": 2, "no device": 1})
	s.only("before", 2, kicked, removed)
	if err := s.Kick(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAccounts(t.Context(), []string{"bob"}); err != nil {
		t.Fatal(err)
	}
	s.awaitEnd(s.batch("to A", []string{"alice"}, nil)).is(t, "done", map[string]uint64{"no device": 1})
	err := s.Call(t.Context(), "timpush/batch", message("to B").with(fields{"To_Account": []string{"bob"}}), nil)
	if failed, ok := errors.AsType[*client.AccountErrors](err); !ok || len(failed.List) != 1 || failed.List[0].Account != "bob" {
		t.Errorf("a batch to a deleted account: %v", err)
	}
	s.awaitEnd(s.push("after", nil)).is(t, "done", map[string]uint64{"accepted": 2, "no device": 2})
	if got := s.rings(kicked, removed); !slices.Equal(got, []int{1, 1}) {
		t.Errorf("the phones were rung %v times, want [1 1]", got)
	}
	// What became of the push before is still known of the phone, and its user is not.
	if got := s.trace(before, removed.id); !got.Matched || len(got.Devices) != 1 || got.Devices[0].Outcome != "accepted" {
		t.Errorf("the trace of a phone whose user was deleted is %+v", got)
	}
	s.refused(70107, "tidings/explain_delivery", fields{"TaskId": before, "To_Account": "bob"})
}

// TestSecondPhone: a second phone, which has the AppKey and is a phone of the app itself, cannot
// change, read, unbind or delete the first, and its reports for it count nothing.
func TestSecondPhone(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	first, second := s.install("phone-token-first", nil).login("alice"), s.install("phone-token-second", nil).login("mallory")
	id := s.batch("to both", []string{first.id, second.id}, nil)
	s.awaitEnd(id).is(t, "done", map[string]uint64{"accepted": 2})
	reports := map[string]string{}
	s.witness.mu.Lock()
	for _, d := range s.witness.taken {
		reports[d.Token] = d.ID
	}
	s.witness.mu.Unlock()
	var before any
	s.must("tidings/list_devices", fields{"To_Account": "alice"}, &before)

	report := fields{"Reports": []fields{{"ReportID": reports[first.token], "Event": "arrived"}, {"ReportID": reports[first.token], "Event": "clicked"}}}
	for _, authorization := range []string{
		"", "Bearer " + pushAppKey, "Bearer " + second.secret, "Bearer " + first.id, "UserSig " + s.ticket("mallory"),
	} {
		s.as(authorization, "PUT", "/"+first.id, installation(1, "another-token-of-mine"), 401)
		s.as(authorization, "DELETE", "/"+first.id, nil, 401)
		s.as(authorization, "PUT", "/"+first.id+"/user", fields{"UserID": "mallory", "UserSig": s.ticket("mallory")}, 401)
		s.as(authorization, "DELETE", "/"+first.id+"/user", nil, 401)
		s.as(authorization, "PUT", "/"+first.id+"/badge", fields{"Badge": 9}, 401)
		s.as(authorization, "POST", "/"+first.id+"/reports", report, 401)
	}
	s.as("Bearer "+pushAppKey, "POST", "", installation(1, "another-token-of-mine").with(fields{"RegistrationID": first.id}), 401)
	// For itself it may report, but not what the first got.
	second.call("POST", "/reports", report, 200)
	second.call("POST", "/reports", fields{"Reports": []fields{{"ReportID": "a-forged-one", "Event": "clicked"}}}, 200)
	for _, p := range []*phone{first, second} {
		if got := s.trace(id, p.id); len(got.Devices) != 1 || got.Devices[0].Arrived != 0 || got.Devices[0].Clicked != 0 {
			t.Errorf("a report of another counts: %+v", got)
		}
	}
	var after any
	s.must("tidings/list_devices", fields{"To_Account": "alice"}, &after)
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the first phone is\n%v\nand was\n%v", after, before)
	}
	first.call("POST", "/reports", report, 200)
	if got := s.trace(id, first.id); len(got.Devices) != 1 || got.Devices[0].Arrived == 0 || got.Devices[0].Clicked == 0 {
		t.Errorf("its own reports do not count: %+v", got)
	}
	s.awaitEnd(s.batch("once more", []string{"alice"}, nil)).is(t, "done", map[string]uint64{"accepted": 1})
	if got := s.rings(first, second); !slices.Equal(got, []int{2, 1}) {
		t.Errorf("the phones were rung %v times, want [2 1]", got)
	}
}
