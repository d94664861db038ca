package api_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/gate"
)

// A trial is a request, and an app for it, that faults are put into.
type trial struct {
	push    bool // timpush, else im_open_login_svc
	n       *node
	d       app.Declaration
	removed bool // the app's key is taken away

	method, path, source, host, body string

	appID       string // of the URL, and whether it is there
	noAppID     bool
	noName      bool
	noTicket    bool
	contentType string

	account    string // identifier in the URL
	ticketApp  uint32
	ticketName string
	issued     time.Duration // from now
	life       time.Duration
	key        string
	ticket     string // in place of one that is made
	empty      bool   // ticket

	fails   int    // failed verifications before
	revoked bool   // the account was kicked
	spent   string // the bucket used up: command or total
}

// A fault is one way to fail one check.
type fault struct {
	name          string
	push, account int    // codes
	touches       string // two faults of one thing cannot be combined
	put           func(*trial)
}

// faults are the checks of spec/conventions.md, 2.5 and 1.5, in their order.
var faults = []fault{
	{"flood", 60018, 60018, "source", func(c *trial) { c.source = "10.9.9.9" }},
	{"method", 60002, 60002, "method", func(c *trial) { c.method = http.MethodPut }},
	{"path", 60002, 60002, "path", func(c *trial) { c.path = "/v4/timpush" }},
	{"unknown command", 60009, 60009, "path", func(c *trial) { c.path = "/v4/timpush/remove" }},
	{"unknown service", 60009, 60009, "path", func(c *trial) { c.path = "/v4/push/remove_attr" }},
	{"no sdkappid", 60012, 60012, "app", func(c *trial) { c.noAppID = true }},
	{"sdkappid no number", 60025, 60025, "app", func(c *trial) { c.appID = "88888888x" }},
	{"unknown sdkappid", 70020, 70020, "app", func(c *trial) { c.appID = "4294967295" }},
	{"disabled", 60016, 60016, "status", func(c *trial) { c.d.Status = new(app.Disabled) }},
	{"suspended", 60020, 60020, "status", func(c *trial) { c.d.Status = new(app.Suspended) }},
	{"address", 60021, 60021, "address", func(c *trial) { c.d.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }},
	{"host", 60026, 60026, "host", func(c *trial) { c.host = "other.example.com" }},
	{"no identifier", 60025, 60025, "identifier", func(c *trial) { c.noName = true }},
	{"empty identifier", 60025, 60025, "identifier", func(c *trial) { c.account = "" }},
	{"no usersig", 60025, 60025, "ticket", func(c *trial) { c.noTicket = true }},
	{"contenttype", 60025, 60025, "contenttype", func(c *trial) { c.contentType = "xml" }},
	{"throttled", 70050, 70050, "", func(c *trial) { c.fails = 10 }},
	{"empty usersig", 70002, 70002, "ticket", func(c *trial) { c.empty = true }},
	{"truncated usersig", 70003, 70003, "ticket", func(c *trial) { c.ticket = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy" }},
	{"usersig of another app", 70014, 70014, "", func(c *trial) { c.ticketApp = 88888888 }},
	{"usersig of another account", 70013, 70013, "", func(c *trial) { c.ticketName = "Administrator" }},
	{"expired", 70001, 70001, "issued", func(c *trial) { c.issued = -2 * 24 * time.Hour }},
	{"future", 70003, 70003, "issued", func(c *trial) { c.issued = time.Hour }},
	{"no key", 70016, 70016, "", func(c *trial) { c.removed = true }},
	{"forged", 70009, 70009, "", func(c *trial) { c.key = "another key" }},
	{"kicked", 70052, 70052, "issued", func(c *trial) { c.revoked = true }},
	{"blocked", 70051, 70051, "", func(c *trial) { c.d.BlockedAccounts = []string{"ops", "mary"} }},
	{"no admin", 90009, 70403, "", func(c *trial) { c.d.Admins = []string{"other"} }},
	{"switched off", 60017, 60017, "", func(c *trial) {
		c.d.DisabledCommands = []string{"timpush/set_attr", "im_open_login_svc/account_import"}
	}},
	{"rate", 60007, 60007, "rate", func(c *trial) { c.spent = "command" }},
	{"rate of the app", 60011, 60011, "rate", func(c *trial) { c.spent = app.LimitTotal }},
	{"size", 93000, 60008, "body", func(c *trial) { c.body = "{" + strings.Repeat(" ", 6000) }},
	{"syntax", 90001, 60003, "body", func(c *trial) { c.body = `{"UserID":7,"UserAttrs":[],` }},
	{"no object", 90001, 60003, "body", func(c *trial) { c.body = `null` }},
	{"member", 90001, 70402, "body", func(c *trial) { c.body = `{"Nick":"x","Attrs":{}}` }},
	{"type", 90001, 60015, "body", func(c *trial) {
		c.body = `{"UserID":1,"UserAttrs":[{"To_Account":1,"Attrs":{"sex":"f"}}]}`
	}},
	{"too many users", 90018, 70402, "body", func(c *trial) {
		c.body = `{"UserAttrs":` + strings.TrimPrefix(userList(101, `{"no":""}`), `{"UserAttrs":`)
	}},
	{"value", 90033, 70402, "body", func(c *trial) {
		c.body = `{"UserID":"","UserAttrs":[{"To_Account":"ghost","Attrs":{"shoe_size":"43"}}]}`
	}},
	{"nothing", 0, 0, "body", func(c *trial) {}},
}

func newTrial(n *node, id uint32, push bool) *trial {
	c := &trial{
		n: n, push: push, method: http.MethodPost, path: "/v4/im_open_login_svc/account_import",
		source: "10.0.0." + strconv.Itoa(int(id%250)), host: "im.example.com:8443",
		appID: strconv.FormatUint(uint64(id), 10), contentType: "json",
		account: "ops", ticketApp: id, ticketName: "ops", life: 24 * time.Hour, key: secret,
		body: `{"UserID":"new","UserAttrs":[{"To_Account":"ghost","Attrs":{"sex":"f"}}]}`,
		d: app.Declaration{
			ID: id, SecretKey: new(secret), Admins: []string{"ops"}, Hosts: []string{"IM.example.com"},
			AttrNames: map[string]string{"0": "sex"}, Limits: app.Limits{app.LimitDefault: 0},
		},
	}
	if push {
		c.path = "/v4/timpush/set_attr"
	}
	return c
}

// run makes the app and what comes before the request, sends it, and gives its
// answer.
func (c *trial) run(t *testing.T) answer {
	t.Helper()
	ctx := t.Context()
	send := func(ticket, account string) answer {
		return c.n.post("x/y", c.body, func(r *http.Request, q url.Values) {
			r.Method, r.URL.Path, r.Host = c.method, c.path, c.host
			r.Header.Set("X-Forwarded-For", c.source)
			q.Set("sdkappid", c.appID)
			q.Set("identifier", account)
			q.Set("usersig", ticket)
			q.Set("contenttype", c.contentType)
			for name, gone := range map[string]bool{"sdkappid": c.noAppID, "identifier": c.noName, "usersig": c.noTicket} {
				if gone {
					q.Del(name)
				}
			}
		})
	}
	good := func(issued time.Duration) string {
		return c.n.ticketOf(secret, c.d.ID, "ops", c.n.clock.now().Add(issued), c.life)
	}
	c.d.Limits = app.Limits{app.LimitDefault: 0}
	if c.spent != "" {
		clean := newTrial(c.n, c.d.ID, c.push)
		name := c.spent
		if name == "command" {
			name = strings.TrimPrefix(clean.path, "/v4/")
		}
		c.d.Limits[name] = 1
		clean.d.Limits = c.d.Limits
		c.n.declare(clean.d)
		clean.source = "10.1.0.1"
		c, clean = clean, c
		send(good(-time.Minute), "ops").ok(t)
		c = clean
	}
	c.n.declare(c.d)
	if source := c.source; c.fails > 0 && source != "10.9.9.9" {
		attempt := newTrial(c.n, c.d.ID, c.push)
		attempt.source = source
		c.n.declare(attempt.d)
		c, attempt = attempt, c
		for range attempt.fails {
			send("x", attempt.account)
		}
		c = attempt
		c.n.declare(c.d)
	}
	if c.removed {
		if err := c.n.apps.RemoveKey(ctx, c.d.ID, 1); err != nil {
			t.Fatal(err)
		}
	}
	if c.revoked {
		if _, err := c.n.store.Users.Change(ctx, c.d.ID, []audience.Change{{Account: "ops", Create: true}}); err != nil {
			t.Fatal(err)
		}
		if err := c.n.store.Users.Revoke(ctx, c.d.ID, "ops", c.n.clock.now()); err != nil {
			t.Fatal(err)
		}
	}
	ticket := c.ticket
	if ticket == "" && !c.empty {
		ticket = c.n.ticketOf(c.key, c.ticketApp, c.ticketName, c.n.clock.now().Add(c.issued), c.life)
	}
	return send(ticket, c.account)
}

// exhausted is the number of requests that a source address may send in a second. The test sends less from each
// but one.
const exhausted = 10_000

// TestOrderOfChecks sends, for every pair of faults, a request with both: the
// answer is that of the first. Alone, each has its own code. Neighbours go over
// a socket.
func TestOrderOfChecks(t *testing.T) {
	n := start(t, gate.Options{TrustedProxies: trustLoopback, SourceLimit: exhausted, MaxBodyBytes: 4096 + 1024})
	for range exhausted { // all that the address may send in this second
		n.direct().post("nosuch", "{}", from("10.9.9.9"))
	}
	id := uint32(1)
	for _, push := range []bool{true, false} {
		for i, first := range faults {
			for j, second := range faults[i:] {
				if first.name != second.name && first.touches != "" && first.touches == second.touches {
					continue
				}
				want := first.account
				if push {
					want = first.push
				}
				id++
				c := newTrial(n, id, push)
				if j > 2 {
					c.n = n.direct()
				}
				second.put(c)
				first.put(c)
				name := fmt.Sprintf("%s: %s, %s", c.path, first.name, second.name)
				if got := c.run(t); got.ErrorCode != want {
					t.Errorf("%s: got %s, want code %d", name, got.raw, want)
				}
				users, err := n.store.Users.Users(t.Context(), id, []string{"new"})
				if err != nil {
					t.Fatal(err)
				}
				if want != 0 && c.spent == "" && users[0].Exists {
					t.Errorf("%s: the refused request made an account", name)
				}
			}
		}
	}
	if !t.Failed() && id < 1000 {
		t.Errorf("tried %d requests, want far more", id)
	}
}

// TestRates: a hundred calls a second for each app and command, two hundred
// where the contract says so, all of them at once if they like.
func TestRates(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.Limits = nil })
	burst := func(command, body string, most int, over int) {
		t.Helper()
		allowed := 0
		for i := range most + 5 {
			n := n
			if i < most-2 { // the socket is for what happens at the limit
				n = n.direct()
			}
			if a := n.post(command, body); a.ErrorCode == 0 {
				allowed++
			} else {
				a.code(t, over)
			}
		}
		if allowed != most {
			t.Errorf("%s: %d of %d calls were answered in one moment, want %d", command, allowed, most+5, most)
		}
	}
	for _, name := range api.Commands() {
		want := 100
		if strings.HasSuffix(name, "/account_import") || strings.HasSuffix(name, "/kick") || strings.HasPrefix(name, "openim/") {
			want = 200
		}
		if strings.HasSuffix(name, "/batch") {
			want = 40
		}
		burst(name, bodies[name], want, 60007)
	}
	// One command does not use up another's rate; a tenth of a second later
	// there is a tenth of the calls, and never more than a second's worth.
	n.clock.advance(100 * time.Millisecond)
	burst("timpush/remove_attr", bodies["timpush/remove_attr"], 10, 60007)
	burst("im_open_login_svc/account_import", bodies["im_open_login_svc/account_import"], 20, 60007)
	n.clock.advance(time.Hour)
	burst("timpush/remove_attr", bodies["timpush/remove_attr"], 100, 60007)

	// A refused request takes nothing from the rate of others, and refused ones
	// before the check take nothing at all.
	n.clock.advance(time.Second)
	for range 150 {
		n.direct().post("timpush/remove_attr", "{}", with("identifier", nil)).code(t, 60025)
	}
	burst("timpush/remove_attr", bodies["timpush/remove_attr"], 100, 60007)
	// One that fails after it has been counted.
	n.clock.advance(time.Second)
	for range 100 {
		n.direct().post("timpush/remove_attr", "{").code(t, 90001)
	}
	n.post("timpush/remove_attr", "{").code(t, 60007, "timpush/remove_attr", "100")

	// Another app has its own.
	n.declare(app.Declaration{ID: 7, SecretKey: new(secret), AttrNames: map[string]string{"0": "sex", "1": "city"}})
	n.post("timpush/remove_attr", bodies["timpush/remove_attr"], with("sdkappid", new("7")),
		with("usersig", new(n.ticketOf(secret, 7, admin, n.clock.now(), time.Hour)))).ok(t)

	// Configured: for one command, for all others, for all together, not at all.
	n.declare(app.Declaration{ID: appID, Limits: app.Limits{"timpush/get_attr": 3, app.LimitDefault: 2, "timpush/set_attr": 0, app.LimitTotal: 250}})
	burst("timpush/get_attr", bodies["timpush/get_attr"], 3, 60007)
	burst("timpush/remove_attr", bodies["timpush/remove_attr"], 2, 60007)
	burst("timpush/set_attr", bodies["timpush/set_attr"], 245, 60011)
	n.declare(app.Declaration{ID: appID, Limits: app.Limits{app.LimitDefault: 0}})
	for range 300 {
		n.direct().post("timpush/remove_attr", bodies["timpush/remove_attr"]).ok(t)
	}
}

