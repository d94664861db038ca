package lsm

import (
	"math"
	"slices"
	"sort"
)

// A span is the numbers from the first to before the second.
type span [2]uint32

// spans are numbers: ascending spans that do not touch.
type spans []span

// everyNumber has all numbers that an account can have.
var everyNumber = span{0, math.MaxUint32}

func (s spans) has(n uint32) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i][1] > n })
	return i < len(s) && s[i][0] <= n
}

// end returns where the span ends that has a number.
func (s spans) end(n uint32) uint32 {
	i := sort.Search(len(s), func(i int) bool { return s[i][1] > n })
	return s[i][1]
}

// add returns the numbers with those of a span.
func (s spans) add(x span) spans {
	if x[0] >= x[1] {
		return s
	}
	i := sort.Search(len(s), func(i int) bool { return s[i][1] >= x[0] })
	j := i
	for ; j < len(s) && s[j][0] <= x[1]; j++ {
		x[0], x[1] = min(x[0], s[j][0]), max(x[1], s[j][1])
	}
	return slices.Replace(s, i, j, x)
}

// remove returns the numbers without those of a span.
func (s spans) remove(x span) spans {
	if x[0] >= x[1] {
		return s
	}
	var rest spans
	for _, y := range s {
		if y[0] < min(y[1], x[0]) {
			rest = append(rest, span{y[0], min(y[1], x[0])})
		}
		if max(y[0], x[1]) < y[1] {
			rest = append(rest, span{max(y[0], x[1]), y[1]})
		}
	}
	return rest
}

// maxSpans bounds lists that may have more numbers than they must.
const maxSpans = 64

// coarse returns no more than maxSpans spans, with more numbers if need be: those between
// the spans that are next to each other.
func (s spans) coarse() spans {
	for len(s) > maxSpans {
		nearest := 1
		for i := 2; i < len(s); i++ {
			if s[i][0]-s[i-1][1] < s[nearest][0]-s[nearest-1][1] {
				nearest = i
			}
		}
		s[nearest-1][1] = s[nearest][1]
		s = slices.Delete(s, nearest, nearest+1)
	}
	return s
}
