package lsm

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"tidings/internal/audience"
	"tidings/internal/index"
)

// Keys. The first byte is the table, then the SDKAppID, big-endian, then what
// is named in the app. doc/storage-format.md gives every byte.
const (
	tableMeta    = 0x00 // "format" → the format version, decimal
	tableApp     = 0x01 // → app, JSON
	tableUser    = 0x02 // account → user record
	tableNick    = 0x03 // account → nickname
	tableFace    = 0x04 // account → picture URL
	tableRevoked = 0x05 // account → second up to which its tickets are invalid, big-endian
	tableGone    = 0x06 // epoch, big-endian, SDKAppID, account → nothing: deleted in that epoch; no account: the app
)

// accountTables hold what belongs to an account besides its user record.
var accountTables = []byte{tableNick, tableFace, tableRevoked}

const keyHeader = 5

func appendKey(b []byte, table byte, app uint32, account string) []byte {
	b = append(b, table)
	b = binary.BigEndian.AppendUint32(b, app)
	return append(b, account...)
}

// tableEnd is the first key after those of an app in a table.
func tableEnd(table byte, app uint32) []byte {
	if app == 1<<32-1 {
		return []byte{table + 1}
	}
	return appendKey(nil, table, app+1, "")
}

// A user record, version 2; version 1 ended after the values and had no epoch:
//
//	byte     version, 2
//	byte     account type: 0 UserID, 1 RegistrationID
//	uvarint  number of the user in the app
//	uvarint  creation, Unix seconds
//	uvarint  epoch in which the record was written (see Store.epoch)
//	uvarint  set of slots with a value, bit n for slot n
//	         then for each of them, lowest first: byte length, value
//	uvarint  how many tags
//	         then for each of them: byte length, tag
const userVersion = 2

// appendUser writes the record of user n.
func appendUser(b []byte, u *index.Users, n uint32, epoch uint64) []byte {
	return appendRecord(b, u, n, n, epoch)
}

// appendRecord writes the record of user n as that of user number.
func appendRecord(b []byte, u *index.Users, n, number uint32, epoch uint64) []byte {
	b = append(b, userVersion, byte(u.Kind(n)))
	b = binary.AppendUvarint(b, uint64(number))
	b = binary.AppendUvarint(b, uint64(u.Created(n)))
	b = binary.AppendUvarint(b, epoch)
	var set audience.SlotSet
	for i := range audience.Slots {
		if u.Value(n, i) != nil {
			set.Add(i)
		}
	}
	b = binary.AppendUvarint(b, uint64(set))
	for i := range audience.Slots {
		if v := u.Value(n, i); v != nil {
			b = append(append(b, byte(len(v))), v...)
		}
	}
	var buf [audience.MaxTags]uint16
	tags := u.TagList(n, buf[:0])
	b = binary.AppendUvarint(b, uint64(len(tags)))
	for _, t := range tags {
		name := u.TagName(uint32(t))
		b = append(append(b, byte(len(name))), name...)
	}
	return b
}

// maxEpoch is more than any directory is opened.
const maxEpoch = 1 << 60

// userRecord is a user record, decoded.
type userRecord struct {
	number  uint32
	created uint32
	epoch   uint64
	kind    audience.Kind
	values  audience.Values
	tags    []string
}

// parseUser reads a user record. The texts share the memory of one string.
func parseUser(b []byte) (userRecord, error) {
	var r userRecord
	err := r.parse(b)
	return r, err
}

// parse is parseUser into r, whose memory it uses again.
func (r *userRecord) parse(b []byte) error {
	*r = userRecord{tags: r.tags[:0]}
	if len(b) < 2 {
		return fmt.Errorf("record of %d bytes is too short", len(b))
	}
	version := b[0]
	if version != 1 && version != userVersion {
		return fmt.Errorf("record version %d is not known, this program reads up to %d", version, userVersion)
	}
	if b[1] > byte(audience.RegistrationID) {
		return fmt.Errorf("account type %d is not known", b[1])
	}
	r.kind = audience.Kind(b[1])
	p := fields{rest: string(b[2:])}
	r.number = uint32(p.number("number", 1<<32-2))
	r.created = uint32(p.number("creation", 1<<32-1))
	if version > 1 {
		r.epoch = p.number("epoch", maxEpoch)
	}
	set := audience.SlotSet(p.number("set of slots", 1<<audience.Slots-1))
	for i := range audience.Slots {
		if !set.Has(i) {
			continue
		}
		if r.values[i] = p.text("value", audience.MaxValueBytes); p.err != nil {
			return fmt.Errorf("slot %d: %w", i, p.err)
		}
	}
	if version > 1 {
		for range p.number("number of tags", audience.MaxTags) {
			tag := p.text("a tag", audience.MaxTagBytes)
			if p.err == nil && slices.Contains(r.tags, tag) {
				return fmt.Errorf("tag %q stands twice", tag)
			}
			r.tags = append(r.tags, tag)
		}
	}
	if p.err == nil && p.rest != "" {
		return fmt.Errorf("%d bytes too many", len(p.rest))
	}
	return p.err
}

// fields takes a record apart. After its first error it gives nothing.
type fields struct {
	rest string
	err  error
}

func (p *fields) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = ""
}

// number reads a uvarint.
func (p *fields) number(what string, most uint64) (v uint64) {
	for i := 0; i < len(p.rest) && i < binary.MaxVarintLen64; i++ {
		c := p.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if v > most || i == binary.MaxVarintLen64-1 && c > 1 {
				break
			}
			p.rest = p.rest[i+1:]
			return v
		}
	}
	p.fail("%s is not a number up to %d", what, most)
	return 0
}

// text reads a byte length and so many bytes.
func (p *fields) text(what string, most int) string {
	if p.rest == "" || len(p.rest) < 1+int(p.rest[0]) {
		p.fail("%s is cut off", what)
		return ""
	}
	n := int(p.rest[0])
	v := p.rest[1 : 1+n]
	switch {
	case n == 0 || n > most:
		p.fail("%s has %d bytes", what, n)
		return ""
	case !utf8.ValidString(v):
		p.fail("%s is not UTF-8", what)
		return ""
	}
	p.rest = p.rest[1+n:]
	return v
}

// parseAppKey takes the key of an app apart.
func parseAppKey(key []byte) (app uint32, err error) {
	if len(key) != keyHeader {
		return 0, fmt.Errorf("key %q has %d bytes, want %d", key, len(key), keyHeader)
	}
	return binary.BigEndian.Uint32(key[1:]), nil
}

// parseAccountKey takes a key of an account table apart.
func parseAccountKey(key []byte) (app uint32, account string, err error) {
	if len(key) <= keyHeader {
		return 0, "", fmt.Errorf("key %q is too short", key)
	}
	return binary.BigEndian.Uint32(key[1:]), string(key[keyHeader:]), nil
}

func appendSecond(b []byte, second int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(second))
}

func parseSecond(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("time of %d bytes, want 8", len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}
