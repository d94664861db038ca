package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
)

// sealed is a Seal that shows what it was asked for.
func sealed(certificate, version int) ([]byte, error) {
	return fmt.Appendf(nil, "sealed %d %d", certificate, version), nil
}

// TestCertificates: certificates are kept with the app and by ID, an ID is not given twice,
// and a failure changes nothing.
func TestCertificates(t *testing.T) {
	r, store := open(t)
	a := declare(t, r, app.Declaration{ID: id})
	ctx := t.Context()
	ends := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, name := range []string{"android", "", "", "iphone"} {
		c, err := r.AddCertificate(ctx, id, app.Certificate{ID: 99, Version: 99, Provider: channel.FCM, Name: name, Hint: "project x", Ends: ends}, sealed)
		if err != nil || c.ID != i+1 || c.Version != 1 || string(c.Sealed) != fmt.Sprintf("sealed %d 1", i+1) || !c.Replaced.IsZero() || c.Created.IsZero() {
			t.Fatalf("AddCertificate = %+v, %v", c, err)
		}
	}
	if a.Certificates != nil {
		t.Error("an app in use has changed")
	}
	if err := r.RemoveCertificate(ctx, id, 4); err != nil {
		t.Fatal(err)
	}
	was := r.App(id)
	for _, err := range []error{
		second(r.AddCertificate(ctx, id, app.Certificate{Provider: channel.FCM, Name: "android"}, sealed)),
		second(r.AddCertificate(ctx, id, app.Certificate{Provider: channel.FCM, Name: strings.Repeat("x", 101)}, sealed)),
		second(r.AddCertificate(ctx, id, app.Certificate{Provider: channel.FCM, Name: "a\x00b"}, sealed)),
		second(r.AddCertificate(ctx, id, app.Certificate{Provider: channel.FCM, Name: "a\xff"}, sealed)),
		second(r.ReplaceCertificate(ctx, id, app.Certificate{ID: 4, Provider: channel.FCM}, sealed)),
		second(r.ReplaceCertificate(ctx, id, app.Certificate{ID: 1, Provider: channel.APNs}, sealed)),
		r.RemoveCertificate(ctx, id, 4),
		r.RemoveCertificate(ctx, id, 0),
	} {
		refused(t, r, was, err, "")
	}
	noKey := errors.New("no key")
	fail := func(int, int) ([]byte, error) { return nil, noKey }
	if _, err := r.AddCertificate(ctx, id, app.Certificate{Provider: channel.FCM}, fail); !errors.Is(err, noKey) {
		t.Errorf("a credential that cannot be sealed: %v", err)
	}
	if _, err := r.ReplaceCertificate(ctx, id, app.Certificate{ID: 1, Provider: channel.FCM}, fail); !errors.Is(err, noKey) || r.App(id) != was {
		t.Errorf("a credential that cannot be sealed: %v", err)
	}
	again, err := r.AddCertificate(ctx, id, app.Certificate{Provider: channel.FCM, Name: "iphone"}, sealed)
	if err != nil || again.ID != 5 {
		t.Errorf("after the removal of the last: %d, %v", again.ID, err)
	}
	c, err := r.ReplaceCertificate(ctx, id, app.Certificate{ID: 2, Name: "ignored", Provider: channel.FCM, Hint: "other", Options: channel.Options{Package: "com.example"}}, sealed)
	if err != nil || c.Version != 2 || string(c.Sealed) != "sealed 2 2" || c.Hint != "other" || !c.Ends.IsZero() || c.Name != "" || c.Replaced.IsZero() {
		t.Errorf("ReplaceCertificate = %+v, %v", c, err)
	}
	if was.Certificate(2).Version != 1 {
		t.Error("an app in use has changed")
	}
	is := r.App(id)
	if got := reopen(t, store).App(id); !reflect.DeepEqual(got.Certificates, is.Certificates) || got.NextCertificate != 5 {
		t.Errorf("after opening again there are %+v, were %+v", got.Certificates, is.Certificates)
	}
	if is.Certificate(2).Hint != "other" || is.Certificate(4) != nil || is.Certificate(0) != nil {
		t.Errorf("the certificates are %+v", is.Certificates)
	}
}

