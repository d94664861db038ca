package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// audienceSession asks about the users of the constant of that name, and more.
const audienceSession = `
audience
audience count
audience list --app 9
audience list --app 9 --json --where sex=="female"
audience list --app 9 --limit 1
audience list --app 9 --account-type 1
audience list --app 9 --account-type 2
audience list --app 9 --limit -1
audience list --app 9 --where x --condition {}
audience count --app 9
audience count --app 9 --where tag("beta")&&!has("sex")
audience count --app 9 --where tag("beta")&&!has("sex") --json --sample 5
audience count --app 9 --where tag("beta") --sample 5
audience count --app 9 --where age>3
audience count --app 9 --condition {"TagsOr":["beta","dev"]}
audience count --app 9 --condition {"TagsOr"
audience count --app 9 --condition @none
audience count --app 9 --sample 101
audience explain --app 9 Mary --where sex=="female"&&!tag("beta")
audience explain --app 9 bob
audience explain --app 9 bob --where tag("beta") --json
audience explain --app 9 nobody
audience explain --app 9
`

func TestAudience(t *testing.T) {
	dir := newApp(t, true)
	must(t, "import", "--app", "9", write(t, "u.ndjson", users), "--data", dir)
	must(t, "call", "--app", "9", "im_open_login_svc/account_delete", `{"DeleteItem":[{"UserID":"nobody"}]}`, "--data", dir)
	var transcript strings.Builder
	for line := range strings.Lines(strings.TrimSpace(audienceSession)) {
		line = strings.TrimSpace(line)
		if line == "audience" {
			r := tidings(t, line)
			fmt.Fprintf(&transcript, "$ tidings %s\n! %sexit code %d\n\n", line, r.stderr, r.code)
			continue
		}
		transcript.WriteString(step(t, line, dir, ""))
	}
	golden(t, "audience.txt", transcript.String())
}

// TestAudienceListPages lists more than the pages of one second.
func TestAudienceListPages(t *testing.T) {
	dir := newApp(t, true, "--limit", "tidings/list_audience=2")
	var text strings.Builder
	for i := range 3500 {
		fmt.Fprintf(&text, "{\"To_Account\":\"u%d\",\"Tags\":[\"x\"]}\n", i)
	}
	must(t, "import", "--app", "9", write(t, "u.ndjson", text.String()), "--data", dir)
	got := strings.Fields(must(t, "audience", "list", "--app", "9", "--where", `tag("x")`, "--data", dir))
	if len(got) != 3500 || got[0] != "u0" || got[3499] != "u3499" {
		t.Errorf("lists %d accounts", len(got))
	}
	if got := strings.Fields(must(t, "audience", "list", "--app", "9", "--where", `tag("x")`, "--limit", "1500", "--data", dir)); len(got) != 1500 {
		t.Errorf("--limit 1500 lists %d", len(got))
	}
	var count audienceCount
	if err := json.Unmarshal([]byte(must(t, "audience", "count", "--app", "9", "--json", "--data", dir)), &count); err != nil || count.Count != 3501 {
		t.Errorf("counts %+v, %v", count, err)
	}
	fails(t, 1, "no server is running", "audience", "count", "--app", "9", "--data", t.TempDir())
}
