package simulate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A googleError is the form of all errors (spec/channels.md, 5).
type googleError struct {
	Error struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Status  string `json:"status"`
		Details []struct {
			Type            string              `json:"@type"`
			ErrorCode       string              `json:"errorCode"`
			Reason          string              `json:"reason"`
			FieldViolations []map[string]string `json:"fieldViolations"`
			Violations      []map[string]string `json:"violations"`
		} `json:"details"`
	} `json:"error"`
}

// parse returns an error as one line: code, status, errorCode or reason, fields, subjects.
func (r reply) parse(t testing.TB) (line, message string) {
	t.Helper()
	var e googleError
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Fatalf("not in Google's form: %v: %s", err, r.body)
	}
	if e.Error.Code != r.status {
		t.Errorf("status %d with code %d", r.status, e.Error.Code)
	}
	if kind := r.header.Get("Content-Type"); kind != "application/json; charset=UTF-8" {
		t.Errorf("content type %q", kind)
	}
	line = fmt.Sprint(e.Error.Code, " ", e.Error.Status)
	for _, d := range e.Error.Details {
		if !strings.HasPrefix(d.Type, "type.googleapis.com/google.") {
			t.Errorf("@type %q", d.Type)
		}
		if d.ErrorCode != "" {
			line += " " + d.ErrorCode
		}
		if d.Reason != "" {
			line += " reason=" + d.Reason
		}
		for _, v := range d.FieldViolations {
			line += " field=" + v["field"]
		}
		for _, v := range d.Violations {
			line += " subject=" + v["subject"]
		}
	}
	return line, e.Error.Message
}

const (
	unreadable = "400 INVALID_ARGUMENT"                  // what is no message
	wrong      = "400 INVALID_ARGUMENT INVALID_ARGUMENT" // what FCM refuses
)

