package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/app"
	"tidings/internal/gate"
	"tidings/internal/store/lsm"
)

// vector is one entry of the contract's usersig-vectors.json.
type vector struct {
	ID          string   `json:"id"`
	Secret      string   `json:"secret_key"`
	Accepted    []string `json:"accepted_keys"` // scenarios
	SDKAppID    uint32   `json:"request_sdkappid"`
	Identifier  string   `json:"request_identifier"`
	Now         int64    `json:"now"`
	Ticket      string   `json:"usersig"`
	Invalidated int64    `json:"login_state_invalidated_at"`
	Expect      struct {
		Code int `json:"error_code"`
	} `json:"expect"`
}

// TestVectors sends every ticket of the contract over a socket to the app it
// is for, at the time it gives. A good ticket of an account that is no admin
// gets as far as the family's code for that.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("../usersig/testdata/usersig-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Positive, Negative, Scenarios []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	vectors := slices.Concat(file.Positive, file.Negative, file.Scenarios)
	if len(vectors) != 26+49+7 {
		t.Errorf("read %d vectors, want 82", len(vectors))
	}
	for _, v := range vectors {
		// A server with an app with exactly these keys, and the account in the
		// state of the vector. It is written to the store, as the registry
		// refuses short keys.
		fs := vfs.NewMem()
		store, err := lsm.Open("", lsm.Options{FS: fs, MemtableSize: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		a := &app.App{ID: v.SDKAppID, Status: app.Enabled, Admins: []string{admin}}
		for j, k := range append(slices.Clone(v.Accepted), v.Secret) {
			if k != "" {
				a.Keys = append(a.Keys, app.Key{ID: j + 1, Secret: app.Secret(k), Primary: j == 0})
			}
		}
		if err := errors.Join(
			store.Apps.SaveApp(t.Context(), a),
			store.Users.Revoke(t.Context(), v.SDKAppID, admin, time.Unix(v.Invalidated, 0)),
			store.Close(),
		); err != nil {
			t.Fatal(err)
		}
		n := open(t, gate.Options{StrictUserSig: true}, fs)
		n.serve()
		n.clock.set(time.Unix(v.Now, 0))
		want := v.Expect.Code
		switch {
		case want == 0 && v.Identifier != admin:
			want = 90009
		case v.ID == "N40-long": // with it the URL is too long, which comes first
			want = 60002
		}
		t.Run(v.ID, func(t *testing.T) {
			for range 2 { // the second answer may come from the cache
				q := func(r *http.Request, q url.Values) {
					q.Set("sdkappid", strconv.FormatUint(uint64(v.SDKAppID), 10))
					q.Set("identifier", v.Identifier)
					q.Set("usersig", v.Ticket)
				}
				got := n.post("timpush/get_attr_name", "{}", q).code(t, want)
				for _, k := range append(v.Accepted, v.Secret, v.Ticket) {
					if k != "" && strings.Contains(got.raw, k) {
						t.Errorf("answer shows a key or the ticket: %s", got.raw)
					}
				}
			}
		})
	}
}

// TestTicketInQuery covers how a ticket travels: clients escape * or not.
func TestTicketInQuery(t *testing.T) {
	n := start(t, gate.Options{})
	raw := func(edit func(string) string) func(*http.Request, url.Values) {
		return func(r *http.Request, q url.Values) {
			r.URL.RawQuery = "sdkappid=1400000001&identifier=administrator&contenttype=json&usersig=" + edit(starred(n))
		}
	}
	for name, edit := range map[string]func(string) string{
		"as it is":    func(s string) string { return s },
		"%2A":         func(s string) string { return strings.ReplaceAll(s, "*", "%2A") },
		"%2a":         func(s string) string { return strings.ReplaceAll(s, "*", "%2a") },
		"%2D":         func(s string) string { return strings.ReplaceAll(s, "-", "%2D") },
		"all escaped": func(s string) string { return escapeAll(s) },
		"standard": func(s string) string {
			return url.QueryEscape(strings.NewReplacer("*", "+", "-", "/", "_", "=").Replace(s))
		},
		"bare +":        func(s string) string { return strings.ReplaceAll(s, "*", "+") },
		"bare = at end": func(s string) string { return strings.ReplaceAll(s, "_", "=") },
	} {
		t.Run(name, func(t *testing.T) { n.post("timpush/get_attr_name", "{}", raw(edit)).ok(t) })
	}
	n.post("timpush/get_attr_name", "{}", raw(func(s string) string { return s + "%" })).code(t, 60025, "usersig")
	n.post("timpush/get_attr_name", "{}", raw(func(s string) string { return s + "%zz" })).code(t, 60025, "usersig")
}

// starred is a ticket with a star and a minus in it.
func starred(n *node) string {
	for i := range 1000 {
		s := n.ticketOf(secret, appID, admin, n.clock.now().Add(-time.Duration(i)*time.Second), time.Hour)
		if strings.Contains(s, "*") && strings.Contains(s, "-") && strings.HasSuffix(s, "_") {
			return s
		}
	}
	panic("no such ticket")
}

func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + strconv.FormatUint(uint64(s[i])+0x100, 16)[1:])
	}
	return b.String()
}

