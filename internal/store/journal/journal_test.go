package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
	"tidings/internal/testenv"
)

// held is a toy whose fsyncs of the log wait while the gate is shut.
func held(t *testing.T, o Options) (*toy, *faulty.Gate) {
	t.Helper()
	var gate faulty.Gate
	m, err := openToy(faulty.HeldLog(faulty.NewDisk(t, dir), &gate), o)
	if err != nil {
		t.Fatal(err)
	}
	return m, &gate
}

// TestGroups: changes of several apps and of every kind, in many segments and with
// groups of many parts, are the same after a start, from the log alone, from a
// checkpoint, and from the older one; a directory that is open for reading only shows
// the same, though its tables are behind.
func TestGroups(t *testing.T) {
	fs := faulty.NewDisk(t, dir)
	m := open(t, fs)
	long := strings.Repeat("x", 3*maxPart/2)
	for i := range 60 {
		m.mustSet(t, uint32(1+i%3), fmt.Sprint("k", i%7), fmt.Sprint(i, "-", strings.Repeat("v", i*10)))
		switch i {
		case 20, 40:
			m.checkpoint(t)
		case 30:
			if err := m.drop(2, 7); err != nil {
				t.Fatal(err)
			}
		case 31:
			if err := m.drop(3, 5); err != nil {
				t.Fatal(err)
			}
		case 50:
			m.mustSet(t, 1, "long", long)
		}
	}
	want := m.state(t)
	if !strings.Contains(want, long) || !strings.Contains(want, "top 2 n 7") {
		t.Fatalf("the state is %.200q", want)
	}
	if names, err := fs.List(dir + "/log"); err != nil || len(names) < 3 {
		t.Errorf("the log is %q, %v", names, err)
	}
	killed := faulty.Copy(fs)   // what a killed process leaves
	crashed := faulty.Crash(fs) // what a power loss leaves
	behind := faulty.Crash(fs)  // with tables at the checkpoint
	if err := m.drop(3, 6); err != nil {
		t.Fatal(err)
	}
	m.close(t)
	for name, fs := range map[string]*vfs.MemFS{"killed": killed, "crashed": crashed} {
		for range 2 {
			m = open(t, fs)
			if got := m.state(t); got != want {
				t.Errorf("%s: %.300q\nwant %.300q", name, got, want)
			}
			m.close(t)
		}
	}
	readOnly(t, behind, want)

	newest := checkpointFiles(t, killed)[0]
	b := faulty.Read(t, killed, newest)
	b[len(b)/2] ^= 1
	faulty.Write(t, killed, newest, b)
	m = open(t, killed)
	if got := m.state(t); got != want {
		t.Errorf("from the older checkpoint: %.300q\nwant %.300q", got, want)
	}
	m.close(t)
}