// refusals are bodies and how they are refused: the error as a line, and a part of its message.
var refusals = []struct{ body, want, words string }{
	// JSON.
	{``, unreadable, "Unexpected end"},
	{` `, unreadable, "Unexpected end"},
	{`{`, unreadable, "Invalid JSON payload received."},
	{`nonsense`, unreadable, "Invalid JSON payload received."},
	{`{"message":{"token":"t"}} {}`, unreadable, "Invalid JSON payload received."},
	{`{"message":{"token":"t","token":"t"}}`, unreadable, "duplicate"},
	{`{"message":{"token":"t","data":{"a":"1","a":"2"}}}`, unreadable, "duplicate"},
	{`{"message":{"token":"t","apns":{"payload":{"aps":{},"aps":{}}}}}`, unreadable, "duplicate"},
	{"{\"message\":{\"token\":\"\xff\"}}", unreadable, "invalid UTF-8"},
	{`[]`, unreadable + " field=", "Root element must be a message"},
	{`"x"`, unreadable + " field=", "Root element must be a message"},
	{`{"message":{"token":"` + strings.Repeat("t", maxRequest) + `"}}`, unreadable, "exceeds the limit: 65536 bytes"},

	// Names and types.
	{`{"massage":{}}`, unreadable + " field=", `Unknown name "massage": Cannot find field.`},
	{`{"message":{"token":"t","foo":1}}`, unreadable + " field=message", `Unknown name "foo" at 'message': Cannot find field.`},
	{`{"message":{"token":"t","android":{"notification":{"titel":"x"}},"bar":[]}}`, unreadable + " field=message.android.notification field=message", `Unknown name "titel" at 'message.android.notification'`},
	{`{"message":{"token":"t","time_to_live":3}}`, unreadable + " field=message", "time_to_live"},
	{`{"message":{"registration_ids":["t"]}}`, unreadable + " field=message", "registration_ids"},
	{`{"validate_only":true,"validateOnly":false,"message":{"token":"t"}}`, unreadable + " field=", "both spellings"},
	{`{"message":[]}`, unreadable + " field=message", "TYPE_MESSAGE"},
	{`{"message":{"token":12}}`, unreadable + " field=message.token", `Invalid value at 'message.token' (TYPE_STRING), 12`},
	{`{"message":{"token":["t"]}}`, unreadable + " field=message.token", "TYPE_STRING"},
	{`{"validate_only":"true","message":{"token":"t"}}`, unreadable + " field=validate_only", "TYPE_BOOL"},
	{`{"message":{"token":"t","data":{"a":"1","b":2}}}`, unreadable + " field=message.data[1].value", `Invalid value at 'message.data[1].value' (TYPE_STRING), 2`},
	{`{"message":{"token":"t","data":{"a":{"b":"c"}}}}`, unreadable + " field=message.data[0].value", "TYPE_STRING"},
	{`{"message":{"token":"t","data":{"a":null}}}`, unreadable + " field=message.data[0].value", "TYPE_STRING"},
	{`{"message":{"token":"t","data":[]}}`, unreadable + " field=message.data", "TYPE_MESSAGE"},
	{`{"message":{"token":"t","notification":"x"}}`, unreadable + " field=message.notification", "TYPE_MESSAGE"},
	{`{"message":{"token":"t","android":{"notification":{"title_loc_args":["a",1]}}}}`, unreadable + " field=message.android.notification.title_loc_args[1]", "TYPE_STRING"},
	{`{"message":{"token":"t","android":{"notification":{"title_loc_args":"a"}}}}`, unreadable + " field=message.android.notification.title_loc_args", "TYPE_STRING"},
	{`{"message":{"token":"t","android":{"notification":{"notification_count":"many"}}}}`, unreadable + " field=message.android.notification.notification_count", "TYPE_INT32"},
	{`{"message":{"token":"t","android":{"notification":{"notification_count":3000000000}}}}`, unreadable + " field=message.android.notification.notification_count", "TYPE_INT32"},
	{`{"message":{"token":"t","android":{"notification":{"notification_count":1.5}}}}`, unreadable + " field=message.android.notification.notification_count", "TYPE_INT32"},
	{`{"message":{"token":"t","android":{"notification":{"event_time":"today"}}}}`, unreadable + " field=message.android.notification.event_time", "Timestamp"},
	{`{"message":{"token":"t","android":{"notification":{"sticky":"yes"}}}}`, unreadable + " field=message.android.notification.sticky", "TYPE_BOOL"},
	{`{"message":{"token":"t","android":{"notification":{"notification_priority":"HIGH"}}}}`, unreadable + " field=message.android.notification.notification_priority", "AndroidNotification.NotificationPriority"},
	{`{"message":{"token":"t","android":{"notification":{"visibility":9}}}}`, unreadable + " field=message.android.notification.visibility", "AndroidNotification.Visibility"},
	{`{"message":{"token":"t","android":{"notification":{"light_settings":{"color":{"red":"dark"}}}}}}`, unreadable + " field=message.android.notification.light_settings.color.red", "TYPE_FLOAT"},
	{`{"message":{"token":"t","android":{"notification":{"vibrate_timings":["1s","2"]}}}}`, unreadable + " field=message.android.notification.vibrate_timings[1]", "Duration"},
	{`{"message":{"token":"t","android":{"priority":"urgent"}}}`, unreadable + " field=message.android.priority", `(type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority), "urgent"`},
	{`{"message":{"token":"t","android":{"collapse_key":7}}}`, unreadable + " field=message.android.collapse_key", "TYPE_STRING"},
	{`{"message":{"token":"t","apns":{"payload":"x"}}}`, unreadable + " field=message.apns.payload", "Struct"},
	{`{"message":{"token":"t","apns":{"headers":{"apns-priority":10}}}}`, unreadable + " field=message.apns.headers[0].value", "TYPE_STRING"},
	{`{"message":{"token":"t","webpush":{"headers":{"TTL":10}}}}`, unreadable + " field=message.webpush.headers[0].value", "TYPE_STRING"},

	// The life of a message.
	{`{"message":{"token":"t","android":{"ttl":86400}}}`, unreadable + " field=message.android.ttl", "Duration"},
	{`{"message":{"token":"t","android":{"ttl":"86400"}}}`, unreadable + " field=message.android.ttl", "Duration"},
	{`{"message":{"token":"t","android":{"ttl":"1d"}}}`, unreadable + " field=message.android.ttl", "Duration"},
	{`{"message":{"token":"t","android":{"ttl":"1.s"}}}`, unreadable + " field=message.android.ttl", "Duration"},
	{`{"message":{"token":"t","android":{"ttl":"1.0123456789s"}}}`, unreadable + " field=message.android.ttl", "Duration"},
	{`{"message":{"token":"t","android":{"ttl":"-1s"}}}`, wrong + " field=message.android.ttl", "TTL"},
	{`{"message":{"token":"t","android":{"ttl":"2419201s"}}}`, wrong + " field=message.android.ttl", "TTL"},
	{`{"message":{"token":"t","android":{"ttl":"999999999999s"}}}`, wrong + " field=message.android.ttl", "TTL"},

	// Whom it is for.
	{`{}`, wrong + " field=message", "Recipient of the message is not set."},
	{`{"message":{}}`, wrong + " field=message", "Recipient of the message is not set."},
	{`{"message":null}`, wrong + " field=message", "Recipient of the message is not set."},
	{`{"message":{"token":null}}`, wrong + " field=message", "Recipient of the message is not set."},
	{`{"message":{"token":"t","topic":"x"}}`, unreadable + " field=message", "oneof field 'target' is already set. Cannot set 'topic'"},
	{`{"message":{"fid":"f","token":"t"}}`, unreadable + " field=message", "Cannot set 'token'"},
	{`{"message":{"token":""}}`, wrong, "not a valid FCM registration token"},
	{`{"message":{"token":"a b"}}`, wrong, "not a valid FCM registration token"},
	{`{"message":{"token":"é"}}`, wrong, "not a valid FCM registration token"},
	{`{"message":{"fid":"a\nb"}}`, wrong, "not a valid FCM registration token"},
	{`{"message":{"token":"` + strings.Repeat("t", maxToken+1) + `"}}`, wrong, "not a valid FCM registration token"},
	{`{"message":{"topic":"a b"}}`, wrong + " field=message.topic", "Invalid topic name"},
	{`{"message":{"condition":"everybody"}}`, wrong + " field=message.condition", "Invalid condition"},
	{`{"message":{"condition":"'a' in topics 'b' in topics"}}`, wrong + " field=message.condition", "Invalid condition"},

	// What it holds.
	{`{"message":{"token":"t","data":{"from":"x"}}}`, wrong + " field=message.data", "Invalid data payload key: from"},
	{`{"message":{"token":"t","data":{"message_type":"x"}}}`, wrong + " field=message.data", "Invalid data payload key: message_type"},
	{`{"message":{"token":"t","data":{"google.x":"x"}}}`, wrong + " field=message.data", "Invalid data payload key: google.x"},
	{`{"message":{"token":"t","android":{"data":{"gcm.x":"x"}}}}`, wrong + " field=message.android.data", "Invalid data payload key: gcm.x"},
	{`{"message":{"token":"t","android":{"notification":{"color":"red"}}}}`, wrong + " field=message.android.notification.color", "Invalid color"},
	{`{"message":{"token":"t","fcm_options":{"analytics_label":"a label"}}}`, wrong + " field=message.fcm_options.analytics_label", "Invalid analytics label"},
	{`{"message":{"token":"t","data":{"k":"` + strings.Repeat("x", 4096) + `"}}}`, wrong + " field=message", "Android message is too big"},
	{`{"message":{"topic":"t","data":{"k":"` + strings.Repeat("x", 2048) + `"}}}`, wrong + " field=message", "Android message is too big"},
	{`{"message":{"token":"t","notification":{"title":"` + strings.Repeat("x", 2048) + `"},"android":{"data":{"k":"` + strings.Repeat("x", 2048) + `"}}}}`, wrong + " field=message", "too big"},
}

