package index

import "unsafe"

// Memory is the estimated size of users in bytes, by part, within a tenth.
type Memory struct {
	Accounts int64 // names, numbers, creation, and what every app takes
	Values   int64 // attribute values and who has them
	Tags     int64 // tags and who has them
	Devices  int64 // whose devices are, and their facets
}

// Memory returns the estimated size of the users.
func (u *View) Memory() Memory {
	m := Memory{Accounts: int64(unsafe.Sizeof(*u)) + u.accounts.bytesHeld() + u.created.bytesHeld() + u.freed.bytesHeld() + u.changes.tags.bytesHeld(nil)}
	for _, users := range u.byKind {
		m.Accounts += users.bytesHeld()
	}
	for _, s := range u.slots {
		if s != nil {
			m.Values += int64(unsafe.Sizeof(*s)) + s.values.bytesHeld() + s.users.bytesHeld() + s.value.bytesHeld() + s.any.bytesHeld()
		}
	}
	t := &u.tags
	m.Tags = t.names.bytesHeld() + t.kinds.bytesHeld() + t.count.bytesHeld() + t.of.bytesHeld() + t.lists.bytesHeld() + t.users.bytesHeld()
	m.Devices = u.devices.bytesHeld()
	return m
}

func (p *postings) bytesHeld() int64 {
	n := p.count.bytesHeld() + p.first.bytesHeld() + p.next.bytesHeld()
	if s := p.large; s != nil {
		n += int64(unsafe.Sizeof(*s)) + s.place.bytesHeld() + s.sets.bytesHeld() + int64(cap(s.holes))*4
	}
	return n
}
