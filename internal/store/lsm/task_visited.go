package lsm

import (
	"context"
	"encoding/binary"

	"tidings/internal/report"
	"tidings/internal/store/journal"
)

// A visited is the numbers of a task that are in a page, open or closed, or were. A device
// can change its lane or its user in the middle of a task; by this it is in one page
// all the same. It is known of the numbers that a lane is about to look at, and read from
// the blocks of closed pages when it is not. It is under the work lock of the task.
type visited struct {
	all   bool // of every number
	parts map[uint32]*numbers
}

// maxVisited is how many parts of a large task are known at a time: one for each lane that
// is being sent, and some.
const maxVisited = 16

// has reports whether a number is in a page. It is known of the number.
func (v *visited) has(n uint32) bool {
	s := v.parts[n>>16]
	return s != nil && s.has(uint16(n))
}

// add puts in a number of a page that is being cut. If nothing is known of the numbers with
// its upper half, load finds it later.
func (v *visited) add(n uint32) {
	s := v.parts[n>>16]
	if s == nil && !v.all {
		return
	}
	if s == nil {
		s = &numbers{}
		if v.parts == nil {
			v.parts = map[uint32]*numbers{}
		}
		v.parts[n>>16] = s
	}
	s.add(uint16(n))
}

func (v *visited) remove(n uint32) {
	if s := v.parts[n>>16]; s != nil {
		s.remove(uint16(n))
	}
}

// load makes known the numbers with an upper half.
func (v *visited) load(t *Tasks, r *running, upper uint32) error {
	if v.all || v.parts[upper] != nil {
		return nil
	}
	for other := range v.parts { // whichever comes first
		if len(v.parts) < maxVisited {
			break
		}
		delete(v.parts, other)
	}
	s := &numbers{}
	first, last := upper<<16, upper<<16|1<<16-1
	err := t.journal.Read(func(view *journal.View) error {
		for _, l := range r.p.Lanes {
			for _, again := range []bool{false, true} {
				from := blockKey(r.Number, l.Certificate, again, first)
				err := eachBlock(view, r, passKey(r.Number, l.Certificate, again), from, func(b *report.Block) bool {
					for i := range b.Deliveries {
						if n := b.Deliveries[i].Number; n >= first && n <= last {
							s.add(uint16(n))
						}
					}
					// Blocks of the first pass do not overlap.
					return again || b.Deliveries[0].Number <= last
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for page := range r.pages {
		for _, n := range page.numbers {
			if n >= first && n <= last {
				s.add(uint16(n))
			}
		}
	}
	if v.parts == nil {
		v.parts = map[uint32]*numbers{}
	}
	v.parts[upper] = s
	return nil
}

// loadAll makes all numbers known, of a task of few.
func (v *visited) loadAll(t *Tasks, r *running) error {
	if v.all {
		return nil
	}
	*v = visited{all: true}
	err := t.journal.Read(func(view *journal.View) error {
		return eachBlock(view, r, taskKey(r.Number), nil, func(b *report.Block) bool {
			for i := range b.Deliveries {
				v.add(b.Deliveries[i].Number)
			}
			return true
		})
	})
	if err != nil {
		*v = visited{}
		return err
	}
	for page := range r.pages {
		for _, n := range page.numbers {
			v.add(n)
		}
	}
	return nil
}

// eachBlock calls f with the blocks of a task whose keys begin with a prefix, from a key
// on, until f returns false.
func eachBlock(view *journal.View, r *running, prefix, from []byte, f func(b *report.Block) bool) error {
	return view.Walk(context.Background(), tableBlock, r.App, prefix, from, func(_, value []byte) (bool, error) {
		b, err := report.ParseBlock(value)
		if err != nil {
			return false, err
		}
		return f(&b), nil
	})
}

// retryParts reads the key of a retry.
func retryParts(key []byte) (due int64, account uint32) {
	return int64(binary.BigEndian.Uint64(key[12:])), binary.BigEndian.Uint32(key[20:])
}
