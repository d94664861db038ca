package lsm

import (
	"sync"

	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// A replayer applies the entries about accounts that a start reads from the log. Goroutines share the
// apps between them, each with its own, so that the order of what happens to an app is
// that of the log; and each applies many entries at a time, for which it reads ahead.
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

// A replayBatch is entries about accounts in the order of the log.
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

// add hands on an entry about an account of a tenant, an effect or a device. An error is
// that of an earlier one.
func (r *replayer) add(x *tenant, pos journal.Pos, entry []byte) error {
	w := r.workers[x.id%replayWorkers]
	w.batch.items = append(w.batch.items, replayItem{x, pos, len(w.batch.bytes)})
	w.batch.bytes = append(w.batch.bytes, entry...)
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
	var some replayRun
	for b := range w.work {
		if w.failed() == nil {
			if err := b.apply(&some); err != nil {
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

// A replayRun is entries about accounts of one app that follow each other, apart by what
// they are.
type replayRun struct {
	effects [index.WarmBatch]audience.Effect
	devices [index.WarmBatch]index.Device
}

// apply applies the entries, those of one app that follow each other together.
func (b *replayBatch) apply(r *replayRun) error {
	for from := 0; from < len(b.items); {
		x, n := b.items[from].x, 0
		effects, devices := 0, 0
		for n < index.WarmBatch && from+n < len(b.items) && b.items[from+n].x == x {
			entry := b.entry(from + n)
			var err error
			if entry[0] == entryDevice {
				err = parseDevice(entry[1:], &r.devices[devices])
				devices++
			} else {
				err = parseEffect(entry[1:], &r.effects[effects])
				effects++
			}
			if err != nil {
				return replayError(&b.items[from+n], err)
			}
			n++
		}
		x.users.WarmEffects(r.effects[:effects])
		effects, devices = 0, 0
		for i := from; i < from+n; i++ {
			var err error
			if b.entry(i)[0] == entryDevice {
				err = x.users.ApplyDevice(&r.devices[devices])
				devices++
			} else {
				err = x.users.Apply(&r.effects[effects], uint64(b.items[i].pos))
				effects++
			}
			if err != nil {
				return replayError(&b.items[i], err)
			}
			x.changed(b.items[i].pos)
		}
		from += n
	}
	return nil
}

// entry returns an entry of the batch.
func (b *replayBatch) entry(i int) []byte {
	end := len(b.bytes)
	if i+1 < len(b.items) {
		end = b.items[i+1].start
	}
	return b.bytes[b.items[i].start:end]
}
