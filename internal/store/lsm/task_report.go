package lsm

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// A report id says which device got which task, in base64url: uvarint task, uvarint account
// number, and a MAC that nobody else can make. It has at most 40 characters of the
// payload (push.md, 1).
const macBytes = 12

// reportLife is how long after the end of a task its devices may report.
const reportLife = traceLife

// mac returns a MAC over a device and a task of an app. The app is named with the moment of
// its creation, so that none of a deleted app is good for another one of its number, and
// the device with its account, since another may get its number.
func (t *Tasks) mac(x *tenant, what string, number uint64, n uint32, account string) []byte {
	mac := hmac.New(sha256.New, t.key)
	var b [28]byte
	binary.BigEndian.PutUint32(b[:], x.id)
	if x.app != nil {
		binary.BigEndian.PutUint64(b[4:], uint64(x.app.Created.UnixNano()))
	}
	binary.BigEndian.PutUint64(b[12:], number)
	binary.BigEndian.PutUint32(b[20:], n)
	mac.Write(append([]byte(what), b[:]...))
	mac.Write([]byte(account))
	return mac.Sum(nil)
}

// reportID returns the report id of a device in a task. The app is locked.
func (t *Tasks) reportID(r *running, n uint32, account string) string {
	b := binary.AppendUvarint(nil, r.Number)
	b = binary.AppendUvarint(b, uint64(n))
	b = append(b, t.mac(r.x, "report", r.Number, n, account)[:macBytes]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// sendID returns the id by which providers know a message to a device: a UUID of version 8,
// the same for every try.
func (t *Tasks) sendID(r *running, n uint32) string {
	b := t.mac(r.x, "send", r.Number, n, "")[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// maxReportID is the length of the longest report id.
const maxReportID = 40

// Reported records that a device says that a message arrived, or was clicked.
func (t *Tasks) Reported(ctx context.Context, app uint32, device, reportID string, event task.Event, at time.Time) (counted bool, err error) {
	number, n, sum, ok := parseReportID(reportID)
	if !ok || event != task.Arrived && event != task.Clicked {
		return false, nil
	}
	ref := task.Ref{App: app, Number: number}
	forged := false
	err = t.read(ctx, app, func(x *tenant) error {
		found, exists := x.users.Find(device)
		forged = !exists || found != n || !hmac.Equal(sum, t.mac(x, "report", number, n, device)[:macBytes])
		return nil
	})
	if err != nil || forged {
		return false, err
	}
	r, err := t.found(ctx, ref)
	if errors.Is(err, task.ErrUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p, _ := r.snapshot()
	if p.State.Ended() && at.After(msTime(p.Ended).Add(reportLife)) || t.traceGone(r.x, &p) {
		return false, nil
	}
	key := eventKey(number, n, byte(event))
	if counted, err = t.event(ctx, r, key, at); err != nil {
		return false, err
	}
	return counted, t.wait(r)
}

// event records an event, unless it was recorded before: whoever comes first counts, and
// what is not in the tables yet is in memory.
func (t *Tasks) event(ctx context.Context, r *running, key []byte, at time.Time) (counted bool, err error) {
	if err := t.journal.Reserve(ctx, false); err != nil {
		return false, err
	}
	e := &r.x.tasks.events
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, pending := e.pending[string(key)]; pending {
		return false, nil
	}
	var before []byte
	err = t.journal.Read(func(v *journal.View) (err error) {
		before, err = v.Get(tableEvent, r.App, key)
		return err
	})
	if err != nil || before != nil {
		return false, err
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(max(at.UnixMilli(), 0)))
	pos, err := t.commit(ctx, r, nil, func(b *journal.Batch) { b.Set(tableEvent, key, value) })
	if err != nil {
		return false, err
	}
	e.add(string(key), pos, t.journal.Applied())
	return true, nil
}

// events are events of devices that may not be in the tables yet.
type events struct {
	mu      sync.Mutex
	pending map[string]journal.Pos // the group of an event, by its key
	sweep   int                    // how many there are when those that are in the tables go
}

// minEvents is how many events are kept at least before any goes.
const minEvents = 256

func (e *events) add(key string, pos, applied journal.Pos) {
	if e.pending == nil {
		e.pending = map[string]journal.Pos{}
	}
	e.pending[key] = pos
	if len(e.pending) < max(e.sweep, minEvents) {
		return
	}
	for old, pos := range e.pending {
		if pos <= applied {
			delete(e.pending, old)
		}
	}
	e.sweep = 2 * len(e.pending)
}

func parseReportID(id string) (number uint64, n uint32, sum []byte, ok bool) {
	if len(id) > maxReportID {
		return 0, 0, nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil {
		return 0, 0, nil, false
	}
	f := fields{rest: b}
	number = f.number("task", 1<<64-1)
	n = uint32(f.number("account", 1<<32-1))
	return number, n, f.rest, f.err == nil && len(f.rest) == macBytes
}
