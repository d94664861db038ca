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

// slotTexts name the slots in errors.
var slotTexts = func() (texts [audience.Slots]string) {
	for i := range texts {
		texts[i] = fmt.Sprintf("value of slot %d", i)
	}
	return texts
}()

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
	if len(b) < 2 {
		return r, fmt.Errorf("record of %d bytes is too short", len(b))
	}
	version := b[0]
	if version != 1 && version != userVersion {
		return r, fmt.Errorf("record version %d is not known, this program reads up to %d", version, userVersion)
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
	if version > 1 {
		if r.epoch, err = next("epoch", maxEpoch); err != nil {
			return r, err
		}
	}
	set, err := next("set of slots", 1<<audience.Slots-1)
	if err != nil {
		return r, err
	}
	r.number, r.created = uint32(number), uint32(created)
	text := string(rest)
	nextText := func(what string, most int) (string, error) {
		if text == "" || len(text) < 1+int(text[0]) {
			return "", fmt.Errorf("%s is cut off", what)
		}
		n := int(text[0])
		v := text[1 : 1+n]
		if n == 0 || n > most {
			return "", fmt.Errorf("%s has %d bytes", what, n)
		}
		if !utf8.ValidString(v) {
			return "", fmt.Errorf("%s is not UTF-8", what)
		}
		text = text[1+n:]
		return v, nil
	}
	for i := range audience.Slots {
		if !audience.SlotSet(set).Has(i) {
			continue
		}
		if r.values[i], err = nextText(slotTexts[i], audience.MaxValueBytes); err != nil {
			return r, err
		}
	}
	if version > 1 {
		rest = rest[len(rest)-len(text):]
		count, err := next("number of tags", audience.MaxTags)
		if err != nil {
			return r, err
		}
		text = text[len(text)-len(rest):]
		for range count {
			tag, err := nextText("a tag", audience.MaxTagBytes)
			if err != nil {
				return r, err
			}
			if slices.Contains(r.tags, tag) {
				return r, fmt.Errorf("tag %q stands twice", tag)
			}
			r.tags = append(r.tags, tag)
		}
	}
	if text != "" {
		return r, fmt.Errorf("%d bytes too many", len(text))
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