// TestRotation: old and new key are good side by side, until the old one ends
// or is removed; what was cached ends with it.
func TestRotation(t *testing.T) {
	n := start(t, gate.Options{TrustedProxies: trustLoopback})
	old := with("usersig", new(n.ticket(admin)))
	n.post("timpush/get_attr_name", "{}", old).ok(t)
	key, err := n.apps.AddKey(t.Context(), appID, "", true)
	if err != nil {
		t.Fatal(err)
	}
	fresh := with("usersig", new(n.ticketOf(string(key.Secret), appID, admin, n.clock.now(), 24*time.Hour)))
	n.post("timpush/get_attr_name", "{}", old).ok(t)
	n.post("timpush/get_attr_name", "{}", fresh).ok(t)

	if _, err := n.apps.RetireKey(t.Context(), appID, 1, n.clock.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	n.clock.advance(time.Hour - time.Millisecond)
	n.post("timpush/get_attr_name", "{}", old).ok(t)
	n.clock.advance(time.Millisecond)
	n.post("timpush/get_attr_name", "{}", old).code(t, 70009)
	n.post("timpush/get_attr_name", "{}", fresh).ok(t)

	if _, err := n.apps.RetireKey(t.Context(), appID, 1, time.Time{}); err != nil {
		t.Fatal(err)
	}
	n.post("timpush/get_attr_name", "{}", old).ok(t)
	if err := n.apps.RemoveKey(t.Context(), appID, 1); err != nil {
		t.Fatal(err)
	}
	n.post("timpush/get_attr_name", "{}", old).code(t, 70009)
	if err := n.apps.RemoveKey(t.Context(), appID, 2); err != nil {
		t.Fatal(err)
	}
	n.post("timpush/get_attr_name", "{}", fresh).code(t, 70016)
}

// TestExpiry: a ticket is good in its last second, also when it is cached.
func TestExpiry(t *testing.T) {
	n := start(t, gate.Options{})
	ticket := with("usersig", new(n.ticketOf(secret, appID, admin, n.clock.now(), 10*time.Second)))
	n.post("timpush/get_attr_name", "{}", ticket).ok(t)
	n.clock.advance(10*time.Second + 999*time.Millisecond)
	n.post("timpush/get_attr_name", "{}", ticket).ok(t)
	n.clock.advance(time.Millisecond)
	n.post("timpush/get_attr_name", "{}", ticket).code(t, 70001)

	future := with("usersig", new(n.ticketOf(secret, appID, admin, n.clock.now().Add(601*time.Second), time.Hour)))
	n.post("timpush/get_attr_name", "{}", future).code(t, 70003)
	n.clock.advance(time.Second)
	n.post("timpush/get_attr_name", "{}", future).ok(t)
}

// TestKick: a kick ends every ticket up to its second, cached or not, of this
// account only; a kick of an admin by itself too.
func TestKick(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.Admins = []string{"ops"} })
	ops := func(ticket string) func(*http.Request, url.Values) {
		return func(_ *http.Request, q url.Values) { q.Set("identifier", "ops"); q.Set("usersig", ticket) }
	}
	old := n.ticketOf(secret, appID, "ops", n.clock.now(), time.Hour)
	n.post("timpush/get_attr_name", "{}", ops(old)).ok(t)
	n.post("im_open_login_svc/kick", `{"UserID":"ops"}`).ok(t)
	n.post("timpush/get_attr_name", "{}", ops(old)).code(t, 70052)
	n.post("timpush/get_attr_name", "{}", ops(n.ticketOf(secret, appID, "ops", n.clock.now(), 2*time.Hour))).code(t, 70052)
	n.post("timpush/get_attr_name", "{}").ok(t)
	n.clock.advance(time.Second)
	fresh := n.ticketOf(secret, appID, "ops", n.clock.now(), time.Hour)
	n.post("timpush/get_attr_name", "{}", ops(fresh)).ok(t)
	n.post("timpush/get_attr_name", "{}", ops(old)).code(t, 70052)

	n.post("im_open_login_svc/kick", `{"Identifier":"ops"}`, ops(fresh)).ok(t)
	n.post("im_open_login_svc/kick", `{"UserID":"ops"}`, ops(fresh)).code(t, 70052)
	n.post("im_open_login_svc/kick", `{"UserID":"ghost"}`).code(t, 70107, "ghost")
	n.post("im_open_login_svc/kick", `{}`).code(t, 70402, "UserID")
	n.post("im_open_login_svc/kick", `{"UserID":7}`).code(t, 60015, "UserID", "7")
	for range 20 { // an invalidated ticket is no failed verification
		n.post("timpush/get_attr_name", "{}", ops(old)).code(t, 70052)
	}
}

