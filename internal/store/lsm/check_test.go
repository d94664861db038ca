package lsm_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// filled is a data directory of the operating system with an app and the users
// a and b, in tables.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s := openDir(t, dir)
	nick := "nick"
	changes := []audience.Change{set("a", "1"), set("b", "2")}
	changes[0].Profile.Nick = &nick
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Change(t.Context(), id, changes); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), id, "a", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start writes the log into a table
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openDir(t, dir)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openDir(t *testing.T, dir string) *lsm.Store {
	t.Helper()
	s, err := lsm.Open(dir, lsm.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// findings checks a directory and makes sure that nothing in it changes.
func findings(t *testing.T, dir string) []string {
	t.Helper()
	before := contents(t, dir)
	all := []string{}
	_, err := lsm.CheckDir(t.Context(), dir, lsm.Options{Logger: quiet}, func(f store.Finding) {
		all = append(all, f.Where+": "+f.What)
	})
	if err != nil {
		t.Errorf("CheckDir: %v", err)
	}
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Errorf("the check changed the directory: it holds %q, held %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
	}
	return all
}

// contents are the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// key is that of a record.
func key(table byte, app uint32, account string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{table}, app), account...)
}

func TestCheckFinds(t *testing.T) {
	admin := storetest.NewApp(id)
	admin.Admins = append(admin.Admins, "robot")
	unnamed := storetest.NewApp(id)
	unnamed.Attributes[0] = audience.Attribute{}
	otherKind := storetest.NewApp(id)
	otherKind.Attributes[0].Kind = audience.RegistrationID
	app := fmt.Sprint(id)
	for _, c := range []struct {
		name  string
		plant map[string]any // by key: bytes, an app, or nil to delete
		want  []string
	}{
		{"nothing", nil, []string{}},
		{"bad user record", map[string]any{string(key(2, id, "a")): []byte{9, 0, 0}}, []string{
			`user "a" of app ` + app + `: record version 9 is not known, this program reads up to 2`,
		}},
		{"cut user record", map[string]any{string(key(2, id, "a")): []byte("\x01\x00\x01\x01\x01\x03ab")}, []string{
			`user "a" of app ` + app + `: slot 0: value is cut off`,
		}},
		{"duplicate number", map[string]any{string(key(2, id, "x")): []byte{1, 0, 1, 1, 0}}, []string{
			`user "a" of app ` + app + `: has number 1, which another user of the app has too`,
			`user "x" of app ` + app + `: has number 1, which another user of the app has too`,
		}},
		{"user of no app", map[string]any{string(key(2, 7, "x")): []byte{1, 0, 1, 1, 0}}, []string{
			`user "x" of app 7: app 7 does not exist`,
		}},
		{"user without a name", map[string]any{string(key(2, id, "")): []byte{1, 0, 1, 1, 0}}, []string{
			`user ` + app + `: key "\x02Sr` + "N" + `\x01" is too short`,
		}},
		{"account too long", map[string]any{string(key(2, id, strings.Repeat("x", 65))): []byte{1, 0, 99, 1, 0}}, []string{
			`user "` + strings.Repeat("x", 65) + `" of app ` + app + `: account has 65 bytes`,
		}},
		{"values in a slot without a name", map[string]any{string(key(1, id, "")): unnamed}, []string{
			`user "a" of app ` + app + `: has value "1" in slot 0, which has no name`,
			`user "b" of app ` + app + `: has value "2" in slot 0, which has no name`,
		}},
		{"values of the other account type", map[string]any{string(key(1, id, "")): otherKind, string(key(2, id, "b")): nil}, []string{
			`user "a" of app ` + app + `: has value "1" in slot 0, which is for account type 1`,
		}},
		{"admin without account", map[string]any{string(key(1, id, "")): admin}, []string{
			`app ` + app + `: admin "robot" has no account`,
		}},
		{"app that is no app", map[string]any{string(key(1, id, "")): []byte(`{"sdkappid":`)}, []string{
			`app ` + app + `: app ` + app + `: unexpected end of JSON input`,
		}},
		{"app under another number", map[string]any{string(key(1, 5, "")): storetest.NewApp(6)}, []string{
			`app 5: app 5 holds app 6`,
		}},
		{"app with a long key", map[string]any{string(key(1, id, "x")): storetest.NewApp(id)}, []string{
			`app "x" of app ` + app + `: key "\x01SrN\x01x" has 6 bytes, want 5`,
		}},
		{"app is missing", map[string]any{string(key(1, id, "")): nil, string(key(2, id, "b")): nil, string(key(2, id, "administrator")): nil}, []string{
			`nickname "a" of app ` + app + `: app ` + app + ` does not exist`,
			`ticket invalidation "a" of app ` + app + `: app ` + app + ` does not exist`,
			`user "a" of app ` + app + `: app ` + app + ` does not exist`,
		}},
		{"belongings of nobody", map[string]any{string(key(2, id, "a")): nil}, []string{
			`nickname "a" of app ` + app + `: the account does not exist`,
			`ticket invalidation "a" of app ` + app + `: the account does not exist`,
		}},
		{"bad belongings", map[string]any{string(key(4, id, "a")): make([]byte, 501), string(key(5, id, "a")): []byte("x"), string(key(3, id, "")): []byte{}}, []string{
			`nickname ` + app + `: key "\x03SrN\x01" is too short`,
			`picture "a" of app ` + app + `: has 501 bytes`,
			`ticket invalidation "a" of app ` + app + `: time of 1 bytes, want 8`,
		}},
		{"unknown tables", map[string]any{"\x07x": []byte{}, "\x00other": []byte{}, "": []byte{}, "\x02x": []byte{}}, []string{
			`key "\ax": belongs to no table`,
			`meta "other": is not known`,
			`the empty key: belongs to no table`,
			`user key "\x02x": key "\x02x" is too short`,
		}},
		{"newer format", map[string]any{"\x00format": []byte("3")}, []string{
			`meta "format": format version is "3", this program reads 2`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t)
			plant(t, dir, c.plant)
			got := findings(t, dir)
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("findings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// plant writes into the database behind the store's back.
func plant(t *testing.T, dir string, records map[string]any) {
	t.Helper()
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range records {
		value, isBytes := v.([]byte)
		switch {
		case v == nil:
			err = db.Delete([]byte(k), pebble.Sync)
		case !isBytes:
			if value, err = json.Marshal(v); err != nil {
				t.Fatal(err)
			}
			fallthrough
		default:
			err = db.Set([]byte(k), value, pebble.Sync)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// TestCheckFindsFlippedBytes flips bytes of a table, one at a time: each that
// holds data is found.
func TestCheckFindsFlippedBytes(t *testing.T) {
	dir := filled(t)
	tables, err := filepath.Glob(filepath.Join(dir, "db", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables: %q, %v", tables, err)
	}
	for _, path := range tables {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(good, []byte("administrator"))
		if at < 0 {
			at = len(good) / 2
		}
		for _, i := range []int{10, at, len(good) - 1} {
			bad := bytes.Clone(good)
			bad[i] ^= 0x20
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := findings(t, dir); len(got) == 0 {
				t.Errorf("byte %d of %s, of %d bytes, is flipped and nothing found", i, filepath.Base(path), len(good))
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := findings(t, dir); len(got) != 0 {
		t.Errorf("restored, it has findings %q", got)
	}
}

// TestCheckMissingFiles: what is not there is found, or the error says so.
func TestCheckMissingFiles(t *testing.T) {
	for _, pattern := range []string{"*.sst", "MANIFEST-*"} {
		dir := filled(t)
		files, err := filepath.Glob(filepath.Join(dir, "db", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, %v", pattern, files, err)
		}
		last := files[len(files)-1] // the manifest before it is kept too
		if err := os.Remove(last); err != nil {
			t.Fatal(err)
		}
		if got := findings(t, dir); len(got) == 0 {
			t.Errorf("%s is missing and nothing found", last)
		}
	}
	_, err := lsm.CheckDir(t.Context(), t.TempDir(), lsm.Options{Logger: quiet}, func(store.Finding) {})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("CheckDir of an empty directory = %v, want %v", err, os.ErrNotExist)
	}
}

// TestCheckLog: a log that was cut is what a power loss leaves, whole groups; a
// byte flipped in it is found if a later block, of 32 KiB, was written after it
// was synced: its chunks say so.
func TestCheckLog(t *testing.T) {
	dir := filled(t)
	s := openDir(t, dir)
	for i := range 400 {
		v := fmt.Sprint(i, strings.Repeat("-", 40))
		if _, err := s.Change(t.Context(), id, []audience.Change{set("a", v), set("b", v)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "db", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs: %q, %v", logs, err)
	}
	path := logs[len(logs)-1]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(good)/4] ^= 1
	if err := os.WriteFile(path, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := findings(t, dir); len(got) == 0 {
		t.Error("a byte of the log is flipped and nothing found")
	}
	if err := os.WriteFile(path, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	// The records look as after a power loss; that the server was stopped in order
	// is what tells that something is missing.
	if got := findings(t, dir); len(got) != 1 || !strings.Contains(got[0], "the database has lost something") {
		t.Errorf("a log without its end: findings %q", got)
	}
	s = openDir(t, dir)
	defer s.Close()
	u, err := s.Users(t.Context(), id, []string{"a", "b"})
	if err != nil || u[0].Values != u[1].Values || strings.HasPrefix(u[0].Values[0], "399") {
		t.Errorf("a log without its end holds %v, %v", u, err)
	}
}

// TestCheckInUse: a directory that is open is not checked behind its back.
func TestCheckInUse(t *testing.T) {
	dir := filled(t)
	s := openDir(t, dir)
	defer s.Close()
	_, err := lsm.CheckDir(t.Context(), dir, lsm.Options{Logger: quiet}, func(store.Finding) {})
	if _, ok := errors.AsType[*lsm.InUse](err); !ok {
		t.Errorf("CheckDir = %v, want *InUse", err)
	}
	if _, err := lsm.Open(dir, lsm.Options{Logger: quiet}); err == nil {
		t.Error("opened twice")
	}
	sound(t, s)
}

// TestReadOnly: a store opened for reading answers, changes nothing, and refuses
// to.
func TestReadOnly(t *testing.T) {
	dir := filled(t)
	before := contents(t, dir)
	s, err := lsm.Open(dir, lsm.Options{Logger: quiet, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := s.Users(t.Context(), id, []string{"a"}); err != nil || u[0].Values[0] != "1" {
		t.Errorf("Users = %v, %v", u, err)
	}
	if _, err := s.Change(t.Context(), id, []audience.Change{set("a", "2")}); err == nil {
		t.Error("Change succeeded")
	}
	if s.SaveApp(t.Context(), storetest.NewApp(2)) == nil || count(t, s, 2) != 0 {
		t.Error("SaveApp succeeded")
	}
	if u, err := s.Users(t.Context(), id, []string{"a"}); err != nil || u[0].Values[0] != "1" {
		t.Errorf("Users after a change that was refused = %v, %v", u, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("the directory changed")
	}
}
