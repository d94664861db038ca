package index

import (
	"slices"
	"unsafe"
)

// An array is a list in blocks that views share.
//
// A view must cost the same whatever the size, and must not see what changes later.
// So taking one copies nothing but the head of the array, and begins an epoch. What
// was made in an earlier epoch may be shared with a view: whoever changes it copies
// the part concerned before, the list of blocks, the block, or the memory that an
// element points to. After the first change of a part in an epoch there is nothing
// more to copy for it.
//
// Elements that were never set are zero.
type array[T any] struct {
	blocks []block[T]
	made   uint64 // the epoch in which blocks, the list, was made
	epoch  uint64 // how often a view was taken
}

type block[T any] struct {
	items []T
	made  uint64
}

const (
	blockBits = 7
	blockSize = 1 << blockBits
)

// len returns one more than the highest place that can be read.
func (a *array[T]) len() int {
	last := len(a.blocks) - 1
	if last < 0 {
		return 0
	}
	return last<<blockBits + len(a.blocks[last].items)
}

// at returns the element at a place below len, which must not be changed.
func (a *array[T]) at(i uint32) *T { return &a.blocks[i>>blockBits].items[i&(blockSize-1)] }

// edit returns the element at a place, to be changed. The array grows to hold it.
// Memory that the element points to may be of an earlier epoch.
func (a *array[T]) edit(i uint32) *T {
	if a.made != a.epoch {
		a.blocks, a.made = slices.Clone(a.blocks), a.epoch
	}
	k, j := int(i>>blockBits), int(i&(blockSize-1))
	for k >= len(a.blocks) {
		if last := len(a.blocks) - 1; last >= 0 { // only the last block may be short
			a.own(last)
			a.grow(last, blockSize)
		}
		a.blocks = append(a.blocks, block[T]{made: a.epoch})
	}
	a.own(k)
	a.grow(k, j+1)
	return &a.blocks[k].items[j]
}

// own makes a block one that may be changed.
func (a *array[T]) own(k int) {
	if b := &a.blocks[k]; b.made != a.epoch {
		b.items, b.made = slices.Clone(b.items), a.epoch
	}
}

// grow makes a block at least n elements long.
func (a *array[T]) grow(k, n int) {
	b := &a.blocks[k]
	for len(b.items) < n {
		var zero T
		b.items = append(b.items, zero)
	}
}

// view returns the array as it is, for reading.
func (a *array[T]) view() array[T] {
	a.epoch++
	return *a
}

// bytesHeld estimates the memory of the array and of what elements hold, of which it
// asks some: every scrape wants to know, and changes wait meanwhile.
func (a *array[T]) bytesHeld(held func(*T) int64) int64 {
	var b block[T]
	var item T
	n := int64(cap(a.blocks)) * int64(unsafe.Sizeof(b))
	for _, b := range a.blocks {
		n += int64(cap(b.items)) * int64(unsafe.Sizeof(item))
	}
	if held == nil || a.len() == 0 {
		return n
	}
	sampled, bytes := int64(0), int64(0)
	for i := 0; i < a.len(); i += 1 + a.len()/sampleSize {
		sampled++
		bytes += held(a.at(uint32(i)))
	}
	return n + bytes*int64(a.len())/sampled
}

// sampleSize is how many elements are asked, and twice as many at most.
const sampleSize = 500

// A queue is a list that grows at its end and shrinks at its beginning. A view shares
// it: an element never changes once a view has been taken.
type queue[T any] struct {
	blocks []*[queueBlock]T
	head   int // place of the first in the first block
	n      int
	popped int // blocks that left since the list of them was made
}

const queueBlock = 64

func (q *queue[T]) at(i int) *T {
	i += q.head
	return &q.blocks[i/queueBlock][i%queueBlock]
}

func (q *queue[T]) push(v T) {
	if q.head+q.n == len(q.blocks)*queueBlock {
		q.blocks = append(q.blocks, new([queueBlock]T))
	}
	q.n++
	*q.at(q.n - 1) = v
}

// pop removes the first.
func (q *queue[T]) pop() {
	q.n--
	if q.head++; q.head < queueBlock {
		return
	}
	q.head = 0
	q.blocks = q.blocks[1:]
	if q.popped++; q.popped > len(q.blocks) { // or they would stay in memory
		q.blocks, q.popped = slices.Clone(q.blocks), 0
	}
}

func (q *queue[T]) bytesHeld() int64 {
	var b [queueBlock]T
	return int64(cap(q.blocks))*8 + int64(len(q.blocks))*int64(unsafe.Sizeof(b))
}
