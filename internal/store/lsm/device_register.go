package lsm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/store/journal"
)

// refreshAfter is how long a registration that changes nothing is not written again.
const refreshAfter = 24 * time.Hour

// newID returns a RegistrationID that nobody can guess: 96 bits of chance, in as few bytes
// as one may have.
func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// newSecret returns the secret of a device.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// A registration is a device that registers.
type registration struct {
	device.Device
	proof device.Proof
	// moved says that it is not the installation that registers now, but a file that says
	// when it did; secret is then what is kept of its secret.
	moved  bool
	secret []byte
}

// Register makes a device, or brings one up to date.
func (s *Devices) Register(ctx context.Context, app uint32, p device.Proof, d device.Device) (out device.Registered, err error) {
	if d.ID == "" {
		d.ID = newID()
	}
	if err := d.Check(); err != nil {
		return out, err
	}
	r := &registration{Device: d, proof: p}
	h, known, err := s.hintRegistration(ctx, app, r)
	if err != nil {
		return out, err
	}
	var pos journal.Pos
	if known { // most times nothing is to be written, which can be told without keeping others waiting
		writes := false
		_, err = s.u.look(ctx, app, func(x *tenant) error {
			c := s.u.changeDevices(x, h)
			n, exists := x.users.Find(d.ID)
			if writes = !exists || !x.users.IsDevice(n); writes {
				return nil
			}
			s.u.touch(x, 0, d.ID, &pos)
			if err := c.renew(r, n, &pos); err != nil {
				return err
			}
			if writes = c.some(); writes {
				return nil
			}
			is, err := s.u.shown(x, h, n)
			if err == nil {
				out.Device = *is
			}
			return err
		})
		if err != nil || !writes {
			return out, s.u.waitFor(ctx, pos, err)
		}
	}
	err = s.u.write(ctx, app, false, func(x *tenant) error {
		out, err = s.register(x, h, r, &pos)
		return err
	})
	return out, s.u.waitFor(ctx, pos, err)
}

