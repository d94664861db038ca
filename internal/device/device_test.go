package device

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
)

// ways returns a device with tokens as in "1 alert, 2 webpush".
func ways(text string) *Device {
	d := &Device{}
	for _, part := range strings.Split(text, ", ") {
		var t Token
		if _, err := fmt.Sscan(part, &t.Certificate, &t.Kind); err == nil {
			t.Address = "x"
			d.Tokens = append(d.Tokens, t)
		}
	}
	return d
}

// TestChoose: by which way a device is reached, or why by none.
func TestChoose(t *testing.T) {
	a := &app.App{Certificates: []app.Certificate{
		{ID: 1, Provider: channel.FCM}, {ID: 2, Provider: channel.WebPush}, {ID: 3, Provider: channel.FCM}, {ID: 4, Provider: channel.APNs}, {ID: 5, Provider: channel.Huawei},
	}}
	a.Settings.Push.Order = []channel.Provider{channel.Huawei, channel.FCM, channel.WebPush}
	channels := ChannelsOf(a)
	for _, c := range []struct {
		ways       string
		permission Permission
		want       string
	}{
		{"", Allowed, "no token"},
		{"1 voip, 4 liveactivity, 4 liveactivity-start", Allowed, "no token"},
		{"9 alert", Allowed, "no certificate"},
		{"9 alert, 4 voip", Denied, "no certificate"},
		{"1 alert", Denied, "permission off"},
		{"1 alert", PermissionUnknown, "1 fcm alert"},
		{"1 alert, 3 alert", Allowed, "1 fcm alert"},
		{"3 fid, 1 alert", Allowed, "3 fcm fid"},
		{"2 webpush, 1 alert", Allowed, "1 fcm alert"},
		{"2 webpush, 9 alert", Allowed, "2 webpush webpush"},
		{"4 alert, 2 webpush, 1 fid, 5 alert", Allowed, "5 huawei alert"},
		{"4 alert, 2 webpush", Allowed, "2 webpush webpush"}, // those that the app does not name come last
		{"4 voip, 4 alert", Allowed, "4 apns alert"},
	} {
		d := ways(c.ways)
		d.Permission = c.permission
		f := d.Facet()
		got := channels.Choose(&f)
		text := string(got.Reason)
		if got.Reason == Sendable {
			text = fmt.Sprint(got.Certificate, " ", got.Provider, " ", got.Kind)
			if token := d.Token(&got); token == nil || token.Kind != got.Kind {
				t.Errorf("%s: the token of the choice is %+v", c.ways, token)
			}
		} else if got != (Choice{Reason: got.Reason}) {
			t.Errorf("%s: %+v has more than a reason", c.ways, got)
		}
		if text != c.want {
			t.Errorf("%s with permission %q: %s, want %s", c.ways, c.permission, text, c.want)
		}
	}
	if got := (&Channels{}).Choose(&Facet{Ways: []Way{{1, channel.Alert}}}); got.Reason != NoCertificate {
		t.Errorf("an app without certificates: %+v", got)
	}
}

// largest is a device with the largest facet there can be.
func largest() *Device {
	d := &Device{Platform: "web", Language: strings.Repeat("l", MaxText), Permission: Allowed, Test: true}
	for i := range MaxTokens {
		d.Tokens = append(d.Tokens, Token{Certificate: MaxCertificate - i, Kind: channel.Subscription, Address: "x"})
	}
	return d
}

