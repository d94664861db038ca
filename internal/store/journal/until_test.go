package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
)

// secondly makes one change a second, a checkpoint after every third, and a backup after
// one. It returns the second of each change.
func secondly(t *testing.T, fs vfs.FS, keep time.Duration, steps, backup int) map[int]time.Time {
	t.Helper()
	m, err := openAt(fs, dir, Options{KeepLog: keep})
	if err != nil {
		t.Fatal(err)
	}
	seconds := map[int]time.Time{}
	for n := 1; n <= steps; n++ {
		time.Sleep(time.Second)
		if err := m.step(n); err != nil {
			t.Fatal(err)
		}
		seconds[n] = time.Unix(time.Now().Unix(), 0)
		if n%3 == 0 {
			m.checkpoint(t)
		}
		if n == backup {
			if _, err := m.db.Backup(t.Context(), copyDir, BackupOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.close(t)
	return seconds
}

// TestRestoreUntil restores a backup and the log since to seconds after it.
func TestRestoreUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const steps, backup = 40, 10
		fs := faulty.NewDisk(t, dir)
		seconds := secondly(t, fs, time.Hour, steps, backup)
		kept, err := segments(fs, dir+"/"+keptDir)
		if err != nil || len(kept) < 3 {
			t.Fatalf("kept segments %d, %v", kept, err)
		}
		for _, n := range []int{backup, backup + 1, 17, 18, 19, 39, steps} {
			// Half a second later nothing has changed.
			until := seconds[n].Add(500 * time.Millisecond)
			got, result := restored(t, fs, RestoreOptions{Until: until, Logs: []string{dir}})
			if got != n || result.Second != seconds[n].Unix() || result.Ended != (n == steps) {
				t.Errorf("until change %d: restored %d, %+v", n, got, result)
			}
		}
		for _, r := range []RestoreOptions{
			{Logs: []string{dir}},
			{Until: seconds[steps].Add(time.Hour), Logs: []string{dir + "/" + logDir, dir + "/" + keptDir}},
		} {
			if got, result := restored(t, fs, r); got != steps || !result.Ended {
				t.Errorf("with all of the log: restored %d, %+v", got, result)
			}
		}
		if got, result := restored(t, fs, RestoreOptions{Until: seconds[steps]}); got != backup || !result.Ended {
			t.Errorf("without the log: restored %d, %+v", got, result)
		}
		_, err = restoreTo(t.Context(), fs, otherDir, RestoreOptions{Until: seconds[backup-1], Logs: []string{dir}})
		var early *TooEarly
		if !errors.As(err, &early) || !early.Earliest.Equal(seconds[backup]) {
			t.Errorf("before the backup: %v, want the time %s", err, seconds[backup])
		}
		_, err = restoreTo(t.Context(), fs, otherDir, RestoreOptions{Logs: []string{dir + "/" + checkpointDir}})
		if err == nil {
			t.Error("restored with checkpoints for a log")
		}
		testGaps(t, fs, kept, seconds[steps])
	})
}

