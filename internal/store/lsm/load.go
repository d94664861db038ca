package lsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"tidings/internal/audience"
	"tidings/internal/index"
)

// loadIndex makes the index: from the snapshot and what came after it, or, with
// none that is good, from all records.
func (s *Store) loadIndex(readOnly bool) error {
	from, epoch, err := s.readSnapshot()
	switch {
	case err == nil:
	case isNotExist(err):
	case errors.Is(err, errOtherVersion):
		s.log.Info("the snapshot of the index is of another version of the program, reading all records")
	default:
		s.log.Warn("the snapshot of the index is not good, reading all records", "file", s.fs.PathJoin(s.dir, snapshotName), "error", err)
	}
	if err == nil {
		if err := s.bringUpToDate(from, epoch); err != nil {
			return err
		}
	} else if err := s.readUsers(0); err != nil {
		return err
	}
	for _, u := range s.apps {
		u.index.FindHoles()
	}
	if err == nil && !readOnly { // deletions that the snapshot knows
		return s.db.DeleteRange([]byte{tableGone}, binary.BigEndian.AppendUint64([]byte{tableGone}, epoch+1), pebble.NoSync)
	}
	return nil
}

// bringUpToDate makes the index of what a snapshot has and what came after its
// epoch.
func (s *Store) bringUpToDate(from map[uint32]*index.Users, epoch uint64) error {
	for id, u := range s.apps {
		if known := from[id]; known != nil {
			u.index = known
		}
	}
	if err := s.forgetGone(epoch); err != nil {
		return err
	}
	if err := s.forgetChanged(epoch + 1); err != nil {
		return err
	}
	for _, u := range s.apps {
		u.index.FindHoles() // the numbers of tags that nobody has any more can be given out
	}
	return s.readUsers(epoch + 1)
}

// forgetChanged takes out of the index who has a record of an epoch or later.
// All of them go before the first comes back: a tag that went from users of one
// kind to those of the other would else be of the first kind still, and tags could
// need more numbers than there are.
func (s *Store) forgetChanged(from uint64) error {
	filters := []pebble.BlockPropertyFilter{sstable.NewBlockIntervalFilter(epochs, from, 1<<62, nil)}
	return s.scan(tableUser, filters, func(key, value []byte) error {
		id, account, err := parseAccountKey(key)
		if err != nil {
			return err
		}
		if epoch, ok := epochOf(value); ok && epoch < from {
			return nil
		}
		if u := s.apps[id]; u != nil {
			if n, exists := u.index.Find(account); exists {
				u.index.Remove(n)
			}
		}
		return nil
	})
}

// forgetGone takes out of the index what was deleted after an epoch.
func (s *Store) forgetGone(after uint64) error {
	return s.scan(tableGone, nil, func(key, _ []byte) error {
		if len(key) < goneHeader {
			return fmt.Errorf("deletion %q is too short", key)
		}
		if binary.BigEndian.Uint64(key[1:]) <= after {
			return nil
		}
		u := s.apps[binary.BigEndian.Uint32(key[9:])]
		if u == nil {
			return nil
		}
		account := string(key[goneHeader:])
		if account == "" {
			u.index = index.NewUsers()
		} else if n, exists := u.index.Find(account); exists {
			u.index.Remove(n)
		}
		return nil
	})
}

// readUsers puts the records written in an epoch or later into the index.
//
// Goroutines share the work: one reads records, one puts accounts and tags into
// the index, and one values.
func (s *Store) readUsers(from uint64) error {
	l := &loader{store: s, from: from, read: make(chan []loadedUser, 2), named: make(chan []loadedUser, 2), used: make(chan []loadedUser, 8)}
	stop := make(chan struct{})
	readErr, valued := make(chan error, 1), make(chan struct{})
	go func() {
		readErr <- l.readAll(stop)
		close(l.read)
	}()
	go func() {
		for users := range l.named {
			l.putValues(users)
		}
		close(valued)
	}()
	var err error
	for users := range l.read {
		if err = l.putAccounts(users); err != nil {
			close(stop)
			break
		}
		l.named <- users
	}
	close(l.named)
	<-valued
	for range l.read { // so that the reader ends
	}
	if e := <-readErr; err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("%w (tidings check lists everything that is wrong)", err)
	}
	return nil
}

// loadBatch is how many users the goroutines of a loader hand on at a time.
const loadBatch = 512

// A loader reads user records into the index of their apps.
type loader struct {
	store *Store
	from  uint64            // the epoch from which on records are read
	read  chan []loadedUser // from readAll to putAccounts
	named chan []loadedUser // from there to putValues
	used  chan []loadedUser // back, for their memory
}

type loadedUser struct {
	app     uint32
	users   *users
	account string
	userRecord
}

// readAll reads the records, until stop is closed.
func (l *loader) readAll(stop <-chan struct{}) error {
	var filters []pebble.BlockPropertyFilter
	if l.from > 0 {
		filters = append(filters, sstable.NewBlockIntervalFilter(epochs, l.from, 1<<62, nil))
	}
	batch := make([]loadedUser, 0, loadBatch)
	send := func() error {
		select {
		case l.read <- batch:
		case <-stop:
			return errStopped
		}
		select {
		case batch = <-l.used:
			batch = batch[:0]
		default:
			batch = make([]loadedUser, 0, loadBatch)
		}
		return nil
	}
	var id uint32
	var u *users
	err := l.store.scan(tableUser, filters, func(key, value []byte) error {
		in, account, err := parseAccountKey(key)
		if err != nil {
			return err
		}
		if epoch, ok := epochOf(value); ok && epoch < l.from {
			return nil
		}
		l.store.marks.add(key)
		batch = batch[:len(batch)+1]
		r := &batch[len(batch)-1]
		if err := r.parse(value); err != nil {
			return fmt.Errorf("user %q of app %d: %w", account, in, err)
		}
		if u == nil || in != id {
			if id, u = in, l.store.apps[in]; u == nil {
				return fmt.Errorf("user %q belongs to app %d, which does not exist", account, in)
			}
		}
		r.app, r.users, r.account = in, u, account
		if len(batch) < loadBatch {
			return nil
		}
		return send()
	})
	if err == nil && len(batch) > 0 {
		err = send()
	}
	return err
}

var errStopped = errors.New("stopped")

// putAccounts puts accounts with their tags into the index.
func (l *loader) putAccounts(batch []loadedUser) error {
	for i := range batch {
		r := &batch[i]
		u := r.users.index
		if u.Has(r.number) {
			return fmt.Errorf("users %q and %q of app %d have the same number %d", u.Account(r.number), r.account, r.app, r.number)
		}
		u.AddAt(r.number, r.account, r.kind, r.created)
		var buf [audience.MaxTags]uint16
		list := buf[:0]
		for _, tag := range r.tags {
			t := u.AddTag(tag, r.kind)
			if t >= index.MaxTags {
				return fmt.Errorf("user %q of app %d has tag %q, for which there is no number", r.account, r.app, tag)
			}
			list = append(list, uint16(t))
		}
		slices.Sort(list)
		u.SetTags(r.number, slices.Compact(list))
	}
	return nil
}

// putValues puts the values of users into the index, and gives the batch back.
func (l *loader) putValues(batch []loadedUser) {
	for i := range batch {
		batch[i].users.index.PutValues(batch[i].number, &batch[i].values)
	}
	select {
	case l.used <- batch:
	default:
	}
}
