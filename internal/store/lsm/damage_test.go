package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/testenv"
)

// history is a directory in several states, each made from the one before.
type history struct {
	fs     *vfs.MemFS
	stamp  int
	killed *vfs.MemFS // as a killed process leaves it

	segment string // of the log, that the last group is in
	last    int    // where that begins
}

// live makes changes of every kind, with checkpoints between them, so that there are two
// checkpoints, several segments of the log, and tables in several files.
func (h *history) live(t testing.TB) {
	t.Helper()
	s, err := tryOpen(h.fs, lsm.Options{MemtableSize: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(app uint32, changes ...audience.Change) {
		t.Helper()
		failures, err := s.Change(ctx, app, changes)
		if err == nil && len(failures) > 0 {
			err = failures[0].Err
		}
		must(err)
	}
	must(s.SaveApp(ctx, storetest.NewApp(id)))
	must(s.SaveApp(ctx, storetest.NewApp(id+1)))
	for range 3 {
		for i := range 40 {
			h.stamp++
			account := fmt.Sprint("user", (h.stamp*7)%60)
			nick := strings.Repeat("n", h.stamp%300)
			c := set(account, fmt.Sprint("v", h.stamp))
			c.Tags = audience.TagEdit{Op: audience.ReplaceTags, Tags: []string{"all", fmt.Sprint("t", h.stamp%5)}}
			c.Profile = audience.Profile{Nick: &nick, FaceURL: &account}
			change(uint32(id+i%2), c)
			switch i {
			case 20:
				_, err := s.Delete(ctx, id, audience.UserID, []string{account})
				must(err)
			case 25:
				must(s.Revoke(ctx, id+1, "administrator", time.Unix(int64(h.stamp), 0)))
			}
		}
		_, err := s.lsm.Checkpoint(ctx)
		must(err)
	}
	must(s.DeleteApp(ctx, id+1))
	must(s.SaveApp(ctx, storetest.NewApp(id+1)))
	change(id+1, set("again", fmt.Sprint(h.stamp)))
	for i := range 30 {
		change(id, set(fmt.Sprint("last", i), strings.Repeat("x", 50)))
	}
	before := faulty.Files(t, h.fs, dir+"/log")
	change(id, set("last", fmt.Sprint("group", h.stamp)))
	for name, b := range faulty.Files(t, h.fs, dir+"/log") {
		if strings.HasPrefix(b, before[name]) && strings.Contains(b[len(before[name]):], "group") {
			h.segment, h.last = name, len(before[name])
		}
	}
	h.killed = faulty.Copy(h.fs)
	must(s.Close())
}

// told returns all that a store says of its apps and users.
func told(s storetest.Store) (string, error) {
	var out strings.Builder
	ctx := context.Background()
	apps, err := s.Apps(ctx)
	if err != nil {
		return "", err
	}
	for _, a := range apps {
		fmt.Fprintf(&out, "app %d %v\n", a.ID, a.Admins)
		if err := s.Export(ctx, a.ID, nil, func(*audience.Attributes) error { return nil }, func(e *audience.Exported) error {
			up, err := s.RevokedUpTo(ctx, a.ID, e.Account)
			fmt.Fprintf(&out, "%s %d %q %q %q %.20q %d\n", e.Account, e.Kind, e.Values, e.Tags, e.Nick, e.FaceURL, up)
			return err
		}); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

// contentOf opens a directory and returns what it says, and what a check finds, of the
// directory before it was opened.
func contentOf(t testing.TB, fs *vfs.MemFS) (content string, found []string, err error) {
	t.Helper()
	before := faulty.Files(t, fs, dir)
	_, err = lsm.CheckDir(t.Context(), dir, lsm.Options{FS: fs, Logger: quiet}, func(f store.Finding) {
		found = append(found, f.Where+": "+f.What)
	})
	if err != nil {
		found = append(found, err.Error())
	}
	unchanged(t, "a check", before, faulty.Files(t, fs, dir))
	s, err := tryOpen(fs, lsm.Options{})
	if err != nil {
		unchanged(t, "an opening that failed with "+err.Error(), before, faulty.Files(t, fs, dir))
		return "", found, err
	}
	content, err = told(s)
	return content, found, errors.Join(err, s.Close())
}

func unchanged(t testing.TB, what string, before, after map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if before[name] != after[name] {
			t.Errorf("%s changed %s", what, name)
		}
	}
	if len(before) != len(after) {
		t.Errorf("%s left %q", what, slices.Sorted(maps.Keys(after)))
	}
}

// mentions reports whether a file is named, by what was found or why it was not opened.
func mentions(name string, found []string, err error) bool {
	text := strings.Join(found, "\n") + fmt.Sprint(err)
	base := path.Base(name)
	if strings.Contains(name, "/db/") {
		// Pebble says which of its files it is by number, or the database as a whole is
		// named: the way out is the same.
		return strings.Contains(text, base) || strings.Contains(text, "database") || strings.Contains(text, path.Dir(name)+" is damaged") || strings.Contains(text, strings.TrimSuffix(base, ".sst"))
	}
	return strings.Contains(text, name)
}

// TestFlips: one bit is flipped anywhere in any file of a directory. A check or the
// opening names the file, or what is read is right and complete, but for the last group
// of the log, which cannot be told from one that was being written.
func TestFlips(t *testing.T) {
	h := &history{fs: faulty.NewDisk(t, dir)}
	for range 20 { // each start makes a file of what the one before left in the log of the tables
		if h.live(t); len(tableFiles(t, h.fs)) > 1 && len(tableFiles(t, h.killed)) > 1 {
			break
		}
	}
	for name, fs := range map[string]*vfs.MemFS{"closed": h.fs, "killed": h.killed} {
		t.Run(name, func(t *testing.T) { flips(t, fs, h.segment, h.last) })
	}
}

// tableFiles are the files of the tables.
func tableFiles(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(dir + "/db")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return path.Ext(name) != ".sst" })
}

func flips(t *testing.T, fs *vfs.MemFS, segment string, last int) {
	want, found, err := contentOf(t, faulty.Copy(fs))
	if err != nil || len(found) > 0 {
		t.Fatalf("undamaged, it has findings %q, %v", found, err)
	}
	files := faulty.Files(t, fs, dir)
	if tables := tableFiles(t, fs); len(tables) < 2 {
		t.Errorf("the tables are in %q", tables)
	}
	seed := testenv.Seed(t)
	r := rand.New(rand.NewPCG(seed, 8))
	named, right := 0, 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		good := files[name]
		if good == "" {
			continue // the name of a marker is what it says
		}
		places := []int{0, len(good) - 1}
		for range testenv.Rounds(4) {
			places = append(places, r.IntN(len(good)))
		}
		for _, i := range places {
			bad := []byte(good)
			bad[i] ^= 1 << r.IntN(8)
			fs := faulty.Copy(fs)
			faulty.Write(t, fs, name, bad)
			content, found, err := contentOf(t, fs)
			switch {
			case mentions(name, found, err):
				named++
			case err == nil && content == want:
				right++
			case name == segment && i >= last:
			default:
				t.Errorf("seed %d: byte %d of %s, of %d bytes, is flipped: findings %q, %v; the content is right: %v", seed, i, name, len(good), found, err, content == want)
			}
		}
	}
	t.Logf("%d files, %d flips were named, %d did no harm", len(files), named, right)
}

