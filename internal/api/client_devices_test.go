package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	devices "tidings/internal/device"
	"tidings/internal/gate"
)

func TestDeviceLife(t *testing.T) {
	n := startPhones(t, gate.Options{})
	p := n.newPhone(android)
	if d := n.device(p.id); d.Platform != "android" || d.Language != "fr-FR" || len(d.Tokens) != 1 || d.Tokens[0].Kind != "alert" || d.Tokens[0].Address != "token-of-a-phone-1" {
		t.Errorf("the device is %+v", d)
	}
	p.bind("Mary").is(t, 200, 0)
	p.call("PUT", "", `{"Platform":"android","AppVersion":"3.2"}`).is(t, 200, 0)
	p.call("PUT", "/badge", `{"Badge":7}`).is(t, 200, 0)
	if d := n.device(p.id); d.AppVersion != "3.2" || len(d.Tokens) != 0 || d.User != "Mary" || d.Badge != 7 {
		t.Errorf("the device is %+v", d)
	}
	p.call("POST", "/reports", `{"Reports":[{"ReportID":"r1","Event":"arrived"},{"ReportID":"r1","Event":"clicked"}]}`).is(t, 200, 0)
	if want := []string{p.id + " r1 1", p.id + " r1 2"}; !slices.Equal(n.events.reported, want) {
		t.Errorf("reported is %q, want %q", n.events.reported, want)
	}
	p.call("DELETE", "/user", "").is(t, 200, 0)
	if d := n.device(p.id); d.User != "" {
		t.Errorf("the device is bound to %q", d.User)
	}
	p.call("DELETE", "", "").is(t, 200, 0)
	p.call("DELETE", "", "").is(t, 404, 70107, p.id, "register anew")
	p.call("PUT", "", android).is(t, 404, 70107)
	// A RegistrationID that the app has chosen is free again.
	chosen := `{"RegistrationID":"` + strings.Repeat("c", 36) + `","Platform":"web"}`
	q := n.newPhone(chosen)
	q.call("DELETE", "", "").is(t, 200, 0)
	if again := n.newPhone(chosen); again.id != q.id || again.secret == q.secret {
		t.Errorf("got %s with the secret of before %t, want %s with another", again.id, again.secret == q.secret, q.id)
	}
	q.call("PUT", "", android).is(t, 401, 95021)
}

