package lsm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// sampleApps are the apps of the stored sample.
func sampleApps() []*app.App {
	full := storetest.NewApp(1400000001)
	full.Description = "with everything"
	full.Admins = []string{app.BuiltInAdmin, "robot"}
	full.Keys = append(full.Keys, app.Key{ID: 2, Secret: "retiring", Created: time.Unix(1_600_000_000, 0).UTC(), Ends: time.Unix(1_800_000_000, 0).UTC()})
	full.NextKey = 2
	full.Settings = app.Settings{
		CreateAccounts: true, UserIDs: app.UTF8, KeepAccounts: true,
		Limits: app.Limits{"default": 0, "timpush/remove_attr": 5}, Hosts: []string{"push.example.com"},
		BlockedAccounts: []string{"evil"}, DisabledCommands: []string{"im_open_login_svc/kick"},
	}
	small := storetest.NewApp(1)
	return []*app.App{small, full}
}

// writeSample fills a store for the sample: some of it in tables, some in the
// log.
func writeSample(t *testing.T, dir string) {
	s := openDir(t, dir)
	nick := "Mary \u4f60\u597d"
	for _, a := range sampleApps() {
		if err := s.SaveApp(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		mary := set("Mary", "female")
		mary.Set[8] = strings.Repeat("v", audience.MaxValueBytes)
		mary.Profile = audience.Profile{Nick: &nick, FaceURL: &nick}
		if _, err := s.Change(t.Context(), a.ID, []audience.Change{mary, set("doomed", "x"), set("\u4f60\u597d", "y")}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = openDir(t, dir)
	if _, err := s.Delete(t.Context(), 1, audience.UserID, []string{"doomed"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), 1, "Mary", time.Unix(1_700_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSample reads a data directory that was written when this format version
// was made. It is not rewritten, whatever the code becomes: to make the sample
// of a new version, remove nothing and set TIDINGS_TEST_NEW_SAMPLE.
func TestSample(t *testing.T) {
	sample := filepath.Join("testdata", fmt.Sprintf("sample-v%d", lsm.FormatVersion))
	if _, err := os.Stat(sample); err != nil && os.Getenv("TIDINGS_TEST_NEW_SAMPLE") != "" {
		dir := t.TempDir()
		writeSample(t, dir)
		if err := os.Remove(filepath.Join(dir, "db", "LOCK")); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(sample, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(sample+".txt", []byte(dump(t, dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	samples, err := filepath.Glob("testdata/sample-v*.txt")
	if err != nil || len(samples) != lsm.FormatVersion {
		t.Fatalf("%d samples, %v; want one of each version up to %d", len(samples), err, lsm.FormatVersion)
	}
	for _, text := range samples {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(strings.TrimSuffix(text, ".txt"))); err != nil {
			t.Fatal(err)
		}
		if got := findings(t, dir); len(got) != 0 {
			t.Errorf("%s: findings %q", text, got)
		}
		want, err := os.ReadFile(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := dump(t, dir); got != string(want) {
			t.Errorf("%s holds\n%s\nwant\n%s", text, got, want)
		}
		checkSample(t, dir)
	}
}

// dump shows every record.
func dump(t *testing.T, dir string) string {
	t.Helper()
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{ReadOnly: true, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var b strings.Builder
	for it.First(); it.Valid(); it.Next() {
		fmt.Fprintf(&b, "%x\n  %x\n", it.Key(), it.Value())
	}
	return b.String()
}

// checkSample looks at what the sample means, and that it can go on.
func checkSample(t *testing.T, dir string) {
	db := storetest.Database{Open: func() (storetest.Store, error) { return lsm.Open(dir, lsm.Options{Logger: quiet}) }}
	storetest.Continue(t, db, sampleApps(), func(s storetest.Store) {
		users, err := s.Users(t.Context(), 1, []string{"Mary", "doomed", "\u4f60\u597d", "administrator"})
		want := []audience.User{
			{Exists: true, Values: audience.Values{0: "female", 8: strings.Repeat("v", audience.MaxValueBytes)}},
			{},
			{Exists: true, Values: audience.Values{0: "y"}},
			{Exists: true},
		}
		for i := range want {
			if err != nil || !reflect.DeepEqual(users[i], want[i]) {
				t.Errorf("user %d is %+v, %v; want %+v", i, users, err, want[i])
			}
		}
		revoked, err := s.RevokedUpTo(t.Context(), 1, "Mary")
		if err != nil || revoked != 1_700_000_000 || count(t, s, 1) != 3 || count(t, s, 1400000001) != 5 {
			t.Errorf("RevokedUpTo = %d, %v; %d and %d users", revoked, err, count(t, s, 1), count(t, s, 1400000001))
		}
	})
}
