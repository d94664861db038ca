// Package index keeps what the requests of an app ask about its users - who
// exists, with which attributes - in memory: compact, exact, and rebuilt from
// the store's records at start.
package index

import (
	"tidings/internal/audience"
)

// Users are the users of one app. Each has a number, dense from 0, kept for as
// long as the account exists. It is not safe for concurrent use: whoever owns
// it locks.
type Users struct {
	accounts *strtab
	created  column // Unix seconds
	kinds    column // bit n%32 of element n/32: the user is a RegistrationID
	slots    [audience.Slots]*slot
}

// A slot holds the values of one attribute. Equal values are stored once.
type slot struct {
	values *strtab
	users  column // by value: how many users have it
	value  column // by user: 1 + number of the value; 0: none
}

// NewUsers makes an app without users.
func NewUsers() *Users { return &Users{accounts: newStrtab()} }

// Len is how many users there are.
func (u *Users) Len() int { return u.accounts.n }

// Limit is one above the highest number any user had.
func (u *Users) Limit() uint32 { return u.accounts.next }

// Has tells whether a user has number n.
func (u *Users) Has(n uint32) bool { return n < u.accounts.next && u.accounts.has(n) }

// Find gives the number of an account.
func (u *Users) Find(account string) (n uint32, ok bool) { return u.accounts.find(account) }

// Add makes a user without attributes and gives it a number. The account must
// not exist.
func (u *Users) Add(account string, kind audience.Kind, created uint32) uint32 {
	n := u.accounts.add(account)
	u.fill(n, kind, created)
	return n
}

// AddAt is Add with a number that is free, for rebuilding. FindHoles must
// follow the last.
func (u *Users) AddAt(n uint32, account string, kind audience.Kind, created uint32) {
	u.accounts.addAt(n, account)
	u.fill(n, kind, created)
}

// FindHoles ends a rebuilding with AddAt: numbers of deleted users become
// available.
func (u *Users) FindHoles() { u.accounts.findHoles() }

func (u *Users) fill(n uint32, kind audience.Kind, created uint32) {
	u.created.set(n, created)
	bits := u.kinds.get(n/32) &^ (1 << (n % 32))
	u.kinds.set(n/32, bits|uint32(kind)<<(n%32))
}

// Remove takes the user with number n and its attributes out.
func (u *Users) Remove(n uint32) {
	for i := range u.slots {
		u.Set(n, i, "")
	}
	u.fill(n, 0, 0)
	u.accounts.remove(n)
}

// Account is the name of the user with number n, valid until the next change.
func (u *Users) Account(n uint32) []byte { return u.accounts.bytes(n) }

// Kind is the account type of the user with number n.
func (u *Users) Kind(n uint32) audience.Kind {
	return audience.Kind(u.kinds.get(n/32) >> (n % 32) & 1)
}

// Created is the second at which the user with number n was made.
func (u *Users) Created(n uint32) uint32 { return u.created.get(n) }

// Value is the user's value in a slot, nil if it has none. It is valid until
// the next change.
func (u *Users) Value(n uint32, i int) []byte {
	s := u.slots[i]
	if s == nil {
		return nil
	}
	v := s.value.get(n)
	if v == 0 {
		return nil
	}
	return s.values.bytes(v - 1)
}

// Set gives the user a value in a slot, or takes it away if the value is empty.
// It tells whether that changed anything.
func (u *Users) Set(n uint32, i int, value string) bool {
	s := u.slots[i]
	if s == nil {
		if value == "" {
			return false
		}
		s = &slot{values: newStrtab()}
		u.slots[i] = s
	}
	was := s.value.get(n)
	if value == "" {
		if was == 0 {
			return false
		}
		s.value.set(n, 0)
		s.release(was - 1)
		return true
	}
	v, known := s.values.find(value)
	if known && was == v+1 {
		return false
	}
	if !known {
		v = s.values.add(value)
	}
	s.users.set(v, s.users.get(v)+1)
	s.value.set(n, v+1)
	if was != 0 {
		s.release(was - 1)
	}
	return true
}

// release takes one user from value v, and v away with its last user.
func (s *slot) release(v uint32) {
	left := s.users.get(v) - 1
	s.users.set(v, left)
	if left == 0 {
		s.values.remove(v)
	}
}

// BytesHeld is the memory the users take, roughly.
func (u *Users) BytesHeld() int64 {
	n := u.accounts.bytesHeld() + u.created.bytesHeld() + u.kinds.bytesHeld()
	for _, s := range u.slots {
		if s != nil {
			n += s.values.bytesHeld() + s.users.bytesHeld() + s.value.bytesHeld()
		}
	}
	return n
}
