package simulate

import (
	"fmt"
	"strings"
	"testing"
)

func TestProtocols(t *testing.T) {
	s := start(t, Options{})
	for i, protocol := range protocols {
		c := dial(t, s, protocol)
		token := fmt.Sprintf("token-%d", i)
		r := c.must(c.send(token, "id-"+protocol))
		if r.status != 200 || !strings.Contains(r.body, `"projects/tidings-simulator/messages/0:`) {
			t.Errorf("%s: %d %s", protocol, r.status, r.body)
		}
		if n := s.Delivered(); n != int64(i+1) {
			t.Errorf("%s: %d delivered, want %d", protocol, n, i+1)
		}
		if s.TokenCount(token) != 1 || s.IDCount("id-"+protocol) != 1 {
			t.Errorf("%s: not counted", protocol)
		}
	}
}
