package api_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	devices "tidings/internal/device"
	"tidings/internal/task"
)

// memoryDevices keeps devices in memory, over the accounts of a real store.
type memoryDevices struct {
	users   audience.Store
	mu      sync.Mutex
	devices map[string]*kept // by app and RegistrationID
	order   []string
	retired []devices.Retired
	full    bool
	calls   int
}

type kept struct {
	devices.Device
	secret string
}

func newMemoryDevices(users audience.Store) *memoryDevices {
	return &memoryDevices{users: users, devices: map[string]*kept{}}
}

func (m *memoryDevices) enter() func() {
	m.mu.Lock()
	m.calls++
	return m.mu.Unlock
}

// find returns a device that a proof is good for.
func (m *memoryDevices) find(p devices.Proof, id string) (*kept, error) {
	d := m.devices[id]
	switch {
	case d == nil:
		return nil, devices.ErrUnknown
	case !p.Admin && (p.Secret == "" || p.Secret != d.secret) && (p.User == "" || p.User != d.User):
		return nil, devices.ErrForbidden
	}
	return d, nil
}

func (m *memoryDevices) Register(ctx context.Context, app uint32, p devices.Proof, d devices.Device) (devices.Registered, error) {
	defer m.enter()()
	if !audience.Authorized(ctx) {
		return devices.Registered{}, audience.ErrStale
	}
	if old := m.devices[d.ID]; old != nil || p.Secret != "" || p.User != "" {
		old, err := m.find(p, d.ID)
		if err != nil {
			return devices.Registered{}, err
		}
		d.User, d.Registered, d.Badge, d.Version = old.User, old.Registered, old.Badge, old.Version+1
		for _, t := range old.Tokens {
			if !slices.ContainsFunc(d.Tokens, func(u devices.Token) bool { return u.Address == t.Address }) {
				m.retired = append(m.retired, devices.Retired{Device: d.ID, Token: t, Reason: "given up", At: d.LastActive})
			}
		}
		old.Device = d
		return devices.Registered{Device: d, Changed: true}, nil
	}
	if m.full {
		return devices.Registered{}, devices.ErrFull
	}
	d.ID = cmp.Or(d.ID, rand.Text())
	users, err := m.users.Users(ctx, app, []string{d.ID})
	if err != nil {
		return devices.Registered{}, err
	}
	if users[0].Exists && users[0].Kind == audience.UserID {
		return devices.Registered{}, devices.ErrTaken
	}
	if _, err := m.users.Change(ctx, app, []audience.Change{{Account: d.ID, Create: true, Kind: audience.RegistrationID}}); err != nil {
		return devices.Registered{}, err
	}
	k := &kept{d, rand.Text()}
	m.devices[d.ID], m.order = k, append(m.order, d.ID)
	return devices.Registered{Device: d, Created: true, Changed: true, Secret: k.secret}, nil
}

func (m *memoryDevices) Prove(_ context.Context, _ uint32, p devices.Proof, id string) error {
	defer m.enter()()
	_, err := m.find(p, id)
	return err
}

func (m *memoryDevices) Device(_ context.Context, _ uint32, id string) (*devices.Device, error) {
	defer m.enter()()
	if d := m.devices[id]; d != nil {
		return new(d.Device), nil
	}
	return nil, devices.ErrUnknown
}

func (m *memoryDevices) Of(ctx context.Context, app uint32, account string) (list []devices.Device, err error) {
	defer m.enter()()
	users, err := m.users.Users(ctx, app, []string{account})
	if err != nil {
		return nil, err
	}
	if !users[0].Exists {
		return nil, apierr.UnknownAccount.Errorf("account does not exist")
	}
	for _, id := range m.order {
		if d := m.devices[id]; d != nil && (d.User == account || d.ID == account) {
			list = append(list, d.Device)
		}
	}
	return list, nil
}

func (m *memoryDevices) List(_ context.Context, _ uint32, limit int, after string) (list []devices.Device, next string, err error) {
	defer m.enter()()
	order := m.order
	if after != "" {
		i := slices.Index(order, after)
		if i < 0 {
			return nil, "", apierr.PageExpired
		}
		order = order[i+1:]
	}
	for i, id := range order {
		list = append(list, m.devices[id].Device)
		if len(list) == limit && i+1 < len(order) {
			return list, id, nil
		}
	}
	return list, "", nil
}

func (m *memoryDevices) Count(context.Context, uint32) (int, error) {
	defer m.enter()()
	return len(m.order), nil
}

func (m *memoryDevices) CertificateUse(context.Context, uint32, int) (int, error) { return 0, nil }

func (m *memoryDevices) Bind(ctx context.Context, app uint32, p devices.Proof, id, user string, create bool) error {
	defer m.enter()()
	if !audience.Authorized(ctx) {
		return audience.ErrStale
	}
	d, err := m.find(p, id)
	if err != nil {
		return err
	}
	failures, err := m.users.Change(ctx, app, []audience.Change{{Account: user, Create: create, Kind: audience.UserID, OfKind: true}})
	if err == nil && len(failures) > 0 {
		err = failures[0].Err
	}
	if err == nil {
		d.User = user
	}
	return err
}

func (m *memoryDevices) Unbind(_ context.Context, _ uint32, p devices.Proof, id string) error {
	defer m.enter()()
	d, err := m.find(p, id)
	if err == nil {
		d.User = ""
	}
	return err
}

func (m *memoryDevices) SetBadge(_ context.Context, _ uint32, p devices.Proof, id string, badge int) error {
	defer m.enter()()
	d, err := m.find(p, id)
	if err == nil {
		d.Badge = badge
	}
	return err
}

func (m *memoryDevices) Remove(ctx context.Context, app uint32, p devices.Proof, id string) error {
	defer m.enter()()
	if _, err := m.find(p, id); err != nil {
		return err
	}
	delete(m.devices, id)
	m.order = slices.DeleteFunc(m.order, func(other string) bool { return other == id })
	_, err := m.users.Delete(ctx, app, audience.RegistrationID, []string{id})
	return err
}

func (m *memoryDevices) Retired(_ context.Context, _ uint32, id, task string, limit int) (list []devices.Retired, err error) {
	defer m.enter()()
	for _, r := range slices.Backward(m.retired) {
		if (id == "" || r.Device == id) && (task == "" || r.Task == task) && len(list) < limit {
			list = append(list, r)
		}
	}
	return list, nil
}

func (m *memoryDevices) Restore(_ context.Context, _ uint32, id, task string) (n int, err error) {
	defer m.enter()()
	m.retired = slices.DeleteFunc(m.retired, func(r devices.Retired) bool {
		d := m.devices[r.Device]
		if id != "" && r.Device != id || task != "" && r.Task != task || d == nil {
			return false
		}
		d.Tokens = append(d.Tokens, r.Token)
		n++
		return true
	})
	return n, nil
}

// events are what devices reported, in place of tasks.
type events struct {
	task.Store
	mu       sync.Mutex
	reported []string // "DEVICE REPORT EVENT"
	err      error
}

func (e *events) Reported(_ context.Context, _ uint32, id, report string, event task.Event, _ time.Time) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return false, e.err
	}
	e.reported = append(e.reported, fmt.Sprint(id, " ", report, " ", event))
	return true, nil
}

var errDisk = errors.New("the disk is full")

// failingUsers are users of a store whose disk is full, with a reason that nobody is to
// see.
type failingUsers struct{ audience.Store }

func (failingUsers) Users(context.Context, uint32, []string) ([]audience.User, error) {
	return nil, errDisk
}
