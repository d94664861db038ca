package lsm_test

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

// dir is the data directory in the file systems of the tests.
const dir = "/var/lib/tidings"

// quiet is for stores whose disks fail on purpose.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newFS is a file system in memory with the data directory.
func newFS(t testing.TB) *vfs.MemFS {
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return fs
}

func open(t testing.TB, fs vfs.FS) *lsm.Store {
	t.Helper()
	s, err := lsm.Open(dir, lsm.Options{FS: fs, Logger: quiet, MemtableSize: 256 << 10})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// sound fails the test if a check finds anything.
func sound(t *testing.T, s storetest.Store) {
	t.Helper()
	_, err := s.(*lsm.Store).Check(t.Context(), func(f store.Finding) {
		t.Errorf("check: %s: %s", f.Where, f.What)
	})
	if err != nil {
		t.Errorf("check: %v", err)
	}
}

// database is a storetest.Database in memory. With a chance of unsynced bytes
// to survive, in percent, it can crash.
func database(t *testing.T, unsynced int, r *rand.Rand) storetest.Database {
	fs := newFS(t)
	return storetest.Database{
		Open: func() (storetest.Store, error) {
			s, err := lsm.Open(dir, lsm.Options{FS: fs, Logger: quiet, MemtableSize: 64 << 10})
			if err != nil {
				return nil, err // not a nil *lsm.Store
			}
			return s, nil
		},
		Crash: func() {
			fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: r})
		},
		Inspect: sound,
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database { return database(t, 0, nil) })
}

func TestModel(t *testing.T) {
	for _, unsynced := range []int{0, 50} {
		t.Run(strconv.Itoa(unsynced)+"% unsynced", func(t *testing.T) {
			t.Parallel()
			seed := seed(t)
			storetest.Model(t, database(t, unsynced, rand.New(rand.NewPCG(seed, 2))), seed, rounds(1500))
		})
	}
}

// seed is a new one each time, or TIDINGS_TEST_SEED.
func seed(t *testing.T) uint64 {
	if s := os.Getenv("TIDINGS_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return rand.Uint64()
}

// rounds is how often a random test does what it does: n times, or
// TIDINGS_TEST_ROUNDS as often.
func rounds(n int) int {
	if f, err := strconv.ParseFloat(os.Getenv("TIDINGS_TEST_ROUNDS"), 64); err == nil {
		return int(float64(n) * f)
	}
	return n
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
