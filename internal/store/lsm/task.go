package lsm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidings/internal/index"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// Tasks is the task.Store of the directory.
//
// What is known of a task is in tables. In memory is, of each task that has not ended, how
// far it is, and as much of its audience as is being worked on; never its message.
// While a task is opened, closed or ended, its work lock is held, and only by who does
// that: so the steps of a task follow each other, and tasks do not wait for each other.
type Tasks struct {
	*tenants
	users     *Users
	key       []byte // of report ids
	small     uint64 // the largest audience that is gathered
	audiences audienceCache
	records   taskCache
	mu        sync.Mutex
	made      func(task.Ref) // of Active; nil before
}

var _ task.Store = (*Tasks)(nil)

// tenantTasks are the tasks of an app.
type tenantTasks struct {
	mu      sync.Mutex
	active  map[uint64]*running
	pins    map[uint64]uint64 // of ended tasks, by the hour of their end
	least   uint64            // the least pin of all, active and ended ones; Unsettled if there is none
	pushed  pushed
	last    time.Time // of the last push, by the monotonic clock; zero: none since the start
	recent  recents
	pending []pendingRequest // remembered requests that may not be in the tables yet
	floor   uint64           // traces of tasks that ended before this hour are gone

	events events
}

// A running is a task that has not ended, or whose end is about to be durable.
type running struct {
	task.Ref
	x  *tenant
	id string // TaskId

	work    sync.Mutex // held by whoever takes a step of the task
	pages   map[*openPage]struct{}
	visited visited
	answers map[answer]int // numbers of those that are kept; nil: not read yet

	mu  sync.Mutex // over what follows, which only changes under work too
	p   progress
	pos journal.Pos // the group of the last change
}

// snapshot returns how far a task is, and the group that this rests on.
func (r *running) snapshot() (p progress, pos journal.Pos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.p.clone(), r.pos
}

// A step is how far a task is once a commit is made. Until then nobody is told of it.
type step struct {
	p      progress
	record []byte
}

// step returns the step that a change of the progress is. In its record, numbers of pages
// that are open, but for one that is being closed, are left: after a crash they are cut anew.
func (r *running) step(closing *openPage, change func(p *progress)) (*step, error) {
	p, _ := r.snapshot()
	change(&p)
	s := &step{p: p}
	p = s.p.clone()
	for _, l := range p.Lanes {
		l.Left, l.Again = slices.Clone(l.Left), slices.Clone(l.Again)
	}
	for page := range r.pages {
		if page == closing || page.closed {
			continue
		}
		p.lane(page.certificate).giveBack(page)
	}
	var err error
	s.record, err = recordJSON(&p)
	return s, err
}

// commit puts changes into the open group, and makes a step, if there is one, at the same
// moment. The app is locked.
func (r *running) commit(j *journal.DB, s *step, write func(b *journal.Batch)) (journal.Pos, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pos, err := j.Commit(r.App, false, write)
	if err != nil {
		return 0, err
	}
	if s != nil {
		r.p = s.p
	}
	r.pos = max(r.pos, pos)
	return pos, nil
}

// change changes what is known of the progress and needs no commit: after a crash it is
// found again.
func (r *running) change(f func(p *progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.p)
}

// newRunning returns a task with its progress.
func newRunning(x *tenant, number uint64, id string, p progress) *running {
	return &running{Ref: task.Ref{App: x.id, Number: number}, x: x, id: id, p: p, pages: map[*openPage]struct{}{}}
}

// keep adds a task to those in memory.
func (t *tenantTasks) keep(r *running) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active == nil {
		t.active = map[uint64]*running{}
	}
	t.active[r.Number] = r
	t.count(r.pin())
}

// drop takes a task that has ended from those in memory.
func (t *tenantTasks) drop(r *running) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.active, r.Number)
	if r.pin() == t.least { // mostly an older task that has ended has a lower one
		t.recount()
	}
}

// count takes a further pin into account. Looking at all of them for each task would take
// longer the more tasks there are.
func (t *tenantTasks) count(pin uint64) {
	if pin != 0 {
		t.least = min(cmp.Or(t.least, index.Unsettled), pin)
	}
}

// pinned keeps the numbers that an ended task may hold.
func (t *tenantTasks) pinned(hour, pos uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pins == nil {
		t.pins = map[uint64]uint64{}
	}
	if old, known := t.pins[hour]; !known || pos < old {
		t.pins[hour] = pos
	}
	t.count(pos)
}

// recount finds the least pin.
func (t *tenantTasks) recount() {
	t.least = index.Unsettled
	for _, r := range t.active {
		if pin := r.pin(); pin != 0 {
			t.least = min(t.least, pin)
		}
	}
	for _, pin := range t.pins {
		t.least = min(t.least, pin)
	}
}

// pin returns the position of which numbers must not be given out since.
func (r *running) pin() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.p.Pin
}

// oldest returns the position at which the oldest audience was fixed that is kept.
func (t *tenantTasks) oldest() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.least == 0 { // nothing was ever kept
		return index.Unsettled
	}
	return t.least
}

// clear forgets the tasks of an app that is deleted.
func (t *tenantTasks) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active, t.pins, t.recent, t.pending = nil, nil, recents{}, nil
}

func (t *tenantTasks) find(number uint64) *running {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.active[number]
}

// all returns the tasks in memory, the oldest first.
func (t *tenantTasks) all() []*running {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*running, 0, len(t.active))
	for _, r := range t.active {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *running) int { return cmp.Compare(a.Number, b.Number) })
	return list
}

