package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/audience"
)

// Model does random operations on a backend and on maps, with restarts and, if
// the backend can, crashes between them: both agree all along.
func Model(t *testing.T, db Database, seed uint64, steps int) {
	t.Logf("seed %d", seed)
	m := &model{harness: &harness{T: t, db: db}, r: rand.New(rand.NewPCG(seed, 1)), apps: map[uint32]*modelApp{}}
	m.open()
	defer m.close()
	for i := range steps {
		m.step()
		if i%100 == 0 {
			m.compare()
		}
	}
	m.compare()
	m.inspect()
}

// model is the naive version of a Store.
type model struct {
	*harness
	r    *rand.Rand
	apps map[uint32]*modelApp
	log  []string // the last steps
}

type modelApp struct {
	app     *app.App
	users   map[string]audience.Values
	revoked map[string]int64
}

// modelIDs are neighbours at every byte of a key, and the last app there can be.
var modelIDs = []uint32{1, 2, 255, 256, 1<<32 - 1}

func (m *model) account() string {
	if m.r.IntN(100) == 0 {
		return app.BuiltInAdmin
	}
	n := m.r.IntN(40)
	return fmt.Sprintf("%0*d", 2+n%5*10, n)
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
	m.log = m.log[max(0, len(m.log)-12):]
}

// failed ends the test and shows how it came to that.
func (m *model) failed(format string, args ...any) {
	m.Helper()
	for _, step := range m.log {
		m.Log(step)
	}
	m.Fatalf(format, args...)
}

func (m *model) step() {
	m.Helper()
	id := modelIDs[m.r.IntN(len(modelIDs))]
	a := m.apps[id]
	op := m.r.IntN(1000)
	if a == nil && op < 950 {
		op = 950
	}
	switch {
	case op < 600:
		m.changeStep(id, a)
	case op < 750:
		m.deleteStep(id, a)
	case op < 850:
		m.revokeStep(id, a)
	case op < 950:
		m.readStep(id, a)
	case op < 975:
		m.saveStep(id, a)
	case op < 985:
		m.note("DeleteApp(%d)", id)
		err := m.DeleteApp(m.Context(), id)
		if (err == nil) != (a != nil) {
			m.failed("DeleteApp(%d) = %v", id, err)
		}
		delete(m.apps, id)
	case op < 993 || m.db.Crash == nil:
		m.note("restart")
		m.reopen()
	default:
		m.note("crash")
		m.db.Crash()
		m.reopen()
	}
}

func (m *model) changeStep(id uint32, a *modelApp) {
	changes := make([]audience.Change, 1+m.r.IntN(5))
	var failing []string
	for i := range changes {
		c := audience.Change{Account: m.account(), Create: m.r.IntN(2) == 0, Attributes: Attributes}
		for slot := range c.Set {
			switch m.r.IntN(8) {
			case 0, 1:
				if slot < 9 || m.r.IntN(20) == 0 {
					c.Set[slot] = fmt.Sprint("v", m.r.IntN(50))
				}
			case 2:
				c.Remove.Add(slot)
			}
		}
		if m.r.IntN(10) == 0 {
			nick := fmt.Sprint("nick", m.r.IntN(50))
			c.Profile.Nick = &nick
		}
		changes[i] = c
		values, exists := a.users[c.Account]
		switch {
		case !exists && !c.Create:
			failing = append(failing, c.Account+" 70107")
		case c.Set[9] != "":
			failing = append(failing, c.Account+" 90035")
		default:
			for slot, v := range c.Set {
				if v != "" {
					values[slot] = v
				} else if c.Remove.Has(slot) {
					values[slot] = ""
				}
			}
			a.users[c.Account] = values
		}
	}
	m.note("Change(%d, %+v)", id, changes)
	m.change(id, changes, failing...)
}

func (m *model) deleteStep(id uint32, a *modelApp) {
	accounts := make([]string, 1+m.r.IntN(3))
	want := make([]bool, len(accounts))
	for i := range accounts {
		for ok := false; !ok; ok = !a.app.IsAdmin(accounts[i]) { // the API refuses that
			accounts[i] = m.account()
		}
		_, want[i] = a.users[accounts[i]]
		delete(a.users, accounts[i])
		delete(a.revoked, accounts[i])
	}
	m.note("Delete(%d, %q)", id, accounts)
	m.deleteUsers(id, accounts, want...)
}

func (m *model) revokeStep(id uint32, a *modelApp) {
	account, second := m.account(), 1+m.r.Int64N(1000)
	m.note("Revoke(%d, %q, %d)", id, account, second)
	err := m.Revoke(m.Context(), id, account, time.Unix(second, 0))
	_, exists := a.users[account]
	if (err == nil) != exists {
		m.failed("Revoke(%d, %q) = %v", id, account, err)
	}
	if exists {
		a.revoked[account] = max(a.revoked[account], second)
	}
}

func (m *model) readStep(id uint32, a *modelApp) {
	account := m.account()
	m.compareUser(id, a, account)
}

func (m *model) saveStep(id uint32, a *modelApp) {
	if a == nil {
		a = &modelApp{users: map[string]audience.Values{}, revoked: map[string]int64{}}
		m.apps[id] = a
	}
	a.app = NewApp(id)
	a.app.Name = fmt.Sprint("name", m.r.IntN(1000))
	if other := m.account(); m.r.IntN(2) == 0 && other != app.BuiltInAdmin {
		a.app.Admins = append(a.app.Admins, other)
		slices.Sort(a.app.Admins)
	}
	for _, admin := range a.app.Admins {
		if _, exists := a.users[admin]; !exists {
			a.users[admin] = audience.Values{}
		}
	}
	m.note("SaveApp(%d)", id)
	m.saveApp(a.app)
}

func (m *model) compareUser(id uint32, a *modelApp, account string) {
	m.Helper()
	users, err := m.Users(m.Context(), id, []string{account})
	if err != nil {
		m.failed("Users(%d, %q): %v", id, account, err)
	}
	values, exists := a.users[account]
	if got := users[0]; got.Exists != exists || got.Values != values {
		m.failed("user %q of app %d is %+v, want %t, %+v", account, id, got, exists, values)
	}
	revoked, err := m.RevokedUpTo(m.Context(), id, account)
	if err != nil || revoked != a.revoked[account] {
		m.failed("RevokedUpTo(%d, %q) = %d, %v; want %d", id, account, revoked, err, a.revoked[account])
	}
}

// compare looks at everything.
func (m *model) compare() {
	m.Helper()
	var apps []*app.App
	for _, id := range modelIDs {
		a := m.apps[id]
		if a == nil {
			m.wantCount(id, 0)
			continue
		}
		apps = append(apps, a.app)
		m.wantCount(id, len(a.users))
		for account := range a.users {
			m.compareUser(id, a, account)
		}
	}
	m.wantApps(apps...)
}
