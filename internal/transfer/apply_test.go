package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

const appID = 1400000001

// A staleStore refuses imports made from attributes that the app no longer has,
// from the batch on that has them.
type staleStore struct {
	storetest.Store
	saved  audience.Attributes
	asked  int             // how often Import was called
	before func(batch int) // if set: what happens before a batch is made
}

func (s *staleStore) SaveApp(ctx context.Context, a *app.App) error {
	s.saved = a.Attributes
	return s.Store.SaveApp(ctx, a)
}

func (s *staleStore) Import(ctx context.Context, id uint32, batches iter.Seq[[]audience.Change], dryRun bool, done func(int, audience.Outcome, *apierr.Error)) error {
	s.asked++
	var stale error
	batch := 0
	err := s.Store.Import(ctx, id, func(yield func([]audience.Change) bool) {
		for changes := range batches {
			if s.before != nil {
				s.before(batch)
			}
			batch++
			for _, c := range changes {
				for slot, v := range c.Set {
					if v != "" && c.Attributes[slot] != s.saved[slot] {
						stale = fmt.Errorf("slot %d: %w", slot, audience.ErrStale)
						return
					}
				}
			}
			if !yield(changes) {
				return
			}
		}
	}, dryRun, done)
	return errors.Join(err, stale)
}

// A house is an app with users in memory.
type house struct {
	apps  *app.Registry
	users audience.Store
}