// good are bodies that are accepted.
var good = []string{
	`{"message":{"token":"t"}}`,
	`{"message":{"fid":"cXyZ0123456789-_abcdef"}}`,
	`{"message":{"topic":"news"}}`,
	`{"message":{"topic":"/topics/news"}}`,
	`{"message":{"condition":"'a' in topics && ('b' in topics || 'c' in topics)"}}`,
	`{"validate_only":false,"message":{"token":"t"}}`,
	`{"validateOnly":false,"message":{"token":"t","fcmOptions":{"analyticsLabel":"l"}}}`,
	`{"message":{"\u0074oken":"\u0074","topic":null,"data":null,"notification":null,"android":null}}`,
	`{"message":{"token":"t","data":{"k":"` + strings.Repeat("x", 4095) + `"}}}`,
	`{"message":{"topic":"t","data":{"k":"` + strings.Repeat("x", 2047) + `"}}}`,
	`{"message":{"token":"t","data":{"k":"` + strings.Repeat(`\u00e9`, 2047) + `"}}}`, // two bytes each
	`{"message":{"token":"t","data":{"k":"` + strings.Repeat("x", 4095) + `"},"android":{"data":{"k":"v"}}}}`,
	`{"message":{"token":"t","data":{"fromage":"x","googles":"y"},"apns":{"headers":{"from":"x"},"payload":{"google.x":{"from":[1,null]}}}}}`,
	`{"message":{"token":"t","android":{"ttl":"0s","priority":"high"}}}`,
	`{"message":{"token":"t","android":{"ttl":"2419200s","priority":"NORMAL"}}}`,
	`{"message":{"token":"t","android":{"ttl":"3.500000001s","priority":1}}}`,
	// The body of spec/channels.md, 5.
	`{"validate_only":false,"message":{"token":"t","notification":{"title":"T","body":"B","image":"https://x.example/i.png"},"data":{"ext":"e"},
	"android":{"priority":"high","ttl":"86400s","collapse_key":"k","restricted_package_name":"p",
	"notification":{"channel_id":"trips","tag":"k","sound":"gong","image":"https://x.example/i.png","click_action":"A","notification_priority":"PRIORITY_HIGH","visibility":"PRIVATE","notification_count":1,
	"icon":"i","color":"#rrggbb","ticker":"t","sticky":false,"local_only":false,"event_time":"2026-11-25T12:00:00.5Z","proxy":"ALLOW","title_loc_key":"k","title_loc_args":[],"body_loc_key":"k","body_loc_args":["a","b"],
	"light_settings":{"color":{"red":1,"green":"0.5","blue":0,"alpha":1},"light_on_duration":"1s","light_off_duration":"0.5s"},"vibrate_timings":["1s","2.5s"]},
	"direct_boot_ok":false,"bandwidth_constrained_ok":false,"restricted_satellite_ok":false,"fcm_options":{"analytics_label":"l"}},
	"apns":{"headers":{},"payload":{}},"webpush":{"headers":{},"data":{},"notification":{}}}}`,
}

