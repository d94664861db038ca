package dispatch

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/xxh3"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// FuzzDispatch carries out random tasks while providers misbehave, processes end, properly
// or not, certificates are replaced and removed, tasks are paused and stopped, the store
// fails and clocks jump. Nothing that was accepted is lost, each unit gets exactly one
// outcome, nothing is sent twice that was in no open page when a process ended, and the
// sums are those of the provider. Seeds that failed are in testdata.
func FuzzDispatch(f *testing.F) {
	for seed := range uint64(24) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
	})
}

// A mood is how a provider behaves towards a certificate.
type mood int32

const (
	well mood = iota
	flaky
	throttling
	dead
	refusing
	hanging
	empty // all tokens are dead
	moods
)

// A simulation is a world with what happens to it.
type simulation struct {
	*world
	rand   *rand.Rand
	moods  [4]atomic.Int32 // by certificate
	ahead  atomic.Int64    // of the wall clock
	failed atomic.Int32    // percent of calls of the store that fail
	seed   uint64
	ids    map[string]*unit
	refs   []task.Ref
	gone   map[int]bool // certificates that were removed
}

func simulate(t *testing.T, seed uint64) {
	s := &simulation{rand: rand.New(rand.NewPCG(seed, seed)), seed: seed, ids: map[string]*unit{}, gone: map[int]bool{}}
	s.world = newWorld(t, func(w *world) {
		w.opts.Now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
		w.store.now = w.opts.Now
		w.store.took = time.Millisecond
		w.store.fails = func() bool { return int32(rand.IntN(100)) < s.failed.Load() }
		w.store.loses = func() bool { return rand.IntN(50) == 0 }
		w.provider.took = 80 * time.Millisecond
		w.provider.limits = channel.Limits{Rate: 3000, MinRetry: time.Second}
		w.provider.answer = s.answer
		w.provider.again = s.again
		w.provider.test = func(version string) (channel.Health, error) {
			return channel.Health{OK: s.mood(version) != refusing, Words: "no"}, nil
		}
	})
	for range 40 {
		s.step()
		time.Sleep(time.Duration(s.rand.IntN(60_000)) * time.Millisecond)
	}
	for i := range s.moods {
		s.moods[i].Store(int32(well))
	}
	s.failed.Store(0)
	for _, r := range s.refs {
		s.store.pause(r, false)
		s.Changed(r)
		if got := s.wait(r); got.State == task.Failed {
			t.Errorf("seed %d: task %s failed", seed, got.ID)
		}
	}
	s.check(seed)
}

