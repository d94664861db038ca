package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
)

// DeviceModel does random operations with devices on a backend and on maps, with restarts
// and, if the backend can, crashes between them: both agree all along. It needs the clock
// of a testing/synctest bubble.
func DeviceModel(t *testing.T, db Database, seed uint64, steps int) {
	t.Logf("seed %d", seed)
	m := &deviceModel{
		deviceHarness: &deviceHarness{&harness{T: t, db: db}}, r: rand.New(rand.NewPCG(seed, 1)),
		devices: map[string]*modelDevice{}, users: map[string]bool{},
	}
	defer func() {
		if t.Failed() {
			for _, step := range m.log[max(0, len(m.log)-40):] {
				t.Log(step)
			}
		}
	}()
	m.open()
	defer m.close()
	record := NewApp(id)
	record.Settings.Devices.UserMax = 3
	m.saveApp(record)
	for i := range steps {
		m.step()
		if m.Failed() {
			return
		}
		if i%20 == 0 {
			m.compare()
		}
	}
	m.compare()
	m.inspect()
}

// deviceModel is the naive version of a device.Store.
type deviceModel struct {
	*deviceHarness
	r       *rand.Rand
	devices map[string]*modelDevice // by RegistrationID
	users   map[string]bool
	log     []string
}

type modelDevice struct {
	device.Device
	secret  string
	retired []device.Retired // the oldest first
}

// The names of the model are few, so that they meet.
func (m *deviceModel) id() string   { return phone(fmt.Sprint("d", m.r.IntN(12))).ID }
func (m *deviceModel) user() string { return fmt.Sprint("user", m.r.IntN(5)) }

func (m *deviceModel) now() time.Time { return time.Unix(time.Now().Unix(), 0).UTC() }

func (m *deviceModel) note(format string, args ...any) {
	m.log = append(m.log, time.Now().Format("02T15:04:05 ")+fmt.Sprintf(format, args...))
}

var modelDeviceSteps = []struct {
	weight int
	do     func(m *deviceModel)
}{
	{40, (*deviceModel).registerStep},
	{20, (*deviceModel).bindStep},
	{5, (*deviceModel).unbindStep},
	{5, (*deviceModel).badgeStep},
	{4, (*deviceModel).removeStep},
	{4, (*deviceModel).deleteStep},
	{4, (*deviceModel).revokeStep},
	{4, (*deviceModel).sweepStep},
	{4, (*deviceModel).restoreStep},
	{10, func(m *deviceModel) { time.Sleep(time.Duration(m.r.IntN(30)) * time.Second) }},
	{4, func(m *deviceModel) { m.later(time.Duration(m.r.IntN(50)) * time.Hour) }},
	{1, func(m *deviceModel) { m.later(time.Duration(m.r.IntN(100)) * day) }},
	{10, (*deviceModel).readStep},
	{2, func(m *deviceModel) { m.note("restart"); m.reopen() }},
	{2, func(m *deviceModel) {
		if m.db.Crash != nil {
			m.note("crash")
			m.db.Crash()
			m.reopen()
		}
	}},
	{1, func(m *deviceModel) { m.inspect() }},
	{1, (*deviceModel).deleteAppStep},
}

func (m *deviceModel) step() {
	total := 0
	for _, s := range modelDeviceSteps {
		total += s.weight
	}
	n := m.r.IntN(total)
	for _, s := range modelDeviceSteps {
		if n -= s.weight; n < 0 {
			s.do(m)
			return
		}
	}
}

// same reports an error that is not the one that is wanted.
func (m *deviceModel) same(err error, want error) {
	m.Helper()
	m.note("  %v", err)
	m.is(err, want, "%s", m.log[len(m.log)-2])
}

// proof returns a proof and what it is worth for a device.
func (m *deviceModel) proof(d *modelDevice) (p device.Proof, good bool) {
	switch m.r.IntN(6) {
	case 0:
		return device.Proof{Admin: true}, true
	case 1:
		p.User = m.user()
		return p, d != nil && d.User == p.User
	case 2:
		return p, false
	case 3:
		p.Secret = "wrong"
		return p, false
	}
	if d == nil {
		return p, false
	}
	return device.Proof{Secret: d.secret}, true
}

