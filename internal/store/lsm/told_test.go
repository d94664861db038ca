package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store/faulty"
	"tidings/internal/store/storetest"
)

// toldMax is how many accounts the app of TestNothingIsToldEarly may have: one more
// than it has.
const toldMax = 6

// toldApp is the app that it begins with.
func toldApp() *app.App {
	a := storetest.NewApp(id)
	a.Settings.MaxAccounts = toldMax
	return a
}

func tags(account string, kind audience.Kind, op audience.TagOp, most int, names ...string) audience.Change {
	return audience.Change{Account: account, Kind: kind, Tags: audience.TagEdit{Op: op, Tags: names, AppMax: most}}
}

func importOf(changes ...audience.Change) func(func([]audience.Change) bool) {
	return slices.Values([][]audience.Change{changes})
}

// What is under way when questions come. Each step is held by the disk.
var toldPending = []struct {
	name  string
	steps []func(ctx context.Context, s *opened) error
}{
	{"a value", changing(set("a", "new"))},
	{"a tag", changing(tags("a", audience.UserID, audience.AddTags, 0, "fresh"))},
	{"a tag less", changing(tags("a", audience.UserID, audience.ClearTags, 0))},
	{"an account", changing(set("made", "new"))},
	{"a device", changing(audience.Change{Account: "made", Create: true, Kind: audience.RegistrationID})},
	{"a profile", changing(audience.Change{Account: "a", Profile: audience.Profile{Nick: new("nick")}})},
	{"a deletion", []func(context.Context, *opened) error{deleting("doomed")}},
	{"a kick", []func(context.Context, *opened) error{kicking("a")}},
	{"deletion, import and kick", []func(context.Context, *opened) error{
		deleting("doomed"),
		func(ctx context.Context, s *opened) error {
			return s.Import(ctx, id, importOf(set("doomed", "again")), false, nil)
		},
		kicking("doomed"),
	}},
	{"an app changed", []func(context.Context, *opened) error{func(ctx context.Context, s *opened) error {
		a := toldApp()
		a.Description, a.Attributes[0].Name = "changed", "renamed"
		a.Admins = append(a.Admins, "doomed", "robot")
		return s.SaveApp(ctx, a)
	}}},
	{"an app made", []func(context.Context, *opened) error{saving(storetest.NewApp(2))}},
	{"an app deleted", []func(context.Context, *opened) error{deletingApp(id)}},
	{"an app deleted and made again", []func(context.Context, *opened) error{deletingApp(id), saving(toldApp())}},
}

func changing(c audience.Change) []func(context.Context, *opened) error {
	return []func(context.Context, *opened) error{func(ctx context.Context, s *opened) error {
		_, err := s.Change(ctx, id, []audience.Change{c})
		return err
	}}
}

func deleting(account string) func(context.Context, *opened) error {
	return func(ctx context.Context, s *opened) error {
		_, err := s.Delete(ctx, id, audience.UserID, []string{account})
		return err
	}
}

func kicking(account string) func(context.Context, *opened) error {
	return func(ctx context.Context, s *opened) error { return s.Revoke(ctx, id, account, time.Now()) }
}

func saving(a *app.App) func(context.Context, *opened) error {
	return func(ctx context.Context, s *opened) error { return s.SaveApp(ctx, a) }
}

func deletingApp(app uint32) func(context.Context, *opened) error {
	return func(ctx context.Context, s *opened) error { return s.DeleteApp(ctx, app) }
}

// A question is a call of a store and its answer in words. Those that change
// something are here for the answers that they give at once, refusals above all.
type question struct {
	name string
	ask  func(ctx context.Context, s *opened) string
}