func init() {
	last := len(good) - 1
	good[last] = strings.Replace(good[last], "#rrggbb", "#00ff7F", 1)
}

func TestChecks(t *testing.T) {
	s := start(t, Options{})
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			c := dial(t, s, protocol)
			before := s.Totals().Fates["invalid"]
			for _, x := range refusals {
				line, message := c.must(c.post(x.body)).parse(t)
				if line != x.want || !strings.Contains(message, x.words) {
					t.Errorf("%.200s\n got  %s, %q\n want %s, %q", x.body, line, message, x.want, x.words)
				}
			}
			malformed := 0 // that is a fate of its own
			for _, x := range refusals {
				if strings.Contains(x.words, "not a valid FCM") {
					malformed++
				}
			}
			if n := s.Totals().Fates["invalid"] - before; int(n) != len(refusals)-malformed {
				t.Errorf("%d counted as invalid, want %d", n, len(refusals)-malformed)
			}
			before = s.Delivered()
			for _, body := range good {
				if r := c.must(c.post(body)); r.status != 200 || !strings.Contains(r.body, `"name": "projects/tidings-simulator/messages/`) {
					t.Errorf("%.200s: %d %s", body, r.status, r.body)
				}
			}
			if n := s.Delivered() - before; int(n) != len(good) {
				t.Errorf("%d delivered, want %d", n, len(good))
			}
		})
	}
}

