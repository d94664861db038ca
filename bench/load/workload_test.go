package load

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
)

func TestOrdersAreFullCycles(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 10, 97, 100, 1000, 4096, 30030, 99991} {
		for name, u := range map[string]Users{
			"in order": InOrder(n), "shuffled": Shuffled(n, 1), "another": Shuffled(n, 7), "from": Shuffled(n, 1).From(n / 3),
		} {
			seen := make([]bool, n)
			for i := range n {
				if user := u.nth(i); seen[user] {
					t.Fatalf("%s, %d users: user %d comes twice", name, n, user)
				} else {
					seen[user] = true
				}
			}
		}
	}
}

func TestLargestPopulation(t *testing.T) {
	u := Shuffled(MaxUsers, 1)
	seen := make(map[uint64]bool)
	for i := range uint64(10_000) {
		seen[u.nth(MaxUsers-1-i)] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("%d different users of 10000", len(seen))
	}
}

func TestUser(t *testing.T) {
	for i, want := range map[uint64]string{
		0: "user0000000", 1: "user0000001", 999_999: "user0999999", 5_000_000: "user5000000", 12_345_678: "user12345678",
	} {
		if got := User(i); got != want {
			t.Errorf("User(%d) = %q, want %q", i, got, want)
		}
	}
}

func TestWorkloadBodies(t *testing.T) {
	u := InOrder(10)
	for name, c := range map[string]struct {
		w             Workload
		seq           uint64
		command, body string
	}{
		"remove": {RemoveAttr(u, 2), 1, "timpush/remove_attr", `{"UserAttrs":[` +
			`{"To_Account":"user0000002","Attrs":["sex","city"]},{"To_Account":"user0000003","Attrs":["sex","city"]}]}`},
		"set": {SetAttr(u, 1), 0, "timpush/set_attr", fmt.Sprintf(
			`{"UserAttrs":[{"To_Account":"user0000000","Attrs":{"sex":"%s","city":"%s"}}]}`, attrValue(0, 0), attrValue(1, 0))},
		"get":    {GetAttr(u, 2), 0, "timpush/get_attr", `{"To_Account":["user0000000","user0000001"]}`},
		"import": {Import(u, 1), 3, "im_open_login_svc/multiaccount_import", `{"AccountList":[{"UserID":"user0000003"}]}`},
	} {
		command, body := c.w.Append(nil, c.seq)
		if command != c.command || string(body) != c.body {
			t.Errorf("%s: got %s %s\nwant %s %s", name, command, body, c.command, c.body)
		}
		if !json.Valid(body) {
			t.Errorf("%s: not JSON: %s", name, body)
		}
	}
}

// TestAlternationChangesEveryUser follows what users have, in one app and in
// several, from the start and when a run goes on where another has ended.
func TestAlternationChangesEveryUser(t *testing.T) {
	for _, c := range []struct {
		users uint64
		batch int
	}{{1000, 10}, {1000, 100}, {1234, 100}, {999, 1}, {150, 50}} {
		attrs := FilledAttrs()
		a := Alternate(Shuffled(c.users, 1), c.batch, attrs)
		const apps = 3
		var has [apps]map[string][2]string // values by account
		for app := range has {
			has[app] = make(map[string][2]string)
			for i := range c.users {
				has[app][User(i)] = [2]string{attrValue(0, i), attrValue(1, i)}
			}
		}
		var last [apps]map[string][2]string // values before they were removed
		for app := range last {
			last[app] = make(map[string][2]string)
		}
		follow := func(w Workload, seq uint64) {
			command, body := w.Append(nil, seq)
			app := w.Target(seq)
			var in struct {
				UserAttrs []struct {
					ToAccount string `json:"To_Account"`
					Attrs     any
				}
			}
			if err := json.Unmarshal(body, &in); err != nil {
				t.Fatal(err)
			}
			if len(in.UserAttrs) != w.Users {
				t.Fatalf("%d users in a request, want %d", len(in.UserAttrs), w.Users)
			}
			for _, u := range in.UserAttrs {
				old, exists := has[app][u.ToAccount]
				if remove := command == "timpush/remove_attr"; remove != exists {
					t.Fatalf("%+v: request %d, %s: %s has attributes: %v", c, seq, command, u.ToAccount, exists)
				} else if remove {
					last[app][u.ToAccount] = old
					delete(has[app], u.ToAccount)
					continue
				}
				values := u.Attrs.(map[string]any)
				set := [2]string{values[attrs[0].Name].(string), values[attrs[1].Name].(string)}
				if before := last[app][u.ToAccount]; seq > apps*4*c.users && (set[0] == before[0] || set[1] == before[1]) {
					t.Fatalf("%+v: request %d sets %s to %v, and had %v", c, seq, u.ToAccount, set, before)
				}
				has[app][u.ToAccount] = set
			}
		}
		prime := a.Prime().Over(apps)
		for seq := range prime.Requests {
			follow(prime, seq)
		}
		w := a.Workload().Over(apps)
		total := 15*c.users/uint64(c.batch)*apps + 1
		for seq := range total / 2 {
			follow(w, seq)
		}
		w = w.From(total / 2)
		for seq := range total - total/2 {
			follow(w, seq)
		}
		// The first app has had a request more than the others.
		without, n := a.Without((total + apps - 1) / apps)
		for i := range c.users {
			if _, exists := has[0][User(without.nth(i))]; exists != (i >= n) {
				t.Fatalf("%+v: %d users in the order of Without: has attributes: %v; %d are said to have none", c, i, exists, n)
			}
		}
	}
}

func TestAttrValuesAreSkewed(t *testing.T) {
	seen := make([]map[string]int, len(attrNames))
	for attr := range attrNames {
		seen[attr] = make(map[string]int)
		for user := range uint64(100_000) {
			seen[attr][attrValue(attr, user)]++
		}
	}
	if len(seen[0]) != 2 || len(seen[1]) != 300 || len(seen[2]) != 50 {
		t.Errorf("%d, %d and %d values, want 2, 300, 50", len(seen[0]), len(seen[1]), len(seen[2]))
	}
	if first, last := seen[1]["city000"], seen[1]["city299"]; first < 20*last {
		t.Errorf("city000 %d times, city299 %d times", first, last)
	}
}

func TestRequestHead(t *testing.T) {
	u, err := url.Parse("http://push.example:8080/base/")
	if err != nil {
		t.Fatal(err)
	}
	h := newHead(u, Target{SDKAppID: 88888888, Identifier: "ops admin", Ticket: "eJw*a-b_"})
	got := h.appendHead(nil, "timpush/remove_attr", 7, 2)
	want := "POST /base/v4/timpush/remove_attr?sdkappid=88888888&identifier=ops+admin&usersig=eJw*a-b_&contenttype=json&random=7 HTTP/1.1\r\n" +
		"Host: push.example:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
