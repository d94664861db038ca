package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

func (m *taskModel) create() {
	if len(m.tasks) > 0 && m.r.IntN(2) == 0 && len(m.running()) > 6 {
		return
	}
	m.random++
	n := &task.New{Command: "push", Message: channel.Message{Title: "t"}, Life: time.Hour, Random: m.random, Body: [32]byte{byte(m.random), byte(m.random >> 8)}}
	t := &modelTask{frozen: map[string]int{}, units: map[string]*unitState{}, counts: map[int]*report.Counts{}, must: map[string]bool{}}
	unknown := 0
	put := func(a *modelAccount) { t.frozen[a.name] = a.made }
	switch m.r.IntN(4) {
	case 0: // everyone
		for _, list := range []map[string]*modelAccount{m.user, m.dev} {
			for _, a := range list {
				put(a)
			}
		}
	case 1:
		n.Audience.Where, n.Audience.Attributes = `tag("t")`, &m.app.Attributes
		for _, a := range m.user {
			if a.tagged {
				put(a)
			}
		}
	default:
		n.Command = "batch"
		for range 1 + m.r.IntN(6) {
			name, list := m.userName(), m.user
			if m.r.IntN(2) == 0 {
				name, list = m.deviceName(), m.dev
			}
			n.Audience.Accounts = append(n.Audience.Accounts, name)
			if list[name] == nil {
				unknown++
			} else {
				put(list[name])
			}
		}
	}
	var err error
	t.receipt, err = m.s.Tasks.Create(m.Context(), id, n)
	m.ok(err)
	m.note("create %s %q %q %s", n.Command, n.Audience.Where, n.Audience.Accounts, t.receipt.ID)
	if len(t.receipt.Failures) != unknown || t.receipt.Repeated {
		m.Fatalf("Create of %q has %d failures, want %d; repeated: %v", n.Audience.Accounts, len(t.receipt.Failures), unknown, t.receipt.Repeated)
	}
	again, err := m.s.Tasks.Create(m.Context(), id, n)
	m.ok(err)
	if again.Repeated && again.ID != t.receipt.ID {
		m.Fatalf("a repeated request has task %s, want %s", again.ID, t.receipt.ID)
	}
	if !again.Repeated { // the machine was slow
		m.ok(m.endByID(again.ID))
	}
	made, err := m.s.Tasks.Task(m.Context(), id, t.receipt.ID)
	m.ok(err)
	t.ref = made.Ref
	if n.Command == "push" {
		if m.r.IntN(5) == 0 {
			m.reopen(true)
		}
		m.ok(m.s.Tasks.Freeze(m.Context(), t.ref))
	}
	for k := range m.now(t) {
		t.must[k] = true
	}
	if len(t.frozen) == 0 {
		t.isDone = true
	}
	m.tasks = append(m.tasks, t)
}

func (m *taskModel) endByID(taskID string) error {
	t, err := m.s.Tasks.Task(m.Context(), id, taskID)
	if err != nil || t.State.Ended() {
		return err
	}
	return m.s.Tasks.End(m.Context(), t.Ref, task.Stopped, "")
}

func (m *taskModel) running() (list []*modelTask) {
	for _, t := range m.tasks {
		if !t.isDone {
			list = append(list, t)
		}
	}
	return list
}

func (m *taskModel) some() *modelTask {
	list := m.running()
	if len(list) == 0 {
		return nil
	}
	return list[m.r.IntN(len(list))]
}

func (m *taskModel) openPage() {
	t := m.some()
	if t == nil || len(t.pages) > 8 {
		return
	}
	lanes, err := m.s.Tasks.Lanes(m.Context(), t.ref)
	m.ok(err)
	if len(lanes) > 0 {
		m.openLane(t, lanes[m.r.IntN(len(lanes))], 1+m.r.IntN(5))
	}
	m.look(t)
}

// openLane opens a page of a lane and looks at its units.
func (m *taskModel) openLane(t *modelTask, l task.Lane, limit int) (opened bool, next time.Time) {
	p, next, err := m.s.Tasks.Open(m.Context(), t.ref, l, limit)
	m.ok(err)
	if p == nil {
		return false, next
	}
	var names []string
	page := &modelPage{Page: p}
	for i := range p.Units {
		u := &p.Units[i]
		names = append(names, u.Account)
		m.unit(t, l, u)
		k := ""
		if a := m.account(u.Account); a != nil {
			k = key(a)
		} else {
			k = m.deleted(t, append(t.pages, page), u.Tries)
		}
		page.keys = append(page.keys, k)
	}
	m.note("%s: open %d: %q", t.receipt.ID, l.Certificate, names)
	if len(p.Units) == 0 || len(p.Units) > limit {
		m.Fatalf("a page has %d units, the limit is %d", len(p.Units), limit)
	}
	t.pages = append(t.pages, page)
	return true, next
}