// startStale creates a house over a staleStore.
func startStale(t *testing.T, names map[string]string) (*house, *staleStore) {
	t.Helper()
	s, err := lsm.Open("", lsm.Options{FS: vfs.NewMem(), MemtableSize: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	st := &staleStore{Store: storetest.Join(s.Apps, s.Users, s.Close)}
	apps, err := app.Open(t.Context(), st, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		apps.Close()
		if _, err := s.Check(context.Background(), func(f store.Finding) { t.Errorf("check: %s: %s", f.Where, f.What) }); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := apps.Declare(t.Context(), app.Declaration{ID: appID, AttrNames: names}); err != nil {
		t.Fatal(err)
	}
	return &house{apps, st}, st
}

// name gives slots names.
func (h *house) name(t *testing.T, names map[int]string) {
	t.Helper()
	if err := h.apps.NameAttributes(context.Background(), appID, names, nil); err != nil {
		t.Fatal(err)
	}
}

// load imports and returns the result.
func (h *house) load(t *testing.T, chunk Chunk, dryRun bool, lines io.Reader) *Result {
	t.Helper()
	chunk.App = appID
	result, err := Apply(t.Context(), h.apps, h.users, chunk, dryRun, lines)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// values returns what export says that each account has.
func (h *house) values(t *testing.T) map[string]map[string]string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(t.Context(), h.users, appID, nil, &out); err != nil {
		t.Fatal(err)
	}
	values := map[string]map[string]string{}
	for line := range bytes.Lines(out.Bytes()) {
		var user struct {
			Account string `json:"To_Account"`
			Attrs   map[string]string
		}
		if err := json.Unmarshal(line, &user); err != nil {
			t.Fatal(err)
		}
		if user.Account != "" {
			values[user.Account] = user.Attrs
		}
	}
	return values
}

// A slowBody does something before its first byte.
type slowBody struct {
	io.Reader
	first func()
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.first != nil {
		b.first()
		b.first = nil
	}
	return b.Reader.Read(p)
}

// header is the first line of the export of an app whose slot 3 is named plan.
const header = `{"AttrNames":{"3":"plan"},"AttrTypes":{"3":0}}` + "\n"

// TestImportWhileNamed: the app gets the name of the header while the lines are
// on their way, but in another slot. The values go where the app has it.
func TestImportWhileNamed(t *testing.T) {
	h, _ := startStale(t, nil)
	body := &slowBody{strings.NewReader(header + `{"To_Account":"u","Attrs":{"plan":"gold"}}`), func() { h.name(t, map[int]string{5: "plan"}) }}
	if r := h.load(t, Chunk{Begins: true}, false, body); r.Users != 1 || len(r.Failures) != 0 {
		t.Errorf("the result is %+v", r)
	}
	if a := h.apps.App(appID).Attributes; a[3].Name != "" || a[5].Name != "plan" {
		t.Errorf("the attributes are %+v, want plan in slot 5", a)
	}
	if got := h.values(t)["u"]["plan"]; got != "gold" {
		t.Errorf("plan is %q, want gold", got)
	}
	// A header that no longer fits is a failure of its line, and the others go on.
	body = &slowBody{strings.NewReader(strings.Replace(header, "plan", "tier", 1) + `{"To_Account":"v"}`), func() { h.name(t, map[int]string{3: "city"}) }}
	if r := h.load(t, Chunk{Begins: true}, false, body); r.Users != 1 || len(r.Failures) != 1 || !strings.Contains(r.Failures[0].Reason, "city") {
		t.Errorf("the result is %+v, want a failure that names city", r)
	}
}

// TestImportStale: two names are swapped between two batches of a chunk. All
// lines end up under the names that they give, and each failure is told once.
func TestImportStale(t *testing.T) {
	h, st := startStale(t, map[string]string{"0": "plan", "1": "city"})
	st.before = func(batch int) {
		if batch == 1 && st.asked == 1 {
			h.name(t, map[int]string{0: "city", 1: "plan"})
		}
	}
	var file strings.Builder
	const users = 3 * importBatch
	for i := range users {
		fmt.Fprintf(&file, `{"To_Account":"u%d","Attrs":{"plan":"p%d","city":"c%d"}}`+"\n", i, i, i)
	}
	file.WriteString(`{"To_Account":"v","Attrs":{"shoe_size":"39"}}` + "\n")
	r := h.load(t, Chunk{}, false, strings.NewReader(file.String()))
	// What was made before the swap counts as made.
	if r.Counts != (Counts{Users: users, Created: users}) || len(r.Failures) != 1 || r.Failures[0].Line != users || st.asked != 2 {
		t.Errorf("after %d tries the result is %+v, want %d users and line %d failed", st.asked, r, users, users)
	}
	values := h.values(t)
	for i := range users {
		if got := values[fmt.Sprint("u", i)]; got["plan"] != fmt.Sprint("p", i) || got["city"] != fmt.Sprint("c", i) || len(got) != 2 {
			t.Fatalf("u%d has %v", i, got)
		}
	}
}

// TestImportStaleWithoutEnd: an import does not go on for ever.
func TestImportStaleWithoutEnd(t *testing.T) {
	h, st := startStale(t, map[string]string{"0": "plan"})
	swapped := false
	st.before = func(int) {
		if swapped = !swapped; swapped {
			h.name(t, map[int]string{0: "city", 1: "plan"})
		} else {
			h.name(t, map[int]string{0: "plan", 1: "city"})
		}
	}
	_, err := Apply(t.Context(), h.apps, h.users, Chunk{App: appID}, false, strings.NewReader(`{"To_Account":"u","Attrs":{"plan":"gold"}}`))
	if !errors.Is(err, audience.ErrStale) || st.asked != 1+maxStale {
		t.Errorf("import = %v after %d tries, want %v after %d", err, st.asked, audience.ErrStale, 1+maxStale)
	}
}

// TestDryRunOfHeader: lines that use what the header would name are good, if
// their account is of its type, and nothing is changed.
func TestDryRunOfHeader(t *testing.T) {
	h, _ := startStale(t, map[string]string{"0": "city"})
	before := h.apps.App(appID)
	r := h.load(t, Chunk{Begins: true}, true, strings.NewReader(header+
		`{"To_Account":"u","Attrs":{"plan":"gold","city":"Rome"}}`+"\n"+
		`{"To_Account":"3F0C9B52-7A41-4E0D-9C66-18D2B7A40E5F","AccountType":1,"Attrs":{"plan":"gold"}}`+"\n"))
	if r.Counts != (Counts{Users: 1, Created: 1}) || len(r.Failures) != 1 || r.Failures[0].Line != 2 || !strings.Contains(r.Failures[0].Reason, "account type") {
		t.Errorf("the result is %+v, want one user and line 2 failed for its account type", r)
	}
	// What only the header would make possible is a change too.
	r = h.load(t, Chunk{Begins: true}, true, strings.NewReader(header+`{"To_Account":"administrator","Attrs":{"plan":"gold"}}`+"\n"+`{"To_Account":"administrator"}`))
	if r.Counts != (Counts{Users: 2, Changed: 1, Unchanged: 1}) {
		t.Errorf("of an account that exists the result is %+v", r)
	}
	if a := h.apps.App(appID); a != before || len(h.values(t)) != 1 {
		t.Errorf("a dry run left %+v with %v", a, h.values(t))
	}
}
