//go:build unix

package server_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/client"
)

// TestStrangers fills the connections of the real server, which may open few files, with
// some that say nothing and some that do not finish their headers. The store goes on and a
// caller from elsewhere is served, and after them the server stops in order.
func TestStrangers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the server")
	}
	const files = 256
	k := newKiller(t, "")
	k.prefix = []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, files), "sh"}
	cmd, url := k.start()
	stopped := make(chan error, 1)
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	address := strings.TrimPrefix(url, "http://")

	caller, err := client.New(url, killApp, killSecret, client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	change := func(i int) error { // of some 30 KB
		users := make([]client.UserAttrs, 100)
		for u := range users {
			users[u] = client.UserAttrs{Account: fmt.Sprint("u", u), Attrs: map[string]string{}}
			for slot := range killSlots {
				users[u].Attrs[fmt.Sprint("attr", slot)] = fmt.Sprintf("%045d", i)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return caller.SetAttrs(ctx, users)
	}
	if err := change(0); err != nil { // its connection is kept
		t.Fatal(err)
	}
	var open []net.Conn
	t.Cleanup(func() {
		for _, c := range open {
			c.Close()
		}
	})
	for i := range 2 * files {
		c, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		open = append(open, c)
		if i%2 == 0 {
			fmt.Fprintf(c, "POST /v4/timpush/set_attr HTTP/1.1\r\nX-Long: %s", strings.Repeat("x", 1000))
		}
	}
	for i := range 2600 { // more than a segment of the log
		if err := change(i); err != nil {
			t.Fatalf("change %d among the strangers: %v", i, err)
		}
	}
	go func() { stopped <- cmd.Wait() }()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("the server ended with %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Error("the server does not stop")
	}
}