// TestStranger: a second phone, which has only the AppKey, does nothing to the first, and
// learns nothing of it: its answers are those that it gets for a device that does not
// exist.
func TestStranger(t *testing.T) {
	n := startPhones(t, gate.Options{})
	first, second := n.newPhone(android), n.newPhone(`{"Platform":"ios"}`)
	first.bind("Mary").is(t, 200, 0)
	second.bind("xiaoming").is(t, 200, 0)
	gone := n.newPhone(`{"Platform":"web"}`)
	gone.call("DELETE", "", "").is(t, 200, 0)
	before := n.device(first.id)

	secret, mark, _ := strings.Cut(first.secret, ".")
	_, otherMark, _ := strings.Cut(second.secret, ".")
	shown := map[string]string{
		"nothing":               "",
		"the AppKey":            bearer(appKey),
		"no secret":             "Bearer ",
		"Basic":                 "Basic " + first.secret,
		"a guess":               bearer("guess"),
		"the RegistrationID":    bearer(first.id),
		"its own secret":        bearer(second.secret),
		"its own with a mark":   bearer(secret[:len(secret)-1] + "." + mark),
		"a mark alone":          bearer("." + mark),
		"another mark":          bearer("x." + otherMark),
		"its user's ticket":     userSig(n.ticket("xiaoming")),
		"another's, as bearer":  bearer(n.ticket("Mary")),
		"an admin's ticket":     userSig(n.ticket(admin)),
		"a ticket of nobody":    userSig(n.ticket("nobody")),
		"a forged ticket":       userSig(n.ticketOf("another key", appID, "Mary", n.clock.now(), time.Hour)),
		"an old ticket":         userSig(n.ticketOf(secret, appID, "Mary", n.clock.now().Add(-2*time.Hour), time.Hour)),
		"another app's":         userSig(n.ticketOf(secret, 7, "Mary", n.clock.now(), time.Hour)),
		"half of a ticket":      userSig(n.ticket("Mary")[:50]),
		"an empty ticket":       "UserSig",
		"a very long one":       bearer(strings.Repeat("x", 4000)),
		"the AppKey, as ticket": userSig(appKey),
	}
	calls := []struct{ method, what, body string }{
		{"PUT", "", `{"Platform":"web"}`},
		{"DELETE", "", ""},
		{"PUT", "/user", `{"UserID":"xiaoming","UserSig":"` + n.ticket("xiaoming") + `"}`},
		{"DELETE", "/user", ""},
		{"PUT", "/badge", `{"Badge":9}`},
		{"POST", "/reports", `{"Reports":[{"ReportID":"r1","Event":"clicked"}]}`},
	}
	for name, authorization := range shown {
		for _, c := range calls {
			n.clock.advance(2 * time.Minute) // failed tickets are forgotten
			var got []string
			for _, id := range []string{first.id, gone.id, "never-was-any-device"} {
				r := n.v1(c.method, "/"+id+c.what, authorization, c.body)
				if r.status != 401 {
					t.Errorf("%s %s with %s: status %d, %s, want 401", c.method, c.what, name, r.status, r.raw)
				}
				got = append(got, strings.ReplaceAll(r.raw, id, "ID"))
			}
			if got[0] != got[1] || got[0] != got[2] {
				t.Errorf("%s %s with %s: the answer tells whether a device exists:\n%s", c.method, c.what, name, strings.Join(got, "\n"))
			}
		}
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PATCH"} { // nothing is to be read
		r, err := http.NewRequest(method, "http://"+n.addr+"/v1/devices/"+first.id+"?sdkappid="+fmt.Sprint(appID), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", bearer(appKey))
		resp, err := n.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s: status %d, want 400", method, resp.StatusCode)
		}
	}
	n.v1("POST", "", bearer(appKey), `{"RegistrationID":"`+first.id+`","Platform":"web"}`).is(t, 401, 95021, first.id)
	n.v1("POST", "", bearer(first.secret), `{"RegistrationID":"`+first.id+`","Platform":"web"}`).is(t, 401, 95020)

	if after := n.device(first.id); fmt.Sprintf("%+v", after) != fmt.Sprintf("%+v", before) || len(n.events.reported) != 0 {
		t.Errorf("the first phone is\n%+v\nwas\n%+v\nand reported %q", after, before, n.events.reported)
	}
	if users, err := n.store.Users.Users(t.Context(), appID, []string{"nobody"}); err != nil || users[0].Exists {
		t.Errorf("a user was created for nothing: %v, %v", users, err)
	}
	// Its own user's ticket is as good as the secret; a phone that went to somebody else
	// takes it no more.
	n.v1("PUT", "/"+first.id+"/badge", userSig(n.ticket("Mary")), `{"Badge":1}`).is(t, 200, 0)
	first.bind("ada").is(t, 200, 0)
	n.v1("PUT", "/"+first.id+"/badge", userSig(n.ticket("Mary")), `{"Badge":2}`).is(t, 401, 95021)
	n.v1("PUT", "/"+first.id+"/badge", userSig(n.ticket("ada")), `{"Badge":3}`).is(t, 200, 0)
}

