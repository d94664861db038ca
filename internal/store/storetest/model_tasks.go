package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/report"
	"tidings/internal/task"
)

// Stores are all stores of a backend.
type Stores struct {
	Apps    app.Store
	Users   audience.Store
	Devices device.Store
	Tasks   task.Store
	Close   func() error
}

// A TaskDatabase is where Stores keep things, as Database.
type TaskDatabase struct {
	Open    func() (*Stores, error)
	Crash   func()
	Inspect func(t *testing.T)
}

// taskModel says what tasks must come to. An account is its name and how often it was made,
// so that one that was deleted and made again is another.
type taskModel struct {
	*testing.T
	r    *rand.Rand
	db   TaskDatabase
	s    *Stores
	app  *app.App
	user map[string]*modelAccount
	dev  map[string]*modelAccount

	tasks   []*modelTask
	random  uint32
	makings int
	log     []string
}

type modelAccount struct {
	name   string
	made   int // how many were made before, of all
	tagged bool
	owner  string // of a device
	certs  []int
	denied bool
}

type unitState struct {
	outcome report.Outcome // Waiting: for another try
	words   string
	tries   int
}

type modelTask struct {
	receipt task.Receipt
	ref     task.Ref
	frozen  map[string]int        // account → made
	units   map[string]*unitState // by account and made, of closed pages
	pages   []*modelPage
	must    map[string]bool // units that have to be in a page, by account and made
	counts  map[int]*report.Counts
	isDone  bool
	stopped bool
}

// A modelPage is an open page, with who its units were when it was opened.
type modelPage struct {
	*task.Page
	keys []string
}

func key(a *modelAccount) string { return fmt.Sprintf("%s#%d", a.name, a.made) }

// ModelTasks makes random changes of users, devices and tasks, and compares what becomes of
// tasks with a model: nobody is forgotten, nobody is in two pages, sums close; also after
// restarts and crashes.
func ModelTasks(t *testing.T, db TaskDatabase, seed uint64, steps int) {
	t.Logf("seed %d", seed)
	m := &taskModel{T: t, r: rand.New(rand.NewPCG(seed, 7)), db: db, user: map[string]*modelAccount{}, dev: map[string]*modelAccount{}}
	defer func() {
		if t.Failed() {
			for _, line := range m.log[max(0, len(m.log)-40):] {
				t.Log(line)
			}
		}
	}()
	m.open()
	defer func() {
		if m.s != nil {
			_ = m.s.Close()
		}
	}()
	m.app = NewApp(id)
	m.app.Certificates = []app.Certificate{{ID: 1, Version: 1, Provider: channel.FCM}, {ID: 2, Version: 1, Provider: channel.APNs}}
	m.app.NextCertificate = 2
	m.app.Settings.Push.Gap = new(time.Duration)
	m.ok(m.s.Apps.SaveApp(t.Context(), m.app))
	m.user[app.BuiltInAdmin] = &modelAccount{name: app.BuiltInAdmin}
	for i := range steps {
		m.step()
		if i%100 == 99 {
			m.compare()
		}
	}
	m.finish()
	m.compare()
	m.db.Inspect(t)
}

func (m *taskModel) ok(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *taskModel) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *taskModel) open() {
	m.Helper()
	s, err := m.db.Open()
	m.ok(err)
	m.s = s
	_, err = s.Tasks.Active(m.Context(), func(task.Ref) {})
	m.ok(err)
}

// reopen restarts the store. Pages that were open are no more.
func (m *taskModel) reopen(crash bool) {
	m.note("reopen, crash %v", crash)
	if crash {
		m.db.Crash()
		_ = m.s.Close()
	} else {
		m.ok(m.s.Close())
	}
	m.s = nil
	for _, t := range m.tasks {
		t.pages = nil
	}
	m.open()
}

func (m *taskModel) step() {
	n := m.r.IntN(100)
	switch {
	case n < 6:
		m.makeUser()
	case n < 22:
		m.register()
	case n < 32:
		m.bind()
	case n < 35:
		m.unbind()
	case n < 37:
		m.removeDevice()
	case n < 39:
		m.deleteUser()
	case n < 44:
		m.create()
	case n < 66:
		m.openPage()
	case n < 86:
		m.closePage()
	case n < 90:
		m.abandon()
	case n < 91:
		m.end()
	case n < 93:
		m.explain()
	case n < 95:
		m.report()
	case n < 96:
		m.reopen(m.r.IntN(2) == 0)
	default:
		m.tag()
	}
}

func (m *taskModel) userName() string   { return fmt.Sprintf("user%d", m.r.IntN(25)) }
func (m *taskModel) deviceName() string { return fmt.Sprintf("device-0000000%02d", m.r.IntN(40)) }

