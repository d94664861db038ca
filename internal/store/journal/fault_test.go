package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
	"tidings/internal/testenv"
)

// TestDiskFails: from some operation on the disk refuses all of a kind, or all. What was
// answered OK is there when it is opened again, on the disk as a killed process leaves
// it and as a power loss does; no change is answered OK after the log refused one; and
// nothing hangs.
func TestDiskFails(t *testing.T) {
	seed := testenv.Seed(t)
	r := rand.New(rand.NewPCG(seed, 11))
	ops := []string{"", "create", "write", "sync", "rename", "remove"}
	for i := range testenv.Rounds(60) {
		op := ops[i%len(ops)]
		errno := []syscall.Errno{syscall.ENOSPC, syscall.EIO}[r.IntN(2)]
		after := r.IntN(120)
		if op == "rename" || op == "remove" {
			after = r.IntN(4)
		}
		name := fmt.Sprintf("seed %d, %d: %q fails with %v after %d", seed, i, op, errno, after)
		diskFails(t, name, r.IntN(2) == 0, func(o string, n int) error {
			if (o == op || op == "") && n > after {
				return errno
			}
			return nil
		})
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func diskFails(t *testing.T, name string, short bool, fails func(op string, n int) error) {
	mem := faulty.NewDisk(t, dir)
	var mu sync.Mutex
	armed := false
	times := map[string]int{}
	fs := &faulty.FS{FS: mem, Short: short, Before: func(op, file string) error {
		mu.Lock()
		defer mu.Unlock()
		if !armed || op == "close" || strings.HasSuffix(file, ".sst") || inTables(file) && op != "sync" && op != "write" {
			return nil // Pebble tries again without an end
		}
		times[op]++
		n := times[op]
		return fails(op, n)
	}}
	var fatal atomic.Int32
	m, err := openToy(fs, Options{SegmentSize: 2 << 10, CheckpointLog: 4 << 10, Fatal: func(error) { fatal.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	armed = true
	mu.Unlock()
	acked, failed := 0, 0
	for n := 1; n <= 60; n++ {
		err := m.set(1, "n", fmt.Sprint(n, strings.Repeat("-", 200)))
		switch {
		case err == nil && failed > 0:
			t.Errorf("%s: change %d is answered OK, and %d was not", name, n, failed)
		case err == nil:
			acked = n
		default:
			if failed == 0 {
				failed = n
			}
		}
		if n%15 == 0 {
			_, _ = m.db.Checkpoint(context.Background()) // may fail, and is only a warning
		}
	}
	_ = m.db.Close()
	if failed > 0 && fatal.Load() != 1 {
		t.Errorf("%s: a change failed and the process was ended %d times", name, fatal.Load())
	}
	for what, fs := range map[string]*vfs.MemFS{"killed": faulty.Copy(mem), "crashed": faulty.Crash(mem)} {
		m, err := openToy(fs, Options{})
		if err != nil {
			t.Errorf("%s, %s: Open: %v", name, what, err)
			continue
		}
		n := 0
		v, _, _ := strings.Cut(m.app(1).values["n"], "-")
		_, _ = fmt.Sscan(v, &n)
		if n < acked || n > acked+1 {
			t.Errorf("%s, %s: it has change %d, and %d was answered", name, what, n, acked)
		}
		m.state(t)
		m.mustSet(t, 1, "goes", "on")
		m.close(t)
	}
}

func inTables(name string) bool { return strings.Contains(name, dir+"/db/") }

// TestNoCheckpoint: a checkpoint that cannot be written, whatever refuses it, is tried
// again after a minute and not before; changes go on, nothing of it stays, and the next
// one works.
func TestNoCheckpoint(t *testing.T) {
	for _, op := range []string{"create", "write", "sync", "rename"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var full atomic.Bool
				var tries atomic.Int32
				mem := faulty.NewDisk(t, dir)
				fs := &faulty.FS{FS: mem, Before: func(o, name string) error {
					if full.Load() && o == op && strings.HasPrefix(name, dir+"/checkpoints/") {
						tries.Add(1)
						return syscall.ENOSPC
					}
					return nil
				}}
				m, err := openToy(fs, Options{CheckpointLog: 1 << 10})
				if err != nil {
					t.Fatal(err)
				}
				full.Store(true)
				for n := range 50 {
					m.mustSet(t, 1, "n", fmt.Sprint(n, strings.Repeat("-", 100)))
					synctest.Wait()
				}
				if n := tries.Load(); n != 1 {
					t.Errorf("it was tried %d times at once", n)
				}
				if _, err := m.db.Checkpoint(t.Context()); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("Checkpoint = %v", err)
				}
				if left := checkpointFiles(t, mem); len(left) > 0 {
					t.Errorf("it left %q", left)
				}
				full.Store(false)
				time.Sleep(checkpointRetry + time.Second)
				synctest.Wait()
				if there := checkpointFiles(t, mem); len(there) != 1 {
					t.Errorf("after a minute there are %q", there)
				}
				want := m.state(t)
				m.close(t)
				m = open(t, mem)
				if got := m.state(t); got != want {
					t.Errorf("it is %.200q, want %.200q", got, want)
				}
				m.close(t)
			})
		})
	}
}

// TestSlowDisk: every operation of a disk takes its time, those of checkpoints and tables
// a long one. Changes wait for the log only.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &faulty.FS{FS: faulty.NewDisk(t, dir), Before: func(op, name string) error {
			switch {
			case faulty.InLog(name):
				time.Sleep(time.Millisecond)
			case strings.Contains(name, "/checkpoints/"):
				time.Sleep(time.Second)
			}
			return nil
		}}
		m, err := openToy(fs, Options{CheckpointLog: 2 << 10})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for n := range 100 {
			m.mustSet(t, 1, fmt.Sprint("k", n), strings.Repeat("v", 100))
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("100 changes took %v", took)
		}
		want := m.state(t)
		m.close(t)
		m = open(t, fs)
		if got := m.state(t); got != want {
			t.Errorf("it is %.200q, want %.200q", got, want)
		}
		m.close(t)
	})
}