// TestBind: who logs in shows a good ticket, and exists from then on.
func TestBind(t *testing.T) {
	n := startPhones(t, gate.Options{}, func(d *app.Declaration) { d.BlockedAccounts = []string{"blocked"} })
	p := n.newPhone(android)
	bind := func(user, ticket string) reply {
		t.Helper()
		return p.call("PUT", "/user", fmt.Sprintf(`{"UserID":%q,"UserSig":%q}`, user, ticket))
	}
	bind("new", n.ticket("Mary")).is(t, 401, 70013)
	bind("new", "").is(t, 401, 70002)
	bind("new", "xxx").is(t, 401, 70003)
	bind("new", n.ticketOf("another key", appID, "new", n.clock.now(), time.Hour)).is(t, 401, 70009)
	bind("blocked", n.ticket("blocked")).is(t, 401, 70051)
	bind(" new", n.ticket(" new")).is(t, 400, 90001, "UserID")
	bind(strings.Repeat("u", 33), "x").is(t, 400, 90001, "33 bytes")
	n.unchanged("refused bindings", func() { bind("new", n.ticket("Mary")) })
	bind("new", n.ticket("new")).is(t, 200, 0)
	if users, err := n.store.Users.Users(t.Context(), appID, []string{"new"}); err != nil || !users[0].Exists {
		t.Errorf("%v, %v: the user was not created", users, err)
	}
	other := n.newPhone(`{"Platform":"web"}`)
	bind(other.id, n.ticket(other.id)).is(t, 409, 90035)

	// A kick ends the tickets of before, and 1.6 the guessing.
	old := n.ticket("new")
	n.post("im_open_login_svc/kick", `{"UserID":"new"}`).ok(t)
	bind("new", old).is(t, 401, 70052)
	n.v1("PUT", "/"+p.id+"/badge", userSig(old), `{"Badge":1}`).is(t, 401, 70052)
	n.clock.advance(2 * time.Minute)
	for range 10 {
		bind("new", "xxx").is(t, 401, 70003)
	}
	fresh := n.ticket("new")
	r := bind("new", fresh).is(t, 429, 70050)
	if got := r.header.Get("Retry-After"); got != "60" {
		t.Errorf("Retry-After is %s, want 60", got)
	}
	bind("Mary", n.ticket("Mary")).is(t, 200, 0) // others are not meant
	n.post("timpush/get_attr_name", `{}`).ok(t)  // nor is the back end
	n.clock.advance(time.Minute)
	bind("new", fresh).is(t, 200, 0)
}

func TestRegistrationID(t *testing.T) {
	n := startPhones(t, gate.Options{})
	register := func(id string) reply {
		return n.v1("POST", "", bearer(appKey), fmt.Sprintf(`{"RegistrationID":%q,"Platform":"web"}`, id))
	}
	n.post("im_open_login_svc/account_import", `{"UserID":"a_user-with_16_b"}`).ok(t)
	before := n.count()
	register("a_user-with_16_b").is(t, 409, 95023, "a_user-with_16_b")
	for _, id := range []string{strings.Repeat("x", 33), strings.Repeat("x", 64)} {
		register(id).is(t, 201, 0)
	}
	// A name that may be the UserID of somebody who is yet to come is nobody's to take.
	register("customer_0000000042").is(t, 400, 90001, "33 to 64")
	for _, id := range []string{"short-of-16-byt", strings.Repeat("x", 32), strings.Repeat("x", 65), "sixteen bytes or", "sixteen.bytes.or", "sixteen/bytes/or", "sixteenbytes\u00e9or", "sixteen-bytes-o\x00", "administrator"} {
		register(id).is(t, 400, 90001, "RegistrationID")
	}
	if made := n.count() - before; made != 2 {
		t.Errorf("%d accounts were made, want 2", made)
	}
	for _, id := range []string{"short", strings.Repeat("x", 65), "sixteen.bytes.or", "sixteen%20bytes%2For"} {
		n.v1("DELETE", "/"+id, bearer("x"), "").is(t, 400, map[bool]int{true: 60009, false: 90001}[strings.Contains(id, "%2F")])
	}
}

