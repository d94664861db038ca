package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/internal/testenv"
)

const ok = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`

// serve starts a server that answers each request with what f returns.
func serve(t *testing.T, f func(r *http.Request, body []byte) string) Target {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, f(r, body))
	}))
	t.Cleanup(s.Close)
	return Target{URL: s.URL, SDKAppID: 1400000001, Identifier: "administrator", Ticket: "eJw*a-b_"}
}

// canned is a connection whose other end has always answered.
type canned struct {
	net.Conn
	answer string
	rest   string
}

func (c *canned) Write(b []byte) (int, error) { c.rest = c.answer; return len(b), nil }
func (c *canned) Read(b []byte) (int, error) {
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func TestRequestsDoNotAllocate(t *testing.T) {
	for name, w := range map[string]Workload{
		"remove": RemoveAttr(Shuffled(1000, 1), 100), "alternation": Alternate(Shuffled(1000, 1), 100, FilledAttrs()).Workload(), "get": GetAttr(Random(1000, 1), 100),
	} {
		answer := "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n" + ok
		c := &conn{work: w, heads: make([]head, 1), wire: wire{nc: &canned{answer: answer}}}
		seq := uint64(0)
		allocs := testing.AllocsPerRun(1000, func() {
			c.prepare(seq)
			if code, err := c.exchange(t.Context()); code != 0 || err != nil {
				t.Fatal(code, err)
			}
			seq++
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per request", name, allocs)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	answer := "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n" + ok
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			c := &conn{work: RemoveAttr(Shuffled(1_000_000, 1), n), heads: make([]head, 1), wire: wire{nc: &canned{answer: answer}}}
			b.ReportAllocs()
			for seq := uint64(0); b.Loop(); seq++ {
				c.prepare(seq)
				if code, err := c.exchange(b.Context()); code != 0 || err != nil {
					b.Fatal(code, err)
				}
			}
		})
	}
}

func TestFill(t *testing.T) {
	var mu sync.Mutex
	accounts, values := make(map[string]bool), make(map[string]map[string]string)
	var names string
	target := serve(t, func(r *http.Request, body []byte) string {
		mu.Lock()
		defer mu.Unlock()
		var in struct {
			AccountList []struct{ UserID string }
			UserAttrs   []struct {
				ToAccount string `json:"To_Account"`
				Attrs     map[string]string
			}
		}
		if r.URL.Path == "/v4/timpush/set_attr_name" {
			names = string(body)
			return ok
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		for _, a := range in.AccountList {
			accounts[a.UserID] = true
		}
		for _, u := range in.UserAttrs {
			values[u.ToAccount] = u.Attrs
		}
		return ok
	})
	if err := Fill(t.Context(), target, 1234, func(uint64, uint64) {}); err != nil {
		t.Fatal(err)
	}
	if want := `{"AttrNames":{"0":"sex","1":"city","2":"country"}}`; names != want {
		t.Errorf("names %s, want %s", names, want)
	}
	if len(accounts) != 1234 || len(values) != 1234 || len(values[User(1233)]) != 3 {
		t.Errorf("%d accounts, %d with values, the last has %v", len(accounts), len(values), values[User(1233)])
	}
}

func TestFillTellsWhatWasRefused(t *testing.T) {
	target := serve(t, func(*http.Request, []byte) string {
		return `{"ActionStatus":"FAIL","ErrorInfo":"no admin","ErrorCode":90009}`
	})
	if err := Fill(t.Context(), target, 10, nil); err == nil || !strings.Contains(err.Error(), "no admin") {
		t.Errorf("got %v", err)
	}
}

func TestBaseline(t *testing.T) {
	body := `{"ErrorCode":0,"UserAttrs":"` + strings.Repeat("x", 10_000) + `"}`
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := BaselineProcess(ctx, strings.NewReader(body), w); err != nil {
			t.Error(err)
		}
	})
	var at string
	if _, err := fmt.Fscanf(r, "baseline on %s\n", &at); err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), Target{URL: at}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Call(t.Context(), "timpush/get_attr", "{}")
	if err != nil || string(got) != body {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(body))
	}
	resp, err := http.Post(at, "", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if id := resp.Header.Get("X-Request-Id"); len(id) != 16 || resp.ContentLength != int64(len(body)) {
		t.Errorf("request id %q, length %d", id, resp.ContentLength)
	}
	cancel()
	wg.Wait()
}

func TestRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	testenv.Need(t, "redis-server", err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, RedisArgs(port, t.TempDir())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if err := AwaitRedis(ctx, addr); err != nil {
		t.Fatal(err)
	}
	c, err := DialRedis(ctx, addr, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Fill(ctx, 1050); err != nil {
		t.Fatal(err)
	}
	a := Alternate(Shuffled(1050, 1), 50, FilledAttrs())
	if err := c.Prime(ctx, a); err != nil {
		t.Fatal(err)
	}
	for first := uint64(0); first < 150; first += 50 {
		r, err := c.Alternate(ctx, a, first, Options{Requests: 50})
		if err != nil || r.Err() != nil || r.Users != 50*50 {
			t.Fatalf("from request %d: %v, %v", first, r, err)
		}
	}
	// A second time the users do not have what it removes.
	if err := c.Prime(ctx, a); err == nil {
		t.Error("no error of commands that change nothing")
	}
}