func (m *deviceModel) randomDevice(is *modelDevice) device.Device {
	if is != nil && m.r.IntN(3) == 0 {
		d := is.Device
		d.Tokens = slices.Clone(d.Tokens)
		return d
	}
	d := device.Device{
		Platform: []string{"ios", "android"}[m.r.IntN(2)], Model: fmt.Sprint("model", m.r.IntN(2)), Language: []string{"", "en", "zh-Hans"}[m.r.IntN(3)],
		Permission: []device.Permission{"", device.Denied, device.Allowed}[m.r.IntN(3)],
	}
	for range m.r.IntN(4) {
		t := device.Token{
			Certificate: 1 + m.r.IntN(3), Kind: []channel.TokenKind{channel.Alert, channel.FID, channel.Subscription, channel.LiveActivity}[m.r.IntN(4)],
			Address: channel.Address(fmt.Sprint("address", m.r.IntN(8))),
		}
		if t.Kind == channel.LiveActivity {
			t.LaID = fmt.Sprint(m.r.IntN(2))
		}
		if !slices.ContainsFunc(d.Tokens, func(o device.Token) bool { return o.SamePlace(&t) }) {
			d.Tokens = append(d.Tokens, t)
		}
	}
	return d
}

func (m *deviceModel) registerStep() {
	name := m.id()
	is := m.devices[name]
	d := m.randomDevice(is)
	d.ID = name
	p, good := m.proof(is)
	m.note("Register %s %s %s %s, proof %+v", d.ID, d.Platform, d.Language, showTokens(d.Tokens), p)
	r, err := m.deviceHarness.devices().Register(m.Context(), id, p, d)
	switch {
	case is != nil && !good:
		m.same(err, device.ErrForbidden)
		return
	case is == nil && (p.Secret != "" || p.User != ""):
		m.same(err, device.ErrUnknown)
		return
	}
	m.same(err, nil)
	created, changed := is == nil, true
	if created {
		is = &modelDevice{Device: device.Device{ID: name, Registered: m.now()}, secret: r.Secret}
		m.devices[name] = is
	}
	was := is.Device
	next := d
	next.User, next.Badge, next.Version, next.Registered, next.LastActive = was.User, was.Badge, was.Version, was.Registered, m.now()
	next.Tokens = nil
	for _, t := range d.Tokens {
		t.Registered, t.Refreshed = m.now(), m.now()
		for _, o := range was.Tokens {
			if o.SamePlace(&t) && o.Address == t.Address {
				t.Registered = o.Registered
			}
		}
		next.Tokens = append(next.Tokens, t)
	}
	switch {
	case created || !reflect.DeepEqual(timeless(was), timeless(next)):
		next.Version++
	case m.now().Sub(was.LastActive) < day:
		next, changed = was, false
	}
	is.Device = next
	m.take(next.Tokens, name)
	if r.Created != created || r.Changed != changed || (r.Secret != "") != created {
		m.Fatalf("%s: %+v, want created %v, changed %v", m.log[len(m.log)-2], r, created, changed)
	}
	m.sameDevice(&r.Device, is)
}

// timeless is what a device says of itself.
func timeless(d device.Device) device.Device {
	d.LastActive, d.Tokens = time.Time{}, slices.Clone(d.Tokens)
	if len(d.Tokens) == 0 {
		d.Tokens = nil
	}
	for i := range d.Tokens {
		d.Tokens[i].Refreshed = time.Time{}
	}
	sortTokens(d.Tokens)
	return d
}

func sortTokens(tokens []device.Token) {
	slices.SortFunc(tokens, func(a, b device.Token) int {
		return cmp.Or(cmp.Compare(a.Certificate, b.Certificate), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.LaID, b.LaID))
	})
}

func sameAddress(a, b device.Token) bool {
	return a.Certificate == b.Certificate && a.Kind == b.Kind && a.Address == b.Address
}

// take takes a device's tokens from others, of which each that loses some has a new version.
func (m *deviceModel) take(tokens []device.Token, name string) {
	for other, d := range m.devices {
		if other == name {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(d.Tokens), func(o device.Token) bool {
			return slices.ContainsFunc(tokens, func(t device.Token) bool { return sameAddress(o, t) })
		})
		if len(left) != len(d.Tokens) {
			d.Tokens = left
			d.Version++
		}
	}
}

func (m *deviceModel) sameDevice(got *device.Device, want *modelDevice) {
	m.Helper()
	w, g := want.Device, *got
	w.Tokens, g.Tokens = slices.Clone(w.Tokens), slices.Clone(g.Tokens)
	sortTokens(w.Tokens)
	sortTokens(g.Tokens)
	if len(w.Tokens)+len(g.Tokens) == 0 {
		w.Tokens, g.Tokens = nil, nil
	}
	if !reflect.DeepEqual(g, w) {
		m.Fatalf("device %+v\nwant   %+v", g, w)
	}
}