// TestInstallation: what a device says of itself is checked.
func TestInstallation(t *testing.T) {
	n := startPhones(t, gate.Options{})
	p := n.newPhone(android)
	long := strings.Repeat("x", 65)
	for body, want := range map[string]string{
		`{}`:                     "Platform is missing",
		`{"Platform":"symbian"}`: `Platform: "symbian" is none of android, ios`,
		`{"Platform":"web","Model":"` + long + `"}`:     "Model has 65 bytes",
		`{"Platform":"web","System":"a\u0000b"}`:        "System",
		`{"Platform":"web","AppVersion":7}`:             "AppVersion: want a string, got 7",
		`{"Platform":"web","Language":"no language"}`:   `Language: "no language"`,
		`{"Platform":"web","Language":"xx-klingon-yy"}`: "Language",
		`{"Platform":"web","Language":"` + long + `"}`:  "Language has 65 bytes",
		`{"Platform":"web","TimeZone":"in Paris"}`:      `TimeZone: "in Paris"`,
		`{"Platform":"web","Permission":"Allowed"}`:     `Permission: "Allowed" is neither`,
		`{"Platform":"web","Test":true}`:                "Test: want an integer, got true",
		`{"Platform":"web","Test":2}`:                   "Test: 2 is neither 0 nor 1",
		`{"Platform":"web","Platfrom":"web"}`:           "Platfrom is no member, did you mean Platform?",
		`{"Platform":"web","RegistrationID":"x"}`:       "RegistrationID is no member",
		`{"Platform":"web","Tokens":{}}`:                "Tokens: want an array",
		`{"Platform":"web","Tokens":[{}]}`:              "Tokens[0].Certificate is missing",
		`{"Platform":"web"`:                             "not valid JSON",
		`[]`:                                            "not a JSON object",
		``:                                              "is empty",
	} {
		p.call("PUT", "", body).is(t, 400, 90001, want)
	}
	for token, want := range map[string]string{
		`{"Certificate":4,"Token":"t"}`:                                                       "Tokens[0].Certificate: app 1400000001 has no certificate 4",
		`{"Certificate":-1,"Token":"t"}`:                                                      "no certificate -1",
		`{"Certificate":4294967297,"Token":"t"}`:                                              "no certificate 4294967297",
		`{"Certificate":3,"Token":"t"}`:                                                       "certificate 3 is of vivo, which this server cannot reach",
		`{"Certificate":1,"Token":"t","Kind":"voip"}`:                                         `Tokens[0].Kind: certificate 1 is of fcm, which takes no token of kind "voip"`,
		`{"Certificate":2,"Token":"t","Kind":"fid"}`:                                          "takes no token of kind",
		`{"Certificate":2,"Token":"t","Kind":"Alert"}`:                                        "takes no token of kind",
		`{"Certificate":1,"Token":""}`:                                                        "Token has 0 bytes",
		`{"Certificate":1,"Token":"` + strings.Repeat("x", 4097) + `"}`:                       "Token has 4097 bytes",
		`{"Certificate":1,"Token":"a\nb"}`:                                                    "Token holds a character",
		`{"Certificate":2,"Token":"t","Kind":"liveactivity"}`:                                 "LaId",
		`{"Certificate":2,"Token":"t","LaId":"a"}`:                                            "LaId",
		`{"Certificate":2,"Token":"t","Kind":"liveactivity","LaId":"` + long + `"}`:           "LaId has 65 bytes",
		`{"Certificate":2,"Token":"t","Environment":"development"}`:                           "Environment",
		`{"Certificate":1,"Token":"t","Environment":"sandbox"}`:                               "Environment: certificate 1 is of fcm",
		`{"Certificate":2,"Token":"t","Topic":"` + strings.Repeat("x", 257) + `"}`:            "Topic has 257 bytes",
		`{"Certificate":1,"Token":"t"},{"Certificate":1,"Token":"u"}`:                         "Tokens[1]: a token of certificate 1 and kind alert is there already",
		`{"Certificate":2,"Token":"t","Expires":-1}`:                                          "Expires",
		`{"Certificate":1,"Token":"t","kind":"alert"}`:                                        "kind is no member",
		strings.Repeat(`{"Certificate":1,"Token":"t"},`, 8) + `{"Certificate":1,"Token":"t"}`: "Tokens has 9 entries, at most 8",
	} {
		r := p.call("PUT", "", `{"Platform":"ios","Tokens":[`+token+`]}`).is(t, 400, 90001, want)
		if strings.Contains(r.raw, "xxxx") && strings.Contains(want, "Token has") {
			t.Errorf("the answer shows a token: %s", r.raw)
		}
	}
	p.call("PUT", "", `{"Platform":"ios","Tokens":[{"Certificate":2,"Token":"a"},{"Certificate":2,"Token":"b","Kind":"voip"},
		{"Certificate":2,"Token":"c","Kind":"liveactivity","LaId":"game","Expires":1800000000},{"Certificate":2,"Token":"d","Kind":"liveactivity","LaId":"trip","Environment":"sandbox","Topic":"com.example.app"}]}`).is(t, 200, 0)
	p.call("PUT", "", `{"Platform":"ios","Model":"`+strings.Repeat(" ", 17<<10)+`"}`).is(t, 413, 93000)

	for given, want := range map[string]string{
		"zh_hans_cn": "zh-Hans-CN", "EN-us": "en-US", "iw": "he", "zh-Hant-TW-u-nu-latn-x-y": "zh-Hant-TW", "de-1996": "de", "": "",
	} {
		p.call("PUT", "", `{"Platform":"web","Language":"`+given+`"}`).is(t, 200, 0)
		if got := n.device(p.id).Language; got != want {
			t.Errorf("language %s is kept as %s, want %s", given, got, want)
		}
	}
}

