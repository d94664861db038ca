package lsm

import (
	"encoding/binary"
	"time"

	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// What is decided about devices rests on records of tables, and those of a group are in the
// tables only when it is applied. So records that groups on their way change are kept in
// memory as they will be, and a decision looks there first:
//
//   - Every record of the tables of pendingTables changes through pending.set and
//     pending.delete, under the lock of the tenant that a decision holds too.
//   - A record leaves memory only when its group is applied. So what is not in memory is in
//     the tables as it is. That holds from the start of the program: a start applies
//     everything before anybody decides.
//   - A new app may have the number of one that was deleted, whose records leave the tables
//     with the group in which it was. Until the first group of the new app is applied, the
//     tables have nothing of it.
//
// Reading tables may take long, and is done before the lock is taken, into hints. A hint is
// good if no change of its record can have come between: of those in groups up to at, the
// hint has seen all, and changes in later ones are all in memory as long as no record of a
// group after at has left it.
type pending struct {
	records map[string]pendingRecord
	queue   []pendingChange // in the order of their groups
	floor   journal.Pos     // records of groups up to here may have left
	since   journal.Pos     // the group that made the app, if this program made it
	safe    journal.Pos     // was applied at the time of looked
	looked  time.Time
}

type pendingRecord struct {
	value []byte // nil: there is none
	pos   journal.Pos
}

type pendingChange struct {
	key string
	pos journal.Pos
}

// pendingLag is for how long records stay in memory after their group was applied, so that
// hints of before are good. What is right does not depend on it.
const pendingLag = 100 * time.Millisecond

func pendingKey(t *journal.Table, key []byte) string { return string([]byte{t.ID}) + string(key) }

// set sets a record, whose value is not changed any more.
func (p *pending) set(b *journal.Batch, t *journal.Table, key, value []byte) {
	b.Set(t, key, value)
	p.put(pendingKey(t, key), value)
}

func (p *pending) delete(b *journal.Batch, t *journal.Table, key []byte) {
	b.Delete(t, key)
	p.put(pendingKey(t, key), nil)
}

func (p *pending) put(key string, value []byte) {
	if p.records == nil {
		p.records = map[string]pendingRecord{}
	}
	p.records[key] = pendingRecord{value, index.Unsettled}
	p.queue = append(p.queue, pendingChange{key, index.Unsettled})
}

// settle says in which group the changes since the last call are, and lets go of records
// that are in the tables.
func (p *pending) settle(pos, applied journal.Pos) {
	for i := len(p.queue) - 1; i >= 0 && p.queue[i].pos == index.Unsettled; i-- {
		c := &p.queue[i]
		c.pos = pos
		if r := p.records[c.key]; r.pos == index.Unsettled {
			r.pos = pos
			p.records[c.key] = r
		}
	}
	if now := time.Now(); now.Sub(p.looked) >= pendingLag {
		p.drop(p.safe)
		p.safe, p.looked = applied, now
	}
}

// drop lets go of the records of groups up to one that is applied.
func (p *pending) drop(applied journal.Pos) {
	n := 0
	for ; n < len(p.queue) && p.queue[n].pos <= applied; n++ {
		if c := p.queue[n]; p.records[c.key].pos == c.pos {
			delete(p.records, c.key)
		}
	}
	p.floor = max(p.floor, applied)
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue, p.records = nil, nil // and their memory
	}
}

// group returns the group that changes a record; 0 if that is in the tables.
func (p *pending) group(t *journal.Table, key []byte) journal.Pos {
	return p.records[pendingKey(t, key)].pos
}

// hints are records that were read before the lock of the tenant was taken.
type hints struct {
	at      journal.Pos // which the tables had then, or more
	records map[string][]byte
}

// add reads a record.
func (h *hints) add(v *journal.View, app uint32, t *journal.Table, key []byte) ([]byte, error) {
	if h.records == nil {
		h.records = map[string][]byte{}
	}
	value, err := v.Get(t, app, key)
	if err == nil {
		h.records[pendingKey(t, key)] = value
	}
	return value, err
}

// record returns a record of a tenant that is locked, as the groups that were decided
// make it; nil if there is none. It is not changed.
func (s *Users) record(x *tenant, h *hints, t *journal.Table, key []byte) (value []byte, err error) {
	p, k := &x.pending, pendingKey(t, key)
	if r, is := p.records[k]; is {
		return r.value, nil
	}
	if p.since > s.journal.Applied() {
		return nil, nil
	}
	if h != nil && h.at >= p.floor && h.at >= p.since {
		if value, is := h.records[k]; is {
			return value, nil
		}
	}
	err = s.journal.Read(func(v *journal.View) error {
		value, err = v.Get(t, x.id, key)
		return err
	})
	return value, err
}

// hint calls read with tables, to read records that a decision is about to need.
func (s *Users) hint(read func(v *journal.View, h *hints) error) (*hints, error) {
	h := &hints{at: s.journal.Applied()}
	return h, s.journal.Read(func(v *journal.View) error { return read(v, h) })
}

// numberOf returns the number that is the value of a record.
func numberOf(value []byte) (n uint32, is bool) {
	if len(value) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(value), true
}
