package api_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/gate"
)

// TestEarlyRefusal: who sends all of a large body before reading the answer sees the code
// of a request that was refused before its body: the rest is read and thrown away.
func TestEarlyRefusal(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.DisabledCommands = []string{"timpush/get_tag"} })
	const size = 12 << 20 // far more than the buffers of two sockets
	chunk := strings.Repeat("x", 64<<10)
	for _, chunked := range []bool{false, true} {
		for _, c := range []struct {
			name, command, edit string
			code                int
		}{
			{"forged ticket", "timpush/set_attr", "usersig=forged", 70003},
			{"switched off", "timpush/get_tag", "", 60017},
			{"too large", "timpush/set_attr", "", 93000},
			{"no app", "timpush/set_attr", "sdkappid=7", 70020},
			{"no command", "timpush/none", "", 60009},
		} {
			t.Run(fmt.Sprintf("%s/chunked=%t", c.name, chunked), func(t *testing.T) {
				conn, err := net.Dial("tcp", n.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				framing := fmt.Sprintf("Content-Length: %d", size)
				if chunked {
					framing = "Transfer-Encoding: chunked"
				}
				query := n.query().Encode()
				if c.edit != "" {
					query = c.edit + "&" + query // the first counts
				}
				fmt.Fprintf(conn, "POST /v4/%s?%s HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", c.command, query, framing)
				for range size / len(chunk) {
					part := chunk
					if chunked {
						part = fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk)
					}
					if _, err := io.WriteString(conn, part); err != nil {
						t.Fatalf("the body cannot be sent: %v", err)
					}
				}
				if chunked {
					io.WriteString(conn, "0\r\n\r\n")
				}
				io.WriteString(conn, "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				got, err := io.ReadAll(conn)
				if err != nil {
					t.Fatal(err)
				}
				all, statuses := answers(t, c.name, got)
				if len(all) != 2 || statuses[0] != http.StatusOK || all[0].ErrorCode != c.code || all[1].ErrorCode != 60002 {
					t.Errorf("got %q, want code %d and then 60002", got, c.code)
				}
			})
		}
	}
}

// TestShareOfAnApp: requests of one app whose bodies do not come keep no other app out.
func TestShareOfAnApp(t *testing.T) {
	n := start(t, gate.Options{MaxInFlight: 256})
	n.declare(app.Declaration{ID: 7, SecretKey: new(secret), AttrNames: map[string]string{"0": "sex"}})
	var finish []func() answer
	for range 64 { // a quarter
		finish = append(finish, n.begin("timpush/set_attr", bodies["timpush/set_attr"]))
	}
	n.post("timpush/get_attr_name", "{}").code(t, 60018, "app 1400000001")
	n.post("timpush/get_attr_name", "{}", with("sdkappid", new("7")), with("usersig", new(n.ticketOf(secret, 7, admin, n.clock.now(), time.Hour)))).ok(t)
	for _, f := range finish {
		f().ok(t)
	}
	n.post("timpush/get_attr_name", "{}").ok(t)
}

// TestBodyMemory: the bodies of an app take no more memory than its share, whatever their
// headers announce; what has no room is refused, and what was taken is given back.
func TestBodyMemory(t *testing.T) {
	n := start(t, gate.Options{MaxBodyMemory: 64 << 20}) // 36 MiB for an app, which is what one body of 4 MiB takes at most
	half := func(size int) func() answer {
		return n.begin("timpush/add_tag", `{"UserTags":[{"To_Account":"Mary","Tags":["a"]}]}`+strings.Repeat(" ", size))
	}
	var finish []func() answer
	for range 7 { // half of each, 2 MiB, is there
		finish = append(finish, half(4<<20-1024))
	}
	refused := 0
	for _, f := range finish {
		if a := f(); a.ErrorCode == 60018 {
			refused++
		} else {
			a.ok(t)
		}
	}
	if refused == 0 || refused == len(finish) {
		t.Errorf("of seven bodies of 4 MiB, half of each there, %d were refused", refused)
	}
	for range 3 {
		n.post("timpush/set_attr", bodies["timpush/set_attr"]).ok(t)
	}
}

// TestLargestBody: a body of exactly the limit has room, however little memory there is
// for bodies.
func TestLargestBody(t *testing.T) {
	n := start(t, gate.Options{MaxBodyMemory: 64 << 20}).direct()
	const largest = 4 << 20
	body := `{"UserTags":[{"To_Account":"Mary","Tags":["a"]}]}`
	body += strings.Repeat(" ", largest-len(body))
	n.post("timpush/add_tag", body).ok(t)
	n.post("timpush/add_tag", body, func(r *http.Request, _ url.Values) { r.ContentLength = -1 }).ok(t)
	n.post("timpush/add_tag", body+" ").code(t, 93000)
}