func TestReports(t *testing.T) {
	n := startPhones(t, gate.Options{})
	p := n.newPhone(android)
	for body, want := range map[string]string{
		`{}`:             "Reports is missing",
		`{"Reports":[]}`: "Reports is missing or empty",
		`{"Reports":[{"ReportID":"","Event":"arrived"}]}`:                                                                   "Reports[0].ReportID",
		`{"Reports":[{"ReportID":"` + strings.Repeat("x", 41) + `","Event":"arrived"}]}`:                                    "Reports[0].ReportID",
		`{"Reports":[{"ReportID":"a b","Event":"arrived"}]}`:                                                                "Reports[0].ReportID",
		`{"Reports":[{"ReportID":"a","Event":"arrived"},{"ReportID":"b","Event":"swiped"}]}`:                                `Reports[1].Event: "swiped"`,
		`{"Reports":[` + strings.Repeat(`{"ReportID":"a","Event":"arrived"},`, 20) + `{"ReportID":"a","Event":"arrived"}]}`: "21 entries",
	} {
		p.call("POST", "/reports", body).is(t, 400, 90001, want)
	}
	n.events.err = errDisk
	r := p.call("POST", "/reports", `{"Reports":[{"ReportID":"a","Event":"arrived"}]}`).is(t, 503, 91000)
	if strings.Contains(r.raw, "disk") || len(n.events.reported) != 0 {
		t.Errorf("%s, reported %q", r.raw, n.events.reported)
	}
}

// TestClientRefusals: what is refused before the body.
func TestClientRefusals(t *testing.T) {
	n := startPhones(t, gate.Options{})
	query := func(q string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = q } }
	register := func(edits ...func(*http.Request)) reply { return n.v1("POST", "", bearer(appKey), android, edits...) }
	register(query("")).is(t, 400, 60012)
	register(query("sdkappid=x")).is(t, 400, 60025)
	register(query("sdkappid=7")).is(t, 400, 70020)
	register(func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }).is(t, 400, 60002)
	register(func(r *http.Request) { r.URL.Path = "/v1/device" }).is(t, 400, 60009)
	register(func(r *http.Request) { r.URL.Path = "/v1/devices/" }).is(t, 400, 60002)
	register(func(r *http.Request) { r.URL.Path = "//v1//devices" }).is(t, 201, 0)
	register(func(r *http.Request) { r.Header.Set("Authorization", bearer(strings.Repeat("x", 5000))) }).is(t, 400, 60025)
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Basic " + appKey, bearer("x"), bearer(appKey + "x"), userSig(n.ticket(admin)), bearer(secret)} {
		n.v1("POST", "", authorization, android).is(t, 401, 95020)
	}
	n.devices.err = devices.ErrFull
	register().is(t, 503, 95024)
	n.devices.err = errDisk
	if r := register().is(t, 503, 91000); strings.Contains(r.raw, "disk") {
		t.Errorf("the answer shows why: %s", r.raw)
	}
	n.devices.err = nil
	for status, code := range map[app.Status]int{app.Disabled: 60016, app.Suspended: 60020} {
		n.declare(app.Declaration{ID: appID, Status: new(status)})
		register().is(t, 503, code)
	}
	// Commands are no routes, nor the other way around.
	n.declare(app.Declaration{ID: appID, Status: new(app.Enabled)})
	n.post("timpush/get_attr_name", `{}`, func(r *http.Request, _ url.Values) { r.URL.Path = "/v4/devices" }).code(t, 60002)
}

// TestKeyTakenAway: an AppKey that is removed makes no more devices, and those that exist go
// on.
func TestKeyTakenAway(t *testing.T) {
	n := startPhones(t, gate.Options{})
	p := n.newPhone(android)
	if err := n.apps.RemoveAppKey(t.Context(), appID, 1); err != nil {
		t.Fatal(err)
	}
	n.v1("POST", "", bearer(appKey), android).is(t, 401, 95020)
	p.call("PUT", "", android).is(t, 200, 0)

	// Without the key of its mark, a secret is good all the same; only of a device that is
	// gone its owner is not told.
	if _, err := n.apps.AddKey(t.Context(), appID, "another key of the app", true); err != nil {
		t.Fatal(err)
	}
	p.call("PUT", "", android).is(t, 200, 0)
	if err := n.apps.RemoveKey(t.Context(), appID, 1); err != nil {
		t.Fatal(err)
	}
	p.call("PUT", "", android).is(t, 200, 0)
	p.call("DELETE", "", "").is(t, 200, 0)
	p.call("PUT", "", android).is(t, 401, 95021)
}

