package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/gate"
	"tidings/internal/store/storetest"
)

// A slowStore is that of a node, whose disk stands still while it is held.
type slowStore struct {
	storetest.Store
	disk atomic.Pointer[chan struct{}] // nil, or closed when the disk goes on
}

func (s *slowStore) hold() (release func()) {
	disk := make(chan struct{})
	s.disk.Store(&disk)
	return func() {
		s.disk.Store(nil)
		close(disk)
	}
}

// wait waits for the disk, as long as ctx allows.
func (s *slowStore) wait(ctx context.Context) error {
	disk := s.disk.Load()
	if disk == nil {
		return nil
	}
	select {
	case <-*disk:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *slowStore) SaveApp(ctx context.Context, a *app.App) error {
	_ = s.wait(context.WithoutCancel(ctx))
	return s.Store.SaveApp(ctx, a)
}

func (s *slowStore) Change(ctx context.Context, id uint32, changes []audience.Change) ([]audience.Failure, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Change(ctx, id, changes)
}

func (s *slowStore) RevokedUpTo(ctx context.Context, id uint32, account string) (int64, error) {
	if err := s.wait(ctx); err != nil {
		return 0, fmt.Errorf("invalidations: %w", err)
	}
	return s.Store.RevokedUpTo(ctx, id, account)
}

// Revoke makes it so even if there is no time to wait for the disk.
func (s *slowStore) Revoke(ctx context.Context, id uint32, account string, upTo time.Time) error {
	waited := s.wait(ctx)
	return errors.Join(waited, s.Store.Revoke(context.WithoutCancel(ctx), id, account, upTo))
}

// startSlow starts a node over a slow store, which has little time for a
// request.
func startSlow(t *testing.T) (*node, *slowStore) {
	t.Helper()
	n := start(t, gate.Options{})
	store := &slowStore{Store: storetest.Join(n.store.Apps, n.store.Users, n.store.Close)}
	n.over(store, store, gate.Options{RequestTimeout: 50 * time.Millisecond})
	t.Cleanup(n.apps.Close)
	return n.direct(), store
}

// TestTimeouts: whatever takes too long is answered with the code of the
// command's family, the check of the ticket too.
func TestTimeouts(t *testing.T) {
	const setAttr, kick, accountImport = "timpush/set_attr", "im_open_login_svc/kick", "im_open_login_svc/account_import"
	n, store := startSlow(t)
	release := store.hold()
	n.post(setAttr, "{}").code(t, 90994)
	n.post(kick, "{}").code(t, 70169)
	release()
	n.post(setAttr, "{}").code(t, 90001) // the ticket is known now
	defer store.hold()()
	n.post(setAttr, `{"UserAttrs":[{"To_Account":"Mary","Attrs":{}}]}`).code(t, 90994)
	n.post(accountImport, `{"UserID":"new"}`).code(t, 70169)
}

// TestSlowDiskOfApps: set_attr_name answers in time though the disk does not.
// What it wrote is seen when it is stored.
func TestSlowDiskOfApps(t *testing.T) {
	n, store := startSlow(t)
	n.post("timpush/get_attr_name", "{}").ok(t) // the ticket is known now
	release := store.hold()
	n.post("timpush/set_attr_name", `{"AttrNames":{"3":"plan"}}`).code(t, 90994)
	n.post("timpush/set_attr_name", `{"AttrNames":{"4":"late"}}`).code(t, 90994) // waits for the one before
	if a := n.apps.App(appID).Attributes; a[3].Name != "" || a[4].Name != "" {
		t.Errorf("the attributes are %+v before they are stored", a)
	}
	release()
	n.apps.Close()
	if a := n.apps.App(appID).Attributes; a[3].Name != "plan" || a[4].Name != "" {
		t.Errorf("the attributes are %+v, want plan in slot 3", a)
	}
}

// TestSlowKick: a kick that ran out of time, and was carried out all the same,
// leaves no ticket that is good because it was good before.
func TestSlowKick(t *testing.T) {
	n, store := startSlow(t)
	n.declare(app.Declaration{ID: appID, Admins: []string{"ops", "ada"}})
	leaked := n.ticket("ops")
	ops := func(_ *http.Request, q url.Values) { q.Set("identifier", "ops"); q.Set("usersig", leaked) }
	n.post("timpush/get_attr_name", "{}").ok(t)
	n.post("timpush/get_attr_name", "{}", ops).ok(t)

	release := store.hold()
	n.post("im_open_login_svc/kick", `{"UserID":"ops"}`).code(t, 70169)
	release()
	n.post("timpush/get_attr_name", "{}", ops).code(t, 70052)
	n.post("timpush/get_attr_name", "{}").ok(t)

	// While a kick waits, tickets that were good before are not believed either.
	leaked = n.ticket("ada")
	ada := func(_ *http.Request, q url.Values) { q.Set("identifier", "ada"); q.Set("usersig", leaked) }
	n.post("timpush/get_attr_name", "{}", ada).ok(t)
	before := n.apps.App(appID).Epoch
	release = store.hold()
	kicked := make(chan answer, 1)
	go func() { kicked <- n.post("im_open_login_svc/kick", `{"UserID":"ada"}`) }()
	for n.apps.App(appID).Epoch == before {
		select {
		case a := <-kicked:
			t.Fatalf("kick was answered %s before the app had another epoch", a.raw)
		case <-time.After(time.Millisecond):
		}
	}
	n.post("timpush/get_attr_name", "{}", ada).code(t, 90994)
	release()
	<-kicked
	n.post("timpush/get_attr_name", "{}", ada).code(t, 70052)
}