func (m *deviceModel) bindStep() {
	name, user, create := m.id(), m.user(), m.r.IntN(2) == 0
	d := m.devices[name]
	p, good := m.proof(d)
	m.note("Bind %s to %s, create %v, proof %+v", name, user, create, p)
	err := m.deviceHarness.devices().Bind(m.Context(), id, p, name, user, create)
	switch {
	case d == nil:
		m.same(err, device.ErrUnknown)
	case !good:
		m.same(err, device.ErrForbidden)
	case !m.users[user] && !create:
		if err == nil {
			m.Fatalf("%s succeeded", m.log[len(m.log)-1])
		}
	default:
		m.same(err, nil)
		m.users[user] = true
		if d.User == user {
			return
		}
		of := m.of(user)
		if len(of) >= 3 {
			slices.SortFunc(of, func(a, b *modelDevice) int { return a.LastActive.Compare(b.LastActive) })
			// Of several that are idle equally long either may go.
			var idle []*modelDevice
			for _, o := range of {
				if o.LastActive.Equal(of[0].LastActive) {
					idle = append(idle, o)
				}
			}
			gone := 0
			for _, o := range idle {
				got, err := m.deviceHarness.devices().Device(m.Context(), id, o.ID)
				if err != nil {
					m.Fatal(err)
				}
				if got.User == "" {
					gone++
					o.User = ""
					o.Version++
				}
			}
			if gone != 1 {
				m.Fatalf("%d devices had to go", gone)
			}
		}
		d.User = user
		d.Version++
	}
}

// of returns the devices of a user.
func (m *deviceModel) of(user string) (list []*modelDevice) {
	for _, d := range m.devices {
		if d.User == user {
			list = append(list, d)
		}
	}
	return list
}

func (m *deviceModel) unbindStep() {
	name := m.id()
	d := m.devices[name]
	p, good := m.proof(d)
	m.note("Unbind %s, proof %+v", name, p)
	err := m.deviceHarness.devices().Unbind(m.Context(), id, p, name)
	if m.allowed(err, d, good) && d.User != "" {
		d.User = ""
		d.Version++
	}
}

// allowed compares the error of a call that changes a device, and reports whether it was made.
func (m *deviceModel) allowed(err error, d *modelDevice, good bool) bool {
	m.Helper()
	switch {
	case d == nil:
		m.same(err, device.ErrUnknown)
	case !good:
		m.same(err, device.ErrForbidden)
	default:
		m.same(err, nil)
		return true
	}
	return false
}

func (m *deviceModel) badgeStep() {
	name, badge := m.id(), m.r.IntN(3)
	d := m.devices[name]
	p, good := m.proof(d)
	m.note("SetBadge %s %d, proof %+v", name, badge, p)
	if m.allowed(m.deviceHarness.devices().SetBadge(m.Context(), id, p, name, badge), d, good) {
		d.Badge = badge
	}
}

func (m *deviceModel) removeStep() {
	name := m.id()
	d := m.devices[name]
	p, good := m.proof(d)
	m.note("Remove %s, proof %+v", name, p)
	if m.allowed(m.deviceHarness.devices().Remove(m.Context(), id, p, name), d, good) {
		delete(m.devices, name)
	}
}

// deleteStep deletes accounts of either kind.
func (m *deviceModel) deleteStep() {
	if m.r.IntN(2) == 0 {
		names := []string{m.id(), m.id()}
		m.note("Delete %q", names)
		_, err := m.Delete(m.Context(), id, audience.RegistrationID, names)
		m.same(err, nil)
		delete(m.devices, names[0])
		delete(m.devices, names[1])
		return
	}
	names := []string{m.user(), m.user(), m.user()}
	m.note("Delete %q", names)
	_, err := m.Delete(m.Context(), id, audience.UserID, names)
	m.same(err, nil)
	for _, name := range names {
		delete(m.users, name)
		m.unbindAll(name)
	}
}

func (m *deviceModel) unbindAll(user string) {
	for _, d := range m.of(user) {
		d.User = ""
		d.Version++
	}
}

func (m *deviceModel) revokeStep() {
	user := m.user()
	m.note("Revoke %s", user)
	if err := m.Revoke(m.Context(), id, user, time.Now()); (err == nil) != m.users[user] {
		m.Fatalf("Revoke(%q): %v, the user exists: %v", user, err, m.users[user])
	}
	m.unbindAll(user)
}

func (m *deviceModel) sweepStep() {
	m.note("Sweep")
	m.same(m.deviceHarness.devices().Sweep(m.Context(), time.Now()), nil)
	for _, d := range m.devices {
		before := len(d.Tokens)
		for _, t := range slices.Clone(d.Tokens) {
			days := 270
			if t.Kind == channel.Subscription {
				days = 60
			}
			if time.Since(slices.MaxFunc([]time.Time{d.LastActive, t.Refreshed}, time.Time.Compare)) < time.Duration(days)*day {
				continue
			}
			d.Tokens = slices.DeleteFunc(slices.Clone(d.Tokens), func(o device.Token) bool { return o.SamePlace(&t) })
			d.retired = append(d.retired, device.Retired{Device: d.ID, Token: t, At: m.now(), Reason: fmt.Sprintf("the device was not seen for %d days", days)})
		}
		if d.retired = d.retired[max(0, len(d.retired)-device.MaxTokens):]; len(d.Tokens) != before {
			d.Version++
		}
		d.retired = slices.DeleteFunc(slices.Clone(d.retired), func(r device.Retired) bool { return time.Since(r.At) > 30*day })
	}
}