// readOnly opens a directory for reading only, twice, and compares.
func readOnly(t *testing.T, fs *vfs.MemFS, want string) {
	t.Helper()
	before := faulty.Tree(t, fs, dir)
	for range 2 {
		m, err := openToy(fs, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if m.db.tables.position == m.db.Applied() {
			t.Error("the tables are not behind the log, so the test says nothing")
		}
		if got := m.state(t); got != want {
			t.Errorf("for reading only: %.300q\nwant %.300q", got, want)
		}
		if err := m.set(1, "k", "v"); !errors.Is(err, errReadOnly) {
			t.Errorf("a change is answered with %v", err)
		}
		if _, err := m.db.Checkpoint(t.Context()); !errors.Is(err, errReadOnly) {
			t.Errorf("Checkpoint = %v", err)
		}
		view, err := m.db.ViewAt(m.db.Applied())(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v, err := view.Get(copies, 1, []byte("long")); err != nil || len(v) < maxPart {
			t.Errorf("Get = %d bytes, %v", len(v), err)
		}
		if err := view.Close(); err != nil {
			t.Error(err)
		}
		m.close(t)
	}
	if !maps.Equal(before, faulty.Tree(t, fs, dir)) {
		t.Error("the directory changed")
	}
}

// TestNoPoison: an entry that a start could not read ends the store, and is not in the
// log.
func TestNoPoison(t *testing.T) {
	for name, f := range map[string]func(*Batch){
		"entry":         func(b *Batch) { b.Memory([]byte("poison")) },
		"record":        func(b *Batch) { b.Set(copies, []byte("k"), []byte("poison")) },
		"unknown table": func(b *Batch) { b.Delete(&Table{ID: 9}, []byte("k")) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := faulty.NewDisk(t, dir)
			fatal := make(chan bool, 2)
			m, err := openToy(fs, Options{Fatal: func(error) { fatal <- true }})
			if err != nil {
				t.Fatal(err)
			}
			m.mustSet(t, 1, "a", "1")
			want := m.state(t)
			pos, err := m.commit(1, false, func(_ *toyApp, b *Batch) { f(b) })
			if err != nil {
				t.Fatal(err)
			}
			if err := m.db.Wait(t.Context(), pos); err == nil {
				t.Error("it was answered OK")
			}
			<-fatal
			if err := m.set(1, "b", "2"); err == nil {
				t.Error("a change after it was answered OK")
			}
			_ = m.db.Close()
			m = open(t, fs)
			if got := m.state(t); got != want {
				t.Errorf("afterwards it is %q, want %q", got, want)
			}
			m.close(t)
		})
	}
}

// TestPanic: a panic while a change is made, with another group on its way and a third
// waiting, ends the store. Everybody who waits hears of it, and nothing of what comes
// after it is on disk.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fatal atomic.Int32
		m, gate := held(t, Options{Fatal: func(error) { fatal.Add(1) }})
		fs := m.db.opts.FS.(*faulty.FS).FS.(*vfs.MemFS)
		m.mustSet(t, 1, "a", "1")
		want := m.state(t)
		gate.Shut()
		var wg sync.WaitGroup
		var failed, viewed atomic.Int32
		wait := func(key string) Pos {
			pos, err := m.begin(1, key, "2")
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				if m.db.Wait(context.Background(), pos) != nil {
					failed.Add(1)
				}
			})
			synctest.Wait()
			return pos
		}
		wait("b") // its fsync is held
		pos := wait("c")
		view := m.db.ViewAt(pos)
		wg.Go(func() {
			if _, err := view(context.Background()); err != nil {
				viewed.Add(1)
			}
		})
		m.half(t, 1, "d")
		if err := m.db.State(); err == nil || !strings.Contains(err.Error(), "on purpose") || fatal.Load() != 1 {
			t.Errorf("State = %v, Fatal was called %d times", err, fatal.Load())
		}
		wg.Wait()
		if failed.Load() != 2 || viewed.Load() != 1 {
			t.Errorf("of 2 who wait %d heard of it; of one who waits for a view, %d", failed.Load(), viewed.Load())
		}
		if _, err := m.db.ViewAt(pos)(context.Background()); err == nil {
			t.Error("a view of what failed is given")
		}
		if _, err := m.db.Checkpoint(t.Context()); err == nil {
			t.Error("a checkpoint of half a change is written")
		}
		if err := m.db.Reserve(t.Context(), false); err == nil {
			t.Error("room is reserved in a store that failed")
		}
		gate.Lift()
		if err := m.db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		m = open(t, fs)
		defer m.close(t)
		if got := m.state(t); got != want && got != want+"1 b 2\n" {
			t.Errorf("afterwards it is %q, want %q", got, want)
		}
	})
}

