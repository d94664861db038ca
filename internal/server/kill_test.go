package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidings/client"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
	"tidings/internal/testenv"
)

const (
	killApp    = 1400000001
	killSecret = "a secret key for the kill test"
	killSlots  = 6
	// Users that belong to one worker each, and users that all of them change.
	killWorkers = 6
	killOwn     = 5
	killShared  = 4
)

// TestKill kills the real server with SIGKILL while it is under load, again and
// again on one data directory: everything that was answered OK, or shown, is
// there after each start, and nothing is half done. TIDINGS_TEST_ROUNDS
// multiplies the rounds.
func TestKill(t *testing.T) {
	rounds := killRounds(t, 5)
	k := newKiller(t, "")
	for range rounds {
		k.round()
	}
	t.Logf("%d rounds, %d requests answered", rounds, k.answered)
}

// killRounds is how often the server is killed: n times, or TIDINGS_TEST_ROUNDS as
// often.
func killRounds(t *testing.T, n int) int {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and kills the server")
	}
	return testenv.Rounds(n)
}

// newKiller builds the server and configures it, with further lines.
func newKiller(t *testing.T, lines string) *killer {
	t.Helper()
	dir := t.TempDir()
	k := &killer{t: t, dir: dir, binary: build(t), r: rand.New(rand.NewPCG(rand.Uint64(), 0))}
	names := ""
	for i := range killSlots {
		names += fmt.Sprintf("      %q: attr%d\n", strconv.Itoa(i), i)
	}
	config := fmt.Sprintf("listen: 127.0.0.1:0\nmetrics_listen: 127.0.0.1:0\nlog_requests: failed\nmemtable_size: 1MiB\n%sdata: %s\napps:\n  - sdkappid: %d\n    secret_key: %s\n    create_accounts: true\n    limits:\n      default: 0\n    attr_names:\n%s",
		lines, k.data(), killApp, killSecret, names)
	if err := os.WriteFile(filepath.Join(dir, "tidings.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *killer) data() string { return filepath.Join(k.dir, "data") }

// build makes the program, without the race detector: what is killed is what
// is shipped.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "tidings")
	if out, err := exec.Command("go", "build", "-o", bin, "tidings/cmd/tidings").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

type killer struct {
	t           *testing.T
	dir, binary string
	prefix      []string // a command that runs the server, if any
	r           *rand.Rand

	mu     sync.Mutex
	own    [killWorkers][]*request // of each worker, one after the other
	shared []*request              // at the same time
	stamp  int

	answered int
}

// A request is what was sent and when, in ticks of the clock that all share.
type request struct {
	stamp      int
	kind       kind
	begun, end time.Time // end is zero: not answered
}

type kind int

const (
	sets kind = iota
	removes
	deletes
	imports
)

// after is how each user of a request is when it was the last.
func (q *request) after() string {
	switch {
	case q == nil || q.kind == deletes:
		return "-"
	case q.kind == sets:
		return strconv.Itoa(q.stamp)
	}
	return ""
}

func (k *killer) begin(of kind, list *[]*request) *request {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stamp++
	q := &request{stamp: k.stamp, kind: of, begun: time.Now()}
	*list = append(*list, q)
	return q
}

func (k *killer) finish(q *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answered++
	if q.end.IsZero() { // or it was shown already
		q.end = time.Now()
	}
}

func ownUsers(w int) []string {
	var names []string
	for i := range killOwn {
		names = append(names, fmt.Sprintf("own-%d-%d", w, i))
	}
	return names
}

func sharedUsers() []string {
	var names []string
	for i := range killShared {
		names = append(names, fmt.Sprintf("shared-%d", i))
	}
	return names
}

// round serves, looks at what is there, and kills.
func (k *killer) round() {
	t := k.t
	cmd, url := k.start()
	c, err := client.New(url, killApp, killSecret, client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	k.compare(c)
	if t.Failed() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.FailNow()
	}
	var wg sync.WaitGroup
	for w := range killWorkers {
		wg.Go(func() { k.work(c, w) })
	}
	wg.Go(func() { k.watch(c) })
	time.Sleep(100*time.Millisecond + time.Duration(k.r.IntN(500))*time.Millisecond) // any moment will do
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	_ = cmd.Wait()
	k.check()
}

// check checks the directory as it was left, not as a start repairs it.
func (k *killer) check() {
	k.t.Helper()
	_, err := lsm.CheckDir(k.t.Context(), k.data(), lsm.Options{Logger: slog.New(slog.DiscardHandler)}, func(f store.Finding) {
		k.t.Errorf("check: %s: %s", f.Where, f.What)
	})
	if err != nil {
		k.t.Fatalf("check: %v", err)
	}
}

var readyLine = regexp.MustCompile(`ready on (http://[0-9.:]+)`)

// launch starts the server and does not wait until it is ready.
func (k *killer) launch() (*exec.Cmd, io.Reader) {
	k.t.Helper()
	line := append(slices.Clone(k.prefix), k.binary, "serve", "--config", filepath.Join(k.dir, "tidings.yaml"))
	cmd := exec.Command(line[0], line[1:]...)
	stderr, err := os.OpenFile(filepath.Join(k.dir, "stderr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	return cmd, stdout
}

func (k *killer) start() (*exec.Cmd, string) {
	k.t.Helper()
	cmd, stdout := k.launch()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return cmd, m[1]
		}
	}
	_ = cmd.Wait()
	log, _ := os.ReadFile(filepath.Join(k.dir, "stderr"))
	k.t.Fatalf("the server did not start:\n%s", log)
	return nil, ""
}

// work sends requests until the server is gone.
func (k *killer) work(c *client.Client, w int) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for {
		list, names, of := &k.own[w], ownUsers(w), sets
		if r.IntN(3) == 0 {
			list, names = &k.shared, sharedUsers()
			if r.IntN(5) == 0 {
				of = removes
			}
		} else if n := r.IntN(10); n < 3 {
			of = kind(n + 1)
		}
		if of == removes || of == imports {
			// They leave the same on users that exist, and only there.
			if list == &k.own[w] && k.last(w).after() == "-" {
				of = imports
			} else {
				of = removes
			}
		}
		q := k.begin(of, list)
		err := k.send(c, q, names)
		var perUser *client.AccountErrors
		if errors.As(err, &perUser) {
			err = nil // deleted twice
		}
		var refused *client.Error
		if errors.As(err, &refused) {
			k.t.Errorf("request %+v: %v", q, err)
		}
		if err != nil {
			return
		}
		k.finish(q)
	}
}

func (k *killer) last(w int) *request {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.own[w]) == 0 {
		return nil
	}
	return k.own[w][len(k.own[w])-1]
}

func (k *killer) send(c *client.Client, q *request, names []string) error {
	ctx := context.Background()
	switch q.kind {
	case deletes:
		return c.DeleteAccounts(ctx, names)
	case imports:
		var accounts []client.Account
		for _, n := range names {
			accounts = append(accounts, client.Account{UserID: n})
		}
		return c.ImportAccounts(ctx, accounts)
	case removes:
		var users []client.AttrRemoval
		for _, n := range names {
			u := client.AttrRemoval{Account: n}
			for i := range killSlots {
				u.Names = append(u.Names, fmt.Sprintf("attr%d", i))
			}
			users = append(users, u)
		}
		return c.RemoveAttrs(ctx, users)
	}
	var users []client.UserAttrs
	for _, n := range names {
		u := client.UserAttrs{Account: n, Attrs: map[string]string{}}
		for i := range killSlots {
			u.Attrs[fmt.Sprintf("attr%d", i)] = strconv.Itoa(q.stamp)
		}
		users = append(users, u)
	}
	return c.SetAttrs(ctx, users)
}

// watch reads the shared users: what it is shown is as good as answered.
func (k *killer) watch(c *client.Client) {
	for {
		values, err := read(c, sharedUsers())
		if err != nil {
			return
		}
		k.mu.Lock()
		for _, q := range k.shared {
			if q.kind == sets && q.end.IsZero() && strconv.Itoa(q.stamp) == values[0] {
				q.end = time.Now()
			}
		}
		k.mu.Unlock()
		if !same(values) {
			k.t.Errorf("a request of the users %q was shown half done: %q", sharedUsers(), values)
			return
		}
	}
}

// read gives for each user its stamp, or "" without attributes, or "-" if it
// does not exist.
func read(c *client.Client, names []string) ([]string, error) {
	users, err := c.Attrs(context.Background(), names)
	var missing *client.AccountErrors
	if err != nil && !errors.As(err, &missing) {
		return nil, err
	}
	values := make([]string, len(names))
	for i, n := range names {
		values[i] = "-"
		for _, u := range users {
			if u.Account != n {
				continue
			}
			values[i] = u.Attrs["attr0"]
			for slot := range killSlots {
				if v := u.Attrs[fmt.Sprintf("attr%d", slot)]; v != values[i] {
					values[i] = fmt.Sprintf("mixed: %v", u.Attrs)
				}
			}
		}
	}
	return values, nil
}

func same(values []string) bool {
	for _, v := range values {
		if v != values[0] {
			return false
		}
	}
	return true
}

// compare looks at what the last round left.
func (k *killer) compare(c *client.Client) {
	t := k.t
	for w := range killWorkers {
		got, err := read(c, ownUsers(w))
		if err != nil {
			t.Fatal(err)
		}
		// The last request, or the one before it if the last was not answered.
		list := k.own[w]
		var last, before *request
		if n := len(list); n > 0 {
			last = list[n-1]
			if n > 1 {
				before = list[n-2]
			}
		}
		ok := got[0] == last.after() || last != nil && last.end.IsZero() && got[0] == before.after()
		if !ok || !same(got) {
			t.Errorf("users of worker %d are %q; the last request was %+v, the one before %+v", w, got, last, before)
		}
		// What was not answered is decided now.
		if last != nil && last.end.IsZero() {
			if got[0] != last.after() {
				k.own[w] = list[:len(list)-1]
			} else {
				last.end = time.Now()
			}
		}
	}
	if len(k.shared) == 0 { // the first round: make them
		q := k.begin(sets, &k.shared)
		if err := k.send(c, q, sharedUsers()); err != nil {
			t.Fatal(err)
		}
		k.finish(q)
	}
	got, err := read(c, sharedUsers())
	if err != nil {
		t.Fatal(err)
	}
	last := k.possible(got[0])
	if !same(got) || last == nil {
		t.Errorf("shared users are %q, which no order of the %d requests leaves", got, len(k.shared))
		return
	}
	last.end = time.Now()
	k.shared = []*request{last} // what was not answered and is not there does not come later
}

// possible is a request that can have been the last and left value: none that
// was answered began after it was. Nil if there is none.
func (k *killer) possible(value string) *request {
	var newest time.Time // beginning of an answered request
	for _, q := range k.shared {
		if !q.end.IsZero() && q.begun.After(newest) {
			newest = q.begun
		}
	}
	for _, q := range k.shared {
		if q.after() == value && (q.end.IsZero() || !q.end.Before(newest)) {
			return q
		}
	}
	return nil
}
