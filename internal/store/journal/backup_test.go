package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
	"tidings/internal/testenv"
)

const (
	copyDir  = "/backup/copy" // of a backup
	otherDir = "/var/lib/other"
)

// step makes change n of a run. Each is one group, but for what the store does itself.
func (m *toy) step(n int) error {
	pos, err := m.commit(1, false, func(x *toyApp, b *Batch) {
		apply := func(entry string) {
			b.Memory([]byte(entry))
			x.apply(entry)
		}
		if n%11 == 0 {
			b.Clear()
			b.Raise(tops, []byte("n"), uint64(n))
			apply("drop")
		}
		for k, v := range stepValues(n) {
			b.Set(copies, []byte(k), []byte(v))
			apply("set " + k + " " + v)
		}
	})
	if err != nil {
		return err
	}
	return m.db.Wait(context.Background(), pos)
}

func stepValues(n int) map[string]string {
	return map[string]string{"n": fmt.Sprint(n), fmt.Sprint("k", n%7): fmt.Sprint(n, strings.Repeat("-", n*37%1500))}
}

// afterSteps returns what dump returns after n changes.
func afterSteps(n int) string {
	values, top := map[string]string{}, 0
	for i := 1; i <= n; i++ {
		if i%11 == 0 {
			clear(values)
			top = i
		}
		maps.Copy(values, stepValues(i))
	}
	var out strings.Builder
	if top > 0 {
		fmt.Fprintf(&out, "top 1 n %d\n", top)
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&out, "1 %s %s\n", k, values[k])
	}
	return out.String()
}

// openAt opens a directory.
func openAt(fs vfs.FS, at string, o Options) (*toy, error) {
	o.FS, o.Logger, o.MemtableSize, o.SegmentSize, o.CheckpointLog = fs, quiet, 64<<10, 4<<10, 1<<40
	m := &toy{}
	var err error
	if m.db, err = Open(at, o, m, toyTable...); err != nil {
		return nil, err
	}
	return m, nil
}

// restoreTo makes a directory of the backup in copyDir.
func restoreTo(ctx context.Context, fs vfs.FS, at string, r RestoreOptions) (Restored, error) {
	return Restore(ctx, copyDir, at, Options{FS: fs, Logger: quiet, MemtableSize: 64 << 10, SegmentSize: 4 << 10}, r, &toy{}, toyTable...)
}

// restored restores the backup, opens it, and returns the number of its last change after
// it has compared everything with what that change left.
func restored(t *testing.T, fs vfs.FS, r RestoreOptions) (n int, result Restored) {
	t.Helper()
	result, err := restoreTo(t.Context(), fs, otherDir, r)
	if err != nil {
		t.Fatalf("Restore: %v", err)
	}
	for range 2 { // the second time on what the first start left
		m, err := openAt(fs, otherDir, Options{})
		if err != nil {
			t.Fatalf("Open of what was restored: %v", err)
		}
		_, _ = fmt.Sscan(m.app(1).values["n"], &n)
		if got, want := m.state(t), afterSteps(n); got != want {
			t.Fatalf("restored\n%.500s\nafter change %d it was\n%.500s", got, n, want)
		}
		if m.db.Applied() <= result.End {
			t.Errorf("the new history is at group %d, the old one ended with %d", m.db.Applied(), result.End)
		}
		m.close(t)
	}
	if err := errors.Join(fs.RemoveAll(otherDir), syncDir(fs, "/var/lib")); err != nil {
		t.Fatal(err)
	}
	return n, result
}

// TestBackup: backups are made one after the other while changes and checkpoints are made
// too. Each holds the directory as it was after some change, no earlier than those that were
// answered before it began.
func TestBackup(t *testing.T) {
	for _, segment := range []int64{4 << 10, 1} { // with 1, each group has a segment of its own
		t.Run(fmt.Sprint(segment), func(t *testing.T) { testBackup(t, segment) })
	}
}

