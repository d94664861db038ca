package load

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	const n = 100_000
	for i := range n {
		h.Record(time.Duration(i+1) * time.Microsecond)
	}
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := time.Duration(q*n) * time.Microsecond
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/64) {
			t.Errorf("Quantile(%v) = %v, want %v and at most 1/64 more", q, got, want)
		}
	}
	if h.Count() != n || h.Max() != n*time.Microsecond {
		t.Errorf("count %d, max %v", h.Count(), h.Max())
	}
}

func TestHistogramBuckets(t *testing.T) {
	for range 100_000 {
		v := rand.Uint64() >> rand.IntN(64) & (1<<maxBits - 1)
		b := bucket(v)
		if uint64(upper(b)) < v || b > 0 && uint64(upper(b-1)) >= v {
			t.Fatalf("%d is in bucket %d, which is %d to %d", v, b, upper(b-1)+1, upper(b))
		}
	}
	if b := bucket(1 << 63); b != buckets-1 {
		t.Errorf("the largest value is in bucket %d of %d", b, buckets)
	}
}

func TestHistogramAdd(t *testing.T) {
	var a, b, both Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		both.Record(d)
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	if a.Add(&b); a != both {
		t.Errorf("parts give %v, the whole %v", &a, &both)
	}
}