// TestFacets: a facet is the same when it is read, has at most 255 bytes, and facets that
// differ in anything have different bytes.
func TestFacets(t *testing.T) {
	seen := map[string]Facet{}
	add := func(d *Device) {
		t.Helper()
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		f := d.Facet()
		b := f.Encode(nil)
		if len(b) == 0 || len(b) > 255 {
			t.Errorf("%+v has %d bytes", f, len(b))
		}
		if again, err := ParseFacet(b); err != nil || !reflect.DeepEqual(again, f) {
			t.Errorf("%+v is %+v, %v when it is read", f, again, err)
		}
		if other, is := seen[string(b)]; is {
			t.Errorf("%+v and %+v have the same bytes", f, other)
		}
		seen[string(b)] = f
	}
	add(largest())
	for _, platform := range platforms {
		for _, permission := range allowed {
			for _, test := range []bool{false, true} {
				for _, language := range []string{"", "en", "zh-Hans"} {
					for _, list := range []string{"", "1 alert", "2 alert", "1 fid", "1 alert, 300 webpush", "300 webpush, 1 alert"} {
						d := ways(list)
						d.Platform, d.Permission, d.Test, d.Language = platform, permission, test, language
						add(d)
					}
				}
			}
		}
	}
	f := largest().Facet()
	if !f.Uses(MaxCertificate) || f.Uses(1) {
		t.Error("Uses is wrong")
	}
}

func FuzzFacet(f *testing.F) {
	for _, d := range []*Device{largest(), ways(""), ways("1 alert, 2 voip")} {
		facet := d.Facet()
		f.Add(facet.Encode(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		facet, err := ParseFacet(b)
		if err != nil {
			return
		}
		if again, err := ParseFacet(facet.Encode(nil)); err != nil || !reflect.DeepEqual(again, facet) {
			t.Fatalf("%+v is %+v, %v when it is read again", facet, again, err)
		}
	})
}

// TestErrorsShowNoToken: no error of a check, and nothing that is printed of a device, shows
// its token.
func TestErrorsShowNoToken(t *testing.T) {
	const secret = "cX9vR2tPq-7:APA91bH_secret"
	ok := Token{Certificate: 1, Kind: channel.Alert, Address: secret}
	for _, spoil := range []func(*Token){
		func(t *Token) {},
		func(t *Token) { t.Kind = "sms" },
		func(t *Token) { t.Certificate = -1 },
		func(t *Token) { t.Environment = "?" },
		func(t *Token) { t.Topic = strings.Repeat("x", 300) },
		func(t *Token) { t.Address += " " },
		func(t *Token) { t.Address += "\xff" },
		func(t *Token) { t.Address += channel.Address(strings.Repeat("x", MaxAddress)) },
		func(t *Token) { t.LaID = "\x00" },
		func(t *Token) { t.Expires = time.Unix(-1, 0) },
	} {
		bad := ok
		spoil(&bad)
		d := Device{Tokens: slices.Repeat([]Token{bad}, 2)}
		if text := fmt.Sprintf("%v %+v %s", d.Check(), d, fmt.Sprint(d.Tokens)); strings.Contains(text, secret) || strings.Contains(text, secret[:10]) {
			t.Errorf("it shows the token: %s", text)
		}
	}
}

func TestBadgeAfter(t *testing.T) {
	counts, silent := channel.Apple{BadgeMode: new(0)}, channel.Apple{BadgeMode: new(1)}
	for _, c := range []struct {
		name      string
		message   channel.Message
		fcm, apns int
	}{
		{"none", channel.Message{}, -1, -1},
		{"add", channel.Message{BadgeAdd: 2}, 7, 7},
		{"add to the most", channel.Message{BadgeAdd: MaxBadge}, MaxBadge, MaxBadge},
		{"set", channel.Message{BadgeSet: new(0), BadgeAdd: 2, Apple: counts}, 0, 0},
		{"mode 0 is for Apple devices", channel.Message{Apple: counts}, -1, 6},
		{"mode 0 and add", channel.Message{BadgeAdd: 2, Apple: counts}, 7, 7},
		{"mode 1", channel.Message{Apple: silent}, -1, -1},
	} {
		if got := BadgeAfter(5, &c.message, channel.FCM); got != c.fcm {
			t.Errorf("%s, FCM: got %d, want %d", c.name, got, c.fcm)
		}
		if got := BadgeAfter(5, &c.message, channel.APNs); got != c.apns {
			t.Errorf("%s, APNs: got %d, want %d", c.name, got, c.apns)
		}
	}
}
