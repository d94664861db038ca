package lsm_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/testenv"
)

// The simulation: clients make requests at the same time, on a clock of their own,
// while checkpoints are written, hours pass, the disk is slow or fails, and power is
// lost. Each client has apps of its own and accounts of its own in shared apps, so
// what it was told is all that is needed to know what must be there: after every
// end of the store, its apps are as it was told last, or as a first part of the
// request that was under way leaves them.
const (
	simClients = 5
	simApps    = 24 // of one client each
	simShared  = 6  // further ones that all clients use
	clockApp   = simApps + 1
)

// shared reports whether all clients use an app.
func shared(id uint32) bool { return id > simApps }

type sim struct {
	t       *testing.T
	r       *rand.Rand // of the simulation itself, not of the clients or the disk
	store   *opened
	clients []*simClient
	views   bool // every question is asked of a view

	mu      sync.Mutex
	opening int // counts how often the store was opened
	mem     *vfs.MemFS
	dice    *rand.Rand
	left    *vfs.MemFS // what is left after the end of the store; nil: it has not come to its end
	crashIn int        // so many operations of the file system; 0: never
	slow    int        // chance of an fsync to be slow, in percent
	trouble trouble
	seen    [simClients]int // what the clocks of the clients have shown
	ends    map[string]int  // counts how the store ended
}

// trouble is how operations on files fail, so many times.
type trouble struct {
	op, place string
	times     int
}

// TestSimulation runs the seeds that once failed, and new ones.
func TestSimulation(t *testing.T) {
	seeds := keptSeeds(t)
	for range testenv.Rounds(2) {
		seeds = append(seeds, testenv.Seed(t))
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				simulate(t, seed)
				if t.Failed() {
					t.Logf("add the seed %d to testdata/sim-seeds.txt", seed)
				}
			})
		})
	}
}

