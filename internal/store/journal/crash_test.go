package journal

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
	"tidings/internal/testenv"
)

// A crash test counts up: change n sets "n" of app 1 to n, and every value to a size
// of its own. What a crash leaves is the state after a number of changes, no fewer than
// were acknowledged, and at most one more: changes come one after the other.
type crasher struct {
	fs    *vfs.MemFS
	every int // of so many writes one is looked at; all syncs are

	mu     sync.Mutex
	r      *rand.Rand
	acked  int
	clones []crashed
}

type crashed struct {
	fs    *vfs.MemFS
	acked int
	at    string
}

func (c *crasher) before(op, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op == "close" || op == "write" && c.r.IntN(c.every) != 0 {
		return nil
	}
	for _, percent := range []int{0, 20 + c.r.IntN(60)} {
		if percent > 0 && c.r.IntN(4) != 0 {
			continue
		}
		fs := faulty.CrashKeeping(c.fs, dir, percent, c.r)
		c.clones = append(c.clones, crashed{fs, c.acked, fmt.Sprintf("%s %s, %d%% of what was not synced", op, name, percent)})
	}
	return nil
}

// change makes change n.
func (m *toy) change(n int) error {
	if n%17 == 0 {
		return m.drop(2, uint64(n))
	}
	pos, err := m.commit(1, false, func(x *toyApp, b *Batch) {
		for k, v := range map[string]string{"n": fmt.Sprint(n), fmt.Sprint("k", n%5): fmt.Sprint(n, strings.Repeat("-", n*37%3000))} {
			b.Memory([]byte("set " + k + " " + v))
			b.Set(copies, []byte(k), []byte(v))
			x.values[k] = v
		}
	})
	if err != nil {
		return err
	}
	if n%3 == 0 {
		if err := m.set(2, fmt.Sprint("k", n%7), strings.Repeat("x", n)); err != nil {
			return err
		}
	}
	return m.db.Wait(context.Background(), pos)
}

// run makes changes after those that were acknowledged, and some checkpoints.
func (c *crasher) run(t *testing.T, fs vfs.FS, changes int, o Options) {
	m, err := openToy(fs, o)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	first := c.acked + 1
	c.mu.Unlock()
	for n := first; n < first+changes; n++ {
		if err := m.change(n); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		c.acked = n
		c.mu.Unlock()
		if n%10 == 0 {
			m.checkpoint(t)
		}
	}
	m.close(t)
}

// TestCrash: what was acknowledged is there after a power loss at every sync of a run
// of three starts, and at some of its writes, and it stays so.
func TestCrash(t *testing.T) {
	for range testenv.Rounds(1) {
		seed := testenv.Seed(t)
		c := &crasher{fs: faulty.NewDisk(t, dir), every: 5, r: rand.New(rand.NewPCG(seed, 4))}
		for range 3 {
			c.run(t, &faulty.FS{FS: c.fs, Before: c.before}, 18, Options{MemtableSize: 16 << 10, SegmentSize: 8 << 10})
		}
		t.Logf("seed %d, %d clones", seed, len(c.clones))
		for _, clone := range c.clones {
			clone.check(t)
			if t.Failed() {
				t.Fatalf("after a crash at: %s", clone.at)
			}
		}
	}
}

// check opens what a crash left, twice, and goes on.
func (c crashed) check(t *testing.T) {
	t.Helper()
	first := ""
	for i := range 2 {
		m, err := openToy(c.fs, Options{MemtableSize: 16 << 10, SegmentSize: 8 << 10})
		if err != nil {
			t.Errorf("Open: %v", err)
			return
		}
		state := m.state(t)
		if i == 0 {
			n := 0
			_, _ = fmt.Sscan(m.app(1).values["n"], &n)
			// A change that is a drop does not count.
			if n < c.acked && !(n == c.acked-1 && c.acked%17 == 0) || n > c.acked+2 {
				t.Errorf("it has change %d, acknowledged was %d", n, c.acked)
			}
			first = state
			// The process is killed and the machine loses its power: what could be
			// seen stays.
			c.fs = faulty.Crash(c.fs)
			t.Cleanup(func() { _ = m.db.Close() })
			continue
		}
		if state != first {
			t.Errorf("it is %.300q, and was %.300q when it was opened first", state, first)
		}
		if err := m.set(9, "goes", "on"); err != nil {
			t.Error(err)
		}
		m.close(t)
	}
}

// TestTornEnds: the end of the log that was not synced is cut at every byte, or holds
// zeros, rubbish, or some of its blocks in another order. The groups before it are
// there, and new ones come after them, also with what the end was, should it come back.
func TestTornEnds(t *testing.T) {
	for _, size := range []int{300, 9000, 40000, maxPart + 50000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { tornEnds(t, size) })
	}
}

