package lsm_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

var (
	update     = flag.Bool("update", false, "rewrite the golden files")
	makeSample = flag.Bool("make-sample", false, "make the sample of the current format anew; it is there to be read, not to be made")
)

const sample = "testdata/format3"

// TestSample opens a copy of a directory that the first program of format 3 made, with a
// checkpoint and a log after it, and compares what it holds.
func TestSample(t *testing.T) {
	if *makeSample {
		newSample(t)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sample)); err != nil {
		t.Fatal(err)
	}
	warned := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	sum, err := lsm.CheckDir(t.Context(), dir, lsm.Options{Logger: warned}, func(f store.Finding) {
		t.Errorf("check: %s: %s", f.Where, f.What)
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := lsm.Open(dir, lsm.Options{Logger: warned})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	golden(t, "testdata/format3.golden", fmt.Sprintf("%+v\n", sum)+sampleText(t, s))
}

// A testWriter fails a test with what is written.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Errorf("logged: %s", b)
	return len(b), nil
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: it is\n%s\nwant\n%s", name, got, want)
	}
}

// sampleText is all that a sample holds.
func sampleText(t *testing.T, s *lsm.Store) string {
	t.Helper()
	var out strings.Builder
	apps, err := s.Apps.Apps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range apps {
		fmt.Fprintf(&out, "app %+v\n", *a)
		err := s.Users.Export(t.Context(), a.ID, nil, func(*audience.Attributes) error { return nil }, func(e *audience.Exported) error {
			fmt.Fprintf(&out, "%+v\n", *e)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		devices, _, err := s.Devices.List(t.Context(), a.ID, 10, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices {
			fmt.Fprintf(&out, "%+v\n", d)
			if retired, err := s.Devices.Retired(t.Context(), a.ID, d.ID, "", 10); err != nil || len(retired) > 0 {
				fmt.Fprintf(&out, "retired %+v, %v\n", retired, err)
			}
			if was, err := s.DeviceVersion(a.ID, d.ID, 2); err != nil || was != nil {
				fmt.Fprintf(&out, "version 2 was %+v, %v\n", was, err)
			}
		}
		for _, account := range []string{"alice", "bob", "gone"} {
			second, err := s.Users.RevokedUpTo(t.Context(), a.ID, account)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "tickets of %s are invalid up to %d\n", account, second)
		}
	}
	return out.String()
}

// newSample makes the sample.
func newSample(t *testing.T) {
	if err := os.RemoveAll(sample); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(sample, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := lsm.Open(sample, lsm.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(app uint32, account string, kind audience.Kind, edit func(*audience.Change)) {
		t.Helper()
		c := audience.Change{Account: account, Kind: kind, Create: true, Attributes: storetest.Attributes}
		edit(&c)
		failures, err := s.Users.Change(ctx, app, []audience.Change{c})
		if err == nil && len(failures) > 0 {
			err = failures[0].Err
		}
		must(err)
	}
	const one, two = id, id + 1
	must(s.Apps.SaveApp(ctx, storetest.NewApp(one)))
	must(s.Apps.SaveApp(ctx, storetest.NewApp(two)))
	nick, face := "Alice 🙂", "https://example.com/alice.png"
	change(one, "alice", audience.UserID, func(c *audience.Change) {
		c.Set = audience.Values{"red", "", "Zürich"}
		c.Tags = audience.TagEdit{Op: audience.AddTags, Tags: []string{"early", "vip"}}
		c.Profile = audience.Profile{Nick: &nick, FaceURL: &face}
	})
	change(one, "bob", audience.UserID, func(c *audience.Change) { c.Set = audience.Values{"red"} })
	change(one, "gone", audience.UserID, func(c *audience.Change) { c.Profile = audience.Profile{Nick: &nick} })
	change(one, "device", audience.RegistrationID, func(c *audience.Change) {
		c.Tags = audience.TagEdit{Op: audience.AddTags, Tags: []string{"phone"}}
	})
	change(two, "alice", audience.UserID, func(c *audience.Change) { c.Set = audience.Values{"blue"} })
	register := func(name string, addresses ...string) {
		t.Helper()
		_, err := s.Devices.Register(ctx, one, byAdmin, phone(name, addresses...))
		must(err)
	}
	register("phone", "one", "two")
	must(s.Devices.Bind(ctx, one, byAdmin, phone("phone").ID, "alice", false))
	_, err = s.Checkpoint(ctx)
	must(err)
	register("tablet", "two")
	register("phone", "three")
	must(s.Devices.Bind(ctx, one, byAdmin, phone("tablet").ID, "bob", false))
	must(s.Devices.SetBadge(ctx, one, byAdmin, phone("phone").ID, 3))
	_, err = s.Retire(one, phone("phone").ID, 1, "three", "UNREGISTERED", "task")
	must(err)
	must(s.Users.Revoke(ctx, one, "bob", time.Unix(1_700_000_000, 0)))
	_, err = s.Users.Delete(ctx, one, audience.UserID, []string{"gone"})
	must(err)
	change(one, "bob", audience.UserID, func(c *audience.Change) {
		c.Remove = 1
		c.Tags = audience.TagEdit{Op: audience.AddTags, Tags: []string{"vip"}}
	})
	change(two, "carol", audience.UserID, func(c *audience.Change) { c.Profile = audience.Profile{Nick: &nick} })
	must(s.Close())
}
