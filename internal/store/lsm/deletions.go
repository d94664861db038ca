package lsm

import "tidings/internal/store/journal"

// deletions are the accounts of an app whose deletion may not be in the tables yet, so
// that what is decided meanwhile knows of them.
type deletions struct {
	second map[hash]int64 // at which the account was last deleted
	queue  []deletion     // in their order
}

type deletion struct {
	account hash
	second  int64
	pos     journal.Pos // of the group that says so
}

// add notes deletions in a group, and forgets those that are in the tables by now.
func (d *deletions) add(accounts []hash, second int64, pos, applied journal.Pos) {
	for len(d.queue) > 0 && d.queue[0].pos <= applied {
		if first := d.queue[0]; d.second[first.account] == first.second {
			delete(d.second, first.account)
		}
		d.queue = d.queue[1:]
	}
	if len(d.queue) == 0 {
		d.queue = nil // and its memory
	}
	if d.second == nil {
		d.second = map[hash]int64{}
	}
	for _, h := range accounts {
		d.second[h] = second
		d.queue = append(d.queue, deletion{h, second, pos})
	}
}
