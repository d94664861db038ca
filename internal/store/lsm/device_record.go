package lsm

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"tidings/internal/channel"
	"tidings/internal/device"
)

// The record of a device:
//
//	byte     form of the record, 1
//	uvarint  version
//	uvarint  registration, Unix second
//	uvarint  when it was last active, Unix second
//	byte     platform, and 8 times the permission, and 32 for a test device
//	byte     length, secret as it is kept: 16 bytes, or none
//	         model, system, its version, SDK, push plug-in, version of the app, language, time
//	         zone: byte length, text
//	byte     how many tokens, then each
//
// and a token:
//
//	uvarint  certificate
//	byte     kind, and 16 for production, 32 for sandbox, 64 with a LaId and expiry
//	uvarint  length, address
//	byte     length, topic
//	uvarint  registration; uvarint refresh, both Unix seconds
//	         with 64: byte length, LaId; uvarint expiry, Unix second, 0 if there is none
//
// The name of the device is that of its account, its user is in the index, and its badge,
// which changes with every push, in a table of its own.
const (
	deviceForm  = 1
	secretBytes = device.SecretBytes

	tokenProduction = 16
	tokenSandbox    = 32
	tokenActivity   = 64
)

// A deviceRecord is what tables hold of a device. Of the device the ID, the user and the
// badge are empty.
type deviceRecord struct {
	device.Device
	secret []byte // hashed; empty: nobody knows one
}

// hashSecret returns a secret as it is kept. A secret is random and long, so nobody can find
// it from its hash by trying, and nobody needs more of the hash than this.
func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:secretBytes]
}

// knows reports whether a secret is that of the device.
func (r *deviceRecord) knows(secret string) bool {
	return secret != "" && len(r.secret) > 0 && subtle.ConstantTimeCompare(hashSecret(secret), r.secret) == 1
}

func (r *deviceRecord) clone() *deviceRecord {
	c := *r
	c.Tokens = slices.Clone(r.Tokens)
	return &c
}

// encode returns the record.
func (r *deviceRecord) encode() []byte {
	b := append(make([]byte, 0, 320), deviceForm)
	b = binary.AppendUvarint(b, uint64(r.Version))
	b = appendSecond(appendSecond(b, r.Registered), r.LastActive)
	first := device.PlatformNumber(r.Platform) | device.PermissionNumber(r.Permission)<<3
	if r.Test {
		first |= 32
	}
	b = append(b, byte(first), byte(len(r.secret)))
	b = append(b, r.secret...)
	for _, text := range r.Texts() {
		b = appendText(b, *text)
	}
	b = append(b, byte(len(r.Tokens)))
	for i := range r.Tokens {
		b = appendToken(b, &r.Tokens[i])
	}
	return b
}

// appendSecond appends a time; 0 is the zero time.
func appendSecond(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(max(t.Unix(), 1)))
}

func appendToken(b []byte, t *device.Token) []byte {
	kind := device.KindNumber(t.Kind)
	switch t.Environment {
	case channel.Production:
		kind |= tokenProduction
	case channel.Sandbox:
		kind |= tokenSandbox
	}
	activity := t.LaID != "" || !t.Expires.IsZero()
	if activity {
		kind |= tokenActivity
	}
	b = append(binary.AppendUvarint(b, uint64(t.Certificate)), byte(kind))
	b = append(binary.AppendUvarint(b, uint64(len(t.Address))), t.Address...)
	b = appendText(b, t.Topic)
	b = appendSecond(appendSecond(b, t.Registered), t.Refreshed)
	if activity {
		b = appendSecond(appendText(b, t.LaID), t.Expires)
	}
	return b
}

// parseDeviceRecord reads a record. It shares no memory with b.
func parseDeviceRecord(b []byte) (*deviceRecord, error) {
	f := fields{rest: []byte(string(b))}
	r := f.deviceRecord()
	if f.err == nil && len(f.rest) > 0 {
		f.fail("%d bytes too many", len(f.rest))
	}
	if f.err != nil {
		return nil, fmt.Errorf("the record of a device: %w", f.err)
	}
	return r, nil
}

// deviceRecord reads a record, whose texts share the memory of the fields.
func (p *fields) deviceRecord() *deviceRecord {
	r := &deviceRecord{}
	if form := p.byte("form"); p.err == nil && form != deviceForm {
		p.fail("form %d is not known", form)
	}
	r.Version = uint32(p.number("version", 1<<32-1))
	r.Registered, r.LastActive = p.second("registration"), p.second("activity")
	first := p.byte("platform")
	r.Platform, r.Permission, r.Test = device.Platform(int(first&7)), device.PermissionOf(int(first>>3&3)), first&32 != 0
	r.secret = []byte(p.short("secret", secretBytes))
	for i, text := range r.Texts() {
		*text = p.short([...]string{"model", "system", "version", "SDK", "plug-in", "app", "language", "time zone"}[i], device.MaxText)
	}
	n := int(p.byte("number of tokens"))
	if n > device.MaxTokens {
		p.fail("has %d tokens", n)
	}
	for range n {
		if p.err != nil {
			break
		}
		r.Tokens = append(r.Tokens, p.token())
	}
	if p.err == nil {
		if err := r.Check(); err != nil {
			p.fail("%w", err)
		}
	}
	return r
}

