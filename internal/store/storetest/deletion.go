package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
)

// deleteUsers deletes UserIDs and compares which existed.
func (h *harness) deleteUsers(app uint32, accounts []string, want ...bool) {
	h.Helper()
	kinds := make([]*apierr.Kind, len(want))
	for i, existed := range want {
		if !existed {
			kinds[i] = apierr.UnknownAccount
		}
	}
	h.deleteKind(app, audience.UserID, accounts, kinds...)
}

// deleteKind deletes accounts of a kind and compares the answers; nil is a
// deletion.
func (h *harness) deleteKind(app uint32, kind audience.Kind, accounts []string, want ...*apierr.Kind) {
	h.Helper()
	answers, err := h.Delete(h.Context(), app, kind, accounts)
	var got []*apierr.Kind
	for _, a := range answers {
		if a == nil {
			got = append(got, nil)
		} else {
			got = append(got, a.Kind)
		}
	}
	if err != nil || !slices.Equal(got, want) {
		h.Fatalf("Delete(%d, %d, %q) = %v, %v; want %v", app, kind, accounts, answers, err, want)
	}
}

// wantRevokedAfterDelete compares up to when the tickets of an account are
// invalid that was deleted not before a moment and made again.
func (h *harness) wantRevokedAfterDelete(app uint32, account string, since time.Time) {
	h.Helper()
	if !h.db.DeletionRevokes {
		h.wantRevoked(app, account, 0)
		return
	}
	got, err := h.RevokedUpTo(h.Context(), app, account)
	if now := time.Now(); err != nil || got < since.Unix() || got > now.Unix() {
		h.Fatalf("RevokedUpTo(%d, %q) = %d, %v; want the second of the deletion, %d to %d", app, account, got, err, since.Unix(), now.Unix())
	}
}

func testDelete(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	nick := "nick"
	h.change(id, []audience.Change{
		{Account: "a", Create: true, Set: audience.Values{0: "1"}, Profile: audience.Profile{Nick: &nick, FaceURL: &nick}},
		{Account: "b", Create: true, Set: audience.Values{0: "1"}},
		{Account: "c", Create: true, Set: audience.Values{0: "2"}},
	})
	h.revoke("a", 100)
	deletion := time.Now()
	h.deleteUsers(id, []string{"a", "nobody", "a", "c"}, true, false, false, true)
	h.deleteUsers(id, nil)
	h.twice(func() {
		h.want(id, "a", "-")
		h.want(id, "c", "-")
		h.want(id, "b", "0=1")
		h.wantCount(id, 2)
	})
	// An account of the same name is a new one.
	h.create(id, "a", "d")
	h.twice(func() {
		h.want(id, "a", "")
		h.want(id, "b", "0=1")
		h.want(id, "d", "")
		h.wantRevokedAfterDelete(id, "a", deletion)
		h.wantRevoked(id, "d", 0)
	})
	later := time.Now().Unix() + 50
	h.revoke("a", later)
	h.wantRevoked(id, "a", later)
}

func testDeleteKind(_ *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "user", "other")
	h.change(id, []audience.Change{{Account: "phone", Create: true, Kind: audience.RegistrationID, Set: audience.Values{9: "x"}}})
	h.deleteKind(id, audience.UserID, []string{"phone", "other"}, apierr.UnknownAccount, nil)
	h.deleteKind(id, audience.RegistrationID, []string{"user", "nobody"}, apierr.UnknownAccount, apierr.UnknownAccount)
	h.twice(func() {
		h.want(id, "phone", "9=x")
		h.want(id, "user", "")
		h.want(id, "other", "-")
		h.wantCount(id, 3)
	})
	h.deleteKind(id, audience.RegistrationID, []string{"phone", "phone"}, nil, apierr.UnknownAccount)
	// The name is free for an account of either kind.
	h.change(id, []audience.Change{{Account: "phone", Create: true, Set: audience.Values{0: "y"}}})
	h.twice(func() {
		h.want(id, "phone", "0=y")
		h.wantCount(id, 3)
	})
}

func testDeleteAdmin(t *testing.T, h *harness) {
	if !h.db.KeepsAdmins {
		t.Skip("the backend leaves that to its caller")
	}
	a := NewApp(id)
	a.Admins = append(a.Admins, "robot")
	h.saveApp(a)
	h.create(id, "user")
	h.deleteKind(id, audience.UserID, []string{"robot", "user", app.BuiltInAdmin}, apierr.BadAccountField, nil, apierr.BadAccountField)
	h.twice(func() {
		h.want(id, "robot", "")
		h.want(id, app.BuiltInAdmin, "")
		h.want(id, "user", "-")
	})
	h.saveApp(NewApp(id)) // the robot is an admin no more
	h.deleteKind(id, audience.UserID, []string{"robot"}, nil)
	h.twice(func() { h.want(id, "robot", "-") })
}

func (h *harness) revoke(account string, upTo int64) {
	h.Helper()
	if err := h.Revoke(h.Context(), id, account, time.Unix(upTo, 999)); err != nil {
		h.Fatalf("Revoke(%q, %d): %v", account, upTo, err)
	}
}

func testRevoke(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	h.create(id, "a", "b")
	h.change(id, []audience.Change{{Account: "phone", Create: true, Kind: audience.RegistrationID}})
	h.wantRevoked(id, "a", 0)
	h.revoke("a", 1_700_000_000)
	h.revoke("a", 1_700_000_005)
	h.revoke("a", 1_600_000_000)                          // the clock went back: what was invalid stays so
	for _, account := range []string{"nobody", "phone"} { // a RegistrationID has no tickets
		if err := h.Revoke(t.Context(), id, account, time.Unix(5, 0)); !errors.Is(err, apierr.UnknownAccount) {
			t.Fatalf("Revoke(%q) = %v, want 70107", account, err)
		}
	}
	h.twice(func() {
		h.wantRevoked(id, "a", 1_700_000_005)
		h.wantRevoked(id, "b", 0)
		h.wantRevoked(id, "nobody", 0)
		h.wantRevoked(id, "phone", 0)
		h.wantRevoked(id, strings.Repeat("x", 1000), 0)
	})
	h.revoke("a", 1_600_000_000)
	h.wantRevoked(id, "a", 1_700_000_005)
}
