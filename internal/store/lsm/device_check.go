package lsm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// A deviceCheck compares what the tables have of the devices of an app with each other and
// with the index. What is read of the tables is of one moment, and the users are of an
// earlier one: what differs is looked at again, as it is by then.
type deviceCheck struct {
	s     *Store
	app   uint32
	users *index.View
	found []uint64 // a bit for each device that has a record
	// addresses is a sum over what the records of devices say of addresses, less the same
	// over the records of addresses: zero if both have the same.
	addresses uint64
}

// record looks at a record of a table of devices.
func (d *deviceCheck) record(c *checker, t *journal.Table, key, value []byte) {
	wrong := func(format string, args ...any) {
		c.wrong(fmt.Sprintf("%s %x of app %d", t.Name, key, d.app), format, args...)
	}
	switch t {
	case tableAddress:
		n, _ := numberOf(value)
		d.addresses -= addressSum(key, n)
		return
	case tableDevice:
	default:
		if n := binary.BigEndian.Uint32(key); !d.users.IsDevice(n) && !d.s.belongs(d.app, n, t, key) {
			wrong("device %d does not exist", n)
		}
		return
	}
	n := binary.BigEndian.Uint32(key)
	for int(n/64) >= len(d.found) {
		d.found = append(d.found, make([]uint64, 1+len(d.found)/2)...)
	}
	d.found[n/64] |= 1 << (n % 64)
	r, err := parseDeviceRecord(value)
	if err != nil {
		return // the table has said so
	}
	seen := map[string]bool{}
	for i := range r.Tokens {
		if key := d.s.Users.addressKey(&r.Tokens[i]); !seen[string(key)] {
			seen[string(key)] = true
			d.addresses += addressSum(key, n)
		}
	}
	if !sameFacet(d.users, n, r) {
		if what := d.s.deviceDiffers(d.app, n); what != "" {
			wrong("%s", what)
		}
	}
}

func addressSum(key []byte, n uint32) uint64 { return xxh3.HashSeed(key, uint64(n)) }

// sameFacet reports whether the index has a device with the facet of its record.
func sameFacet(users *index.View, n uint32, r *deviceRecord) bool {
	id, is := users.Facet(n)
	f := r.Facet()
	return is && bytes.Equal(users.FacetText(id), f.Encode(nil))
}

// end looks for what no record was found of.
func (d *deviceCheck) end(c *checker) {
	for n := range d.users.DevicesFrom(0) {
		if int(n/64) < len(d.found) && d.found[n/64]>>(n%64)&1 == 1 {
			continue
		}
		if what := d.s.deviceDiffers(d.app, n); what != "" {
			c.wrong(fmt.Sprintf("device %d of app %d", n, d.app), "%s", what)
		}
	}
	if d.addresses != 0 {
		c.wrong(fmt.Sprintf("addresses of app %d", d.app), "they are not those of the tokens of the devices")
	}
}

// deviceDiffers returns how index and record of a device differ now; empty if they do not.
func (s *Store) deviceDiffers(app, n uint32) string {
	x := s.tenants.find(app)
	if x == nil {
		return ""
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.gone {
		return ""
	}
	value, err := s.Users.record(x, nil, tableDevice, numberKey(n))
	if err != nil {
		return err.Error()
	}
	is := x.users.IsDevice(n)
	switch {
	case is && value == nil:
		return "the device has no record"
	case !is && value != nil:
		return fmt.Sprintf("device %d does not exist", n)
	case !is:
		return ""
	}
	r, err := parseDeviceRecord(value)
	if err != nil {
		return err.Error()
	}
	if !sameFacet(&x.users.View, n, r) {
		return "the record is of another facet than the index has"
	}
	return ""
}

// belongs reports whether a record about device n has its device, or is gone by now.
func (s *Store) belongs(app, n uint32, t *journal.Table, key []byte) bool {
	x := s.tenants.find(app)
	if x == nil {
		return true
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.gone || x.users.IsDevice(n) {
		return true
	}
	value, err := s.Users.record(x, nil, t, key)
	return err == nil && value == nil
}
