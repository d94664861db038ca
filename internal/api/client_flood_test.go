package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/gate"
)

// TestFloodOfRegistrations: registrations whose bodies do not come take the places of client
// apps, and none of those of commands.
func TestFloodOfRegistrations(t *testing.T) {
	const places = 40 // of client apps: half of those of commands
	n := startPhones(t, gate.Options{MaxInFlight: 2 * places})
	p := n.newPhone(android)
	var open []net.Conn
	register := func() string {
		t.Helper()
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		// With 100-continue the server tells when it reads the body.
		fmt.Fprintf(c, "POST /v1/devices?sdkappid=%d HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n", appID, appKey)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	for range places {
		if line := register(); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			t.Fatalf("got %q, want 100 Continue", line)
		}
	}
	if line := register(); !strings.HasPrefix(line, "HTTP/1.1 503 ") {
		t.Errorf("got %q for one registration too many, want 503", line)
	}
	p.call("PUT", "", android).is(t, 503, 60018)
	n.post("timpush/get_attr_name", `{}`).ok(t)
	for _, c := range open {
		c.Close()
	}
	for n.v1("PUT", "/"+p.id, bearer(p.secret), android).status == 503 { // until the server has seen it
		time.Sleep(time.Millisecond)
	}
}

// TestNoSecretIsLogged: what client apps show is in no line of the log and in no error.
func TestNoSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	n := startPhones(t, gate.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p := n.newPhone(android)
	ticket := n.ticket("Mary")
	secrets := []string{appKey, p.secret, p.secret[:12], ticket, "token-of-a-phone"}
	answers := ""
	for _, authorization := range []string{"", bearer(appKey), bearer(p.secret), bearer(ticket), userSig(ticket), userSig(p.secret), "Basic " + p.secret, p.secret} {
		for _, c := range []struct{ method, path, body string }{
			{"POST", "", android},
			{"POST", "", `{"Platform":"` + appKey + `x`},
			{"PUT", "/" + p.id, android},
			{"PUT", "/" + p.id, `{"Platform":"ios","Tokens":[{"Certificate":9,"Token":"token-of-a-phone"}]}`},
			{"PUT", "/" + p.id + "/user", `{"UserID":"Mary","UserSig":"` + ticket + `"}`},
			{"PUT", "/" + p.id + "/user", `{"UserID":"ada","UserSig":"` + ticket + `"}`},
			{"PATCH", "/" + p.id, ""},
		} {
			if r := n.v1(c.method, c.path, authorization, c.body); !strings.Contains(c.body, appKey) {
				if _, made := r.members["DeviceSecret"]; !made {
					answers += r.raw + "\n"
				}
			}
		}
	}
	n.devices.err = errDisk
	n.v1("POST", "", bearer(appKey), android).is(t, 503, 91000)
	for _, text := range []string{log.String(), answers} {
		for _, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("a secret is in\n%s", text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
	for _, want := range []string{"command=v1/register", "command=v1/bind", "device=" + p.id, "code=95021", "app=1400000001", "source=127.0.0.1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no line of the log holds %s", want)
		}
	}
}

// TestClientAuthority: what takes a right away is effective for requests that were checked
// before.
func TestClientAuthority(t *testing.T) {
	for name, test := range map[string]struct {
		take         func(n *node) error
		status, code int
	}{
		"AppKey removed": {func(n *node) error { return n.apps.RemoveAppKey(t.Context(), appID, 1) }, 401, 95020},
		"app disabled": {func(n *node) error {
			_, err := n.apps.SetStatus(t.Context(), appID, app.Disabled)
			return err
		}, 503, 60016},
	} {
		t.Run(name, func(t *testing.T) {
			n := startPhones(t, gate.Options{})
			c, err := net.Dial("tcp", n.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "POST /v1/devices?sdkappid=%d HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", appID, appKey, len(android))
			r := bufio.NewReader(c)
			for range 2 {
				if line, err := r.ReadString('\n'); err != nil {
					t.Fatal(line, err)
				}
			}
			if err := test.take(n); err != nil {
				t.Fatal(err)
			}
			before := n.count()
			io.WriteString(c, android)
			got, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if text := string(got); !strings.HasPrefix(text, fmt.Sprintf("HTTP/1.1 %d ", test.status)) || !strings.Contains(text, fmt.Sprintf(`"ErrorCode":%d`, test.code)) {
				t.Errorf("got %s, want status %d and code %d", text, test.status, test.code)
			}
			if after := n.count(); after != before {
				t.Errorf("%d accounts became %d", before, after)
			}
		})
	}
}
