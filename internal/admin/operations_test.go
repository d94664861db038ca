package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"tidings/internal/app"
)

// TestTable: every row says all there is to say, each name once, and nothing that
// changes something goes unlogged or is for who only looks.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Operations() {
		if seen[o.Name] || Find(o.Name) == nil || Find(o.Name).Doc != o.Doc {
			t.Errorf("%s is there twice or not found", o.Name)
		}
		seen[o.Name] = true
		if o.run == nil || !strings.HasSuffix(o.Doc, ".") || o.Effect < Reads || o.Effect > Once || o.Role < Viewer || o.Role > Owner {
			t.Errorf("the row is not complete: %+v", o)
		}
		if o.Effect != Reads && (o.Logs == nil || o.Role == Viewer) {
			t.Errorf("%s changes something, is for role %d and logs %v", o.Name, o.Role, o.Logs)
		}
		for _, member := range o.Logs {
			if strings.Contains(member, "secret") || strings.Contains(member, "usersig") {
				t.Errorf("%s logs %s", o.Name, member)
			}
		}
	}
	if Find("no/such") != nil {
		t.Error("an operation that does not exist is found")
	}
}

// mistakes are requests that are the operator's mistake, by operation.
var mistakes = []struct{ name, in, want string }{
	{"no/such", `{}`, "no operation"},
	{"no/such" + strings.Repeat("x", 1000), `{}`, "no operation"},
	{"app/create", `{"sdkappid":1400000001}`, "exists already"},
	{"app/create", `{"sdkappid":-1}`, "request: "},
	{"app/create", `{"sdkappid":7,"max_tags":-1}`, "max_tags: -1 is not"},
	{"app/create", `{"sdkappid":7,"reimport_wait":3}`, "request: "},
	{"app/create", `{"sdkappid":7,"reimport_wait":"soon"}`, "is not a duration"},
	{"app/create", `{"sdkappid":7,"admins":"ops"}`, "request: "},
	{"app/set", `{"sdkappid":7}`, "app 7 does not exist"},
	{"app/set", `{"sdkappid":1400000001,"disabled_commands":["none"]}`, "disabled_commands[0]"},
	{"app/set", `{"sdkappid":1400000001,"secret_key":"short"}`, "secret_key: must have"},
	{"app/changes", `{"sdkappid":1400000001,"secret_key":"short"}`, "secret_key: must have"},
	{"app/undone", `{"sdkappid":7}`, "app 7 does not exist"},
	{"app/show", `{"sdkappid":7}`, "app 7 does not exist"},
	{"app/status", `{"sdkappid":7,"status":"enabled"}`, "app 7 does not exist"},
	{"app/status", `{"sdkappid":1400000001,"status":"off"}`, `status "off" is none of`},
	{"app/delete", `{"sdkappid":7}`, "app 7 does not exist"},
	{"app/delete", `{"sdkappid":1400000001}`, "only a disabled app"},
	{"key/add", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/list", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/list", `{"sdkappid":1400000001,"account":"ghost"}`, "does not exist"},
	{"device/list", `{"sdkappid":1400000001,"limit":1001}`, "limit 1001 is not"},
	{"device/list", `{"sdkappid":1400000001,"next":"no page"}`, "page token"},
	{"device/show", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/show", `{"sdkappid":1400000001,"device":"ghost"}`, `has no device "ghost"`},
	{"device/test", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/test", `{"sdkappid":1400000001,"device":"ghost"}`, "no server that could send"},
	{"device/restore", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/restore", `{"sdkappid":1400000001}`, "one of them"},
	{"device/restore", `{"sdkappid":1400000001,"device":"ghost"}`, `has no device "ghost"`},
	{"device/remove", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/remove", `{"sdkappid":1400000001,"device":"administrator"}`, `has no device "administrator"`},
	{"device/import", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/import", `{"sdkappid":1400000001,"replace":true}`, "nothing to replace"},
	{"device/try", `{"sdkappid":7}`, "app 7 does not exist"},
	{"device/export", `{"sdkappid":7}`, "app 7 does not exist"},
	{"key/add", `{"sdkappid":1400000001,"secret":"short"}`, "the key must have"},
	{"key/list", `{"sdkappid":7}`, "app 7 does not exist"},
	{"key/reveal", `{"sdkappid":7}`, "app 7 does not exist"},
	{"key/retire", `{"sdkappid":1400000001,"key":1}`, "is the primary key"},
	{"key/retire", `{"sdkappid":1400000001,"key":2}`, "has no key 2"},
	{"key/retire", `{"sdkappid":1400000001,"key":1,"ends":"soon"}`, "request: "},
	{"key/remove", `{"sdkappid":1400000001,"key":2}`, "has no key 2"},
	{"admin/add", `{"sdkappid":1400000001,"account":""}`, "the account is empty"},
	{"admin/add", `{"sdkappid":7,"account":"x"}`, "app 7 does not exist"},
	{"admin/remove", `{"sdkappid":1400000001,"account":"administrator"}`, "built in"},
	{"admin/remove", `{"sdkappid":1400000001,"account":"nobody"}`, "is no admin"},
	{"channel/add", `{"sdkappid":7}`, "app 7 does not exist"},
	{"channel/add", `{"sdkappid":1400000001,"provider":"fcm"}`, "needs a server"},
	{"channel/add", `{"sdkappid":1400000001,"secret":"?"}`, "request: "},
	{"channel/replace", `{"sdkappid":7}`, "app 7 does not exist"},
	{"channel/replace", `{"sdkappid":1400000001,"certificate":1}`, "has no certificate 1"},
	{"channel/set", `{"sdkappid":1400000001,"certificate":1}`, "has no certificate 1"},
	{"channel/list", `{"sdkappid":7}`, "app 7 does not exist"},
	{"channel/show", `{"sdkappid":1400000001}`, "has no certificate 0"},
	{"channel/test", `{"sdkappid":1400000001,"certificate":-1}`, "has no certificate -1"},
	{"channel/remove", `{"sdkappid":1400000001,"certificate":1,"used":true}`, "has no certificate 1"},
	{"appkey/add", `{"sdkappid":7}`, "app 7 does not exist"},
	{"appkey/add", `{"sdkappid":1400000001,"secret":"short"}`, "the AppKey must have"},
	{"appkey/add", `{"sdkappid":1400000001,"name":"a\u0000b"}`, "cannot be printed"},
	{"appkey/list", `{"sdkappid":7}`, "app 7 does not exist"},
	{"appkey/reveal", `{"sdkappid":7}`, "app 7 does not exist"},
	{"appkey/remove", `{"sdkappid":1400000001,"key":1}`, "has no AppKey 1"},
	{"sig/make", `{"sdkappid":7}`, "app 7 does not exist"},
	{"sig/check", `{"sdkappid":7,"usersig":"x"}`, "app 7 does not exist"},
	{"users/import", `{"sdkappid":7}`, "app 7 does not exist"},
	{"users/try", `{"sdkappid":7}`, "app 7 does not exist"},
	{"users/export", `{"sdkappid":7}`, "app 7 does not exist"},
	{"users/export", `{"sdkappid":1400000001,"Where":"true","Condition":{}}`, "exclude each other"},
	{"users/export", `{"sdkappid":1400000001,"Where":"plan =="}`, "Where"},
	{"users/export", `{"sdkappid":1400000001,"Where":"plan == \"gold\""}`, "plan"},
	{"users/export", `{"sdkappid":1400000001,"Condition":{"TagAnd":["vip"]}}`, "TagAnd"},
	{"users/export", `{"sdkappid":1400000001,"Condition":{"TagsAnd":["vip"],"TagsAnd":[]}}`, "TagsAnd"},
	{"users/export", `{"sdkappid":1400000001,"Condition":[]}`, "Condition"},
	{"users/export", `{"sdkappid":1400000001,"Condition":{"AttrsAnd":{"plan":"gold"}}}`, "plan"},
	{"users/export", `{"sdkappid":1400000001,"AccountType":2}`, "AccountType 2"},
	{"users/export", `{"sdkappid":1400000001,"AccountType":-1}`, "request: "},
	{"users/show", `{"sdkappid":7,"account":"x"}`, "app 7 does not exist"},
	{"users/delete", `{"sdkappid":7}`, "app 7 does not exist"},
	{"users/delete", `{"sdkappid":1400000001,"accounts":[` + strings.Repeat(`"x",`, MaxDeleted) + `"x"]}`, "accounts has 1001 names"},
	{"store/backup", `{"dir":"backup"}`, "no absolute path"},
	{"info", `[]`, "request: "},
	{"status", `"x"`, "request: "},
	{"check", `"x"`, "request: "},
	{"store/checkpoint", `[1]`, "request: "},
	{"app/list", ``, "request: "},
}

// TestMistakes: what an operator asks wrongly is an *app.Error that says what, answers
// nothing, and changes nothing; each operation but none is among them.
func TestMistakes(t *testing.T) {
	s := newService(t)
	before := s.Apps.App(appID)
	covered := map[string]bool{}
	for _, m := range mistakes {
		covered[m.name] = true
		var out bytes.Buffer
		err := s.Do(t.Context(), m.name, []byte(m.in), strings.NewReader(""), &Answer{Writer: &out})
		mistake, ok := errors.AsType[*app.Error](err)
		if !ok || !strings.Contains(mistake.Msg, m.want) || len(mistake.Msg) > 300 {
			t.Errorf("%.40s of %s: %v, want a mistake with %q", m.name, m.in, err, m.want)
		}
		if out.Len() > 0 {
			t.Errorf("%.40s of %s answers %s", m.name, m.in, &out)
		}
	}
	for _, o := range Operations() {
		if !covered[o.Name] {
			t.Errorf("%s is not tested", o.Name)
		}
	}
	if s.Apps.App(appID) != before || len(s.Apps.All()) != 1 {
		t.Errorf("the mistakes made %+v of %+v, and %d apps", s.Apps.App(appID), before, len(s.Apps.All()))
	}
}

// TestWrongTypes: no operation takes a request of another shape for its own.
func TestWrongTypes(t *testing.T) {
	s := newService(t)
	for _, o := range Operations() {
		for _, in := range []string{``, `7`, `"x"`, `[{}]`, `{`, `{"sdkappid":`, "\x00", `{"sdkappid":"1400000001"}`, strings.Repeat("[", 100_000)} {
			if in == `{"sdkappid":"1400000001"}` && (o.Name == "info" || o.Name == "app/list" || o.Name == "check" || o.Name == "status" || strings.HasPrefix(o.Name, "store/")) {
				continue // they name no app
			}
			err := s.Do(t.Context(), o.Name, []byte(in), strings.NewReader(""), &Answer{Writer: io.Discard})
			if _, ok := errors.AsType[*app.Error](err); !ok {
				t.Errorf("%s of %.30q: %v", o.Name, in, err)
			}
		}
	}
}

// TestKeysAreMasked: keys show where they are new or asked for, and nowhere else.
func TestKeysAreMasked(t *testing.T) {
	s := newService(t)
	secret := string(s.Apps.App(appID).Keys[0].Secret)
	request, err := json.Marshal(AppRequest{appID})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range Operations() {
		if o.Stream || o.Effect == Once && o.Name != "app/create" {
			continue
		}
		var out bytes.Buffer
		if err := s.Do(t.Context(), o.Name, request, nil, &Answer{Writer: &out}); err != nil {
			continue // it needs more
		}
		if shows := strings.Contains(out.String(), secret); shows != (o.Name == "key/reveal") {
			t.Errorf("%s shows the key: %v", o.Name, shows)
		}
	}
}
