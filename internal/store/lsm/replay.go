package lsm

import (
	"sync"

	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// A replayer applies the effects that a start reads from the log. Goroutines share the
// apps between them, each with its own, so that the order of what happens to an app is
// that of the log; and each applies many effects at a time, for which it reads ahead.
type replayer struct {
	workers []*replayWorker
	wg      sync.WaitGroup
}

// A replayWorker applies the effects of some apps.
type replayWorker struct {
	batch replayBatch // that gathers
	work  chan replayBatch
	mu    sync.Mutex
	err   error // the first
}

// A replayBatch is effects in the order of the log.
type replayBatch struct {
	bytes []byte
	items []replayItem
	idle  chan<- struct{} // if not nil, to be closed when everything before is applied
}

type replayItem struct {
	x     *tenant
	pos   journal.Pos
	start int // in bytes; it ends where the next begins
}

const (
	replayWorkers    = 2
	replayBatchBytes = 256 << 10
	replayQueue      = 8 // batches
)

func newReplayer() *replayer {
	r := &replayer{}
	for range replayWorkers {
		w := &replayWorker{work: make(chan replayBatch, replayQueue)}
		r.workers = append(r.workers, w)
		r.wg.Go(w.run)
	}
	return r
}

// add hands on an effect of a tenant. An error is that of an earlier one.
func (r *replayer) add(x *tenant, pos journal.Pos, effect []byte) error {
	w := r.workers[x.id%replayWorkers]
	w.batch.items = append(w.batch.items, replayItem{x, pos, len(w.batch.bytes)})
	w.batch.bytes = append(w.batch.bytes, effect...)
	if len(w.batch.bytes) < replayBatchBytes {
		return nil
	}
	w.send()
	return w.failed()
}

// send hands on what has gathered.
func (w *replayWorker) send() {
	w.work <- w.batch
	w.batch = replayBatch{bytes: make([]byte, 0, replayBatchBytes+replayBatchBytes/8), items: make([]replayItem, 0, cap(w.batch.items))}
}

// wait returns when everything that was added is applied, with the first error.
func (r *replayer) wait() error {
	var idle []chan struct{}
	for _, w := range r.workers {
		done := make(chan struct{})
		w.batch.idle = done
		w.send()
		idle = append(idle, done)
	}
	for _, done := range idle {
		<-done
	}
	for _, w := range r.workers {
		if err := w.failed(); err != nil {
			return err
		}
	}
	return nil
}

// end ends the goroutines.
func (r *replayer) end() {
	for _, w := range r.workers {
		close(w.work)
	}
	r.wg.Wait()
}

func (w *replayWorker) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *replayWorker) run() {
	effects := make([]audience.Effect, index.WarmBatch)
	for b := range w.work {
		if w.failed() == nil {
			if err := b.apply(effects); err != nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
			}
		}
		if b.idle != nil {
			close(b.idle)
		}
	}
}

// apply applies the effects, those of one app that follow each other together.
func (b *replayBatch) apply(effects []audience.Effect) error {
	for from := 0; from < len(b.items); {
		x, n := b.items[from].x, 0
		for n < len(effects) && from+n < len(b.items) && b.items[from+n].x == x {
			end := len(b.bytes)
			if next := from + n + 1; next < len(b.items) {
				end = b.items[next].start
			}
			item := &b.items[from+n]
			if err := parseEffect(b.bytes[item.start:end], &effects[n]); err != nil {
				return replayError(item, err)
			}
			n++
		}
		x.users.WarmEffects(effects[:n])
		for i := range n {
			item := &b.items[from+i]
			if err := x.users.Apply(&effects[i], uint64(item.pos)); err != nil {
				return replayError(item, err)
			}
			x.changed(item.pos)
		}
		from += n
	}
	return nil
}
