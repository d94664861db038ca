package lsm

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/store/journal"
	"tidings/internal/task"
	"tidings/internal/wording"
)

// rememberFor is how long the answer to an IdempotencyKey is kept, and repeatWithin how
// long the same MsgRandom with the same body is the same request (spec/README.md; O-16).
const (
	rememberFor  = 24 * time.Hour
	repeatWithin = time.Second
)

// A pendingRequest is a remembered request that may not be in the tables yet.
type pendingRequest struct {
	key    hash
	answer remembered
	pos    journal.Pos
}

// Create makes a task.
func (t *Tasks) Create(ctx context.Context, app uint32, n *task.New) (task.Receipt, error) {
	batch := len(n.Audience.Accounts) > 0
	var receipt task.Receipt
	var made *running
	var pos journal.Pos
	err := t.write(ctx, app, false, func(x *tenant) (err error) {
		// What was found, a refusal too, rests on what was changed before.
		defer func() { pos = max(pos, x.pos) }()
		now := time.Now()
		found, err := t.repeated(x, n, now)
		if err != nil {
			return err
		}
		if found != nil {
			receipt = *found
			return nil
		}
		if err := x.tasks.allows(&x.app.Settings, n.Gapped, now); err != nil {
			return err
		}
		made, receipt, err = t.make(x, n, batch, now)
		return err
	})
	if err == nil && made != nil {
		pos = max(pos, made.pos)
	}
	// A refusal rests on what was seen, too.
	if waited := t.journal.Wait(ctx, pos); waited != nil {
		if made != nil { // it may become durable all the same
			go func() {
				if t.wait(made) == nil {
					t.announce(made)
				}
			}()
		}
		return task.Receipt{}, waited
	}
	if err != nil {
		return task.Receipt{}, err
	}
	if made != nil {
		t.announce(made)
	}
	return receipt, nil
}

// announce says that a task was made, unless it has ended already.
func (t *Tasks) announce(r *running) {
	if p, _ := r.snapshot(); p.State.Ended() {
		r.x.tasks.drop(r)
		return
	}
	t.mu.Lock()
	made := t.made
	t.mu.Unlock()
	if made != nil {
		made(r.Ref)
	}
}

// Repeated returns the answer to an earlier request.
func (t *Tasks) Repeated(ctx context.Context, app uint32, n *task.New) (found *task.Receipt, err error) {
	err = t.read(ctx, app, func(x *tenant) (err error) {
		found, err = t.repeated(x, n, time.Now())
		return err
	})
	return found, err
}

// repeated returns the answer to an earlier request that a request repeats; nil if it
// repeats none.
func (t *Tasks) repeated(x *tenant, n *task.New, now time.Time) (*task.Receipt, error) {
	if n.Key != "" {
		known, err := t.remembered(x, requestHash(n), now)
		if err != nil {
			return nil, err
		}
		if known != nil {
			if string(known.Body) != string(n.Body[:]) {
				return nil, apierr.KeyReused.Errorf("IdempotencyKey %q was used for another request within a day; the same key needs the same body, MsgRandom too", wording.Clip(n.Key, maxKeyBytes))
			}
			return known.receipt(), nil
		}
	}
	x.tasks.mu.Lock()
	defer x.tasks.mu.Unlock()
	return x.tasks.recent.find(n, now), nil
}

// maxKeyBytes is the length of an IdempotencyKey (spec/README.md).
const maxKeyBytes = 64

// requestHash names an IdempotencyKey of a command.
func requestHash(n *task.New) (h hash) {
	sum := sha256.Sum256([]byte(n.Command + "\x00" + n.Key))
	copy(h[:], sum[:])
	return h
}

// remembered returns the answer to a request with a key; nil if none is kept.
func (t *Tasks) remembered(x *tenant, key hash, now time.Time) (*remembered, error) {
	var known *remembered
	x.tasks.mu.Lock()
	applied := t.journal.Applied()
	x.tasks.pending = slices.DeleteFunc(x.tasks.pending, func(p pendingRequest) bool { return p.pos <= applied })
	for i := range x.tasks.pending {
		if p := &x.tasks.pending[i]; p.key == key {
			known = &p.answer
		}
	}
	x.tasks.mu.Unlock()
	if known == nil {
		err := t.journal.Read(func(v *journal.View) error {
			value, err := v.Get(tableRequest, x.id, key[:])
			if err != nil || value == nil {
				return err
			}
			known = new(remembered)
			return json.Unmarshal(value, known)
		})
		if err != nil {
			return nil, err
		}
	}
	if known != nil && now.Unix()-known.Second >= int64(rememberFor/time.Second) {
		return nil, nil
	}
	return known, nil
}

// receipt returns the answer that is remembered.
func (m *remembered) receipt() *task.Receipt {
	r := &task.Receipt{ID: m.ID, Repeated: true}
	for _, f := range m.Failures {
		kind := apierr.Internal
		for _, k := range apierr.Kinds() {
			if k.Code == f.Code {
				kind = k
			}
		}
		r.Failures = append(r.Failures, audience.Failure{Account: f.Account, Err: &apierr.Error{Kind: kind, Msg: f.Info}})
	}
	return r
}

