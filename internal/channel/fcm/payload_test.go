package fcm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/internal/channel"
)

// A golden is one payload in testdata.
type golden struct {
	name    string
	options channel.Options
	change  func(j *channel.Job, t *channel.Target)
}

var goldens = []golden{
	{"plain", channel.Options{}, nil},
	{"nothing to replace", channel.Options{}, func(j *channel.Job, _ *channel.Target) { j.Replace = "" }},
	{"ext", channel.Options{}, func(j *channel.Job, _ *channel.Target) { j.Message.Ext = `{"trip":"QX-204"}` }},
	{"android", channel.Options{}, func(j *channel.Job, _ *channel.Target) {
		j.Message.Android = channel.Android{Sound: "gong", GoogleChannelID: "trips", GoogleImage: "https://example.com/i.png", GooglePriority: "high"}
	}},
	{"options", channel.Options{Package: "com.example.chat", ChannelID: "standard", Click: channel.Click{Action: "page", Target: "OPEN_TRIP"}}, nil},
	{"options with less weight", channel.Options{ChannelID: "standard"}, func(j *channel.Job, _ *channel.Target) { j.Message.Android.GoogleChannelID = "trips" }},
	{"click url", channel.Options{Click: channel.Click{Action: "url", Target: "https://example.com/?a=1&b=<2>"}}, nil},
	{"language", channel.Options{}, func(j *channel.Job, t *channel.Target) { t.Language = "de-AT" }},
	{"fid", channel.Options{}, func(_ *channel.Job, t *channel.Target) { t.Kind = channel.FID }},
	{"badge", channel.Options{}, func(_ *channel.Job, t *channel.Target) { t.Badge = 7 }},
	{"badge 0", channel.Options{}, func(_ *channel.Job, t *channel.Target) { t.Badge = 0 }},
	{"validate only", channel.Options{}, func(j *channel.Job, _ *channel.Target) { j.ValidateOnly = true }},
	{"silent", channel.Options{}, func(j *channel.Job, _ *channel.Target) {
		j.Message.Title, j.Message.Desc, j.Message.Translations, j.Message.Ext = "", "", nil, "sync"
	}},
	{"now or never", channel.Options{}, func(j *channel.Job, _ *channel.Target) { j.Expires = time.Time{} }},
	{"data", channel.Options{Data: true, Package: "com.example.chat", ChannelID: "standard", Click: channel.Click{Action: "page", Target: "OPEN_TRIP"}}, func(j *channel.Job, t *channel.Target) {
		j.Message.Ext, t.Badge = "ext", 7
		j.Message.Android = channel.Android{Sound: "gong", GoogleImage: "https://example.com/i.png"}
	}},
	{"data silent", channel.Options{Data: true}, func(j *channel.Job, _ *channel.Target) { j.Message = &channel.Message{Ext: "sync"} }},
	{"override", channel.Options{}, func(j *channel.Job, t *channel.Target) {
		t.Badge = 7
		j.Message.Overrides.Fcm = json.RawMessage(`{"android":{"ttl":"60s","collapse_key":null,"notification":{"notification_count":3,"color":"#102030","sticky":true}},
			"notification":{"title":null},"data":{"extra":"1"},"apns":{"headers":{"apns-priority":"5"}},"fcm_options":{"analytics_label":"trips"}}`)
	}},
	{"characters", channel.Options{}, func(j *channel.Job, t *channel.Target) {
		j.Message.Title, j.Message.Desc = "\"<b>&\\ 汉字 \U0001F600", "a\nb\x00\xff"
		t.ReportID = "\"r\\"
	}},
}

func (g golden) job() (*channel.Job, channel.Target) {
	j, device := job(), target(1)
	j.Message.Translations = []channel.Text{{Language: "de", Title: "Gleiswechsel"}}
	j.Expires = time.Now().Add(2000*time.Hour + time.Minute) // above what FCM keeps
	if g.change != nil {
		g.change(j, &device)
	}
	return j, device
}

func TestGolden(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			s := newGoogle(t, false).sender(t, g.options, nil)
			j, device := g.job()
			p, err := s.Payload(j, &device)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, p.Body, "", "  "); err != nil {
				t.Fatalf("%v in %s", err, p.Body)
			}
			fmt.Fprintf(&got, "\n%d of %d bytes\n", p.Bytes, p.Limit)
			file := filepath.Join("testdata", strings.ReplaceAll(g.name, " ", "-")+".txt")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
		})
	}
}

// TestHolesAreAllThatDiffers fills a template for another device and compares it with a
// template of its own.
func TestHolesAreAllThatDiffers(t *testing.T) {
	for _, g := range goldens {
		j, first := g.job()
		title, desc := j.Message.Text(first.Language)
		for _, badge := range []int{-1, 0, 9999} {
			for _, text := range []string{"", "x", "quote\" back\\slash \n <&> 汉 \u2028 \xff", strings.Repeat("y", 300)} {
				device := channel.Target{Kind: first.Kind, Address: channel.Address(text), ReportID: text, Badge: badge}
				tmpl, err := newTemplate(j, g.options, device.Kind, title, desc, badge >= 0)
				if err != nil {
					t.Fatal(err)
				}
				body := tmpl.fill(nil, &device, 7)
				var said struct {
					Message struct {
						Token, FID string
						Data       map[string]string
					}
				}
				if err := json.Unmarshal(body, &said); err != nil {
					t.Fatalf("%s: %v in %s", g.name, err, body)
				}
				want := valid(text)
				if said.Message.Token+said.Message.FID != want || said.Message.Data["tidings"] != want {
					t.Errorf("%s: %s does not hold %q twice", g.name, body, text)
				}
			}
		}
	}
}

