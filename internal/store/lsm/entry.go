package lsm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/index"
)

// An entry of the log that changes the memory of an app begins with a byte that says
// what it is:
//
//	1  JSON                  the app is new or changed
//	2                        the app is deleted
//	3  effect                something happens to a user
//	4  device                an account is a device, and how (device_entry.go)
//
// and an effect is
//
//	byte     1 the user is made, 2 changed, 3 removed
//	uvarint  number of the user in the app
//	         removed: no more. Made:
//	byte       account type: 0 UserID, 1 RegistrationID
//	byte       length, account
//	uvarint  creation, Unix seconds; of one that is changed, 0 if that stays
//	uvarint  set of slots that get a value, bit n for slot n
//	         then for each of them, lowest first: byte length, value
//	uvarint  set of slots whose value is taken away
//	uvarint  how many tags are added
//	         then for each of them: byte length, tag
//	uvarint  how many tags are taken away
//	         then for each of them: byte length, tag
//
// Values and tags stand as text: a number would be one more fact that a start would
// have to find unchanged, and the texts are short. doc/adr/0008.
const (
	entryApp     = 1
	entryDeleted = 2
	entryEffect  = 3
	entryDevice  = 4
)

func appendEffect(b []byte, e *audience.Effect) []byte {
	b = append(b, entryEffect, byte(e.Op))
	b = binary.AppendUvarint(b, uint64(e.User))
	switch e.Op {
	case audience.Remove:
		return b
	case audience.Make:
		b = appendText(append(b, byte(e.Kind)), e.Account)
	}
	b = binary.AppendUvarint(b, uint64(e.Created))
	var set audience.SlotSet
	for slot, v := range e.Set {
		if v != "" {
			set.Add(slot)
		}
	}
	b = binary.AppendUvarint(b, uint64(set))
	if set != 0 {
		for _, v := range e.Set {
			if v != "" {
				b = appendText(b, v)
			}
		}
	}
	b = binary.AppendUvarint(b, uint64(e.Cleared))
	for _, tags := range [][]string{e.Tagged, e.Untagged} {
		b = binary.AppendUvarint(b, uint64(len(tags)))
		for _, tag := range tags {
			b = appendText(b, tag)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// parseEffect reads an effect, whose texts share the memory of b. It fills e, whose
// lists it uses again.
func parseEffect(b []byte, e *audience.Effect) error {
	*e = audience.Effect{Tagged: e.Tagged[:0], Untagged: e.Untagged[:0]}
	f := fields{rest: b}
	e.Op = audience.EffectOp(f.number("operation", uint64(audience.Remove)))
	e.User = uint32(f.number("number", 1<<32-2))
	switch {
	case f.err == nil && e.Op < audience.Make:
		f.fail("operation %d is not known", e.Op)
	case e.Op == audience.Make:
		e.Kind = audience.Kind(f.number("account type", uint64(audience.RegistrationID)))
		e.Account = f.bytes("account", audience.MaxAccountBytes)
	}
	if e.Op != audience.Remove {
		e.Created = uint32(f.number("creation", 1<<32-1))
		set := audience.SlotSet(f.number("set of slots", 1<<audience.Slots-1))
		for slot := range audience.Slots {
			if set.Has(slot) {
				e.Set[slot] = f.text("value", audience.MaxValueBytes)
			}
		}
		e.Cleared = audience.SlotSet(f.number("set of slots", 1<<audience.Slots-1))
		for _, tags := range []*[]string{&e.Tagged, &e.Untagged} {
			for range f.number("number of tags", audience.MaxTags) {
				*tags = append(*tags, f.text("tag", audience.MaxTagBytes))
			}
		}
	}
	if f.err == nil && len(f.rest) > 0 {
		f.fail("%d bytes too many", len(f.rest))
	}
	return f.err
}

func appendApp(a *app.App) ([]byte, error) {
	record, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encoding app %d: %w", a.ID, err)
	}
	return append([]byte{entryApp}, record...), nil
}

func parseApp(record []byte) (*app.App, error) {
	a := new(app.App)
	if err := json.Unmarshal(record, a); err != nil {
		return nil, fmt.Errorf("the record of the app: %w", err)
	}
	return a, nil
}

// checkEntry returns why an entry could not be read. It reads an effect into e.
func checkEntry(entry []byte, e *audience.Effect) error {
	if len(entry) == 0 {
		return fmt.Errorf("an entry is empty")
	}
	switch rest := entry[1:]; entry[0] {
	case entryApp:
		_, err := parseApp(rest)
		return err
	case entryDeleted:
		if len(rest) > 0 {
			return fmt.Errorf("a deletion has %d bytes too many", len(rest))
		}
		return nil
	case entryEffect:
		return parseEffect(rest, e)
	case entryDevice:
		return parseDevice(rest, new(index.Device))
	}
	return fmt.Errorf("entry %d is not known", entry[0])
}

// fields parses a record. After its first error it returns zero values.
type fields struct {
	rest []byte
	err  error
}

func (p *fields) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = nil
}

// number reads a uvarint.
func (p *fields) number(what string, limit uint64) uint64 {
	v, size := binary.Uvarint(p.rest)
	if size <= 0 || v > limit {
		p.fail("%s is not a number up to %d", what, limit)
		return 0
	}
	p.rest = p.rest[size:]
	return v
}

// bytes reads a byte length and so many bytes, one at least.
func (p *fields) bytes(what string, limit int) string {
	if len(p.rest) == 0 || len(p.rest) < 1+int(p.rest[0]) {
		p.fail("%s is cut off", what)
		return ""
	}
	n := int(p.rest[0])
	v := textOf(p.rest[1 : 1+n])
	if n == 0 || n > limit {
		p.fail("%s has %d bytes", what, n)
		return ""
	}
	p.rest = p.rest[1+n:]
	return v
}

// text is bytes that are UTF-8.
func (p *fields) text(what string, limit int) string {
	v := p.bytes(what, limit)
	if p.err == nil && !utf8.ValidString(v) {
		p.fail("%s is not UTF-8", what)
	}
	return v
}