func tornEnds(t *testing.T, size int) {
	r := rand.New(rand.NewPCG(testenv.Seed(t), 5))
	fs := faulty.NewDisk(t, dir)
	m, err := openToy(fs, Options{SegmentSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		m.mustSet(t, 1, fmt.Sprint("k", n), strings.Repeat("v", n*100))
	}
	want := m.state(t)
	segment := dir + "/log/" + segmentName(1)
	synced := len(faulty.Read(t, fs, segment))
	tables := faulty.Crash(fs) // with tables that are no further than the log
	value := make([]byte, size)
	for i := range value {
		value[i] = 'a' + byte(r.IntN(26))
	}
	m.mustSet(t, 1, "last", string(value))
	after := m.state(t)
	whole := faulty.Read(t, fs, segment)
	m.close(t)

	history, groups := m.db.tables.history, m.db.Applied()
	logs := faulty.NewDisk(t, dir)
	if err := logs.MkdirAll(dir+"/log", 0o755); err != nil {
		t.Fatal(err)
	}
	tries := 0
	try := func(what string, tail []byte) {
		t.Helper()
		file := append(bytes.Clone(whole[:synced]), tail...)
		faulty.Write(t, logs, segment, file)
		log := logReader{fs: logs, dir: dir + "/log", history: history}
		err := log.read(func(groupInfo, []byte, int) error { return nil })
		if last := log.next - 1; err != nil || last != groups && last != groups-1 {
			t.Errorf("%s: the log ends with group %d of %d, %v", what, last, groups, err)
		}
		if tries++; tries%15 != 1 { // the rest is slow
			return
		}
		fs := faulty.Copy(tables)
		faulty.Write(t, fs, segment, file)
		m, err := openToy(fs, Options{})
		if err != nil {
			t.Errorf("%s: Open: %v", what, err)
			return
		}
		got := m.state(t)
		if got != want && got != after {
			t.Errorf("%s: it is %.200q, want %.200q", what, got, want)
		}
		m.mustSet(t, 1, "goes", "on")
		m.mustSet(t, 1, "and", "on")
		now := m.state(t)
		m.close(t)
		m, err = openToy(fs, Options{})
		if err != nil {
			t.Errorf("%s: second Open: %v", what, err)
			return
		}
		if again := m.state(t); again != now {
			t.Errorf("%s: it was %.200q and is %.200q", what, now, again)
		}
		m.close(t)
	}
	tail := whole[synced:]
	tails := testenv.Rounds(20)
	if size > maxPart {
		tails = testenv.Rounds(5)
	}
	step := max(1, len(tail)/tails)
	for i := 0; i <= len(tail); i += 1 + r.IntN(step) {
		try(fmt.Sprintf("cut at byte %d of %d", i, len(tail)), tail[:i])
	}
	for range tails {
		try("a zeroed end", append(bytes.Clone(tail[:r.IntN(len(tail))]), make([]byte, r.IntN(5000))...))
		rubbish := bytes.Clone(tail)
		for i := r.IntN(len(tail)); i < len(tail); i++ {
			rubbish[i] = byte(r.Uint32())
		}
		try("rubbish", rubbish)
		try("other blocks", shuffled(r, whole, synced, []int{512, 4096}[r.IntN(2)]))
	}
}

// shuffled is the tail of a file after a size, with some of its blocks zeroed, dropped
// or in each other's place.
func shuffled(r *rand.Rand, whole []byte, synced, block int) []byte {
	tail := bytes.Clone(whole[synced:])
	var places [][]byte
	for i := block - synced%block; i+block <= len(tail); i += block {
		places = append(places, tail[i:i+block])
	}
	if len(places) == 0 {
		return tail[:r.IntN(len(tail)+1)]
	}
	for range 1 + r.IntN(len(places)) {
		a, b := places[r.IntN(len(places))], places[r.IntN(len(places))]
		switch r.IntN(3) {
		case 0:
			clear(a)
		case 1:
			other := bytes.Clone(a)
			copy(a, b)
			copy(b, other)
		default:
			copy(a, b)
		}
	}
	return tail
}

// TestKilled: what a killed process wrote and did not sync is durable before the tables
// have it, so that a power loss while the next process starts does not leave them ahead
// of the log.
func TestKilled(t *testing.T) {
	mem := faulty.NewDisk(t, dir)
	var dead atomic.Bool
	fs := &faulty.FS{FS: mem, Before: func(op, name string) error {
		if op == "sync" && faulty.InLog(name) && dead.Load() {
			return syscall.EIO
		}
		return nil
	}}
	m, err := openToy(fs, Options{MemtableSize: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	m.mustSet(t, 1, "a", "1")
	want := m.state(t)
	dead.Store(true)
	for n := range 20 {
		if _, err := m.begin(1, fmt.Sprint("k", n), strings.Repeat("v", 2000)); err != nil {
			break
		}
	}
	_ = m.db.Close()
	var mu sync.Mutex
	var clones []*vfs.MemFS
	look := &faulty.FS{FS: mem, Before: func(op, _ string) error {
		if mu.Lock(); op == "sync" {
			clones = append(clones, faulty.Crash(mem))
		}
		mu.Unlock()
		return nil
	}}
	if m, err = openToy(look, Options{MemtableSize: 16 << 10}); err != nil {
		t.Fatal(err)
	}
	after := m.state(t)
	if after == want {
		t.Error("nothing was written that was not synced, so the test says nothing")
	}
	m.close(t)
	for i, fs := range clones {
		m := open(t, fs)
		if got := m.state(t); got != want && got != after {
			t.Errorf("after a power loss at sync %d of %d: %.200q", i, len(clones), got)
		}
		m.close(t)
	}
}
