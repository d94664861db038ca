package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tidings/internal/app"
	"tidings/internal/gate"
)

// TestConcurrentChanges lets clients change the same users and their own at the
// same time. Every request sets all attributes of a user to one stamp, or takes
// all away: nobody ever sees a mix, and the last word on an own user stays.
func TestConcurrentChanges(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) {
		d.AttrNames, d.AttrTypes = map[string]string{}, nil
		for i := range 10 {
			d.AttrNames[strconv.Itoa(i)] = "a" + strconv.Itoa(i)
		}
	})
	const clients, rounds, shared = 6, 60, 4
	var accounts []string
	for i := range shared {
		accounts = append(accounts, "s"+strconv.Itoa(i))
	}
	for c := range clients {
		accounts = append(accounts, "own"+strconv.Itoa(c))
	}
	list, err := json.Marshal(map[string]any{"Accounts": accounts})
	if err != nil {
		t.Fatal(err)
	}
	n.post("im_open_login_svc/multiaccount_import", string(list)).ok(t)

	read := func(accounts []string) map[string]map[string]string {
		text, err := json.Marshal(map[string]any{"To_Account": accounts})
		if err != nil {
			t.Error(err)
			return nil
		}
		var out struct {
			UserAttrs []struct {
				Account string `json:"To_Account"`
				Attrs   map[string]string
			}
		}
		a := n.post("timpush/get_attr", string(text))
		if err := json.Unmarshal([]byte(a.raw), &out); err != nil || a.ErrorCode != 0 || len(out.UserAttrs) != len(accounts) {
			t.Errorf("get_attr: %s, %v", a.raw, err)
		}
		users := map[string]map[string]string{}
		for _, u := range out.UserAttrs {
			users[u.Account] = u.Attrs
			for name, v := range u.Attrs {
				if v != u.Attrs["a0"] || len(u.Attrs) != 10 {
					t.Errorf("%s: %s is %s beside %v", u.Account, name, v, u.Attrs)
				}
			}
		}
		return users
	}
	var wg sync.WaitGroup
	last := make([]string, clients)
	for c := range clients {
		wg.Go(func() {
			g := generator{rand.New(rand.NewPCG(uint64(c), 1))}
			own := "own" + strconv.Itoa(c)
			for r := range rounds {
				stamp := fmt.Sprintf("%d-%d", c, r)
				if g.IntN(3) == 0 {
					stamp = ""
				}
				var entries []string
				for _, account := range []string{own, "s" + strconv.Itoa(g.IntN(shared)), "s" + strconv.Itoa(g.IntN(shared))} {
					var attrs bytes.Buffer
					for i := range 10 {
						if stamp != "" {
							fmt.Fprintf(&attrs, `,"a%d":%q`, i, stamp)
						} else {
							fmt.Fprintf(&attrs, `,"a%d"`, i)
						}
					}
					brackets := "{}"
					if stamp == "" {
						brackets = "[]"
					}
					entries = append(entries, fmt.Sprintf(`{"To_Account":%q,"Attrs":%c%s%c}`, account, brackets[0], attrs.String()[1:], brackets[1]))
				}
				command := "timpush/set_attr"
				if stamp == "" {
					command = "timpush/remove_attr"
				}
				if a := n.post(command, `{"UserAttrs":[`+strings.Join(entries, ",")+`]}`); a.ErrorCode != 0 {
					t.Errorf("%s: %s", command, a.raw)
				}
				last[c] = stamp
				// What was answered OK, every later request sees.
				if got := read(append([]string{own}, accounts[:shared]...))[own]["a0"]; got != stamp {
					t.Errorf("%s has %q, want %q", own, got, stamp)
				}
			}
		})
	}
	wg.Wait()
	users := read(accounts)
	for c := range clients {
		if got := users["own"+strconv.Itoa(c)]["a0"]; got != last[c] {
			t.Errorf("own%d has %q, want %q", c, got, last[c])
		}
	}
}

// TestEstimatesUnderWriters counts while writers tag one user after the other,
// and take the tags away again: each count must have been right at some moment
// between call and answer, and two tags that are always given together are always
// seen together.
func TestEstimatesUnderWriters(t *testing.T) {
	n := start(t, gate.Options{})
	const writers, rounds, users = 3, 4, 40
	var accounts []string
	for i := range users {
		accounts = append(accounts, "u"+strconv.Itoa(i))
	}
	list, err := json.Marshal(map[string]any{"Accounts": accounts})
	if err != nil {
		t.Fatal(err)
	}
	n.post("im_open_login_svc/multiaccount_import", string(list)).ok(t)

	// begun and done count the changes of a writer. Its n-th change gives or takes
	// the tags of one user, so it says how many have them after it.
	var begun, done [writers]atomic.Int64
	after := func(changes int64) int64 {
		if in := changes % (2 * users); in <= users {
			return in
		} else {
			return 2*users - in
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for c := range 2 * users * rounds {
				command := "timpush/add_tag"
				if c%(2*users) >= users {
					command = "timpush/remove_tag"
				}
				begun[w].Add(1)
				body := fmt.Sprintf(`{"UserTags":[{"To_Account":"u%d","Tags":["a%d","b%d"]}]}`, c%users, w, w)
				if a := n.post(command, body); a.ErrorCode != 0 {
					t.Errorf("%s: %s", command, a.raw)
				}
				done[w].Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	for c := 0; ; c++ {
		select {
		case <-ended:
			if c < 20 {
				t.Errorf("only %d counts were made", c)
			}
			return
		default:
		}
		w := c % writers
		first := done[w].Load()
		a := n.audience(t, "estimate_audience", map[string]any{"Where": fmt.Sprintf(`tag("a%d") && tag("b%d")`, w, w)})
		last := begun[w].Load()
		right := false
		for at := first; at <= last; at++ {
			right = right || int64(a.Count) == after(at)
		}
		if !right || len(a.Clauses) != 2 || a.Clauses[0].Count != a.Count || a.Clauses[1].Count != a.Count {
			t.Fatalf("counted %d (%+v), between change %d and %d", a.Count, a.Clauses, first, last)
		}
		if a := n.audience(t, "estimate_audience", map[string]any{"Where": fmt.Sprintf(`tag("a%d") && !tag("b%d")`, w, w)}); a.Count != 0 {
			t.Fatalf("%d users have one of two tags that are given together", a.Count)
		}
	}
}
