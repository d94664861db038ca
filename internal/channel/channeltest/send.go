package channeltest

import (
	"context"
	"sync"
	"testing"

	"tidings/internal/channel"
)

// Send sends a job and returns the results in the order of the targets. It fails the test
// unless there is exactly one for each, before Send of the Sender returns.
func Send(t testing.TB, ctx context.Context, s channel.Sender, job *channel.Job, targets []channel.Target) []channel.Result {
	t.Helper()
	var mu sync.Mutex
	results := make([]channel.Result, len(targets))
	times := make([]int, len(targets))
	over := false
	s.Send(ctx, job, targets, func(i int, r channel.Result) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			t.Errorf("target %d: a result after the end of Send", i)
		}
		results[i] = r
		times[i]++
	})
	mu.Lock()
	defer mu.Unlock()
	over = true
	for i, n := range times {
		if n != 1 {
			t.Errorf("target %d: %d results, want 1", i, n)
		}
		if results[i].Outcome < channel.Accepted || results[i].Outcome > channel.Unknown {
			t.Errorf("target %d: outcome %d is none", i, results[i].Outcome)
		}
	}
	return results
}