func TestMostCertificates(t *testing.T) {
	r, _ := open(t)
	declare(t, r, app.Declaration{ID: id})
	for range app.MaxCertificates {
		if _, err := r.AddCertificate(t.Context(), id, app.Certificate{Provider: channel.FCM}, sealed); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.AddCertificate(t.Context(), id, app.Certificate{Provider: channel.FCM}, sealed)
	refused(t, r, r.App(id), err, "has 100 certificates")
}

func second[T any](_ T, err error) error { return err }

// TestAppKeys: AppKeys that were added and that are declared are found, until they are
// removed, and none shows when an app is printed.
func TestAppKeys(t *testing.T) {
	r, store := open(t)
	a := declare(t, r, app.Declaration{ID: id, AppKeys: []string{"declared-app-key"}})
	if again := declare(t, r, app.Declaration{ID: id, AppKeys: []string{"declared-app-key"}}); again != a {
		t.Error("the same declaration changes the app")
	}
	if changes, _, err := r.Changes(app.Declaration{ID: id, AppKeys: []string{"declared-app-key"}}); len(changes) > 0 || err != nil {
		t.Errorf("the same declaration changes %v, %v", changes, err)
	}
	if changes, _, err := r.Changes(app.Declaration{ID: id, AppKeys: []string{"another-app-key"}}); fmt.Sprint(changes) != "[app_keys]" || err != nil {
		t.Errorf("another AppKey changes %v, %v", changes, err)
	}
	k, err := r.AddAppKey(t.Context(), id, "android", "")
	if err != nil || k.ID != 2 || len(k.Secret) != 64 {
		t.Fatalf("AddAppKey = %+v, %v", k, err)
	}
	a = reopen(t, store).App(id)
	for text, want := range map[string]bool{
		string(k.Secret): true, "declared-app-key": true, "": false, "declared-app-ke": false, "declared-app-kex": false, string(k.Secret) + "x": false, string(a.Keys[0].Secret): false,
	} {
		if a.HasAppKey(text) != want {
			t.Errorf("a text of %d bytes is an AppKey: %v", len(text), !want)
		}
	}
	if printed := fmt.Sprintf("%v %+v %#v", a, a, a.AppKeys); strings.Contains(printed, string(k.Secret)) || strings.Contains(printed, "declared-app-key") {
		t.Errorf("an AppKey shows when an app is printed: %s", printed)
	}
	was := r.App(id)
	for _, err := range []error{
		second(r.AddAppKey(t.Context(), id, "", k.Secret)), second(r.AddAppKey(t.Context(), id, "", "short")),
		second(r.AddAppKey(t.Context(), id, "a\nb", "")), r.RemoveAppKey(t.Context(), id, 3),
	} {
		refused(t, r, was, err, "")
	}
	if err := r.RemoveAppKey(t.Context(), id, 2); err != nil || r.App(id).HasAppKey(string(k.Secret)) {
		t.Errorf("a removed AppKey still counts, %v", err)
	}
	for range 19 {
		if k, err = r.AddAppKey(t.Context(), id, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	if k.ID != 21 {
		t.Errorf("the last AppKey is %d", k.ID)
	}
	_, err = r.AddAppKey(t.Context(), id, "", "")
	refused(t, r, r.App(id), err, "has 20 AppKeys")
}

// TestPushDefaults: what an app says nothing about has its default, and zero is said.
func TestPushDefaults(t *testing.T) {
	var s app.Settings
	if s.Push.Off || s.PushGap() != time.Second || s.QuotaZone() != time.UTC || s.Lifetime() != 24*time.Hour || s.PendingTasks() != 1000 || s.PreviewDrift() != 1 ||
		s.DeviceLimit() != 10_000_000 || s.DevicesAUser() != 20 || s.RegistrationRate() != 1000 || s.RegistrationSourceRate() != 20 {
		t.Errorf("the defaults are %v %v %v %v %v %v %v %v %v", s.PushGap(), s.QuotaZone(), s.Lifetime(), s.PendingTasks(), s.PreviewDrift(), s.DeviceLimit(), s.DevicesAUser(), s.RegistrationRate(), s.RegistrationSourceRate())
	}
	if got := s.ChannelOrder(); !reflect.DeepEqual(got, channel.Providers()) {
		t.Errorf("the order is %v", got)
	}
	s.Push = app.Push{Gap: new(time.Duration(0)), Lifetime: new(time.Duration(0)), Zone: "Asia/Shanghai", Drift: new(0), Order: []channel.Provider{channel.Vivo, channel.FCM}}
	if s.PushGap() != 0 || s.Lifetime() != 0 || s.PreviewDrift() != 0 || s.QuotaZone().String() != "Asia/Shanghai" {
		t.Errorf("zeros are %v %v %v in %v", s.PushGap(), s.Lifetime(), s.PreviewDrift(), s.QuotaZone())
	}
	order := s.ChannelOrder()
	if len(order) != len(channel.Providers()) || order[0] != channel.Vivo || order[1] != channel.FCM || order[2] != channel.APNs {
		t.Errorf("the order is %v", order)
	}
}

// TestOldRecord: an app that was stored before there were certificates has none, and the
// defaults of pushes.
func TestOldRecord(t *testing.T) {
	var a app.App
	if err := json.Unmarshal([]byte(`{"sdkappid":7,"name":"x","keys":[],"settings":{"create_accounts":true}}`), &a); err != nil || a.Certificates != nil || a.HasAppKey("") || a.Settings.PushGap() != time.Second {
		t.Errorf("an old record is %+v, %v", a, err)
	}
	if b, err := json.Marshal(&app.App{ID: 7}); err != nil || strings.Contains(string(b), "certificate") || strings.Contains(string(b), "push") || strings.Contains(string(b), "devices") {
		t.Errorf("an app without them is stored as %s, %v", b, err)
	}
}
