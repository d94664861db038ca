package lsm

import (
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// readDevice returns device n as tables and users have it, which are of one moment; nil if
// there is no such device.
func readDevice(v *journal.View, users *index.View, app, n uint32) (*device.Device, error) {
	if !users.IsDevice(n) {
		return nil, nil
	}
	value, err := v.Get(tableDevice, app, numberKey(n))
	if err != nil || value == nil {
		return nil, err
	}
	r, err := parseDeviceRecord(value)
	if err != nil {
		return nil, err
	}
	badge, err := v.Get(tableBadge, app, numberKey(n))
	if err != nil {
		return nil, err
	}
	nameDevice(users, &r.Device, n, badge)
	return &r.Device, nil
}

// nameDevice sets what the record of device n does not have.
func nameDevice(users *index.View, d *device.Device, n uint32, badge []byte) {
	d.ID, d.Badge = string(users.Account(n)), parseBadge(badge)
	if owner, bound := users.Owner(n); bound {
		d.User = string(users.Account(owner))
	}
}

// readDeviceVersion returns device n as it was in a version; nil if that is not kept. Its
// badge, which changes beside versions, is 0. If the user that it was bound to was deleted
// since, it has none.
func (s *Users) readDeviceVersion(v *journal.View, users *index.View, app, n, version uint32) (*device.Device, error) {
	d, err := readDevice(v, users, app, n)
	if err != nil || d == nil {
		return nil, err
	}
	if d.Version == version {
		d.Badge = 0
		return d, nil
	}
	value, err := v.Get(tableVersion, app, versionKey(n, version))
	if err != nil || value == nil {
		return nil, err
	}
	was, err := parseDeviceVersion(value)
	if err != nil {
		return nil, err
	}
	was.ID = d.ID
	// The number of a deleted user may be another's by now.
	if was.bound && users.Has(was.owner) && s.nameHash(users.Account(was.owner)) == was.name {
		was.User = string(users.Account(was.owner))
	}
	return &was.Device, nil
}

// nameHash stands for the name of an account beside its number.
func (s *Users) nameHash(account []byte) (name [nameBytes]byte) {
	h := s.hash(string(account))
	copy(name[:], h[:])
	return name
}
