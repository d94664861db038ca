package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/app"
	"tidings/internal/gate"
)

// A stuckFS is a disk that takes no fsync of the log while it is stuck.
type stuckFS struct {
	vfs.FS
	mu    sync.Mutex
	moves sync.Cond
	stuck bool
}

func newStuckFS() *stuckFS {
	f := &stuckFS{FS: vfs.NewMem()}
	f.moves.L = &f.mu
	return f
}

func (f *stuckFS) set(stuck bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stuck = stuck
	f.moves.Broadcast()
}

func (f *stuckFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil || !strings.HasPrefix(name, "log/") {
		return file, err
	}
	return stuckFile{file, f}, nil
}

type stuckFile struct {
	vfs.File
	fs *stuckFS
}

func (f stuckFile) SyncData() error {
	f.fs.mu.Lock()
	for f.fs.stuck {
		f.fs.moves.Wait()
	}
	f.fs.mu.Unlock()
	return f.File.SyncData()
}

const (
	otherApp  = appID + 1
	diskLimit = 3 * time.Second // request_timeout
)

// startOnDisk starts a node on a disk, in a bubble, with two apps whose tickets are
// known.
func startOnDisk(t *testing.T) (*node, *stuckFS) {
	t.Helper()
	fs := newStuckFS()
	n := open(t, gate.Options{RequestTimeout: diskLimit}, fs).direct()
	t.Cleanup(func() { fs.set(false); n.apps.Close() })
	n.declare(declaration(func(d *app.Declaration) {
		d.CreateAccounts = new(true)
		for slot := 3; slot < 9; slot++ {
			d.AttrNames[strconv.Itoa(slot)] = fmt.Sprint("attr", slot)
		}
	}))
	n.declare(declaration(func(d *app.Declaration) { d.ID = otherApp }))
	n.fill()
	for _, edits := range [][]func(*http.Request, url.Values){nil, {n.inOther()}} {
		n.post("im_open_login_svc/account_import", `{"UserID":"quiet"}`, edits...).ok(t)
		n.post("timpush/get_attr", `{"To_Account":["quiet"]}`, edits...).ok(t)
	}
	return n, fs
}

// inOther makes a request one of the other app.
func (n *node) inOther() func(*http.Request, url.Values) {
	return func(_ *http.Request, q url.Values) {
		q.Set("sdkappid", strconv.Itoa(otherApp))
		q.Set("usersig", n.ticketOf(secret, otherApp, admin, n.clock.now().Add(-time.Minute), 24*time.Hour))
	}
}

// TestStuckDisk: while the disk takes no fsync, every request is answered within
// request_timeout. One that needs the disk, because it changes something or asks
// about what was changed, has the code of its family; others have their results.
func TestStuckDisk(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprintf("log full %t", full), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testStuckDisk(t, full) })
		})
	}
}

func testStuckDisk(t *testing.T, full bool) {
	n, fs := startOnDisk(t)
	fs.set(true)
	timely := func(command, body string, want int, edits ...func(*http.Request, url.Values)) {
		t.Helper()
		begun := time.Now()
		n.post(command, body, edits...).code(t, want)
		if took := time.Since(begun); took > diskLimit+10*time.Millisecond {
			t.Errorf("%s %s: answered after %v, want at most %v", command, shorten(body), took, diskLimit)
		}
	}
	var wg sync.WaitGroup
	if full { // so much waits for the disk that changes wait for room, before they are made
		for r := range 300 {
			wg.Go(func() { timely("timpush/set_attr", hugeChange(r), 90994) })
		}
	}
	for _, c := range []struct {
		command, body string
		want          int
	}{
		{"timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"sex":"new"}}]}`, 90994},
		{"timpush/remove_attr", `{"UserAttrs":[{"To_Account":"xiaoming","Attrs":["sex"]}]}`, 90994},
		{"timpush/add_tag", `{"UserTags":[{"To_Account":"Mary","Tags":["vip"]}]}`, 90994},
		{"im_open_login_svc/account_import", `{"UserID":"new"}`, 70169},
		{"im_open_login_svc/account_delete", `{"DeleteItem":[{"UserID":"ada"}]}`, 70169},
		{"timpush/get_attr", `{"To_Account":["Mary"]}`, 90994},
		{"timpush/get_tag", `{"To_Account":["Mary"]}`, 90994},
		{"tidings/estimate_audience", `{"Where":"sex == \"new\""}`, 90994},
		{"tidings/explain_audience", `{"Where":"sex == \"new\"","To_Account":"Mary"}`, 90994},
		{"tidings/list_audience", `{"Where":"true"}`, 90994},
		{"tidings/list_tags", `{}`, 90994},
		{"im_open_login_svc/account_check", `{"CheckItem":[{"UserID":"Mary"}]}`, 70169},
		{"timpush/get_attr_name", `{}`, 0},
		{"timpush/set_attr_name", `{"AttrNames":{"0":"gender"}}`, 90994},
		{"timpush/get_attr_name", `{}`, 0},
	} {
		timely(c.command, c.body, c.want)
	}
	// Nothing of the other app waits for the disk, so all that only asks is answered.
	for _, c := range []struct{ command, body string }{
		{"timpush/get_attr", `{"To_Account":["quiet"]}`},
		{"tidings/estimate_audience", `{"Where":"true"}`},
		{"tidings/list_audience", `{"Where":"true"}`},
		{"im_open_login_svc/account_check", `{"CheckItem":[{"UserID":"quiet"}]}`},
		{"timpush/get_attr_name", `{}`},
	} {
		begun := time.Now()
		n.post(c.command, c.body, n.inOther()).ok(t)
		if took := time.Since(begun); took > 0 {
			t.Errorf("%s of another app took %v", c.command, took)
		}
	}
	for _, c := range []struct {
		command, body string
		want          int
	}{
		{"timpush/set_attr_name", `{"AttrNames":{"0":"gender"}}`, 90994},
		{"im_open_login_svc/account_import", `{"UserID":"other"}`, 70169},
		{"im_open_login_svc/kick", `{"UserID":"quiet"}`, 70169},
	} {
		timely(c.command, c.body, c.want, n.inOther())
	}
	wg.Wait()

	fs.set(false)
	synctest.Wait()
	if _, err := n.apps.Settled(context.Background(), appID); err != nil {
		t.Fatal(err)
	}
	n.post("timpush/get_attr_name", `{}`).ok(t)
	if name := n.apps.App(appID).Attributes[0].Name; name != "gender" {
		t.Errorf("slot 0 is named %q once the disk goes on, want gender", name)
	}
	n.post("timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{"gender":"last"}}]}`).ok(t)
	// What waited for room to the end was not made, what waited for the disk was.
	status := map[bool]string{false: "Imported", true: "NotImported"}[full]
	if a := n.post("im_open_login_svc/account_check", `{"CheckItem":[{"UserID":"other"}]}`, n.inOther()).ok(t); !strings.Contains(a.raw, `"`+status+`"`) {
		t.Errorf("the account of the other app: %s, want %s", a.raw, status)
	}
}

// hugeChange is a request of some 45 KB of values.
func hugeChange(r int) string {
	var users []string
	for u := range 100 {
		var attrs []string
		for slot := 3; slot < 9; slot++ {
			attrs = append(attrs, fmt.Sprintf(`"attr%d":"%050d"`, slot, 1000*r+u))
		}
		users = append(users, fmt.Sprintf(`{"To_Account":"huge%d","Attrs":{%s}}`, u, strings.Join(attrs, ",")))
	}
	return fmt.Sprintf(`{"UserAttrs":[%s]}`, strings.Join(users, ","))
}