func testBackup(t *testing.T, segment int64) {
	fs := faulty.NewDisk(t, dir)
	m, err := openToy(fs, Options{SegmentSize: segment})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	done, ctx := 0, t.Context()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			if err := m.step(n); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			done = n
			mu.Unlock()
			if n%20 == 0 {
				m.checkpoint(t)
			}
		}
	})
	answered := func() int {
		mu.Lock()
		defer mu.Unlock()
		return done
	}
	for i := range testenv.Rounds(8) {
		for answered() < i*15 {
		}
		before := answered()
		made, err := m.db.Backup(t.Context(), copyDir, BackupOptions{})
		if err != nil {
			t.Fatal(err)
		}
		after := answered()
		if made.End < made.Tables || made.End < made.Checkpoint {
			t.Errorf("the backup ends with group %d, its tables with %d, its checkpoint with %d", made.End, made.Tables, made.Checkpoint)
		}
		n, result := restored(t, fs, RestoreOptions{})
		if n < before || n > after+1 || result.End != made.End || !result.Ended {
			t.Errorf("restored change %d, group %d of %d; the backup was made from change %d to %d", n, result.End, made.End, before, after)
		}
		if err := fs.RemoveAll(copyDir); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
	m.close(t)
	if names, err := fs.List(dir); err != nil || slices.Contains(names, backupDir) {
		t.Errorf("the data directory has %q, %v", names, err)
	}
}

