package lsm

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tidings/internal/audience"
	"tidings/internal/index"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// records are what the golden file holds, one of every shape.
var records = []struct {
	name string
	r    userRecord
}{
	{"new user", userRecord{created: 1_700_000_000}},
	{"example of doc/storage-format.md", userRecord{number: 300, created: 1_700_000_000, values: audience.Values{0: "female", 2: "France"}}},
	{"all slots", userRecord{number: 1, created: 1, values: audience.Values{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}}},
	{"tags", userRecord{number: 2, created: 1, epoch: 300, values: audience.Values{"x"}, tags: []string{"beta", "\u4f60"}}},
	{"installation", userRecord{number: 127, created: 127, kind: audience.RegistrationID, values: audience.Values{9: "\u4f60\u597d"}}},
	{"largest", userRecord{number: 1<<32 - 2, created: 1<<32 - 1, values: audience.Values{5: strings.Repeat("x", audience.MaxValueBytes)}}},
}

// encode writes a record the way a store does, through the index.
func encode(r userRecord) []byte {
	// The index numbers users densely, which a test of high numbers cannot
	// afford: the number is put in afterwards.
	u := index.NewUsers()
	n := u.Add("a", r.kind, r.created)
	for i, v := range r.values {
		u.Set(n, i, v)
	}
	if _, err := u.EditTags(n, &audience.TagEdit{Op: audience.AddTags, Tags: r.tags}); err != nil {
		panic(err)
	}
	return appendRecord(nil, u, n, r.number, r.epoch)
}

func TestUserRecord(t *testing.T) {
	var b strings.Builder
	for _, c := range records {
		enc := encode(c.r)
		b.WriteString(c.name + ": " + hex.EncodeToString(enc) + "\n")
		got, err := parseUser(enc)
		if err != nil || !reflect.DeepEqual(got, c.r) {
			t.Errorf("%s: parseUser = %+v, %v; want %+v", c.name, got, err, c.r)
		}
	}
	golden(t, "user-records-v2.txt", b.String())
}

// TestDocumentedExamples: the bytes that doc/storage-format.md shows are those
// of the code.
func TestDocumentedExamples(t *testing.T) {
	doc, err := os.ReadFile("../../../doc/storage-format.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string][]byte{
		"key of a user":      appendKey(nil, tableUser, 1400000001, "Mary"),
		"user record":        encode(records[1].r),
		"key of an app":      appendKey(nil, tableApp, 1400000001, ""),
		"key of the version": formatKey,
		"invalidation":       appendSecond(nil, 1_700_000_000),
	} {
		spaced := make([]string, len(want))
		for i, b := range want {
			spaced[i] = hex.EncodeToString([]byte{b})
		}
		if !strings.Contains(string(doc), "`"+strings.Join(spaced, " ")+"`") {
			t.Errorf("doc/storage-format.md does not show the %s `%s`", what, strings.Join(spaced, " "))
		}
	}
}

func FuzzUserRecord(f *testing.F) {
	for _, c := range records {
		enc := encode(c.r)
		f.Add(enc)
		f.Add(enc[:len(enc)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseUser(b)
		if err != nil {
			return
		}
		enc := encode(r)
		again, err := parseUser(enc)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%x is %+v, encoded %x, which is %+v, %v", b, r, enc, again, err)
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add(appendKey(nil, tableUser, 1400000001, "Mary"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, key []byte) {
		_ = describe(key)
		app, account, err := parseAccountKey(key)
		if err != nil {
			return
		}
		if again := appendKey(nil, key[0], app, account); string(again) != string(key) {
			t.Fatalf("key %x is app %d, account %q, whose key is %x", key, app, account, again)
		}
	})
}