// TestViewAt: a view shows the tables as they are after a group, and nothing of the
// same app that comes later; sealing a position keeps later changes out of its group.
func TestViewAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, gate := held(t, Options{})
		defer m.close(t)
		m.mustSet(t, 1, "a", "0")
		gate.Shut()
		begin := func(value string) Pos {
			pos, err := m.begin(1, "a", value)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return pos
		}
		begin("1") // its fsync is held
		one := begin("2")
		if again := begin("3"); again != one {
			t.Errorf("what waits for the disk is in groups %d and %d", one, again)
		}
		three := m.db.ViewAt(one)
		after := begin("4")
		if after != one+1 {
			t.Errorf("after group %d was sealed a change is in group %d", one, after)
		}
		m.db.Seal(one) // no longer the open one
		if again := begin("5"); again != after {
			t.Errorf("sealing what is sealed made group %d", again)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		lost := m.db.ViewAt(after)
		cause := errors.New("nobody waits")
		cancel(cause)
		if _, err := lost(ctx); !errors.Is(err, cause) {
			t.Errorf("a view nobody waits for: %v", err)
		}
		gate.Lift()
		if err := m.db.Wait(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		view, err := three(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v, err := view.Get(copies, 1, []byte("a")); err != nil || string(v) != "3" {
			t.Errorf("the view has %q, %v; want 3", v, err)
		}
		now, err := m.db.ViewAt(after)(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v, err := now.Get(copies, 1, []byte("a")); err != nil || string(v) != "5" {
			t.Errorf("now it is %q, %v; want 5", v, err)
		}
		if v, err := now.Get(copies, 1, []byte("b")); err != nil || v != nil {
			t.Errorf("Get of nothing = %q, %v", v, err)
		}
		if err := errors.Join(view.Close(), now.Close()); err != nil {
			t.Error(err)
		}
		synctest.Wait() // the view that nobody waited for is closed
	})
}

// TestReserve: changes wait when much waits for the disk already, those of bulk
// writers earlier, and a context ends waiting for either, for room and for the disk.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, gate := held(t, Options{Room: 4000})
		defer m.close(t)
		m.mustSet(t, 1, "a", "0")
		gate.Shut()
		add := func(bulk bool) Pos {
			pos, err := m.commit(1, bulk, func(_ *toyApp, b *Batch) { b.Set(copies, []byte("b"), make([]byte, 700)) })
			if err != nil {
				t.Fatal(err)
			}
			return pos
		}
		var got atomic.Int32
		reserve := func(bulk bool) {
			go func() {
				if m.db.Reserve(t.Context(), bulk) == nil {
					got.Add(1)
				}
			}()
			synctest.Wait()
		}
		add(false)
		synctest.Wait() // its fsync is held
		add(true)
		if reserve(true); got.Load() != 1 {
			t.Error("a bulk writer has no room, and 700 bytes of 1000 wait")
		}
		add(true)
		if reserve(true); got.Load() != 1 {
			t.Error("a bulk writer has room, and 1400 bytes of 1000 wait")
		}
		if reserve(false); got.Load() != 2 {
			t.Error("there is no room, and 2100 bytes of 4000 wait")
		}
		for range 3 {
			add(false)
		}
		if reserve(false); got.Load() != 2 {
			t.Error("there is room, and 4200 bytes of 4000 wait")
		}
		cause := errors.New("the time is up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		pos := add(false)
		if err := m.db.Reserve(ctx, false); !errors.Is(err, cause) {
			t.Errorf("Reserve = %v, want %v", err, cause)
		}
		if err := m.db.Wait(ctx, pos); !errors.Is(err, cause) {
			t.Errorf("Wait = %v, want %v", err, cause)
		}
		gate.Lift()
		if synctest.Wait(); got.Load() != 4 {
			t.Errorf("%d of 4 have room in the end", got.Load())
		}
		if err := m.db.Wait(t.Context(), pos); err != nil {
			t.Error(err)
		}
	})
}

// TestClose: Close while changes, views and checkpoints are under way ends each with
// what came of it. None hangs, and what was answered OK is there afterwards.
func TestClose(t *testing.T) {
	for range testenv.Rounds(20) {
		fs := faulty.NewDisk(t, dir)
		m, err := openToy(fs, Options{CheckpointLog: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		const writers = 4
		var wg sync.WaitGroup
		var acked [writers]int
		var views sync.WaitGroup
		begun := make(chan bool, 2*writers)
		for w := range writers {
			wg.Go(func() {
				for i := 1; ; i++ {
					if m.set(uint32(w%2+1), fmt.Sprint("w", w), fmt.Sprint(i)) != nil {
						return
					}
					if acked[w] = i; i == 5 {
						begun <- true
					}
				}
			})
			views.Go(func() {
				begun <- true
				for {
					x := m.app(uint32(w%2 + 1))
					x.mu.Lock()
					wait := m.db.ViewAt(x.pos)
					x.mu.Unlock()
					v, err := wait(context.Background())
					if err != nil {
						return
					}
					_ = v.Close()
				}
			})
		}
		wg.Go(func() {
			for m.db.State() == nil {
				_, _ = m.db.Checkpoint(context.Background())
			}
		})
		for range 2 * writers {
			<-begun
		}
		if err := m.db.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		views.Wait()
		if err := m.db.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		m = open(t, fs)
		for w, n := range acked {
			if got := m.app(uint32(w%2 + 1)).values[fmt.Sprint("w", w)]; got != fmt.Sprint(n) {
				t.Errorf("writer %d was answered up to %d, and %q is there", w, n, got)
			}
		}
		m.state(t)
		m.close(t)
	}
}
