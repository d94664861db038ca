package dispatch

import (
	"container/heap"
	"context"
	"time"

	"tidings/internal/report"
	"tidings/internal/task"
)

// A place is where a run stands in a lane. The Dispatcher's mu guards it.
//
//	       Open is due            a page is being opened
//	waiting ────────► queued ────────────────────────────► nowhere
//	   ▲                ▲  a whole page was opened: more       │
//	   │                └──────────────────────────────────────┤
//	   └───────────────────────────────────────────────────────┘
//	     a retry is due later
//
// A place that is nowhere gets a turn again when one of its pages closes.
type place struct {
	run   *run
	lane  *lane
	where where
	due   time.Time // monotonic; while waiting
	index int       // in lane.waiting
	stamp int       // changes when units come back
	fails int       // of Open, one after the other

	// What the guards ask (spec/channels.md, 2.5).
	answers uint64 // final ones, of the run in this lane, also before a restart
	gone    uint64 // of these
	held    heldTokens
}

// A where is which list of its lane a place is in.
type where uint8

const (
	nowhere where = iota
	queued
	waiting
)

// A class is what takes turns with its like.
type class int

const (
	small     class = iota // at most a page of accounts: goes first
	broadcast              // anything larger
	classes
)

func (p *place) class() class {
	if p.run.size <= task.MaxPage {
		return small
	}
	return broadcast
}

// join gives a run a place in a lane, or another turn in it. The lane is begun if need be.
func (d *Dispatcher) join(ctx, keep context.Context, r *run, key task.Lane, done *task.Progress) {
	if r.halted || !d.running {
		return
	}
	l := d.lanes[key]
	if l == nil {
		l = newLane(key)
		d.lanes[key] = l
		d.wg.Go(func() { d.serve(ctx, keep, l) })
	}
	p := r.places[l]
	if p == nil {
		p = &place{run: r, lane: l}
		for i := range done.Lanes {
			if c := &done.Lanes[i]; c.Certificate == key.Certificate {
				p.answers = c.Counts[report.Accepted] + c.Counts[report.Gone] + c.Counts[report.Rejected]
				p.gone = c.Counts[report.Gone]
			}
		}
		r.places[l] = p
		l.places++
	}
	l.enqueue(p)
}

// enqueue gives a place a turn.
func (l *lane) enqueue(p *place) {
	switch p.where {
	case queued:
		return
	case waiting:
		heap.Remove(&l.waiting, p.index)
	}
	p.where = queued
	c := p.class()
	l.queues[c] = append(l.queues[c], p)
	l.wakeUp()
}

// wait gives a place a turn at a time, or at the time it waits for if that is sooner. One
// that has a turn keeps it.
func (l *lane) wait(p *place, due time.Time) {
	switch {
	case p.where == nowhere:
		p.where, p.due = waiting, due
		heap.Push(&l.waiting, p)
	case p.where == waiting && due.Before(p.due):
		p.due = due
		heap.Fix(&l.waiting, p.index)
	}
	l.wakeUp()
}

// drop takes a place out of its lane for good.
func (l *lane) drop(p *place) {
	if p.where == waiting {
		heap.Remove(&l.waiting, p.index)
	}
	if p.where == queued {
		for c, queue := range l.queues {
			for i, other := range queue {
				if other == p {
					l.queues[c] = append(queue[:i:i], queue[i+1:]...)
					break
				}
			}
		}
	}
	p.where = nowhere
	l.places--
	l.wakeUp()
}

// A dueHeap has the place that is due first at its top.
type dueHeap []*place

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is of heap.Interface.
func (h *dueHeap) Push(p any) {
	p.(*place).index = len(*h)
	*h = append(*h, p.(*place))
}

// Pop is of heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
