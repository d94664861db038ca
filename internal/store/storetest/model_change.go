package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
)

// value returns a value for a slot: in slot 2 numbers, in slot 3 days, in the
// others one of a few or one of very many.
func (m *model) value(slot int) string {
	switch {
	case slot == 2 && m.chance(10):
		return []string{"1e2", "007", "-3.5", "7 ", "0x7"}[m.r.IntN(5)]
	case slot == 2:
		return fmt.Sprint(m.r.IntN(100))
	case slot == 3:
		return fmt.Sprintf("2026-%02d-%02d", 1+m.r.IntN(12), 1+m.r.IntN(28))
	case m.chance(2):
		return fmt.Sprint("v", m.r.IntN(10))
	}
	return fmt.Sprint("one of many ", m.r.IntN(3000))
}

// tag returns one of a few for a kind, one of some that go from kind to kind, or
// one that nobody had before.
func (m *model) tag(kind audience.Kind) string {
	switch m.r.IntN(4) {
	case 0:
		return fmt.Sprintf("common %d of kind %d", m.r.IntN(4), kind)
	case 1, 2:
		return fmt.Sprint("rare ", m.r.IntN(25))
	}
	return m.freshTag()
}

func (m *model) freshTag() string {
	m.fresh++
	return fmt.Sprint("fresh ", m.fresh)
}

// tagEdit returns an edit of the tags of an account that has or will have a kind.
func (m *model) tagEdit(a *modelApp, u *modelUser, kind audience.Kind) (edit audience.TagEdit) {
	edit.Op = audience.TagOp(m.r.IntN(5))
	if m.chance(40) { // about as many as a user may have, most of them new
		for range audience.MaxTags - 20 + m.r.IntN(25) {
			edit.Tags = append(edit.Tags, m.freshTag())
		}
	}
	for range m.r.IntN(4) {
		if edit.Op == audience.RemoveTags && u != nil && len(u.tags) > 0 && !m.chance(4) {
			edit.Tags = append(edit.Tags, u.tags[m.r.IntN(len(u.tags))])
		} else {
			edit.Tags = append(edit.Tags, m.tag(kind))
		}
	}
	if m.chance(5) {
		edit.AppMax = max(1, len(a.tags())-1+m.r.IntN(4))
	}
	return edit
}

// randomChange returns a change that may be refused. Only what the model leaves
// open is left out.
func (m *model) randomChange(id uint32, a *modelApp) audience.Change {
	c := audience.Change{
		Account: m.account(), Create: !m.chance(3), Kind: m.kind(),
		OfKind: m.chance(10), UserIDOnly: m.chance(10), Attributes: Attributes,
	}
	u, kind := a.users[c.Account], c.Kind
	if u != nil {
		kind = u.kind
	}
	if m.chance(30) { // what is not for this kind
		kind = 1 - kind
	}
	for slot := range c.Set {
		if Attributes[slot].Kind != kind {
			continue
		}
		switch m.r.IntN(8) {
		case 0, 1:
			c.Set[slot] = m.value(slot)
		case 2:
			c.Remove.Add(slot)
		}
	}
	if id != tagless && m.chance(2) {
		c.Tags = m.tagEdit(a, u, kind)
	}
	if m.chance(6) {
		c.Profile.Nick = text([]string{"", fmt.Sprint("nick", m.r.IntN(50))}[m.r.IntN(2)])
	}
	if m.chance(6) {
		c.Profile.FaceURL = text(fmt.Sprint("face", m.r.IntN(50)))
	}
	c.Profile.Clear = m.chance(10)
	if m.chance(10) {
		c.Created = 1 + m.r.Uint32N(1_000_000_000)
	}
	return c
}

// makeChange makes one change, in the model and in the store.
func (m *model) makeChange(id uint32, a *modelApp, c audience.Change) {
	m.Helper()
	var failing []string
	if kind := a.apply(&c); kind != nil {
		failing = append(failing, fmt.Sprint(c.Account, " ", kind.Code))
	}
	m.note("Change(%d, %s)", id, showChanges(c))
	m.change(id, []audience.Change{c}, failing...)
}

func (m *model) changeStep(id uint32, a *modelApp) {
	m.Helper()
	changes := make([]audience.Change, 1+m.r.IntN(5))
	var failing []string
	for i := range changes {
		changes[i] = m.randomChange(id, a)
		if kind := a.apply(&changes[i]); kind != nil {
			failing = append(failing, fmt.Sprint(changes[i].Account, " ", kind.Code))
		}
	}
	m.note("Change(%d, %s)", id, showChanges(changes...))
	m.change(id, changes, failing...)
}

func (m *model) importStep(id uint32, a *modelApp) {
	m.Helper()
	changes := make([]audience.Change, 1+m.r.IntN(12))
	want, got := map[int]*apierr.Kind{}, map[int]*apierr.Kind{}
	outcomes, wantOutcomes := make([]audience.Outcome, len(changes)), make([]audience.Outcome, len(changes))
	dry := m.chance(3)
	for i := range changes {
		c := m.randomChange(id, a)
		c.Create, c.OfKind = true, !m.chance(3)
		before := a.copyOf(c.Account)
		if kind := a.apply(&c); kind != nil {
			want[i] = kind
		} else {
			wantOutcomes[i] = outcome(before, a.users[c.Account], &c)
		}
		if dry { // each is tried on the app as it is
			a.put(c.Account, before)
		}
		changes[i] = c
	}
	m.note("Import(%d, %s, dry %t)", id, showChanges(changes...), dry)
	err := m.Import(m.Context(), id, slices.Chunk(changes, 1+m.r.IntN(4)), dry, func(i int, o audience.Outcome, err *apierr.Error) {
		if outcomes[i] = o; err != nil {
			got[i] = err.Kind
		}
	})
	if err != nil || !reflect.DeepEqual(got, want) || !slices.Equal(outcomes, wantOutcomes) {
		m.Fatalf("Import(%d) = %v, failed %v with the outcomes %v; want %v and %v", id, err, got, outcomes, want, wantOutcomes)
	}
}

