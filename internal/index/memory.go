package index

import (
	"unsafe"

	"github.com/RoaringBitmap/roaring/v2"
)

// Memory is the estimated size of users in bytes, by part, within a tenth.
type Memory struct {
	Accounts int64 // names, numbers, creation, and what every app takes
	Values   int64 // attribute values and who has them
	Tags     int64 // tags and who has them
}

// Memory returns the estimated size of the users. Of many sets it samples some: every
// scrape calls it, and changes wait meanwhile.
func (u *Users) Memory() Memory {
	m := Memory{Accounts: int64(unsafe.Sizeof(*u)) + u.accounts.bytesHeld() + u.created.bytesHeld() + int64(cap(u.freed.queue))*16 + int64(cap(u.changes.tags))*8}
	for _, set := range u.byKind {
		m.Accounts += setBytes(set)
	}
	for _, s := range u.slots {
		if s != nil {
			m.Values += int64(unsafe.Sizeof(*s)) + s.values.bytesHeld() + s.users.bytesHeld() + s.value.bytesHeld() + int64(cap(s.any.words))*8
		}
	}
	m.Tags = u.tags.names.bytesHeld() + u.tags.kinds.bytesHeld() + u.tags.of.bytesHeld() + u.tags.lists.bytesHeld() + int64(cap(u.tags.users))*8 + int64(cap(u.tags.count))*4
	var sample sampled
	for i := 0; i < len(u.tags.users); i += 1 + len(u.tags.users)/sampleSize {
		if set := u.tags.users[i]; set != nil {
			sample.add(setBytes(set))
		}
	}
	m.Tags += sample.total(u.tags.names.n)
	return m
}

// sampled estimates a sum over many from some.
type sampled struct{ n, bytes int64 }

const sampleSize = 500

func (s *sampled) more() bool { return s.n < sampleSize }

func (s *sampled) add(bytes int64) {
	s.n++
	s.bytes += bytes
}

func (s *sampled) total(all int) int64 {
	if s.n == 0 {
		return 0
	}
	return s.bytes * int64(all) / s.n
}

// setBytes is the memory of a bitmap: Roaring itself knows what it would take in a file.
func setBytes(set *roaring.Bitmap) int64 {
	s := set.Stats()
	return 112 + // the bitmap
		int64(s.Containers)*24 + // key, pointer and mark of a container, in slices that grew
		int64(s.ArrayContainers)*32 + int64(s.ArrayContainerBytes)*9/8 +
		int64(s.BitmapContainers)*32 + int64(s.BitmapContainerBytes) +
		int64(s.RunContainers)*32 + int64(s.RunContainerBytes)*9/8
}

func (p *postings) bytesHeld() int64 {
	var sample sampled
	for _, set := range p.many {
		if sample.add(setBytes(set)); !sample.more() {
			break
		}
	}
	const entry = 24 // of a map, with what is free in it
	return p.count.bytesHeld() + p.first.bytesHeld() + p.next.bytesHeld() + sample.total(len(p.many)) + int64(len(p.many))*entry
}
