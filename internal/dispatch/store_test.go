package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A memory is a task.Store in memory, as far as a Dispatcher uses one. It keeps its
// promises, and fails the test if those to it are not kept. It outlives Dispatchers: each
// has a [seat] of its own, which can be torn off.
type memory struct {
	task.Store // what a Dispatcher does not use panics
	t          testing.TB
	took       time.Duration // of each call
	fixing     time.Duration // of an audience
	fails      func() bool   // whether a call fails
	loses      func() bool   // whether a device has lost its token when it is its turn again
	now        func() time.Time

	mu      sync.Mutex
	tasks   map[task.Ref]*stored
	last    uint64
	made    func(task.Ref)
	retired []string
	open    int // units in open pages
	most    int // of them at once
	opens   int // calls of Open
}

// A stored is a task of a memory.
type stored struct {
	task.Task
	units   []*unit
	pages   map[*task.Page]bool
	freezes int
	done    chan struct{} // closed when it has ended
	next    map[int]int   // by certificate: units before are in a page or were
}

// A unit is a unit of a stored task.
type unit struct {
	task.Unit
	certificate int
	open        bool
	again       time.Time // of a retry; zero: none is due
	outcome     report.Outcome
	repeats     bool // its page was open when the process ended
	verdict     task.Verdict
}

func newMemory(t testing.TB) *memory {
	return &memory{t: t, tasks: map[task.Ref]*stored{}, now: time.Now}
}

// A spec describes a task for add.
type spec struct {
	app   uint32
	units map[int]int // by certificate
	life  time.Duration
	since time.Time // of tokens
}

// add adds a task, as Create does.
func (m *memory) add(s spec) task.Ref {
	m.mu.Lock()
	m.last++
	now := m.now().Round(0)
	st := &stored{
		Task: task.Task{
			Ref: task.Ref{App: s.app, Number: m.last}, ID: fmt.Sprintf("task-%d", m.last),
			State: task.Accepted, Accepted: now, Ends: now.Add(s.life), Audience: task.Audience{Where: "x"},
		},
		pages: map[*task.Page]bool{}, next: map[int]int{}, done: make(chan struct{}),
	}
	st.Message.Title = st.ID
	for certificate, n := range s.units {
		for i := range n {
			u := &unit{certificate: certificate}
			u.Account = fmt.Sprintf("device-%d-%d-%d", m.last, certificate, i)
			u.Target = channel.Target{Address: channel.Address("token of " + u.Account), SendID: fmt.Sprintf("%d/%d/%d", m.last, certificate, i)}
			u.Since = s.since
			if certificate == 0 {
				u.Decided = []report.Outcome{report.NoDevice, report.NoToken, report.PermissionOff}[i%3]
			}
			st.units = append(st.units, u)
		}
	}
	m.tasks[st.Ref] = st
	made := m.made
	m.mu.Unlock()
	if made != nil {
		made(st.Ref)
	}
	return st.Ref
}

// get returns a task as it is now.
func (m *memory) get(r task.Ref) task.Task {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tasks[r].snapshot()
}

// outcomes returns how many units of a task have which outcome; 0 is none yet.
func (m *memory) outcomes(r task.Ref) (c [report.Outcomes]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.tasks[r].units {
		c[u.outcome]++
	}
	return c
}

// pause pauses a task or lets it go on, as SetPaused does.
func (m *memory) pause(r task.Ref, paused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks[r].Paused = paused
}

func (s *stored) snapshot() task.Task {
	t := s.Task
	t.Progress = task.Progress{}
	by := map[int]*report.Counts{}
	for _, u := range s.units {
		c := by[u.certificate]
		if c == nil {
			c = new(report.Counts)
			by[u.certificate] = c
		}
		if u.outcome != 0 {
			c[u.outcome]++
		} else if !u.again.IsZero() {
			t.Progress.Retries++
		}
	}
	for certificate, c := range by {
		t.Progress.Lanes = append(t.Progress.Lanes, task.LaneProgress{Certificate: certificate, Counts: *c})
	}
	return t
}

// A seat is what one Dispatcher has of a memory.
type seat struct {
	*memory
	torn bool // the process ended: nothing it does is kept
}

var (
	errTorn = errors.New("the process has ended")
	errDisk = errors.New("the disk does not answer")
)

// begin is at the beginning of each call.
func (s *seat) begin(ctx context.Context) error {
	if s.took > 0 {
		time.Sleep(s.took)
	}
	s.mu.Lock()
	switch {
	case s.torn:
		return errTorn
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.fails != nil && s.fails():
		return errDisk
	}
	return nil
}