// TestThrottling: ten failed verifications within a minute block one source
// address for one account of one app, for a minute.
func TestThrottling(t *testing.T) {
	n := start(t, gate.Options{TrustedProxies: trustLoopback}, func(d *app.Declaration) { d.Admins = []string{"ops"} })
	bad := with("usersig", new(n.ticketOf("another key", appID, admin, n.clock.now(), time.Hour)))
	source := from("10.1.1.1")
	call := func(edits ...func(*http.Request, url.Values)) answer {
		t.Helper()
		return n.post("timpush/get_attr_name", "{}", edits...)
	}
	call(source).ok(t)
	for range 9 {
		call(source, bad).code(t, 70009)
		n.clock.advance(time.Second)
	}
	call(source).ok(t) // nine are not enough, and a success does not reset them
	call(source, with("usersig", new(""))).code(t, 70002)
	call(source, bad).code(t, 70050, "10.1.1.1")
	call(source, with("usersig", new(n.ticketOf(secret, appID, admin, n.clock.now(), time.Hour)))).code(t, 70050)
	call(source).ok(t) // what was verified before is not touched
	n.post("im_open_login_svc/kick", `{"UserID":"ada"}`, from("10.1.1.2")).ok(t)
	call(source).ok(t)                                // nor is it if it has to be verified again
	call(source, with("usersig", nil)).code(t, 60025) // comes before
	call(from("10.1.1.2")).ok(t)
	call(source, with("identifier", new("ops")), with("usersig", new(n.ticket("ops")))).ok(t)

	n.clock.advance(time.Minute - time.Nanosecond)
	call(source).code(t, 70050)
	n.clock.advance(time.Nanosecond)
	call(source).ok(t)

	// Ten failures over more than a minute do not block.
	for range 30 {
		call(source, bad).code(t, 70009)
		n.clock.advance(time.Minute/9 + time.Millisecond)
	}
	// A host with a whole IPv6 network is one source.
	n.clock.advance(time.Minute)
	for i := range 10 {
		call(from("2001:db8::"+strconv.Itoa(i+1)), bad).code(t, 70009)
	}
	call(from("2001:db8::ffff")).code(t, 70050)
	call(from("2001:db8:0:1::1")).ok(t)

	// Another app with the same name of an admin is not blocked either.
	n.declare(app.Declaration{ID: 7, SecretKey: new(secret)})
	call(from("2001:db8::1"), with("sdkappid", new("7")), with("usersig", new(n.ticketOf(secret, 7, admin, n.clock.now(), time.Hour)))).ok(t)
}

// TestThrottlingOfMany: whoever tries many identifiers is blocked for all of them, and
// so cannot wash away a block of its own by making others.
func TestThrottlingOfMany(t *testing.T) {
	n := start(t, gate.Options{TrustedProxies: trustLoopback}).direct()
	call := func(identifier, ticket string) answer {
		t.Helper()
		return n.post("timpush/get_attr_name", "{}", from("10.1.1.1"), with("identifier", &identifier), with("usersig", &ticket))
	}
	bad := n.ticketOf("another key", appID, admin, n.clock.now(), time.Hour)
	for range 10 {
		call(admin, bad).code(t, 70009)
	}
	tried := 10
	for ; tried < 2000; tried++ {
		if call(fmt.Sprint("a", tried), bad).ErrorCode == 70050 {
			break
		}
	}
	if tried != 1000 {
		t.Errorf("a source is blocked after %d failures, want 1000", tried)
	}
	call(admin, n.ticket(admin)).code(t, 70050)
	n.post("timpush/get_attr_name", "{}", from("10.1.1.2")).ok(t)
	n.clock.advance(time.Minute)
	call("b", bad).code(t, 70013)
	call(admin, n.ticket(admin)).ok(t)
}

// TestStrictUserSig: a ticket in standard base64 whose + is not percent-encoded is good,
// unless strict_usersig is set (spec/conventions.md, 9.14).
func TestStrictUserSig(t *testing.T) {
	for _, strict := range []bool{false, true} {
		n := start(t, gate.Options{StrictUserSig: strict})
		ticket := ""
		for issued := n.clock.now(); !strings.Contains(ticket, "*"); issued = issued.Add(-time.Second) {
			ticket = n.ticketOf(secret, appID, admin, issued, time.Hour)
		}
		raw := strings.NewReplacer("*", "+", "-", "/", "_", "=").Replace(ticket)
		a := n.post("timpush/get_attr_name", "{}", func(r *http.Request, q url.Values) {
			q.Del("usersig")
			r.URL.RawQuery = q.Encode() + "&usersig=" + raw
		})
		if want := map[bool]int{false: 0, true: 70003}[strict]; a.ErrorCode != want {
			t.Errorf("strict %t: %s, want code %d", strict, a.raw, want)
		}
	}
}
