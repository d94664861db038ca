package storetest

import (
	"fmt"
	"math/rand/v2"
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
