package simulate

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Delivery is a message that was accepted.
type Delivery struct {
	Time      time.Time
	Provider  string // "fcm"
	Token     string // or the installation id, topic or condition; show it by Last6 only
	ID        string // the report id; empty: none
	Title     string // of the notification, or of the data
	Text      string
	ChannelID string // of Android
	Size      int    // bytes that count at the limit
}

// A Refusal is a request that was not accepted.
type Refusal struct {
	Time     time.Time
	Provider string
	Token    string // empty if the request was not understood that far
	ID       string
	Fate     Fate
	Words    string // what the answer said
}

// Last6 returns the last six characters of a token after an ellipsis, or the ellipsis
// alone if they would be most of it.
func Last6(token string) string {
	if len(token) < 12 {
		return "…"
	}
	return "…" + token[len(token)-6:]
}

// maxUnheard bounds what waits for a hook.
const maxUnheard = 4096

// hooks call the functions of Options from a goroutine of their own, so that a slow one
// does not slow the answers.
type hooks struct {
	delivered func(Delivery)
	refused   func(Refusal)
	queue     chan any
	unheard   atomic.Int64
	ended     chan struct{}
	wg        sync.WaitGroup
}

func newHooks(delivered func(Delivery), refused func(Refusal)) *hooks {
	h := &hooks{delivered: delivered, refused: refused, ended: make(chan struct{})}
	if delivered == nil && refused == nil {
		return h
	}
	h.queue = make(chan any, maxUnheard)
	h.wg.Go(h.run)
	return h
}

func (h *hooks) run() {
	for {
		select {
		case call := <-h.queue:
			h.call(call)
		case <-h.ended:
			for {
				select {
				case call := <-h.queue:
					h.call(call)
				default:
					return
				}
			}
		}
	}
}

func (h *hooks) call(call any) {
	switch c := call.(type) {
	case Delivery:
		h.delivered(c)
	case Refusal:
		h.refused(c)
	}
}

func (h *hooks) deliver(d Delivery) {
	if h.delivered != nil {
		h.push(d)
	}
}

func (h *hooks) refuse(r Refusal) {
	if h.refused != nil {
		h.push(r)
	}
}

func (h *hooks) push(call any) {
	select {
	case h.queue <- call:
	default:
		h.unheard.Add(1)
	}
}

// close ends the goroutine after it has called for all that waits.
func (h *hooks) close() {
	close(h.ended)
	h.wg.Wait()
}
