package cli

import (
	"fmt"
	"strings"
	"testing"
)

// userSession is what an operator writes about the users of the constant of that name.
const userSession = `
user show --app 9 Mary
user show --app 9 phone-1
call --app 9 im_open_login_svc/kick {"UserID":"bob"}
user show --app 9 bob --json
user show --app 9 administrator --json
user show --app 9 nobody
user show --app 8 Mary
user delete --app 9
user delete --app 9 Mary --from x
user delete --app 9 Mary
user delete --app 9 Mary --yes
user delete --app 9 Mary --yes
user delete --app 9 administrator --yes
user delete --app 9 --from none --yes
user delete --app 9 --from - --yes
user delete --app 9 --from - < bob
user delete --app 9 --from - --yes < ` + tooLongAccount + `
user delete --app 8 --from - --yes < bob
audience list --app 9
`

const tooLongAccount = "0123456789012345678901234567890123456789012345678901234567890123x"

func TestUserSession(t *testing.T) {
	dir := newApp(t, true)
	must(t, "import", "--app", "9", write(t, "u.ndjson", users), "--data", dir)
	var transcript strings.Builder
	for line := range strings.Lines(strings.TrimSpace(userSession)) {
		transcript.WriteString(step(t, strings.TrimSpace(line), dir, ""))
	}
	golden(t, "user.txt", transcript.String())
}

// TestDeleteList: a list of more users than a request has is deleted, of both account
// types, with a server and without; who is not there or is an admin is reported.
func TestDeleteList(t *testing.T) {
	for _, running := range []bool{false, true} {
		dir := newApp(t, running)
		var text, names strings.Builder
		for i := range 2500 {
			fmt.Fprintf(&text, "{\"To_Account\":\"u%d\",\"AccountType\":%d}\n", i, i%2)
			if i != 7 {
				fmt.Fprintf(&names, "u%d\r\n\n", i)
			}
		}
		names.WriteString("nobody\nadministrator\nu3\n")
		must(t, "import", "--app", "9", write(t, "u.ndjson", text.String()), "--data", dir)
		r := tidings(t, "user", "delete", "--app", "9", "--from", write(t, "names", names.String()), "--yes", "--data", dir)
		if r.code != 1 || r.stdout != "2 499 users are deleted, 3 not.\n" || strings.Count(r.stderr, "\n") != 3 {
			t.Errorf("running=%v: %+v", running, r)
		}
		if got := exported(t, dir); strings.Count(got, "To_Account") != 1 || !strings.Contains(got, `"u7"`) {
			t.Errorf("running=%v: what is left is %.300s", running, got)
		}
		must(t, "check", "--data", dir)
	}
}
