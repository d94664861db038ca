package lsm

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"tidings/internal/index"
	"tidings/internal/store/journal"
)

const (
	// pageLife is how long after a page the next can be asked for.
	pageLife = 5 * time.Minute
	// maxListBytes and maxLists bound the lists of an app; the one that was not used
	// for longest goes first.
	maxListBytes = 64 << 20
	maxLists     = 1000
	// listOverhead is the size of a list without its set, in bytes.
	listOverhead = 400
)

// pages are the lists of an app whose next page may be asked for.
type pages struct {
	mu    sync.Mutex
	lists []*list // the least recently used first
	bytes uint64
}

// A list is an audience, fixed.
type list struct {
	id    [8]byte
	set   *roaring.Bitmap
	pos   journal.Pos // no user in it was deleted in an earlier group
	bytes uint64
	used  time.Time
}

// keep keeps a list and returns the token for its page that begins at a number.
func (p *pages) keep(l *list, from uint32) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.bytes == 0 {
		_, _ = rand.Read(l.id[:]) // never fails
		l.bytes = l.set.GetSizeInBytes() + listOverhead
		p.bytes += l.bytes
	} else {
		p.lists = slices.DeleteFunc(p.lists, func(x *list) bool { return x == l })
	}
	l.used = time.Now()
	p.lists = append(p.lists, l)
	for len(p.lists) > 1 && (p.bytes > maxListBytes || len(p.lists) > maxLists) {
		p.end()
	}
	p.expire()
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(l.id[:], from))
}

// expire ends the lists that were not used for pageLife.
func (p *pages) expire() {
	for now := time.Now(); len(p.lists) > 0 && now.Sub(p.lists[0].used) > pageLife; {
		p.end()
	}
}

// end ends the list that was not used for longest.
func (p *pages) end() {
	p.bytes -= p.lists[0].bytes
	p.lists[0].bytes = 0
	p.lists[0] = nil
	p.lists = p.lists[1:]
}

// find returns the list and the number that a token is for; nil if the list has ended.
func (p *pages) find(token string) (*list, uint32) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 12 {
		return nil, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	for _, l := range p.lists {
		if string(l.id[:]) == string(b[:8]) {
			return l, binary.BigEndian.Uint32(b[8:])
		}
	}
	return nil, 0
}

// oldest returns the position at which the oldest list was made: the number of a user
// who was deleted then or later may be in it.
func (p *pages) oldest() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	pos := uint64(index.Unsettled)
	for _, l := range p.lists {
		pos = min(pos, uint64(l.pos))
	}
	return pos
}

// pin keeps the numbers that a list may hold from being given out. Whoever makes
// users calls it first.
func (x *tenant) pin() {
	if x.users.Resting() > 0 {
		x.users.Pin(x.pages.oldest())
	}
}

// clear ends all lists.
func (p *pages) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists, p.bytes = nil, 0
}

// memory returns how many bytes the lists take.
func (p *pages) memory() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(p.bytes)
}
