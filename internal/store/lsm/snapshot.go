package lsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"tidings/internal/index"
)

// A snapshot is the index of all apps in a file, written when the store is
// closed. A start reads it and then only the records written since, instead of
// all.
//
// Each opening of the directory is an epoch. A record says in which epoch it was
// written, tables know which blocks may hold records written since the snapshot
// (see marks), and deletions are logged by epoch, so what came after the
// snapshot's epoch is found without reading the rest. The file is a cache:
// without it, or if it does not verify, the index is made from the records.
//
//	8 bytes  magic
//	8 bytes  identity of the directory, from table meta
//	8 bytes  epoch, little-endian: all changes of it and before are in
//	         the apps, as package index writes them: how many, then for each
//	         the SDKAppID and the users
//	8 bytes  XXH3 of all before, little-endian
const (
	snapshotName   = "index.snapshot"
	snapshotFile   = "TIDNGIX"          // with the version in the next byte
	snapshotMagic  = snapshotFile + "3" // the version that this program writes and reads
	snapshotHeader = 24
	snapshotBuffer = 1 << 20 // bytes read at once
)

// errOtherVersion is the error of a snapshot that another program wrote.
var errOtherVersion = errors.New("it is of another version of the program")

var (
	epochKey    = append([]byte{tableMeta}, "epoch"...)
	identityKey = append([]byte{tableMeta}, "identity"...)
	// closedKey is the last thing written before a snapshot: the epoch that ended.
	// A log that has lost its end has lost it too, and then the snapshot knows
	// more than the records.
	closedKey = append([]byte{tableMeta}, "closed"...)
)

// epochs is the block property by which tables know the epochs of their user
// records.
const epochs = "tidings.epochs"

// marks tell which user records may have been written since the snapshot. Pebble
// shows the collectors of block properties keys and not values, so the epoch in
// a record is no help when a table is written.
type marks struct {
	epoch atomic.Uint64 // of this opening, once all records since the snapshot are marked; 0 before
	seed  maphash.Seed
	bits  []atomic.Uint64 // by the hash of the key: some others are marked too
}

const markBits = 1 << 24 // 2 MiB, of which only what is written to takes memory

func newMarks() *marks {
	return &marks{seed: maphash.MakeSeed(), bits: make([]atomic.Uint64, markBits/64)}
}

func (m *marks) of(key []byte) (word *atomic.Uint64, bit uint64) {
	h := maphash.Bytes(m.seed, key) % markBits
	return &m.bits[h/64], 1 << (h % 64)
}