// make makes a task that may be made. The tenant is locked for a change.
func (t *Tasks) make(x *tenant, n *task.New, batch bool, now time.Time) (*running, task.Receipt, error) {
	count := x.tasks.pushed
	count.Last++
	if n.Gapped {
		count.push(&x.app.Settings, now)
	}
	rec := &taskRecord{
		ID: newTaskID(batch, now, count.Last), Command: n.Command, Caller: n.Caller, From: n.From, DataID: n.DataID,
		Where: n.Audience.Where, Kind: n.Audience.Kind, Attributes: n.Audience.Attributes, Named: len(n.Audience.Accounts),
		Accepted: now.UnixMilli(), Ends: now.Add(n.Life).UnixMilli(), Message: n.Message,
	}
	receipt := task.Receipt{ID: rec.ID}
	r := newRunning(x, count.Last, rec.ID, progress{State: task.Accepted, Accepted: rec.Accepted, Ends: rec.Ends})
	f := &frozen{}
	if batch {
		receipt.Failures = x.receivers(n.Audience.Accounts, f)
		r.p.State, r.p.Frozen, r.p.Pin = task.Sending, f.n, uint64(t.journal.Next())
	}
	switch {
	case n.Nothing != "":
		r.end(now, n.Nothing)
		f = &frozen{}
	case batch && f.n == 0: // the answer is OK all the same (O-13)
		r.end(now, "none of the receivers exists")
	}
	record, err := recordJSON(rec)
	if err != nil {
		return nil, receipt, fmt.Errorf("encoding a task: %w", err)
	}
	begin, err := r.step(nil, func(*progress) {})
	if err != nil {
		return nil, receipt, err
	}
	counted, err := recordJSON(&count)
	if err != nil {
		return nil, receipt, err
	}
	kept, err := newRemembered(n, &receipt, now)
	if err != nil {
		return nil, receipt, err
	}
	pos, err := t.journal.Commit(x.id, false, func(b *journal.Batch) {
		b.Set(tableTask, taskKey(r.Number), record)
		b.Set(tablePushed, nil, counted)
		if r.p.State.Ended() {
			putEnd(b, r.Number, begin)
		} else {
			b.Set(tableActive, taskKey(r.Number), begin.record)
		}
		f.put(b, r.Number)
		if kept != nil {
			key := requestHash(n)
			b.Set(tableRequest, key[:], kept)
			b.Set(tableDue, dueKey(now.Add(rememberFor).Unix()+1, dueRequest, key[:]), nil)
		}
	})
	if err != nil {
		return nil, receipt, err
	}
	r.pos, r.answers = pos, map[answer]int{} // there are none, and no page
	r.visited.all = batch
	t.records.put(taskOf{x, r.Number}, record)
	x.tasks.pushed = count
	x.tasks.note(n, kept, receipt, now, pos)
	x.tasks.keep(r)
	if batch {
		t.audiences.put(x, r.Number, f)
	}
	return r, receipt, nil
}

// end makes a task one that was done when it was made.
func (r *running) end(now time.Time, reason string) {
	r.p.State, r.p.Ended, r.p.Reason, r.p.Pin = task.Done, now.UnixMilli(), reason, 0
}

// receivers puts the accounts of a batch into an audience, and returns those that do not
// exist.
func (x *tenant) receivers(accounts []string, f *frozen) (failures []audience.Failure) {
	if len(accounts) >= warmFrom {
		x.users.WarmUsers(accounts)
	}
	var known []uint32
	for _, account := range accounts {
		n, exists := x.users.Find(account)
		if !exists {
			failures = append(failures, audience.Failure{Account: account, Err: apierr.UnknownAccount.Errorf("account %q does not exist", wording.Clip(account, audience.MaxAccountBytes))})
			continue
		}
		known = append(known, n)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for len(known) > 0 {
		upper, s := known[0]>>16, &numbers{}
		for len(known) > 0 && known[0]>>16 == upper {
			s.add(uint16(known[0]))
			known = known[1:]
		}
		f.set(upper, s)
	}
	return failures
}

// put puts the records of an audience into a batch.
func (f *frozen) put(b *journal.Batch, number uint64) {
	for upper, s := range f.parts {
		if s != nil && s.n > 0 {
			b.Set(tableAudience, audienceKey(number, uint32(upper)), s.encode())
		}
	}
}

// newRemembered returns the record of the answer to a request; nil if it has no key.
func newRemembered(n *task.New, receipt *task.Receipt, now time.Time) ([]byte, error) {
	if n.Key == "" {
		return nil, nil
	}
	m := remembered{Body: n.Body[:], ID: receipt.ID, Second: now.Unix()}
	for _, f := range receipt.Failures {
		m.Failures = append(m.Failures, failedEntry{f.Account, f.Err.Kind.Code, f.Err.Msg})
	}
	return recordJSON(&m)
}

// note keeps in memory what the next request is compared with.
func (t *tenantTasks) note(n *task.New, kept []byte, receipt task.Receipt, now time.Time, pos journal.Pos) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.Gapped {
		t.last = now
	}
	t.recent.add(n, receipt, now)
	if kept != nil {
		p := pendingRequest{key: requestHash(n), pos: pos}
		_ = json.Unmarshal(kept, &p.answer) // it was just made
		t.pending = append(t.pending, p)
	}
}