// TestRegistrationRates: an address makes so many devices a minute and the app so many a
// second; who is refused is told when to come back. Refreshes are not meant.
func TestRegistrationRates(t *testing.T) {
	n := startPhones(t, gate.Options{TrustedProxies: trustLoopback}, func(d *app.Declaration) {
		d.RegistrationSourceRate, d.RegistrationRate = new(20), new(30)
	})
	register := func(source string) reply {
		return n.v1("POST", "", bearer(appKey), android, func(r *http.Request) { r.Header.Set("X-Forwarded-For", source) })
	}
	p := phone{n: n}
	for i := range 20 {
		a := register(fmt.Sprintf("2001:db8::%x", i)).is(t, 201, 0) // one network
		p.id, p.secret = a.members["RegistrationID"].(string), a.members["DeviceSecret"].(string)
	}
	if got := register("2001:db8::77").is(t, 429, 95022, "20 registrations a minute").header.Get("Retry-After"); got != "3" {
		t.Errorf("Retry-After is %s, want 3", got)
	}
	for range 10 {
		register("2001:db8:0:1::1").is(t, 201, 0)
	}
	if got := register("192.0.2.1").is(t, 429, 95022, "30 devices a second").header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After is %s, want 1", got)
	}
	n.clock.advance(time.Second)
	register("2001:db8::1").is(t, 429, 95022)
	register("192.0.2.1").is(t, 201, 0)
	n.clock.advance(2 * time.Second)
	register("2001:db8::1").is(t, 201, 0)
	register("2001:db8::1").is(t, 429, 95022)
	for range 30 {
		p.call("PUT", "", android).is(t, 200, 0)
	}
	// A wrong AppKey uses nothing up.
	n.clock.advance(time.Minute)
	for range 40 {
		n.v1("POST", "", bearer("x"), android, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.9") }).is(t, 401, 95020)
	}
	register("192.0.2.9").is(t, 201, 0)
	n.declare(app.Declaration{ID: appID, RegistrationSourceRate: new(0), RegistrationRate: new(0)})
	for range 50 {
		register("192.0.2.9").is(t, 201, 0)
	}
}

func TestClientOrigins(t *testing.T) {
	n := startPhones(t, gate.Options{CORSOrigins: []string{"https://console.example.com"}}, func(d *app.Declaration) { d.DeviceOrigins = []string{"https://shop.example.com"} })
	preflight := func(origin, query string) *http.Response {
		t.Helper()
		r, err := http.NewRequest("OPTIONS", "http://"+n.addr+"/v1/devices"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		resp, err := n.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	good := preflight("https://shop.example.com", fmt.Sprint("?sdkappid=", appID))
	if h := good.Header; good.StatusCode != 204 || h.Get("Access-Control-Allow-Origin") != "https://shop.example.com" ||
		h.Get("Access-Control-Allow-Methods") != "POST, PUT, DELETE" || h.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type" || h.Get("Vary") != "Origin" {
		t.Errorf("got %d, %v", good.StatusCode, h)
	}
	for _, r := range []*http.Response{
		preflight("https://other.example.com", fmt.Sprint("?sdkappid=", appID)),
		preflight("https://console.example.com", fmt.Sprint("?sdkappid=", appID)), // whose origins are for commands
		preflight("https://shop.example.com", "?sdkappid=7"),
		preflight("https://shop.example.com", ""),
	} {
		if r.StatusCode != 400 || r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("got %d, %v, want 400 and no permission", r.StatusCode, r.Header)
		}
	}
	got := n.v1("POST", "", bearer(appKey), android, func(r *http.Request) { r.Header.Set("Origin", "https://shop.example.com") }).is(t, 201, 0)
	if h := got.header; h.Get("Access-Control-Allow-Origin") != "https://shop.example.com" || h.Get("Access-Control-Expose-Headers") != "X-Request-Id, Retry-After" {
		t.Errorf("got %v", h)
	}
}