func TestValidateOnly(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, "h2c")
	for _, body := range []string{`{"validate_only":true,"message":{"token":"t","data":{"tidings":"id"}}}`, `{"message":{"token":"t"},"validateOnly":true}`} {
		if r := c.must(c.post(body)); r.status != 200 {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	if line, _ := c.must(c.post(`{"validate_only":true,"message":{"token":"gone-1"}}`)).parse(t); line != "404 NOT_FOUND UNREGISTERED" {
		t.Errorf("a dry run to a dead token: %s", line)
	}
	if got := s.Totals(); got.Delivered != 0 || got.Fates["validated"] != 2 || s.TokenCount("t") != 0 || s.IDCount("id") != 0 {
		t.Errorf("dry runs were counted as deliveries: %+v", got)
	}
}

func TestRequests(t *testing.T) {
	s := start(t, Options{TokenLife: 10 * time.Minute})
	other, err := s.AddServiceAccount("other-project")
	if err != nil {
		t.Fatal(err)
	}
	const path, jsonKind = fcmPath + defaultProject + fcmSend, "application/json"
	for _, protocol := range protocols {
		c := dial(t, s, protocol)
		mine, theirs := c.access, c.login(other)
		account, key := keyOf(t, s.ServiceAccount())
		head, claims := claimsOf(account, time.Now())
		claims["scope"] = "https://www.googleapis.com/auth/devstorage.read_only"
		var unscoped struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(c.ask(sign(t, key, head, claims)).body), &unscoped); err != nil || unscoped.Token == "" {
			t.Fatal("no token for another scope", err)
		}
		for _, x := range []struct {
			name, access, method, path, kind string
			status                           int
			line                             string // empty: a page
		}{
			{"good", mine, "POST", path, jsonKind, 200, ""},
			{"charset", mine, "POST", path, "application/json; charset=UTF-8", 200, ""},
			{"GET", mine, "GET", path, jsonKind, 404, ""},
			{"path", mine, "POST", fcmPath + defaultProject + "/messages:sendAll", jsonKind, 404, ""},
			{"deeper path", mine, "POST", fcmPath + "a/b" + fcmSend, jsonKind, 404, ""},
			{"legacy path", mine, "POST", "/fcm/send", jsonKind, 404, ""},
			{"no content type", mine, "POST", path, "", 400, unreadable},
			{"content type", mine, "POST", path, "text/plain", 400, unreadable},
			{"no token", "", "POST", path, jsonKind, 401, "401 UNAUTHENTICATED reason=CREDENTIALS_MISSING"},
			{"wrong token", "ya29.nonsense", "POST", path, jsonKind, 401, "401 UNAUTHENTICATED reason=ACCESS_TOKEN_EXPIRED"},
			{"other scope", unscoped.Token, "POST", path, jsonKind, 403, "403 PERMISSION_DENIED reason=ACCESS_TOKEN_SCOPE_INSUFFICIENT"},
			{"other account", theirs, "POST", path, jsonKind, 403, "403 PERMISSION_DENIED reason=IAM_PERMISSION_DENIED"},
			{"its project", theirs, "POST", fcmPath + "other-project" + fcmSend, jsonKind, 200, ""},
			{"no project", mine, "POST", fcmPath + "no-such-project" + fcmSend, jsonKind, 404, "404 NOT_FOUND"},
		} {
			c.access = x.access
			r := c.must(c.do(x.method, x.path, x.kind, `{"message":{"token":"t"}}`))
			if r.status != x.status {
				t.Errorf("%s, %s: %d %s", protocol, x.name, r.status, r.body)
			} else if x.line != "" {
				if line, _ := r.parse(t); line != x.line {
					t.Errorf("%s, %s: %s, want %s", protocol, x.name, line, x.line)
				}
				if x.status == 401 && r.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s, %s: 401 without WWW-Authenticate", protocol, x.name)
				}
			} else if x.status != 200 && !strings.HasPrefix(r.body, "<!DOCTYPE html>") {
				t.Errorf("%s, %s: %s, want a page", protocol, x.name, r.body)
			}
		}
		// Tokens end, by the clock of the provider.
		c.access = mine
		for _, x := range []struct {
			ahead  time.Duration
			status int
		}{{9 * time.Minute, 200}, {11 * time.Minute, 401}, {0, 200}} {
			if err := s.SetBehaviour(Behaviour{Clock: Duration(x.ahead)}); err != nil {
				t.Fatal(err)
			}
			if r := c.must(c.send("t", "")); r.status != x.status {
				t.Errorf("%s, %v later: %d, want %d", protocol, x.ahead, r.status, x.status)
			}
		}
		s.ExpireTokens()
		if r := c.must(c.send("t", "")); r.status != 401 {
			t.Errorf("%s: %d with a token that was ended", protocol, r.status)
		}
	}
}

