package lsm

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"tidings/internal/audience"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// keptVersions bounds how many versions of a device are kept, however often it changes.
const keptVersions = 100

// A deviceChange is what becomes of devices in one commit. All that it needs is read
// before anything is changed, since reading may fail; a user or device that the commit
// makes is made before write.
type deviceChange struct {
	s    *Users
	x    *tenant // locked
	h    *hints
	now  time.Time // whole seconds
	list []*changedDevice
	by   map[uint32]*changedDevice
}

// A changedDevice is a device as it was and as it becomes.
type changedDevice struct {
	number uint32
	was    *deviceVersion // nil: it is new
	is     *deviceRecord
	owner  uint32 // as it becomes
	bound  bool
	gone   bool // its account is removed

	retired  []device.Retired // as they become
	rewrites bool             // retired is written
	badge    int              // of a new device that a file holds
}

func (s *Users) changeDevices(x *tenant, h *hints) *deviceChange {
	return &deviceChange{s: s, x: x, h: h, now: time.Unix(time.Now().Unix(), 0).UTC()}
}

// device returns a device, to be changed.
func (c *deviceChange) device(n uint32) (*changedDevice, error) {
	if d := c.by[n]; d != nil {
		return d, nil
	}
	r, err := c.s.deviceRecord(c.x, c.h, n)
	if err != nil {
		return nil, err
	}
	d := &changedDevice{number: n, was: &deviceVersion{deviceRecord: *r, ended: c.now}, is: r.clone()}
	d.owner, d.bound = c.x.users.Owner(n)
	if d.was.owner, d.was.bound = d.owner, d.bound; d.bound {
		d.was.name = c.s.nameHash(c.x.users.Account(d.owner))
	}
	c.add(d)
	return d, nil
}

func (c *deviceChange) add(d *changedDevice) {
	if c.by == nil {
		c.by = map[uint32]*changedDevice{}
	}
	c.list, c.by[d.number] = append(c.list, d), d
}

// deviceRecord returns the record of device n of a tenant that is locked.
func (s *Users) deviceRecord(x *tenant, h *hints, n uint32) (*deviceRecord, error) {
	value, err := s.record(x, h, tableDevice, numberKey(n))
	if err == nil && value == nil {
		err = fmt.Errorf("device %d of app %d has no record", n, x.id)
	}
	if err != nil {
		return nil, err
	}
	return parseDeviceRecord(value)
}

