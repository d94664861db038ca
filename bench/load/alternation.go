package load

import "fmt"

// An Attribute is a name and the values that a workload sets.
type Attribute struct {
	Name   string
	Values []string
}

// FilledAttrs returns two attributes that Fill sets: sex and city.
func FilledAttrs() [2]Attribute {
	return [2]Attribute{{attrNames[0], attrValues[0]}, {attrNames[1], attrValues[1]}}
}

// MemberAttrs returns two attributes of a Member: plan and city.
func MemberAttrs() [2]Attribute {
	return [2]Attribute{{TraitNames[0], traitValues[0]}, {TraitNames[3], traitValues[3]}}
}

// An Alternation removes two attributes from users and sets them again, without
// end, so that every request changes every user in it: half of the population
// has the attributes, the other half has not. Request 0, 2, 4 and so on remove
// from users who have them. Request 1, 3, 5 and so on set them for those who have
// not, to other values than they had before.
//
//	order of users   0 ............ half ............ all
//	at the start     [ without      ][ with             ]
//	request 2k       removes at half + k·batch
//	request 2k+1     sets at k·batch, with values of the pass
//
// A user is set half a population after it was removed, so that requests in
// flight do not meet unless there are as many of them as half the population has.
type Alternation struct {
	users Users
	attrs [2]Attribute
	batch uint64 // users in a request
	half  uint64 // users without the attributes at the start
}

// primeUsers is the number of users in a request of Prime.
const primeUsers = fillUsers

// Alternate returns the alternation of users, with batch users in a request. The batch
// divides 100 and is at most half the population.
func Alternate(users Users, batch int, attrs [2]Attribute) Alternation {
	n := uint64(batch)
	if batch < 1 || primeUsers%n != 0 || n > users.n/2 {
		panic(fmt.Sprintf("load: an alternation of %d users with %d a request", users.n, batch))
	}
	half := users.n / 2
	if half >= primeUsers {
		n = primeUsers
	}
	return Alternation{users: users, attrs: attrs, batch: uint64(batch), half: half - half%n}
}

// Prime returns the workload that brings about the start. It removes the attributes
// from half of the users. These must have the attributes.
func (a Alternation) Prime() Workload {
	n := min(a.half, primeUsers)
	return Workload{Users: int(n), Requests: a.half / n, Append: func(dst []byte, seq uint64) (string, []byte) {
		return "timpush/remove_attr", a.appendRemove(dst, seq*n, n)
	}}
}

// Workload returns the requests that follow Prime. A run that goes on where
// another has ended begins at Workload.From of the requests made.
func (a Alternation) Workload() Workload {
	return Workload{Users: int(a.batch), Append: func(dst []byte, seq uint64) (string, []byte) {
		pos, remove := a.position(seq)
		if remove {
			return "timpush/remove_attr", a.appendRemove(dst, pos, a.batch)
		}
		return "timpush/set_attr", a.appendSet(dst, pos, a.batch)
	}}
}

// Without returns the users who lack the attributes after a number of requests: they
// are the first n of an order.
func (a Alternation) Without(requests uint64) (users Users, n uint64) {
	removed, set := (requests+1)/2, requests/2
	return a.users.From(set * a.batch), a.half + (removed-set)*a.batch
}

// position returns where in the order the users of a request begin, and whether
// the request removes.
func (a Alternation) position(seq uint64) (pos uint64, remove bool) {
	pos = seq / 2 * a.batch
	if seq%2 == 0 {
		return a.half + pos, true
	}
	return pos, false
}

// value returns the value of an attribute that the user at a position gets. The value
// depends on the pass over the population, so each pass changes it.
func (a *Alternation) value(attr int, pos, user uint64) string {
	values := a.attrs[attr].Values
	return values[(user+pos/a.users.n)%uint64(len(values))]
}

func (a *Alternation) appendRemove(dst []byte, pos, n uint64) []byte {
	dst = append(dst, `{"UserAttrs":[`...)
	for i := range n {
		dst = append(dst, `{"To_Account":"`...)
		dst = appendUser(dst, a.users.nth(pos+i))
		dst = append(append(dst, `","Attrs":["`...), a.attrs[0].Name...)
		dst = append(append(dst, `","`...), a.attrs[1].Name...)
		dst = append(dst, `"]},`...)
	}
	return append(dst[:len(dst)-1], `]}`...)
}

func (a *Alternation) appendSet(dst []byte, pos, n uint64) []byte {
	dst = append(dst, `{"UserAttrs":[`...)
	for i := range n {
		user := a.users.nth(pos + i)
		dst = append(dst, `{"To_Account":"`...)
		dst = appendUser(dst, user)
		dst = append(dst, `","Attrs":{`...)
		for attr := range a.attrs {
			dst = append(append(append(dst, '"'), a.attrs[attr].Name...), `":"`...)
			dst = append(append(dst, a.value(attr, pos+i, user)...), `",`...)
		}
		dst = append(dst[:len(dst)-1], `}},`...)
	}
	return append(dst[:len(dst)-1], `]}`...)
}
