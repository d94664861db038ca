package simulate

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"
)

// A ledger remembers what was accepted. It keeps a hash and a count for each token and
// each report id, the latest answers one by one, and the ids that came more than once.
type ledger struct {
	seed   uint64
	tokens *counter
	ids    *counter

	totals  [fates]atomic.Int64
	issued  atomic.Int64 // access tokens
	denied  atomic.Int64 // assertions that were refused
	unnamed atomic.Int64 // accepted messages without a report id

	mu       sync.Mutex
	limit    int
	entries  []entry // a ring
	next     int     // where the next one goes, once the ring is full
	repeated map[string]int
	order    int64 // of the latest entry
	waiting  chan struct{}
}

// maxRepeated bounds the repeated ids that are kept by name.
const maxRepeated = 10_000

func newLedger(counted, history int, seed uint64) *ledger {
	return &ledger{seed: seed, tokens: newCounter(counted), ids: newCounter(counted), limit: history, repeated: map[string]int{}, waiting: make(chan struct{})}
}

// hashOf returns the hash by which a token or an id is known.
func hashOf(s []byte) uint64 { return xxh3.Hash(s) }

// An Entry is one answer to a message that had passed the checks.
type Entry struct {
	Order int64     `json:"order"` // 1, 2, 3 ... of all answers
	Time  time.Time `json:"time"`
	Fate  string    `json:"fate"`
	ID    string    `json:"id,omitempty"` // the report id, at most its first 40 bytes
}

// An entry is an Entry without pointers, of which there are many.
type entry struct {
	token uint64
	order int64
	time  int64 // nanoseconds since 1970
	fate  Fate
	size  uint8
	id    [maxID]byte
}

// maxID bounds what of a report id the history keeps: ours are no longer.
const maxID = 40

// record notes the fate of a message.
func (l *ledger) record(f Fate, token uint64, id []byte, now time.Time) {
	delivered := f == Accepted || f == Lost
	times := 0
	if delivered {
		l.tokens.add(token)
		if len(id) == 0 {
			l.unnamed.Add(1)
		} else {
			times = l.ids.add(hashOf(id))
		}
	}
	l.totals[f].Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order++
	e := entry{token: token, order: l.order, time: now.UnixNano(), fate: f}
	e.size = uint8(copy(e.id[:], id))
	if len(l.entries) < l.limit {
		l.entries = append(l.entries, e)
	} else {
		l.entries[l.next] = e
		l.next = (l.next + 1) % l.limit
	}
	if times > 1 {
		if _, known := l.repeated[string(id)]; known || len(l.repeated) < maxRepeated {
			l.repeated[string(id)] = times
		}
	}
	if delivered && l.waiting != nil {
		close(l.waiting)
		l.waiting = nil
	}
}

// Totals are sums since the start or the last Reset.
type Totals struct {
	// Delivered are the messages that were taken, with those whose answer was lost on purpose.
	Delivered int64 `json:"delivered"`
	// Tokens and IDs are how many different ones were delivered to. Exact up to
	// Options.Counted; Overflow is how many deliveries beyond are in neither.
	Tokens   int64 `json:"tokens"`
	IDs      int64 `json:"ids"`
	Overflow int64 `json:"overflow"`
	// RepeatedIDs are the report ids that were delivered more than once; Unnamed are the
	// deliveries without one.
	RepeatedIDs int64 `json:"repeated_ids"`
	Unnamed     int64 `json:"unnamed"`
	// Fates are how many requests met each fate.
	Fates map[string]int64 `json:"fates"`
	// Issued and Denied are the access tokens that were issued and refused.
	Issued int64 `json:"issued"`
	Denied int64 `json:"denied"`
	// Connections were accepted since the start, Requests to providers begun, and GoAways said.
	Connections int64 `json:"connections"`
	Requests    int64 `json:"requests"`
	GoAways     int64 `json:"go_aways"`
	// Unheard are the calls of Delivered and Refused that were left out.
	Unheard int64 `json:"unheard"`
}

// Totals returns the sums.
func (s *Simulator) Totals() Totals {
	l := s.ledger
	t := Totals{
		Fates: map[string]int64{}, Issued: l.issued.Load(), Denied: l.denied.Load(), Unnamed: l.unnamed.Load(),
		Connections: s.state.connections.Load(), Requests: s.state.requests.Load(), GoAways: s.state.goAways.Load(), Unheard: s.hooks.unheard.Load(),
	}
	for f := Accepted; f < fates; f++ {
		if n := l.totals[f].Load(); n > 0 {
			t.Fates[fateNames[f]] = n
		}
	}
	t.Delivered = l.delivered()
	var over int64
	t.Tokens, _, t.Overflow = l.tokens.sums()
	t.IDs, t.RepeatedIDs, over = l.ids.sums()
	t.Overflow = max(t.Overflow, over)
	return t
}

func (l *ledger) delivered() int64 { return l.totals[Accepted].Load() + l.totals[Lost].Load() }

// Delivered returns how many messages were taken.
func (s *Simulator) Delivered() int64 { return s.ledger.delivered() }

// TokenCount returns how many messages were delivered to a token.
func (s *Simulator) TokenCount(token string) int { return s.ledger.tokens.count(hashOf([]byte(token))) }

// IDCount returns how many messages were delivered with a report id.
func (s *Simulator) IDCount(id string) int { return s.ledger.ids.count(hashOf([]byte(id))) }

// Repeated returns report ids that were delivered more than once, with how often: all of
// them, or ten thousand if Totals.RepeatedIDs is more.
func (s *Simulator) Repeated() map[string]int {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return maps.Clone(s.ledger.repeated)
}

// History returns the answers to messages to a token, the oldest first, as far as they are
// among the last Options.History of all.
func (s *Simulator) History(token string) []Entry {
	l, hash := s.ledger, hashOf([]byte(token))
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Entry
	for _, half := range [][]entry{l.entries[l.next:], l.entries[:l.next]} {
		for _, e := range half {
			if e.token == hash {
				found = append(found, Entry{e.order, time.Unix(0, e.time), e.fate.String(), string(e.id[:e.size])})
			}
		}
	}
	return slices.Clip(found)
}

// Wait returns when n messages have been delivered since the start or the last Reset, or
// with the cause of ctx if that ends before.
func (s *Simulator) Wait(ctx context.Context, n int64) error {
	l := s.ledger
	for {
		l.mu.Lock()
		if l.waiting == nil {
			l.waiting = make(chan struct{})
		}
		more := l.waiting
		l.mu.Unlock()
		if l.delivered() >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.state.ended:
			return errEnded
		}
	}
}

// Reset makes all sums and counts zero and forgets the history, the tries of tokens and
// those killed and revived. The behaviour stays.
func (s *Simulator) Reset() {
	s.state.forget()
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens.reset()
	l.ids.reset()
	for f := range l.totals {
		l.totals[f].Store(0)
	}
	l.issued.Store(0)
	l.denied.Store(0)
	l.unnamed.Store(0)
	l.entries, l.next, l.order = nil, 0, 0
	clear(l.repeated)
}