func (m *deviceModel) restoreStep() {
	name := m.id()
	if m.r.IntN(2) == 0 {
		name = ""
	}
	m.note("Restore %q", name)
	n, err := m.deviceHarness.devices().Restore(m.Context(), id, name, "")
	if name != "" && m.devices[name] == nil {
		m.same(err, device.ErrUnknown)
		return
	}
	m.same(err, nil)
	want := 0
	list, err := m.all()
	if err != nil {
		m.Fatal(err)
	}
	for _, d := range list { // in the order in which the store goes over them, since the first one wins
		if name != "" && d.ID != name {
			continue
		}
		is, before := m.devices[d.ID], want
		for i := len(is.retired) - 1; i >= 0; i-- {
			t := is.retired[i].Token
			if len(is.Tokens) == device.MaxTokens || slices.ContainsFunc(is.Tokens, func(o device.Token) bool { return o.SamePlace(&t) }) || m.held(t, d.ID) {
				continue
			}
			t.Refreshed = m.now()
			is.Tokens = append(slices.Clone(is.Tokens), t)
			is.retired = slices.Delete(slices.Clone(is.retired), i, i+1)
			want++
		}
		if want > before {
			is.Version++
		}
	}
	if n != want {
		m.Fatalf("Restore(%q) = %d, want %d", name, n, want)
	}
}

// held reports whether a device other than one has a token.
func (m *deviceModel) held(t device.Token, name string) bool {
	for other, d := range m.devices {
		if other != name && slices.ContainsFunc(d.Tokens, func(o device.Token) bool { return sameAddress(o, t) }) {
			return true
		}
	}
	return false
}

func (m *deviceModel) deleteAppStep() {
	if m.r.IntN(4) > 0 {
		return
	}
	m.note("DeleteApp, SaveApp")
	record := NewApp(id)
	record.Settings.Devices.UserMax = 3
	m.same(m.DeleteApp(m.Context(), id), nil)
	m.saveApp(record)
	clear(m.devices)
	clear(m.users)
}

func (m *deviceModel) readStep() {
	name := m.id()
	d, err := m.deviceHarness.devices().Device(m.Context(), id, name)
	if want := m.devices[name]; want == nil {
		m.is(err, device.ErrUnknown, "Device(%q)", name)
	} else if err != nil {
		m.Fatalf("Device(%q): %v", name, err)
	} else {
		m.sameDevice(d, want)
	}
	if user := m.user(); m.users[user] {
		var names []string
		for _, d := range m.of(user) {
			names = append(names, strings.TrimRight(d.ID, "-"))
		}
		m.wantOf(user, names...)
	}
}

// all lists all devices.
func (m *deviceModel) all() (all []device.Device, err error) {
	for next := ""; ; {
		var list []device.Device
		list, next, err = m.deviceHarness.devices().List(m.Context(), id, 1+m.r.IntN(5), next)
		if all = append(all, list...); err != nil || next == "" {
			return all, err
		}
	}
}

func (m *deviceModel) compare() {
	m.Helper()
	list, err := m.all()
	if err != nil || len(list) != len(m.devices) {
		m.Fatalf("there are %d devices, %v, want %d", len(list), err, len(m.devices))
	}
	for i := range list {
		want := m.devices[list[i].ID]
		if want == nil {
			m.Fatalf("device %q is not gone", list[i].ID)
		}
		m.sameDevice(&list[i], want)
	}
	for user := range m.users {
		if n, err := m.deviceHarness.devices().Of(m.Context(), id, user); err != nil || len(n) != len(m.of(user)) {
			m.Fatalf("Of(%q) = %+v, %v", user, n, err)
		}
	}
	if n, err := m.deviceHarness.devices().Count(m.Context(), id); err != nil || n != len(list) {
		m.Fatalf("Count = %d, %v, want %d", n, err, len(list))
	}
	for c := range 4 {
		want := 0
		for _, d := range m.devices {
			if slices.ContainsFunc(d.Tokens, func(t device.Token) bool { return t.Certificate == c }) {
				want++
			}
		}
		if n, err := m.deviceHarness.devices().CertificateUse(m.Context(), id, c); err != nil || n != want {
			m.Fatalf("CertificateUse(%d) = %d, %v, want %d", c, n, err, want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.devices)) {
		d := m.devices[name]
		got, err := m.deviceHarness.devices().Retired(m.Context(), id, name, "", 100)
		if err != nil || len(got) != len(d.retired) {
			m.Fatalf("Retired(%q) = %+v, %v, want %+v", name, got, err, d.retired)
		}
	}
	m.wantCount(id, 1+len(m.users)+len(m.devices))
}
