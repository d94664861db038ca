package server

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go's collector lets the heap grow to twice the live bytes before it collects. With an
// index of gigabytes that wastes gigabytes, to save little work: the index has few
// pointers. So the heap may grow by its own size while it is small, and by less when it is
// large.
const (
	collectorRoom = 256 << 20 // bytes that the heap may grow by in any case
	leastRoom     = 30        // percent of what is live, of the largest heap
)

// roomFor returns the GOGC for a heap with so many bytes live.
func roomFor(live uint64) int {
	return int(min(100, max(leastRoom, collectorRoom*100/max(live, 1))))
}

// paceCollector sets GOGC for the heap as it is, again and again until ctx ends. It does
// nothing if the environment sets GOGC.
func paceCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for room := 100; ; {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if now := roomFor(live[0].Value.Uint64()); now < room-5 || now > room+5 {
			room = now
			debug.SetGCPercent(room)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
