package lsm_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/store"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/testenv"
)

const (
	backupsDir = "/backups"
	newDir     = "/var/lib/restored"
)

// historian makes one change after the other, and knows what the store was after each.
type historian struct {
	*testing.T
	r *rand.Rand

	mu      sync.Mutex
	digests map[uint64]string // by the position of the last group
}

// run makes changes. Each is one group, and the digests are those of the time when
// nothing else is under way.
func (h *historian) run(s *opened, changes int) {
	for range changes {
		app, account := id+uint32(h.r.IntN(3)), fmt.Sprint("user", h.r.IntN(30))
		var err error
		switch h.r.IntN(12) {
		case 0:
			_, err = s.Delete(h.Context(), app, audience.UserID, []string{account})
		case 1:
			_ = s.Revoke(h.Context(), app, account, time.Unix(int64(h.r.IntN(1e9)), 0)) // of one who may not exist
		case 2:
			if h.r.IntN(4) == 0 {
				_ = s.DeleteApp(h.Context(), app) // which may not exist
				h.note(s)
			}
			err = s.SaveApp(h.Context(), storetest.NewApp(app))
		case 3:
			_, err = s.lsm.Checkpoint(h.Context())
		default:
			c := set(account, strings.Repeat("v", h.r.IntN(50)+1))
			c.Profile.Nick = new(strings.Repeat("n", h.r.IntN(400)))
			c.Tags = audience.TagEdit{Op: audience.AddTags, Tags: []string{fmt.Sprint("tag", h.r.IntN(9))}}
			_, err = s.Change(h.Context(), app, []audience.Change{c})
		}
		if err != nil {
			h.Error(err)
			return
		}
		h.note(s)
	}
}

// note remembers what the store is.
func (h *historian) note(s *opened) {
	digests := s.lsm.Digests(h.T)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.digests[s.lsm.Position()] = digests
}

// TestBackupHistory: backups that are made all the time, over power losses, are each what
// the store was after the group with which they end.
func TestBackupHistory(t *testing.T) {
	seed := testenv.Seed(t)
	t.Logf("seed %d", seed)
	h := &historian{T: t, r: rand.New(rand.NewPCG(seed, 9)), digests: map[uint64]string{}}
	fs := faulty.NewDisk(t, dir)
	made := 0
	for range testenv.Rounds(4) {
		s := open(t, fs)
		for app := range uint32(3) {
			if err := s.SaveApp(t.Context(), storetest.NewApp(id+app)); err != nil {
				t.Fatal(err)
			}
			h.note(s)
		}
		end := make(chan struct{})
		var backups []store.Backup
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				b, err := s.lsm.Backup(t.Context(), path.Join(backupsDir, fmt.Sprint(made, "-", i)), false, nil)
				if err != nil {
					t.Error(err)
					return
				}
				backups = append(backups, b)
				select {
				case <-end:
					return
				default:
				}
			}
		})
		h.run(s, 60)
		close(end)
		wg.Wait()
		for _, b := range backups {
			h.compare(fs, b)
		}
		made += len(backups)
		if t.Failed() {
			return
		}
		lost := faulty.CrashKeeping(fs, dir, []int{0, 50}[h.r.IntN(2)], h.r)
		s.Close()
		fs = lost
	}
	t.Logf("%d backups", made)
}

// compare restores a backup.
func (h *historian) compare(fs vfs.FS, b store.Backup) {
	h.Helper()
	// All that is written to the file system meanwhile is another one's.
	mine := faulty.Copy(fs.(*vfs.MemFS))
	o := lsm.Options{FS: mine, Logger: quiet}
	if _, _, err := lsm.VerifyBackup(h.Context(), b.Dir, o, nil); err != nil {
		h.Errorf("%+v: VerifyBackup: %v", b, err)
	}
	restored, err := lsm.Restore(h.Context(), b.Dir, newDir, o, lsm.RestoreOptions{KeepTickets: true})
	if err != nil {
		h.Errorf("%+v: Restore: %v", b, err)
		return
	}
	s, err := lsm.Open(newDir, o)
	if err != nil {
		h.Errorf("%+v: Open: %v", b, err)
		return
	}
	h.mu.Lock()
	want := h.digests[b.Position]
	h.mu.Unlock()
	if got := s.Digests(h.T); got != want || restored.Position != b.Position {
		h.Errorf("%+v was restored to %+v\n%s\nat its end the store was\n%s", b, restored, got, want)
	}
	if err := s.Close(); err != nil {
		h.Error(err)
	}
	for _, at := range []string{newDir, b.Dir} {
		if found := findings(h.T, mine, at); len(found) > 0 {
			h.Errorf("check of %s: %q", at, found)
		}
	}
}

