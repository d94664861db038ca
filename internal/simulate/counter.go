package simulate

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// A counter counts hashes: 8 bytes for each, in tables that are at most three quarters
// full. A slot holds 48 bits of a hash and a count of 16 bits, which stays at its end;
// the first 8 bits of the hash choose the table. Two of ten million hashes are taken for
// one with a probability below one in a thousand.
type counter struct {
	limit    int64
	used     atomic.Int64
	repeated atomic.Int64 // hashes with a count above 1
	overflow atomic.Int64
	shards   [256]shard
}

type shard struct {
	mu    sync.Mutex
	slots []uint64 // a power of two of them; 0: free
	used  int
}

const (
	countBits  = 16
	countMask  = 1<<countBits - 1
	firstSlots = 16
)

func newCounter(limit int) *counter { return &counter{limit: int64(limit)} }

// tag returns the bits of a hash that a slot holds, in their place and never 0.
func tag(hash uint64) uint64 { return max(hash<<8&^countMask, 1<<countBits) }

// slot returns where a tag is or, if it is nowhere, belongs.
func (s *shard) slot(tag uint64) int {
	mask := len(s.slots) - 1
	i := int(tag>>(64-bits.Len(uint(mask)))) & mask
	for s.slots[i] != 0 && s.slots[i]&^countMask != tag {
		i = (i + 1) & mask
	}
	return i
}

// add counts a hash and returns its count; 0 if there are too many others.
func (c *counter) add(hash uint64) int {
	s, tag := &c.shards[hash>>56], tag(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.used+1)*4 > len(s.slots)*3 {
		s.grow()
	}
	i := s.slot(tag)
	if s.slots[i] == 0 {
		if c.used.Load() >= c.limit {
			c.overflow.Add(1)
			return 0
		}
		c.used.Add(1)
		s.used++
		s.slots[i] = tag | 1
		return 1
	}
	n := s.slots[i] & countMask
	if n < math.MaxUint16 {
		n++
		s.slots[i] = tag | n
	}
	if n == 2 {
		c.repeated.Add(1)
	}
	return int(n)
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]uint64, max(firstSlots, 2*len(old)))
	for _, v := range old {
		if v != 0 {
			s.slots[s.slot(v&^countMask)] = v
		}
	}
}

// count returns how often a hash was added, at most 65535.
func (c *counter) count(hash uint64) int {
	s := &c.shards[hash>>56]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.slots) == 0 {
		return 0
	}
	return int(s.slots[s.slot(tag(hash))] & countMask)
}

// sums returns how many different hashes there are, how many of them came more than once,
// and how many additions were not counted.
func (c *counter) sums() (different, repeated, overflow int64) {
	return c.used.Load(), c.repeated.Load(), c.overflow.Load()
}

func (c *counter) reset() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		c.used.Add(-int64(s.used))
		s.slots, s.used = nil, 0
		s.mu.Unlock()
	}
	c.repeated.Store(0)
	c.overflow.Store(0)
}