// tear ends the process: open pages are cut anew.
func (s *seat) tear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.torn = true
	s.made = nil
	for _, st := range s.tasks {
		for p := range st.pages {
			s.close(st, p, func(u *unit) { u.repeats = true })
		}
		st.next = map[int]int{}
	}
}

// close takes a page out of its task, and calls f for its units.
func (m *memory) close(st *stored, p *task.Page, f func(u *unit)) {
	delete(st.pages, p)
	for _, u := range p.Mark.([]*unit) {
		if !u.open {
			m.t.Errorf("unit %s is in a page and not open", u.Account)
		}
		u.open = false
		m.open--
		f(u)
	}
}

func (s *seat) Active(ctx context.Context, made func(task.Ref)) (all []*task.Task, err error) {
	err = s.begin(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.made = made
	for _, st := range s.tasks {
		if !st.State.Ended() {
			t := st.snapshot()
			all = append(all, &t)
		}
	}
	slices.SortFunc(all, func(a, b *task.Task) int { return int(a.Number) - int(b.Number) })
	return all, nil
}

func (s *seat) Get(ctx context.Context, r task.Ref) (*task.Task, error) {
	err := s.begin(ctx)
	defer s.mu.Unlock()
	st := s.tasks[r]
	if err != nil || st == nil {
		return nil, err
	}
	t := st.snapshot()
	return &t, nil
}

func (s *seat) List(ctx context.Context, id uint32, f task.Filter, limit int, _ string) (list []*task.Task, _ string, _ error) {
	err := s.begin(ctx)
	defer s.mu.Unlock()
	for _, st := range s.tasks {
		if st.App == id && !st.Accepted.Before(f.Since) {
			t := st.snapshot()
			list = append(list, &t)
		}
	}
	slices.SortFunc(list, func(a, b *task.Task) int { return cmp.Compare(b.Number, a.Number) })
	return list[:min(len(list), limit)], "", err
}

func (s *seat) Freeze(ctx context.Context, r task.Ref) error {
	sleep(ctx, s.fixing)
	err := s.begin(ctx)
	defer s.mu.Unlock()
	st := s.tasks[r]
	switch {
	case err != nil:
		return err
	case st == nil:
		return task.ErrUnknown
	case st.State.Ended():
		return task.ErrEnded
	}
	st.freezes++
	st.State, st.Frozen = task.Sending, uint64(len(st.units))
	if len(st.units) == 0 {
		st.State = task.Done
		close(st.done)
	}
	return nil
}

func (s *seat) Lanes(ctx context.Context, r task.Ref) (lanes []task.Lane, err error) {
	err = s.begin(ctx)
	defer s.mu.Unlock()
	st := s.tasks[r]
	if err != nil || st == nil {
		return nil, err
	}
	for _, u := range st.units {
		if l := (task.Lane{App: r.App, Certificate: u.certificate}); u.outcome == 0 && !slices.Contains(lanes, l) {
			lanes = append(lanes, l)
		}
	}
	return lanes, nil
}

func (s *seat) Open(ctx context.Context, r task.Ref, lane task.Lane, limit int) (*task.Page, time.Time, error) {
	err := s.begin(ctx)
	defer s.mu.Unlock()
	s.opens++
	st := s.tasks[r]
	switch {
	case err != nil:
		return nil, time.Time{}, err
	case st == nil:
		return nil, time.Time{}, task.ErrUnknown
	case st.State != task.Sending:
		return nil, time.Time{}, task.ErrEnded
	case limit < 1 || limit > task.MaxPage:
		s.t.Errorf("a page of %d units was asked for", limit)
	}
	t := st.Task
	p := &task.Page{Task: &t, Lane: lane}
	var units []*unit
	var next time.Time
	now := s.now()
	add := func(u *unit) {
		u.open, u.again = true, time.Time{}
		units = append(units, u)
		p.Units = append(p.Units, u.Unit)
	}
	for _, u := range st.units[:st.next[lane.Certificate]] {
		if u.certificate != lane.Certificate || u.open || u.outcome != 0 || len(units) == limit {
			continue
		}
		if u.again.After(now) {
			if next.IsZero() || u.again.Before(next) {
				next = u.again
			}
			continue
		}
		if add(u); s.loses != nil && s.loses() {
			last := &p.Units[len(p.Units)-1]
			last.Decided, last.Target = report.NoToken, channel.Target{}
		}
	}
	for i := st.next[lane.Certificate]; i < len(st.units) && len(units) < limit; i++ {
		st.next[lane.Certificate] = i + 1
		if u := st.units[i]; u.certificate == lane.Certificate && u.outcome == 0 && !u.open && (u.again.IsZero() || !u.again.After(now)) {
			add(u)
		}
	}
	if len(units) == 0 {
		return nil, next, nil
	}
	if st.Begun.IsZero() {
		st.Begun = now
	}
	p.Mark = units
	st.pages[p] = true
	s.open += len(units)
	s.most = max(s.most, s.open)
	return p, time.Time{}, nil
}

func (s *seat) Close(ctx context.Context, p *task.Page, verdicts []task.Verdict) (bool, error) {
	err := s.begin(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return false, err
	}
	st := s.tasks[p.Task.Ref]
	if st == nil {
		return false, task.ErrUnknown
	}
	if !st.pages[p] || len(verdicts) != len(p.Units) {
		s.t.Errorf("a page of %d units that is open: %t is closed with %d verdicts", len(p.Units), st.pages[p], len(verdicts))
		return false, task.ErrEnded
	}
	i := 0
	s.close(st, p, func(u *unit) {
		v := verdicts[i]
		i++
		// What was in a page when a process ended may be sent again, until it is.
		u.repeats = u.repeats && (v.Unsent || v.Outcome == report.NoCertificate || v.Outcome == report.NoToken)
		switch {
		case u.outcome != 0:
			s.t.Errorf("unit %s had outcome %s and gets %s", u.Account, u.outcome, v.Outcome)
		case v.Outcome == 0 && v.Again.IsZero():
			s.t.Errorf("unit %s gets neither an outcome nor another try", u.Account)
		}
		if u.outcome, u.again = v.Outcome, v.Again; !v.Unsent {
			u.Tries++
		}
		u.verdict = v
		if v.Retire {
			s.retired = append(s.retired, u.Account)
		}
	})
	for _, u := range st.units {
		if u.outcome == 0 {
			return false, nil
		}
	}
	st.State, st.Ended = task.Done, s.now()
	close(st.done)
	return true, nil
}

func (s *seat) Abandon(p *task.Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn {
		return
	}
	st := s.tasks[p.Task.Ref]
	if st == nil {
		return
	}
	if !st.pages[p] {
		s.t.Error("a page is given back that is not open")
		return
	}
	s.close(st, p, func(*unit) {})
}

func (s *seat) End(ctx context.Context, r task.Ref, state task.State, reason string) error {
	err := s.begin(ctx)
	defer s.mu.Unlock()
	st := s.tasks[r]
	switch {
	case err != nil:
		return err
	case st == nil:
		return task.ErrUnknown
	case st.State.Ended():
		return task.ErrEnded
	case len(st.pages) > 0:
		s.t.Errorf("task %s is ended with %d open pages", st.ID, len(st.pages))
	}
	for _, u := range st.units {
		switch {
		case u.outcome != 0:
		case u.Decided != 0:
			u.outcome = u.Decided
		case state == task.Stopped:
			u.outcome = report.Stopped
		default:
			u.outcome = report.Expired
		}
	}
	st.State, st.Reason, st.Ended = state, reason, s.now()
	close(st.done)
	return nil
}

func (s *seat) RetireTokens(ctx context.Context, _ task.Ref, units []task.Gone) (int, error) {
	err := s.begin(ctx)
	defer s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	for _, g := range units {
		s.retired = append(s.retired, g.Account)
	}
	return len(units), nil
}

func (s *seat) Expire(ctx context.Context, _ time.Time) error {
	err := s.begin(ctx)
	s.mu.Unlock()
	return err
}

// appStore is an app.Store that keeps nothing: the Registry does.
type appStore struct{}

func (appStore) Apps(context.Context) ([]*app.App, error) { return nil, nil }
func (appStore) SaveApp(context.Context, *app.App) error  { return nil }
func (appStore) DeleteApp(context.Context, uint32) error  { return nil }

// registry returns apps with certificates.
func registry(t testing.TB, apps, certificates int) *app.Registry {
	r, err := app.Open(t.Context(), appStore{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for a := range apps {
		if _, err := r.Create(t.Context(), app.Declaration{ID: uint32(a + 1)}); err != nil {
			t.Fatal(err)
		}
		for range certificates {
			if _, err := r.AddCertificate(t.Context(), uint32(a+1), app.Certificate{Provider: channel.FCM}, seal); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

func seal(certificate, version int) ([]byte, error) {
	return fmt.Appendf(nil, "%d/%d", certificate, version), nil
}

// replace replaces a certificate.
func replace(t testing.TB, r *app.Registry, id uint32, certificate int) {
	if _, err := r.ReplaceCertificate(t.Context(), id, app.Certificate{ID: certificate, Provider: channel.FCM}, seal); err != nil {
		t.Fatal(err)
	}
}