// takenAway makes a backup, and takes away much of what is in it. It returns the backup.
func takenAway(t *testing.T, fs vfs.FS) store.Backup {
	t.Helper()
	s := open(t, fs)
	a, other := storetest.NewApp(id), storetest.NewApp(id+1)
	a.Admins = []string{app.BuiltInAdmin, "ops", "robot"}
	a.Keys = append(a.Keys, app.Key{ID: 2, Secret: "second"}, app.Key{ID: 3, Secret: "third"})
	a.AppKeys = []app.AppKey{{ID: 1, Secret: "shipped"}, {ID: 2, Secret: "leaked"}}
	a.Certificates = []app.Certificate{{ID: 1, Version: 1}, {ID: 2, Version: 1}, {ID: 3, Version: 1}}
	blocked := *a
	blocked.AppKeys = a.AppKeys[:1]
	blocked.Certificates = []app.Certificate{{ID: 2, Version: 2, Replaced: time.Unix(1_800_000_000, 0)}, {ID: 3, Version: 1}}
	blocked.Admins = []string{app.BuiltInAdmin, "ops"}
	blocked.Keys = []app.Key{a.Keys[0], {ID: 3, Secret: "third", Ends: time.Unix(1_800_000_000, 0)}}
	blocked.Status = app.Suspended
	blocked.Settings.BlockedAccounts = []string{"eve"}
	for _, a := range []*app.App{a, other} {
		if err := s.SaveApp(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	mustChange(t, s, set("doomed", "1"), set("again", "2"), set("kicked", "3"), set("stays", "4"))
	if err := s.Revoke(t.Context(), id, "stays", time.Unix(5, 0)); err != nil {
		t.Fatal(err)
	}
	b, err := s.lsm.Backup(t.Context(), backupsDir+"/one", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(t.Context(), id, audience.UserID, []string{"doomed", "again"}); err != nil {
		t.Fatal(err)
	}
	mustChange(t, s, set("again", "2"), set("new", "5"))
	for account, second := range map[string]int64{"kicked": 1_900_000_000, "stays": 4} {
		if err := s.Revoke(t.Context(), id, account, time.Unix(second, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveApp(t.Context(), &blocked); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteApp(t.Context(), id+1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRestoreReturns: what was taken away after a backup is listed, and all tickets are
// invalid, unless they are to stay.
func TestRestoreReturns(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	b := takenAway(t, disk)
	before := faulty.Tree(t, disk, dir)
	for _, keep := range []bool{false, true} {
		fs := faulty.Copy(disk)
		o := lsm.Options{FS: fs, Logger: quiet}
		var got []string
		began := time.Now().Unix()
		restored, err := lsm.Restore(t.Context(), b.Dir, newDir, o, lsm.RestoreOptions{
			KeepTickets: keep, Compare: dir,
			Returned: func(r store.Returned) {
				got = append(got, fmt.Sprintf("%d %s %s: %s", r.App-id, r.Kind, r.Name, r.What))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			`0 access : the app was suspended, and is enabled again`,
			`0 access eve: account "eve" was blocked, and is not any more`,
			`0 admin robot: "robot" was removed from the admins, and is one again`,
			`0 appkey 2: AppKey 2 was removed, and is accepted again`,
			`0 channel 1: certificate 1 was removed, and is used again`,
			`0 channel 2: certificate 2 has the credential back that was replaced at 2027-01-15T08:00:00Z`,
			`0 key 2: key 2 was removed, and is accepted again`,
			`0 key 3: key 3 was to end at 2027-01-15T08:00:00Z, and does not`,
			`0 tickets kicked: the tickets of "kicked" were made invalid`,
			`0 user again: "again" was deleted and made again, and has what it had before`,
			`0 user doomed: "doomed" was deleted, and is there again`,
			`1 app : the app was deleted, and is there again with all its users, keys and admins`,
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("it lists\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if restored.Apps != 2 || restored.Users != 8 || restored.Certificates != 3 || b.Certificates != 3 || restored.TicketsEnded.IsZero() != keep {
			t.Errorf("Restore = %+v", restored)
		}
		s, err := lsm.Open(newDir, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, account := range []string{"kicked", "doomed", "stays"} {
			second, err := s.Users.RevokedUpTo(t.Context(), id, account)
			wanted := map[string]int64{"stays": 5}[account]
			if err != nil || keep && second != wanted || !keep && (second < began || second > time.Now().Unix()) {
				t.Errorf("tickets kept %v: those of %s are invalid up to %d, %v", keep, account, second, err)
			}
		}
		s.Close()
		if !maps.Equal(before, faulty.Tree(t, fs, dir)) {
			t.Error("comparing changed the directory")
		}
	}
	foreign := faulty.Copy(disk)
	if err := foreign.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := foreign.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	filled(t, foreign, dir)
	_, err := lsm.Restore(t.Context(), b.Dir, newDir, lsm.Options{FS: foreign, Logger: quiet}, lsm.RestoreOptions{Compare: dir})
	if err == nil || !strings.Contains(err.Error(), "nothing to do with the backup") {
		t.Errorf("compared with another directory: %v", err)
	}
}

// TestCheckBackup: a check of a backup names the files that are not as they were written.
func TestCheckBackup(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	b := takenAway(t, disk)
	if got := findings(t, disk, b.Dir); len(got) > 0 {
		t.Errorf("findings %q", got)
	}
	files := faulty.Files(t, disk, b.Dir)
	for name, content := range files {
		if content == "" {
			continue
		}
		damaged := faulty.Copy(disk)
		faulty.Write(t, damaged, name, []byte(content[:len(content)-1]+"\x07"))
		got := findings(t, damaged, b.Dir)
		if len(got) != 1 || !strings.HasPrefix(got[0], name+": ") {
			t.Errorf("%s is damaged, findings %q", name, got)
		}
		if _, _, err := lsm.VerifyBackup(t.Context(), b.Dir, lsm.Options{FS: damaged, Logger: quiet}, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is damaged: VerifyBackup = %v", name, err)
		}
	}
}
