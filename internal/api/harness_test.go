package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	dev "tidings/internal/device"
	"tidings/internal/gate"
	"tidings/internal/store/lsm"
	"tidings/internal/usersig"
)

var update = flag.Bool("update", false, "rewrite testdata/golden")

const (
	appID  = 1400000001
	secret = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed"
	admin  = app.BuiltInAdmin
)

// A clock stands still until it is moved.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) set(t time.Time)         { c.nanos.Store(t.UnixNano()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// A node is an API server on a loopback socket over the embedded store in
// memory, with a clock that stands still.
type node struct {
	t       testing.TB
	fs      vfs.FS
	store   *lsm.Store
	apps    *app.Registry
	devices *brokenDevices
	tasks   *memoryTasks
	events  *events
	sending *memoryDispatcher
	handler *api.Server
	addr    string
	clock   *clock
	client  *http.Client
	timeout time.Duration // for a client to send a request
}

// start starts a node whose test app is as declared, with the attributes and
// users of the seed.
func start(t testing.TB, opts gate.Options, edits ...func(*app.Declaration)) *node {
	t.Helper()
	n := open(t, opts, vfs.NewMem())
	n.declare(declaration(edits...))
	n.certify()
	n.fill()
	n.serve()
	return n
}

// declaration declares the test app: no rates, so that only the tests of rates
// meet them.
func declaration(edits ...func(*app.Declaration)) app.Declaration {
	d := app.Declaration{
		ID: appID, SecretKey: new(secret), Limits: app.Limits{app.LimitDefault: 0},
		AttrNames: map[string]string{"0": "sex", "1": "city", "2": "country", "9": "build"},
		AttrTypes: map[string]int{"9": int(audience.RegistrationID)},
	}
	for _, edit := range edits {
		edit(&d)
	}
	return d
}

// open opens a node that does not listen yet.
func open(t testing.TB, opts gate.Options, fs vfs.FS) *node {
	t.Helper()
	n := &node{t: t, fs: fs, clock: &clock{}, timeout: 10 * time.Second}
	n.clock.set(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if n.store, err = lsm.Open("", lsm.Options{FS: fs, MemtableSize: 1 << 20, Logger: opts.Logger}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	})
	n.over(n.store.Apps, n.store.Users, opts)
	return n
}

// over puts the API over other stores, which stand before that of the node.
func (n *node) over(apps app.Store, users audience.Store, opts gate.Options) {
	n.t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if n.apps, err = app.Open(context.Background(), apps, api.Commands()); err != nil {
		n.t.Fatal(err)
	}
	opts.Now = n.clock.now
	n.devices, n.events = &brokenDevices{Store: n.store.Devices, shown: map[string]*dev.Device{}}, &events{}
	n.tasks = newMemoryTasks(n.events, users, n.clock.now)
	n.sending = &memoryDispatcher{tasks: n.tasks, sender: &plainSender{limits: channel.Limits{Rate: 100}}}
	n.handler = api.New(n.parts(users), opts)
}

// parts are what the API of the node works on.
func (n *node) parts(users audience.Store) api.Parts {
	return api.Parts{
		Apps: n.apps, Users: users, Devices: n.devices, Tasks: n.tasks, Drivers: n.sending.drivers(), Dispatcher: n.sending,
		Unseal: func(uint32, *app.Certificate) (channel.Secret, error) { return channel.Secret("unsealed"), nil }, CheckFCM: checkFCM,
	}
}

// checkFCM refuses one member of FCM's message.
func checkFCM(patch json.RawMessage) error {
	if strings.Contains(string(patch), `"token"`) {
		return errors.New("Overrides.Fcm.token cannot be overridden")
	}
	return nil
}

