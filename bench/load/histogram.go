package load

import (
	"fmt"
	"math/bits"
	"time"
)

// Buckets of a Histogram: subBuckets of equal width in each power of two of
// nanoseconds, which is an error of at most 1/64 of the value. Below
// 2*subBuckets every value has its own. Above 2^maxBits (18 minutes) all share
// the last one.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	maxBits    = 40
	buckets    = (maxBits - subBits + 1) * subBuckets
)

// A Histogram counts latencies. The zero value is empty. It is not safe for
// concurrent use.
type Histogram struct {
	counts [buckets]uint64
	n      uint64
	max    time.Duration
}

// Record adds one latency.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

func bucket(v uint64) int {
	v = min(v, 1<<maxBits-1)
	e := max(bits.Len64(v)-subBits-1, 0)
	return e*subBuckets + int(v>>e)
}

// upper returns the largest value of a bucket.
func upper(b int) time.Duration {
	e := max(b/subBuckets-1, 0)
	m := b - e*subBuckets
	return time.Duration(m+1)<<e - 1
}

// Add adds all latencies of another histogram.
func (h *Histogram) Add(other *Histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// Count returns the number of latencies.
func (h *Histogram) Count() uint64 { return h.n }

// Max returns the largest latency, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the latency that a share q of the requests, 0 to 1, did not exceed.
// The result is at most 1/64 too high and never too low.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := max(uint64(q*float64(h.n)+0.999999), 1)
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// String returns the usual quantiles.
func (h *Histogram) String() string {
	r := func(d time.Duration) time.Duration { return d.Round(time.Microsecond) }
	return fmt.Sprintf("p50 %v p90 %v p99 %v p99.9 %v max %v",
		r(h.Quantile(0.5)), r(h.Quantile(0.9)), r(h.Quantile(0.99)), r(h.Quantile(0.999)), r(h.max))
}