// bodies are a good request of each command.
var bodies = map[string]string{
	"timpush/set_attr_name":                 `{"AttrNames":{"0":"sex","1":"city"}}`,
	"timpush/get_attr_name":                 `{}`,
	"timpush/set_attr":                      `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"female"}}]}`,
	"timpush/get_attr":                      `{"To_Account":["Mary","ada"]}`,
	"timpush/remove_attr":                   `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city"]},{"To_Account":"xiaoming","Attrs":["sex","city"]}]}`,
	"all_member_push/im_set_attr_name":      `{"AttrNames":{"0":"sex","1":"city"}}`,
	"all_member_push/im_get_attr_name":      `{}`,
	"all_member_push/im_set_attr":           `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"female"}}]}`,
	"all_member_push/im_get_attr":           `{"To_Account":["Mary","ada"]}`,
	"all_member_push/im_remove_attr":        `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city"]}]}`,
	"timpush/add_tag":                       `{"UserTags":[{"To_Account":"Mary","Tags":["beta","wk-digest"]},{"To_Account":"ghost","Tags":["beta"]}]}`,
	"timpush/get_tag":                       `{"To_Account":["Mary","ada","ghost"]}`,
	"timpush/remove_tag":                    `{"UserTags":[{"To_Account":"Mary","Tags":["beta","","none"]}]}`,
	"timpush/clear_all_tags":                `{"To_Account":["Mary","ghost"]}`,
	"all_member_push/im_add_tag":            `{"UserTags":[{"To_Account":"Mary","Tags":["beta"]},{"To_Account":"ghost","Tags":["beta"]}]}`,
	"all_member_push/im_get_tag":            `{"To_Account":["Mary","ghost"]}`,
	"all_member_push/im_remove_tag":         `{"UserTags":[{"To_Account":"Mary","Tags":["beta"]}]}`,
	"all_member_push/im_remove_all_tags":    `{"To_Account":["Mary"]}`,
	"timpush/push":                          `{"From_Account":"ada","MsgRandom":1618033988,"Condition":{"TagsAnd":["beta"]},"DataId":"d-1","OfflinePushInfo":{"Title":"T","Desc":"D"}}`,
	"all_member_push/im_push":               `{"MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hello"}}]}`,
	"timpush/batch":                         `{"From_Account":"ada","To_Account":["Mary","ada"],"MsgRandom":2,"OfflinePushInfo":{"Title":"T","Desc":"D"}}`,
	"tidings/preview_push":                  `{"Where":"sex == \"female\"","OfflinePushInfo":{"Title":"T","Desc":"D"}}`,
	"tidings/list_tasks":                    `{"States":["accepted","done"],"Limit":10}`,
	"tidings/get_task":                      `{"TaskId":"task_1","To_Account":"Mary","Sample":3}`,
	"tidings/list_receivers":                `{"TaskId":"task_1","Limit":10}`,
	"tidings/explain_delivery":              `{"TaskId":"task_1","To_Account":"Mary"}`,
	"tidings/pause_task":                    `{"TaskId":"task_1"}`,
	"tidings/resume_task":                   `{"TaskId":"task_1"}`,
	"tidings/stop_task":                     `{"TaskId":"task_1"}`,
	"tidings/estimate_audience":             `{"Where":"sex == \"female\" && !tag(\"muted\")","Sample":10}`,
	"tidings/explain_audience":              `{"Where":"sex == \"female\" && tag(\"beta\")","To_Account":"Mary"}`,
	"tidings/list_audience":                 `{"Limit":1000}`,
	"tidings/list_attr_values":              `{"Attr":"sex"}`,
	"tidings/list_tags":                     `{}`,
	"tidings/list_devices":                  `{"Limit":10}`,
	"tidings/remove_device":                 `{"RegistrationID":"` + device + `"}`,
	"tidings/restore_tokens":                `{"TaskId":"none"}`,
	"openim/query_online_status":            `{"To_Account":["Mary","ghost","ada"],"IsNeedDetail":1}`,
	"openim/querystate":                     `{"To_Account":["Mary","ghost","ada"],"IsNeedDetail":1}`,
	"im_open_login_svc/account_import":      `{"UserID":"new","Nick":"N","FaceUrl":"https://example.com/n.png"}`,
	"im_open_login_svc/multiaccount_import": `{"AccountList":[{"UserID":"new","Nick":"N"},{"UserID":"newer"}]}`,
	"im_open_login_svc/account_check":       `{"CheckItem":[{"UserID":"Mary"},{"UserID":"ghost"}]}`,
	"im_open_login_svc/account_delete":      `{"DeleteItem":[{"UserID":"xiaoming"},{"UserID":"ghost"},{"UserID":"administrator"}]}`,
	"im_open_login_svc/kick":                `{"UserID":"Mary"}`,
}

// TestOverload: no more requests are worked on at once than allowed. The others
// are told so, whatever is wrong with them besides.
func TestOverload(t *testing.T) {
	n := start(t, gate.Options{MaxInFlight: 1})
	slow := n.begin("timpush/set_attr", bodies["timpush/set_attr"])
	n.post("timpush/get_attr_name", "{}").code(t, 60018)
	n.post("nosuch", "{}").code(t, 60018)
	slow().ok(t)
	n.post("timpush/get_attr_name", "{}").ok(t)
}