func (p *fields) token() (t device.Token) {
	t.Certificate = int(p.number("certificate", device.MaxCertificate))
	kind := p.byte("kind")
	t.Kind = device.Kind(int(kind & 15))
	switch {
	case kind&tokenProduction != 0:
		t.Environment = channel.Production
	case kind&tokenSandbox != 0:
		t.Environment = channel.Sandbox
	}
	t.Address = channel.Address(p.take("address", int(p.number("address", device.MaxAddress))))
	t.Topic = p.short("topic", device.MaxTopic)
	t.Registered, t.Refreshed = p.second("registration"), p.second("refresh")
	if kind&tokenActivity != 0 {
		t.LaID, t.Expires = p.short("LaId", device.MaxText), p.second("expiry")
	}
	return t
}

func (p *fields) byte(what string) byte {
	if v := p.take(what, 1); v != "" {
		return v[0]
	}
	return 0
}

// take reads n bytes.
func (p *fields) take(what string, n int) string {
	if n > len(p.rest) || p.err != nil {
		p.fail("%s is cut off", what)
		return ""
	}
	v := textOf(p.rest[:n])
	p.rest = p.rest[n:]
	return v
}

// short reads a byte length and so many bytes, which may be none.
func (p *fields) short(what string, limit int) string {
	n := int(p.byte(what))
	if n > limit {
		p.fail("%s has %d bytes", what, n)
		return ""
	}
	return p.take(what, n)
}

// second reads a time; 0 is the zero time.
func (p *fields) second(what string) time.Time {
	s := p.number(what, 1<<40)
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// A deviceVersion is a device as it was up to a change.
type deviceVersion struct {
	deviceRecord
	ended time.Time // when the change was
	owner uint32    // the user that it was bound to
	bound bool
	name  [nameBytes]byte // of the hash of that user: another may have the number by now
}

// nameBytes is how much is kept of the hash of an account, to tell it from another.
const nameBytes = 4

// The record of a version: uvarint, second at which it ended; uvarint, 1 + number of the
// user that the device was bound to, or 0; if it was, 4 bytes of the hash of the user; the
// record as it was. So the name of a user who is deleted stays nowhere.
func (r *deviceVersion) encode() []byte {
	b := appendSecond(nil, r.ended)
	if !r.bound {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(r.owner)+1)
		b = append(b, r.name[:]...)
	}
	return append(b, r.deviceRecord.encode()...)
}

// shownBytes is how much of an address channel.Address.Last6 needs to show its end.
const shownBytes = 12

// shortened returns a version with no more than a trace shows, of its tokens the end and no
// secret: up to a hundred versions of a device are kept, and an address may have 4096 bytes.
func (r *deviceVersion) shortened() *deviceVersion {
	short := *r
	short.secret = nil
	short.Tokens = slices.Clone(r.Tokens)
	for i := range short.Tokens {
		if a := &short.Tokens[i].Address; len(*a) > shownBytes {
			*a = (*a)[len(*a)-shownBytes:]
		}
	}
	return &short
}

func parseDeviceVersion(b []byte) (*deviceVersion, error) {
	f := fields{rest: []byte(string(b))}
	r := &deviceVersion{ended: f.second("end")}
	if owner := f.number("owner", 1<<32-1); owner != 0 {
		r.owner, r.bound = uint32(owner-1), true
		copy(r.name[:], f.take("name", nameBytes))
	}
	r.deviceRecord = *f.deviceRecord()
	if f.err == nil && len(f.rest) > 0 {
		f.fail("%d bytes too many", len(f.rest))
	}
	if f.err != nil {
		return nil, fmt.Errorf("a version of a device: %w", f.err)
	}
	return r, nil
}

// The record of the retired tokens of a device: byte, how many, and for each, the oldest
// first, uvarint, Unix second; byte length, TaskId; uvarint length, reason; the token.
func encodeRetired(list []device.Retired) []byte {
	b := []byte{byte(len(list))}
	for i := range list {
		r := &list[i]
		b = appendText(appendSecond(b, r.At), r.Task)
		b = append(binary.AppendUvarint(b, uint64(len(r.Reason))), r.Reason...)
		b = appendToken(b, &r.Token)
	}
	return b
}

func parseRetired(b []byte) (list []device.Retired, err error) {
	f := fields{rest: []byte(string(b))}
	for range f.byte("number of tokens") {
		r := device.Retired{At: f.second("time"), Task: f.short("TaskId", maxTaskID)}
		r.Reason = f.take("reason", int(f.number("reason", maxReason)))
		r.Token = f.token()
		if f.err != nil {
			break
		}
		list = append(list, r)
	}
	if f.err == nil && len(f.rest) > 0 {
		f.fail("%d bytes too many", len(f.rest))
	}
	if f.err != nil {
		return nil, fmt.Errorf("the retired tokens of a device: %w", f.err)
	}
	return list, nil
}

// Limits of what is kept of retired tokens.
const (
	maxRetired = device.MaxTokens // of a device: the oldest go first
	maxReason  = channel.MaxWords
	maxTaskID  = 128
)
