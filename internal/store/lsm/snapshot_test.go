package lsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store"
)

// TestSnapshotAndWhatCameAfter changes a directory over many openings, some of
// which end in a crash, some with tables flushed and compacted: each time the
// index that a start makes from the snapshot and what came after it must be the
// one that all records make.
func TestSnapshotAndWhatCameAfter(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ctx := context.Background()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	attrs := &audience.Attributes{{Name: "a"}, {Name: "b"}}
	quick := 0
	for round := range 40 {
		s, err := Open("data", Options{FS: fs, Logger: quiet, MemtableSize: 1 << 20})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, _, err := s.readSnapshot(); err == nil {
			quick++
		}
		all := &Store{db: s.db, log: quiet, marks: newMarks(), apps: map[uint32]*users{}}
		if err := all.readApps(); err != nil {
			t.Fatal(err)
		}
		if err := all.readUsers(0); err != nil {
			t.Fatal(err)
		}
		for id, u := range all.apps {
			if err := s.apps[id].index.Equal(u.index); err != nil {
				t.Fatalf("round %d, app %d: the index and the records differ: %v", round, id, err)
			}
			if err := u.index.Equal(s.apps[id].index); err != nil {
				t.Fatalf("round %d, app %d: the records and the index differ: %v", round, id, err)
			}
		}
		for range 30 {
			id := uint32(1 + r.IntN(3))
			if s.find(id) == nil {
				if err := s.SaveApp(ctx, &app.App{ID: id, Admins: []string{app.BuiltInAdmin}, Attributes: *attrs}); err != nil {
					t.Fatal(err)
				}
			}
			switch op := r.IntN(40); {
			case op == 0:
				err = s.DeleteApp(ctx, id)
			case op < 6:
				_, err = s.Delete(ctx, id, audience.UserID, []string{name(r), name(r)})
			case op < 8:
				err = s.db.Flush()
			case op < 9:
				err = s.db.Compact(ctx, []byte{0}, []byte{0xff}, false)
			default:
				c := audience.Change{Account: name(r), Create: true, Attributes: attrs}
				c.Set[r.IntN(2)] = fmt.Sprint(r.IntN(5))
				c.Remove.Add(r.IntN(2))
				c.Tags = audience.TagEdit{Op: audience.TagOp(r.IntN(5)), Tags: []string{fmt.Sprint("t", r.IntN(9))}}
				_, err = s.Change(ctx, id, []audience.Change{c})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(3) == 0 {
			crashed := fs.CrashClone(vfs.CrashCloneCfg{})
			_ = s.Close()
			fs = crashed
			continue
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if r.IntN(8) == 0 {
			spoil(t, r, fs)
		}
		if _, err := CheckDir(ctx, "data", Options{FS: fs, Logger: quiet}, func(f store.Finding) {
			if f.Where != "index snapshot" {
				t.Errorf("round %d: %s: %s", round, f.Where, f.What)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if quick < 10 {
		t.Errorf("only %d of 40 starts had a snapshot", quick)
	}
}

func name(r *rand.Rand) string { return fmt.Sprint("user", r.IntN(60)) }

// spoil flips a bit of the snapshot, or cuts it short.
func spoil(t *testing.T, r *rand.Rand, fs *vfs.MemFS) {
	f, err := fs.Open("data/" + snapshotName)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	if r.IntN(2) == 0 {
		b = b[:r.IntN(len(b))]
	}
	w, err := fs.Create("data/"+snapshotName, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
}

// TestStartReadsWhatIsNew has many users in tables and changes a few: a start
// after a crash must find those and read little else.
func TestStartReadsWhatIsNew(t *testing.T) {
	const users, changed = 30_000, 20
	ctx := context.Background()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	open := func(fs vfs.FS) *Store {
		s, err := Open("data", Options{FS: fs, Logger: slog.New(slog.DiscardHandler), MemtableSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	attrs := &audience.Attributes{{Name: "a"}}
	set := func(s *Store, from, n int, value string) {
		var changes []audience.Change
		for i := range n {
			changes = append(changes, audience.Change{Account: fmt.Sprintf("user%06d", from+i), Create: true, Attributes: attrs, Set: audience.Values{value}})
		}
		if _, err := s.Change(ctx, 1, changes); err != nil {
			t.Fatal(err)
		}
	}
	s := open(fs)
	if err := s.SaveApp(ctx, &app.App{ID: 1, Admins: []string{app.BuiltInAdmin}, Attributes: *attrs}); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < users; i += 1000 {
		set(s, i, 1000, "old")
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// The second opening changes a few; its tables hold those. The third begins
	// with what the second left behind in a crash, and compacts everything.
	for round, compact := range []bool{false, true} {
		s = open(fs)
		set(s, 1000+round*users/2, changed, "new") // in other blocks
		err := s.db.Flush()
		if compact {
			err = s.db.Compact(ctx, []byte{0}, []byte{0xff}, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs = crashed
		s = open(fs)
		_, epoch, err := s.readSnapshot()
		if err != nil {
			t.Fatal(err)
		}
		seen, fresh := 0, 0
		filter := sstable.NewBlockIntervalFilter(epochs, epoch+1, 1<<62, nil)
		err = s.scan(tableUser, []pebble.BlockPropertyFilter{filter}, func(_, value []byte) error {
			seen++
			if written, _ := epochOf(value); written > epoch {
				fresh++
			}
			return nil
		})
		if want := (round + 1) * changed; err != nil || fresh != want || seen > users/10 {
			t.Errorf("round %d: %d records read, %d of them new, want %d (%v)", round, seen, fresh, want, err)
		}
		if n, err := s.apps[1].index.Count(audience.Equals{Attr: audience.Ref{Name: "a"}, Values: []string{"new"}}, audience.UserID); err != nil || n != uint64((round+1)*changed) {
			t.Errorf("round %d: %d users have the new value, want %d (%v)", round, n, (round+1)*changed, err)
		}
		crashed = fs.CrashClone(vfs.CrashCloneCfg{}) // before Close writes a snapshot
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs = crashed
	}
}

// TestOlderSnapshotIsNotTaken puts the snapshot of an earlier opening beside a
// newer database, which somebody may do who copies only part of a directory.
func TestOlderSnapshotIsNotTaken(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	attrs := &audience.Attributes{{Name: "a"}}
	opening := func(f func(s *Store) error) {
		t.Helper()
		s, err := Open("data", Options{FS: fs, Logger: quiet})
		if err == nil {
			err = errors.Join(f(s), s.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set := func(s *Store, account, value string) error {
		_, err := s.Change(ctx, 1, []audience.Change{{Account: account, Create: true, Attributes: attrs, Set: audience.Values{value}}})
		return err
	}
	name := fs.PathJoin("data", snapshotName)
	opening(func(s *Store) error {
		err := s.SaveApp(ctx, &app.App{ID: 1, Admins: []string{app.BuiltInAdmin}, Attributes: *attrs})
		return errors.Join(err, set(s, "stays", "old"), set(s, "goes", "old"))
	})
	if err := fs.Link(name, "older"); err != nil {
		t.Fatal(err)
	}
	opening(func(s *Store) error {
		_, err := s.Delete(ctx, 1, audience.UserID, []string{"goes"})
		return errors.Join(err, set(s, "stays", "new"), set(s, "comes", "new"), s.db.Flush())
	})
	opening(func(s *Store) error { return s.db.Compact(ctx, []byte{0}, []byte{0xff}, false) })
	if err := errors.Join(fs.Remove(name), fs.Link("older", name)); err != nil {
		t.Fatal(err)
	}
	opening(func(s *Store) error {
		users, err := s.Users(ctx, 1, []string{"stays", "goes", "comes"})
		if err == nil && (users[0].Values[0] != "new" || users[1].Exists || !users[2].Exists) {
			t.Errorf("the users are %+v", users)
		}
		return err
	})
}
