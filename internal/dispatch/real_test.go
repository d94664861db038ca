package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/report"
	"tidings/internal/store"
	"tidings/internal/store/lsm"
	"tidings/internal/task"
)

// watched is a task.Store that notes which messages are in open pages, and can be cut off
// at one moment, as a process that is killed.
type watched struct {
	task.Store
	mu   sync.RWMutex // held for writing while the process is killed
	dead bool

	open map[string]bool // by SendID
	lock sync.Mutex      // of open
}

func (w *watched) Open(ctx context.Context, r task.Ref, l task.Lane, limit int) (*task.Page, time.Time, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.dead {
		return nil, time.Time{}, errTorn
	}
	p, next, err := w.Store.Open(ctx, r, l, limit)
	w.note(p, true)
	return p, next, err
}

func (w *watched) Close(ctx context.Context, p *task.Page, verdicts []task.Verdict) (bool, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.dead {
		return false, errTorn
	}
	ended, err := w.Store.Close(ctx, p, verdicts)
	if err == nil {
		w.note(p, false)
	}
	return ended, err
}

func (w *watched) Abandon(p *task.Page) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.dead {
		return
	}
	w.Store.Abandon(p)
	w.note(p, false)
}

func (w *watched) note(p *task.Page, open bool) {
	if p == nil {
		return
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	for i := range p.Units {
		if id := p.Units[i].Target.SendID; open {
			w.open[id] = true
		} else {
			delete(w.open, id)
		}
	}
}

// A house is a Dispatcher over the embedded store, in memory that can lose what was not
// synced.
type house struct {
	t        *testing.T
	fs       *vfs.MemFS
	store    *lsm.Store
	tasks    *watched
	provider *provider
	stop     func()
	repeats  sync.Map // SendIDs that were in a page when a process was killed
}

func (h *house) start() {
	s, err := lsm.Open("data", lsm.Options{FS: h.fs, Fatal: func() {}})
	if err != nil {
		h.t.Fatal(err)
	}
	apps, err := app.Open(h.t.Context(), s.Apps, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if apps.App(1) == nil {
		d := app.Declaration{ID: 1}
		if _, err := apps.Create(h.t.Context(), d); err != nil {
			h.t.Fatal(err)
		}
		for range 2 {
			if _, err := apps.AddCertificate(h.t.Context(), 1, app.Certificate{Provider: channel.FCM}, seal); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	h.store, h.tasks = s, &watched{Store: s.Tasks, open: map[string]bool{}}
	d := New(h.tasks, apps, h.provider.drivers(), Options{Unseal: h.provider.unseal})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.Run(ctx)
	}()
	h.stop = func() {
		cancel()
		<-ended
		apps.Close()
	}
}

// again ends the process, properly or not, and starts the next.
func (h *house) again(kill bool) {
	if !kill {
		h.stop()
		for id := range h.tasks.open { // of pages that the grace was too short for
			h.repeats.Store(id, true)
		}
		if err := h.store.Close(); err != nil {
			h.t.Error(err)
		}
		h.start()
		return
	}
	h.tasks.mu.Lock()
	h.tasks.dead = true
	for id := range h.tasks.open {
		h.repeats.Store(id, true)
	}
	h.fs, h.tasks.open = h.fs.CrashClone(vfs.CrashCloneCfg{}), map[string]bool{}
	h.tasks.mu.Unlock()
	h.stop()
	_ = h.store.Close() // of a process that is no more
	h.start()
}

// TestOverTheEmbeddedStore carries out tasks over the real store while its process ends
// again and again: the sums are those of the provider. No token is dead, since then a unit
// that is repeated after a crash may have none any more.
func TestOverTheEmbeddedStore(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, seed))
	h := &house{t: t, fs: vfs.NewCrashableMem(), provider: newProvider(t)}
	if err := h.fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	p := h.provider
	p.took, p.limits = 3*time.Millisecond, channel.Limits{Rate: 4000, MaxRetry: 100 * time.Millisecond}
	p.answer = func(_ string, target *channel.Target, try int) channel.Result {
		switch n := xxh3.HashStringSeed(fmt.Sprint(target.SendID, try), seed) % 100; {
		case n < 10:
			return channel.Result{Outcome: channel.Retry, Status: 503}
		case n < 14:
			return channel.Result{Outcome: channel.Rejected, Status: 400}
		case n < 18:
			return channel.Result{Outcome: channel.Unknown, Replaces: n < 16}
		}
		return channel.Result{Outcome: channel.Accepted, Status: 200}
	}
	p.again = func(id string, last channel.Result) {
		if last.Outcome == channel.Retry || last.Outcome == channel.Unknown && last.Replaces {
			return
		}
		if _, ok := h.repeats.Load(id); !ok {
			t.Errorf("message %s was answered %q and is sent again", id, last.Outcome)
		}
	}
	h.start()
	const devices = 1500
	for i := range devices {
		d := device.Device{ID: fmt.Sprintf("device-%010d", i), Platform: "android", Permission: device.Allowed}
		if c := i % 3; c != 0 {
			d.Tokens = []device.Token{{Certificate: c, Kind: channel.Alert, Address: channel.Address("token-of-" + d.ID)}}
		}
		if _, err := h.store.Devices.Register(t.Context(), 1, device.Proof{Admin: true}, d); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for i := range 16 {
		if i%2 == 0 {
			n := &task.New{Command: "push", Message: channel.Message{Title: "t"}, Life: time.Hour, Random: uint32(i)}
			if i%4 == 0 {
				n.Audience.Accounts = []string{"device-0000000001", "device-0000000002", "device-0000000003"}
			}
			r, err := h.store.Tasks.Create(t.Context(), 1, n)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, r.ID)
		}
		time.Sleep(time.Duration(dice.IntN(200)) * time.Millisecond)
		if dice.IntN(2) == 0 {
			h.again(dice.IntN(2) == 0)
		}
	}
	var sum report.Counts
	for _, id := range ids {
		c := h.wait(id)
		sum = add(sum, c)
		if n := c.Sum(); n != devices+1 && n != 3 { // the administrator has none
			t.Errorf("task %s has outcomes of %d units: %v", id, n, c)
		}
	}
	h.stop()
	var want report.Counts
	for _, last := range p.results {
		want[ends[last.Outcome]]++
	}
	for o := report.Accepted; o <= report.Unknown; o++ {
		if sum[o] != want[o] {
			t.Errorf("%d units are %q, and the provider said so of %d", sum[o], o, want[o])
		}
	}
	if sum[report.Accepted] == 0 || sum[report.Expired]+sum[report.Stopped] > 0 {
		t.Errorf("outcomes: %v", sum)
	}
	if _, err := h.store.Check(t.Context(), func(f store.Finding) { t.Errorf("check: %+v", f) }); err != nil {
		t.Error(err)
	}
	if err := h.store.Close(); err != nil {
		t.Error(err)
	}
}

// wait waits until a task has ended and returns its counts.
func (h *house) wait(id string) report.Counts {
	h.t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		got, err := h.store.Tasks.Task(h.t.Context(), 1, id)
		switch {
		case err != nil:
			h.t.Fatal(err)
		case got.State.Ended():
			return got.Progress.Counts()
		case time.Since(begin) > 2*time.Minute:
			h.t.Fatalf("task %s is %s after two minutes: %+v", id, got.State, got.Progress)
		}
	}
}

func add(a, b report.Counts) report.Counts {
	for o, n := range b {
		a[o] += n
	}
	return a
}
