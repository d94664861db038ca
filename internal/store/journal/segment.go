package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The log is a row of files, its segments: log/0000000001, 0000000002 and so on.
// Their form is that of Pebble's package record: blocks of 32 KiB with chunks, each
// with a CRC. A record of a segment is its header, the first, or a part of a group:
//
//	header  8 bytes  magic
//	        8 bytes  history of the directory
//	        8 bytes  number of the segment
//	part    8 bytes  history
//	        8 bytes  position of the group
//	        2 bytes  which part it is, from 1
//	        2 bytes  how many there are
//	                 at most maxPart bytes of the group
//
// A start never appends to a segment that is there: it begins the next one. So what
// a crash left at the end of a segment, half a group, stays there, and where the log
// goes on is known from the groups themselves: the first of the next segment has
// the position and the chain that fit the last whole one.
const (
	logDir        = "log"
	segmentMagic  = "TIDLOG\x001"
	segmentHeader = 24
	partHeader    = 8 + 8 + 2 + 2
	maxPart       = 512<<10 - partHeader // a later log takes no longer messages
	blockSize     = 32 << 10             // of package record
)

func segmentName(n uint64) string { return fmt.Sprintf("%010d", n) }

// segments lists the numbers of the segments in a directory, ascending.
func segments(fs vfs.FS, dir string) ([]uint64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 64); err == nil && name == segmentName(n) {
			numbers = append(numbers, n)
		} else if !isForeign(name) {
			return nil, &Damage{fs.PathJoin(dir, name), -1, "it is no segment of the log"}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// isForeign reports whether a name is one that other programs leave in any directory,
// and that no file of ours could have got by a mistake: hidden files, and what fsck puts
// at the top of a file system.
func isForeign(name string) bool { return strings.HasPrefix(name, ".") || name == "lost+found" }

// A segmentWriter writes a segment.
type segmentWriter struct {
	number  uint64
	file    vfs.File
	records *record.Writer
	history uint64
}

// createSegment creates a segment with its header, synced, and syncs the directory.
func createSegment(fs vfs.FS, dir string, number, history uint64) (*segmentWriter, error) {
	file, err := fs.Create(fs.PathJoin(dir, segmentName(number)), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	s := &segmentWriter{number: number, file: file, records: record.NewWriter(file), history: history}
	header := append(make([]byte, 0, segmentHeader), segmentMagic...)
	header = binary.LittleEndian.AppendUint64(header, history)
	header = binary.LittleEndian.AppendUint64(header, number)
	err = s.add(header)
	if err == nil {
		err = s.sync()
	}
	if err == nil {
		err = syncDir(fs, dir)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// add writes a record.
func (s *segmentWriter) add(pieces ...[]byte) error {
	w, err := s.records.Next()
	for _, p := range pieces {
		if err == nil {
			_, err = w.Write(p)
		}
	}
	return err
}

// append writes a group and returns when it is on disk.
func (s *segmentWriter) append(pos Pos, group []byte) error {
	n := (len(group) + maxPart - 1) / maxPart
	var header [partHeader]byte
	binary.LittleEndian.PutUint64(header[0:], s.history)
	binary.LittleEndian.PutUint64(header[8:], uint64(pos))
	binary.LittleEndian.PutUint16(header[18:], uint16(n))
	for i := range n {
		binary.LittleEndian.PutUint16(header[16:], uint16(i+1))
		if err := s.add(header[:], group[i*maxPart:min((i+1)*maxPart, len(group))]); err != nil {
			return err
		}
	}
	return s.sync()
}

func (s *segmentWriter) sync() error {
	if err := s.records.Flush(); err != nil {
		return err
	}
	return s.file.SyncData()
}

func (s *segmentWriter) close() error { return s.file.Close() }

// Damage is the error of files that are not as they were written, and whose
// content does not tell what is missing: nothing is opened for writing then.
type Damage struct {
	File   string
	Offset int64 // of the first byte that is not as it was, or shortly before it; -1 if that is not known
	What   string
}

func (e *Damage) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s is damaged: %s", e.File, e.What)
	}
	return fmt.Sprintf("%s is damaged at or after byte %d: %s", e.File, e.Offset, e.What)
}

// A logReader reads the groups of all segments, in order.
type logReader struct {
	fs      vfs.FS
	dir     string
	history uint64
	more    []string          // further directories, with segments after those of dir, or more of the same
	files   map[uint64]string // the longest there are of each number

	next   Pos    // position of the group that must come next; 0: any, it is the first
	floor  Pos    // groups up to this one may be missing before the first
	chain  uint64 // of the group before next; not looked at for the first
	second int64
	bad    *Damage        // where reading the last segments ended, if not at their ends
	passed *Damage        // among groups up to floor; nothing of them is needed
	end    *Damage        // where the last group ended, if that was the end of a segment
	first  map[uint64]Pos // position of the first group of each segment that has one
}

// A misfit is the error of a group that is as it was written, and whose changes do not
// fit what was made of the groups before it.
type misfit struct{ error }

// read calls f with each group, its blocks valid during the call, until f fails. A misfit
// of f becomes a Damage that says where the group is.
func (r *logReader) read(f func(info groupInfo, blocks []byte, size int) error) error {
	numbers, err := r.segments()
	if err != nil {
		return err
	}
	r.first = map[uint64]Pos{}
	for i, n := range numbers {
		if i > 0 && n != numbers[i-1]+1 {
			return &Damage{r.fs.PathJoin(r.dir, segmentName(numbers[i-1]+1)), -1, "the file is missing"}
		}
		if err := r.segment(n, f); err != nil {
			return err
		}
	}
	if r.next == 0 && r.passed != nil {
		return r.passed // no segment goes on after it
	}
	return nil
}

// segments lists the numbers of the segments, ascending.
func (r *logReader) segments() ([]uint64, error) {
	numbers, err := segments(r.fs, r.dir)
	if err != nil || len(numbers) == 0 {
		return numbers, err
	}
	r.files = map[uint64]string{}
	size := map[uint64]int64{}
	for _, dir := range append([]string{r.dir}, r.more...) {
		there, err := segments(r.fs, dir)
		if err != nil {
			return nil, err
		}
		for _, n := range there {
			name := r.fs.PathJoin(dir, segmentName(n))
			info, err := r.fs.Stat(name)
			if err != nil {
				return nil, err
			}
			// Of those before the log of dir nothing is needed.
			if _, known := size[n]; n >= numbers[0] && (!known || info.Size() > size[n]) {
				size[n], r.files[n] = info.Size(), name
			}
		}
	}
	return slices.Sorted(maps.Keys(size)), nil
}

// segment reads one segment.
func (r *logReader) segment(number uint64, f func(groupInfo, []byte, int) error) error {
	name := r.files[number]
	file, err := r.fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	s := &segmentReader{file: file, name: name, size: stat.Size(), history: r.history}
	if err := s.header(number); err != nil {
		if errors.Is(err, errOtherHistory) {
			return &Damage{name, 0, "it is of another data directory, or of this one before it was restored"}
		}
		if !errors.Is(err, errGroup) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", name, err)
		}
		// A segment whose making was interrupted holds nothing.
		later, err := s.holdsAfter(0, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if later {
			return &Damage{name, 0, "the header cannot be read, and there are groups behind it"}
		}
		return nil
	}
	for {
		offset := s.offset + int64(s.next)
		pos, group, err := s.group()
		if errors.Is(err, io.EOF) {
			if r.end == nil {
				r.end = &Damage{name, offset, ""}
			}
			return nil
		}
		var info groupInfo
		var blocks []byte
		if err == nil {
			info, blocks, err = openGroup(pos, group)
		}
		if errors.Is(err, errGroup) {
			return r.torn(s, offset)
		}
		if err != nil {
			return fmt.Errorf("%s, at byte %d: %w", name, offset, err)
		}
		if err := r.fits(s, offset, info); err != nil {
			return err
		}
		if _, known := r.first[number]; !known {
			r.first[number] = pos
		}
		if err := f(info, blocks, len(group)); err != nil {
			if misfit, ok := errors.AsType[misfit](err); ok {
				return &Damage{name, offset, fmt.Sprintf("group %d does not fit: %v", pos, misfit.error)}
			}
			return err
		}
		r.next, r.chain, r.second, r.bad, r.end = pos+1, info.chain, info.second, nil, nil
	}
}

// fits checks that a group follows the one before.
func (r *logReader) fits(s *segmentReader, offset int64, info groupInfo) error {
	switch {
	case r.next == 0 && r.passed != nil && info.pos > r.floor+1:
		return r.passed
	case r.next == 0:
		return nil
	case info.pos == r.next && info.before == r.chain && info.second >= r.second:
		return nil
	case r.bad != nil:
		return r.bad
	case info.pos == r.next:
		return &Damage{s.name, offset, fmt.Sprintf("group %d does not follow the group %d that is there", info.pos, r.next-1)}
	case r.end != nil && info.pos > r.next:
		return &Damage{r.end.File, r.end.Offset, fmt.Sprintf("it ends with group %d, and %s begins with group %d", r.next-1, s.name, info.pos)}
	}
	return &Damage{s.name, offset, fmt.Sprintf("group %d comes after group %d", info.pos, r.next-1)}
}

// torn returns an error if a segment that cannot be read beyond an offset lacks a group
// that is needed. If the group there was
// being written when the machine or the process died, nobody was told of it, and
// nothing was written after it: one group is on its way at a time. If a later group
// is there, then so was this one.
func (r *logReader) torn(s *segmentReader, offset int64) error {
	next := r.next
	if next == 0 {
		next = r.floor + 1
	}
	damage := &Damage{s.name, offset, fmt.Sprintf("group %d cannot be read, and it was complete: a later one is there", next)}
	later, err := s.holdsAfter(offset, next)
	if err != nil {
		return err
	}
	if later && r.next <= r.floor && r.floor > 0 {
		// What cannot be read is in the checkpoint. The next segment may go on with any
		// group that is, or with the first that is not.
		r.passed, r.next = damage, 0
		return nil
	}
	if later {
		return damage
	}
	r.bad = damage
	return nil
}

var errOtherHistory = errors.New("the history is another")

// A segmentReader reads the records of a segment. Package record has a reader too, but
// it reads on where a record is broken as if there had been none, and takes a second
// for every 32 KiB that are not as they were to find out which bit that could be.
type segmentReader struct {
	file    vfs.File
	name    string
	size    int64
	history uint64

	block  []byte // of the file, the last may be short
	offset int64  // of the block in the file
	next   int    // where the next chunk begins in the block
	buf    []byte
}

// record returns the next record, valid until the next call. It is io.EOF that there
// is none, errGroup that there is none that is whole. Any other error is that of a
// disk that does not give what may well be on it.
func (s *segmentReader) record() ([]byte, error) {
	s.buf = s.buf[:0]
	for begun := false; ; begun = true {
		if err := s.fill(); errors.Is(err, io.EOF) && begun {
			return nil, errGroup
		} else if err != nil {
			return nil, err
		}
		piece, first, last, whole := chunk(s.block, s.next)
		if !whole || first == begun {
			return nil, errGroup
		}
		s.next += chunkHeader + len(piece)
		if s.buf = append(s.buf, piece...); last {
			return s.buf, nil
		}
	}
}

// fill reads the next block if there is no room for a chunk in the rest of this one.
func (s *segmentReader) fill() error {
	switch rest := len(s.block) - s.next; {
	case rest >= chunkHeader:
		return nil
	case len(s.block)%blockSize != 0 && rest > 0:
		return errGroup
	case s.offset+int64(len(s.block)) >= s.size:
		return io.EOF
	}
	if s.block == nil {
		s.block = make([]byte, 0, blockSize)
	}
	s.offset += int64(len(s.block))
	s.block, s.next = s.block[:min(blockSize, s.size-s.offset)], 0
	if _, err := s.file.ReadAt(s.block, s.offset); err != nil && !errors.Is(err, io.EOF) {
		s.block = s.block[:0]
		return err
	}
	return nil
}

func (s *segmentReader) header(number uint64) error {
	b, err := s.record()
	switch {
	case err != nil:
		return err
	case len(b) != segmentHeader || string(b[:8]) != segmentMagic || binary.LittleEndian.Uint64(b[16:]) != number:
		return errGroup
	case binary.LittleEndian.Uint64(b[8:]) != s.history:
		return errOtherHistory
	}
	return nil
}

// group returns the next group. Its bytes are valid until the next call.
func (s *segmentReader) group() (pos Pos, group []byte, err error) {
	var parts []byte
	for want := 1; ; want++ {
		b, err := s.record()
		if err != nil && (want == 1 || !errors.Is(err, io.EOF)) {
			return 0, nil, err
		}
		if err != nil || len(b) < partHeader || binary.LittleEndian.Uint64(b) != s.history {
			return 0, nil, errGroup
		}
		p, i, n := Pos(binary.LittleEndian.Uint64(b[8:])), int(binary.LittleEndian.Uint16(b[16:])), int(binary.LittleEndian.Uint16(b[18:]))
		if want == 1 {
			pos = p
		}
		if i != want || p != pos || len(parts)+len(b)-partHeader > maxGroupBytes {
			return 0, nil, errGroup
		}
		if n == 1 {
			return pos, b[partHeader:], nil
		}
		if parts = append(parts, b[partHeader:]...); i == n {
			return pos, parts, nil
		}
	}
}

// holdsAfter reports whether there is a part of a group later than pos after an
// offset, whatever is between.
func (s *segmentReader) holdsAfter(offset int64, pos Pos) (bool, error) {
	from := offset - offset%blockSize // so that blocks of b are those of the file
	b := make([]byte, s.size-from)
	if _, err := s.file.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	mark := binary.LittleEndian.AppendUint64(nil, s.history)
	for i := int(offset - from); ; i += len(mark) {
		j := bytes.Index(b[i:], mark)
		if j < 0 {
			break
		}
		i += j
		if s.later(b, i-chunkHeader, pos) {
			return true, nil
		}
	}
	// The mark of a part that begins at the end of a block is not in one piece.
	for end := blockSize; end < len(b); end += blockSize {
		for start := end - chunkHeader - partHeader; start <= end-chunkHeader; start++ {
			if start >= int(offset-from) && s.later(b, start, pos) {
				return true, nil
			}
		}
	}
	return false, nil
}

// later reports whether a part of a group later than pos begins at a place of b, whose
// blocks are those of a segment.
func (s *segmentReader) later(b []byte, start int, pos Pos) bool {
	if start < 0 {
		return false
	}
	head, first, last, _ := chunk(b, start)
	if !first {
		return false
	}
	if end := start + chunkHeader + len(head); len(head) < partHeader && !last && end%blockSize == 0 {
		if rest, first, _, _ := chunk(b, end); !first {
			head = append(bytes.Clone(head), rest...)
		}
	}
	return len(head) >= partHeader && binary.LittleEndian.Uint64(head) == s.history && Pos(binary.LittleEndian.Uint64(head[8:])) > pos
}

// A chunk is a piece of a record of package record that lies in one block:
//
//	4 bytes  masked CRC-32C of what follows the length
//	2 bytes  length of the piece
//	1 byte   1: the record is whole; 2, 3, 4: its first, a middle, its last piece
const chunkHeader = 4 + 2 + 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk returns the piece of the chunk at a place of some blocks, whether it is the
// first and the last of its record, and whether it is whole.
func chunk(b []byte, start int) (piece []byte, first, last, whole bool) {
	end := min(len(b), start-start%blockSize+blockSize)
	if start+chunkHeader > end {
		return nil, false, false, false
	}
	b = b[start:end]
	length, kind := int(binary.LittleEndian.Uint16(b[4:])), b[6]
	if kind < 1 || kind > 4 || chunkHeader+length > len(b) {
		return nil, false, false, false
	}
	sum := crc32.Checksum(b[6:chunkHeader+length], castagnoli)
	if bits.RotateLeft32(sum, -15)+0xa282ead8 != binary.LittleEndian.Uint32(b) {
		return nil, false, false, false
	}
	return b[chunkHeader : chunkHeader+length], kind <= 2, kind == 1 || kind == 4, true
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
