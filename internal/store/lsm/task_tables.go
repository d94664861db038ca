package lsm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"tidings/internal/report"
	"tidings/internal/store/journal"
)

// The tables of tasks. A key begins with the number of the task, eight bytes, if the record
// is about one. All numbers in keys are big-endian.
var (
	// task → what it is: JSON of taskRecord. Never changed.
	tableTask = &journal.Table{ID: 0x10, Name: "task", PerApp: true, Check: checkJSON[taskRecord](8)}
	// task that has not ended → how far it is: JSON of progress
	tableActive = &journal.Table{ID: 0x11, Name: "progress of a task", PerApp: true, Check: checkJSON[progress](8)}
	// task that has ended → what it came to: JSON of progress
	tableEndedTask = &journal.Table{ID: 0x12, Name: "end of a task", PerApp: true, Check: checkJSON[progress](8)}
	// task, upper half of account numbers → numbers of the audience
	tableAudience = &journal.Table{ID: 0x13, Name: "audience of a task", PerApp: true, Check: checkAudience}
	// task, certificate, pass, last account number → block of outcomes
	tableBlock = &journal.Table{ID: 0x14, Name: "block of outcomes", PerApp: true, Check: checkBlock}
	// task, account number → what became of a device that was tried again
	tableLate = &journal.Table{ID: 0x15, Name: "outcome of a device that was tried again", PerApp: true, Check: checkLate}
	// task, certificate, millisecond at which it is due, account number → tries
	tableRetry = &journal.Table{ID: 0x16, Name: "retry", PerApp: true, Check: checkRetry}
	// task, number → an answer of a provider: JSON of answer
	tableAnswer = &journal.Table{ID: 0x17, Name: "answer of a provider", PerApp: true, Check: checkJSON[answer](9)}
	// task, account number, event → millisecond at which a device reported it
	tableEvent = &journal.Table{ID: 0x18, Name: "event of a device", PerApp: true, Check: checkFixed(13)}
	// hash of command and IdempotencyKey → what was answered: JSON of remembered
	tableRequest = &journal.Table{ID: 0x19, Name: "remembered request", PerApp: true, Check: checkJSON[remembered](hashBytes)}
	// second, what is due, task or hash → nothing
	tableDue = &journal.Table{ID: 0x1a, Name: "due deletion", PerApp: true, Check: checkDue}
	// nothing → JSON of pushed
	tablePushed = &journal.Table{ID: 0x1b, Name: "count of tasks", PerApp: true, Check: checkJSON[pushed](0)}
	// hour → 2^64 - 1 less the first position that tasks which ended in it may need, so
	// that the smallest position stays
	tablePinned = &journal.Table{ID: 0x1c, Name: "pin of ended tasks", PerApp: true, Check: checkFixed(8)}

	taskTables = []*journal.Table{
		tableTask, tableActive, tableEndedTask, tableAudience, tableBlock, tableLate, tableRetry, tableAnswer, tableEvent,
		tableRequest, tableDue, tablePushed, tablePinned,
	}
	// traceTables have what is kept of each device, for a week after the end of a task.
	traceTables = []*journal.Table{tableAudience, tableBlock, tableLate, tableRetry, tableAnswer, tableEvent}
)

func taskKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func audienceKey(number uint64, upper uint32) []byte {
	return binary.BigEndian.AppendUint16(taskKey(number), uint16(upper))
}

// laneKey is the beginning of the keys of a lane.
func laneKey(number uint64, certificate int) []byte {
	return binary.BigEndian.AppendUint32(taskKey(number), uint32(certificate))
}

func passKey(number uint64, certificate int, again bool) []byte {
	if again {
		return append(laneKey(number, certificate), 1)
	}
	return append(laneKey(number, certificate), 0)
}

func blockKey(number uint64, certificate int, again bool, last uint32) []byte {
	return binary.BigEndian.AppendUint32(passKey(number, certificate, again), last)
}

func lateKey(number uint64, account uint32) []byte {
	return binary.BigEndian.AppendUint32(taskKey(number), account)
}

