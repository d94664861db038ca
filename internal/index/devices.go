package index

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"tidings/internal/audience"
)

// A Device is what the index keeps of a device: all of it, so that an effect about one
// says how the device is and not what changes.
type Device struct {
	Number uint32 // of its account, a RegistrationID
	Owner  uint32 // the user that it is bound to
	Bound  bool   // it has an owner
	Facet  string // not empty; its content is a matter of who asks
}

// MaxDevices is the most devices of one user, whatever an app allows. They are a list
// that is walked.
const MaxDevices = 1000

// devices are which accounts are devices, to whom they belong, and what is asked of
// many at once, their facets. Equal facets are stored once.
//
// The devices of a user are a list, threaded through one column: an account is a user
// and has a first device, or is a device and has a next one.
type devices struct {
	owner  column  // by device: 1 + the user; 0: none
	link   column  // by user: 1 + its first device; by device: 1 + the next of the same user
	facet  column  // by account: 1 + the number of its facet; 0: it is no device
	facets *strtab // their texts
	count  column  // by facet: devices
	n      int     // devices
}

func newDevices() devices { return devices{facets: newStrtab()} }

func (d *devices) view() devices {
	return devices{d.owner.view(), d.link.view(), d.facet.view(), d.facets.view(), d.count.view(), d.n}
}

// DeviceCount returns how many devices there are.
func (u *View) DeviceCount() int { return u.devices.n }

// IsDevice reports whether the account with number n is a device.
func (u *View) IsDevice(n uint32) bool { return u.devices.facet.get(n) != 0 }

// Owner returns the user that device n is bound to.
func (u *View) Owner(n uint32) (user uint32, bound bool) {
	if owner := u.devices.owner.get(n); owner != 0 {
		return owner - 1, true
	}
	return 0, false
}

// Devices returns the devices that are bound to a user, in no order that means
// anything.
func (u *View) Devices(user uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if u.IsDevice(user) {
			return
		}
		for d := u.devices.link.get(user); d != 0 && yield(d-1); {
			d = u.devices.link.get(d - 1)
		}
	}
}

// Facet returns the number of the facet of device n.
func (u *View) Facet(n uint32) (id uint32, is bool) {
	id = u.devices.facet.get(n)
	return id - 1, id != 0
}

// Facets is one above the highest number that a facet has or had.
func (u *View) Facets() uint32 { return u.devices.facets.next }

// FacetDevices returns how many devices have a facet; 0 if no facet has the number.
func (u *View) FacetDevices(id uint32) uint32 { return u.devices.count.get(id) }

// FacetText returns the facet with a number that some device has, valid until the next
// change.
func (u *View) FacetText(id uint32) []byte { return u.devices.facets.bytes(id) }

// DevicesFrom returns the numbers of all devices from n on, ascending.
func (u *View) DevicesFrom(n uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for d := range u.byKind[audience.RegistrationID].from(n) {
			if u.IsDevice(d) && !yield(d) {
				return
			}
		}
	}
}

// ApplyDevice makes an account a device, or a device as d says. If that does not fit the
// users, because something before it is missing or was damaged, it is an error and
// changes nothing.
func (u *Users) ApplyDevice(d *Device) error {
	if err := u.fitsDevice(d); err != nil {
		return fmt.Errorf("device %d: %w", d.Number, err)
	}
	x := &u.devices
	if owner, bound := u.Owner(d.Number); bound != d.Bound || bound && owner != d.Owner {
		u.unlink(d.Number)
		if d.Bound {
			u.link(d.Number, d.Owner)
		}
	}
	f, known := x.facets.find(d.Facet)
	if was := x.facet.get(d.Number); was == 0 || !known || was-1 != f {
		if !known {
			f = x.facets.add(d.Facet)
		}
		x.count.set(f, x.count.get(f)+1)
		x.facet.set(d.Number, f+1)
		if was != 0 {
			u.releaseFacet(was - 1)
		} else {
			x.n++
		}
	}
	return nil
}

