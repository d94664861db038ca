package fcm

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/simulate"
)

// BenchmarkSend sends pages of 500 devices to the simulator, eight at a time as a lane
// does, and compares that with a client that does nothing but send the same bytes over
// the same pool. Both have the simulator on the same processors.
func BenchmarkSend(b *testing.B) {
	const pages = 8
	for name, after := range map[string]time.Duration{"at once": 0, "20ms": 20 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			_, s := simulated(b, simulate.Options{Streams: 1000, Behaviour: simulate.Behaviour{MinLatency: simulate.Duration(after)}}, false, channel.Options{})
			all, j := targets(500), job()
			warm(b, s, j)
			body := s.body(b, j, &all[0])
			n := max(b.N, 20000)
			b.ResetTimer()
			bare := n / pages * pages
			begin := time.Now()
			bareLoop(b, s, body, bare)
			plain := float64(bare) / time.Since(begin).Seconds()

			b.ReportAllocs()
			var left, wrong atomic.Int64
			left.Store(int64(n))
			var wg sync.WaitGroup
			begin = time.Now()
			for range pages {
				wg.Go(func() {
					for left.Add(-500) >= 0 {
						s.Send(context.Background(), j, all, func(_ int, r channel.Result) {
							if r.Outcome != channel.Accepted {
								wrong.Add(1)
							}
						})
					}
				})
			}
			wg.Wait()
			rate := float64(n/500*500) / time.Since(begin).Seconds()
			b.ReportMetric(rate, "sends/s")
			b.ReportMetric(plain, "bare/s")
			b.ReportMetric(rate/plain, "ratio")
			b.ReportMetric(0, "ns/op")
			if wrong.Load() > 0 {
				b.Errorf("%d were not accepted", wrong.Load())
			}
		})
	}
}

// body returns the body for a device.
func (s *sender) body(b *testing.B, j *channel.Job, device *channel.Target) []byte {
	t, err := newTemplate(j, s.opts, device.Kind, j.Message.Title, j.Message.Desc, false)
	if err != nil {
		b.Fatal(err)
	}
	return t.fill(nil, device, 3600)
}

// warm sends until a connection takes many requests.
func warm(b *testing.B, s *sender, j *channel.Job) {
	for range 3 {
		results(b, s, j, targets(500))
	}
}

// bareLoop sends a body n times, as many at once as a lane does.
func bareLoop(b *testing.B, s *sender, body []byte, n int) {
	bearer, err := s.tokens.token(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range 900 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				c, err := s.pool.Acquire(b.Context())
				if err != nil {
					b.Error(err)
					return
				}
				r, err := http.NewRequest(http.MethodPost, s.url.String(), bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header = bearer.header
				answer, c, err := s.pool.RoundTrip(c, r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				s.pool.Release(c)
			}
		})
	}
	wg.Wait()
}

func BenchmarkFill(b *testing.B) {
	j := job()
	t, err := newTemplate(j, channel.Options{}, channel.Alert, "Title", "Text", false)
	if err != nil {
		b.Fatal(err)
	}
	device := target(1)
	b.ReportAllocs()
	for b.Loop() {
		t.fill(make([]byte, 0, t.size+len(device.Address)), &device, 3600)
	}
}