// TestLostFiles: each file is removed, and cut at some places.
func TestLostFiles(t *testing.T) {
	h := &history{fs: faulty.NewDisk(t, dir)}
	h.live(t)
	want, _, err := contentOf(t, faulty.Copy(h.fs))
	if err != nil {
		t.Fatal(err)
	}
	files := faulty.Files(t, h.fs, dir)
	r := rand.New(rand.NewPCG(testenv.Seed(t), 9))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		size := len(files[name])
		sizes := []int{-1, 0}
		for range testenv.Rounds(3) {
			if size > 1 {
				sizes = append(sizes, 1+r.IntN(size-1))
			}
		}
		for _, n := range sizes {
			fs := faulty.Copy(h.fs)
			if n < 0 {
				if err := fs.Remove(name); err != nil {
					t.Fatal(err)
				}
			} else {
				faulty.Write(t, fs, name, []byte(files[name][:n]))
			}
			content, found, err := contentOf(t, fs)
			switch {
			case err == nil && content == want:
			case err != nil || len(found) > 0:
			case name == h.segment && n >= h.last:
			default:
				t.Errorf("%s, of %d bytes, has %d: findings %q, %v", name, size, n, found, err)
			}
		}
	}
}

// TestDamagedCheckpoints: with the newest damaged nothing is lost, with both it is said
// which cannot be read.
func TestDamagedCheckpoints(t *testing.T) {
	h := &history{fs: faulty.NewDisk(t, dir)}
	h.live(t)
	want, _, err := contentOf(t, faulty.Copy(h.fs))
	if err != nil {
		t.Fatal(err)
	}
	names, err := h.fs.List(dir + "/checkpoints")
	if err != nil || len(names) != 2 {
		t.Fatalf("checkpoints are %q, %v", names, err)
	}
	slices.Sort(names)
	for _, c := range []struct {
		damaged []string
		opens   bool
	}{{names[1:], true}, {names[:1], true}, {names, false}} {
		fs := faulty.Copy(h.fs)
		for _, name := range c.damaged {
			b := faulty.Read(t, fs, dir+"/checkpoints/"+name)
			b[len(b)/3] ^= 4
			faulty.Write(t, fs, dir+"/checkpoints/"+name, b)
		}
		content, found, err := contentOf(t, fs)
		switch {
		case c.opens && (err != nil || content != want):
			t.Errorf("%q are damaged: %v, the content is right: %v", c.damaged, err, content == want)
		case !c.opens && err == nil:
			t.Errorf("%q are damaged, and it opens", c.damaged)
		}
		for _, name := range c.damaged {
			if !mentions(dir+"/checkpoints/"+name, found, err) && !(len(c.damaged) == 2 && mentions(dir+"/checkpoints/"+names[1], found, err)) {
				t.Errorf("%s is damaged: findings %q, %v", name, found, err)
			}
		}
	}
}

