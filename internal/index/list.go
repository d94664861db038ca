package index

import (
	"bytes"
	"cmp"
	"slices"

	"tidings/internal/audience"
)

// A TopList is the strings that begin with a prefix, those of most users first.
type TopList struct {
	Prefix string
	Limit  int
	Top    []audience.ValueCount // at most Limit
	Total  int                   // how many there are
}

// add counts string v in if it begins with the prefix.
func (l *TopList) add(names *strtab, v uint32, users uint32) {
	if !names.has(v) || !bytes.HasPrefix(names.bytes(v), []byte(l.Prefix)) {
		return
	}
	l.Total++
	if len(l.Top) == l.Limit && (l.Limit == 0 || uint64(users) < l.Top[l.Limit-1].Count) {
		return
	}
	e := audience.ValueCount{Value: string(names.bytes(v)), Count: uint64(users)}
	at, _ := slices.BinarySearchFunc(l.Top, e, func(a, b audience.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	if at == l.Limit {
		return
	}
	// One that was met before went away and came back with another number.
	if before := slices.IndexFunc(l.Top, func(x audience.ValueCount) bool { return x.Value == e.Value }); before >= 0 {
		l.Top = slices.Delete(l.Top, before, before+1)
		if before < at {
			at--
		}
		l.Total--
	}
	l.Top = slices.Insert(l.Top, at, e)
	l.Top = l.Top[:min(len(l.Top), l.Limit)]
}

// A ValueScan lists the values of a slot. A slot may have millions, so it is done
// in steps.
type ValueScan struct {
	TopList
	Slot int
	next uint32 // the number of the value to go on with
}

// Values returns how many different values a slot has.
func (u *View) Values(slot int) int {
	if s := u.slots[slot]; s != nil {
		return s.values.n
	}
	return 0
}

// ScanValues looks at some more values, at most so many, and reports whether there
// are others.
func (u *View) ScanValues(scan *ValueScan, most uint32) (more bool) {
	s := u.slots[scan.Slot]
	if s == nil {
		return false
	}
	for ; scan.next < s.values.next && most > 0; most-- {
		scan.add(s.values, scan.next, s.users.count.get(scan.next))
		scan.next++
	}
	return scan.next < s.values.next
}

// Tags lists tags.
func (u *View) Tags(prefix string, limit int) TopList {
	l := TopList{Prefix: prefix, Limit: limit}
	for t := range u.tags.names.next {
		l.add(u.tags.names, t, u.tags.count.get(t))
	}
	for i, e := range l.Top {
		t, _ := u.FindTag(e.Value)
		l.Top[i].Kind = u.TagKind(t)
	}
	return l
}