func (n *node) declare(d app.Declaration) *app.App {
	n.t.Helper()
	a, err := n.apps.Declare(context.Background(), d)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

// device is an account of the kind that no command can make.
const device = "3F0C9B52-7A41-4E0D-9C66-18D2B7A40E5F"

// withDevices makes a file system with the test app and RegistrationIDs, which
// only devices make.
func withDevices(t testing.TB, devices ...string) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	store, err := lsm.Open("", lsm.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	apps, err := app.Open(t.Context(), store.Apps, api.Commands())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apps.Declare(t.Context(), declaration()); err != nil {
		t.Fatal(err)
	}
	var changes []audience.Change
	for _, id := range devices {
		changes = append(changes, audience.Change{Account: id, Create: true, Kind: audience.RegistrationID})
	}
	if _, err := store.Users.Change(t.Context(), appID, changes); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return fs
}

// certify gives the app a certificate, so that it can push.
func (n *node) certify() {
	n.t.Helper()
	_, err := n.apps.AddCertificate(context.Background(), appID, app.Certificate{Provider: channel.FCM}, func(int, int) ([]byte, error) { return []byte("sealed"), nil })
	if err != nil {
		n.t.Fatal(err)
	}
}

// fill makes the users of the seed, and ada without attributes.
func (n *node) fill() {
	n.t.Helper()
	attrs := &n.apps.App(appID).Attributes
	_, err := n.store.Users.Change(context.Background(), appID, []audience.Change{
		{Account: "Mary", Create: true, Set: audience.Values{"female", "Paris", "France"}, Attributes: attrs},
		{Account: "xiaoming", Create: true, Set: audience.Values{"male", "Shenzhen"}, Attributes: attrs},
		{Account: "ada", Create: true},
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// serve listens and serves, with the timeouts of internal/server.
func (n *node) serve() {
	n.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = l.Addr().String()
	srv := &http.Server{
		Handler: n.handler, ReadHeaderTimeout: n.timeout, ReadTimeout: n.timeout,
		WriteTimeout: n.timeout + 13*time.Second, IdleTimeout: 75 * time.Second, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	n.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	n.t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			n.t.Error(err)
		}
	})
}

// direct gives the same node for calls without a socket: for tests with more of
// them than the socket is of use for.
func (n *node) direct() *node {
	d := *n
	d.client = &http.Client{Transport: directly{n.handler}}
	return &d
}

type directly struct{ http.Handler }

func (d directly) RoundTrip(r *http.Request) (*http.Response, error) {
	s := r.Clone(r.Context())
	s.RequestURI, s.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:50000"
	w := httptest.NewRecorder()
	d.ServeHTTP(w, s)
	return w.Result(), nil
}

// ticket makes a ticket for an account, good for a day.
func (n *node) ticket(account string) string {
	return n.ticketOf(secret, appID, account, n.clock.now().Add(-time.Minute), 24*time.Hour)
}

var tickets sync.Map // made before: a compressor takes long with the race detector

// ticketOf makes any ticket.
func (n *node) ticketOf(key string, id uint32, account string, issued time.Time, life time.Duration) string {
	what := fmt.Sprint(key, " ", id, " ", account, " ", issued.Unix(), " ", life)
	if t, ok := tickets.Load(what); ok {
		return t.(string)
	}
	t := usersig.Make(key, id, account, issued, life, nil)
	tickets.Store(what, t)
	return t
}

// query is the query of a call by the admin.
func (n *node) query() url.Values {
	return url.Values{
		"sdkappid": {strconv.Itoa(appID)}, "identifier": {admin}, "usersig": {n.ticket(admin)},
		"random": {"99999999"}, "contenttype": {"json"},
	}
}

// An answer is an API answer, with the envelope taken apart.
type answer struct {
	ActionStatus, ErrorInfo string
	ErrorCode               int
	ErrorList               []struct {
		Account string `json:"To_Account"`
		Code    int    `json:"ErrorCode"`
		Info    string `json:"ErrorInfo"`
	}
	members map[string]any // all of them
	raw     string
	header  http.Header
}

// parseAnswer reads an answer of a command and checks what is true of each of them.
func parseAnswer(t testing.TB, what string, status int, header http.Header, body []byte) answer {
	t.Helper()
	if status != http.StatusOK {
		t.Fatalf("%s: status %d, want 200; body %s", what, status, body)
	}
	return parseEnvelope(t, what, header, body)
}

// parseEnvelope reads an answer with any status.
func parseEnvelope(t testing.TB, what string, header http.Header, body []byte) answer {
	t.Helper()
	a := answer{raw: string(body), header: header}
	if got := header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("%s: Content-Type %q", what, got)
	}
	if id := header.Get("X-Request-Id"); len(id) != 16 {
		t.Errorf("%s: X-Request-Id %q, want 16 characters", what, id)
	}
	if err := json.Unmarshal(body, &a.members); err != nil {
		t.Fatalf("%s: answer %q: %v", what, body, err)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("%s: answer %q: %v", what, body, err)
	}
	for _, name := range []string{"ActionStatus", "ErrorInfo", "ErrorCode"} {
		if _, ok := a.members[name]; !ok {
			t.Errorf("%s: answer %s has no %s", what, body, name)
		}
	}
	want := "FAIL"
	if a.ErrorCode == 0 {
		want = "OK"
	}
	if a.ActionStatus != want {
		t.Errorf("%s: ActionStatus %s with ErrorCode %d", what, a.ActionStatus, a.ErrorCode)
	}
	if (a.ErrorInfo == "") != (a.ErrorCode == 0) {
		t.Errorf("%s: ErrorInfo %q with ErrorCode %d", what, a.ErrorInfo, a.ErrorCode)
	}
	if list, ok := a.members["ErrorList"]; ok && (a.ErrorCode != 0 || len(list.([]any)) == 0) {
		t.Errorf("%s: ErrorList %v with ErrorCode %d", what, list, a.ErrorCode)
	}
	return a
}

// post calls a command as the admin; edits change the request.
func (n *node) post(command, body string, edits ...func(*http.Request, url.Values)) answer {
	n.t.Helper()
	what := fmt.Sprintf("%s %s", command, shorten(body))
	r, err := http.NewRequest(http.MethodPost, "http://"+n.addr+"/v4/"+command, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	q := n.query()
	for _, edit := range edits {
		edit(r, q)
	}
	if r.URL.RawQuery == "" {
		r.URL.RawQuery = q.Encode()
	}
	resp, err := n.client.Do(r)
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
	return parseAnswer(n.t, what, resp.StatusCode, resp.Header, b)
}

// with sets a parameter of the query; nil takes it away.
func with(name string, value *string) func(*http.Request, url.Values) {
	return func(_ *http.Request, q url.Values) {
		if q.Del(name); value != nil {
			q.Set(name, *value)
		}
	}
}

// from makes the request come from an address, as a trusted proxy tells it.
func from(address string) func(*http.Request, url.Values) {
	return func(r *http.Request, _ url.Values) { r.Header.Set("X-Forwarded-For", address) }
}

var trustLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// ok fails the test unless an answer is a success.
func (a answer) ok(t testing.TB) answer {
	t.Helper()
	if a.ErrorCode != 0 {
		t.Fatalf("got %s, want OK", a.raw)
	}
	return a
}

// code fails the test unless an answer has a code and its text all of parts.
func (a answer) code(t testing.TB, want int, parts ...string) answer {
	t.Helper()
	if a.ErrorCode != want {
		t.Errorf("got %s, want code %d", a.raw, want)
	}
	for _, part := range parts {
		if !strings.Contains(a.ErrorInfo, part) {
			t.Errorf("ErrorInfo %q does not hold %q", a.ErrorInfo, part)
		}
	}
	return a
}

// state is everything that requests can change, for comparing: the app, how
// many users there are, and what some of them have.
func (n *node) state(accounts ...string) string {
	n.t.Helper()
	a, err := json.Marshal(n.apps.App(appID))
	if err != nil {
		n.t.Fatal(err)
	}
	accounts = append([]string{"Mary", "xiaoming", "ada", "ghost", admin, "new", device}, accounts...)
	users, err := n.store.Users.Users(context.Background(), appID, accounts)
	if err != nil {
		n.t.Fatal(err)
	}
	b := fmt.Appendf(nil, "%s\n%d users\n", a, n.count())
	for i, u := range users {
		revoked, err := n.store.Users.RevokedUpTo(context.Background(), appID, accounts[i])
		if err != nil {
			n.t.Fatal(err)
		}
		b = fmt.Appendf(b, "%s: %+v %d\n", accounts[i], u, revoked)
	}
	return string(b)
}

// unchanged runs f and fails the test if the state is another one after it.
func (n *node) unchanged(what string, f func()) {
	n.t.Helper()
	before := n.state()
	f()
	if after := n.state(); after != before {
		n.t.Errorf("%s changed something:\n%s\nwas\n%s", what, after, before)
	}
}

// exchange writes raw bytes to an address and reads everything up to the end of
// the connection, after the client's side is closed.
func exchange(t testing.TB, addr, raw string) []byte {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = io.WriteString(c, raw) // the server may close early
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, _ := io.ReadAll(c) // a reset after the answer is no failure
	<-wrote
	return got
}

// answers takes the answers of a connection apart, without the interim ones.
func answers(t testing.TB, what string, got []byte) (all []answer, statuses []int) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(got))
	for {
		if _, err := r.Peek(1); err != nil {
			return all, statuses
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v in %q", what, err, got)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%s: %v in %q", what, err, got)
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		statuses = append(statuses, resp.StatusCode)
		if resp.StatusCode == http.StatusOK {
			all = append(all, parseAnswer(t, what, resp.StatusCode, resp.Header, body))
		}
	}
}