// devicesOf returns the devices of a user, to be changed.
func (c *deviceChange) devicesOf(user uint32) (list []*changedDevice, err error) {
	for n := range c.x.users.Devices(user) {
		d, err := c.device(n)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// addressKey is the key of the record of a token's address. A token of another certificate or
// kind has another, so that two apps of a vendor do not meet.
func (s *Users) addressKey(t *device.Token) []byte {
	mac := hmac.New(sha256.New, s.hashKey)
	mac.Write(binary.AppendUvarint([]byte{0, byte(device.KindNumber(t.Kind))}, uint64(t.Certificate)))
	mac.Write([]byte(t.Address))
	return mac.Sum(nil)[:hashBytes]
}

// holder returns the device that has a token, if it is another than n.
func (c *deviceChange) holder(t *device.Token, n uint32) (*changedDevice, error) {
	key := c.s.addressKey(t)
	value, err := c.s.record(c.x, c.h, tableAddress, key)
	if err != nil {
		return nil, err
	}
	other, is := numberOf(value)
	if !is || other == n || !c.x.users.IsDevice(other) {
		return nil, nil
	}
	return c.device(other)
}

// take takes a token from whoever has it, but for device n.
func (c *deviceChange) take(t *device.Token, n uint32) error {
	d, err := c.holder(t, n)
	if d != nil {
		d.is.Tokens = slices.DeleteFunc(d.is.Tokens, func(o device.Token) bool {
			return o.Certificate == t.Certificate && o.Kind == t.Kind && o.Address == t.Address
		})
	}
	return err
}

// changed reports whether something is to be written.
func (d *changedDevice) changed() bool {
	return d.was == nil || d.gone || d.rewrites || d.owner != d.was.owner || d.bound != d.was.bound || !bytes.Equal(d.is.encode(), d.was.deviceRecord.encode())
}

// refreshed reports whether nothing changes but when the device was seen.
func (d *changedDevice) refreshed() bool {
	if d.was == nil || d.gone || d.owner != d.was.owner || d.bound != d.was.bound {
		return false
	}
	r := d.is.clone()
	r.LastActive = d.was.LastActive
	for i := range r.Tokens {
		if i < len(d.was.Tokens) {
			r.Tokens[i].Refreshed = d.was.Tokens[i].Refreshed
		}
	}
	return bytes.Equal(r.encode(), d.was.deviceRecord.encode())
}

// some reports whether there is something to write.
func (c *deviceChange) some() bool {
	return slices.ContainsFunc(c.list, (*changedDevice).changed)
}

// write makes the changes, in memory and in the batch.
func (c *deviceChange) write(b *journal.Batch) {
	c.list = slices.DeleteFunc(c.list, func(d *changedDevice) bool { return !d.changed() })
	for _, d := range c.list { // before the addresses that others take over
		if d.was != nil {
			c.forget(b, d)
		}
	}
	for _, d := range c.list {
		if d.gone {
			continue
		}
		if d.was != nil && !d.refreshed() {
			c.keep(b, d)
		}
		c.writeRetired(b, d)
		c.x.pending.set(b, tableDevice, numberKey(d.number), d.is.encode())
		if d.badge > 0 {
			c.x.setBadge(b, d.number, d.badge)
		}
		for i := range d.is.Tokens {
			if t := &d.is.Tokens[i]; d.was == nil || !hasAddress(d.was.Tokens, t) {
				c.x.pending.set(b, tableAddress, c.s.addressKey(t), numberKey(d.number))
			}
		}
		c.memory(b, d)
	}
}

func (c *deviceChange) writeRetired(b *journal.Batch, d *changedDevice) {
	switch key := numberKey(d.number); {
	case !d.rewrites:
	case len(d.retired) == 0:
		c.x.pending.delete(b, tableRetired, key)
	default:
		c.x.pending.set(b, tableRetired, key, encodeRetired(d.retired))
	}
}

// forget deletes the records of what a device loses.
func (c *deviceChange) forget(b *journal.Batch, d *changedDevice) {
	for i := range d.was.Tokens {
		if t := &d.was.Tokens[i]; d.gone || !hasAddress(d.is.Tokens, t) {
			c.x.pending.delete(b, tableAddress, c.s.addressKey(t))
		}
	}
	if !d.gone {
		return
	}
	key := numberKey(d.number)
	c.x.pending.delete(b, tableDevice, key)
	c.x.pending.delete(b, tableRetired, key)
	c.x.pending.delete(b, tableBadge, key)
	for v := first(d.was.Version); v < d.was.Version; v++ {
		b.Delete(tableVersion, versionKey(d.number, v))
	}
}

// first returns the first version of a device that is kept.
func first(version uint32) uint32 {
	if version <= keptVersions {
		return 1
	}
	return version - keptVersions
}

// keep keeps a device as it was.
func (c *deviceChange) keep(b *journal.Batch, d *changedDevice) {
	b.Set(tableVersion, versionKey(d.number, d.was.Version), d.was.shortened().encode())
	d.is.Version = d.was.Version + 1
	if old := first(d.is.Version) - 1; old > 0 {
		b.Delete(tableVersion, versionKey(d.number, old))
	}
}

// memory brings the index up to date with a device.
func (c *deviceChange) memory(b *journal.Batch, d *changedDevice) {
	facet := d.is.Facet()
	text := facet.Encode(nil)
	owner, bound := c.x.users.Owner(d.number)
	f, is := c.x.users.Facet(d.number)
	if is && bound == d.bound && (!bound || owner == d.owner) && bytes.Equal(c.x.users.FacetText(f), text) {
		return
	}
	c.x.applyDevice(b, &index.Device{Number: d.number, Owner: d.owner, Bound: d.bound, Facet: string(text)})
}

func hasAddress(tokens []device.Token, t *device.Token) bool {
	return slices.ContainsFunc(tokens, func(o device.Token) bool {
		return o.Certificate == t.Certificate && o.Kind == t.Kind && o.Address == t.Address
	})
}

// settled is called after the Commit with its group; 0 is none. It raises *pos to it.
func (c *deviceChange) settled(group journal.Pos, pos *journal.Pos) {
	if group != 0 {
		c.x.pending.settle(group, c.s.journal.Applied())
	}
	for _, d := range c.list {
		if !d.gone {
			c.s.touch(c.x, group, string(c.x.users.Account(d.number)), pos)
		}
	}
	*pos = max(*pos, group)
	c.x.changed(group)
}

// commit makes the changes of a tenant that is locked, if there are any.
func (c *deviceChange) commit(bulk bool, pos *journal.Pos) error {
	return c.commitWith(&audience.Effect{}, bulk, pos)
}

// commitWith is commit with an effect about the account of a device or of its user; one
// without an operation is none.
func (c *deviceChange) commitWith(e *audience.Effect, bulk bool, pos *journal.Pos) error {
	if !c.some() {
		return nil
	}
	x, account := c.x, e.Account
	if e.Op == audience.Remove {
		account = string(x.users.Account(e.User))
	}
	group, err := c.s.journal.Commit(x.id, bulk, func(b *journal.Batch) {
		if e.Op != 0 {
			x.apply(b, e)
		}
		c.write(b)
	})
	if err != nil {
		return err
	}
	if e.Op == audience.Remove {
		x.users.Settle(uint64(group))
	}
	if e.Op != 0 {
		c.s.touch(x, group, account, pos)
	}
	c.settled(group, pos)
	return nil
}

// unbind takes a device from its user.
func (d *changedDevice) unbind() { d.owner, d.bound = 0, false }

// retire takes a token from a device and keeps it among the retired ones.
func (c *deviceChange) retire(d *changedDevice, t device.Token, reason, task string) error {
	list, err := c.retired(d)
	if err != nil {
		return err
	}
	list = append(list, device.Retired{Token: t, Reason: clipUTF8(reason, maxReason), Task: clipUTF8(task, maxTaskID), At: c.now})
	d.retired = list[max(0, len(list)-maxRetired):]
	d.is.Tokens = slices.DeleteFunc(d.is.Tokens, func(o device.Token) bool { return o.SamePlace(&t) })
	return nil
}

// retired returns the retired tokens of a device, which are written again.
func (c *deviceChange) retired(d *changedDevice) (list []device.Retired, err error) {
	if d.rewrites {
		return d.retired, nil
	}
	value, err := c.s.record(c.x, c.h, tableRetired, numberKey(d.number))
	if err == nil && value != nil {
		list, err = parseRetired(value)
	}
	d.retired, d.rewrites = list, err == nil
	return list, err
}

func clipUTF8(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "")
}