func (m *taskModel) makeUser() {
	name := m.userName()
	if m.user[name] != nil {
		return
	}
	m.note("user %s", name)
	_, err := m.s.Users.Change(m.Context(), id, []audience.Change{{Account: name, Create: true}})
	m.ok(err)
	m.makings++
	m.user[name] = &modelAccount{name: name, made: m.makings}
}

func (m *taskModel) tag() {
	name := m.userName()
	if m.user[name] == nil {
		return
	}
	on := m.r.IntN(2) == 0
	op := audience.AddTags
	if !on {
		op = audience.RemoveTags
	}
	_, err := m.s.Users.Change(m.Context(), id, []audience.Change{{Account: name, Tags: audience.TagEdit{Op: op, Tags: []string{"t"}}}})
	m.ok(err)
	m.user[name].tagged = on
}

func (m *taskModel) register() {
	name := m.deviceName()
	d := device.Device{ID: name, Platform: "android", Permission: device.Allowed}
	if m.r.IntN(8) == 0 {
		d.Permission = device.Denied
	}
	var certs []int
	for _, c := range []int{1, 2, 3} { // there is no certificate 3
		if m.r.IntN(3) == 0 {
			certs = append(certs, c)
			d.Tokens = append(d.Tokens, device.Token{Certificate: c, Kind: channel.Alert, Address: channel.Address(fmt.Sprintf("token-%s-%d-%d", name, c, m.r.IntN(3)))})
		}
	}
	m.note("register %s with %v, %s", name, certs, d.Permission)
	_, err := m.s.Devices.Register(m.Context(), id, admin, d)
	m.ok(err)
	a := m.dev[name]
	if a == nil {
		m.makings++
		a = &modelAccount{name: name, made: m.makings}
		m.dev[name] = a
	}
	a.certs, a.denied = certs, d.Permission == device.Denied
}

func (m *taskModel) bind() {
	name, user := m.deviceName(), m.userName()
	if m.dev[name] == nil || m.user[user] == nil {
		return
	}
	m.note("bind %s to %s", name, user)
	m.ok(m.s.Devices.Bind(m.Context(), id, admin, name, user, false))
	m.dev[name].owner = user
	m.moved()
}

func (m *taskModel) unbind() {
	name := m.deviceName()
	if m.dev[name] == nil {
		return
	}
	m.note("unbind %s", name)
	m.ok(m.s.Devices.Unbind(m.Context(), id, admin, name))
	m.dev[name].owner = ""
	m.moved()
}

func (m *taskModel) removeDevice() {
	name := m.deviceName()
	if m.dev[name] == nil {
		return
	}
	m.note("remove %s", name)
	m.ok(m.s.Devices.Remove(m.Context(), id, admin, name))
	delete(m.dev, name)
	m.moved()
}

func (m *taskModel) deleteUser() {
	name := m.userName()
	if m.user[name] == nil {
		return
	}
	m.note("delete %s", name)
	_, err := m.s.Users.Delete(m.Context(), id, audience.UserID, []string{name})
	m.ok(err)
	delete(m.user, name)
	for _, d := range m.dev {
		if d.owner == name {
			d.owner = ""
		}
	}
	m.moved()
}

// chosen reports whether a task is for a device: it is in the audience, or its user is.
func (m *taskModel) chosen(t *modelTask, d *modelAccount) bool {
	if made, is := t.frozen[d.name]; is && made == d.made {
		return true
	}
	u := m.user[d.owner]
	made, is := t.frozen[d.owner]
	return u != nil && is && made == u.made
}

// units are who a task would be for now: devices, and receivers without any.
func (m *taskModel) now(t *modelTask) map[string]*modelAccount {
	units := map[string]*modelAccount{}
	has := map[string]bool{}
	for _, d := range m.dev {
		has[d.owner] = true
		if m.chosen(t, d) {
			units[key(d)] = d
		}
	}
	for name, made := range t.frozen {
		if u := m.user[name]; u != nil && u.made == made && !has[name] {
			units[key(u)] = u
		}
	}
	return units
}

// moved takes from what must be sent whatever is no longer meant.
func (m *taskModel) moved() {
	for _, t := range m.tasks {
		now := m.now(t)
		maps.DeleteFunc(t.must, func(k string, _ bool) bool { return now[k] == nil })
	}
}

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

