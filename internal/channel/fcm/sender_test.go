package fcm

import (
	"testing"

	"tidings/internal/channel"
)

func TestSend(t *testing.T) {
	for name, secure := range map[string]bool{"TLS": true, "without TLS": false} {
		t.Run(name, func(t *testing.T) {
			g := newGoogle(t, secure)
			s := g.sender(t, channel.Options{}, nil)
			for i, r := range results(t, s, job(), targets(500)) {
				if r.Outcome != channel.Accepted || r.Status != 200 {
					t.Fatalf("target %d: %+v, want accepted", i, r)
				}
			}
			got := map[string]int{}
			for _, r := range g.Requests() {
				if r.Path == "/token" {
					continue
				}
				if r.Path != "/v1/projects/chat-prod/messages:send" || r.Header.Get("Authorization") != "Bearer access-token-1" {
					t.Fatalf("a request for %s with %q", r.Path, r.Header["Authorization"])
				}
				got[targetOf(r.Body)]++
			}
			for i, target := range targets(500) {
				if n := got[string(target.Address)]; n != 1 {
					t.Errorf("target %d was sent %d times", i, n)
				}
			}
			if g.tokens != 1 {
				t.Errorf("%d access tokens, want 1", g.tokens)
			}
		})
	}
}
