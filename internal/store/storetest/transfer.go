package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// export returns all that a store exports of an app, by account.
func (h *harness) export(app uint32) (users []audience.Exported) {
	h.Helper()
	err := h.Export(h.Context(), app, nil, func(*audience.Attributes) error { return nil }, func(u *audience.Exported) error {
		users = append(users, *u)
		return nil
	})
	if err != nil {
		h.Fatalf("Export: %v", err)
	}
	slices.SortFunc(users, func(a, b audience.Exported) int { return strings.Compare(a.Account, b.Account) })
	return users
}

// load imports changes, two in a batch, and returns what became of each: an Outcome or
// an *apierr.Kind.
func (h *harness) load(dryRun bool, changes ...audience.Change) (became []any) {
	h.Helper()
	err := h.Import(h.Context(), id, slices.Chunk(changes, 2), dryRun, func(i int, o audience.Outcome, err *apierr.Error) {
		switch {
		case i != len(became):
			h.Errorf("after %d changes Import says what became of change %d", len(became), i)
		case err != nil && o == 0:
			became = append(became, err.Kind)
		default:
			became = append(became, o)
		}
	})
	if err != nil {
		h.Fatalf("Import: %v", err)
	}
	return became
}

func text(s string) *string { return &s }

// imported is a change as an import makes it.
func imported(account string, kind audience.Kind, created uint32) audience.Change {
	return audience.Change{Account: account, Create: true, Kind: kind, OfKind: true, Created: created, Attributes: Attributes}
}

func testImport(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	mary := imported("mary", audience.UserID, 1000)
	mary.Set, mary.Tags = audience.Values{0: "a", 3: "d"}, audience.TagEdit{Op: audience.AddTags, Tags: []string{"z", "b"}}
	mary.Profile = audience.Profile{Nick: text("M"), FaceURL: text("F")}
	phone := imported("phone", audience.RegistrationID, 0)
	phone.Set = audience.Values{9: "x"}
	wrong := imported("phone", audience.UserID, 0)
	attr := imported("bob", audience.UserID, 0)
	attr.Set = audience.Values{9: "x"}
	changes := []audience.Change{mary, phone, wrong, attr, imported("ann", audience.UserID, 3)}
	wantBecame := func(when string, got []any, want ...any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v became of the changes, want %v", when, got, want)
		}
	}

	before := h.export(id)
	// A dry run does not know what the changes before would have done.
	wantBecame("a dry run", h.load(true, changes...), audience.Created, audience.Created, audience.Created, apierr.WrongAccountKind, audience.Created)
	if after := h.export(id); !reflect.DeepEqual(after, before) {
		t.Errorf("a dry run makes %+v of %+v", after, before)
	}
	wantBecame("an import", h.load(false, changes...), audience.Created, audience.Created, apierr.WrongAccountKind, apierr.WrongAccountKind, audience.Created)
	// It may be repeated. The profile of mary is not compared.
	for _, dry := range []bool{true, false} {
		wantBecame("repeated", h.load(dry, changes...), audience.Changed, audience.Unchanged, apierr.WrongAccountKind, apierr.WrongAccountKind, audience.Unchanged)
	}
	later := imported("ann", audience.UserID, 4)
	wantBecame("twice in it", h.load(true, later, later), audience.Changed, audience.Changed)
	later.Created, later.Tags = 3, audience.TagEdit{Op: audience.RemoveTags, Tags: []string{"none"}}
	wantBecame("nothing new", h.load(false, later), audience.Unchanged)
	users := []audience.Exported{
		{Account: "ann", Created: 3},
		{Account: "mary", Created: 1000, Values: mary.Set, Tags: []string{"b", "z"}, Nick: "M", FaceURL: "F"},
		{Account: "phone", Kind: audience.RegistrationID, Values: phone.Set},
	}
	check := func(when string) {
		t.Helper()
		got := slices.DeleteFunc(h.export(id), func(u audience.Exported) bool { return u.Account == "administrator" })
		for i := range got {
			if got[i].Account == "phone" {
				got[i].Created = 0 // now
			}
		}
		if !reflect.DeepEqual(got, users) {
			t.Errorf("%s: Export = %+v, want %+v", when, got, users)
		}
	}
	check("imported")
	h.reopen()
	check("after a restart")

	// Replacing takes away what is not named; another creation is taken over.
	mary = imported("mary", audience.UserID, 7)
	mary.Set, mary.Tags.Op, mary.Profile = audience.Values{3: "e"}, audience.ReplaceTags, audience.Profile{Nick: text("N"), Clear: true}
	for i := range audience.Slots {
		if i != 3 {
			mary.Remove.Add(i)
		}
	}
	h.load(false, mary)
	users[1] = audience.Exported{Account: "mary", Created: 7, Values: mary.Set, Nick: "N"}
	check("replaced")
	h.reopen()
	check("replaced, after a restart")
	if u, err := h.User(t.Context(), id, "mary"); err != nil || !reflect.DeepEqual(*u, users[1]) {
		t.Errorf("User(mary) = %+v, %v; want %+v", u, err, users[1])
	}
	if u, err := h.User(t.Context(), id, "nobody"); !errors.Is(err, apierr.UnknownAccount) {
		t.Errorf("User(nobody) = %+v, %v; want 70107", u, err)
	}
	h.reopen()
	check("after another restart")

	err := h.Export(t.Context(), id+1, nil, nil, nil)
	if !errors.Is(err, apierr.UnknownApp) {
		t.Errorf("Export of an app that does not exist: %v", err)
	}
	stop := errors.New("enough")
	err = h.Export(t.Context(), id, nil, func(*audience.Attributes) error { return nil }, func(*audience.Exported) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("Export whose receiver fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Import(ctx, id, slices.Values([][]audience.Change{{imported("late", 0, 1)}}), false, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Import with a context that has ended: %v", err)
	}
}

