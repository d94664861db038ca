package lsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
	"tidings/internal/testenv"
)

// saved is a checkpoint of an app with some users, who have values that many share and
// values of their own, tags, and of whom some were deleted.
func saved(t testing.TB, users int) []byte {
	t.Helper()
	m := &memory{tenants: newTenants()}
	x := newTenant(5)
	x.app = &app.App{ID: 5, Name: "test", Created: time.Unix(1_700_000_000, 0).UTC()}
	m.byID[5] = x
	for i := range users {
		e := audience.Effect{
			Op: audience.Make, User: uint32(i), Account: fmt.Sprint("user", i), Kind: audience.Kind(i % 2), Created: 1_700_000_000,
			Set: audience.Values{"all", fmt.Sprint(i), "", fmt.Sprint(i % 7)}, Tagged: []string{fmt.Sprint("kind", i%2), fmt.Sprint("tag", i%10)},
		}
		if err := x.users.Apply(&e, 1); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i < users; i += 4 {
		d := index.Device{Number: uint32(i), Owner: uint32(i / 20 * 2), Bound: i%3 > 0, Facet: fmt.Sprint("facet", i%7)}
		if err := x.users.ApplyDevice(&d); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < users; i += 5 {
		if err := x.users.Apply(&audience.Effect{Op: audience.Remove, User: uint32(i)}, 2); err != nil {
			t.Fatal(err)
		}
	}
	x.pos = 2
	var out bytes.Buffer
	if _, err := m.Save(context.Background(), 2, func(journal.Pos) {}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// canonical loads a checkpoint and writes what it holds.
func canonical(b []byte) (string, error) {
	m := &memory{tenants: newTenants()}
	if err := m.Load(bytes.NewReader(b), int64(len(b))); err != nil {
		return "", err
	}
	var out bytes.Buffer
	for _, x := range m.all() {
		if x.gone {
			continue
		}
		if _, err := digest(x); err != nil {
			return "", err
		}
		if err := x.users.Canonical(&out); err != nil {
			return "", err
		}
	}
	_, err := m.Save(context.Background(), 0, func(journal.Pos) {}, io.Discard)
	return out.String(), err
}

// TestLoadChanged: a checkpoint with a right checksum over what makes no sense is refused
// or is something that can be used: each of its numbers is made large, small and other.
func TestLoadChanged(t *testing.T) {
	good := saved(t, 60)
	want, err := canonical(good)
	if err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	refused, seed := 0, rand.Uint64()
	t.Logf("seed %d, %d bytes", seed, len(good))
	r := rand.New(rand.NewPCG(seed, 12))
	for i := 0; i+8 <= len(good); i += 1 + r.IntN(2*len(good)/testenv.Rounds(300)) {
		for _, n := range []uint64{0, 1, 0xff, 1 << 20, 1 << 40, 1<<64 - 1} {
			bad := bytes.Clone(good)
			binary.LittleEndian.PutUint64(bad[i:], n)
			if _, err := canonical(bad); err != nil {
				refused++
			}
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := canonical(bad); err != nil {
			refused++
		}
		if _, err := canonical(good[:i]); err == nil {
			t.Errorf("%d of its %d bytes are a checkpoint", i, len(good))
		}
	}
	if _, err := canonical(append(bytes.Clone(good), 0)); err == nil {
		t.Error("with a byte more it is a checkpoint")
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(saved(f, 3))
	f.Add(saved(f, 40))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = canonical(b) })
}

func BenchmarkVerify(b *testing.B) {
	good := saved(b, 1_000_000)
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			m := &memory{tenants: newTenants()}
			if err := m.Load(bytes.NewReader(good), int64(len(good))); err != nil {
				b.Fatal(err)
			}
		}
	})
	m := &memory{tenants: newTenants()}
	if err := m.Load(bytes.NewReader(good), int64(len(good))); err != nil {
		b.Fatal(err)
	}
	users := m.byID[5].users
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if err := users.Verify(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