// TestMixedDirectories: tables, log and checkpoints of directories that were made on
// their own, of one at two times, and of two continuations of a copy are refused
// together, or are right for one of them.
func TestMixedDirectories(t *testing.T) {
	early := &history{fs: faulty.NewDisk(t, dir)}
	early.live(t)
	late := &history{fs: faulty.Copy(early.fs), stamp: early.stamp}
	late.live(t)
	other := &history{fs: faulty.Copy(early.fs), stamp: 5000}
	other.live(t)
	stranger := &history{fs: faulty.NewDisk(t, dir), stamp: 9000}
	stranger.live(t)
	all := []*vfs.MemFS{early.fs, late.fs, other.fs, stranger.fs, late.killed}
	names := []string{"early", "late", "other", "stranger", "killed"}
	var contents []string
	for _, fs := range all {
		c, _, err := contentOf(t, faulty.Copy(fs))
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, c)
	}
	refused, right := 0, 0
	for a := range all {
		for b := range all {
			for c := range all {
				fs := vfs.NewCrashableMem()
				for part, from := range map[string]*vfs.MemFS{"db": all[a], "log": all[b], "checkpoints": all[c]} {
					if err := fs.MkdirAll(dir+"/"+part, 0o755); err != nil {
						t.Fatal(err)
					}
					for name, content := range faulty.Files(t, from, dir+"/"+part) {
						faulty.Write(t, fs, name, []byte(content))
					}
				}
				what := fmt.Sprintf("db of %s, log of %s, checkpoints of %s", names[a], names[b], names[c])
				content, found, err := contentOf(t, fs)
				switch {
				case err != nil:
					if refused++; len(found) == 0 {
						t.Errorf("%s: refused with %v, and a check finds nothing", what, err)
					}
					if a == b && b == c {
						t.Errorf("%s: %v", what, err)
					}
				case content == contents[b]: // the log is the truth
					right++
				default:
					t.Errorf("%s: it opens and is none of them", what)
				}
			}
		}
	}
	t.Logf("%d refused, %d right", refused, right)
}

// TestOldTables: tables that are older than the log are brought up to date, or refused
// if the log no longer has what they lack, also if it is one bit in the last edit of
// their manifest that makes them so.
func TestOldTables(t *testing.T) {
	h := &history{fs: faulty.NewDisk(t, dir)}
	h.live(t)
	want, _, err := contentOf(t, faulty.Copy(h.fs))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(testenv.Seed(t), 10))
	for _, from := range []*vfs.MemFS{h.fs, h.killed} {
		flipped := 0
		for name, manifest := range faulty.Files(t, from, dir+"/db") {
			if !strings.HasPrefix(path.Base(name), "MANIFEST") {
				continue
			}
			for back := 1; back < min(len(manifest), 300); back += 1 + r.IntN(1+240/testenv.Rounds(30)) {
				b := []byte(manifest)
				b[len(b)-back] ^= 1
				fs := faulty.Copy(from)
				faulty.Write(t, fs, name, b)
				content, found, err := contentOf(t, fs)
				if err == nil && content != want || err != nil && len(found) == 0 {
					t.Errorf("bit in byte %d from the end of %s: findings %q, %v, the content is right: %v", back, name, found, err, content == want)
				}
				flipped++
			}
		}
		if flipped == 0 {
			t.Error("there is no manifest")
		}
	}
	for unsynced := range 6 {
		fs := faulty.Crash(h.killed)
		content, found, err := contentOf(t, fs)
		if err != nil || content != want || len(found) > 0 {
			t.Errorf("crashed %d: %q, %v, the content is right: %v", unsynced, found, err, content == want)
		}
	}
}