// golden compares got with a file of testdata/golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./internal/api -update rewrites it); got\n%s\nwant\n%s", file, got, want)
	}
}

func shorten(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%s... (%d bytes)", s[:200], len(s))
	}
	return s
}

// userList is a body for set_attr or remove_attr with n users.
func userList(n int, attrs string) string {
	entries := slices.Collect(func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf(`{"To_Account":"u%d","Attrs":%s}`, i, attrs)) {
				return
			}
		}
	})
	return `{"UserAttrs":[` + strings.Join(entries, ",") + `]}`
}

// begin sends a request up to the middle of its body, which the server has then
// begun to read; the function it gives sends the rest and reads the answer.
func (n *node) begin(command, body string) (finish func() answer) {
	n.t.Helper()
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		n.t.Fatal(err)
	}
	// With 100-continue the server tells when it reads the body.
	fmt.Fprintf(c, "POST /v4/%s?%s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", command, n.query().Encode(), len(body))
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		n.t.Fatalf("got %q, %v, want 100 Continue", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		n.t.Fatal(err)
	}
	io.WriteString(c, body[:len(body)/2])
	return func() answer {
		n.t.Helper()
		io.WriteString(c, body[len(body)/2:])
		got, err := io.ReadAll(r)
		if err != nil {
			n.t.Fatal(err)
		}
		all, statuses := answers(n.t, command, got)
		if len(all) != 1 {
			n.t.Fatalf("got statuses %v, want one answer", statuses)
		}
		return all[0]
	}
}

// count returns how many accounts the app has.
func (n *node) count() int {
	n.t.Helper()
	users, err := n.store.Users.Count(n.t.Context(), appID)
	if err != nil {
		n.t.Fatal(err)
	}
	return users
}
