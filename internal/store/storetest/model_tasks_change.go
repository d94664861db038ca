package storetest

import (
	"fmt"
	"maps"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
)

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