// questions are of every method of audience.Store and app.Store. What changes most
// comes last.
func questions() (list []question) {
	add := func(name string, ask func(ctx context.Context, s *opened) string) {
		list = append(list, question{name, ask})
	}
	everyone := audience.Query{Expr: audience.And{}, Attributes: storetest.Attributes}
	for _, account := range []string{"a", "doomed", "made", "robot", "nobody"} {
		add("Users "+account, func(ctx context.Context, s *opened) string {
			users, err := s.Users(ctx, id, []string{account})
			return fmt.Sprint(users, err)
		})
		add("User "+account, func(ctx context.Context, s *opened) string {
			u, err := s.User(ctx, id, account)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprintf("%+v", *u)
		})
		add("Explain "+account, func(ctx context.Context, s *opened) string {
			e, err := s.Explain(ctx, id, everyone, account)
			return fmt.Sprintf("%t %v %+v %v", e.Match, e.Clauses, e.Traits, err)
		})
	}
	for _, app := range []uint32{id, 2} {
		add(fmt.Sprint("Count of ", app), func(ctx context.Context, s *opened) string { return fmt.Sprint(s.Count(ctx, app)) })
		for _, account := range []string{"a", "b", "doomed"} {
			add(fmt.Sprint("RevokedUpTo ", account, " of ", app), func(ctx context.Context, s *opened) string { return fmt.Sprint(s.RevokedUpTo(ctx, app, account)) })
		}
	}
	for _, e := range []audience.Expr{
		audience.And{},
		audience.HasTag{Tag: "fresh"},
		audience.HasTag{Tag: "last"},
		audience.Equals{Attr: audience.Ref{Name: "attr0"}, Values: []string{"new"}},
		audience.Not{Of: audience.HasAttr{Attr: audience.Ref{Name: "attr0"}}},
	} {
		q := audience.Query{Expr: e, Attributes: storetest.Attributes}
		add("Estimate "+e.String(), func(ctx context.Context, s *opened) string { return fmt.Sprint(s.Estimate(ctx, id, q, 10)) })
		add("List "+e.String(), func(ctx context.Context, s *opened) string {
			p, err := s.List(ctx, id, q, 10, "")
			return fmt.Sprint(p.Accounts, err)
		})
	}
	add("AttrValues", func(ctx context.Context, s *opened) string { return fmt.Sprint(s.AttrValues(ctx, id, 0, "", 10)) })
	add("Tags", func(ctx context.Context, s *opened) string { return fmt.Sprint(s.Tags(ctx, id, "", 10)) })
	add("Export", func(ctx context.Context, s *opened) string {
		text := ""
		err := s.Export(ctx, id, nil, func(a *audience.Attributes) error { text = fmt.Sprint(*a); return nil }, func(e *audience.Exported) error {
			text += fmt.Sprintf(" %s %d %q %q %q", e.Account, e.Kind, e.Values, e.Tags, e.Nick)
			return nil
		})
		return fmt.Sprint(text, err)
	})
	add("Export, its beginning", func(ctx context.Context, s *opened) string {
		text, enough := "", errors.New("enough")
		err := s.Export(ctx, id, nil, func(a *audience.Attributes) error { text = fmt.Sprint(*a); return enough }, nil)
		return fmt.Sprint(text, err)
	})
	add("Apps", func(ctx context.Context, s *opened) string {
		apps, err := s.Apps(ctx)
		text := ""
		for _, a := range apps {
			text += fmt.Sprint(a.ID, a.Description, a.Admins, a.Attributes)
		}
		return fmt.Sprint(text, err)
	})
	over := audience.Change{Account: "one too many", Create: true}
	old := set("a", "old")
	changes := []struct {
		name   string
		change audience.Change
	}{
		{"an account that is not there", audience.Change{Account: "made", Remove: 1}},
		{"what is so", set("a", "new")},
		{"one account too many", over},
		{"a tag of the other kind", tags("device", audience.RegistrationID, audience.AddTags, 0, "fresh")},
		{"one tag too many", tags("b", audience.UserID, audience.AddTags, 3, "more")},
		{"an attribute that was renamed", old},
		{"an account of the other kind", audience.Change{Account: "made", OfKind: true, Remove: 1}},
	}
	for _, c := range changes {
		add("Import, not for real, "+c.name, func(ctx context.Context, s *opened) string { return importing(ctx, s, true, c.change) })
	}
	for _, c := range changes {
		add("Change "+c.name, func(ctx context.Context, s *opened) string {
			failures, err := s.Change(ctx, id, []audience.Change{c.change})
			for _, f := range failures {
				return fmt.Sprint(f.Err.Kind.Code, err)
			}
			return fmt.Sprint(err)
		})
		add("Import "+c.name, func(ctx context.Context, s *opened) string { return importing(ctx, s, false, c.change) })
	}
	for _, account := range []string{"doomed", "made", "robot", "nobody"} {
		add("Revoke "+account, func(ctx context.Context, s *opened) string {
			return fmt.Sprint(s.Revoke(ctx, id, account, time.Now()))
		})
	}
	for _, account := range []string{"doomed", "made", "robot", "nobody"} {
		add("Delete "+account, func(ctx context.Context, s *opened) string {
			return fmt.Sprint(s.Delete(ctx, id, audience.UserID, []string{account}))
		})
	}
	add("SaveApp with a device as an admin", func(ctx context.Context, s *opened) string {
		a := toldApp()
		a.Admins = append(a.Admins, "made")
		return fmt.Sprint(s.SaveApp(ctx, a))
	})
	for _, app := range []uint32{id, 2} {
		add(fmt.Sprint("DeleteApp ", app), func(ctx context.Context, s *opened) string { return fmt.Sprint(s.DeleteApp(ctx, app)) })
	}
	return list
}

