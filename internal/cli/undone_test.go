package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestUndone: whoever changes what the configuration of a server declares is told that
// the next start undoes it, by the names of the settings, and nobody else is.
func TestUndone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	file := write(t, "tidings.yaml", `apps:
- {sdkappid: 5, secret_key: very-secret-text, retiring_keys: [{secret_key: older-secret-text}], admins: [a], limits: {default: 7}, status: enabled}
- {sdkappid: 6, description: x}
`)
	const undoes = "tidings: warning: the next start of the server undoes this: its configuration declares "
	type command struct{ line, want string }
	check := func(commands ...command) {
		t.Helper()
		for _, c := range commands {
			r := tidings(t, append(strings.Fields(c.line), "--data", dir)...)
			want := c.want
			if want != "" {
				want = undoes + want + "; change it there too\n"
			}
			if r.code != 0 || r.stderr != want {
				t.Errorf("%s: %+v, want the warning %q", c.line, r, want)
			}
		}
	}
	s := serve(t, dir, "--config", file)
	check(
		command{"admin add 5 a", ""}, // it is one
		command{"admin add 5 bob", "admins of app 5"},
		command{"app set 5 --name shop", ""}, // what bob is does not concern it
		command{"app set 5 --limit default=9 --name x --json", "limits of app 5"},
		command{"app set 5 --limit default=7 --admin c", "admins of app 5"},
		command{"app set 5 --limit default=8 --admin c", "admins and limits of app 5"},
		command{"admin remove 5 c", "admins of app 5"},
		command{"admin add 5 a", ""}, // as it was
		command{"app disable 5", "status of app 5"},
		command{"app enable 5", ""},
		command{"key add 5", ""}, // the configuration says nothing of further keys
		command{"key add 5 --primary", "secret_key of app 5"},
		command{"key retire 5 1 --in 1h", "secret_key and retiring_keys of app 5"},
		command{"admin add 6 bob", ""},
		command{"app set 6 --description y", "description of app 6"},
		command{"app create 7", ""},
		command{"app set 7 --description y", ""},
	)
	s.stop()
	check(command{"admin add 5 bob", ""}) // no configuration is known

	// It is so: the next start sets it back.
	s = serve(t, dir, "--config", file)
	if out := must(t, "admin", "list", "5", "--data", dir); strings.Contains(out, "bob") {
		t.Errorf("after a start the admins are %s", out)
	}
	check(command{"app set 5 --name z", ""}, command{"key remove 5 1", "retiring_keys of app 5"})
	s.stop()
}
