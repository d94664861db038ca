package report

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"tidings/internal/channel"
)

// A Delivery is what a task keeps of one unit: of one device, or of a receiver without
// any.
type Delivery struct {
	Number  uint32 // of the account in its app
	Outcome Outcome
	Kind    channel.TokenKind // of the token; empty: there was none
	Tries   int
	Text    int           // number of the provider's answer in the task; 0: none
	Version uint32        // of the device, as it was
	Took    time.Duration // whole milliseconds are kept
}

// Waiting is the Outcome of a Delivery that waits for its next try.
const Waiting Outcome = 0

// A Block is the deliveries of one page, with the moment at which the page was closed. The
// numbers ascend.
type Block struct {
	At         time.Time // whole milliseconds are kept
	Deliveries []Delivery
}

// A block is
//
//	byte     format, 1
//	uvarint  At, Unix milliseconds
//	         then for each delivery, in the order of the numbers:
//	uvarint    number, less that of the delivery before
//	byte       outcome, and sixteen times the number of the kind of token
//	uvarint    twice the tries, and 1 if a text follows
//	byte       number of the text, if one follows
//	uvarint    version of the device
//	uvarint    milliseconds that the provider took
//
// That is six bytes of most deliveries.
const blockFormat = 1

// tokenKinds are the kinds of tokens by their numbers, which are stored.
var tokenKinds = [...]channel.TokenKind{
	"", channel.Alert, channel.FID, channel.VoIP, channel.LiveActivity, channel.LiveActivityStart, channel.Subscription,
}

// Limits of what a block holds.
const (
	MaxText  = 255 // the largest number of a text
	maxTries = 1 << 20
	maxTook  = 1 << 40 // milliseconds
)

// Append appends the bytes of a block.
func (b *Block) Append(buf []byte) []byte {
	buf = append(buf, blockFormat)
	buf = binary.AppendUvarint(buf, uint64(max(b.At.UnixMilli(), 0)))
	before := uint32(0)
	for i := range b.Deliveries {
		d := &b.Deliveries[i]
		buf = binary.AppendUvarint(buf, uint64(d.Number-before))
		before = d.Number
		buf = append(buf, byte(d.Outcome)|byte(max(slices.Index(tokenKinds[:], d.Kind), 0))<<4)
		tries := uint64(min(max(d.Tries, 0), maxTries)) << 1
		if d.Text == 0 {
			buf = binary.AppendUvarint(buf, tries)
		} else {
			buf = append(binary.AppendUvarint(buf, tries|1), byte(d.Text))
		}
		buf = binary.AppendUvarint(buf, uint64(d.Version))
		buf = binary.AppendUvarint(buf, uint64(min(max(d.Took.Milliseconds(), 0), maxTook)))
	}
	return buf
}

var errBlock = errors.New("the block of outcomes is cut off")

// ParseBlock reads a block.
func ParseBlock(data []byte) (b Block, err error) {
	if len(data) == 0 || data[0] != blockFormat {
		return b, errors.New("the block of outcomes has no format that is known")
	}
	r := blockReader{rest: data[1:]}
	b.At = time.UnixMilli(int64(r.uvarint(1 << 62))).UTC()
	b.Deliveries = make([]Delivery, 0, len(r.rest)/6+1)
	number := uint64(0)
	for len(r.rest) > 0 && !r.failed {
		delta := r.uvarint(1<<32 - 1)
		if len(b.Deliveries) > 0 && delta == 0 {
			return b, fmt.Errorf("number %d is twice in the block of outcomes", number)
		}
		number += delta
		what := r.byte()
		d := Delivery{Number: uint32(number), Outcome: Outcome(what & 15)}
		if number > 1<<32-1 || int(what>>4) >= len(tokenKinds) || d.Outcome >= Outcomes {
			return b, fmt.Errorf("number %d, outcome %d or kind of token %d is none", number, what&15, what>>4)
		}
		d.Kind = tokenKinds[what>>4]
		tries := r.uvarint(2*maxTries + 1)
		if d.Tries = int(tries >> 1); tries&1 != 0 {
			d.Text = int(r.byte())
		}
		d.Version = uint32(r.uvarint(1<<32 - 1))
		d.Took = time.Duration(r.uvarint(maxTook)) * time.Millisecond
		b.Deliveries = append(b.Deliveries, d)
	}
	if r.failed || len(b.Deliveries) == 0 {
		return b, errBlock
	}
	return b, nil
}

// Find returns the delivery of an account.
func (b *Block) Find(number uint32) (d Delivery, found bool) {
	i := sort.Search(len(b.Deliveries), func(i int) bool { return b.Deliveries[i].Number >= number })
	if i == len(b.Deliveries) || b.Deliveries[i].Number != number {
		return d, false
	}
	return b.Deliveries[i], true
}

// blockReader reads bytes. After its first failure it returns zero values.
type blockReader struct {
	rest   []byte
	failed bool
}

func (r *blockReader) uvarint(limit uint64) uint64 {
	v, size := binary.Uvarint(r.rest)
	if size <= 0 || v > limit {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return v
}

func (r *blockReader) byte() byte {
	if len(r.rest) == 0 {
		r.failed = true
		return 0
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}