// TestNothingIsToldEarly: changes are under way and held by the disk. Every question
// waits, or is answered as it is after a crash at that moment.
func TestNothingIsToldEarly(t *testing.T) {
	for _, p := range toldPending {
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testNothingIsToldEarly(t, p.steps) })
		})
	}
}

func testNothingIsToldEarly(t *testing.T, pending []func(context.Context, *opened) error) {
	s, mem, g := heldStore(t)
	defer s.Close()
	ctx := t.Context()
	if err := s.SaveApp(ctx, toldApp()); err != nil {
		t.Fatal(err)
	}
	device := audience.Change{Account: "device", Create: true, Kind: audience.RegistrationID}
	mustChange(t, s, set("a", "old"), tags("a", audience.UserID, audience.AddTags, 0, "last"), set("b", "old"), set("doomed", "old"), device)
	mustChange(t, s, tags("b", audience.UserID, audience.AddTags, 0, "other"))
	if err := s.Revoke(ctx, id, "b", time.Unix(7, 0)); err != nil {
		t.Fatal(err)
	}

	g.Shut()
	var wg sync.WaitGroup
	for _, step := range pending {
		wg.Go(func() { _ = step(ctx, s) })
		synctest.Wait()
	}
	left := faulty.Crash(mem)
	var mu sync.Mutex
	answers := map[string]string{}
	list := questions()
	for _, q := range list {
		wg.Go(func() {
			answer := q.ask(ctx, s)
			mu.Lock()
			defer mu.Unlock()
			answers[q.name] = answer
		})
		synctest.Wait()
	}
	mu.Lock()
	told := answers
	answers = map[string]string{}
	mu.Unlock()
	for _, q := range list {
		if answer, ok := told[q.name]; ok {
			if after := asked(t, left, q); answer != after {
				t.Errorf("%s: told %s, which a crash takes back: %s", q.name, answer, after)
			}
		}
	}
	g.Lift()
	wg.Wait()
	t.Logf("%d of %d questions were answered", len(told), len(list))
}

// asked is the answer to a question after a crash.
func asked(t *testing.T, left *vfs.MemFS, q question) string {
	s := open(t, faulty.Crash(left))
	defer s.Close()
	return q.ask(t.Context(), s)
}

// importing is the answer to an import of a change.
func importing(ctx context.Context, s *opened, dryRun bool, c audience.Change) (answer string) {
	err := s.Import(ctx, id, importOf(c), dryRun, func(_ int, o audience.Outcome, err *apierr.Error) {
		if answer = fmt.Sprint("outcome ", o); err != nil {
			answer = fmt.Sprint(err.Kind.Code)
		}
	})
	return fmt.Sprint(answer, err)
}