// testExportMoment stamps all users of an app at once, again and again: an export
// meanwhile shows one stamp.
func testExportMoment(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	const n = 90 // of one Change
	stamp := func(i int) {
		changes := make([]audience.Change, n)
		for k := range changes {
			changes[k] = imported(fmt.Sprintf("u%d", k), audience.UserID, 1)
			changes[k].Set[0] = fmt.Sprint(i)
			changes[k].Profile.Nick = text(fmt.Sprint(i))
		}
		if _, err := h.Change(context.WithoutCancel(t.Context()), id, changes); err != nil {
			t.Error(err)
		}
	}
	stamp(0)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				stamp(i)
			}
		}
	})
	for range 50 {
		stamps := map[string]int{}
		for _, u := range h.export(id) {
			if u.Account != "administrator" {
				stamps[u.Values[0]]++
				stamps[u.Nick]++
			}
		}
		if len(stamps) != 1 {
			t.Errorf("an export shows %v", stamps)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// testExportAudience exports only whom a query selects. What is wrong with it is known
// before the export begins.
func testExportAudience(t *testing.T, h *harness) {
	h.saveApp(NewApp(id))
	phone := imported("phone", audience.RegistrationID, 5)
	phone.Set, phone.Tags = audience.Values{9: "x"}, audience.TagEdit{Op: audience.AddTags, Tags: []string{"device"}}
	mary := imported("mary", audience.UserID, 5)
	mary.Set, mary.Tags = audience.Values{0: "gold"}, audience.TagEdit{Op: audience.AddTags, Tags: []string{"vip"}}
	mary.Profile = audience.Profile{Nick: text("M"), FaceURL: text("F")}
	h.load(false, mary, phone, imported("ann", audience.UserID, 5))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	export := func(query func(*audience.Attributes) (audience.Query, error)) (users []audience.Exported, begun bool, err error) {
		err = h.Export(ctx, id, query, func(*audience.Attributes) error { begun = true; return nil }, func(u *audience.Exported) error {
			if u.Account != "administrator" {
				users = append(users, *u)
			}
			return nil
		})
		return users, begun, err
	}
	check := func(where string, kind audience.Kind, want ...audience.Exported) {
		t.Helper()
		got, _, err := export(func(*audience.Attributes) (audience.Query, error) { return h.query(where, kind), nil })
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Export of %s and type %d = %+v, %v; want %+v", where, kind, got, err, want)
		}
	}
	ann := audience.Exported{Account: "ann", Created: 5}
	gold := audience.Exported{Account: "mary", Created: 5, Values: mary.Set, Tags: []string{"vip"}, Nick: "M", FaceURL: "F"}
	device := audience.Exported{Account: "phone", Kind: audience.RegistrationID, Created: 5, Values: phone.Set, Tags: []string{"device"}}
	for range 2 {
		check(`attr0 == "gold" && tag("vip")`, audience.RegistrationID, gold)
		check(`!tag("vip")`, audience.UserID, ann)
		check(`tag("device")`, audience.UserID, device) // the tag says of which type
		check("true", audience.RegistrationID, device)
		check("true", audience.UserID, gold, ann)
		check(`tag("nobody")`, audience.UserID)
		h.reopen()
	}
	wrong := errors.New("no such query")
	for _, q := range []struct {
		query func(*audience.Attributes) (audience.Query, error)
		want  error
	}{
		{func(*audience.Attributes) (audience.Query, error) { return audience.Query{}, wrong }, wrong},
		{func(*audience.Attributes) (audience.Query, error) {
			return h.query(`tag("vip") && tag("device")`, audience.UserID), nil
		}, apierr.WrongAccountKind},
		{func(*audience.Attributes) (audience.Query, error) {
			cancel() // the last
			return h.query("true", audience.UserID), nil
		}, context.Canceled},
	} {
		if users, begun, err := export(q.query); !errors.Is(err, q.want) || begun || users != nil {
			t.Errorf("Export that cannot be = %+v, %v, begun: %t; want %v before it begins", users, err, begun, q.want)
		}
	}
}