// add marks the key of a record before it is written.
func (m *marks) add(key []byte) {
	if word, bit := m.of(key); word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// MapPointKey is this epoch for a user record that may have been written since
// the snapshot, and epoch 0 for others. Everything else, deletions among it,
// counts as of all epochs, so that no reader misses it.
func (m *marks) MapPointKey(key sstable.InternalKey, _ []byte) (sstable.BlockInterval, error) {
	epoch := m.epoch.Load()
	if epoch == 0 || key.Kind() != pebble.InternalKeyKindSet || len(key.UserKey) == 0 || key.UserKey[0] != tableUser {
		return sstable.BlockInterval{Lower: 0, Upper: 1 << 62}, nil
	}
	if word, bit := m.of(key.UserKey); word.Load()&bit == 0 {
		epoch = 0
	}
	return sstable.BlockInterval{Lower: epoch, Upper: epoch + 1}, nil
}

// MapRangeKeys is for keys that the store does not use.
func (*marks) MapRangeKeys(sstable.Span) (sstable.BlockInterval, error) {
	return sstable.BlockInterval{Lower: 0, Upper: 1 << 62}, nil
}

// epochOf reads the epoch of a user record and nothing else of it. Records of
// version 1 are older than any epoch.
func epochOf(record []byte) (uint64, bool) {
	if len(record) < 2 {
		return 0, false
	}
	if record[0] == 1 {
		return 0, true
	}
	rest := record[2:]
	for range 2 { // number, creation
		_, n := binary.Uvarint(rest)
		if n <= 0 {
			return 0, false
		}
		rest = rest[n:]
	}
	epoch, n := binary.Uvarint(rest)
	return epoch, n > 0 && epoch <= maxEpoch
}

// beginEpoch gives this opening of the directory its epoch, and the directory
// its identity if it has none.
func (s *Store) beginEpoch(readOnly bool) error {
	epoch, err := s.metaNumber(epochKey)
	if err != nil {
		return err
	}
	if s.identity, err = s.metaNumber(identityKey); err != nil {
		return err
	}
	if readOnly {
		s.epoch = epoch
		return nil
	}
	b := s.db.NewBatch()
	s.epoch = epoch + 1
	must(b.Set(epochKey, binary.BigEndian.AppendUint64(nil, s.epoch), nil))
	if s.identity == 0 {
		s.identity = newIdentity()
		must(b.Set(identityKey, binary.BigEndian.AppendUint64(nil, s.identity), nil))
	}
	return errors.Join(s.db.Apply(b, pebble.Sync), b.Close())
}

// metaNumber reads a number of table meta; 0 if it is not there.
func (s *Store) metaNumber(key []byte) (uint64, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(value) != 8 {
		return 0, fmt.Errorf("meta %q has %d bytes, want 8", key[1:], len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// logDeletion notes that an account was deleted, or with an empty account the
// whole app.
func (s *Store) logDeletion(b *pebble.Batch, app uint32, account string) {
	key := binary.BigEndian.AppendUint64([]byte{tableGone}, s.epoch)
	key = binary.BigEndian.AppendUint32(key, app)
	must(b.Set(append(key, account...), nil, nil))
}

// goneHeader is what of a key of tableGone comes before the account.
const goneHeader = 1 + 8 + 4

// readSnapshot reads the index of the apps there are from the snapshot and tells
// its epoch. It is nothing but an error if there is none, or not a good one.
func (s *Store) readSnapshot() (apps map[uint32]*index.Users, epoch uint64, err error) {
	f, err := s.fs.Open(s.fs.PathJoin(s.dir, snapshotName), vfs.SequentialReadsOption)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.Size() < snapshotHeader+16 {
		return nil, 0, fmt.Errorf("%d bytes are too few", info.Size())
	}
	header, err := checkSnapshot(f, info.Size())
	if err != nil {
		return nil, 0, err
	}
	if binary.LittleEndian.Uint64(header[8:]) != s.identity {
		return nil, 0, errors.New("it is of another data directory")
	}
	epoch = binary.LittleEndian.Uint64(header[16:])
	if epoch > s.epoch {
		return nil, 0, fmt.Errorf("it is of epoch %d, the database of %d", epoch, s.epoch)
	}
	closed, err := s.metaNumber(closedKey)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case closed < epoch:
		return nil, 0, errors.New("the database has lost something that it has")
	case closed > epoch: // marks are from the newest on
		return nil, 0, fmt.Errorf("it is of epoch %d, and there was one of epoch %d", epoch, closed)
	}
	size := info.Size() - snapshotHeader - 8
	r := index.NewReader(bufio.NewReaderSize(io.NewSectionReader(f, snapshotHeader, size), snapshotBuffer), size)
	apps = map[uint32]*index.Users{}
	for range r.Uint() {
		id := uint32(r.Uint())
		apps[id] = index.ReadUsers(r)
		if r.Err() != nil {
			return nil, 0, r.Err()
		}
	}
	return apps, epoch, r.Err()
}

// checkSnapshot reads a whole file and gives its header if its checksum is right.
// It is read a second time to be used: the users of an app are many pieces that
// live and change on their own, and one buffer for all would outlive most.
func checkSnapshot(f io.ReaderAt, size int64) (header []byte, err error) {
	header = make([]byte, snapshotHeader)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, err
	}
	if magic := string(header[:8]); magic != snapshotMagic {
		if strings.HasPrefix(magic, snapshotFile) {
			return nil, errOtherVersion
		}
		return nil, fmt.Errorf("it begins with %q", magic)
	}
	sum := xxh3.New()
	body := io.NewSectionReader(f, 0, size-8)
	if _, err := io.CopyBuffer(sum, struct{ io.Reader }{body}, make([]byte, snapshotBuffer)); err != nil {
		return nil, err
	}
	var want [8]byte
	if _, err := f.ReadAt(want[:], size-8); err != nil {
		return nil, err
	}
	if sum.Sum64() != binary.LittleEndian.Uint64(want[:]) {
		return nil, errors.New("its checksum is wrong")
	}
	return header, nil
}

// writeSnapshot writes the index of all apps. Nothing may change meanwhile.
func (s *Store) writeSnapshot() (err error) {
	if err := s.db.Set(closedKey, binary.BigEndian.AppendUint64(nil, s.epoch), pebble.Sync); err != nil {
		return err
	}
	temp := s.fs.PathJoin(s.dir, snapshotName+".new")
	f, err := s.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	sum := xxh3.New()
	out := io.MultiWriter(sum, f) // in this order: a vfs.File may spoil what it is given
	header := append([]byte(snapshotMagic), make([]byte, snapshotHeader-8)...)
	binary.LittleEndian.PutUint64(header[8:], s.identity)
	binary.LittleEndian.PutUint64(header[16:], s.epoch)
	_, err = out.Write(header)
	w := index.NewWriter(out)
	s.mu.RLock() // an app may still be about to be made, without users, and fail
	apps := maps.Clone(s.apps)
	s.mu.RUnlock()
	w.Uint(uint64(len(apps)))
	for _, id := range slices.Sorted(maps.Keys(apps)) {
		w.Uint(uint64(id))
		apps[id].index.Write(w)
	}
	err = errors.Join(err, w.Flush())
	if err == nil {
		_, err = f.Write(binary.LittleEndian.AppendUint64(nil, sum.Sum64()))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, s.fs.Remove(temp))
	}
	if err := s.fs.Rename(temp, s.fs.PathJoin(s.dir, snapshotName)); err != nil {
		return err
	}
	d, err := s.fs.OpenDir(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkIndex compares the index that a start would make from the snapshot with
// one made from all records, which were found good.
func (s *Store) checkIndex(wrong func(where, format string, args ...any)) error {
	if err := s.beginEpoch(true); err != nil {
		return err
	}
	from, epoch, err := s.readSnapshot()
	if isNotExist(err) || errors.Is(err, errOtherVersion) {
		return nil
	}
	if err != nil {
		wrong("index snapshot", "%v (the next start reads all records instead)", err)
		return nil
	}
	other := &Store{db: s.db, log: s.log, marks: newMarks(), apps: map[uint32]*users{}}
	if err := errors.Join(s.readApps(), other.readApps(), other.readUsers(0)); err != nil {
		return err
	}
	if err := s.bringUpToDate(from, epoch); err != nil {
		wrong("index snapshot", "%v", err)
		return nil
	}
	for id, u := range other.apps {
		v := s.apps[id]
		if err := cmp.Or(u.index.Equal(v.index), v.index.Equal(u.index)); err != nil {
			wrong(fmt.Sprintf("index snapshot, app %d", id), "differs from the records: %v", err)
		}
	}
	return nil
}