// TestBackupKilled: a power loss at any moment of a backup leaves a data directory that
// opens as it was, and a backup that is complete or says that it is not.
func TestBackupKilled(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	r := rand.New(rand.NewPCG(testenv.Seed(t), 6))
	type moment struct {
		fs *vfs.MemFS
		at string
	}
	var mu sync.Mutex
	var moments []moment
	looking := false
	fs := &faulty.FS{FS: disk, Before: func(op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if looking && (op != "write" || r.IntN(4) == 0) {
			moments = append(moments, moment{faulty.CrashKeeping(disk, dir, []int{0, 50}[r.IntN(2)], r), op + " " + name})
		}
		return nil
	}}
	m := open(t, fs)
	const steps = 30
	for n := 1; n <= steps; n++ {
		if err := m.step(n); err != nil {
			t.Fatal(err)
		}
		if n == 12 {
			m.checkpoint(t)
		}
	}
	mu.Lock()
	looking = true
	mu.Unlock()
	if _, err := m.db.Backup(t.Context(), copyDir, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	looking = false
	moments = append(moments, moment{faulty.Crash(disk), "the end"})
	mu.Unlock()
	m.close(t)
	complete := 0
	for _, c := range moments {
		again, err := openAt(c.fs, dir, Options{})
		if err != nil {
			t.Fatalf("after a power loss at %s: %v", c.at, err)
		}
		if got := again.state(t); got != afterSteps(steps) {
			t.Errorf("after a power loss at %s it is %.300s", c.at, got)
		}
		again.close(t)
		if _, err := c.fs.Stat(dir + "/" + backupDir); !isNotExist(err) {
			t.Errorf("after a power loss at %s a start leaves %s", c.at, backupDir)
		}
		if _, err := c.fs.Stat(copyDir + "/" + manifestFile); isNotExist(err) {
			if _, err := restoreTo(t.Context(), c.fs, otherDir, RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "no complete backup") {
				t.Errorf("after a power loss at %s: Restore = %v", c.at, err)
			}
			continue
		}
		complete++
		if n, _ := restored(t, c.fs, RestoreOptions{}); n != steps {
			t.Errorf("after a power loss at %s change %d was restored", c.at, n)
		}
	}
	t.Logf("%d moments, %d with a complete backup", len(moments), complete)
	if complete == 0 {
		t.Error("the backup does not outlive a power loss")
	}
}

// TestBackupFails: a backup that is cancelled, or whose disk is full, at any moment leaves
// nothing, and the store goes on.
func TestBackupFails(t *testing.T) {
	cancelled := errors.New("cancelled by the operator")
	for _, c := range []struct {
		name string
		want error
	}{{"cancel", cancelled}, {"full disk", syscall.ENOSPC}} {
		t.Run(c.name, func(t *testing.T) {
			disk := faulty.NewDisk(t, dir)
			var mu sync.Mutex
			left := -1                   // operations until it fails
			cancel := func(err error) {} // of the attempt
			fs := &faulty.FS{FS: disk, Before: func(op, name string) error {
				mu.Lock()
				defer mu.Unlock()
				if !strings.HasPrefix(name, copyDir) || op == "close" || op == "remove" {
					return nil
				}
				left--
				switch {
				case left >= 0:
					return nil
				case errors.Is(c.want, cancelled):
					cancel(cancelled)
					return nil
				}
				return c.want
			}}
			m := open(t, fs)
			for n := 1; n <= 20; n++ {
				if err := m.step(n); err != nil {
					t.Fatal(err)
				}
			}
			attempt := func(i int) error {
				ctx, end := context.WithCancelCause(t.Context())
				defer end(nil)
				mu.Lock()
				left, cancel = i, end
				mu.Unlock()
				_, err := m.db.Backup(ctx, copyDir, BackupOptions{})
				return err
			}
			failed := 0
			for i := 0; ; i++ {
				err := attempt(i)
				if err == nil {
					break
				}
				failed++
				if !errors.Is(err, c.want) {
					t.Errorf("at operation %d: %v, want %v", i, err, c.want)
				}
				for _, gone := range []string{copyDir, dir + "/" + backupDir} {
					if _, err := disk.Stat(gone); !isNotExist(err) {
						t.Fatalf("at operation %d: %s is left, %v", i, gone, err)
					}
				}
			}
			if failed < 10 {
				t.Errorf("the backup failed at %d operations only", failed)
			}
			if err := m.step(21); err != nil {
				t.Error(err)
			}
			m.close(t)
		})
	}
}

// TestBackupBesideCheckpoint: while the files of a backup are linked no checkpoint is
// written, and so nothing is removed that it needs; while they are copied, one is.
func TestBackupBesideCheckpoint(t *testing.T) {
	for _, held := range []string{"link " + dir + "/" + backupDir + "/log", "create " + copyDir + "/log"} {
		synctest.Test(t, func(t *testing.T) {
			disk, gate := faulty.NewDisk(t, dir), &faulty.Gate{}
			m := open(t, &faulty.FS{FS: disk, Before: func(op, name string) error {
				if strings.HasPrefix(op+" "+name, held) {
					gate.Pass()
				}
				return nil
			}})
			step := func(n int) {
				if err := m.step(n); err != nil {
					t.Error(err)
				}
			}
			for n := 1; n <= 30; n++ {
				step(n)
				if n%10 == 0 {
					m.checkpoint(t)
				}
			}
			gate.Shut()
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := m.db.Backup(context.Background(), copyDir, BackupOptions{}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			written := make(chan bool, 3)
			wg.Go(func() {
				for n := 31; n <= 33; n++ {
					step(n)
					m.checkpoint(t)
					written <- true
				}
			})
			synctest.Wait()
			if n, linking := len(written), strings.HasPrefix(held, "link"); linking && n > 0 || !linking && n < 3 {
				t.Errorf("%s is held, and %d checkpoints were written", held, n)
			}
			gate.Lift()
			wg.Wait()
			if n, _ := restored(t, disk, RestoreOptions{}); n < 30 {
				t.Errorf("restored change %d", n)
			}
			m.close(t)
		})
	}
}

// TestBackupWithoutLinks: where files have no second names they are copied, while no
// checkpoint is written, unless the log has become too long for that.
func TestBackupWithoutLinks(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	m := open(t, &faulty.FS{FS: disk, Before: func(op, _ string) error {
		if op == "link" {
			return syscall.ENOTSUP
		}
		return nil
	}})
	for n := 1; n <= 30; n++ {
		if err := m.step(n); err != nil {
			t.Fatal(err)
		}
	}
	m.checkpoint(t)
	m.db.checkpoints.behind.Store(true)
	if _, err := m.db.Backup(t.Context(), copyDir, BackupOptions{}); !errors.Is(err, errLinks) {
		t.Errorf("Backup while changes are slowed = %v, want %v", err, errLinks)
	}
	m.db.checkpoints.behind.Store(false)
	if _, err := m.db.Backup(t.Context(), copyDir, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, _ := restored(t, disk, RestoreOptions{}); n != 30 {
		t.Errorf("restored change %d", n)
	}
	m.close(t)
}

// TestBackupPlace: a backup goes to an empty place outside of the data directory, one at a
// time.
func TestBackupPlace(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	gate := &faulty.Gate{}
	at := make(chan struct{}, 1)
	fs := &faulty.FS{FS: disk, Before: func(op, name string) error {
		if op == "create" && strings.HasPrefix(name, copyDir+"/log") {
			select {
			case at <- struct{}{}:
			default:
			}
			gate.Pass()
		}
		return nil
	}}
	m := open(t, fs)
	m.mustSet(t, 1, "a", "b")
	fails := func(place, want string) {
		t.Helper()
		before := faulty.Tree(t, disk, "/")
		if _, err := m.db.Backup(t.Context(), place, BackupOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Backup to %s: %v, want %q", place, err, want)
		}
		if after := faulty.Tree(t, disk, "/"); !maps.Equal(before, after) {
			t.Errorf("Backup to %s changed files", place)
		}
	}
	fails(dir, "in the data directory")
	fails(dir+"/backup", "in the data directory")
	fails(dir+"/../toy/x/../y", "in the data directory")
	if err := disk.MkdirAll("/full", 0o700); err != nil {
		t.Fatal(err)
	}
	faulty.Write(t, disk, "/full/file", nil)
	fails("/full", "/full is not empty: there is file in it")
	gate.Shut()
	first := make(chan error, 1)
	go func() {
		_, err := m.db.Backup(context.Background(), copyDir, BackupOptions{})
		first <- err
	}()
	<-at
	fails("/backup/second", errBackupRuns.Error())
	// Close ends a backup that is being made.
	closed := make(chan error, 1)
	go func() { closed <- m.db.Close() }()
	<-m.db.ends
	gate.Lift()
	if err := <-first; err != nil && !errors.Is(err, errClosed) {
		t.Errorf("Backup = %v, want %v", err, errClosed)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := m.db.Backup(t.Context(), copyDir, BackupOptions{}); !errors.Is(err, errClosed) {
		t.Errorf("Backup of a closed store = %v", err)
	}
}

// backedUp makes a backup of a directory after some changes.
func backedUp(t *testing.T, fs vfs.FS, steps int) {
	t.Helper()
	m := open(t, fs)
	for n := 1; n <= steps; n++ {
		if err := m.step(n); err != nil {
			t.Fatal(err)
		}
		if n == steps/2 {
			m.checkpoint(t)
		}
	}
	if _, err := m.db.Backup(t.Context(), copyDir, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	m.close(t)
}

// TestBackupDamaged: whatever is wrong with a backup, restoring names the file and leaves
// nothing.
func TestBackupDamaged(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	backedUp(t, disk, 40)
	r := rand.New(rand.NewPCG(testenv.Seed(t), 7))
	fails := func(what string, fs vfs.FS, name string) {
		t.Helper()
		_, err := restoreTo(t.Context(), fs, otherDir, RestoreOptions{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Restore = %v, want the name %s", what, err, name)
		}
		if _, err := fs.Stat(otherDir); !isNotExist(err) {
			t.Errorf("%s: Restore left %s", what, otherDir)
		}
	}
	for name, content := range faulty.Files(t, disk, copyDir) {
		var places []int
		if content != "" { // those of Pebble's markers have none
			places = []int{0, len(content) - 1, r.IntN(len(content)), r.IntN(len(content))}
		}
		if strings.HasSuffix(name, manifestFile) {
			places = nil
			for i := range content {
				places = append(places, i)
			}
		}
		for _, place := range places {
			damaged := faulty.Copy(disk)
			b := []byte(content)
			b[place] ^= 1 << r.IntN(8)
			faulty.Write(t, damaged, name, b)
			fails(fmt.Sprintf("%s with another bit in byte %d", name, place), damaged, name)
		}
		other := faulty.Copy(disk)
		faulty.Write(t, other, name, []byte(content + "x")[:max(len(content)-1, 1)])
		fails(name+" of another length", other, name)
		missing := faulty.Copy(disk)
		if err := missing.Remove(name); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, manifestFile) {
			fails("no manifest", missing, copyDir+" is no complete backup: it has no manifest.json")
		} else {
			fails(name+" missing", missing, name+" is damaged: the file is missing")
		}
	}
	more := faulty.Copy(disk)
	faulty.Write(t, more, copyDir+"/log/0000009999", []byte("x"))
	fails("a file too many", more, "/log/0000009999 is damaged: it is no file of the backup")
	newer := faulty.Copy(disk)
	manifest := string(faulty.Read(t, newer, copyDir+"/"+manifestFile))
	faulty.Write(t, newer, copyDir+"/"+manifestFile, []byte(strings.Replace(manifest, `"format": 1`, `"format": 2`, 1)))
	fails("a newer format", newer, "use a newer program")
}

// TestRestoreStopped: restoring that is cancelled, or cut off by a power loss, leaves
// nothing, or what is not taken for a data directory.
func TestRestoreStopped(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	backedUp(t, disk, 40)
	if err := disk.MkdirAll("/full", 0o700); err != nil {
		t.Fatal(err)
	}
	faulty.Write(t, disk, "/full/file", nil)
	if _, err := restoreTo(t.Context(), disk, "/full", RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "/full is not empty") {
		t.Errorf("Restore over something = %v", err)
	}
	cancelled := errors.New("cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := restoreTo(ctx, disk, otherDir, RestoreOptions{Progress: func(int64, int64) { cancel(cancelled) }})
	if !errors.Is(err, cancelled) {
		t.Errorf("a cancelled Restore = %v", err)
	}
	if _, err := disk.Stat(otherDir); !isNotExist(err) {
		t.Error("a cancelled Restore leaves its directory")
	}
	r := rand.New(rand.NewPCG(testenv.Seed(t), 8))
	var mu sync.Mutex
	var left []*vfs.MemFS
	fs := &faulty.FS{FS: disk, Before: func(op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(name, otherDir) && (op != "write" || r.IntN(4) == 0) {
			left = append(left, faulty.CrashKeeping(disk, otherDir, 50, r))
		}
		return nil
	}}
	if _, err := restoreTo(t.Context(), fs, otherDir, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	whole := 0
	for i, fs := range append(left, faulty.Crash(disk)) {
		names, err := fs.List(otherDir)
		if err != nil || len(names) == 0 {
			continue
		}
		m, err := openAt(fs, otherDir, Options{})
		switch {
		case err == nil:
			whole++
			if got := m.state(t); got != afterSteps(40) {
				t.Errorf("moment %d: opened as %.300s", i, got)
			}
			m.close(t)
		case !strings.Contains(err.Error(), "a restore that was not finished"):
			t.Errorf("moment %d, with %q: %v", i, names, err)
		}
	}
	if whole == 0 || whole == len(left)+1 {
		t.Errorf("of %d moments, %d have a whole directory", len(left)+1, whole)
	}
}

// TestRestoreFullDisk: if the disk refuses anything but Pebble's own writes, which it
// repeats, nothing is left, and it never comes to half a directory.
func TestRestoreFullDisk(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	backedUp(t, disk, 40)
	for i := 0; ; i++ {
		left, at := i, ""
		fs := &faulty.FS{FS: disk, Before: func(op, name string) error {
			if !strings.HasPrefix(name, otherDir) || strings.Contains(name, "/db") || op == "close" || op == "remove" {
				return nil
			}
			if left--; left != -1 {
				return nil
			}
			at = op + " " + name
			return syscall.ENOSPC
		}}
		_, err := restoreTo(t.Context(), fs, otherDir, RestoreOptions{})
		if err == nil {
			if i < 10 || at != "" {
				t.Errorf("Restore succeeds after %d operations, although %q failed", i, at)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", at, err)
		}
		if _, err := disk.Stat(otherDir); !isNotExist(err) {
			t.Fatalf("%s: %s is left, %v", at, otherDir, err)
		}
	}
}

// TestNewHistory: a backup is not opened for writing, and files of the restored directory
// and of the one before do not fit each other.
func TestNewHistory(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	backedUp(t, disk, 40)
	if _, err := openAt(disk, copyDir, Options{}); err == nil || !strings.Contains(err.Error(), "is a backup") {
		t.Errorf("Open of a backup = %v", err)
	}
	before := faulty.Tree(t, disk, copyDir)
	m, err := openAt(disk, copyDir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.state(t); got != afterSteps(40) {
		t.Errorf("the backup has %.300s", got)
	}
	m.close(t)
	if !maps.Equal(before, faulty.Tree(t, disk, copyDir)) {
		t.Error("reading a backup changed it")
	}
	if _, err := restoreTo(t.Context(), disk, otherDir, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	histories := map[uint64]bool{}
	for _, at := range []string{dir, otherDir} {
		m, err := openAt(disk, at, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		histories[m.db.tables.history] = true
		m.close(t)
	}
	if len(histories) != 2 {
		t.Error("the restored directory has the history of the one before")
	}
	for _, part := range []string{logDir, checkpointDir} {
		names, err := disk.List(dir + "/" + part)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			mixed := faulty.Copy(disk)
			faulty.Write(t, mixed, otherDir+"/"+part+"/"+name, faulty.Read(t, disk, dir+"/"+part+"/"+name))
			if part == checkpointDir {
				// Its own is newer, or has the same name and is lost.
				if m, err := openAt(mixed, otherDir, Options{ReadOnly: true}); err == nil {
					if got := m.state(t); got != afterSteps(40) {
						t.Errorf("with checkpoint %s of before: %.300s", name, got)
					}
					m.close(t)
				}
				continue
			}
			if _, err := openAt(mixed, otherDir, Options{ReadOnly: true}); err == nil {
				t.Errorf("opened with %s/%s of before", part, name)
			}
		}
	}
}