// compare compares all tasks with the model.
func (m *taskModel) compare() {
	m.Helper()
	for _, t := range m.tasks {
		got, err := m.s.Tasks.Task(m.Context(), id, t.receipt.ID)
		m.ok(err)
		if t.isDone != got.State.Ended() {
			m.Fatalf("%s is %s", t.receipt.ID, got.State)
		}
		if t.stopped {
			continue
		}
		counts := map[int]report.Counts{}
		for _, l := range got.Progress.Lanes {
			if l.Counts != (report.Counts{}) {
				counts[l.Certificate] = l.Counts
			}
		}
		want, waiting := map[int]report.Counts{}, 0
		for c, n := range t.counts {
			if *n != (report.Counts{}) {
				want[c] = *n
			}
		}
		for _, u := range t.units {
			if u.outcome == report.Waiting {
				waiting++
			}
		}
		if !maps.Equal(counts, want) || waiting != got.Progress.Retries {
			m.Fatalf("%s has %v and %d retries, want %v and %d", t.receipt.ID, counts, got.Progress.Retries, want, waiting)
		}
		m.receivers(t)
	}
	m.db.Inspect(m.T)
}

// receivers compares the audience of a task.
func (m *taskModel) receivers(t *modelTask) {
	var want, got []string
	for name, made := range t.frozen {
		if a := m.account(name); a != nil && a.made == made {
			want = append(want, name)
		}
	}
	next := ""
	for {
		accounts, _, after, err := m.s.Tasks.Receivers(m.Context(), id, t.receipt.ID, 7, next)
		m.ok(err)
		got = append(got, accounts...)
		if next = after; next == "" {
			break
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		m.Fatalf("%s is for %q, want %q", t.receipt.ID, got, want)
	}
}

func (m *taskModel) explain() {
	if len(m.tasks) == 0 {
		return
	}
	t := m.tasks[m.r.IntN(len(m.tasks))]
	name := m.deviceName()
	d := m.dev[name]
	if d == nil {
		return
	}
	e, err := m.s.Tasks.Explain(m.Context(), id, t.receipt.ID, name)
	m.ok(err)
	u := t.units[key(d)]
	if e.Chosen != m.chosen(t, d) || len(e.Devices) != 1 {
		m.Fatalf("Explain(%s, %s): chosen %v, want %v; %d devices", t.receipt.ID, name, e.Chosen, m.chosen(t, d), len(e.Devices))
	}
	trace := e.Devices[0]
	switch {
	case u == nil:
		if trace.Sent {
			m.Fatalf("Explain(%s, %s): %+v, and it was in no page", t.receipt.ID, name, trace)
		}
	case u.outcome == report.Waiting && t.isDone:
	case trace.Outcome != u.outcome || !trace.Sent || trace.Words != u.words || trace.Waiting != (u.outcome == report.Waiting):
		m.Fatalf("Explain(%s, %s): %+v, want %+v", t.receipt.ID, name, trace, *u)
	}
}

// report reports arrivals, true and forged ones.
func (m *taskModel) report() {
	t := m.some()
	if t == nil || len(t.pages) == 0 {
		return
	}
	for _, u := range t.pages[0].Units {
		if u.Decided != 0 || m.dev[u.Account] == nil {
			continue
		}
		first, err := m.s.Tasks.Reported(m.Context(), id, u.Account, u.Target.ReportID, task.Clicked, time.Now())
		m.ok(err)
		again, err := m.s.Tasks.Reported(m.Context(), id, u.Account, u.Target.ReportID, task.Clicked, time.Now())
		m.ok(err)
		if again {
			m.Fatalf("a click of %s counted again; first %v", u.Account, first)
		}
		forged := []byte(u.Target.ReportID)
		forged[len(forged)-2] ^= 1
		if counted, err := m.s.Tasks.Reported(m.Context(), id, u.Account, string(forged), task.Arrived, time.Now()); err != nil || counted {
			m.Fatalf("a forged report: %v, %v", counted, err)
		}
		for other := range m.dev {
			if other == u.Account {
				continue
			}
			if counted, err := m.s.Tasks.Reported(m.Context(), id, other, u.Target.ReportID, task.Arrived, time.Now()); err != nil || counted {
				m.Fatalf("a report of another device: %v, %v", counted, err)
			}
		}
	}
}

// finish carries all tasks out.
func (m *taskModel) finish() {
	for _, t := range m.running() {
		for range 10_000 {
			if t.isDone {
				break
			}
			for len(t.pages) > 0 && !t.isDone {
				m.close(t, 0, false)
			}
			if t.isDone {
				break
			}
			lanes, err := m.s.Tasks.Lanes(m.Context(), t.ref)
			m.ok(err)
			for _, l := range lanes {
				if opened, _ := m.openLane(t, l, 5); opened {
					break
				}
			}
			m.look(t)
		}
		if !t.isDone {
			m.Fatalf("%s does not end", t.receipt.ID)
		}
	}
}