// pendingTasks returns how many tasks have not ended.
func (t *tenantTasks) pendingTasks() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.active {
		r.mu.Lock()
		if !r.p.State.Ended() {
			n++
		}
		r.mu.Unlock()
	}
	return n
}

// full reports whether as many tasks have not ended as an app may have, and how many. They
// are counted only if there may be as many: each request asks.
func (t *tenantTasks) full(most int) (n int, full bool) {
	t.mu.Lock()
	few := len(t.active) < most
	t.mu.Unlock()
	if few {
		return 0, false
	}
	n = t.pendingTasks()
	return n, n >= most
}

// running returns a task that is in memory; nil if there is none, or no such app.
func (t *Tasks) running(ref task.Ref) *running {
	x := t.find(ref.App)
	if x == nil {
		return nil
	}
	return x.tasks.find(ref.Number)
}

// batchPrefix begins the TaskId of a batch (spec/timpush-api.md, 6.4).
const batchPrefix = "batch_"

// newTaskID returns the TaskId of a task: the second of its acceptance, its number and
// something that nobody can guess, in hexadecimal digits.
func newTaskID(batch bool, accepted time.Time, number uint64) string {
	var secret [8]byte
	_, _ = rand.Read(secret[:]) // never fails
	id := fmt.Sprintf("%08x_%x_%016x", uint32(accepted.Unix()), number, binary.BigEndian.Uint64(secret[:]))
	if batch {
		return batchPrefix + id
	}
	return id
}

// taskNumber returns the number in a TaskId, which may be that of no task.
func taskNumber(id string) (number uint64, ok bool) {
	parts := strings.Split(strings.TrimPrefix(id, batchPrefix), "_")
	if len(id) > 64 || len(parts) != 3 {
		return 0, false
	}
	number, err := strconv.ParseUint(parts[1], 16, 64)
	return number, err == nil
}

// load reads the tasks of all apps that have not ended, after the journal was opened.
func (t *Tasks) load() error {
	for _, x := range t.all() {
		if err := t.loadTenant(x); err != nil {
			return fmt.Errorf("tasks of app %d: %w", x.id, err)
		}
	}
	return nil
}

func (t *Tasks) loadTenant(x *tenant) error {
	ctx := context.Background()
	return t.journal.Read(func(v *journal.View) error {
		value, err := v.Get(tablePushed, x.id, nil)
		if err != nil || value == nil {
			return err // no task was ever made
		}
		if err := json.Unmarshal(value, &x.tasks.pushed); err != nil {
			return err
		}
		x.tasks.pins = map[uint64]uint64{}
		err = v.Each(ctx, tablePinned, x.id, func(key, value []byte) error {
			hour, pos := binary.BigEndian.Uint64(key), ^binary.BigEndian.Uint64(value)
			if hour == floorHour {
				x.tasks.floor = ^pos
			} else {
				x.tasks.pins[hour] = pos
			}
			return nil
		})
		if err != nil {
			return err
		}
		x.tasks.refresh()
		return v.Each(ctx, tableActive, x.id, func(key, value []byte) error {
			number := binary.BigEndian.Uint64(key)
			var p progress
			if err := json.Unmarshal(value, &p); err != nil {
				return fmt.Errorf("progress of task %d: %w", number, err)
			}
			rec, err := readTaskRecord(v, x.id, number)
			if err != nil {
				return err
			}
			if rec == nil {
				return fmt.Errorf("task %d has a progress and no record", number)
			}
			x.tasks.keep(newRunning(x, number, rec.ID, p))
			return nil
		})
	})
}

// floorHour is the key of tablePinned that says which traces are gone: all of tasks that
// ended before an hour.
const floorHour = 1<<64 - 1

func readTaskRecord(v *journal.View, app uint32, number uint64) (*taskRecord, error) {
	value, err := v.Get(tableTask, app, taskKey(number))
	if err != nil || value == nil {
		return nil, err
	}
	return parseTaskRecord(app, number, value)
}

func parseTaskRecord(app uint32, number uint64, value []byte) (*taskRecord, error) {
	rec := new(taskRecord)
	if err := json.Unmarshal(value, rec); err != nil {
		return nil, fmt.Errorf("task %d of app %d: %w", number, app, err)
	}
	return rec, nil
}

// commit puts changes of a task into a group, with a step if there is one. Nobody deletes
// the app meanwhile.
func (t *Tasks) commit(ctx context.Context, r *running, s *step, write func(b *journal.Batch)) (journal.Pos, error) {
	if err := t.journal.Reserve(ctx, false); err != nil {
		return 0, err
	}
	x := r.x
	x.mu.RLock()
	defer x.mu.RUnlock()
	defer t.journal.Guard()
	if x.gone {
		return 0, task.ErrUnknown
	}
	return r.commit(t.journal, s, write)
}

// advance makes a step of a task that goes on.
func (t *Tasks) advance(ctx context.Context, r *running, change func(p *progress)) error {
	s, err := r.step(nil, change)
	if err != nil {
		return err
	}
	_, err = t.commit(ctx, r, s, func(b *journal.Batch) { b.Set(tableActive, taskKey(r.Number), s.record) })
	return err
}

// wait returns when what is known of a task in memory is durable. It does not end with a
// context: what was written has been written.
func (t *Tasks) wait(r *running) error {
	r.mu.Lock()
	pos := r.pos
	r.mu.Unlock()
	return t.journal.Wait(context.Background(), pos)
}

// errPage is the error of a page that is not open.
var errPage = errors.New("the page is not open")
