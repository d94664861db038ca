package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/store/lsm"
	"tidings/internal/wording"
)

const id = 1400000001

var commands = []string{"timpush/remove_attr", "timpush/set_attr"}

// A countingStore counts what is saved, and can be told to fail.
type countingStore struct {
	app.Store
	saves int
	fail  error
}

func (s *countingStore) SaveApp(ctx context.Context, a *app.App) error {
	if s.fail != nil {
		return s.fail
	}
	s.saves++
	return s.Store.SaveApp(ctx, a)
}

// open opens a registry over the embedded store in memory.
func open(t *testing.T) (*app.Registry, *countingStore) {
	t.Helper()
	s, err := lsm.Open("", lsm.Options{FS: vfs.NewMem(), MemtableSize: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	store := &countingStore{Store: s.Apps}
	return reopen(t, store), store
}

func reopen(t *testing.T, store app.Store) *app.Registry {
	t.Helper()
	r, err := app.Open(t.Context(), store, commands)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func declare(t *testing.T, r *app.Registry, d app.Declaration) *app.App {
	t.Helper()
	a, err := r.Declare(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refused fails the test unless err is an operator's mistake with a text, and
// the app is as it was.
func refused(t *testing.T, r *app.Registry, was *app.App, err error, text string) {
	t.Helper()
	if _, ok := errors.AsType[*app.Error](err); !ok || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want an *app.Error with %q", err, text)
	}
	if is := r.App(was.ID); is != was {
		t.Errorf("the app changed to %+v, was %+v", is, was)
	}
}

func TestCreate(t *testing.T) {
	r, store := open(t)
	first, err := r.Create(t.Context(), app.Declaration{})
	if err != nil {
		t.Fatal(err)
	}
	if first.ID != id || first.Status != app.Enabled || !first.IsAdmin(app.BuiltInAdmin) || len(first.Admins) != 1 {
		t.Errorf("a new app is %+v", first)
	}
	key := first.Keys[0]
	if s := string(key.Secret); len(first.Keys) != 1 || len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" || !key.Primary || key.ID != 1 {
		t.Errorf("its keys are %d, the first %d bytes long, primary %v, number %d", len(first.Keys), len(s), key.Primary, key.ID)
	}
	second, err := r.Create(t.Context(), app.Declaration{})
	if err != nil || second.ID != id+1 || second.Keys[0].Secret == key.Secret {
		t.Errorf("Create = %+v, %v, want the next number and another key", second, err)
	}
	_, err = r.Create(t.Context(), app.Declaration{ID: id})
	refused(t, r, first, err, "exists already")
	if _, err := r.Create(t.Context(), app.Declaration{ID: 1<<32 - 1, SecretKey: new("my own key")}); err != nil {
		t.Error(err)
	}
	if got := len(r.All()); got != 3 || r.All()[0] != first || r.App(7) != nil {
		t.Errorf("All has %d apps, the first %+v", got, r.All()[0])
	}
	if got := reopen(t, store).App(id); !reflect.DeepEqual(got.Keys, first.Keys) || got.Name != first.Name || !got.Created.Equal(first.Created) {
		t.Errorf("after opening again it is %+v, was %+v", got, first)
	}
	if s := fmt.Sprintf("%v %+v %#v", first, first, first.Keys[0]); strings.Contains(s, string(key.Secret)) {
		t.Errorf("a key shows when an app is printed: %s", s)
	}
}

// TestDeclareIdempotent: the same declaration again, also after a restart,
// changes and saves nothing.
func TestDeclareIdempotent(t *testing.T) {
	r, store := open(t)
	d := app.Declaration{
		ID: id, Name: new("shop"), Description: new("a shop"), Status: new(app.Suspended), SecretKey: new("primary key"),
		Retiring:  []app.RetiringKey{{SecretKey: "older key", Ends: time.Date(2027, 1, 31, 18, 0, 0, 0, time.FixedZone("", 8*3600))}, {SecretKey: "oldest key"}},
		Admins:    []string{"ops", "alice", "ops", app.BuiltInAdmin},
		AttrNames: map[string]string{"0": "sex", "9": "build"}, AttrTypes: map[string]int{"9": 1},
		CreateAccounts: new(true), MaxAccounts: new(1000), UserIDs: new(app.UTF8), DeleteAccounts: new(false), ReimportWait: new(wording.Span(30 * 24 * time.Hour)),
		Limits: app.Limits{"timpush/set_attr": 0, app.LimitTotal: 7}, Hosts: []string{"im.example.com"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, BlockedAccounts: []string{"mallory"}, DisabledCommands: []string{"timpush/remove_attr"},
	}
	a := declare(t, r, d)
	if got := fmt.Sprint(a.Admins); got != "[administrator alice ops]" {
		t.Errorf("admins are %s", got)
	}
	if len(a.Keys) != 3 || a.GoodKeys(time.Now())[0].Secret != "primary key" {
		t.Errorf("keys are %+v", a.Keys)
	}
	again := declare(t, r, d)
	restarted := declare(t, reopen(t, store), d)
	if again != a || again.Epoch != a.Epoch || store.saves != 1 {
		t.Errorf("declared again: %+v, saved %d times, was %+v", again, store.saves, a)
	}
	restarted.Epoch = a.Epoch
	if !reflect.DeepEqual(restarted, a) {
		t.Errorf("after a restart it is\n%+v, was\n%+v", restarted, a)
	}
	// What is left out stays.
	if b := declare(t, r, app.Declaration{ID: id, Name: new("store")}); b.Name != "store" || !reflect.DeepEqual(b.Settings, a.Settings) ||
		!reflect.DeepEqual(b.Keys, a.Keys) || !reflect.DeepEqual(b.Admins, a.Admins) || b.Attributes != a.Attributes || b.Epoch == a.Epoch {
		t.Errorf("after another name the app is %+v, was %+v", b, a)
	}
}

// TestEachMemberIsSaved: a declaration of any one member changes the app, also
// after a restart. One that equal does not look at would change nothing.
func TestEachMemberIsSaved(t *testing.T) {
	covered := map[string]bool{"ID": true}
	for _, d := range []app.Declaration{
		{Name: new("shop")},
		{Description: new("a shop")},
		{Status: new(app.Suspended)},
		{SecretKey: new("primary key")},
		{Retiring: []app.RetiringKey{{SecretKey: "older key"}}},
		{Admins: []string{"ops"}},
		{AttrNames: map[string]string{"1": "city"}},
		{AttrNames: map[string]string{"2": "build"}, AttrTypes: map[string]int{"2": 1}},
		{CreateAccounts: new(true)},
		{MaxAccounts: new(1000)},
		{UserIDs: new(app.UTF8)},
		{DeleteAccounts: new(false)},
		{ReimportWait: new(wording.Span(time.Second))},
		{Limits: app.Limits{app.LimitDefault: 0}},
		{MaxTags: new(7)},
		{Hosts: []string{"im.example.com"}},
		{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{BlockedAccounts: []string{"mallory"}},
		{DisabledCommands: []string{"timpush/remove_attr"}},
		{AppKeys: []string{"a key of apps"}},
		{Push: new(false)},
		{PushGap: new(wording.Span(0))},
		{PushQuota: new(100)},
		{PushQuotaZone: new("Asia/Shanghai")},
		{Lifetime: new(wording.Span(0))},
		{PendingTasks: new(7)},
		{PushPace: new(7)},
		{TaskPace: new(7)},
		{ChannelOrder: []channel.Provider{channel.FCM}},
		{PreviewDrift: new(0)},
		{DeviceLimit: new(7)},
		{DevicesAUser: new(7)},
		{RegistrationRate: new(0)},
		{RegistrationSourceRate: new(0)},
		{DeviceOrigins: []string{"*"}},
	} {
		r, store := open(t)
		was := declare(t, r, app.Declaration{ID: id})
		var names []string
		for f, v := range reflect.ValueOf(d).Fields() {
			if !v.IsZero() {
				names, covered[f.Name] = append(names, f.Name), true
			}
		}
		d.ID = id
		is := declare(t, r, d)
		if is == was || store.saves != 2 {
			t.Errorf("%v: saved %d times, want 2; the app is %+v", names, store.saves, is)
		}
		restarted := reopen(t, store).App(id)
		restarted.Epoch = is.Epoch
		if !reflect.DeepEqual(restarted, is) {
			t.Errorf("%v: after a restart the app is\n%+v, was\n%+v", names, restarted, is)
		}
	}
	for f := range reflect.TypeFor[app.Declaration]().Fields() {
		if !covered[f.Name] {
			t.Errorf("%s is not tested", f.Name)
		}
	}
}

func TestRules(t *testing.T) {
	s := app.Settings{MaxAccounts: 3, ReimportWait: time.Minute}
	if got, want := s.Rules(), (audience.Rules{MaxAccounts: 3, ReimportWait: time.Minute}); got != want {
		t.Errorf("Rules() = %+v, want %+v", got, want)
	}
	if got := new(app.Settings).Rules(); got != (audience.Rules{}) {
		t.Errorf("an app without settings has the rules %+v", got)
	}
}

func TestKeys(t *testing.T) {
	r, _ := open(t)
	a := declare(t, r, app.Declaration{ID: id, SecretKey: new("first key")})
	now := time.Now()
	good := func() (all []string) {
		for _, k := range r.App(id).GoodKeys(now) {
			all = append(all, string(k.Secret))
		}
		return all
	}
	_, err := r.AddKey(t.Context(), id, "first key", true)
	refused(t, r, a, err, "already")
	_, err = r.AddKey(t.Context(), id, "short", true)
	refused(t, r, a, err, "8 to 512")
	if _, err := r.RetireKey(t.Context(), id, 1, now); err == nil {
		t.Error("the primary key was retired")
	}
	if k, err := r.AddKey(t.Context(), id, "second key", true); err != nil || !k.Primary || k.ID != 2 {
		t.Errorf("AddKey = %+v, %v", k, err)
	}
	if k, err := r.AddKey(t.Context(), id, "third key", false); err != nil || k.Primary || k.ID != 3 {
		t.Errorf("AddKey = %+v, %v", k, err)
	}
	if got := fmt.Sprint(good()); got != "[second key third key first key]" {
		t.Errorf("good keys are %s, want the primary, then the newest", got)
	}
	if _, err := r.RetireKey(t.Context(), id, 1, now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if len(good()) != 3 {
		t.Errorf("before its end, good keys are %v", good())
	}
	now = now.Add(time.Second)
	if len(good()) != 2 {
		t.Errorf("at its end, good keys are %v", good())
	}
	// A key declared primary again has no end, and no key is added.
	declare(t, r, app.Declaration{ID: id, SecretKey: new("first key")})
	if got := good(); len(got) != 3 || got[0] != "first key" {
		t.Errorf("declared primary again, good keys are %v", got)
	}
	for _, key := range []int{1, 2, 3} {
		if err := r.RemoveKey(t.Context(), id, key); err != nil {
			t.Error(err)
		}
	}
	refused(t, r, r.App(id), r.RemoveKey(t.Context(), id, 1), "no key 1")
	if k, err := r.AddKey(t.Context(), id, "", false); err != nil || !k.Primary || k.ID != 4 {
		t.Errorf("the only key is %+v, %v; want it primary, with a number never used", k, err)
	}
	for i := range 19 {
		if _, err := r.AddKey(t.Context(), id, app.Secret(fmt.Sprintf("further key %d", i)), true); err != nil {
			t.Fatal(err)
		}
	}
	was := r.App(id)
	_, err = r.AddKey(t.Context(), id, "one too many", true)
	refused(t, r, was, err, "20 keys")
	_, err = r.Declare(t.Context(), app.Declaration{ID: id, SecretKey: new("one too many")})
	refused(t, r, was, err, "20 keys")
	_, err = r.Declare(t.Context(), app.Declaration{ID: id, Retiring: []app.RetiringKey{{SecretKey: "one too many"}}})
	refused(t, r, was, err, "20 keys")
}

func TestAdmins(t *testing.T) {
	r, _ := open(t)
	declare(t, r, app.Declaration{ID: id})
	for i := range app.MaxAdmins - 1 {
		if _, err := r.AddAdmin(t.Context(), id, fmt.Sprintf("ops%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	full := r.App(id)
	_, err := r.AddAdmin(t.Context(), id, "one-more")
	refused(t, r, full, err, "11 admins")
	if a, err := r.AddAdmin(t.Context(), id, "ops3"); err != nil || a != full {
		t.Errorf("AddAdmin of an admin = %v, %v, want no change", a, err)
	}
	_, err = r.AddAdmin(t.Context(), id, " x")
	refused(t, r, full, err, "space")
	_, err = r.RemoveAdmin(t.Context(), id, app.BuiltInAdmin)
	refused(t, r, full, err, "built in")
	_, err = r.RemoveAdmin(t.Context(), id, "nobody")
	refused(t, r, full, err, "no admin")
	if a, err := r.RemoveAdmin(t.Context(), id, "ops3"); err != nil || a.IsAdmin("ops3") || len(a.Admins) != 9 || !full.IsAdmin("ops3") {
		t.Errorf("RemoveAdmin = %+v, %v", a, err)
	}
	if a := declare(t, r, app.Declaration{ID: id, Admins: []string{}}); len(a.Admins) != 1 || !a.IsAdmin(app.BuiltInAdmin) {
		t.Errorf("with an empty list admins are %v", a.Admins)
	}
}

func TestStatusAndDelete(t *testing.T) {
	r, store := open(t)
	a := declare(t, r, app.Declaration{ID: id})
	refused(t, r, a, r.Delete(t.Context(), id), "disabled")
	if _, err := r.SetStatus(t.Context(), id, app.Disabled); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), id); err != nil || r.App(id) != nil || reopen(t, store).App(id) != nil {
		t.Errorf("Delete = %v, the app is %v", err, r.App(id))
	}
	if err := r.Delete(t.Context(), id); !errors.Is(err, apierr.UnknownApp) {
		t.Errorf("Delete again = %v, want %v", err, apierr.UnknownApp)
	}
	if _, err := r.AddAdmin(t.Context(), id, "ops"); !errors.Is(err, apierr.UnknownApp) {
		t.Errorf("AddAdmin = %v, want %v", err, apierr.UnknownApp)
	}
}

// TestAdminIsNoUserID: what the store says of an admin who is a RegistrationID
// is the operator's mistake.
func TestAdminIsNoUserID(t *testing.T) {
	r, store := open(t)
	a := declare(t, r, app.Declaration{ID: id})
	store.fail = fmt.Errorf("saving: %w", apierr.WrongAccountKind.Errorf("account %q is a RegistrationID", "dev-1"))
	_, err := r.AddAdmin(t.Context(), id, "dev-1")
	refused(t, r, a, err, `an admin of app 1400000001 has to be a UserID: account "dev-1" is a RegistrationID`)
	_, err = r.Declare(t.Context(), app.Declaration{ID: id, Admins: []string{"ops", "dev-1"}})
	refused(t, r, a, err, "dev-1")
}

// TestStoreFails: what could not be stored is not so in memory either.
func TestStoreFails(t *testing.T) {
	r, store := open(t)
	a := declare(t, r, app.Declaration{ID: id})
	store.fail = errors.New("disk full")
	if err := r.NameAttributes(t.Context(), id, map[int]string{0: "sex"}, nil); !errors.Is(err, store.fail) {
		t.Errorf("NameAttributes = %v, want %v", err, store.fail)
	}
	if _, err := r.Declare(t.Context(), app.Declaration{ID: 7}); !errors.Is(err, store.fail) || r.App(7) != nil {
		t.Errorf("Declare = %v, the app is %v", err, r.App(7))
	}
	if r.App(id) != a {
		t.Errorf("the app changed to %+v", r.App(id))
	}
}

func TestForget(t *testing.T) {
	r, store := open(t)
	a := declare(t, r, app.Declaration{ID: id})
	saves := store.saves
	r.Forget(id)
	r.Forget(7)
	if b := r.App(id); b.Epoch == a.Epoch || store.saves != saves {
		t.Errorf("epoch is %d, was %d; saved %d times more", b.Epoch, a.Epoch, store.saves-saves)
	}
}

func TestNameAttributes(t *testing.T) {
	type (
		names = map[int]string
		kinds = map[int]audience.Kind
	)
	const user, device = audience.UserID, audience.RegistrationID
	// Before each: slot 0 is sex, 1 is city, 9 is build and about devices.
	for _, c := range []struct {
		name  string
		names names
		kinds kinds
		err   string // empty: it works
		check names  // slots after it
	}{
		{"a free slot", names{2: "plan"}, nil, "", names{0: "sex", 2: "plan"}},
		{"nothing", nil, nil, "", names{0: "sex", 1: "city", 9: "build"}},
		{"its own name", names{0: "sex"}, kinds{0: user}, "", names{0: "sex"}},
		{"another name", names{0: "gender"}, nil, "", names{0: "gender", 1: "city"}},
		{"two names swapped", names{0: "city", 1: "sex"}, nil, "", names{0: "city", 1: "sex"}},
		{"a ring of three", names{0: "city", 1: "build", 9: "sex"}, nil, "", names{0: "city", 1: "build", 9: "sex"}},
		{"a name that becomes free", names{0: "gender", 2: "sex"}, nil, "", names{0: "gender", 2: "sex"}},
		{"other case", names{2: "Sex"}, nil, "", names{0: "sex", 2: "Sex"}},
		{"a device's slot keeps its kind", names{9: "version"}, nil, "", names{9: "version"}},
		{"a taken name", names{2: "sex"}, nil, "attrName:sex already exists at index:0", nil},
		{"a taken name of a higher slot", names{2: "build"}, nil, "attrName:build already exists at index:9", nil},
		{"half a swap", names{0: "city"}, nil, "attrName:city already exists at index:1", nil},
		{"one name twice", names{3: "plan", 2: "plan"}, nil, "attrName:plan already exists at index:2", nil},
		{"good and taken", names{3: "plan", 2: "sex"}, nil, "attrName:sex", nil},
		{"a user's slot for devices", names{0: "sex"}, kinds{0: device}, "account type 0", nil},
		{"a device's slot for users", names{9: "version"}, kinds{9: user}, "account type 1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := open(t)
			was := declare(t, r, app.Declaration{ID: id, AttrNames: map[string]string{"0": "sex", "1": "city", "9": "build"}, AttrTypes: map[string]int{"9": 1}})
			err := r.NameAttributes(t.Context(), id, c.names, c.kinds)
			if c.err != "" {
				if !errors.Is(err, apierr.InvalidAttribute) || !strings.Contains(apierr.From(err).Info(), c.err) || r.App(id) != was {
					t.Errorf("got %v, want 90033 with %q and no change", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := r.App(id).Attributes
			for slot, name := range c.check {
				if got[slot].Name != name {
					t.Errorf("slot %d is %q, want %q", slot, got[slot].Name, name)
				}
			}
			if got[9].Kind != device || got[0].Kind != user {
				t.Errorf("kinds changed: %+v", got)
			}
		})
	}
	// The kind is fixed when a slot is named first.
	r, _ := open(t)
	declare(t, r, app.Declaration{ID: id})
	if err := r.NameAttributes(t.Context(), id, names{3: "build"}, kinds{3: device}); err != nil {
		t.Fatal(err)
	}
	if err := r.NameAttributes(t.Context(), id, names{3: "build"}, kinds{3: user}); !errors.Is(err, apierr.InvalidAttribute) {
		t.Errorf("got %v, want %v", err, apierr.InvalidAttribute)
	}
	was := r.App(id)
	_, err := r.Declare(t.Context(), app.Declaration{ID: id, Name: new("x"), AttrNames: map[string]string{"3": "build"}, AttrTypes: map[string]int{"3": 0}})
	refused(t, r, was, err, "account type 1")
}
