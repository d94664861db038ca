package app_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/wording"
)

func TestDeclarationCheck(t *testing.T) {
	long := func(n int) *string { return new(strings.Repeat("x", n)) }
	for _, c := range []struct {
		name string
		d    app.Declaration
		want []string // fields
	}{
		{"least", app.Declaration{ID: 1}, nil},
		{"no id", app.Declaration{}, []string{"sdkappid"}},
		{"longest texts", app.Declaration{ID: 1, Name: long(200), Description: long(2000), SecretKey: long(512)}, nil},
		{"too long texts", app.Declaration{ID: 1, Name: long(201), Description: long(2001), SecretKey: long(513)}, []string{"description", "name", "secret_key"}},
		{"shortest key", app.Declaration{ID: 1, SecretKey: long(8)}, nil},
		{"too short a key", app.Declaration{ID: 1, SecretKey: long(7)}, []string{"secret_key"}},
		{"key of other letters", app.Declaration{ID: 1, SecretKey: new("密钥-key")}, nil},
		{"key with a line break", app.Declaration{ID: 1, SecretKey: new("secret-key\n")}, []string{"secret_key"}},
		{"key not UTF-8", app.Declaration{ID: 1, SecretKey: new("secret-key\xff")}, []string{"secret_key"}},
		{"retiring key", app.Declaration{ID: 1, Retiring: []app.RetiringKey{{SecretKey: "good enough"}, {}}}, []string{"retiring_keys[1].secret_key"}},
		{"status", app.Declaration{ID: 1, Status: new(app.Status("off"))}, []string{"status"}},
		{"user ids", app.Declaration{ID: 1, UserIDs: new(app.UserIDs("latin1"))}, []string{"user_ids"}},
		{"admins", app.Declaration{ID: 1, UserIDs: new(app.ASCII), Admins: []string{"ops", "", "用户", " x", "x ", "a b", strings.Repeat("x", 33)}}, []string{"admins[1]", "admins[2]", "admins[3]", "admins[4]", "admins[6]"}},
		{"admins in UTF-8", app.Declaration{ID: 1, UserIDs: new(app.UTF8), Admins: []string{"用户", " x", "a\u0085b", "\xff"}}, []string{"admins[2]", "admins[3]"}},
		{"most admins", app.Declaration{ID: 1, Admins: strings.Fields("a b c d e f g h i a administrator")}, nil},
		{"too many admins", app.Declaration{ID: 1, Admins: strings.Fields("a b c d e f g h i j")}, []string{"admins"}},
		{"blocked accounts", app.Declaration{ID: 1, BlockedAccounts: []string{"用户", ""}}, []string{"blocked_accounts[1]"}},
		{"attributes", app.Declaration{ID: 1, AttrNames: map[string]string{"0": "a", "9": strings.Repeat("x", 50)}, AttrTypes: map[string]int{"9": 1, "0": 0}}, nil},
		{"names of attributes", app.Declaration{ID: 1, AttrNames: map[string]string{"0": "", "1": strings.Repeat("x", 51), "2": "a", "3": "a"}}, []string{"attr_names.0", "attr_names.1", "attr_names.3"}},
		{"slots", app.Declaration{ID: 1, AttrNames: map[string]string{"10": "a", "-1": "b", "01": "c", "": "d"}}, []string{"attr_names.", "attr_names.-1", "attr_names.01", "attr_names.10"}},
		{"types", app.Declaration{ID: 1, AttrNames: map[string]string{"0": "a", "1": "b"}, AttrTypes: map[string]int{"0": 2, "1": -1, "2": 0}}, []string{"attr_types.0", "attr_types.1", "attr_types.2"}},
		{"limits", app.Declaration{ID: 1, Limits: app.Limits{"default": 0, "total": app.MaxLimit, "timpush/set_attr": 1}}, nil},
		{"bad limits", app.Declaration{ID: 1, Limits: app.Limits{"default": -1, "total": app.MaxLimit + 1, "set_attr": 1}}, []string{"limits.default", "limits.set_attr", "limits.total"}},
		{"rules about accounts", app.Declaration{ID: 1, MaxAccounts: new(app.MaxAppAccounts), ReimportWait: new(wording.Span(app.MaxReimportWait))}, nil},
		{"no rules about accounts", app.Declaration{ID: 1, MaxAccounts: new(0), ReimportWait: new(wording.Span(0))}, nil},
		{"too much in the rules", app.Declaration{ID: 1, MaxAccounts: new(app.MaxAppAccounts + 1), ReimportWait: new(wording.Span(app.MaxReimportWait + time.Second))}, []string{"max_accounts", "reimport_wait"}},
		{"too little in the rules", app.Declaration{ID: 1, MaxAccounts: new(-1), ReimportWait: new(wording.Span(-time.Second))}, []string{"max_accounts", "reimport_wait"}},
		{"a part of a second", app.Declaration{ID: 1, ReimportWait: new(wording.Span(1500 * time.Millisecond))}, []string{"reimport_wait"}},
		{"disabled commands", app.Declaration{ID: 1, DisabledCommands: []string{"timpush/set_attr", "timpush/push"}}, []string{"disabled_commands[1]"}},
		{"most about pushes", app.Declaration{
			ID: 1, PushGap: new(wording.Span(24 * time.Hour)), PushQuota: new(1_000_000), Lifetime: new(wording.Span(app.MaxLifetime)), PendingTasks: new(100_000),
			PushPace: new(app.MaxLimit), TaskPace: new(app.MaxLimit), ChannelOrder: channel.Providers(), PreviewDrift: new(100),
			DeviceLimit: new(100_000_000), DevicesAUser: new(1000), RegistrationRate: new(app.MaxLimit), RegistrationSourceRate: new(app.MaxLimit),
			DeviceOrigins: []string{"*", "http://localhost:3000"}, AppKeys: []string{"an-app-key"},
		}, nil},
		{"too much about pushes", app.Declaration{
			ID: 1, PushGap: new(wording.Span(25 * time.Hour)), PushQuota: new(1_000_001), PushQuotaZone: new("Mars/Olympus"), Lifetime: new(wording.Span(app.MaxLifetime + time.Second)),
			PendingTasks: new(100_001), PushPace: new(-1), TaskPace: new(app.MaxLimit + 1), ChannelOrder: []channel.Provider{channel.FCM, "mail", channel.FCM}, PreviewDrift: new(101),
			DeviceLimit: new(0), DevicesAUser: new(0), RegistrationRate: new(-1), RegistrationSourceRate: new(-1),
			DeviceOrigins: []string{"shop.example.com", "https://Shop.example.com", "https://x/"}, AppKeys: []string{"short"},
		}, []string{
			"app_keys[0]", "channel_order", "channel_order[1]", "device_limit", "device_origins[0]", "device_origins[1]", "device_origins[2]", "devices_a_user", "lifetime",
			"pending_tasks", "preview_drift", "push_gap", "push_pace", "push_quota", "push_quota_zone", "registration_rate", "registration_source_rate", "task_pace",
		}},
		{"zone of the machine", app.Declaration{ID: 1, PushQuotaZone: new("Local"), Lifetime: new(wording.Span(1500 * time.Millisecond))}, []string{"lifetime", "push_quota_zone"}},
		{"path as a zone", app.Declaration{ID: 1, PushQuotaZone: new("../../etc/passwd")}, []string{"push_quota_zone"}},
		{"hosts", app.Declaration{ID: 1, Hosts: []string{"im.example.com", "", "https://x", "x:443"}}, []string{"hosts[1]", "hosts[2]", "hosts[3]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, e := range c.d.Check(commands) {
				got = append(got, e.Field)
				if e.Msg == "" || c.d.SecretKey != nil && strings.Contains(e.Error(), *c.d.SecretKey) {
					t.Errorf("%v: no text, or one with a secret", e)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("Check finds %q, want %q", got, c.want)
			}
		})
	}
}

