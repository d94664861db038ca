package lsm

import (
	"time"

	"tidings/internal/task"
)

// recents are the requests that made a task less than repeatWithin ago. They are in
// memory only: a process does not start again within the time. There may be tens of
// thousands, and each request looks for itself among them while the app is locked.
type recents struct {
	answers map[recentRequest]task.Receipt
	order   []recent // the oldest first
}

// A recentRequest is what a request has in common with its repetition.
type recentRequest struct {
	random uint32
	body   [32]byte
}

type recent struct {
	request recentRequest
	at      time.Time // with the monotonic clock
}

// find returns the answer to a request that is the same; nil if there was none within the
// time.
func (r *recents) find(n *task.New, now time.Time) *task.Receipt {
	old := 0
	for old < len(r.order) && now.Sub(r.order[old].at) >= repeatWithin {
		delete(r.answers, r.order[old].request)
		old++
	}
	if r.order = r.order[old:]; len(r.order) == 0 {
		r.order = nil // else memory of a busy second is kept
	}
	if receipt, known := r.answers[recentRequest{n.Random, n.Body}]; known {
		receipt.Repeated = true
		return &receipt
	}
	return nil
}

// add adds a request that find does not know.
func (r *recents) add(n *task.New, receipt task.Receipt, now time.Time) {
	if r.order == nil {
		r.answers = map[recentRequest]task.Receipt{}
	}
	request := recentRequest{n.Random, n.Body}
	r.answers[request] = receipt
	r.order = append(r.order, recent{request, now})
}
