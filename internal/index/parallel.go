package index

import (
	"context"
	"sync"
	"sync/atomic"
)

// parallel calls f with the numbers below n, each once, in this goroutine and some
// others. It stops when the context has ended. A panic of f is one of parallel. Others
// that have not begun when nothing is left to do are not waited for: on a busy machine
// that takes long.
func parallel(ctx context.Context, others, n int, yield func(), f func(ev *evaluator, k uint32)) error {
	var next atomic.Int64
	var failed atomic.Pointer[any]
	work := func() {
		defer func() {
			if r := recover(); r != nil {
				failed.Store(&r)
			}
		}()
		ev := newEvaluator()
		ev.yield = yield
		for k := int(next.Add(1)) - 1; k < n && ctx.Err() == nil; k = int(next.Add(1)) - 1 {
			f(ev, uint32(k))
			ev.step(yieldSteps)
		}
		ev.end()
	}
	var mu sync.Mutex
	var begun sync.WaitGroup
	done := false
	for range others {
		go func() {
			mu.Lock()
			late := done
			if !late {
				begun.Add(1)
			}
			mu.Unlock()
			if !late {
				defer begun.Done()
				work()
			}
		}()
	}
	work()
	mu.Lock()
	done = true
	mu.Unlock()
	begun.Wait()
	if r := failed.Load(); r != nil {
		panic(*r)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