// FuzzUserIDs: what is allowed in ASCII is allowed in UTF-8, and neither is
// longer than the contract's 32 bytes.
func FuzzUserIDs(f *testing.F) {
	for _, s := range []string{"", "Mary", " x", "a b", "用户", "\x7f", "\xff", strings.Repeat("x", 33)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		ascii, utf8 := app.ASCII.Check(id), app.UTF8.Check(id)
		if ascii == nil && utf8 != nil {
			t.Errorf("%q is allowed in ASCII and not in UTF-8: %v", id, utf8)
		}
		if utf8 == nil && (id == "" || len(id) > 32) {
			t.Errorf("%q of %d bytes is allowed", id, len(id))
		}
		for _, err := range []error{ascii, utf8} {
			if err != nil && !strings.Contains(fmt.Sprint(err), " ") {
				t.Errorf("%q is refused with %v", id, err)
			}
		}
	})
}

// TestDeclarationOfApp: what an app says of itself, as JSON, makes another app the same,
// and says everything, also what was never set.
func TestDeclarationOfApp(t *testing.T) {
	for _, d := range []app.Declaration{{}, {
		Name: new("shop"), Description: new("a shop"), Status: new(app.Suspended), UserIDs: new(app.UTF8), Admins: []string{"ops"},
		AttrNames: map[string]string{"0": "sex", "9": "build"}, AttrTypes: map[string]int{"9": 1},
		CreateAccounts: new(true), MaxAccounts: new(7), DeleteAccounts: new(false), ReimportWait: new(wording.Span(36 * time.Hour)),
		Limits: app.Limits{app.LimitTotal: 7}, MaxTags: new(0), Hosts: []string{"im.example.com"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, BlockedAccounts: []string{"mallory"}, DisabledCommands: []string{"timpush/remove_attr"},
		Push: new(false), PushGap: new(wording.Span(0)), PushQuota: new(100), PushQuotaZone: new("Asia/Shanghai"), Lifetime: new(wording.Span(0)),
		PendingTasks: new(7), PushPace: new(5000), TaskPace: new(500), ChannelOrder: []channel.Provider{channel.FCM, channel.APNs}, PreviewDrift: new(0),
		DeviceLimit: new(1), DevicesAUser: new(3), RegistrationRate: new(0), RegistrationSourceRate: new(0), DeviceOrigins: []string{"https://shop.example.com"},
	}} {
		r, _ := open(t)
		d.ID = id
		a := declare(t, r, d)
		said, err := json.Marshal(a.Declaration())
		if err != nil {
			t.Fatal(err)
		}
		var again app.Declaration
		if err := json.Unmarshal(said, &again); err != nil {
			t.Fatal(err)
		}
		for _, s := range again.Table() {
			if !s.Given() {
				t.Errorf("%s is not in %s", s.Name, said)
			}
		}
		other, _ := open(t)
		b := declare(t, other, again)
		if !reflect.DeepEqual(b.Declaration(), a.Declaration()) {
			t.Errorf("%s makes\n%+v of\n%+v", said, b.Declaration(), a.Declaration())
		}
	}
}
