package lsm_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/device"
	"tidings/internal/store"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/testenv"
)

// dir is the data directory in the file systems of the tests.
const dir = "/var/lib/tidings"

// quiet is for stores whose disks fail on purpose.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// opened is an open store.
type opened struct {
	storetest.Store
	lsm *lsm.Store
	fs  vfs.FS
}

func (o *opened) check(ctx context.Context, report func(store.Finding)) error {
	_, err := o.lsm.Check(ctx, report)
	return err
}

// tryOpen opens the data directory of a file system. Segments are small, and so is
// the log after which a checkpoint is written.
func tryOpen(fs vfs.FS, o lsm.Options) (*opened, error) {
	o.FS, o.Logger = fs, quiet
	o.MemtableSize = cmp.Or(o.MemtableSize, 64<<10)
	o.CheckpointLog = cmp.Or(o.CheckpointLog, 24<<10)
	if o.Fatal == nil {
		o.Fatal = func() {}
	}
	s, err := lsm.Open(dir, *lsm.WithSegments(&o, 8<<10))
	if err != nil {
		return nil, err
	}
	return &opened{storetest.Join(s.Apps, s.Users, s.Close), s, fs}, nil
}

// heldStore is an empty store whose fsyncs of the log wait while a gate is shut, and that
// writes no checkpoint on its own.
func heldStore(t testing.TB) (*opened, *vfs.MemFS, *faulty.Gate) {
	t.Helper()
	disk, g := faulty.NewDisk(t, dir), &faulty.Gate{}
	s, err := tryOpen(faulty.HeldLog(disk, g), lsm.Options{CheckpointLog: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return s, disk, g
}

func open(t testing.TB, fs vfs.FS) *opened {
	t.Helper()
	s, err := tryOpen(fs, lsm.Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// sound fails the test if a check finds anything.
func sound(t *testing.T, s storetest.Store) {
	t.Helper()
	if err := s.(*opened).check(t.Context(), func(f store.Finding) {
		t.Errorf("check: %s: %s", f.Where, f.What)
	}); err != nil {
		t.Errorf("check: %v", err)
	}
}

// database is a storetest.Database in memory. With a chance of unsynced bytes
// to survive, in percent, it can crash. Every third inspection checks that each way
// to make the state anew makes it equal: that takes as long as some openings.
func database(t *testing.T, o lsm.Options, unsynced int, r *rand.Rand) storetest.Database {
	fs, inspections := faulty.NewDisk(t, dir), 0
	return storetest.Database{
		Open: func() (storetest.Store, error) {
			s, err := tryOpen(archiving(fs), o)
			if err != nil {
				return nil, err // not a nil *opened
			}
			return s, nil
		},
		Crash: func() {
			fs = faulty.CrashKeeping(fs, dir, unsynced, r)
		},
		Inspect: func(t *testing.T, s storetest.Store) {
			sound(t, s)
			if inspections++; inspections%3 == 1 {
				agrees(t, s.(*opened), fs, rand.New(rand.NewPCG(1, 1)))
			}
		},

		Devices: func(s storetest.Store) device.Store { return s.(*opened).lsm.Devices },

		DeletionRevokes: true, KeepsAdmins: true, ChecksAttributes: true,
	}
}

func TestStore(t *testing.T) {
	t.Run("light", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Database { return database(t, lsm.Options{}, 0, nil) })
	})
	t.Run("from views", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Database {
			return database(t, *lsm.WithViews(&lsm.Options{}, runtime.Gosched), 0, nil)
		})
	})
}

func TestModel(t *testing.T) {
	for _, unsynced := range []int{0, 50} {
		t.Run(strconv.Itoa(unsynced)+"% unsynced", func(t *testing.T) {
			t.Parallel()
			seed := testenv.Seed(t)
			var o lsm.Options
			if unsynced > 0 {
				lsm.WithViews(&o, runtime.Gosched)
			}
			storetest.Model(t, database(t, o, unsynced, rand.New(rand.NewPCG(seed, 2))), seed, testenv.Rounds(1500))
		})
	}
}

func TestDevices(t *testing.T) {
	storetest.Devices(t, func(t *testing.T) storetest.Database { return database(t, lsm.Options{}, 0, nil) })
}

func TestDeviceModel(t *testing.T) {
	for _, unsynced := range []int{0, 50} {
		t.Run(strconv.Itoa(unsynced)+"% unsynced", func(t *testing.T) {
			seed := testenv.Seed(t)
			synctest.Test(t, func(t *testing.T) {
				storetest.DeviceModel(t, database(t, lsm.Options{}, unsynced, rand.New(rand.NewPCG(seed, 2))), seed, testenv.Rounds(2500))
			})
		})
	}
}

// count returns how many accounts an app has.
func count(t testing.TB, s storetest.Store, app uint32) int {
	t.Helper()
	n, err := s.Count(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
