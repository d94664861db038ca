package lsm

import (
	"encoding/binary"
	"fmt"

	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// An entry about a device says all that the index has of it:
//
//	uvarint  number of its account in the app
//	uvarint  1 + number of the user that it is bound to; 0: none
//	byte     length, facet (device.Facet.Encode)
//
// That a device is gone, or its user, is said by the effect that removes the account.

func appendDevice(b []byte, d *index.Device) []byte {
	b = binary.AppendUvarint(append(b, entryDevice), uint64(d.Number))
	owner := uint64(0)
	if d.Bound {
		owner = uint64(d.Owner) + 1
	}
	return appendText(binary.AppendUvarint(b, owner), d.Facet)
}

// parseDevice reads an entry about a device, without its first byte. The facet shares
// the memory of b.
func parseDevice(b []byte, d *index.Device) error {
	f := fields{rest: b}
	d.Number = uint32(f.number("number", 1<<32-2))
	owner := f.number("owner", 1<<32-1)
	d.Owner, d.Bound = uint32(owner-1), owner != 0
	if !d.Bound {
		d.Owner = 0
	}
	d.Facet = f.bytes("facet", 255)
	if f.err == nil && len(f.rest) > 0 {
		f.fail("%d bytes too many", len(f.rest))
	}
	return f.err
}

// applyDevice applies what becomes of a device to the memory and adds it to the batch.
func (x *tenant) applyDevice(b *journal.Batch, d *index.Device) {
	x.viewed = nil
	if err := x.users.ApplyDevice(d); err != nil {
		panic(fmt.Sprintf("lsm: a device that was decided does not fit: app %d, %+v: %v", x.id, *d, err))
	}
	b.AppendMemory(func(buf []byte) []byte { return appendDevice(buf, d) })
}
