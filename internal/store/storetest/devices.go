package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
)

// Devices tests the device.Store of a backend, on a clock of its own. make gives an empty
// database each time.
func Devices(t *testing.T, make func(t *testing.T) Database) {
	for _, c := range []struct {
		name string
		test func(h *deviceHarness)
	}{
		{"registration", testRegister},
		{"proof", testProof},
		{"what cannot be a device", testInvalidDevice},
		{"tokens", testTokens},
		{"tokens that move", testMovingTokens},
		{"binding", testBind},
		{"too many devices of a user", testPushedOut},
		{"kick and deletion of a user", testUserGone},
		{"deletion of a device", testDeviceGone},
		{"badge", testBadge},
		{"idle devices", testIdle},
		{"restored tokens", testRestore},
		{"list", testDeviceList},
		{"limits of devices", testDeviceLimits},
		{"authority over devices", testDeviceAuthority},
		{"devices of an app that is made again", testDevicesOfNewApp},
		{"devices of files", testMovedDevices},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &deviceHarness{&harness{T: t, db: make(t)}}
				h.open()
				defer h.close()
				h.saveApp(NewApp(id))
				c.test(h)
				h.inspect()
			})
		})
	}
}

// deviceHarness is an open store with devices.
type deviceHarness struct{ *harness }

func (h *deviceHarness) devices() device.Store { return h.db.Devices(h.Store) }

// later lets time pass. The store is closed meanwhile, or each tick of its clocks would be
// waited for.
func (h *deviceHarness) later(d time.Duration) {
	h.Helper()
	h.close()
	time.Sleep(d)
	h.open()
}

var admin = device.Proof{Admin: true}

// phone returns a device with tokens.
func phone(name string, tokens ...device.Token) device.Device {
	return device.Device{ID: name + strings.Repeat("-", max(0, 16-len(name))), Platform: "android", Model: "Pixel 9", Language: "en", Permission: device.Allowed, Tokens: tokens}
}

func token(certificate int, address string) device.Token {
	return device.Token{Certificate: certificate, Kind: channel.Alert, Address: channel.Address(address)}
}

// register registers a device, which must succeed.
func (h *deviceHarness) register(p device.Proof, d device.Device) device.Registered {
	h.Helper()
	r, err := h.devices().Register(h.Context(), id, p, d)
	if err != nil {
		h.Fatalf("Register(%q): %v", d.ID, err)
	}
	return r
}

// made makes a device and returns its ID.
func (h *deviceHarness) made(d device.Device) string {
	h.Helper()
	r := h.register(device.Proof{}, d)
	if !r.Created || !r.Changed || r.Secret == "" {
		h.Fatalf("Register(%q) = %+v, want a new device", d.ID, r)
	}
	return r.Device.ID
}

func (h *deviceHarness) is(err, want error, format string, args ...any) {
	h.Helper()
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		h.Fatalf("%s: %v, want %v", fmt.Sprintf(format, args...), err, want)
	}
}

// wantDevice returns a device, which must exist, with a user and tokens as in "1:a 2:b".
func (h *deviceHarness) wantDevice(name, user, tokens string) *device.Device {
	h.Helper()
	d, err := h.devices().Device(h.Context(), id, phone(name).ID)
	if err != nil {
		h.Fatalf("Device(%q): %v", name, err)
	}
	if got := showTokens(d.Tokens); d.User != user || got != tokens {
		h.Fatalf("device %q is bound to %q and has tokens %q, want %q and %q", name, d.User, got, user, tokens)
	}
	return d
}