// step does something at random.
func (s *simulation) step() {
	switch n := s.rand.IntN(100); {
	case n < 35:
		s.addTask()
	case n < 60:
		s.moods[1+s.rand.IntN(3)].Store(int32(s.rand.IntN(int(moods))))
	case n < 66: // what could not be closed in time is open
		s.end()
		s.seat.tear()
		s.start()
	case n < 72: // the process is killed
		s.seat.tear()
		s.end()
		s.start()
	case n < 78:
		if certificate := 1 + s.rand.IntN(3); !s.gone[certificate] {
			replace(s.t, s.apps, 1, certificate)
		}
	case n < 79:
		if certificate := 1 + s.rand.IntN(3); !s.gone[certificate] {
			s.gone[certificate] = true
			if err := s.apps.RemoveCertificate(s.t.(*testing.T).Context(), 1, certificate); err != nil {
				s.t.Error(err)
			}
		}
	case n < 86 && len(s.refs) > 0:
		r := s.refs[s.rand.IntN(len(s.refs))]
		s.store.pause(r, s.rand.IntN(2) == 0)
		s.Changed(r)
	case n < 90 && len(s.refs) > 0:
		_ = s.Stop(s.t.(*testing.T).Context(), s.refs[s.rand.IntN(len(s.refs))], "stopped") // it may have ended
	case n < 94:
		s.ahead.Add(int64(s.rand.IntN(7200)-3600) * int64(time.Second))
	case n < 97:
		s.failed.Store(int32(s.rand.IntN(70)))
	default:
		if _, err := s.apps.Declare(s.t.(*testing.T).Context(), app.Declaration{ID: 1, PushPace: new(s.rand.IntN(2) * 500), TaskPace: new(s.rand.IntN(2) * 200)}); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *simulation) addTask() {
	units := map[int]int{}
	for range 1 + s.rand.IntN(3) {
		units[s.rand.IntN(4)] = []int{1, 3, 40, 700, 3000}[s.rand.IntN(5)]
	}
	life := []time.Duration{0, time.Minute, 20 * time.Minute, 3 * time.Hour}[s.rand.IntN(4)]
	r := s.store.add(spec{app: 1, units: units, life: life, since: s.opts.Now().Add(-time.Hour)})
	s.store.mu.Lock()
	for _, u := range s.store.tasks[r].units {
		s.ids[u.Target.SendID] = u
	}
	s.store.mu.Unlock()
	s.refs = append(s.refs, r)
}

func (s *simulation) mood(version string) mood { return mood(s.moods[version[0]-'0'].Load()) }

// answer answers a message as the mood is.
func (s *simulation) answer(version string, target *channel.Target, try int) channel.Result {
	if target.SendID == "" {
		s.t.Error("a unit is sent whose outcome is decided")
	}
	dice := xxh3.HashStringSeed(fmt.Sprint(target.SendID, try), s.seed) % 100
	switch s.mood(version) {
	case flaky:
		switch {
		case dice < 10:
			return channel.Result{Outcome: channel.Retry, Status: 500}
		case dice < 14:
			return channel.Result{Outcome: channel.Gone, Status: 404}
		case dice < 16:
			return channel.Result{Outcome: channel.Rejected, Status: 400}
		case dice < 20:
			return channel.Result{Outcome: channel.Unknown, Replaces: dice%2 == 0}
		case dice < 22:
			return channel.Result{Outcome: channel.Throttled, Status: 429, After: 2 * time.Minute}
		case dice < 23:
			return channel.Result{Outcome: channel.Unauthorized, Status: 403}
		}
	case throttling:
		if dice < 50 {
			return channel.Result{Outcome: channel.Throttled, Status: 429, After: 20 * time.Second, Lane: true}
		}
	case dead:
		return channel.Result{Outcome: channel.Retry}
	case refusing:
		return channel.Result{Outcome: channel.Unauthorized, Status: 401}
	case hanging:
		time.Sleep(15 * time.Second)
		return channel.Result{Outcome: channel.Unknown}
	case empty:
		return channel.Result{Outcome: channel.Gone}
	}
	return channel.Result{Outcome: channel.Accepted, Status: 200}
}

// again is told of a message that is sent again.
func (s *simulation) again(id string, last channel.Result) {
	switch last.Outcome {
	case channel.Retry, channel.Throttled, channel.Unauthorized:
		return
	case channel.Unknown:
		if last.Replaces {
			return
		}
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if !s.ids[id].repeats {
		s.t.Errorf("message %s was answered %q and is sent again", id, last.Outcome)
	}
}

// ends has the outcome of a unit by the last result of its message.
var ends = map[channel.Outcome]report.Outcome{
	channel.Accepted: report.Accepted, channel.Gone: report.Gone, channel.Rejected: report.Rejected, channel.Unknown: report.Unknown,
}

// check compares what the store has with what the provider did.
func (s *simulation) check(seed uint64) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.provider.mu.Lock()
	defer s.provider.mu.Unlock()
	for id, u := range s.ids {
		last, sent := s.provider.results[id]
		want, final := ends[last.Outcome]
		switch {
		case u.outcome == 0 || u.open:
			s.t.Errorf("seed %d: unit %s has no outcome (open: %t)", seed, id, u.open)
		case u.repeats: // its page was open when a process ended, and its task ended before its next turn
		case u.outcome == report.NoToken && (!sent || !final || last.Replaces): // it waited for another try
		case sent && final && u.outcome != want && (last.Outcome != channel.Unknown || !last.Replaces):
			s.t.Errorf("seed %d: unit %s is %q, and the provider said %q", seed, id, u.outcome, last.Outcome)
		case u.outcome.String() == "accepted" && (!sent || last.Outcome != channel.Accepted):
			s.t.Errorf("seed %d: unit %s is accepted, and the provider said %q", seed, id, last.Outcome)
		}
	}
	if s.store.open != 0 {
		s.t.Errorf("seed %d: %d units are open at the end", seed, s.store.open)
	}
	if limit := 4 * maxOpen * task.MaxPage; s.store.most > limit {
		s.t.Errorf("seed %d: %d units were open at once, want at most %d", seed, s.store.most, limit)
	}
}
