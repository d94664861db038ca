package load

import (
	"math/bits"
	"strconv"
)

// Users is a population of accounts, user0000000 and on, in the order in which a workload
// takes them. Users has no state: which user comes i-th is computed, so that connections
// need not agree on anything but the number of a request.
type Users struct {
	n      uint64
	start  uint64 // where in the order the workload begins
	step   uint64 // coprime to n; 0 for a random order
	offset uint64
}

// MaxUsers is the largest population.
const MaxUsers = 1<<32 - 1

// InOrder returns n users by number.
func InOrder(n uint64) Users { return Users{n: checked(n), step: 1} }

// Shuffled returns n users in an order far from that of their numbers. No user comes
// again before all have come.
func Shuffled(n, seed uint64) Users {
	checked(n)
	// Steps of about the golden section of n spread any run of consecutive
	// users evenly over the whole population.
	const golden = 0.6180339887498949
	step := uint64(float64(n)*golden) + seed%16
	for step = max(step, 1); gcd(step, n) != 1; step++ {
	}
	return Users{n: n, step: step, offset: mix(seed) % n}
}

// Random returns n users in random order. The same user may come again soon.
func Random(n, seed uint64) Users { return Users{n: checked(n), offset: mix(seed)} }

// From returns the same order begun at its i-th user.
func (u Users) From(i uint64) Users {
	u.start += i
	return u
}

// nth returns the number of the user who comes i-th.
func (u Users) nth(i uint64) uint64 {
	i += u.start
	if u.step == 0 {
		hi, _ := bits.Mul64(mix(i+u.offset), u.n)
		return hi
	}
	return (i%u.n*u.step + u.offset) % u.n
}

func checked(n uint64) uint64 {
	if n == 0 || n > MaxUsers {
		panic("load: a population has 1 to MaxUsers users")
	}
	return n
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// mix is the finalizer of SplitMix64: every bit of the result depends on every bit of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// User returns the UserID of the i-th account.
func User(i uint64) string { return string(appendUser(nil, i)) }

func appendUser(dst []byte, i uint64) []byte {
	dst = append(dst, "user"...)
	for limit := uint64(1_000_000); limit > 1 && i < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, i, 10)
}