// outcome returns what a change made of an account, nil before it was created.
func outcome(before, after *modelUser, c *audience.Change) audience.Outcome {
	switch {
	case before == nil:
		return audience.Created
	case before.values != after.values, !slices.Equal(before.tags, after.tags), before.created != after.created, c.Profile.Nick != nil, c.Profile.FaceURL != nil:
		return audience.Changed
	}
	return audience.Unchanged
}

// passOnStep takes a tag from its last user, by an edit or with the account, and
// gives it to an account of the other kind.
func (m *model) passOnStep(id uint32, a *modelApp) {
	m.Helper()
	var last []string
	for tag, count := range a.tags() {
		if count.Count == 1 {
			last = append(last, tag)
		}
	}
	if len(last) == 0 {
		return
	}
	slices.Sort(last)
	tag := last[m.r.IntN(len(last))]
	from := slices.DeleteFunc(a.accounts(), func(account string) bool { return !slices.Contains(a.users[account].tags, tag) })[0]
	to := m.account()
	kind := 1 - a.users[from].kind
	if u := a.users[to]; u != nil && u.kind != kind {
		return
	}
	if m.chance(3) && !a.app.IsAdmin(from) {
		m.deleteAccounts(id, a, a.users[from].kind, []string{from})
	} else {
		m.makeChange(id, a, tagged(from, audience.RemoveTags, tag))
	}
	m.makeChange(id, a, ofKind(kind, tagged(to, audience.AddTags, tag)))
}

func (m *model) deleteStep(id uint32, a *modelApp) {
	m.Helper()
	kind := m.kind()
	accounts := make([]string, 1+m.r.IntN(3))
	for i := range accounts {
		// Admins stay: the backend refuses them, or its caller does.
		for ok := false; !ok; ok = !a.app.IsAdmin(accounts[i]) || m.db.KeepsAdmins && kind == audience.UserID {
			accounts[i] = m.account()
		}
	}
	m.deleteAccounts(id, a, kind, accounts)
}

func (m *model) deleteAccounts(id uint32, a *modelApp, kind audience.Kind, accounts []string) {
	m.Helper()
	want, since := make([]*apierr.Kind, len(accounts)), time.Now().Unix()
	for i, account := range accounts {
		switch u := a.users[account]; {
		case u == nil || u.kind != kind:
			want[i] = apierr.UnknownAccount
		case a.app.IsAdmin(account):
			want[i] = apierr.BadAccountField
		default:
			a.remove(account, since, m.db.DeletionRevokes)
		}
	}
	m.note("Delete(%d, %d, %q)", id, kind, accounts)
	m.deleteKind(id, kind, accounts, want...)
}

// revokeStep kicks an account, now and then up to a second that is yet to come.
func (m *model) revokeStep(id uint32, a *modelApp) {
	m.Helper()
	account, second := m.account(), 1+m.r.Int64N(1000)
	if m.chance(3) {
		second += time.Now().Unix()
	}
	m.note("Revoke(%d, %q, %d)", id, account, second)
	err := m.Revoke(m.Context(), id, account, time.Unix(second, 0))
	if u := a.users[account]; u == nil || u.kind != audience.UserID {
		if !errors.Is(err, apierr.UnknownAccount) {
			m.Fatalf("Revoke(%d, %q) = %v, want 70107", id, account, err)
		}
		return
	}
	if err != nil {
		m.Fatalf("Revoke(%d, %q): %v", id, account, err)
	}
	r := a.revoked[account]
	a.revoked[account] = span{max(r.min, second), max(r.max, second)}
}

// staleStep makes changes of which one comes from attributes that the app no
// longer has: all are refused if it sets the slot that is another one, or empties
// one of another name, and none for that reason if it changes others.
func (m *model) staleStep(id uint32, a *modelApp) {
	m.Helper()
	if !m.db.ChecksAttributes {
		return
	}
	slot, old := m.r.IntN(9), *Attributes
	if m.chance(2) {
		old[slot].Name = "renamed since"
	} else {
		old[slot].Kind = audience.RegistrationID
	}
	users := slices.DeleteFunc(a.accounts(), func(account string) bool { return a.users[account].kind != audience.UserID })
	stale := audience.Change{Account: users[m.r.IntN(len(users))], Attributes: &old}
	refused := true
	if m.chance(2) {
		stale.Remove.Add(slot)
		refused = old[slot].Name != Attributes[slot].Name
		slot = (slot + 1) % 9
	}
	stale.Set[slot] = m.value(slot)
	changes := []audience.Change{{Account: app.BuiltInAdmin, Remove: slots(0, 1)}, stale}
	m.note("Change(%d, %s), the second stale", id, showChanges(changes...))
	failures, err := m.Change(m.Context(), id, changes)
	if refused {
		if !errors.Is(err, audience.ErrStale) {
			m.Fatalf("Change(%d) with attributes of before = %v, %v; want %v", id, failures, err, audience.ErrStale)
		}
		m.compareUsers(id, a) // as they were
		return
	}
	if err != nil || len(failures) > 0 {
		m.Fatalf("Change(%d) that sets no slot which is another one now: %v, %v", id, failures, err)
	}
	for i := range changes {
		if kind := a.apply(&changes[i]); kind != nil {
			m.Fatalf("Change(%d) was not refused: %v", id, kind)
		}
	}
}
