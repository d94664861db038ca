package lsm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/faulty"
	"tidings/internal/store/journal"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// filled is a data directory with an app, whose users are an admin, a and b, numbers 0,
// 1 and 2.
func filled(t *testing.T, fs vfs.FS, dir string) {
	t.Helper()
	s, err := lsm.Open(dir, lsm.Options{FS: fs, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	nick := "nick"
	changes := []audience.Change{set("a", "1"), set("b", "2")}
	changes[0].Profile.Nick = &nick
	if err := s.Apps.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Users.Change(t.Context(), id, changes); err != nil {
		t.Fatal(err)
	}
	if err := s.Users.Revoke(t.Context(), id, "a", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// findings checks a directory and makes sure that nothing in it changes. An error is
// the last of the findings.
func findings(t *testing.T, fs vfs.FS, dir string) []string {
	t.Helper()
	before := faulty.Files(t, fs, dir)
	all := []string{}
	_, err := lsm.CheckDir(t.Context(), dir, lsm.Options{FS: fs, Logger: quiet}, func(f store.Finding) {
		all = append(all, f.Where+": "+f.What)
	})
	if err != nil {
		all = append(all, "error: "+err.Error())
	}
	unchanged(t, "the check", before, faulty.Files(t, fs, dir))
	return all
}

// key is that of a record.
func key(table byte, app uint32, rest string) string {
	return string(append(binary.BigEndian.AppendUint32([]byte{table}, app), rest...))
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func TestCheckFinds(t *testing.T) {
	app := fmt.Sprint(id)
	for _, c := range []struct {
		name  string
		plant map[string][]byte // by key; nil to delete
		want  []string
	}{
		{"nothing", nil, []string{}},
		{"belongings of nobody", map[string][]byte{key(3, id, "\x00\x00\x00\x63"): nil, key(4, id, "\x00\x00\x00\x63"): []byte("x")}, []string{
			`picture 00000063 of app ` + app + `: user 99 does not exist`,
		}},
		{"belongings of no app", map[string][]byte{key(3, 7, "\x00\x00\x00\x01"): []byte("x"), key(5, 7, strings.Repeat("h", 16)): number(1), key(6, 7, ""): number(1)}, []string{
			`nickname 00000001 of app 7: the app does not exist`,
			`ticket invalidation ` + strings.Repeat("68", 16) + ` of app 7: the app does not exist`,
		}},
		{"bad belongings", map[string][]byte{
			key(4, id, "\x00\x00\x00\x01"): make([]byte, 501), key(3, id, ""): []byte("x"),
			key(5, id, "short"): number(1), key(5, id, strings.Repeat("h", 16)): []byte("x"), key(6, id, "x"): number(1),
		}, []string{
			`invalidation of all tickets 78 of app ` + app + `: key of 1 bytes, want none`,
			`nickname  of app ` + app + `: key of 0 bytes, want 4`,
			`picture 00000001 of app ` + app + `: has 501 bytes, at most 500`,
			`ticket invalidation 68686868686868686868686868686868 of app ` + app + `: time of 1 bytes, want 8`,
			`ticket invalidation 73686f7274 of app ` + app + `: key of 5 bytes, want 16`,
		}},
		{"other keys", map[string][]byte{key(7, 0, "other"): []byte("x"), key(7, 1, "hash"): make([]byte, 31)}, []string{
			`key 68617368 of app 1: key "hash" of 31 bytes is not known`,
			`key 6f74686572 of app 0: key "other" of 1 bytes is not known`,
		}},
		{"unknown tables", map[string][]byte{"\xf0x": {}, "\x00other": {}, "": {}, "\x03x": {}}, []string{
			`key "\x03x": belongs to no table`,
			`key "\xf0x": belongs to no table`,
			`meta "other": is not known`,
			`the empty key: belongs to no table`,
		}},
		{"a group too many", map[string][]byte{"\x00count": number(9)}, []string{
			dir + `/db: ` + dir + `/db is damaged: the tables say that 4 groups are applied, and have 9 of them`,
		}},
		{"tables ahead", map[string][]byte{"\x00count": number(9), "\x00position": append(number(9), number(1)...)}, []string{
			dir + `/log/0000000001: ` + dir + `/log/0000000001 is damaged at or after byte END: the log ends with group 4, and the tables are at group 9`,
		}},
		{"tables of another log", map[string][]byte{"\x00position": append(number(4), number(1)...)}, []string{
			dir + `/db: ` + dir + `/db is damaged: the tables do not belong to the log that is there`,
		}},
		{"another history", map[string][]byte{"\x00history": number(5)}, []string{
			dir + `/log/0000000001: ` + dir + `/log/0000000001 is damaged at or after byte 0: it is of another data directory, or of this one before it was restored`,
		}},
		{"no history", map[string][]byte{"\x00history": nil}, []string{
			dir + `/db: ` + dir + `/db is damaged: it does not say what it is`,
		}},
		{"older format", map[string][]byte{"\x00format": []byte("2")}, []string{
			`error: format 2 is that of an earlier program, and this one reads 3: export the users of each app with that program (tidings export) and import them into a new directory`,
		}},
		{"newer format", map[string][]byte{"\x00format": []byte("4")}, []string{
			`error: format version "4" is not known, this program reads 3: use a newer program`,
		}},
		{"short numbers", map[string][]byte{"\x00history": []byte("x")}, []string{
			`db: db is damaged: meta "history" has 1 bytes, want 8`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := faulty.NewDisk(t, dir)
			filled(t, fs, dir)
			plant(t, fs, c.plant)
			got := findings(t, fs, dir)
			slices.Sort(got)
			end := fmt.Sprint(len(faulty.Read(t, fs, dir+"/log/0000000001")))
			for i := range c.want {
				c.want[i] = strings.Replace(c.want[i], "END", end, 1)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("findings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// plant writes into the tables behind the store's back.
func plant(t *testing.T, fs vfs.FS, records map[string][]byte) {
	t.Helper()
	db, err := pebble.Open(dir+"/db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation, Merger: journal.Merger, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range records {
		if v == nil {
			err = db.Delete([]byte(k), pebble.Sync)
		} else {
			err = db.Set([]byte(k), v, pebble.Sync)
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

// TestCheckFindsValues: values in slots that cannot have them.
func TestCheckFindsValues(t *testing.T) {
	app := fmt.Sprint(id)
	for _, c := range []struct {
		name   string
		change func(*audience.Attribute)
		want   []string
	}{
		{"no name", func(a *audience.Attribute) { *a = audience.Attribute{} }, []string{
			`user "a" of app ` + app + `: has value "1" in slot 0, which has no name`,
			`user "b" of app ` + app + `: has value "2" in slot 0, which has no name`,
		}},
		{"another account type", func(a *audience.Attribute) { a.Kind = audience.RegistrationID }, []string{
			`user "a" of app ` + app + `: has value "1" in slot 0, which is for account type 1`,
			`user "b" of app ` + app + `: has value "2" in slot 0, which is for account type 1`,
		}},
	} {
		fs := faulty.NewDisk(t, dir)
		filled(t, fs, dir)
		s := open(t, fs)
		a := storetest.NewApp(id)
		c.change(&a.Attributes[0])
		if err := s.SaveApp(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := findings(t, fs, dir); !slices.Equal(got, c.want) {
			t.Errorf("%s: findings\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// TestCheckInUse: a directory that is open is not checked behind its back.
func TestCheckInUse(t *testing.T) {
	dir := t.TempDir()
	filled(t, vfs.Default, dir)
	s, err := lsm.Open(dir, lsm.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = lsm.CheckDir(t.Context(), dir, lsm.Options{Logger: quiet}, func(store.Finding) {})
	if _, ok := errors.AsType[*lsm.InUse](err); !ok {
		t.Errorf("CheckDir = %v, want *InUse", err)
	}
	if _, err := lsm.Open(dir, lsm.Options{Logger: quiet}); err == nil {
		t.Error("opened twice")
	}
	if _, err := s.Check(t.Context(), func(f store.Finding) { t.Errorf("check: %v", f) }); err != nil {
		t.Error(err)
	}
}

// TestCheckNothing: what is not there is no finding, but an error.
func TestCheckNothing(t *testing.T) {
	_, err := lsm.CheckDir(t.Context(), t.TempDir(), lsm.Options{Logger: quiet}, func(store.Finding) {})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("CheckDir of an empty directory = %v, want %v", err, os.ErrNotExist)
	}
}

// TestReadOnly: a store opened for reading answers, changes nothing, and refuses to.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	filled(t, vfs.Default, dir)
	before := faulty.Files(t, vfs.Default, dir)
	s, err := lsm.Open(dir, lsm.Options{Logger: quiet, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if u, err := s.Users.Users(t.Context(), id, []string{"a"}); err != nil || u[0].Values[0] != "1" {
			t.Errorf("Users = %v, %v", u, err)
		}
		if second, err := s.Users.RevokedUpTo(t.Context(), id, "a"); err != nil || second != 1 {
			t.Errorf("RevokedUpTo = %d, %v", second, err)
		}
		if _, err := s.Users.Change(t.Context(), id, []audience.Change{set("a", "2")}); err == nil {
			t.Error("Change succeeded")
		}
		if s.Apps.SaveApp(t.Context(), storetest.NewApp(2)) == nil {
			t.Error("SaveApp succeeded")
		}
		if apps, err := s.Apps.Apps(t.Context()); err != nil || len(apps) != 1 {
			t.Errorf("after an app that was refused there are %d, %v", len(apps), err)
		}
		if _, err := s.Checkpoint(t.Context()); err == nil {
			t.Error("Checkpoint succeeded")
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	unchanged(t, "reading", before, faulty.Files(t, vfs.Default, dir))
}