func TestAssertions(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, "h2c")
	account, key := keyOf(t, s.ServiceAccount())
	text, err := s.AddServiceAccount("other-project")
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey := keyOf(t, text)
	now := time.Now()
	for _, x := range []struct {
		name   string
		change func(head, claims map[string]any)
		key    any
		status int
		words  string
	}{
		{"good", nil, nil, 200, "access_token"},
		{"by TLS", func(_, c map[string]any) { c["aud"] = s.TLSURL() + tokenPath }, nil, 200, "access_token"},
		{"two scopes", func(_, c map[string]any) { c["scope"] = scopeCloud + " " + scopeMessaging }, nil, 200, "access_token"},
		{"algorithm", func(h, _ map[string]any) { h["alg"] = "none" }, nil, 400, "only RS256"},
		{"type", func(h, _ map[string]any) { h["typ"] = "JWE" }, nil, 400, "only RS256"},
		{"key id", func(h, _ map[string]any) { h["kid"] = "x" }, nil, 400, "Invalid JWT Signature."},
		{"issuer", func(_, c map[string]any) { c["iss"] = "x@y" }, nil, 400, "account not found"},
		{"audience", func(_, c map[string]any) { c["aud"] = "https://oauth2.googleapis.com/token" }, nil, 400, "audience"},
		{"scope", func(_, c map[string]any) { c["scope"] = "messaging" }, nil, 400, "invalid_scope"},
		{"no scope", func(_, c map[string]any) { delete(c, "scope") }, nil, 400, "invalid_scope"},
		{"too long", func(_, c map[string]any) { c["exp"] = now.Add(2 * time.Hour).Unix() }, nil, 400, "short-lived"},
		{"ended", func(_, c map[string]any) {
			c["iat"], c["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
		}, nil, 400, "short-lived"},
		{"not begun", func(_, c map[string]any) {
			c["iat"], c["exp"] = now.Add(time.Hour).Unix(), now.Add(2*time.Hour).Unix()
		}, nil, 400, "short-lived"},
		{"backwards", func(_, c map[string]any) { c["exp"] = now.Add(-time.Minute).Unix() }, nil, 400, "short-lived"},
		{"no times", func(_, c map[string]any) { delete(c, "iat"); delete(c, "exp") }, nil, 400, "short-lived"},
		{"other key", nil, otherKey, 400, "Invalid JWT Signature."},
	} {
		head, claims := claimsOf(account, now)
		if x.change != nil {
			x.change(head, claims)
		}
		signer := key
		if x.key != nil {
			signer = otherKey
		}
		if r := c.ask(sign(t, signer, head, claims)); r.status != x.status || !strings.Contains(r.body, x.words) {
			t.Errorf("%s: %d %s, want %d %s", x.name, r.status, r.body, x.status, x.words)
		}
	}
	for _, x := range []struct {
		method, kind, body string
		status             int
		words              string
	}{
		{"GET", "", "", 405, "405"},
		{"POST", "application/json", "{}", 400, "invalid_request"},
		{"POST", "application/x-www-form-urlencoded", "", 400, "unsupported_grant_type"},
		{"POST", "application/x-www-form-urlencoded", "grant_type=password", 400, "unsupported_grant_type"},
		{"POST", "application/x-www-form-urlencoded", "grant_type=" + grantType, 400, "Missing required parameter"},
		{"POST", "application/x-www-form-urlencoded", "grant_type=" + grantType + "&assertion=a.b", 400, "three parts"},
		{"POST", "application/x-www-form-urlencoded", "grant_type=" + grantType + "&assertion=a.b.c", 400, "base64url"},
		{"POST", "application/x-www-form-urlencoded", "%zz", 400, "encoding"},
		{"POST", "application/x-www-form-urlencoded", strings.Repeat("x", maxForm+1), 400, "too large"},
	} {
		if r := c.must(c.do(x.method, tokenPath, x.kind, x.body)); r.status != x.status || !strings.Contains(r.body, x.words) {
			t.Errorf("%s %.60s: %d %s, want %d %s", x.method, x.body, r.status, r.body, x.status, x.words)
		}
	}
	if got := s.Totals(); got.Issued != 4 || got.Denied != 21 {
		t.Errorf("%d issued and %d denied", got.Issued, got.Denied)
	}
}
