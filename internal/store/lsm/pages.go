package lsm

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"time"

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
	begun []*list // that are being made
	bytes int64
}

// A list is an audience, fixed.
type list struct {
	id    [8]byte
	users *index.Selection
	pos   journal.Pos // no user in it was deleted in an earlier group
	bytes int64
	made  time.Time
	used  time.Time
}

// keep keeps a list and returns the token for its page that begins at a number.
func (p *pages) keep(l *list, from uint32) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.bytes == 0 {
		_, _ = rand.Read(l.id[:]) // never fails
		l.bytes = l.users.Bytes() + listOverhead
		p.bytes += l.bytes
	} else {
		p.lists = slices.DeleteFunc(p.lists, func(x *list) bool { return x == l })
	}
	if l.used = time.Now(); l.made.IsZero() {
		l.made = l.used
	}
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
	for _, l := range slices.Concat(p.lists, p.begun) {
		pos = min(pos, uint64(l.pos))
	}
	return pos
}

// begin says that a list is being made of users none of whom was deleted before a
// position.
func (p *pages) begin(l *list, pos journal.Pos) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.pos = pos
	p.begun = append(p.begun, l)
}

// abandon says that a list is no longer being made; it may be kept.
func (p *pages) abandon(l *list) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = slices.DeleteFunc(p.begun, func(x *list) bool { return x == l })
}

// pin keeps the numbers that a list or the audience of a task may hold from being given out.
// Whoever makes users calls it first. When too many numbers wait, the lists that they wait
// for end; tasks that have ended lose their audiences later (Tasks.Expire).
func (x *tenant) pin() {
	if x.users.Resting() == 0 {
		return
	}
	limit := x.mayRest()
	tasks := x.tasks.oldest()
	for x.users.Pin(min(x.pages.oldest(), tasks)); x.users.Resting() > limit && x.users.Waiting() && x.pages.endOldest(); {
		x.users.Pin(min(x.pages.oldest(), tasks))
	}
}

// mayRest returns how many numbers of deleted users may wait.
func (x *tenant) mayRest() int {
	if most := x.app.Settings.MaxAccounts; most > 0 {
		return max(minResting, most/4)
	}
	return max(minResting, int(x.users.Limit()/4))
}

// minResting is how many numbers of deleted users may wait in the smallest app. Beyond,
// it is a quarter of its accounts.
const minResting = 1 << 12

// endOldest ends the list that was made first, if there is one.
func (p *pages) endOldest() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lists) == 0 {
		return false
	}
	oldest := slices.MinFunc(p.lists, func(a, b *list) int { return cmp.Compare(a.pos, b.pos) })
	p.bytes -= oldest.bytes
	p.lists = slices.DeleteFunc(p.lists, func(l *list) bool { return l == oldest })
	return true
}

// age returns for how long the oldest list has been kept.
func (p *pages) age() (age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	for _, l := range p.lists {
		age = max(age, time.Since(l.made))
	}
	return age
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
	return p.bytes
}