// testGaps restores with a segment of the log missing, and with one of another directory.
func testGaps(t *testing.T, disk *vfs.MemFS, kept []uint64, until time.Time) {
	t.Helper()
	r := RestoreOptions{Until: until, Logs: []string{dir}}
	last := dir + "/" + keptDir + "/" + segmentName(kept[len(kept)-1])
	if err := syncDir(disk, "/var/lib"); err != nil { // for what was removed
		t.Fatal(err)
	}
	gap := faulty.Copy(disk)
	if err := gap.Remove(last); err != nil {
		t.Fatal(err)
	}
	if _, err := restoreTo(t.Context(), gap, otherDir, r); err == nil || !strings.Contains(err.Error(), segmentName(kept[len(kept)-1])+" is damaged: the file is missing") {
		t.Errorf("with a gap in the log: %v", err)
	}
	b := faulty.Read(t, disk, last)
	other := faulty.Copy(disk)
	b[len(b)-1] ^= 1
	faulty.Write(t, other, last, b)
	if _, err := restoreTo(t.Context(), other, otherDir, r); err == nil || !strings.Contains(err.Error(), last) {
		t.Errorf("with a damaged segment: %v", err)
	}
	if err := disk.MkdirAll("/foreign", 0o700); err != nil {
		t.Fatal(err)
	}
	foreign, err := openAt(disk, "/foreign", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 60 { // it has segments with the same numbers
		foreign.mustSet(t, 1, "a", fmt.Sprint(n, strings.Repeat("x", 2000)))
	}
	foreign.close(t)
	if _, err := restoreTo(t.Context(), disk, otherDir, RestoreOptions{Logs: []string{"/foreign"}}); err == nil || !strings.Contains(err.Error(), "another data directory") {
		t.Errorf("with the log of another directory: %v", err)
	}
}

// TestKeptLogEnds: segments are kept for as long as was said, also over openings that do
// not know, and no longer than the next opening that says otherwise.
func TestKeptLogEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := faulty.NewDisk(t, dir)
		secondly(t, fs, time.Hour, 20, 5)
		count := func() int {
			numbers, err := segments(fs, dir+"/"+keptDir)
			if err != nil && !isNotExist(err) {
				t.Fatal(err)
			}
			return len(numbers)
		}
		had := count()
		m, err := openAt(fs, dir, Options{KeepLog: KeepAsBefore})
		if err != nil {
			t.Fatal(err)
		}
		for n := 21; n <= 30; n++ {
			time.Sleep(time.Second)
			if err := m.step(n); err != nil {
				t.Fatal(err)
			}
			m.checkpoint(t)
		}
		if count() <= had {
			t.Errorf("an opening that does not know keeps %d segments, there were %d", count(), had)
		}
		time.Sleep(time.Hour - 5*time.Second)
		synctest.Wait()
		if n := count(); n == 0 {
			t.Error("the segments went too early")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := count(); n != 0 {
			t.Errorf("after their time %d segments are there", n)
		}
		m.close(t)
		secondly(t, fs, time.Hour, 10, 0)
		if count() == 0 {
			t.Error("none are kept any more")
		}
		secondly(t, fs, 0, 10, 0)
		if _, err := fs.Stat(dir + "/" + keptDir); !isNotExist(err) {
			t.Errorf("without the setting the directory is there: %v", err)
		}
	})
}

// TestCopied: a directory that was copied while it was open is found out. One that was
// killed, moved, or copied after an orderly end is not.
func TestCopied(t *testing.T) {
	place := t.TempDir()
	at := func(name string) string { return filepath.Join(place, name) }
	copyTo := func(from, to string) {
		t.Helper()
		if err := os.CopyFS(at(to), os.DirFS(at(from))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	m, err := openAt(vfs.Default, at("data"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if inode(must2(vfs.Default.Stat(place))) == 0 {
		t.Skip("the file system has no inode numbers")
	}
	m.mustSet(t, 1, "a", "b")
	copyTo("data", "running-copy")
	opens := func(name string, readOnly bool) error {
		t.Helper()
		m, err := openAt(lockless{vfs.Default}, at(name), Options{ReadOnly: readOnly})
		if err != nil {
			return err
		}
		if got := m.state(t); got != "1 a b\n" {
			t.Errorf("%s has %q", name, got)
		}
		return m.db.Close()
	}
	var copied *Copied
	if err := opens("running-copy", false); !errors.As(err, &copied) || copied.Dir != at("running-copy") {
		t.Errorf("Open of a copy of a running directory = %v", err)
	}
	if err := CheckCopied(vfs.Default, at("running-copy")); !errors.As(err, &copied) {
		t.Errorf("CheckCopied = %v", err)
	}
	if err := opens("running-copy", true); err != nil {
		t.Errorf("reading it: %v", err)
	}
	if err := os.Remove(copied.Marker); err != nil {
		t.Fatal(err)
	}
	if err := opens("running-copy", false); err != nil {
		t.Errorf("without the marker: %v", err)
	}
	// Killed, then moved: nobody closed it, and its files are the same.
	if err := CheckCopied(vfs.Default, at("data")); err != nil {
		t.Error(err)
	}
	if err := os.Rename(at("data"), at("moved")); err != nil {
		t.Fatal(err)
	}
	if err := CheckCopied(vfs.Default, at("moved")); err != nil {
		t.Errorf("a directory that was moved: %v", err)
	}
	if err := os.Rename(at("moved"), at("data")); err != nil {
		t.Fatal(err)
	}
	m.close(t)
	names, err := vfs.Default.List(at("data"))
	if err != nil || slices.Contains(names, markerFile) {
		t.Errorf("after Close there are %q, %v", names, err)
	}
	copyTo("data", "stopped-copy")
	for _, name := range []string{"stopped-copy", "data"} {
		if err := opens(name, false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func must2[T any](v T, err error) T {
	must(err)
	return v
}

// lockless is a file system for a directory whose process was killed.
type lockless struct{ vfs.FS }

func (lockless) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }
