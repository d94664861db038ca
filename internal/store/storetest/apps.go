package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
)

// wantApps compares the apps that are stored, in any order.
func (h *harness) wantApps(want ...*app.App) {
	h.Helper()
	got, err := h.Apps(h.Context())
	if err != nil {
		h.Fatalf("Apps: %v", err)
	}
	order := func(a, b *app.App) int { return int(int64(a.ID) - int64(b.ID)) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if len(got) != len(want) {
		h.Fatalf("%d apps, want %d", len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			h.Fatalf("app is\n%+v, want\n%+v", *got[i], *want[i])
		}
	}
}

func testApps(_ *testing.T, h *harness) {
	h.wantApps()
	low, high := NewApp(1), NewApp(1<<32-1)
	high.Keys = append(high.Keys, app.Key{ID: 2, Secret: "another key", Ends: time.Unix(1_800_000_000, 0).UTC()})
	high.Settings = app.Settings{CreateAccounts: true, UserIDs: app.UTF8, Limits: app.Limits{"default": 0}, Hosts: []string{"push.example.com"}}
	high.Admins = []string{app.BuiltInAdmin, "robot"}
	h.saveApp(low)
	h.saveApp(high)
	h.twice(func() {
		h.wantApps(low, high)
		h.want(1<<32-1, "robot", "")
		h.want(1, app.BuiltInAdmin, "")
		h.wantCount(1<<32-1, 2)
	})
	// Changed, an app keeps its users; a new admin has an account at once.
	h.change(1, []audience.Change{{Account: app.BuiltInAdmin, Set: audience.Values{0: "x"}}})
	changed := NewApp(1)
	changed.Name, changed.Status = "changed", app.Disabled
	changed.Admins = []string{app.BuiltInAdmin, "second"}
	h.saveApp(changed)
	h.twice(func() {
		h.wantApps(changed, high)
		h.want(1, app.BuiltInAdmin, "0=x")
		h.want(1, "second", "")
	})
}

func testApart(_ *testing.T, h *harness) {
	for _, id := range []uint32{1, 2, 255, 256, 1<<32 - 1} {
		h.saveApp(NewApp(id))
		h.change(id, []audience.Change{{Account: "a", Create: true, Set: audience.Values{0: fmt.Sprint(id)}}})
	}
	h.deleteUsers(2, []string{"a"}, true)
	h.twice(func() {
		for _, id := range []uint32{1, 255, 256, 1<<32 - 1} {
			h.want(id, "a", fmt.Sprintf("0=%d", id))
		}
		h.want(2, "a", "-")
	})
}

func testDeleteApp(t *testing.T, h *harness) {
	for _, id := range []uint32{1, 2, 1<<32 - 1} {
		h.saveApp(NewApp(id))
		nick := "nick"
		h.change(id, []audience.Change{{Account: "a", Create: true, Set: audience.Values{0: "x"}, Profile: audience.Profile{Nick: &nick}}})
		if err := h.Revoke(t.Context(), id, "a", time.Unix(9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	since := time.Now()
	for _, id := range []uint32{1, 1<<32 - 1} {
		if err := h.DeleteApp(t.Context(), id); err != nil {
			t.Fatalf("DeleteApp(%d): %v", id, err)
		}
		if err := h.DeleteApp(t.Context(), id); !errors.Is(err, apierr.UnknownApp) {
			t.Fatalf("DeleteApp(%d) again = %v, want 60006 or such", id, err)
		}
	}
	h.twice(func() {
		h.wantApps(NewApp(2))
		h.want(2, "a", "0=x")
		h.wantRevoked(2, "a", 9)
		h.wantCount(1, 0)
		h.wantCount(1<<32-1, 0)
		h.wantRevoked(1, "a", 0)
		h.wantUnknown(1)
	})
	// An app of the same number is a new one.
	h.saveApp(NewApp(1))
	h.twice(func() {
		h.wantCount(1, 1)
		h.want(1, "a", "-")
	})
	h.create(1, "a", "b")
	h.twice(func() {
		h.want(1, "a", "")
		h.wantRevokedAfterDelete(1, "a", since)
		h.wantRevokedAfterDelete(1, app.BuiltInAdmin, since)
		h.wantCount(1, 3)
	})
}

// wantUnknown calls everything on an app that does not exist.
func (h *harness) wantUnknown(app uint32) {
	h.Helper()
	ctx := h.Context()
	_, change := h.Change(ctx, app, []audience.Change{{Account: "a", Create: true}})
	_, users := h.Users(ctx, app, []string{"a"})
	_, user := h.User(ctx, app, "a")
	_, del := h.Delete(ctx, app, audience.UserID, []string{"a"})
	everyone := audience.Query{Expr: audience.And{}, Attributes: Attributes}
	_, estimate := h.Estimate(ctx, app, everyone, 1)
	_, explain := h.Explain(ctx, app, everyone, "a")
	_, list := h.List(ctx, app, everyone, 1, "")
	_, _, values := h.AttrValues(ctx, app, 0, "", 1)
	_, _, tags := h.Tags(ctx, app, "", 1)
	batch := slices.Values([][]audience.Change{{{Account: "a", Create: true}}})
	for call, err := range map[string]error{
		"Change": change, "Users": users, "User": user, "Delete": del,
		"Estimate": estimate, "Explain": explain, "List": list, "AttrValues": values, "Tags": tags,
		"Import": h.Import(ctx, app, batch, false, nil), "Import, dry": h.Import(ctx, app, batch, true, nil),
		"Export": h.Export(ctx, app, nil, nil, nil),
		"Revoke": h.Revoke(ctx, app, "a", time.Unix(1, 0)), "DeleteApp": h.DeleteApp(ctx, app),
	} {
		if !errors.Is(err, apierr.UnknownApp) {
			h.Errorf("%s in app %d, which does not exist: %v, want %v", call, app, err, apierr.UnknownApp)
		}
	}
	h.wantCount(app, 0)
	h.wantRevoked(app, "a", 0)
}

func testUnknownApp(_ *testing.T, h *harness) {
	h.wantUnknown(id)
	h.saveApp(NewApp(id))
	h.wantUnknown(id + 1)
	h.wantUnknown(0)
	h.twice(func() { h.wantCount(id, 1) })
}
