package simulate

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// benchMessage is a usual message.
func benchMessage(i int64) string {
	return fmt.Sprintf(`{"message":{"token":"cXyZ0123456789-_abcdef:APA91bH%0100d","notification":{"title":"Your order is on its way","body":"It arrives between ten and twelve. Somebody has to be at home."},"data":{"tidings":"%032x","ext":"{\"order\":4711}"},"android":{"priority":"high","ttl":"86400s","collapse_key":"k0123456789","notification":{"channel_id":"orders","tag":"k0123456789","click_action":"OPEN"}}}}`, i, i)
}

// BenchmarkCheck measures what the checks of one message take.
func BenchmarkCheck(b *testing.B) {
	m, text := new(reader), benchMessage(1)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		m.body.Reset()
		m.body.WriteString(text)
		if no := m.check(defaultIDKey); no != nil {
			b.Fatal(no)
		}
	}
}

// BenchmarkServe measures messages through sockets, with net/http's client beside it.
func BenchmarkServe(b *testing.B) {
	for _, protocol := range []string{"h2c", "h2"} {
		b.Run(protocol, func(b *testing.B) {
			s := start(b, Options{})
			c := dial(b, s, protocol)
			c.must(c.post(benchMessage(0)))
			var n atomic.Int64
			b.SetParallelism(32)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if r, err := c.post(benchMessage(n.Add(1))); err != nil || r.status != 200 {
						b.Errorf("%d %v", r.status, err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkCounter measures how much memory a counted hash takes.
func BenchmarkCounter(b *testing.B) {
	c := newCounter(defaultCounted)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		c.add(hashOf(fmt.Append(nil, i%defaultCounted)))
		i++
	}
}
