package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Pos is the position of a group in the log. The first group of a directory has
// position 1, and positions never restart.
type Pos uint64

// A group in the log:
//
//	byte     format of the group, 1
//	8 bytes  second at which it was closed, Unix time, never before the group before
//	8 bytes  chain of the group before
//	         blocks: uvarint SDKAppID, uvarint length, and so many bytes of entries
//	8 bytes  chain: XXH3 of everything before and of the position
//
// Numbers of a fixed size are little-endian. An entry is a byte that says what it
// is, and then
//
//	1  uvarint length, bytes              the memory of the app changes (see Memory)
//	2  table, uvarint length, key,        a record is set
//	   uvarint length, value
//	3  table, uvarint length, key         a record is deleted
//	4                                     all records of the app are deleted
//	5  table, uvarint length, key,        a record becomes the larger of what it is
//	   8 bytes, a number, big-endian      and the number
//
// The chain makes a group fit one place of one log and no other.
const (
	groupFormat  = 1
	groupHeader  = 1 + 8 + 8
	groupTrailer = 8

	entryMemory = 1
	entrySet    = 2
	entryDelete = 3
	entryClear  = 4
	entryRaise  = 5
)

// maxGroupBytes is more than any group should have: changes wait beyond Options.Room
// of them, and what one request adds is bounded by its body.
const maxGroupBytes = 256 << 20

// chainOf returns the chain of a group: its bytes but for the trailer, hashed with
// its position.
func chainOf(pos Pos, body []byte) uint64 { return xxh3.HashSeed(body, uint64(pos)) }

// groupInfo is the header and trailer of a group, and its position.
type groupInfo struct {
	pos    Pos
	second int64
	before uint64 // chain of the group before
	chain  uint64
}

var errGroup = errors.New("the group is not whole")

// openGroup returns the parts of a group. The blocks share its memory. It is an error if
// a byte is not as it was written.
func openGroup(pos Pos, b []byte) (info groupInfo, blocks []byte, err error) {
	if len(b) < groupHeader+groupTrailer {
		return info, nil, errGroup
	}
	body := b[:len(b)-groupTrailer]
	info = groupInfo{
		pos: pos, second: int64(binary.LittleEndian.Uint64(b[1:])), before: binary.LittleEndian.Uint64(b[9:]),
		chain: binary.LittleEndian.Uint64(b[len(body):]),
	}
	if chainOf(pos, body) != info.chain {
		return info, nil, errGroup
	}
	if b[0] != groupFormat {
		return info, nil, fmt.Errorf("group %d has format %d, this program reads %d: use a newer program", pos, b[0], groupFormat)
	}
	return info, body[groupHeader:], nil
}

// closeGroup completes a group, which begins with room for its header.
func closeGroup(pos Pos, b []byte, second int64, before uint64) (group []byte, chain uint64) {
	b[0] = groupFormat
	binary.LittleEndian.PutUint64(b[1:], uint64(second))
	binary.LittleEndian.PutUint64(b[9:], before)
	chain = chainOf(pos, b)
	return binary.LittleEndian.AppendUint64(b, chain), chain
}

// An entry is one change in a group. Its bytes are valid as long as the group's.
type entry struct {
	kind  byte
	table byte
	key   []byte
	value []byte // of entryMemory, what the Memory wrote
}

// eachEntry calls f for the entries of a group in order.
func eachEntry(blocks []byte, f func(app uint32, e entry) error) error {
	r := reader{rest: blocks}
	for len(r.rest) > 0 {
		app := r.uvarint()
		block := reader{rest: r.bytes()}
		if r.failed || app > 1<<32-1 {
			return errors.New("the group has a broken block")
		}
		for len(block.rest) > 0 {
			e := block.entry()
			if block.failed {
				return fmt.Errorf("the group has a broken entry of app %d", app)
			}
			if err := f(uint32(app), e); err != nil {
				return fmt.Errorf("app %d: %w", app, err)
			}
		}
	}
	return nil
}

// reader parses bytes. After its first failure it returns zero values.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.failed = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.failed, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) entry() (e entry) {
	switch e.kind = r.byte(); e.kind {
	case entryMemory:
		e.value = r.bytes()
	case entrySet:
		e.table, e.key = r.byte(), r.bytes()
		e.value = r.bytes()
	case entryDelete:
		e.table, e.key = r.byte(), r.bytes()
	case entryClear:
	case entryRaise:
		e.table, e.key = r.byte(), r.bytes()
		e.value = r.take(8)
	default:
		r.failed, r.rest = true, nil
	}
	return e
}

// A Batch collects the changes of a Commit in one app, as entries of a group.
type Batch struct {
	entries []byte
	scratch []byte
	tables  bool // some entry is about a table
}

// Memory adds a change of the memory of the app: the entry that Memory.Replay gets at
// a start.
func (b *Batch) Memory(entry []byte) {
	b.entries = append(b.entries, entryMemory)
	b.entries = appendBytes(b.entries, entry)
}

// Set sets a record of a table.
func (b *Batch) Set(t *Table, key, value []byte) {
	b.tables = true
	b.entries = append(b.entries, entrySet, t.ID)
	b.entries = appendBytes(appendBytes(b.entries, key), value)
}

// Delete deletes a record of a table.
func (b *Batch) Delete(t *Table, key []byte) {
	b.tables = true
	b.entries = appendBytes(append(b.entries, entryDelete, t.ID), key)
}

// Raise sets a record to the larger of its value and a number, without reading it.
func (b *Batch) Raise(t *Table, key []byte, number uint64) {
	b.tables = true
	b.entries = appendBytes(append(b.entries, entryRaise, t.ID), key)
	b.entries = binary.BigEndian.AppendUint64(b.entries, number)
}

// Clear deletes all records of the app in the tables that are PerApp.
func (b *Batch) Clear() {
	b.tables = true
	b.entries = append(b.entries, entryClear)
}

func appendBytes(b, value []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// AppendMemory is Memory with an entry that f appends to a buffer.
func (b *Batch) AppendMemory(f func(buf []byte) []byte) {
	b.scratch = f(b.scratch[:0])
	b.Memory(b.scratch)
}
