package gate

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// buckets are token buckets by key, those of the latest keys.
type buckets[K comparable] struct {
	mu    sync.Mutex
	byKey *simplelru.LRU[K, *rate.Limiter]
}

// maxBuckets is how many keys are remembered.
const maxBuckets = 1 << 16

func newBuckets[K comparable]() *buckets[K] {
	byKey, err := simplelru.NewLRU[K, *rate.Limiter](maxBuckets, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &buckets[K]{byKey: byKey}
}

// bucket returns the bucket of a key, which holds burst tokens and gets limit a second.
func (b *buckets[K]) bucket(key K, limit rate.Limit, burst int) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.byKey.Get(key)
	if !ok || l.Burst() != burst { // the limit follows from it
		l = rate.NewLimiter(limit, burst)
		b.byKey.Add(key, l)
	}
	return l
}

// take takes a token of a key. If there is none, it takes nothing and returns how long it
// is until there is one.
func (b *buckets[K]) take(key K, limit rate.Limit, burst int, now time.Time) (wait time.Duration) {
	r := b.bucket(key, limit, burst).ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}
