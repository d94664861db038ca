package lsm

import (
	"encoding/binary"
	"fmt"
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

// A user record, version 1:
//
//	byte     version, 1
//	byte     account type: 0 UserID, 1 RegistrationID
//	uvarint  number of the user in the app
//	uvarint  creation, Unix seconds
//	uvarint  set of slots with a value, bit n for slot n
//	         then for each of them, lowest first: byte length, value
const userVersion = 1

// maxUserRecord is more than any user record takes.
const maxUserRecord = 2 + 3*binary.MaxVarintLen64 + audience.Slots*(1+audience.MaxValueBytes)

// appendUser writes the record of user n.
func appendUser(b []byte, u *index.Users, n uint32) []byte {
	return appendRecord(b, u, n, n)
}

// appendRecord writes the record of user n as that of user number.
func appendRecord(b []byte, u *index.Users, n, number uint32) []byte {
	b = append(b, userVersion, byte(u.Kind(n)))
	b = binary.AppendUvarint(b, uint64(number))
	b = binary.AppendUvarint(b, uint64(u.Created(n)))
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
	return b
}

// userRecord is a user record, decoded.
type userRecord struct {
	number  uint32
	created uint32
	kind    audience.Kind
	values  audience.Values
}

// parseUser reads a user record. The values share the memory of one string.
func parseUser(b []byte) (userRecord, error) {
	var r userRecord
	if len(b) < 2 {
		return r, fmt.Errorf("record of %d bytes is too short", len(b))
	}
	if b[0] != userVersion {
		return r, fmt.Errorf("record version %d is not known, this program reads version %d", b[0], userVersion)
	}
	if b[1] > byte(audience.RegistrationID) {
		return r, fmt.Errorf("account type %d is not known", b[1])
	}
	r.kind = audience.Kind(b[1])
	rest := b[2:]
	next := func(what string, most uint64) (uint64, error) {
		v, n := binary.Uvarint(rest)
		if n <= 0 || v > most {
			return 0, fmt.Errorf("%s is not a number up to %d", what, most)
		}
		rest = rest[n:]
		return v, nil
	}
	number, err := next("number", 1<<32-2)
	if err != nil {
		return r, err
	}
	created, err := next("creation", 1<<32-1)
	if err != nil {
		return r, err
	}
	set, err := next("set of slots", 1<<audience.Slots-1)
	if err != nil {
		return r, err
	}
	r.number, r.created = uint32(number), uint32(created)
	values := string(rest)
	for i := range audience.Slots {
		if !audience.SlotSet(set).Has(i) {
			continue
		}
		if values == "" || len(values) < 1+int(values[0]) {
			return r, fmt.Errorf("value of slot %d is cut off", i)
		}
		n := int(values[0])
		if n == 0 || n > audience.MaxValueBytes {
			return r, fmt.Errorf("value of slot %d has %d bytes", i, n)
		}
		if !utf8.ValidString(values[1 : 1+n]) {
			return r, fmt.Errorf("value of slot %d is not UTF-8", i)
		}
		r.values[i], values = values[1:1+n], values[1+n:]
	}
	if values != "" {
		return r, fmt.Errorf("%d bytes after the last value", len(values))
	}
	return r, nil
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
