package api_test

import (
	"strings"
	"testing"

	"tidings/internal/gate"
)

// TestRegistrationIDs: to the account commands a RegistrationID does not exist,
// and none of them does anything to one.
func TestRegistrationIDs(t *testing.T) {
	const short = "dev-1" // a UserID could have this name
	n := open(t, gate.Options{}, withDevices(t, device, short))
	n.fill()
	n.serve()
	before := n.state(short)
	for _, id := range []string{device, short} {
		n.post("im_open_login_svc/account_import", `{"UserID":"`+id+`","Nick":"n"}`).code(t, 70402, id)
		n.post("im_open_login_svc/kick", `{"UserID":"`+id+`"}`).code(t, 70107, id)
		for _, c := range []struct{ command, body, want string }{
			{"multiaccount_import", `{"Accounts":["` + id + `","ada"]}`, `"FailAccounts":["` + id + `"]`},
			{"account_check", `{"CheckItem":[{"UserID":"` + id + `"}]}`, `"AccountStatus":"NotImported"`},
			{"account_delete", `{"DeleteItem":[{"UserID":"` + id + `"}]}`, `"ResultCode":70107`},
		} {
			if a := n.post("im_open_login_svc/"+c.command, c.body).ok(t); !strings.Contains(a.raw, c.want) {
				t.Errorf("%s %s: got %s, want %s", c.command, c.body, a.raw, c.want)
			}
		}
	}
	if after := n.state(short); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
}

// TestKickOfNobody: names that no account can have are a mistake, and are not
// echoed whole.
func TestKickOfNobody(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	for _, id := range []string{"", strings.Repeat("x", 65), strings.Repeat("\x7f", 1_000_000)} {
		if a := n.post("im_open_login_svc/kick", `{"UserID":"`+id+`"}`).code(t, 70402, "UserID"); len(a.raw) > 500 {
			t.Errorf("the answer about %d bytes has %d", len(id), len(a.raw))
		}
	}
	n.post("im_open_login_svc/kick", `{"UserID":"`+strings.Repeat("x", 64)+`"}`).code(t, 70107)
}

// TestCheckOfNobody: a name that no account can have is not imported.
func TestCheckOfNobody(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	a := n.post("im_open_login_svc/account_check", `{"CheckItem":[{"UserID":""},{"UserID":"`+strings.Repeat("x", 33)+`"}]}`).ok(t)
	if strings.Count(a.raw, `"AccountStatus":"NotImported"`) != 2 {
		t.Errorf("got %s, want NotImported twice", a.raw)
	}
}