func showTokens(tokens []device.Token) string {
	var all []string
	for _, t := range tokens {
		all = append(all, fmt.Sprintf("%d:%s", t.Certificate, string(t.Address)))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// wantOf compares the devices of an account, in any order.
func (h *deviceHarness) wantOf(account string, names ...string) {
	h.Helper()
	list, err := h.devices().Of(h.Context(), id, account)
	if err != nil {
		h.Fatalf("Of(%q): %v", account, err)
	}
	var got, want []string
	for i := range list {
		got = append(got, list[i].ID)
	}
	for _, name := range names {
		want = append(want, phone(name).ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.Fatalf("Of(%q) = %q, want %q", account, got, want)
	}
}

func testRegister(h *deviceHarness) {
	ctx := h.Context()
	d := device.Device{
		Platform: "ios", Model: "iPhone", System: "iOS", SystemVersion: "26.1", SDKVersion: "8.1", PushVersion: "1.2", AppVersion: "3.4", Language: "zh-Hans",
		TimeZone: "Asia/Shanghai", Permission: device.Denied, Test: true,
		Tokens: []device.Token{
			{Certificate: 1, Kind: channel.Alert, Address: "0011", Environment: channel.Sandbox, Topic: "com.example"},
			{Certificate: 1, Kind: channel.LiveActivity, LaID: "match", Address: "0022", Expires: time.Now().Add(time.Hour).Truncate(time.Second)},
		},
	}
	made := h.register(device.Proof{}, d)
	now := time.Now().Truncate(time.Second)
	if got := made.Device; !made.Created || made.Secret == "" || len(got.ID) < device.MinIDBytes || got.Version != 1 || !got.Registered.Equal(now) || !got.LastActive.Equal(now) {
		h.Fatalf("the new device is %+v", made)
	}
	want := d
	want.ID, want.Version, want.Registered, want.LastActive = made.Device.ID, 1, now.UTC(), now.UTC()
	want.Tokens = slices.Clone(d.Tokens)
	for i := range want.Tokens {
		want.Tokens[i].Registered, want.Tokens[i].Refreshed = now.UTC(), now.UTC()
		if t := &want.Tokens[i]; !t.Expires.IsZero() {
			t.Expires = t.Expires.UTC()
		}
	}
	h.twice(func() {
		got, err := h.devices().Device(ctx, id, want.ID)
		if err != nil || !reflect.DeepEqual(*got, want) {
			h.Fatalf("Device = %+v, %v\nwant %+v", got, err, want)
		}
	})
	if u, err := h.Users(ctx, id, []string{want.ID}); err != nil || !u[0].Exists || u[0].Kind != audience.RegistrationID {
		h.Errorf("its account is %+v, %v", u, err)
	}
	// The same again, soon: nothing is written. A day later it is, and the version stays.
	p := device.Proof{Secret: made.Secret}
	d.ID = want.ID
	h.later(23 * time.Hour)
	if r := h.register(p, d); r.Changed || r.Created || r.Secret != "" || !r.Device.LastActive.Equal(now) || r.Device.Version != 1 {
		h.Errorf("a refresh after 23 hours is %+v", r)
	}
	h.later(2 * time.Hour)
	if r := h.register(p, d); !r.Changed || !r.Device.LastActive.Equal(time.Now().Truncate(time.Second)) || r.Device.Version != 1 || !r.Device.Registered.Equal(now) {
		h.Errorf("a refresh after 25 hours is %+v", r)
	}
	d.Language = "en"
	if r := h.register(p, d); !r.Changed || r.Device.Version != 2 || r.Device.Language != "en" {
		h.Errorf("a change is %+v", r)
	}
	// An account of its kind becomes a device and keeps what it has; a UserID becomes none.
	h.change(id, []audience.Change{{Account: phone("account").ID, Create: true, Kind: audience.RegistrationID, Set: audience.Values{9: "v"}}})
	h.made(phone("account", token(1, "x")))
	h.want(id, phone("account").ID, "9=v")
	h.create(id, phone("user").ID)
	_, err := h.devices().Register(ctx, id, admin, phone("user"))
	h.is(err, device.ErrTaken, "registering a UserID")
	_, err = h.devices().Register(ctx, 99, admin, phone("new"))
	h.is(err, apierr.UnknownApp, "registering in an app that does not exist")
	if n, err := h.devices().Count(ctx, id); n != 2 || err != nil {
		h.Errorf("Count = %d, %v, want 2", n, err)
	}
}

func testProof(h *deviceHarness) {
	ctx, s := h.Context(), h.devices()
	made := h.register(device.Proof{}, phone("a", token(1, "x")))
	h.create(id, "alice", "bob")
	a := phone("a", token(1, "y"))
	for _, p := range []device.Proof{{}, {Secret: "wrong"}, {Secret: made.Secret + "x"}, {User: "alice"}, {User: a.ID}} {
		_, err := s.Register(ctx, id, p, a)
		h.is(err, device.ErrForbidden, "Register with %+v", p)
		h.is(s.Bind(ctx, id, p, a.ID, "alice", false), device.ErrForbidden, "Bind with %+v", p)
		h.is(s.Unbind(ctx, id, p, a.ID), device.ErrForbidden, "Unbind with %+v", p)
		h.is(s.SetBadge(ctx, id, p, a.ID, 1), device.ErrForbidden, "SetBadge with %+v", p)
		h.is(s.Remove(ctx, id, p, a.ID), device.ErrForbidden, "Remove with %+v", p)
	}
	h.wantDevice("a", "", "1:x")
	secret := device.Proof{Secret: made.Secret}
	h.is(s.Bind(ctx, id, secret, a.ID, "alice", false), nil, "Bind with the secret")
	h.reopen()
	s = h.devices()
	h.is(s.SetBadge(ctx, id, device.Proof{User: "bob"}, a.ID, 1), device.ErrForbidden, "SetBadge by another user")
	h.is(s.SetBadge(ctx, id, device.Proof{User: "alice"}, a.ID, 1), nil, "SetBadge by its user")
	h.register(device.Proof{User: "alice"}, a)
	h.register(secret, a)
	h.register(admin, a)
	h.is(s.Unbind(ctx, id, device.Proof{User: "alice"}, a.ID), nil, "Unbind by its user")
	h.is(s.Unbind(ctx, id, device.Proof{User: "alice"}, a.ID), device.ErrForbidden, "Unbind by who was its user")
	h.is(s.Remove(ctx, id, secret, a.ID), nil, "Remove with the secret")
	for what, err := range map[string]error{
		"Bind": s.Bind(ctx, id, admin, a.ID, "alice", false), "Unbind": s.Unbind(ctx, id, admin, a.ID), "SetBadge": s.SetBadge(ctx, id, admin, a.ID, 1),
		"Remove": s.Remove(ctx, id, admin, a.ID),
	} {
		h.is(err, device.ErrUnknown, "%s of a device that is gone", what)
	}
	// Who makes it again has another secret.
	h.made(a)
	_, err := s.Register(ctx, id, secret, phone("a"))
	h.is(err, device.ErrForbidden, "Register with the secret of before")
}

func testInvalidDevice(h *deviceHarness) {
	ok := phone("a", token(1, "x"))
	for what, spoil := range map[string]func(d *device.Device){
		"a short ID":              func(d *device.Device) { d.ID = "short" },
		"a long ID":               func(d *device.Device) { d.ID = strings.Repeat("x", 65) },
		"another character":       func(d *device.Device) { d.ID = "0123456789abcdef." },
		"no platform":             func(d *device.Device) { d.Platform = "symbian" },
		"a permission":            func(d *device.Device) { d.Permission = "maybe" },
		"a long text":             func(d *device.Device) { d.Model = strings.Repeat("x", device.MaxText+1) },
		"no UTF-8":                func(d *device.Device) { d.AppVersion = "\xff" },
		"a control character":     func(d *device.Device) { d.System = "a\nb" },
		"too many tokens":         func(d *device.Device) { d.Tokens = make([]device.Token, device.MaxTokens+1) },
		"two tokens in one place": func(d *device.Device) { d.Tokens = []device.Token{token(1, "x"), token(1, "y")} },
		"no certificate":          func(d *device.Device) { d.Tokens[0].Certificate = 0 },
		"no kind":                 func(d *device.Device) { d.Tokens[0].Kind = "" },
		"another kind":            func(d *device.Device) { d.Tokens[0].Kind = "sms" },
		"no address":              func(d *device.Device) { d.Tokens[0].Address = "" },
		"a long address": func(d *device.Device) {
			d.Tokens[0].Address = channel.Address(strings.Repeat("x", device.MaxAddress+1))
		},
		"an address with a blank":  func(d *device.Device) { d.Tokens[0].Address = "a b" },
		"another environment":      func(d *device.Device) { d.Tokens[0].Environment = "test" },
		"a long topic":             func(d *device.Device) { d.Tokens[0].Topic = strings.Repeat("x", device.MaxTopic+1) },
		"a time before all others": func(d *device.Device) { d.Tokens[0].Expires = time.Unix(-5, 0) },
	} {
		d := ok
		d.Tokens = slices.Clone(ok.Tokens)
		spoil(&d)
		_, err := h.devices().Register(h.Context(), id, admin, d)
		h.is(err, device.ErrInvalid, "%s", what)
	}
	h.is(h.devices().SetBadge(h.Context(), id, admin, ok.ID, -1), device.ErrInvalid, "a badge of -1")
	h.is(h.devices().SetBadge(h.Context(), id, admin, ok.ID, device.MaxBadge+1), device.ErrInvalid, "a badge that is too large")
	if n, err := h.devices().Count(h.Context(), id); n != 0 || err != nil {
		h.Errorf("Count = %d, %v", n, err)
	}
	// The largest device there can be.
	d := device.Device{ID: strings.Repeat("x", device.MaxIDBytes), Language: strings.Repeat("l", device.MaxText), TimeZone: strings.Repeat("t", device.MaxText)}
	for i := range device.MaxTokens {
		d.Tokens = append(d.Tokens, device.Token{
			Certificate: device.MaxCertificate - i, Kind: channel.LiveActivity, LaID: strings.Repeat("l", device.MaxText), Topic: strings.Repeat("t", device.MaxTopic),
			Address: channel.Address(strings.Repeat("a", device.MaxAddress)), Environment: channel.Production, Expires: time.Unix(1<<32-1, 0),
		})
	}
	h.register(device.Proof{}, d)
	h.twice(func() {
		got, err := h.devices().Device(h.Context(), id, d.ID)
		if err != nil || len(got.Tokens) != device.MaxTokens || len(got.Tokens[7].Address) != device.MaxAddress {
			h.Errorf("the largest device is %+v, %v", got, err)
		}
	})
}

func testTokens(h *deviceHarness) {
	h.made(phone("a", token(1, "x"), token(2, "y")))
	first := time.Now().Truncate(time.Second)
	h.later(48 * time.Hour)
	h.register(admin, phone("a", token(1, "x"), token(2, "z")))
	h.twice(func() {
		d := h.wantDevice("a", "", "1:x 2:z")
		if z, x := d.Tokens[0], d.Tokens[1]; z.Certificate != 2 || !z.Registered.Equal(first.Add(48*time.Hour)) || !x.Registered.Equal(first) || !x.Refreshed.Equal(z.Registered) {
			h.Errorf("the tokens are %+v, the newest is not first or has another time", d.Tokens)
		}
	})
	h.register(admin, phone("a"))
	h.wantDevice("a", "", "")
	h.register(admin, phone("a", token(1, "x")))
	if d := h.wantDevice("a", "", "1:x"); !d.Tokens[0].Registered.After(first) || d.Version != 4 {
		h.Errorf("a token that came back is %+v in version %d", d.Tokens[0], d.Version)
	}
}

func testMovingTokens(h *deviceHarness) {
	h.made(phone("a", token(1, "x"), token(2, "y")))
	h.made(phone("b", token(1, "z")))
	h.register(admin, phone("b", token(1, "x")))
	h.twice(func() {
		if d := h.wantDevice("a", "", "2:y"); d.Version != 2 {
			h.Errorf("the device that lost a token has version %d", d.Version)
		}
		h.wantDevice("b", "", "1:x")
	})
	// Of another certificate or kind it is another token.
	h.made(phone("c", token(3, "x"), device.Token{Certificate: 1, Kind: channel.VoIP, Address: "x"}))
	h.wantDevice("b", "", "1:x")
	h.register(admin, phone("a", token(1, "x"), token(2, "y")))
	h.wantDevice("b", "", "")
	// A device may have one address in two places, and keeps it while it has one of them.
	d := phone("d", device.Token{Certificate: 1, Kind: channel.LiveActivity, LaID: "1", Address: "l"}, device.Token{Certificate: 1, Kind: channel.LiveActivity, LaID: "2", Address: "l"})
	h.made(d)
	d.Tokens = d.Tokens[1:]
	h.register(admin, d)
	h.made(phone("e", d.Tokens...))
	h.wantDevice("d", "", "")
	h.inspect()
}

func testBind(h *deviceHarness) {
	ctx, s := h.Context(), h.devices()
	a := h.made(phone("a", token(1, "x")))
	h.made(phone("b"))
	h.create(id, "alice", "bob")
	h.is(s.Bind(ctx, id, admin, a, "nobody", false), apierr.UnknownAccount, "Bind to nobody")
	h.is(s.Bind(ctx, id, admin, a, phone("b").ID, true), apierr.WrongAccountKind, "Bind to a RegistrationID")
	h.is(s.Bind(ctx, id, admin, a, strings.Repeat("x", 65), true), apierr.UnknownAccount, "Bind to what is no UserID")
	h.is(s.Bind(ctx, id, admin, a, "alice", true), nil, "Bind")
	h.wantOf("alice", "a")
	h.is(s.Bind(ctx, id, admin, a, "bob", false), nil, "Bind to another")
	h.wantOf("alice")
	h.wantOf("bob", "a")
	h.is(s.Bind(ctx, id, admin, a, "bob", false), nil, "Bind again")
	h.twice(func() {
		if d := h.wantDevice("a", "bob", "1:x"); d.Version != 3 {
			h.Errorf("the version is %d, want 3", d.Version)
		}
	})
	s = h.devices()
	h.is(s.Bind(ctx, id, admin, phone("b").ID, "carol", true), nil, "Bind to a new user")
	h.twice(func() { h.wantOf("carol", "b") })
	s = h.devices()
	h.is(s.Unbind(ctx, id, admin, a), nil, "Unbind")
	h.is(s.Unbind(ctx, id, admin, a), nil, "Unbind again")
	if d := h.wantDevice("a", "", "1:x"); d.Version != 4 {
		h.Errorf("the version is %d, want 4", d.Version)
	}
	h.wantOf(a, "a")
	_, err := s.Of(ctx, id, "nobody")
	h.is(err, apierr.UnknownAccount, "Of nobody")
	_, err = s.Device(ctx, id, "alice")
	h.is(err, device.ErrUnknown, "Device of a user")
}

func testPushedOut(h *deviceHarness) {
	record := NewApp(id)
	record.Settings.Devices.UserMax = 3
	h.saveApp(record)
	for _, name := range []string{"a", "b", "c", "d"} {
		h.made(phone(name))
		h.later(48 * time.Hour)
	}
	for _, name := range []string{"b", "a", "c"} {
		h.is(h.devices().Bind(h.Context(), id, admin, phone(name).ID, "alice", true), nil, "Bind")
	}
	h.register(admin, phone("a")) // and so b is idle longest
	h.is(h.devices().Bind(h.Context(), id, admin, phone("d").ID, "alice", true), nil, "Bind")
	h.twice(func() { h.wantOf("alice", "a", "c", "d") })
	h.wantDevice("b", "", "")
}

func testUserGone(h *deviceHarness) {
	ctx := h.Context()
	h.create(id, "alice", "bob", "carol")
	for name, user := range map[string]string{"a": "alice", "b": "alice", "c": "bob", "d": "carol"} {
		h.made(phone(name, token(1, name)))
		h.is(h.devices().Bind(ctx, id, admin, phone(name).ID, user, false), nil, "Bind")
	}
	h.made(phone("e"))
	if err := h.Revoke(ctx, id, "alice", time.Now()); err != nil {
		h.Fatal(err)
	}
	h.twice(func() {
		h.wantOf("alice")
		if d := h.wantDevice("a", "", "1:a"); d.Version != 3 {
			h.Errorf("the version is %d, want 3", d.Version)
		}
		h.wantOf("bob", "c")
	})
	if _, err := h.Delete(ctx, id, audience.UserID, []string{"bob", "carol", "bob", app.BuiltInAdmin}); err != nil {
		h.Fatal(err)
	}
	h.twice(func() {
		h.wantDevice("c", "", "1:c")
		h.wantDevice("d", "", "1:d")
	})
	h.create(id, "bob") // may have the number of before
	h.wantOf("bob")
	h.wantDevice("e", "", "")
}

func testDeviceGone(h *deviceHarness) {
	ctx := h.Context()
	h.create(id, "alice")
	for _, name := range []string{"a", "b"} {
		h.made(phone(name, token(1, name)))
		h.register(admin, phone(name, token(1, name), token(2, name)))
		h.is(h.devices().Bind(ctx, id, admin, phone(name).ID, "alice", false), nil, "Bind")
		h.is(h.devices().SetBadge(ctx, id, admin, phone(name).ID, 5), nil, "SetBadge")
	}
	h.is(h.devices().Remove(ctx, id, admin, phone("a").ID), nil, "Remove")
	answers, err := h.Delete(ctx, id, audience.RegistrationID, []string{phone("b").ID, phone("b").ID})
	if err != nil || answers[0] != nil || answers[1] == nil {
		h.Fatal(answers, err)
	}
	h.twice(func() {
		h.wantOf("alice")
		for _, name := range []string{"a", "b"} {
			_, err := h.devices().Device(ctx, id, phone(name).ID)
			h.is(err, device.ErrUnknown, "Device(%s)", name)
			_, err = h.devices().Of(ctx, id, phone(name).ID)
			h.is(err, apierr.UnknownAccount, "Of(%s)", name)
		}
		h.inspect()
	})
	h.made(phone("a"))
	if d := h.wantDevice("a", "", ""); d.Badge != 0 || d.Version != 1 {
		h.Errorf("the new device is %+v", d)
	}
	h.made(phone("c", token(1, "a"), token(2, "b")))
	h.wantDevice("c", "", "1:a 2:b")
}

func testBadge(h *deviceHarness) {
	a := h.made(phone("a"))
	for _, badge := range []int{7, 7, 0, device.MaxBadge} {
		h.is(h.devices().SetBadge(h.Context(), id, admin, a, badge), nil, "SetBadge")
		h.twice(func() {
			if d := h.wantDevice("a", "", ""); d.Badge != badge || d.Version != 1 {
				h.Errorf("the badge is %d, want %d, in version %d", d.Badge, badge, d.Version)
			}
		})
	}
	if r := h.register(admin, phone("a")); r.Device.Badge != device.MaxBadge {
		h.Errorf("after a refresh the badge is %d", r.Device.Badge)
	}
}

const day = 24 * time.Hour

func testIdle(h *deviceHarness) {
	ctx := h.Context()
	web := device.Token{Certificate: 3, Kind: channel.Subscription, Address: "w"}
	for i := range 150 { // more than a piece
		h.made(phone(fmt.Sprint("a", i), token(1, fmt.Sprint(i)), device.Token{Certificate: 3, Kind: channel.Subscription, Address: channel.Address(fmt.Sprint("w", i))}))
	}
	h.made(phone("b", token(1, "x"), web))
	sweep := func() {
		h.Helper()
		h.is(h.devices().Sweep(ctx, time.Now()), nil, "Sweep")
	}
	h.later(59 * day)
	sweep()
	h.wantDevice("b", "", "1:x 3:w")
	h.register(admin, phone("b", token(1, "x"), web))
	h.later(day)
	sweep()
	h.wantDevice("a149", "", "1:149")
	h.wantDevice("b", "", "1:x 3:w")
	h.later(210*day - time.Second)
	sweep()
	h.wantDevice("a149", "", "1:149")
	h.wantDevice("b", "", "1:x")
	h.later(time.Second)
	sweep()
	h.twice(func() {
		h.wantDevice("a149", "", "")
		h.wantDevice("b", "", "1:x")
		list, err := h.devices().Retired(ctx, id, "", "", 1000)
		if err != nil || len(list) != 151 { // those of Web Push are not kept any more, but for that of b
			h.Fatalf("%d tokens are retired, %v", len(list), err)
		}
		if r := list[0]; !strings.Contains(r.Reason, "270 days") || r.Token.Certificate != 1 || r.Task != "" || !r.At.Equal(time.Now().Truncate(time.Second)) {
			h.Errorf("a retired token is %+v", r)
		}
	})
}

func testRestore(h *deviceHarness) {
	ctx := h.Context()
	for _, name := range []string{"a", "b", "c", "d"} {
		h.made(phone(name, token(1, name)))
	}
	h.later(271 * day)
	h.is(h.devices().Sweep(ctx, time.Now()), nil, "Sweep")
	h.later(time.Hour)
	h.register(admin, phone("b", token(1, "new"))) // its place is taken
	h.made(phone("e", token(1, "c")))              // another device has it
	restore := func(name, task string, want int) {
		h.Helper()
		if name != "" {
			name = phone(name).ID
		}
		if n, err := h.devices().Restore(ctx, id, name, task); err != nil || n != want {
			h.Fatalf("Restore(%q, %q) = %d, %v, want %d", name, task, n, err, want)
		}
	}
	restore("", "no such task", 0)
	restore("a", "", 1)
	h.twice(func() { h.wantDevice("a", "", "1:a") })
	restore("a", "", 0)
	restore("", "", 1)
	h.twice(func() {
		h.wantDevice("b", "", "1:new")
		h.wantDevice("c", "", "")
		h.wantDevice("d", "", "1:d")
		h.wantDevice("e", "", "1:c")
	})
	_, err := h.devices().Restore(ctx, id, phone("nobody").ID, "")
	h.is(err, device.ErrUnknown, "Restore of nobody")
	list, err := h.devices().Retired(ctx, id, "", "", 1)
	if err != nil || len(list) != 1 {
		h.Errorf("Retired with limit 1 = %v, %v", list, err)
	}
	if list, err = h.devices().Retired(ctx, id, phone("b").ID, "", 10); err != nil || len(list) != 1 || list[0].Device != phone("b").ID || list[0].Token.Address != "b" {
		h.Errorf("Retired of b = %v, %v", list, err)
	}
	h.later(31 * day)
	h.is(h.devices().Sweep(ctx, time.Now()), nil, "Sweep")
	if list, err = h.devices().Retired(ctx, id, "", "", 10); err != nil || len(list) != 0 {
		h.Errorf("a month later %v are kept, %v", list, err)
	}
}

func testDeviceList(h *deviceHarness) {
	ctx := h.Context()
	var want []string
	for i := range 25 {
		h.create(id, fmt.Sprint("user", i))
		want = append(want, h.made(phone(fmt.Sprint("d", i), token(1+i%3, fmt.Sprint(i)))))
	}
	h.change(id, []audience.Change{{Account: phone("no device").ID, Create: true, Kind: audience.RegistrationID}})
	h.twice(func() {
		var got []string
		for next, pages := "", 0; pages == 0 || next != ""; pages++ {
			list, after, err := h.devices().List(ctx, id, 10, next)
			if err != nil || len(list) > 10 || pages > 3 {
				h.Fatalf("List = %d devices, %v", len(list), err)
			}
			for i := range list {
				got = append(got, list[i].ID)
			}
			next = after
		}
		if !slices.Equal(got, want) {
			h.Errorf("List = %q, want %q", got, want)
		}
		for certificate, want := range []int{0, 9, 8, 8, 0} {
			if n, err := h.devices().CertificateUse(ctx, id, certificate); err != nil || n != want {
				h.Errorf("certificate %d has %d devices, %v, want %d", certificate, n, err, want)
			}
		}
	})
	if _, _, err := h.devices().List(ctx, id, 10, "no token of a page"); err == nil {
		h.Error("List takes a token that it never gave")
	}
}

func testDeviceLimits(h *deviceHarness) {
	record := NewApp(id)
	record.Settings.Devices.Max = 2
	h.saveApp(record)
	a := h.made(phone("a"))
	h.made(phone("b"))
	_, err := h.devices().Register(h.Context(), id, admin, phone("c"))
	h.is(err, device.ErrFull, "a third device")
	h.register(admin, phone("b", token(1, "x")))
	h.is(h.devices().Remove(h.Context(), id, admin, a), nil, "Remove")
	h.made(phone("c"))
	record.Settings.Devices.Max, record.Settings.MaxAccounts = 0, 3
	h.saveApp(record)
	_, err = h.devices().Register(h.Context(), id, admin, phone("d"))
	h.is(err, device.ErrFull, "a fourth account")
	h.is(h.devices().Bind(h.Context(), id, admin, phone("c").ID, "alice", true), apierr.AccountLimit, "Bind to a fourth account")
	h.wantCount(id, 3)
}

func testDeviceAuthority(h *deviceHarness) {
	a := h.made(phone("a"))
	ctx := audience.WithAuthority(h.Context(), func() bool { return false })
	s := h.devices()
	_, err := s.Register(ctx, id, admin, phone("a", token(1, "x")))
	h.is(err, audience.ErrStale, "Register")
	_, err = s.Register(ctx, id, admin, phone("b"))
	h.is(err, audience.ErrStale, "Register of a new one")
	h.is(s.Bind(ctx, id, admin, a, "alice", true), audience.ErrStale, "Bind")
	h.is(s.SetBadge(ctx, id, admin, a, 3), audience.ErrStale, "SetBadge")
	h.is(s.Remove(ctx, id, admin, a), audience.ErrStale, "Remove")
	h.wantDevice("a", "", "")
	h.wantCount(id, 2)
}

// testDevicesOfNewApp: an app that is made with the number of one that was deleted knows
// nothing of its devices.
func testDevicesOfNewApp(h *deviceHarness) {
	for range 3 {
		a := h.made(phone("a", token(1, "x")))
		h.made(phone("b", token(1, "y")))
		h.is(h.devices().SetBadge(h.Context(), id, admin, a, 3), nil, "SetBadge")
		if err := h.DeleteApp(h.Context(), id); err != nil {
			h.Fatal(err)
		}
		h.saveApp(NewApp(id))
		h.made(phone("c", token(1, "y")))
		h.wantDevice("c", "", "1:y")
		_, err := h.devices().Device(h.Context(), id, a)
		h.is(err, device.ErrUnknown, "Device")
		h.is(h.devices().Remove(h.Context(), id, admin, phone("c").ID), nil, "Remove")
	}
}

// testMovedDevices: what is exported is imported again as it was, into another app, with
// users and secrets; and again changes nothing.
func testMovedDevices(h *deviceHarness) {
	ctx := h.Context()
	const other = id + 1
	h.saveApp(NewApp(other))
	made := h.register(device.Proof{}, phone("a", token(1, "x"), device.Token{Certificate: 1, Kind: channel.LiveActivity, LaID: "l", Address: "y", Expires: time.Unix(2_000_000_000, 0)}))
	h.is(h.devices().Bind(ctx, id, admin, made.Device.ID, "alice", true), nil, "Bind")
	h.is(h.devices().SetBadge(ctx, id, admin, made.Device.ID, 7), nil, "SetBadge")
	h.later(48 * time.Hour)
	h.made(phone("b", token(1, "z")))
	export := func(app uint32) (list []*device.Moved) {
		h.Helper()
		h.is(h.devices().Export(ctx, app, func(m *device.Moved) error { list = append(list, m); return nil }), nil, "Export")
		return list
	}
	load := func(dryRun bool, want string, lists ...[]*device.Moved) {
		h.Helper()
		var got []string
		err := h.devices().Import(ctx, other, slices.Values(lists), dryRun, func(i int, o audience.Outcome, err error) {
			if err != nil {
				o = 9
			}
			got = append(got, fmt.Sprint(i, o))
		})
		if text := strings.Join(got, ", "); err != nil || text != want {
			h.Fatalf("Import: %s, %v, want %s", text, err, want)
		}
	}
	list := export(id)
	load(true, "0 3, 1 3", list)
	if got := export(other); len(got) != 0 {
		h.Fatalf("a dry run made %d devices", len(got))
	}
	load(false, "0 3, 1 3", list[:1], list[1:])
	h.twice(func() {
		got := export(other)
		for i, m := range got {
			want := *list[i]
			want.Version = 1
			if !reflect.DeepEqual(*m, want) {
				h.Errorf("device %d is %+v, want %+v", i, *m, want)
			}
		}
	})
	h.is(h.devices().SetBadge(ctx, other, admin, made.Device.ID, 9), nil, "SetBadge")
	load(true, "0 1, 1 1", list)
	load(false, "0 1, 1 1", list)
	if got := export(other)[0].Badge; got != 9 {
		h.Errorf("a file changes the badge of a device that exists to %d", got)
	}
	if _, err := h.devices().Register(ctx, other, device.Proof{Secret: made.Secret}, phone("a", token(1, "new"))); err != nil {
		h.Errorf("with the secret of before: %v", err)
	}
	list[0].User, list[1].User = "bob", made.Device.ID // the second of which is no user
	load(true, "0 2, 1 9", list)
	load(false, "0 2, 1 9", list)
	h.create(other, phone("taken").ID)
	bad := []*device.Moved{{Device: phone("taken")}, {Device: device.Device{ID: "short"}}, {Device: phone("c"), SecretHash: "no"}}
	load(true, "0 9, 1 9, 2 9", bad)
	load(false, "0 9, 1 9, 2 9", bad)
}