// hintRegistration reads what the decision about a registration needs, and reports
// whether the device exists.
func (s *Devices) hintRegistration(ctx context.Context, app uint32, r *registration) (h *hints, known bool, err error) {
	n := uint32(0)
	if _, err := s.u.look(ctx, app, func(x *tenant) error {
		n, known = x.users.Find(r.ID)
		known = known && x.users.IsDevice(n)
		return nil
	}); err != nil {
		return nil, false, err
	}
	h, err = s.u.hint(func(v *journal.View, h *hints) error {
		var had []device.Token
		if known {
			value, err := h.add(v, app, tableDevice, numberKey(n))
			_, badge := h.add(v, app, tableBadge, numberKey(n))
			if err := cmp.Or(err, badge); err != nil {
				return err
			}
			if is, err := parseDeviceRecord(value); err == nil { // it may be gone meanwhile
				had = is.Tokens
			}
		}
		for i := range r.Tokens {
			if hasAddress(had, &r.Tokens[i]) {
				continue
			}
			value, err := h.add(v, app, tableAddress, s.u.addressKey(&r.Tokens[i]))
			if err != nil {
				return err
			}
			if other, is := numberOf(value); is && (!known || other != n) {
				if _, err := h.add(v, app, tableDevice, numberKey(other)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return h, known, err
}

// register decides a registration and makes it. The tenant is locked for a change.
func (s *Devices) register(x *tenant, h *hints, r *registration, pos *journal.Pos) (out device.Registered, err error) {
	var e audience.Effect
	c, _, secret, err := s.plan(x, h, r, &e, pos)
	if err != nil {
		return out, err
	}
	out.Created, out.Secret, out.Changed = secret != "", secret, c.some()
	if err := c.commitWith(&e, false, pos); err != nil {
		return out, err
	}
	n, _ := x.users.Find(r.ID)
	is, err := s.u.shown(x, h, n)
	if err == nil {
		out.Device = *is
	}
	return out, err
}

// plan decides a registration. E is set to the effect that makes the account, if that is
// needed. Of a new device that an installation registers the secret is returned.
func (s *Devices) plan(x *tenant, h *hints, r *registration, e *audience.Effect, pos *journal.Pos) (c *deviceChange, d *changedDevice, secret string, err error) {
	c = s.u.changeDevices(x, h)
	s.u.touch(x, 0, r.ID, pos)
	n, exists := x.users.Find(r.ID)
	switch {
	case exists && x.users.Kind(n) == audience.UserID:
		return nil, nil, "", wrapDevice(device.ErrTaken, r.ID)
	case exists && x.users.IsDevice(n):
		err = c.renew(r, n, pos)
	case r.proof.Secret != "" || r.proof.User != "":
		return nil, nil, "", unknownDevice(r.ID) // it is a refresh
	default:
		if secret, err = c.make(r, n, exists, e); err != nil {
			*pos = max(*pos, x.pos)
		} else if e.Op == audience.Make {
			n = e.User
		}
	}
	return c, c.by[n], secret, err
}

// make decides about a device that is new. An account of its name that is no device yet
// becomes one: back ends give attributes to RegistrationIDs before the first
// start of the app on the phone.
func (c *deviceChange) make(r *registration, n uint32, exists bool, e *audience.Effect) (secret string, err error) {
	x := c.x
	if x.users.DeviceCount() >= x.app.Settings.DeviceLimit() || x.users.Full() {
		return "", wrapDevice(device.ErrFull, r.ID)
	}
	if !exists {
		_, refused := c.s.maker(x).Change(&audience.Change{Account: r.ID, Create: true, Kind: audience.RegistrationID}, e)
		switch {
		case refused == nil:
		case errors.Is(refused, apierr.AccountLimit):
			return "", wrapDevice(device.ErrFull, r.ID)
		default:
			return "", refused
		}
		n = e.User
	}
	d := &changedDevice{number: n, is: &deviceRecord{Device: r.Device}}
	d.is.ID, d.is.User, d.is.Badge, d.is.Version = "", "", 0, 1
	if r.moved {
		d.is.secret, d.badge = r.secret, r.Badge
		d.is.Registered, d.is.LastActive = c.orNow(r.Registered), c.orNow(r.LastActive)
	} else {
		secret = newSecret()
		d.is.secret = hashSecret(secret)
		d.is.Registered, d.is.LastActive = c.now, c.now
	}
	d.is.Tokens = c.tokens(r, nil)
	c.add(d)
	return secret, c.takeAll(d)
}

// renew decides about a registration of device n.
func (c *deviceChange) renew(r *registration, n uint32, pos *journal.Pos) error {
	d, err := c.device(n)
	if err != nil {
		return err
	}
	if err := c.x.may(r.proof, n, d.is); err != nil {
		return err
	}
	was := d.is
	d.is = &deviceRecord{Device: r.Device, secret: was.secret}
	d.is.ID, d.is.User, d.is.Badge, d.is.Version, d.is.Registered, d.is.LastActive = "", "", 0, was.Version, was.Registered, c.now
	if r.moved {
		d.is.LastActive = was.LastActive
		if later := c.orNow(r.LastActive); !r.LastActive.IsZero() && later.After(was.LastActive) {
			d.is.LastActive = later
		}
	}
	d.is.Tokens = c.tokens(r, was.Tokens)
	if d.is.LastActive.Sub(was.LastActive) < refreshAfter && d.refreshed() {
		d.is = was // and nothing is written
		return nil
	}
	if err := c.takeAll(d); err != nil {
		return err
	}
	for _, other := range c.list {
		c.s.touch(c.x, 0, string(c.x.users.Account(other.number)), pos)
	}
	return nil
}

// tokens returns the tokens of a registration, the newest first. One that the device had
// keeps its time of registration.
func (c *deviceChange) tokens(r *registration, had []device.Token) []device.Token {
	tokens := slices.Clone(r.Tokens)
	for i := range tokens {
		t := &tokens[i]
		if r.moved {
			t.Registered, t.Refreshed = c.orNow(t.Registered), c.orNow(t.Refreshed)
		} else {
			t.Registered, t.Refreshed = c.now, c.now
		}
		if !t.Expires.IsZero() {
			t.Expires = time.Unix(t.Expires.Unix(), 0).UTC()
		}
		if k := slices.IndexFunc(had, func(o device.Token) bool { return o.SamePlace(t) && o.Address == t.Address }); k >= 0 {
			t.Registered = had[k].Registered
		}
	}
	newestFirst(tokens)
	return tokens
}

// orNow returns a time that a file tells, in whole seconds; now if it tells none or one that
// has not come.
func (c *deviceChange) orNow(t time.Time) time.Time {
	if t.Unix() <= 0 || t.After(c.now) {
		return c.now
	}
	return time.Unix(t.Unix(), 0).UTC()
}

// newestFirst puts tokens in the order in which a device has them.
func newestFirst(tokens []device.Token) {
	slices.SortFunc(tokens, func(a, b device.Token) int {
		return cmp.Or(b.Registered.Compare(a.Registered), cmp.Compare(a.Certificate, b.Certificate),
			cmp.Compare(device.KindNumber(a.Kind), device.KindNumber(b.Kind)), cmp.Compare(a.LaID, b.LaID))
	})
}

// takeAll takes the tokens of a device from others that have them.
func (c *deviceChange) takeAll(d *changedDevice) error {
	for i := range d.is.Tokens {
		if t := &d.is.Tokens[i]; d.was == nil || !hasAddress(d.was.Tokens, t) {
			if err := c.take(t, d.number); err != nil {
				return err
			}
		}
	}
	return nil
}