func (u *Users) fitsDevice(d *Device) error {
	switch {
	case !u.Has(d.Number) || u.Kind(d.Number) != audience.RegistrationID:
		return errors.New("there is no such RegistrationID")
	case d.Facet == "" || len(d.Facet) > maxString:
		return fmt.Errorf("a facet of %d bytes", len(d.Facet))
	case !d.Bound:
		return nil
	case !u.Has(d.Owner) || u.Kind(d.Owner) == audience.RegistrationID:
		return fmt.Errorf("user %d, its owner, does not exist", d.Owner)
	}
	n := 0
	for other := range u.Devices(d.Owner) {
		if n++; other == d.Number {
			return nil
		}
	}
	if n >= MaxDevices {
		return fmt.Errorf("user %d has %d devices", d.Owner, n)
	}
	return nil
}

func (u *Users) link(n, user uint32) {
	x := &u.devices
	x.owner.set(n, user+1)
	x.link.set(n, x.link.get(user))
	x.link.set(user, n+1)
}

// unlink takes device n from its owner, if it has one.
func (u *Users) unlink(n uint32) {
	x := &u.devices
	owner := x.owner.get(n)
	if owner == 0 {
		return
	}
	at := owner - 1
	for x.link.get(at) != n+1 {
		at = x.link.get(at) - 1
	}
	x.link.set(at, x.link.get(n))
	x.link.set(n, 0)
	x.owner.set(n, 0)
}

func (u *Users) releaseFacet(f uint32) {
	left := u.devices.count.get(f) - 1
	u.devices.count.set(f, left)
	if left == 0 {
		u.devices.facets.drop(f)
	}
}

// removeDevices takes away what an account that is removed is to devices: a device, or
// their owner.
func (u *Users) removeDevices(n uint32) {
	x := &u.devices
	if f := x.facet.get(n); f != 0 {
		u.unlink(n)
		x.facet.set(n, 0)
		x.n--
		u.releaseFacet(f - 1)
		return
	}
	for d := x.link.get(n); d != 0; {
		next := x.link.get(d - 1)
		x.link.set(d-1, 0)
		x.owner.set(d-1, 0)
		d = next
	}
	x.link.set(n, 0)
}

func (d *devices) write(w *Writer) {
	d.owner.write(w)
	d.facet.write(w)
	d.facets.write(w)
}

// readDevices reads what write wrote, and makes the rest of it.
func (u *Users) readDevices(r *Reader) {
	x := &u.devices
	x.owner.read(r)
	x.facet.read(r)
	x.facets = readStrtab(r)
	x.facets.findHoles()
	if r.err != nil {
		return
	}
	for n := range u.accounts.next {
		f, owner := x.facet.get(n), x.owner.get(n)
		if f == 0 && owner == 0 {
			continue
		}
		if f == 0 || f > x.facets.next || !x.facets.has(f-1) || !u.Has(n) || u.Kind(n) != audience.RegistrationID ||
			owner != 0 && (!u.Has(owner-1) || u.Kind(owner-1) == audience.RegistrationID) {
			r.fail(fmt.Errorf("index: file has device %d, with facet %d and owner %d, which does not fit", n, f, owner))
			return
		}
		x.n++
		x.count.set(f-1, x.count.get(f-1)+1)
		if owner != 0 {
			x.link.set(n, x.link.get(owner-1))
			x.link.set(owner-1, n+1)
		}
	}
}

// verify looks at what readDevices did not.
func (d *devices) verify() error {
	for f := range d.facets.next {
		if has := d.facets.has(f); has != (d.count.get(f) != 0) {
			return fmt.Errorf("facet %d has %d devices", f, d.count.get(f))
		}
	}
	return d.facets.verify()
}

func (d *devices) bytesHeld() int64 {
	return d.owner.bytesHeld() + d.link.bytesHeld() + d.facet.bytesHeld() + d.facets.bytesHeld() + d.count.bytesHeld()
}

func (c *canonical) devices() {
	x := &c.u.devices
	for n := range c.u.accounts.next {
		if f := x.facet.get(n); f != 0 || x.owner.get(n) != 0 {
			c.Uint(uint64(n))
			c.Uint(uint64(x.owner.get(n)))
			if f != 0 {
				c.Bytes(x.facets.bytes(f - 1))
			}
		}
	}
	for _, f := range sortedStrings(x.facets) {
		c.Bytes(x.facets.bytes(f))
		c.Uint(uint64(x.count.get(f)))
	}
	for n := range c.u.accounts.next {
		if x.facet.get(n) == 0 && x.link.get(n) != 0 {
			c.Uint(uint64(n))
			c.numbers(slices.Sorted(c.u.Devices(n)))
		}
	}
	c.Uint(uint64(x.n))
}
