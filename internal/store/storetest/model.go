package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"tidings/internal/app"
	"tidings/internal/audience"
)

// Model does random operations on a backend and on maps, with restarts and, if
// the backend can, crashes between them: both agree all along.
func Model(t *testing.T, db Database, seed uint64, steps int) {
	t.Logf("seed %d", seed)
	m := &model{harness: &harness{T: t, db: db}, r: rand.New(rand.NewPCG(seed, 1)), apps: map[uint32]*modelApp{}, ended: map[uint32]span{}}
	defer m.showLog()
	m.open()
	defer m.close()
	for i := range steps {
		m.step()
		if i%100 == 0 {
			m.compare()
		}
	}
	m.compare()
}

// model is the naive version of a Store: maps of users, which are asked one by
// one.
type model struct {
	*harness
	r     *rand.Rand
	apps  map[uint32]*modelApp
	ended map[uint32]span // when an app of a number was last deleted
	fresh int             // counts the tags that nobody had before
	log   []string        // the last steps
}

// modelIDs are neighbours at every byte of a key, and the last app there can be.
var modelIDs = []uint32{1, 2, 255, 256, 1<<32 - 1}

// tagless is an app whose users have no tags: a start reads some tags of all
// others.
const tagless = 256

// account returns one of a few names, so that most of them are used again and
// again, by either kind. Neighbours have very different lengths.
func (m *model) account() string {
	if m.r.IntN(100) == 0 {
		return app.BuiltInAdmin
	}
	n := m.r.IntN(50)
	return fmt.Sprintf("%0*d", 2+n%5*10, n)
}

// kind returns one of the account types.
func (m *model) kind() audience.Kind { return audience.Kind(m.r.IntN(2)) }

// chance reports true once in n times.
func (m *model) chance(n int) bool { return m.r.IntN(n) == 0 }

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
	m.log = m.log[max(0, len(m.log)-12):]
}

// showLog shows how it came to a failure.
func (m *model) showLog() {
	if m.Failed() {
		for _, step := range m.log {
			m.Log(step)
		}
	}
}

// modelSteps are the operations on an app, each as often as its weight says.
var modelSteps = []struct {
	weight int
	do     func(m *model, id uint32, a *modelApp)
}{
	{400, (*model).changeStep},
	{70, (*model).importStep},
	{110, (*model).deleteStep},
	{60, (*model).passOnStep},
	{60, (*model).revokeStep},
	{30, (*model).staleStep},
	{100, (*model).askChangeAsk},
	{80, (*model).readStep},
	{20, (*model).listStep},
	{25, (*model).saveStep},
	{5, (*model).deleteAppStep},
	{25, func(m *model, _ uint32, _ *modelApp) { m.restart("restart", func() {}) }},
	{15, func(m *model, _ uint32, _ *modelApp) {
		if m.db.Crash != nil {
			m.restart("crash", m.db.Crash)
		}
	}},
}

func (m *model) step() {
	m.Helper()
	id := modelIDs[m.r.IntN(len(modelIDs))]
	a := m.apps[id]
	if a == nil {
		if m.chance(5) {
			m.wantUnknown(id)
		} else {
			m.saveStep(id, nil)
		}
		return
	}
	total := 0
	for _, s := range modelSteps {
		total += s.weight
	}
	n := m.r.IntN(total)
	for _, s := range modelSteps {
		if n -= s.weight; n < 0 {
			s.do(m, id, a)
			return
		}
	}
}

// restart opens the database again, after a crash if that is one. Each app is
// asked at once, changed, and asked again: what a start forgets to bring up to
// date shows before the first change has mended it.
func (m *model) restart(what string, crash func()) {
	m.Helper()
	m.note("%s", what)
	crash()
	m.reopen()
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		m.askChangeAsk(id, m.apps[id])
	}
	if m.chance(3) {
		m.compare()
	}
}

// saveStep makes an app or changes it.
func (m *model) saveStep(id uint32, a *modelApp) {
	m.Helper()
	if a == nil {
		a = &modelApp{users: map[string]*modelUser{}, revoked: map[string]span{}, ended: m.ended[id]}
		m.apps[id] = a
	}
	a.app = NewApp(id)
	a.app.Name = fmt.Sprint("name", m.r.IntN(1000))
	other := m.account()
	if u := a.users[other]; m.chance(2) && other != app.BuiltInAdmin && (u == nil || u.kind == audience.UserID) {
		a.app.Admins = append(a.app.Admins, other)
		slices.Sort(a.app.Admins)
	}
	for _, admin := range a.app.Admins {
		if a.users[admin] == nil {
			a.users[admin] = &modelUser{created: soon()}
		}
	}
	m.note("SaveApp(%d), admins %q", id, a.app.Admins)
	m.saveApp(a.app)
}

func (m *model) deleteAppStep(id uint32, _ *modelApp) {
	m.Helper()
	m.note("DeleteApp(%d)", id)
	if m.db.DeletionRevokes {
		m.ended[id] = soon()
	}
	if err := m.DeleteApp(m.Context(), id); err != nil {
		m.Fatalf("DeleteApp(%d): %v", id, err)
	}
	delete(m.apps, id)
	m.wantUnknown(id)
}
