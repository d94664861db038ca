package lsm

import (
	"encoding/json"
	"slices"
	"time"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/report"
	"tidings/internal/task"
)

// A taskRecord is what a task is. It never changes.
type taskRecord struct {
	ID         string               `json:"id"`
	Command    string               `json:"command"`
	Caller     string               `json:"caller,omitempty"`
	From       string               `json:"from,omitempty"`
	DataID     string               `json:"data_id,omitempty"`
	Where      string               `json:"where,omitempty"`
	Kind       audience.Kind        `json:"kind,omitempty"`
	Attributes *audience.Attributes `json:"attributes,omitempty"`
	Named      int                  `json:"named,omitempty"`
	Accepted   int64                `json:"accepted"` // Unix milliseconds, as are all times here
	Ends       int64                `json:"ends"`
	Message    channel.Message      `json:"message"`
}

// A progress is how far a task is.
type progress struct {
	State    task.State `json:"state"`
	Paused   bool       `json:"paused,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Accepted int64      `json:"accepted"`
	Ends     int64      `json:"ends"`
	Begun    int64      `json:"begun,omitempty"`
	Ended    int64      `json:"ended,omitempty"`
	Frozen   uint64     `json:"frozen,omitempty"` // accounts
	Pin      uint64     `json:"pin,omitempty"`    // numbers of who was deleted at this position or later may be in the audience
	Cut      bool       `json:"cut,omitempty"`    // Lanes has all lanes
	Lanes    []*lane    `json:"lanes,omitempty"`  // by certificate
	Answers  int        `json:"answers,omitempty"`
	Lost     uint64     `json:"lost,omitempty"` // answers of providers that were too many to be kept
}

// A lane is what a task sends with one certificate, or with certificate 0 what it cannot
// send.
//
// Each device in the audience that was in no page stands before the lane that it belongs
// to, or before one that will come to it: Left or Again of a lane has its number. A lane
// that comes to a device of another lane which has passed it puts it into Again of that
// lane.
type lane struct {
	Certificate int              `json:"certificate"`
	Provider    channel.Provider `json:"provider,omitempty"`
	Counts      report.Counts    `json:"counts"`        // of units that have an outcome
	Rest        report.Counts    `json:"rest,omitzero"` // of these, units that the end of the task gave one
	Retries     int              `json:"retries,omitempty"`
	Left        spans            `json:"left,omitempty"`  // numbers that were in no page yet
	Again       spans            `json:"again,omitempty"` // numbers that have to be looked at once more
}

// done reports whether nothing is left of a lane but what is in open pages and retries.
func (l *lane) done() bool { return len(l.Left) == 0 && len(l.Again) == 0 }

// covers reports whether a lane will come to a number.
func (l *lane) covers(n uint32) bool { return l.Left.has(n) || l.Again.has(n) }

// giveBack puts the numbers that a page was cut from before the lane again.
func (l *lane) giveBack(page *openPage) {
	for _, s := range page.spans {
		if page.again {
			l.Again = l.Again.add(s).coarse()
		} else {
			l.Left = l.Left.add(s)
		}
	}
}

// lane returns the lane of a certificate; nil if there is none yet.
func (p *progress) lane(certificate int) *lane {
	for _, l := range p.Lanes {
		if l.Certificate == certificate {
			return l
		}
	}
	return nil
}

// addLane returns the lane of a certificate, which it makes if it must.
func (p *progress) addLane(certificate int, provider channel.Provider) *lane {
	if l := p.lane(certificate); l != nil {
		return l
	}
	l := &lane{Certificate: certificate, Provider: provider}
	p.Lanes = append(p.Lanes, l)
	slices.SortFunc(p.Lanes, func(a, b *lane) int { return a.Certificate - b.Certificate })
	return l
}

// clone returns a copy whose lanes may change. Their numbers are shared.
func (p *progress) clone() progress {
	c := *p
	c.Lanes = make([]*lane, len(p.Lanes))
	for i, l := range p.Lanes {
		copied := *l
		c.Lanes[i] = &copied
	}
	return c
}

func (p *progress) retries() (n int) {
	for _, l := range p.Lanes {
		n += l.Retries
	}
	return n
}

// A remembered is the answer to a request with an IdempotencyKey.
type remembered struct {
	Body     []byte        `json:"body"` // SHA-256
	ID       string        `json:"id"`
	Failures []failedEntry `json:"failures,omitempty"`
	Second   int64         `json:"second"`
}

// A failedEntry is an entry of the ErrorList of an answer.
type failedEntry struct {
	Account string `json:"account"`
	Code    int    `json:"code"`
	Info    string `json:"info,omitempty"`
}

// An answer is what providers answered to some deliveries of a task.
type answer struct {
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	Words  string `json:"words,omitempty"`
}

// A pushed counts the tasks of an app.
type pushed struct {
	Last   uint64 `json:"last"`             // number of the last task
	Day    string `json:"day,omitempty"`    // in the zone of the quota
	Pushes int    `json:"pushes,omitempty"` // on that day
}

// recordJSON returns the JSON of a record. It fails if a message holds raw JSON that is
// none.
func recordJSON(v any) ([]byte, error) { return json.Marshal(v) }

func msTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// newTask returns a task of its records.
func newTask(ref task.Ref, r *taskRecord, p *progress) *task.Task {
	t := &task.Task{
		Ref: ref, ID: r.ID, Command: r.Command, Caller: r.Caller, From: r.From, DataID: r.DataID,
		Audience: task.Audience{Where: r.Where, Kind: r.Kind, Attributes: r.Attributes, Named: r.Named},
		Message:  r.Message, Accepted: msTime(r.Accepted), Ends: msTime(r.Ends),
	}
	fillTask(t, p)
	return t
}

// fillTask sets what changes of a task.
func fillTask(t *task.Task, p *progress) {
	t.State, t.Paused, t.Reason = p.State, p.Paused, p.Reason
	t.Begun, t.Ended, t.Frozen = msTime(p.Begun), msTime(p.Ended), p.Frozen
	t.Progress = task.Progress{Retries: p.retries()}
	for _, l := range p.Lanes {
		t.Progress.Lanes = append(t.Progress.Lanes, task.LaneProgress{Certificate: l.Certificate, Provider: l.Provider, Counts: l.Counts})
	}
}