// valid returns a text with each byte replaced that is no UTF-8, as JSON does.
func valid(text string) string { return string([]rune(text)) }

// TestLimit goes to the last byte and one beyond.
func TestLimit(t *testing.T) {
	for name, o := range map[string]channel.Options{"notification": {}, "data": {Data: true}} {
		t.Run(name, func(t *testing.T) {
			g := newGoogle(t, false)
			s := g.sender(t, o, nil)
			j, device := job(), target(0)
			p, err := s.Payload(j, &device)
			if err != nil {
				t.Fatal(err)
			}
			j.Message.Desc += strings.Repeat("é", (p.Limit-p.Bytes)/2) + strings.Repeat("x", (p.Limit-p.Bytes)%2)
			if r := results(t, s, j, []channel.Target{device})[0]; r.Outcome != channel.Accepted {
				t.Errorf("with %d bytes: %+v", p.Limit, r)
			}
			g.Requests()
			j.Message.Desc += "x"
			r := results(t, s, j, []channel.Target{device})[0]
			if r.Outcome != channel.Rejected || r.Code != channel.CodeTooLarge || !strings.Contains(r.Words, "4097 bytes") || r.Status != 0 {
				t.Errorf("with one byte more: %+v", r)
			}
			if n := len(g.Requests()); n != 0 {
				t.Errorf("%d requests, want none", n)
			}
		})
	}
}

func TestCheckOverride(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "",
		`{"android":{"ttl":"1s","notification":null},"notification":{"title":"x"},"data":{"a":"b","ext":null},"webpush":{}}`: "",
		``: "Overrides.Fcm is no JSON object", `null`: "Overrides.Fcm is no JSON object", `[]`: "Overrides.Fcm is no JSON object", `{`: "Overrides.Fcm is no JSON object",
		`{"token":"x"}`:                   "Overrides.Fcm.token cannot",
		`{"\u0074oken":null}`:             "Overrides.Fcm.token cannot",
		`{"fid":"x"}`:                     "Overrides.Fcm.fid cannot",
		`{"topic":"x"}`:                   "Overrides.Fcm.topic cannot",
		`{"condition":"x"}`:               "Overrides.Fcm.condition cannot",
		`{"name":"x"}`:                    "Overrides.Fcm.name cannot",
		`{"android":null}`:                "Overrides.Fcm.android cannot",
		`{"android":7}`:                   "Overrides.Fcm.android is no JSON object",
		`{"notification":"x"}`:            "Overrides.Fcm.notification is no JSON object",
		`{"android":{"notification":[]}}`: "Overrides.Fcm.android.notification is no JSON object",
		`{"android":{"data":{"a":"b"}}}`:  "Overrides.Fcm.android.data cannot",
		`{"webpush":{"data":{"a":"b"}}}`:  "Overrides.Fcm.webpush.data cannot",
		`{"data":null}`:                   "Overrides.Fcm.data is no JSON object",
		`{"data":[]}`:                     "Overrides.Fcm.data is no JSON object",
		`{"data":{"tidings":"x"}}`:        "Overrides.Fcm.data.tidings cannot",
		`{"data":{"tidings":null}}`:       "Overrides.Fcm.data.tidings cannot",
		`{"data":{"a":1}}`:                "Overrides.Fcm.data.a is no string",
		`{"data":{"a":{}}}`:               "Overrides.Fcm.data.a is no string",
		`{"data":{"from":"x"}}`:           "Overrides.Fcm.data.from is a name",
		`{"data":{"message_type":"x"}}`:   "Overrides.Fcm.data.message_type is a name",
		`{"data":{"google.x":"x"}}`:       "Overrides.Fcm.data.google.x is a name",
		`{"data":{"gcm.x":"x"}}`:          "Overrides.Fcm.data.gcm.x is a name",
	} {
		err := CheckOverride(json.RawMessage(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// FuzzOverride merges any override that is allowed, and looks whether the token, the report
// id and nothing else are still where they belong.
func FuzzOverride(f *testing.F) {
	f.Add(`{"android":{"ttl":"60s"}}`, "title", "token", 3)
	f.Add(`{"notification":null,"data":{"a":"b"}}`, "\"", "\"\\", -1)
	f.Add(`{"android":{"notification":{"tag":"x"}}}`, "<", "\x00\xff", 0)
	f.Fuzz(func(t *testing.T, patch, title, token string, badge int) {
		if CheckOverride(json.RawMessage(patch)) != nil {
			return
		}
		j := job()
		j.Message.Title = title
		j.Message.Overrides.Fcm = json.RawMessage(patch)
		tmpl, err := newTemplate(j, channel.Options{}, channel.Alert, title, "", badge >= 0)
		if err != nil {
			t.Fatalf("an override that was allowed: %v", err)
		}
		device := channel.Target{Address: channel.Address(token), ReportID: "report", Badge: badge}
		body := tmpl.fill(nil, &device, 1)
		var said struct {
			Message struct {
				Token string `json:"token"`
				Data  map[string]string
				Topic any
			}
		}
		if err := json.Unmarshal(body, &said); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if said.Message.Token != valid(token) || said.Message.Data["tidings"] != "report" || said.Message.Topic != nil {
			t.Errorf("%s", body)
		}
	})
}
