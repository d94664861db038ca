package lsm

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidings/internal/audience"
)

// effects are one of each kind, and what is empty and full.
func effects() map[string]*audience.Effect {
	full := &audience.Effect{Op: audience.Edit, User: 1<<32 - 2, Created: 1<<32 - 1}
	for slot := range audience.Slots {
		full.Set[slot] = strings.Repeat("v", audience.MaxValueBytes)
	}
	for i := range audience.MaxTags {
		full.Tagged = append(full.Tagged, fmt.Sprint("tag", i))
	}
	return map[string]*audience.Effect{
		"made": {
			Op: audience.Make, User: 7, Account: "alice", Kind: audience.RegistrationID, Created: 1_700_000_000,
			Set: audience.Values{"red", "", "Zürich"}, Tagged: []string{"early", "vip"},
		},
		"made bare": {Op: audience.Make, User: 300, Account: "b"},
		"changed": {
			Op: audience.Edit, User: 7, Set: audience.Values{"", "x"}, Cleared: 1<<0 | 1<<2,
			Tagged: []string{"late"}, Untagged: []string{"early", "vip"},
		},
		"changed in everything": full,
		"removed":               {Op: audience.Remove, User: 7},
	}
}

func TestGoldenEffects(t *testing.T) {
	var got strings.Builder
	all := effects()
	delete(all, "changed in everything")
	for _, name := range []string{"made", "made bare", "changed", "removed"} {
		fmt.Fprintf(&got, "%s\n%s", name, hex.Dump(appendEffect(nil, all[name])))
	}
	const name = "testdata/effects.golden"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("effects are\n%s\nwant\n%s", got.String(), want)
	}
}

// TestEffects: an effect is the same when it is read, and cut anywhere it is none.
func TestEffects(t *testing.T) {
	for name, want := range effects() {
		b := appendEffect(nil, want)
		if err := checkEntry(b, new(audience.Effect)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got audience.Effect
		if err := parseEffect(bytes.Clone(b[1:]), &got); err != nil || !equal(&got, want) {
			t.Errorf("%s is %+v, %v; want %+v", name, got, err, *want)
		}
		for n := range b {
			if checkEntry(b[:n], new(audience.Effect)) == nil {
				t.Errorf("%s: %d of its %d bytes are an entry", name, n, len(b))
			}
		}
		if checkEntry(append(bytes.Clone(b), 0), new(audience.Effect)) == nil {
			t.Errorf("%s with a byte more is an entry", name)
		}
	}
}

func equal(a, b *audience.Effect) bool {
	x, y := *a, *b
	same := slices.Equal(x.Tagged, y.Tagged) && slices.Equal(x.Untagged, y.Untagged)
	x.Tagged, x.Untagged, y.Tagged, y.Untagged = nil, nil, nil, nil
	return same && reflect.DeepEqual(x, y)
}

// FuzzEffect: an effect that can be read is the same when it is written again.
func FuzzEffect(f *testing.F) {
	for _, e := range effects() {
		f.Add(string(appendEffect(nil, e)[1:]))
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var e, again audience.Effect
		if parseEffect([]byte(text), &e) != nil {
			return
		}
		b := appendEffect(nil, &e)
		if err := parseEffect(bytes.Clone(b[1:]), &again); err != nil || !equal(&e, &again) {
			t.Fatalf("%+v\nis %+v when it is written again, %v", e, again, err)
		}
		if err := checkEntry(b, new(audience.Effect)); err != nil {
			t.Fatal(err)
		}
	})
}
