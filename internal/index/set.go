package index

import (
	"iter"
	"slices"
	"sort"
	"unsafe"
)

// A set is users by number. One of few users is a sorted list. One of more has a chunk
// for each 65 536 numbers: a sorted list of their lower halves, two bytes a user, or a
// bit for each number. So the memory is about what the users of a set must take, a
// query can look at one chunk after the other, and a change after a view was taken
// copies no more than a chunk. Views share sets.
type set struct {
	n      int      // users
	list   []uint32 // sorted, while there are no chunks
	made   uint64   // the epoch of chunks in which list was
	chunks array[setChunk]
}

// A setChunk is the users of a set whose numbers have an upper half.
type setChunk struct {
	list  []uint16 // lower halves, sorted, while there are no words
	words *words
	n     int    // users
	made  uint64 // the epoch in which list or words was
}

const (
	// A list becomes chunks beyond toChunks users for each chunk, and chunks a list
	// again below toList: so one user coming and going does not convert it each time.
	toChunks, toList = 32, 8
	// A chunk becomes words beyond toWords users, and a list again below toLower.
	toWords, toLower = 4096, 2048
)

func newSet(users ...uint32) *set { return &set{n: len(users), list: users} }

// isList reports whether the users are in list.
func (s *set) isList() bool { return len(s.chunks.blocks) == 0 }

// within returns the users of a list in a chunk.
func (s *set) within(k uint32) []uint32 {
	from := searchNumber(s.list, uint64(k)<<16)
	return s.list[from:][:searchNumber(s.list[from:], uint64(k+1)<<16)]
}

// searchNumber returns the place in a list of the first number that is no less than min.
func searchNumber(list []uint32, min uint64) int {
	return sort.Search(len(list), func(i int) bool { return uint64(list[i]) >= min })
}

// chunk returns a chunk; that of a list is empty.
func (s *set) chunk(k uint32) *setChunk {
	if int(k) >= s.chunks.len() {
		return &noChunk
	}
	return s.chunks.at(k)
}

var noChunk setChunk

func (s *set) has(user uint32) bool {
	if s.isList() {
		_, found := slices.BinarySearch(s.list, user)
		return found
	}
	return s.chunk(user >> 16).has(uint16(user))
}

func (c *setChunk) has(low uint16) bool {
	if c.words != nil {
		return c.words[low/64]>>(low%64)&1 == 1
	}
	_, found := slices.BinarySearch(c.list, low)
	return found
}

// next returns the set for the next epoch: it may be changed, and s stays as it is.
func (s *set) next() *set {
	c := *s
	c.chunks.epoch++
	return &c
}

// add puts in a user who is not there.
func (s *set) add(user uint32) {
	s.n++
	if !s.isList() {
		s.edit(user >> 16).add(uint16(user))
		return
	}
	if s.made != s.chunks.epoch {
		s.list, s.made = slices.Clone(s.list), s.chunks.epoch
	}
	i, _ := slices.BinarySearch(s.list, user)
	s.list = insert(s.list, i, user)
	if last := s.list[len(s.list)-1]; len(s.list) > toChunks*int(last>>16+1) {
		for _, user := range s.list {
			s.edit(user >> 16).add(uint16(user))
		}
		s.list = nil
	}
}

// remove takes out a user who is there.
func (s *set) remove(user uint32) {
	s.n--
	if !s.isList() {
		s.edit(user >> 16).remove(uint16(user))
		if s.n < toList*s.chunks.len() {
			s.list, s.made = slices.AppendSeq(make([]uint32, 0, s.n), s.from(0)), s.chunks.epoch
			s.chunks.blocks = nil
		}
		return
	}
	if s.made != s.chunks.epoch {
		s.list, s.made = slices.Clone(s.list), s.chunks.epoch
	}
	i, _ := slices.BinarySearch(s.list, user)
	s.list = slices.Delete(s.list, i, i+1)
}

// edit returns a chunk, to be changed.
func (s *set) edit(k uint32) *setChunk {
	c := s.chunks.edit(k)
	if c.made != s.chunks.epoch {
		c.made = s.chunks.epoch
		c.list = slices.Clone(c.list)
		if c.words != nil {
			own := *c.words
			c.words = &own
		}
	}
	return c
}

func (c *setChunk) add(low uint16) {
	c.n++
	if c.words != nil {
		c.words[low/64] |= 1 << (low % 64)
		return
	}
	i, _ := slices.BinarySearch(c.list, low)
	c.list = insert(c.list, i, low)
	if len(c.list) > toWords {
		c.words = new(words)
		c.words.add(c.list)
		c.list = nil
	}
}

func (c *setChunk) remove(low uint16) {
	c.n--
	if c.words == nil {
		i, _ := slices.BinarySearch(c.list, low)
		c.list = slices.Delete(c.list, i, i+1)
		return
	}
	c.words[low/64] &^= 1 << (low % 64)
	if c.n < toLower {
		c.list = c.words.append(make([]uint16, 0, c.n))
		c.words = nil
	}
}

// insert is slices.Insert of one element, with little room for more: there are many
// lists, and most have done growing.
func insert[T any](list []T, i int, v T) []T {
	if len(list) == cap(list) {
		list = append(make([]T, 0, len(list)+len(list)/8+2), list...)
	}
	return slices.Insert(list, i, v)
}

// from returns the users from a number on, in order.
func (s *set) from(user uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if s.isList() {
			i, _ := slices.BinarySearch(s.list, user)
			for _, n := range s.list[i:] {
				if !yield(n) {
					return
				}
			}
			return
		}
		var buf [toWords]uint16
		for k := user >> 16; int(k) < s.chunks.len(); k++ {
			c := s.chunk(k)
			list := c.list
			for i := 0; i == 0 || c.words != nil && i < len(c.words); i += toWords / 64 {
				if c.words != nil {
					list = c.words.some(i, buf[:0])
				}
				for _, low := range list {
					if n := k<<16 | uint32(low); n >= user && !yield(n) {
						return
					}
				}
			}
		}
	}
}

// bytesHeld returns the memory of the set.
func (s *set) bytesHeld() int64 {
	return int64(unsafe.Sizeof(*s)) + int64(cap(s.list))*4 + s.chunks.bytesHeld(func(c *setChunk) (n int64) {
		if c.words != nil {
			n = int64(unsafe.Sizeof(*c.words))
		}
		return n + int64(cap(c.list))*2
	})
}

// sets are numbered sets that views share.
type sets struct{ array[ownedSet] }

type ownedSet struct {
	users *set   // nil: none
	made  uint64 // the epoch in which users was
}

// get returns a set, which must not be changed; nil if there is none.
func (s *sets) get(i uint32) *set {
	if int(i) >= s.len() {
		return nil
	}
	return s.at(i).users
}

// put sets or removes a set. It may be changed until a view is taken.
func (s *sets) put(i uint32, users *set) { *s.edit(i) = ownedSet{users, s.epoch} }

// own returns a set that is there, to be changed.
func (s *sets) own(i uint32) *set {
	b := s.edit(i)
	if b.made != s.epoch {
		b.users, b.made = b.users.next(), s.epoch
	}
	return b.users
}

func (s *sets) view() sets { return sets{s.array.view()} }

func (s *sets) bytesHeld() int64 {
	return s.array.bytesHeld(func(o *ownedSet) int64 {
		if o.users == nil {
			return 0
		}
		return o.users.bytesHeld()
	})
}