// deleted returns a unit that waits for its next try after so many, and was deleted.
func (m *taskModel) deleted(t *modelTask, pages []*modelPage, tries int) string {
	for k, state := range t.units {
		name, _, _ := strings.Cut(k, "#")
		a := m.account(name)
		open := slices.ContainsFunc(pages, func(p *modelPage) bool { return slices.Contains(p.keys, k) })
		if state.outcome == report.Waiting && state.tries == tries && !open && (a == nil || key(a) != k) {
			return k
		}
	}
	m.Fatalf("a unit of %s that was deleted waited for try %d, and none did", t.receipt.ID, tries)
	return ""
}

// account returns who has a name now.
func (m *taskModel) account(name string) *modelAccount {
	if a := m.dev[name]; a != nil {
		return a
	}
	return m.user[name]
}

func (m *taskModel) unit(t *modelTask, l task.Lane, u *task.Unit) {
	m.Helper()
	for _, p := range t.pages {
		for _, other := range p.Units {
			if other.Account == u.Account && u.Account != "" {
				m.Fatalf("%s is in two open pages of %s", u.Account, t.receipt.ID)
			}
		}
	}
	a := m.account(u.Account)
	if a == nil {
		if u.Tries == 0 {
			m.Fatalf("%q is a unit of %s and does not exist", u.Account, t.receipt.ID)
		}
		return // it waited for another try
	}
	state := t.units[key(a)]
	if state != nil && state.outcome != report.Waiting {
		m.Fatalf("%s is a unit of %s again, it was %s", u.Account, t.receipt.ID, state.outcome)
	}
	if state != nil {
		if state.tries != u.Tries {
			m.Fatalf("%s was tried %d times, want %d", u.Account, u.Tries, state.tries)
		}
		return
	}
	isNow := m.now(t)[key(a)] != nil
	want := m.way(a)
	switch got := u.Decided; {
	case !isNow:
		m.Fatalf("%s is a unit of %s and is not meant", u.Account, t.receipt.ID)
	case got != want.outcome || want.cert != l.Certificate:
		m.Fatalf("%s is a unit of lane %d, decided %q; want lane %d, %q", u.Account, l.Certificate, got, want.cert, want.outcome)
	case got == 0 && (u.Target.Address == "" || u.Target.ReportID == "" || len(u.Target.ReportID) > 40 || len(u.Target.SendID) != 36):
		m.Fatalf("%s has the target %+v", u.Account, u.Target)
	}
}

type modelWay struct {
	cert    int
	outcome report.Outcome
}

// way says how an account is reached: with the order of channels as listed, APNs first.
func (m *taskModel) way(a *modelAccount) modelWay {
	if m.dev[a.name] != a {
		return modelWay{0, report.NoDevice}
	}
	switch {
	case len(a.certs) == 0:
		return modelWay{0, report.NoToken}
	case slices.Equal(a.certs, []int{3}):
		return modelWay{0, report.NoCertificate}
	case a.denied:
		return modelWay{0, report.PermissionOff}
	case slices.Contains(a.certs, 2):
		return modelWay{2, 0}
	}
	return modelWay{1, 0}
}

func (m *taskModel) abandon() {
	if t := m.some(); t != nil && len(t.pages) > 0 {
		i := m.r.IntN(len(t.pages))
		m.note("%s: abandon", t.receipt.ID)
		m.s.Tasks.Abandon(t.pages[i].Page)
		t.pages = slices.Delete(t.pages, i, i+1)
	}
}

func (m *taskModel) closePage() {
	if t := m.some(); t != nil && len(t.pages) > 0 {
		m.close(t, m.r.IntN(len(t.pages)), true)
		m.look(t)
	}
}

