package api_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"tidings/client"
	"tidings/internal/app"
	"tidings/internal/gate"
)

// TestGoClient: the Go client, as a device and as a back end, does what it says at a real
// server.
func TestGoClient(t *testing.T) {
	n := startPhones(t, gate.Options{}, func(d *app.Declaration) { d.RegistrationSourceRate = new(2) })
	ctx, base := t.Context(), "http://"+n.addr
	back, err := client.New(base, appID, "", client.WithTicketSource(func(context.Context) (string, error) { return n.ticket(admin), nil }))
	if err != nil {
		t.Fatal(err)
	}
	phone := client.Installation{Platform: "android", Language: "fr-FR", Tokens: []client.Token{{Certificate: 1, Token: "token-of-a-phone-a1b2c3"}}}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	d, err := client.RegisterDevice(ctx, base, appID, appKey, "", phone, n.client)
	must("register", err)
	must("bind", d.Bind(ctx, "Mary", n.ticket("Mary")))
	must("refresh", d.Refresh(ctx, phone))
	must("badge", d.SetBadge(ctx, 3))
	must("report", d.Report(ctx, client.Report{ReportID: "r", Event: "arrived"}))

	list, err := back.DevicesOf(ctx, "Mary")
	must("devices of Mary", err)
	if len(list) != 1 || list[0].RegistrationID != d.ID || list[0].Badge != 3 || len(list[0].Tokens) != 1 || list[0].Tokens[0].Token != "…a1b2c3" {
		t.Errorf("the devices of Mary are %+v", list)
	}
	all := 0
	for _, err := range back.ListDevices(ctx) {
		must("list", err)
		all++
	}
	if all != 1 {
		t.Errorf("there are %d devices, want 1", all)
	}
	status, err := back.OnlineStatus(ctx, []string{"Mary", "ghost"}, true)
	if failed, ok := errors.AsType[*client.AccountErrors](err); !ok || len(failed.List) != 1 || len(status) != 1 || status[0].Status != "PushOnline" || len(status[0].Detail) != 1 {
		t.Errorf("got %+v, %v", status, err)
	}
	if restored, err := back.RestoreTokens(ctx, d.ID); restored != 0 || err != nil {
		t.Errorf("%d, %v", restored, err)
	}
	if restored, err := back.RestoreTokensOf(ctx, "none"); restored != 0 || err != nil {
		t.Errorf("%d, %v", restored, err)
	}

	refused := func(what string, err error, status int, code client.Code, anew bool) {
		t.Helper()
		e, ok := errors.AsType[*client.DeviceError](err)
		if !ok || e.Status != status || !errors.Is(err, code) || e.RegisterAnew() != anew || (e.After > 0) != (status == 429) {
			t.Errorf("%s: got %v, want status %d, code %d, register anew %t", what, err, status, int(code), anew)
		}
		if err != nil && (strings.Contains(err.Error(), d.Secret) || strings.Contains(err.Error(), appKey)) {
			t.Errorf("%s: the error shows a secret: %v", what, err)
		}
	}
	stranger, err := client.NewDevice(base, appID, d.ID, appKey, n.client)
	must("stranger", err)
	refused("stranger", stranger.Unbind(ctx), 401, client.ErrNotYourDevice, true)
	_, err = client.RegisterDevice(ctx, base, appID, "no AppKey", "", phone, n.client)
	refused("no AppKey", err, 401, client.ErrBadAppKey, false)
	_, err = client.RegisterDevice(ctx, base, appID, appKey, d.ID, phone, n.client)
	refused("taken", err, 401, client.ErrNotYourDevice, true)
	_, err = client.RegisterDevice(ctx, base, appID, appKey, "", phone, n.client)
	refused("too many", err, 429, client.ErrTooManyRegistrations, false)
	refused("bad", d.Refresh(ctx, client.Installation{}), 400, client.ErrBadBody, false)

	must("unbind", d.Unbind(ctx))
	if removed, err := back.RemoveDevice(ctx, d.ID); !removed || err != nil {
		t.Errorf("%t, %v", removed, err)
	}
	refused("removed", d.Remove(ctx), 404, client.ErrUnknownAccount, true)
	if removed, err := back.RemoveDevice(ctx, d.ID); removed || err != nil {
		t.Errorf("%t, %v", removed, err)
	}
	if got := slices.Clone(n.events.reported); len(got) != 1 {
		t.Errorf("reported %q", got)
	}
}