func retryTableKey(number uint64, certificate int, due int64, account uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(laneKey(number, certificate), uint64(due)), account)
}

func answerKey(number uint64, id int) []byte { return append(taskKey(number), byte(id)) }

func eventKey(number uint64, account uint32, event byte) []byte {
	return append(lateKey(number, account), event)
}

// What is due to be deleted.
const (
	dueTrace   = 1 // what is kept of each device of a task
	dueTask    = 2
	dueRequest = 3
)

func dueKey(second int64, what byte, rest []byte) []byte {
	return append(append(binary.BigEndian.AppendUint64(nil, uint64(max(second, 0))), what), rest...)
}

// checkJSON returns the check of a table of JSON.
func checkJSON[T any](keyBytes int) func(key, value []byte) error {
	return func(key, value []byte) error {
		if err := checkLength(key, keyBytes); err != nil {
			return err
		}
		return json.Unmarshal(value, new(T))
	}
}

func checkLength(key []byte, want ...int) error {
	if !slices.Contains(want, len(key)) {
		return fmt.Errorf("key of %d bytes, want %d", len(key), want)
	}
	return nil
}

func checkFixed(keyBytes int) func(key, value []byte) error {
	return func(key, value []byte) error {
		if len(value) != 8 {
			return fmt.Errorf("number of %d bytes, want 8", len(value))
		}
		return checkLength(key, keyBytes)
	}
}

func checkAudience(key, value []byte) error {
	if err := checkLength(key, 10); err != nil {
		return err
	}
	_, err := parseNumbers(value)
	return err
}

func checkBlock(key, value []byte) error {
	if err := checkLength(key, 17); err != nil {
		return err
	}
	b, err := report.ParseBlock(value)
	if err != nil {
		return err
	}
	if last := b.Deliveries[len(b.Deliveries)-1].Number; last != binary.BigEndian.Uint32(key[13:]) {
		return fmt.Errorf("the last account is %d, the key says %d", last, binary.BigEndian.Uint32(key[13:]))
	}
	return nil
}

func checkLate(key, value []byte) error {
	if err := checkLength(key, 12); err != nil {
		return err
	}
	_, err := parseLate(key, value)
	return err
}

func checkRetry(key, value []byte) error {
	if _, size := binary.Uvarint(value); size <= 0 || size != len(value) {
		return fmt.Errorf("tries of %d bytes are no number", len(value))
	}
	return checkLength(key, 24)
}

func checkDue(key, value []byte) error {
	if len(value) != 0 {
		return fmt.Errorf("value of %d bytes, want none", len(value))
	}
	if err := checkLength(key, 17, 9+hashBytes); err != nil {
		return err
	}
	if what := key[8]; what < dueTrace || what > dueRequest {
		return fmt.Errorf("what is due, %d, is not known", what)
	}
	return nil
}

// A late is what became of a device that was tried again, or when it will be.
type late struct {
	certificate int
	due         int64 // Unix milliseconds of the next try; 0: there is none
	report.Delivery
	at int64 // Unix milliseconds
}

// The record is two uvarints, certificate and due, and a block with one delivery.
func (l *late) encode(b []byte) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(l.certificate)), uint64(l.due))
	one := report.Block{At: msTime(l.at), Deliveries: []report.Delivery{l.Delivery}}
	return one.Append(b)
}

func parseLate(key, value []byte) (*late, error) {
	f := fields{rest: value}
	l := &late{certificate: int(f.number("certificate", 1<<31)), due: int64(f.number("due", 1<<62))}
	if f.err != nil {
		return nil, f.err
	}
	b, err := report.ParseBlock(f.rest)
	if err != nil {
		return nil, err
	}
	if l.Delivery = b.Deliveries[0]; len(b.Deliveries) > 1 || l.Number != binary.BigEndian.Uint32(key[8:]) {
		return nil, fmt.Errorf("there is more or other than account %d", binary.BigEndian.Uint32(key[8:]))
	}
	l.at = b.At.UnixMilli()
	return l, nil
}