// close closes an open page with random verdicts.
func (m *taskModel) close(t *modelTask, i int, retries bool) {
	p := t.pages[i]
	t.pages = slices.Delete(t.pages, i, i+1)
	var verdicts []task.Verdict
	for j := range p.Units {
		u := &p.Units[j]
		v := task.Verdict{Outcome: u.Decided}
		if v.Outcome == 0 {
			switch n := m.r.IntN(10); {
			case n == 0:
				v = task.Verdict{Outcome: report.Rejected, Status: 400, Code: "BAD", Words: fmt.Sprint("words ", m.r.IntN(5))}
			case n < 3 && retries:
				v = task.Verdict{Again: time.Now().Add(time.Duration(m.r.IntN(3)) * time.Millisecond), Status: 503, Words: "later"}
			case n == 3:
				v = task.Verdict{Outcome: report.Gone, Status: 404, Words: "gone", Retire: true}
			default:
				v = task.Verdict{Outcome: report.Accepted, Status: 200, Took: time.Millisecond * time.Duration(m.r.IntN(100))}
			}
		}
		verdicts = append(verdicts, v)
		m.verdict(t, p.Lane.Certificate, p.keys[j], u, &v)
	}
	ended, err := m.s.Tasks.Close(m.Context(), p.Page, verdicts)
	m.ok(err)
	m.note("%s: close %d units, ended %v", t.receipt.ID, len(verdicts), ended)
	if ended {
		m.done(t)
	}
}

func (m *taskModel) verdict(t *modelTask, cert int, k string, u *task.Unit, v *task.Verdict) {
	if t.counts[cert] == nil {
		t.counts[cert] = &report.Counts{}
	}
	if v.Outcome != 0 {
		t.counts[cert][v.Outcome]++
	}
	state := &unitState{outcome: v.Outcome, words: v.Words, tries: u.Tries}
	if u.Decided == 0 {
		state.tries++
	}
	t.units[k] = state
	delete(t.must, k)
	if a := m.account(u.Account); v.Retire && a != nil && key(a) == k {
		m.retire(a, cert, u.Target.Address)
	}
}

// retire takes a token from a device if it still has it.
func (m *taskModel) retire(a *modelAccount, cert int, address channel.Address) {
	d, err := m.s.Devices.Device(m.Context(), id, a.name)
	if err != nil {
		return
	}
	for _, token := range d.Tokens {
		if token.Certificate == cert && token.Address == address {
			a.certs = slices.DeleteFunc(slices.Clone(a.certs), func(c int) bool { return c == cert })
		}
	}
}

// look notices that a task has ended.
func (m *taskModel) look(t *modelTask) {
	if t.isDone {
		return
	}
	got, err := m.s.Tasks.Get(m.Context(), t.ref)
	m.ok(err)
	if got.State.Ended() {
		m.done(t)
	}
}

// done looks at a task that is done.
func (m *taskModel) done(t *modelTask) {
	m.Helper()
	t.isDone = true
	m.note("%s: done", t.receipt.ID)
	if len(t.must) > 0 {
		m.Fatalf("%s is done, and these were in no page: %v", t.receipt.ID, slices.Sorted(maps.Keys(t.must)))
	}
	if len(t.pages) > 0 {
		m.Fatalf("%s is done with open pages", t.receipt.ID)
	}
	for k, u := range t.units {
		if u.outcome == report.Waiting {
			m.Fatalf("%s is done, and %s waits", t.receipt.ID, k)
		}
	}
}

func (m *taskModel) end() {
	t := m.some()
	if t == nil {
		return
	}
	for _, p := range t.pages {
		m.s.Tasks.Abandon(p.Page)
	}
	t.pages = nil
	state := task.Stopped
	outcome := report.Stopped
	if m.r.IntN(2) == 0 {
		state, outcome = task.Expired, report.Expired
	}
	err := m.s.Tasks.End(m.Context(), t.ref, state, "for a test")
	if errors.Is(err, task.ErrEnded) {
		m.look(t)
		return
	}
	m.ok(err)
	got, err := m.s.Tasks.Get(m.Context(), t.ref)
	m.ok(err)
	var before, waiting uint64
	for _, c := range t.counts {
		before += c.Sum()
	}
	for _, u := range t.units {
		if u.outcome == report.Waiting {
			waiting++
		}
	}
	most := waiting
	for k := range m.now(t) {
		if t.units[k] == nil {
			most++
		}
	}
	counts := got.Progress.Counts()
	rest := counts.Sum() - before
	m.note("%s: %s with %d of the rest", t.receipt.ID, state, rest)
	if rest < waiting+uint64(len(t.must)) || rest > most {
		m.Fatalf("%s ended with %d units more, want %d (that wait) and %v to %d", t.receipt.ID, rest, waiting, slices.Sorted(maps.Keys(t.must)), most)
	}
	if counts[outcome] < waiting {
		m.Fatalf("%s ended with %v, and %d waited", t.receipt.ID, counts, waiting)
	}
	t.isDone, t.stopped = true, true
}