// keptSeeds reads the seeds that failed: one a line, and what it found.
func keptSeeds(t *testing.T) (seeds []uint64) {
	f, err := os.Open("testdata/sim-seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

func simulate(t *testing.T, seed uint64) {
	s := &sim{t: t, r: rand.New(rand.NewPCG(seed, 0)), dice: rand.New(rand.NewPCG(seed, 1)), mem: faulty.NewDisk(t, dir), ends: map[string]int{}, views: seed%2 == 1}
	s.prepare(seed)
	for range 10 {
		s.live()
		if t.Failed() {
			return
		}
	}
	t.Logf("the store ended by %v", s.ends)
}

// prepare makes the clients and the shared apps.
func (s *sim) prepare(seed uint64) {
	for k := range simClients {
		c := &simClient{sim: s, k: k, r: rand.New(rand.NewPCG(seed, uint64(2+k))), apps: map[uint32]*simApp{}}
		s.clients = append(s.clients, c)
	}
	store := open(s.t, s.mem)
	for id := uint32(1); id <= simApps+simShared; id++ {
		for _, c := range s.clients {
			if !shared(id) && int(id)%simClients != c.k {
				continue
			}
			c.apps[id] = &simApp{exists: shared(id), users: map[string]*simUser{}, revoked: map[string]simSpan{}}
		}
		if shared(id) {
			if err := store.SaveApp(s.t.Context(), storetest.NewApp(id)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	if err := store.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// live opens the store, lets the clients use it, and brings it to an end.
func (s *sim) live() {
	s.mu.Lock()
	s.opening++
	s.left, s.slow, s.trouble = nil, []int{0, 5, 50}[s.dice.IntN(3)], trouble{}
	if s.crashIn = 0; s.dice.IntN(8) == 0 {
		s.crashIn = 1 + s.dice.IntN(60) // while it starts
	}
	fs := &faulty.FS{FS: s.mem, Before: s.before}
	s.mu.Unlock()
	o := lsm.Options{CheckpointLog: 1 << (13 + s.r.IntN(4))}
	if s.r.IntN(3) == 0 {
		lsm.WithRoom(&o, 2<<10)
	}
	if s.views {
		lsm.WithViews(&o, runtime.Gosched)
	}
	store, err := tryOpen(fs, o)
	if err != nil {
		s.t.Errorf("opening %d: %v", s.opening, err)
		return
	}
	s.store = store
	defer s.over()
	s.all(func(c *simClient) { c.compare(s.t.Context()) })
	if s.ended() || s.t.Failed() {
		return
	}
	s.sound()
	if s.r.IntN(4) == 0 {
		s.agrees()
	}
	for range 1 + s.r.IntN(4) {
		s.disturb()
		n := 5 + s.r.IntN(40)
		s.all(func(c *simClient) { c.run(n) }, s.checkpoints)
		if s.ended() || s.t.Failed() {
			return
		}
		s.pause()
		s.all(func(c *simClient) { c.compare(s.t.Context()) })
		if s.ended() || s.t.Failed() {
			return
		}
	}
	s.sound()
	s.agrees()
}

// agrees makes the state anew in all ways while nothing is disturbed.
func (s *sim) agrees() {
	s.mu.Lock()
	s.crashIn, s.trouble = 0, trouble{}
	s.mu.Unlock()
	if !s.ended() {
		agrees(s.t, s.store, s.mem, rand.New(rand.NewPCG(0, 0)))
	}
}

// all lets all clients do something at the same time, and others something else.
func (s *sim) all(do func(*simClient), besides ...func()) {
	var wg sync.WaitGroup
	for _, f := range besides {
		wg.Go(f)
	}
	for _, c := range s.clients {
		c.stopped = false
		wg.Go(func() { do(c) })
	}
	wg.Wait()
}

// checkpoints writes some checkpoints, or none.
func (s *sim) checkpoints() {
	for range s.r.IntN(5) {
		time.Sleep(time.Duration(s.r.IntN(500)) * time.Millisecond)
		if _, err := s.store.lsm.Checkpoint(s.t.Context()); err != nil && !errors.Is(err, syscall.ENOSPC) && !s.ended() {
			s.t.Errorf("Checkpoint: %v", err)
		}
	}
}

func (s *sim) sound() { sound(s.t, s.store) }

// disturb decides what is to happen while the clients work.
func (s *sim) disturb() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.dice.IntN(7) {
	case 0:
		s.crashIn = 1 + s.dice.IntN(400)
	case 1, 6:
		opening, in := s.opening, time.Duration(s.dice.IntN(5000))*time.Millisecond
		time.AfterFunc(in, func() { // most likely while an fsync is slow
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.opening == opening {
				s.end("a crash at a time", []int{0, 50}[s.dice.IntN(2)])
			}
		})
	case 2:
		s.trouble = trouble{[]string{"write", "sync"}[s.dice.IntN(2)], "/log/", 1 << 30}
	case 3:
		s.trouble = trouble{[]string{"create", "write", "sync", "rename", "remove"}[s.dice.IntN(5)], "/checkpoints/", 1 + s.dice.IntN(5)}
	default:
		s.trouble = trouble{}
	}
}

// pause lets time pass, from nothing to more than the age of a checkpoint.
func (s *sim) pause() {
	long := []time.Duration{0, time.Second, 4 * time.Minute, 6 * time.Minute, 13 * time.Hour}[s.r.IntN(5)]
	time.Sleep(long)
	if long < 13*time.Hour || s.ended() {
		return
	}
	// What was changed half a day ago is in a checkpoint.
	names, err := s.mem.List(dir + "/checkpoints")
	if err != nil {
		s.t.Error(err)
	}
	newest := ""
	for _, name := range names {
		if !strings.HasSuffix(name, ".new") {
			newest = max(newest, name)
		}
	}
	if c, err := s.store.lsm.Checkpoint(s.t.Context()); err == nil && newest != fmt.Sprintf("%016x", c.Position) && !s.ended() {
		s.t.Errorf("after %v without a change the newest checkpoint is %s, and the position is %d", long, newest, c.Position)
	}
}

// before is called in front of every operation of the file system.
func (s *sim) before(op, name string) error {
	s.mu.Lock()
	if op == "remove" && faulty.InLog(name) {
		if err := archiveFile(s.mem, name); err != nil {
			s.t.Errorf("archiving %s: %v", name, err)
		}
	}
	if s.crashIn > 0 {
		if s.crashIn--; s.crashIn == 0 {
			s.end("a crash", []int{0, 50}[s.dice.IntN(2)])
		}
	}
	var err error
	if x := &s.trouble; x.times > 0 && x.op == op && strings.Contains(name, x.place) {
		x.times--
		err = syscall.ENOSPC
	}
	var wait time.Duration
	if op == "sync" && faulty.InLog(name) && s.dice.IntN(100) < s.slow {
		wait = time.Duration(s.dice.IntN(2000)) * time.Millisecond
	}
	s.mu.Unlock()
	time.Sleep(wait)
	return err
}

// end notes what is left of the store: what was synced, and a part of what was not.
// What clients are told from now on, nobody hears.
func (s *sim) end(how string, unsynced int) {
	if s.left != nil {
		return
	}
	s.left = faulty.CrashKeeping(s.mem, dir, unsynced, s.dice)
	s.ends[how]++
}

// ended reports whether the store has come to its end, or is about to because its
// disk failed.
func (s *sim) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == nil && s.store.lsm.State() != nil {
		s.end("a disk that failed", []int{0, 50, 100}[s.dice.IntN(3)])
	}
	return s.left != nil
}

// over closes the store. If it has not come to an end before, Close is one, or what
// a crash leaves in the midst of it.
func (s *sim) over() {
	if s.t.Failed() {
		_ = s.store.Close()
		return
	}
	if !s.ended() {
		s.mu.Lock()
		if s.dice.IntN(3) == 0 {
			s.crashIn = 1 + s.dice.IntN(20)
		}
		s.mu.Unlock()
	}
	before := s.store.lsm.Digests(s.t)
	err := s.store.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left != nil {
		s.mem = s.left
		return
	}
	s.ends["Close"]++
	if err != nil {
		s.t.Errorf("Close: %v", err)
	}
	again := open(s.t, faulty.Crash(s.mem))
	if after := again.lsm.Digests(s.t); after != before {
		s.t.Errorf("after Close the state is\n%s, it was\n%s", after, before)
	}
	_ = again.Close()
}
